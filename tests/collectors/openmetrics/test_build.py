"""Sources that are a page and a table: a table and its recorded pages are found by name and need no line here.

A page in ``fixtures/captures`` is of the kind whose name its path has at its beginning or after a ``-``.
"""

import re
from pathlib import Path

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.signals import signals
from collectors.config import PageSource, configured, parse
from collectors.doctor import checks as doctor
from collectors.doctor.permissions import capabilities
from collectors.openmetrics.build import build, table
from collectors.openmetrics.table import load
from collectors.page_check import report
from collectors.prometheus.queries import readable
from collectors.registry import CollectorContext, findable, import_object, kind, kinds, page_matcher, table_of
from tests.fakes.pages import CAPTURES, collected, page

ROOT = Path(__file__).parents[3]
TABLES = [one for one in kinds() if one.table]
SUMS = {"counter", "histogram", "ratio"}


def is_page(path):
    return re.search(r"\.prom(\.gz)?$|metrics(\.txt)?(\.gz)?$", path.name) is not None


def of_kind(name, path):
    return re.match(rf"(?:.*-)?{re.escape(name)}", path.relative_to(CAPTURES).parts[0]) is not None


def pages(name):
    """Return the recorded pages of a kind: those that its title's metrics stand on."""
    found = [
        str(one.relative_to(CAPTURES)) for one in sorted(CAPTURES.rglob("*")) if is_page(one) and of_kind(name, one)
    ]
    knows = page_matcher(kind(name))
    assert knows is not None
    return [one for one in found if knows(page(one))]


def grown(body, read):
    """Return a page as it may be later: what is counted has more than doubled."""
    names = {name for row in read.metric if row.type in SUMS for name in row.raw_names()}
    lines = []
    for line in body.decode().splitlines():
        name = re.split(r"[^\w:]", line, maxsplit=1)[0]
        head, _, value = line.rpartition(" ")
        lines.append(f"{head} {float(value) * 2 + 1:g}" if name in names and head else line)
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
async def test_a_tables_signals_come_out_of_its_recorded_pages(one):
    read = table_of(one)
    assert pages(one.name), f"no page in fixtures/captures for {one.name}"
    declared = {row.signal for row in read.metric}
    seen = set()
    for name in pages(one.name):
        body = page(name)
        first, second = await collected(one.name, [body, grown(body, read)])
        assert first.health.status == "ok", name
        told = {signal for batch in (first, second) for signal, _, _ in batch.readings}
        seen |= told
        assert told <= set(signals())
        there = {row.signal for row in report(body, one).rows if row.series}
        silent = {
            row.signal for row in read.metric if row.least is not None or row.type == "ratio" or row.join == "all"
        }
        assert there - silent <= told, name
    assert len(declared & seen) >= len(declared) / 4


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
async def test_a_recorded_page_is_read_without_a_word_of_complaint(one):
    for name in pages(one.name):
        first, second = await collected(one.name, [page(name)] * 2)
        assert (first.health.status, second.events) == ("ok", ())
        if one.name != "vllm":  # old releases lack what is expected, and that is said
            assert second.health.reason == ""


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
def test_discovery_and_nothing_else_knows_a_kinds_pages(one):
    known = [(other.name, knows) for other in findable() if (knows := page_matcher(other)) is not None]
    for name in pages(one.name):
        assert [other for other, knows in known if knows(page(name))] == [one.name], name
    assert not dict(known)[one.name](b"node_load1 1\n")


@pytest.mark.parametrize("one", kinds(), ids=lambda one: one.name)
def test_every_kind_is_in_the_doctor_the_permissions_and_the_docs(one):
    assert all(doctor.fix(one.name, status) for status in doctor.COMMON)
    (capability,) = [found for found in capabilities() if found.name == one.title]
    assert (capability.needs, capability.sends) == (one.needs, one.sends)
    reference = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert f'`kind = "{one.name}"`' in reference
    assert import_object(one.build)
    assert one.adder == "" or import_object(one.adder)


def test_every_kind_with_a_page_is_read_through_prometheus_and_named_there():
    text = (ROOT / "docs/prometheus.md").read_text(encoding="utf-8")
    assert {one.name for one, _ in readable()} == {one.name for one in TABLES}
    assert all(one.title in text for one in TABLES)


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
def test_the_top_of_a_table_is_enough_to_know_it(one):
    whole = table_of(one)
    known = one.table.known
    assert (known.title, known.source, known.hint, known.prefixes) == (
        whole.title,
        whole.source,
        whole.hint,
        whole.prefixes,
    )


def test_what_is_sent_by_other_means_than_get_is_said():
    from collectors.runtime.http import SEARCHES, TOKENS

    said = " ".join(one.sends for one in capabilities())
    assert SEARCHES
    assert TOKENS
    assert "POST searches for experiments and runs" in said
    assert "PUT without a body" in said
    for one in kinds():
        if {"token", "password", "secret_key"} & set(one.config.__struct_fields__):
            assert re.search("token|keys", one.sends), one.name


def test_a_node_running_ray_is_known_by_its_agent():
    line = b"/py/bin/python\0-u\0/py/lib/python3.11/site-packages/ray/dashboard/agent.py\0--metrics-export-port=8085\0"
    assert re.search(kind("ray").local.process, line.decode())


async def test_a_page_is_asked_with_its_token_and_at_its_own_path(monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    source = parse('[[source]]\nkind = "ray"\nurl = "http://r/metrics/"\ntoken = { env = "KEY" }\n').source[0]
    asked = []

    def handle(request):
        asked.append((str(request.url), request.headers["authorization"]))
        return httpx.Response(401)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        assert isinstance(source, PageSource)
        batch = await build(source, CollectorContext(VirtualClock(0.0), client, b"", "n")).collect()
    assert asked == [("http://r/metrics", "Bearer secret")]
    assert (batch.health.status, batch.health.interval_s) == ("unauthorized", 15.0)


def test_a_table_that_names_no_signal_is_refused_and_an_unknown_one_is_not_found():
    assert table("training", "ray").hint
    with pytest.raises(KeyError):
        table("data", "ray")
    with pytest.raises(KeyError):
        configured("rey", url="http://r")
    with pytest.raises(ValueError, match="no such signal"):
        load('title = "x"\nidentity = []\nentity = {}\n[[metric]]\nsignal = "data.x"\nnames = ["a"]\ncombine = "one"\n')
