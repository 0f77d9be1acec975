"""``demo``, and ``record`` and ``snapshot`` of a scenario, as typed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import httpx
import jsonschema
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from aistack_top.model.causes import Cause
from aistack_top.model.signals import LAYERS
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.writer import BlockWriter
from aistack_top.simulator.scenario import scenarios
from tui.cli import main

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/schema/demo-list.json").read_text())


@pytest.fixture
def typed(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "none.toml"))

    def type_(*words):
        return CliRunner().invoke(main, [str(word) for word in words])

    return type_


def test_the_list_has_every_scenario_with_its_layer_and_cause(typed):
    told = json.loads(typed("demo", "--list", "--json").stdout)
    jsonschema.validate(told, SCHEMA)
    assert [row["name"] for row in told["scenarios"]] == list(scenarios())
    assert {row["cause"] for row in told["scenarios"]} <= {str(cause) for cause in Cause}
    assert {row["layer"] for row in told["scenarios"]} - {None} <= set(LAYERS)
    plain = typed("demo", "--list").stdout
    assert all(name in plain for name in scenarios())


def test_a_scenario_that_is_none_is_refused_with_the_nearest(typed):
    for words in (("demo", "thermal_throtle"), ("snapshot", "--demo", "thermal_throtle"), ("record", "--demo", "ecd")):
        result = typed(*words)
        assert result.exit_code == 2
        assert "did you mean" in result.stderr


def test_the_snapshot_of_a_drill_has_its_incident_open(typed, monkeypatch):
    monkeypatch.setattr("collectors.demo.feed.BASELINE_S", 60.0)
    hurt = typed("snapshot", "--demo", "xid", "--json", "--settle", "25")
    assert hurt.exit_code == 1
    assert [one["cause"] for one in json.loads(hurt.stdout)["incidents"]] == ["xid"]


def test_a_recorded_drill_is_a_session(typed, tmp_path):
    path = tmp_path / "drill.aistack"
    result = typed("record", "--demo", "spot_notice", "--for", "30s", "-o", path)
    assert result.exit_code == 0
    assert "paused" not in result.stderr
    session = Session.open(path)
    assert session.node == "simulated"
    assert session.end - session.start == pytest.approx(30.0, abs=1.0)
    assert not session.problems


def test_a_short_recording_waits_for_its_first_segment_however_slow_the_host_is(typed, tmp_path, monkeypatch):
    encode = BlockWriter.encode

    def slowly(writer):
        time.sleep(0.2)  # a busy host imports Polars for the first segment, which took longer than a screen waits
        return encode(writer)

    monkeypatch.setattr(BlockWriter, "encode", slowly)
    monkeypatch.setattr(Recorder.close, "__defaults__", (0.0,))
    result = typed("record", "--demo", "spot_notice", "--for", "3s", "-o", tmp_path / "short.aistack")
    assert result.exit_code == 0
    assert Session.open(tmp_path / "short.aistack").blocks


def test_a_recording_whose_end_was_not_written_says_so(typed, tmp_path, monkeypatch):
    monkeypatch.setattr("tui.commands.record.WRITTEN_S", 0.0)
    release = Event()
    monkeypatch.setattr(BlockWriter, "encode", lambda _: release.wait(10) and ({}, ()))
    try:
        result = typed("record", "--demo", "spot_notice", "--for", "3s", "-o", tmp_path / "short.aistack")
    finally:
        release.set()
    assert result.exit_code == 2
    assert "the end of the recording was not written" in result.stderr


def test_the_servers_of_a_drill_answer_on_loopback_until_interrupted():
    words = [sys.executable, "-m", "aistack_top", "demo", "healthy_day", "--serve", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            addresses = [process.stdout.readline().strip()]
            assert addresses[0].startswith("http://127.0.0.1:")
            page = httpx.get(f"{addresses[0]}/metrics").text
            assert 'vllm:num_requests_running{engine="0",model_name="chat-70b"}' in page
            root = addresses[0].rpartition("/")[0]
            for name in ("dcgm", "litellm", "nemo", "milvus", "ray"):
                families = list(text_string_to_metric_families(httpx.get(f"{root}/{name}/metrics").text))
                assert len(families) > 3
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
