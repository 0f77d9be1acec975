"""The walk-through ``docs/add-a-source.md``, step by step as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aistack_top.model.signals import signals, user_problems
from aistack_top.strict_toml import StrictError
from aistack_top.user_files import use_folder
from collectors import config
from collectors.doctor import checks as doctor
from collectors.doctor import permissions as capabilities
from collectors.openmetrics.identity import bare_name
from collectors.prometheus.client import QuerySeries
from collectors.prometheus.queries import readable, series_of, whose
from collectors.prometheus.reading import TargetReader
from collectors.prometheus.scraped import Target
from collectors.registry import findable, kind, page_kind, page_matcher
from collectors.source_tables import checked
from layouts import layers
from tests.fakes.pages import collected, of
from tui.hints import empty_texts

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs/add-a-source.md"
STEP = re.compile(r"(?:<!-- (file|append): (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def steps():
    """Return the steps in their order: what is done to which file, or the commands with what they print."""
    return [match.groups() for match in STEP.finditer(DOC.read_text(encoding="utf-8"))]


def place(home, name):
    return home / name.removeprefix("~/")


def write(home, does, name, text):
    path = place(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((path.read_text() if does == "append" else "") + text)


def run(home, command):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "AISTACK_"))}
    environ |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", command], cwd=home, env=environ, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()


def test_every_command_of_the_walk_through_prints_what_the_page_says(tmp_path):
    ran = 0
    for does, name, language, text in steps():
        if does:
            write(tmp_path, does, name, text)
        elif language == "console":
            for block in text.split("$ ")[1:]:
                command, *printed = block.splitlines()
                got = run(tmp_path, command)
                assert len(got) == len(printed), (command, got)
                for line, wanted in zip(got, printed, strict=True):
                    pattern = re.escape(wanted).replace(re.escape("..."), ".*")
                    assert re.fullmatch(pattern, line), (command, got)
                ran += 1
    assert ran >= 8


@pytest.fixture
def own(tmp_path):
    """Return the folder with the finished files of the walk-through, which is in use."""
    for does, name, _, text in steps():
        if does:
            write(tmp_path, does, name, text)
    folder = tmp_path / ".config/aistack-top"
    use_folder(folder)
    yield folder
    use_folder(None)


def page(own):
    return (own.parents[1] / "qdrant.prom").read_bytes()


async def test_the_numbers_of_the_page_are_read(own):
    first, second = await collected("qdrant", [page(own), page(own).replace(b"} 252", b"} 352")])
    assert (first.health.status, first.health.reason) == ("ok", "")
    assert of(first, "data.vectors") == 5528.0
    assert of(first, "data.index_builds") == 1.0
    assert of(first, "data.updates.waiting") == 42.0
    assert of(first, "data.memory.used") == 301989888.0
    assert of(second, "data.search.rate") == pytest.approx(100 / 5)
    assert [(fact.key, fact.value) for fact in first.facts if fact.key == "version"] == [("version", "1.17.0")]


async def test_a_prefix_that_an_operator_has_set_changes_nothing(own):
    knows = page_matcher(kind("qdrant"))
    assert knows is not None
    for prefix in ("qdrant_", "shop_"):
        keys: dict[str, Any] = {} if prefix == "qdrant_" else {"prefix": prefix}
        there = re.sub(rb"^(# TYPE )?(?=\w)", rb"\1" + prefix.encode(), page(own), flags=re.MULTILINE)
        (batch,) = await collected("qdrant", [there], **keys)
        assert of(batch, "data.updates.waiting") == 42.0
        assert knows(there) is (prefix == "qdrant_")
    (batch,) = await collected("qdrant", [there])
    assert batch.health.status == "misconfigured"


def test_it_is_everywhere_where_a_kind_is(own):
    knows = [(one.name, page_matcher(one)) for one in findable()]
    assert [name for name, known in knows if known and known(page(own))] == ["qdrant"]
    assert next(iter(findable())).name == "qdrant"
    assert config.parse('[[source]]\nkind = "qdrant"\nurl = "http://q"\n').source[0].interval == 10.0
    with pytest.raises(config.ConfigError, match="did you mean 'qdrant'"):
        config.parse('[[source]]\nkind = "qdrnt"\n')
    assert "read-only API key" in doctor.fix("qdrant", "unauthorized")
    assert [one.sends for one in capabilities.capabilities() if one.name == "Qdrant"]
    assert signals()["data.updates.waiting"].title == "updates waiting"
    titles = [one.title for one in layers.layer_screen("data").section]
    assert titles.index("Qdrant") == titles.index("events") - 1
    from layouts.load import load

    assert empty_texts(load("overview").panel_of("data"))[0] == "no source: connect Milvus or Qdrant"


def test_prometheus_is_asked_for_both_names_and_either_prefix(own):
    read = next(table for one, table in readable() if one.name == "qdrant")
    assert whose(read, ("job", "instance")) == (
        'count by (job, instance) ({__name__=~"(?:qdrant_)?(?:collections_total)"})'
        ' and count by (job, instance) ({__name__=~"(?:qdrant_)?(?:collections_vector_total)"})'
    )
    assert "collections_total" in series_of(read, [("j", "i")])
    assert [bare_name(name, read.prefixes) for name in ("qdrant_app_info", "app_info")] == ["app_info", "app_info"]


def test_a_prometheus_servers_samples_are_read_with_and_without_the_prefix(own):
    read = next(table for one, table in readable() if one.name == "qdrant")
    names = ("collections_total", "collections_vector_total", "collection_update_queue_length")
    for prefix in ("", "qdrant_"):
        reader = TargetReader(kind("qdrant"), read, Target("j", "q:6333"), "q:6333")
        rows = [QuerySeries({"__name__": prefix + name, "job": "j", "id": "a"}, [(10.0, "7")]) for name in names]
        (one,) = reader.results(rows)
        told = {signal: value for signal, _, value in one.readings}
        assert (told["data.vectors"], told["data.updates.waiting"]) == (7.0, 7.0)
        assert not reader.is_another


def test_nothing_is_left_of_it_when_the_folder_is_left(own):
    use_folder(None)
    assert "qdrant" not in config.types()
    assert "data.updates.waiting" not in signals()
    assert [one.title for one in layers.layer_screen("data").section].count("Qdrant") == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'kind = "qdrant"',
            'kind = "milvus"',
            ": the program already has the kind 'milvus'; rename yours",
        ),
        ('layer = "data"', 'layer = "dat"', ": Invalid enum value 'dat'; did you mean 'data'?"),
        ("[source.local]", "[source.locl]", ": unknown key 'locl'; did you mean 'local'?"),
        ("unauthorized =", "unauthorised =", ": no such status: 'unauthorised'; did you mean 'unauthorized'?"),
        ("interval = 10.0", "intervl = 10.0", ": unknown key 'intervl'; did you mean 'interval'?"),
        ("process = '(?:", "process = '(((", ": process is no regular expression"),
        ("ports = [6333]", 'ports = ["6333"]', ": ports: Expected 'int', got 'str'"),
        ('needs = "', 'build = "os:system"\nneeds = "', ": build refers to code"),
        ('where = { status = "[45].." }', 'where = { status = "[45" }', ": data.failures: '[45' is no regular"),
        ("[[fact]]", "[[fct]]", "unknown key 'fct'; did you mean 'fact'?"),
        ("title =", "title", "not valid TOML"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_line_and_costs_nothing_else(own, old, new, said):
    file = own / "sources/qdrant.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    line = 1 + text.replace(old, new)[: text.replace(old, new).index(new)].count("\n")
    if new.startswith("where"):  # of a row that contradicts itself the head is named
        line = 1 + text[: text.rindex("[[metric]]", 0, text.index(old))].count("\n")
    use_folder(own)
    kinds, problems = config.own_tables()
    assert kinds == ()
    wanted = f"{file}:{line}{said}" if said.startswith(":") else said
    assert any(wanted in one for one in problems), problems
    assert "vllm" in config.types()


def test_a_mistake_in_a_signal_or_a_section_is_named_and_the_rest_is_used(own):
    (own / "signals/more.toml").write_text(
        '["data.ok"]\nlayer = "data"\nunit = "1"\nform = "gauge"\nkind = "other"\nhurts = "up"\nfloor = 1.0\n'
        'title = "ok"\nhelp = "Fine."\n["data.bad"]\nlayer = "data"\nform = "gage"\n["data.vectors"]\nlayer = "data"\n'
    )
    (own / "screens/serving.toml").write_text(
        '[[section]]\nkind = "rows"\ntitle = "x"\nrow = [\n  { signal = "serving.tft" },\n]\n'
    )
    (own / "screens/dta.toml").write_text("")
    use_folder(own)
    assert "data.ok" in signals()
    assert "data.bad" not in signals()
    said = "\n".join([*user_problems(), *layers.user_problems()])
    assert "more.toml:12: Invalid enum value 'gage'; did you mean 'gauge'?" in said
    assert "more.toml:13: data.vectors is a signal already; give yours another name" in said
    assert "serving.toml:5: no such signal: 'serving.tft'; did you mean 'serving.ttft'?" in said
    assert "dta.toml: no such layer: 'dta'; did you mean 'data'?" in said
    checks = doctor.user_files(said.splitlines(), 6)
    assert {one.outcome for one in checks} == {"failed"}
    assert all(one.mend for one in checks)


def test_a_plug_in_may_bring_its_table_along(own):
    text = (own / "sources/qdrant.toml").read_text()
    made = page_kind(text.replace('kind = "qdrant"', 'kind = "qdrant-two"'))
    assert (made.name, made.layer, made.own) == ("qdrant-two", "data", False)
    with pytest.raises(StrictError, match="table:10: Invalid enum value"):
        page_kind(text.replace('layer = "data"', 'layer = "dat"'))
    assert checked(own / "sources/qdrant.toml").kind == "qdrant"
