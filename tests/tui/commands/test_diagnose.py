import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from aistack_top.model.incident import Symptom
from aistack_top.text.timestamps import rfc3339
from tests.aistack_top.diagnosis.factories import incident
from tests.aistack_top.session.ticks import ENGINE, START, record, tick
from tui.cli import main

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schema/diagnosis.json").read_text())


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two minutes with an incident that is noticed at 60 s and over at 100 s."""
    path = tmp_path_factory.mktemp("diagnose") / "node.aistack"
    symptom = Symptom("serving.ttft", ENGINE, 0.3, 0.4, 1.3, "p95")
    first = incident(START + 60.0, onset=START + 40.0, place=ENGINE, symptom=symptom)
    known = {60: first, 100: replace(first, revised=START + 100.0, end=START + 95.0)}
    ticks = [replace(tick(n), incidents=(known[n],) if n in known else ()) for n in range(120)]
    record(path, ticks)
    return path


def diagnose(*words):
    return CliRunner().invoke(main, ["diagnose", *map(str, words)])


def test_it_is_told_as_text(session):
    result = diagnose(session)
    assert result.exit_code == 0, result.output
    assert "incident i-1: compute: thermal throttle (likely)" in result.stdout
    assert "for 55 s, detected after 30 s" in result.stdout


def test_an_incident_that_is_open_then_exits_1(session):
    result = diagnose(session, "--at", rfc3339(START + 80))
    assert result.exit_code == 1
    assert "open for 40 s" in result.stdout


def test_before_it_was_noticed_there_is_none(session):
    result = diagnose(session, "--at", rfc3339(START + 30))
    assert result.exit_code == 0
    assert "no incident" in result.stdout


def test_json_is_what_the_schema_says(session):
    document = json.loads(diagnose(session, "--json").stdout)
    jsonschema.validate(document, SCHEMA)
    assert [one["cause"] for one in document["incidents"]] == ["thermal_throttle"]


def test_the_page_has_the_evidence(session, tmp_path):
    target = tmp_path / "page.html"
    result = diagnose(session, "--html", target)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert target.read_text().count("<polyline") == 1  # TTFT; the clock was not recorded


def test_markdown_is_printed(session):
    assert diagnose(session, "--markdown").stdout.startswith("# Incidents in node.aistack\n")


def test_two_forms_at_once_are_refused(session):
    result = diagnose(session, "--json", "--markdown")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


@pytest.mark.parametrize(("words", "said"), [(["--at", "soon"], "is not a time"), (["--at", "2020-01-01"], "outside")])
def test_a_time_that_is_none_is_said(session, words, said):
    result = diagnose(session, *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_is_no_session_is_said_in_one_line(tmp_path):
    (tmp_path / "foreign.aistack").mkdir()
    (tmp_path / "foreign.aistack" / "session.json").write_text("[1, 2")
    for path in (tmp_path / "none", tmp_path / "foreign.aistack", tmp_path):
        result = diagnose(path)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_a_damaged_session_tells_what_is_left(session, tmp_path):
    damaged = tmp_path / "damaged.aistack"
    shutil.copytree(session, damaged)
    parts = sorted(path for path in damaged.rglob("*") if path.is_file() and path.name != "session.json")
    for path in parts[: len(parts) // 2]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = diagnose(damaged)
    assert result.exit_code in (0, 1, 2, 3)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr


def test_a_page_that_cannot_be_written_is_said(session, tmp_path):
    result = diagnose(session, "--html", tmp_path / "none" / "page.html")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
