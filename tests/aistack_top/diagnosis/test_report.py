import re
from dataclasses import replace
from html.parser import HTMLParser
from math import isnan

import pytest

from aistack_top.diagnosis.report import Report, ReportedIncident, charts, differences, markdown, reasons, text
from aistack_top.diagnosis.report_html import page
from aistack_top.model.causes import Cause
from aistack_top.model.incident import Candidate, Symptom, Verdict
from aistack_top.model.tick import Batch, Health, Quantiles, ReadingsBuilder, Tick
from aistack_top.state import State
from tests.aistack_top.diagnosis.factories import ENGINE, GPU, incident

START = 1_763_940_000.0
ONSET = START + 200.0
HOSTILE = "<script>alert(1)</script> [x](javascript:1) `\"'&"


def state(seconds=400, gap=(250, 280)):
    """A clock that falls at 185 s and a TTFT that rises at 200 s, every second, with a gap."""
    found = State()
    for second in range(seconds):
        builder = ReadingsBuilder()
        if not gap[0] <= second < gap[1]:
            builder.add("gpu.clock.sm", GPU, 1.9e9 if second < 185 else 0.9e9)
            late = 0.5 if second < 200 else 4.0
            builder.add("serving.ttft", ENGINE, Quantiles(late / 2, late, late * 2, late / 2, 50.0, 60.0))
        at = START + second
        health = Health("node", "nvml", "compute", "ok", "", 0.0, 1.0, 0.1)
        found.apply(Tick(at, at, (Batch(at, at, health, builder.build()),)))
    return found


def told(**changes):
    one = incident(START + 300, onset=ONSET, end=START + 350, **changes)
    return ReportedIncident(one, charts(one, state().frame(), START))


def report(*incidents, **changes):
    return Report("Incidents in a.aistack", "node-1", START, START + 400, incidents, **changes)


class Checked(HTMLParser):
    """Knows which tags and attributes a page has, and that every tag is closed."""

    def __init__(self, document):
        super().__init__()
        self.open, self.tags, self.attributes, self.said = [], set(), [], []
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def test_the_charts_are_the_symptom_and_what_may_explain_it():
    ttft, clock = told().charts
    assert ttft.title.startswith("TTFT p95")
    assert (ttft.usual, ttft.during) == (0.5, 4.0)
    assert clock.role == "score 0.75, moved 15 s before the symptom"
    assert (clock.said(clock.usual), clock.said(clock.during)) == ("1900 MHz", "900 MHz")
    assert any(isnan(value) for value in clock.values)


def test_a_chart_of_nothing_is_left_out():
    one = incident(START + 300, onset=ONSET, symptom=Symptom("serving.itl", ENGINE, 0.1, 0.4, 4.0, "p95"))
    assert [chart.role for chart in charts(one, state().frame(), START)] == [
        "score 0.75, moved 15 s before the symptom"
    ]


def test_text_says_everything_once():
    lines = text(report(told())).splitlines()
    assert lines[0] == "node-1, 2025-11-23T23:20:00.000Z to 2025-11-23T23:26:40.000Z"
    assert "incident i-1: compute: thermal throttle (likely)" in lines
    for said in ("clock fell", "queue rose", "no traces", "only 1.9.0 is slow", "kv pressure: KV cache at 0.5"):
        assert sum(said in line for line in lines) == 1, said
    assert "  next: look" in lines


def test_no_incident_is_said():
    assert "no incident" in text(report())
    assert "No incident." in markdown(report())
    assert "No incident." in page(report())


def test_nothing_recorded_is_read_as_markdown():
    verdict = Verdict(HOSTILE, HOSTILE, (HOSTILE,))
    said = markdown(report(told(verdict=verdict, layer="# x\n# y"), notes=(HOSTILE,)))
    for mark in ("<", r"\](?=\()", "`"):
        assert not re.search(rf"(?<!\\){mark}", said.replace("`i-1`", "")), mark
    assert not re.search(r"^# y", said, re.MULTILINE)


def test_markdown_has_the_numbers_of_the_evidence():
    assert "baseline 1900 MHz, median during 900 MHz" in markdown(report(told()))


def test_the_page_loads_and_runs_nothing():
    verdict = Verdict(HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), HOSTILE)
    candidate = Candidate("gpu.clock.sm", GPU, "compute", 0.75, 15.0, HOSTILE)
    shown = told(verdict=verdict, layer=HOSTILE, name=HOSTILE, candidates=(candidate,))
    document = page(replace(report(replace(shown, differs=(HOSTILE,)), notes=(HOSTILE,)), title=HOSTILE, node=HOSTILE))
    checked = Checked(document)
    assert checked.open == []
    assert checked.tags.isdisjoint({"script", "link", "img", "iframe", "a", "use", "image", "object"})
    assert not any(name in ("src", "href", "style") or name.startswith("on") for name, _ in checked.attributes)
    assert "default-src 'none'" in document
    assert "http://" not in document.replace("http-equiv", "")
    assert any("<script>alert(1)</script>" in said for said in checked.said)


def test_a_gap_breaks_the_line():
    document = page(report(told()))
    figures = document.split("<figure>")[1:]
    assert [figure.count("<polyline") for figure in figures] == [2, 2]


def test_a_series_that_is_sampled_less_often_has_no_gaps():
    slow = State()
    for second in range(0, 400, 10):
        builder = ReadingsBuilder()
        builder.add("gpu.clock.sm", GPU, 1e9 + second)
        at = START + second
        health = Health("node", "nvml", "compute", "ok", "", 0.0, 10.0, 0.1)
        slow.apply(Tick(at, at, (Batch(at, at, health, builder.build()),)))
    one = incident(START + 300, onset=ONSET, end=START + 350)
    assert page(report(ReportedIncident(one, charts(one, slow.frame(), START)))).count("<polyline") == 1


def test_all_charts_share_one_axis():
    document = page(report(told()))
    assert len(set(re.findall(r'<line class="o" x1="([\d.]+)"', document))) == 1
    assert document.count("onset 23:23:20") == 1


def test_a_flat_line_is_drawn():
    flat = state(180)
    one = incident(START + 170, onset=START + 100)
    assert "nan" not in page(report(ReportedIncident(one, charts(one, flat.frame(), START)))).lower().replace(
        "nanos", ""
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({"cause": Cause.POWER_CAP}, ("the cause was thermal throttle live and is power cap now",)),
        ({"confidence": "possible"}, ("how sure was likely live and is possible now",)),
        ({"layer": ""}, ("the layer was compute live and is unknown now",)),
    ],
)
def test_what_differs_from_live_is_said(changes, said):
    live = incident(START + 300, onset=ONSET)
    assert differences(live, replace(live, **changes)) == said


def test_one_that_was_not_seen_live_is_said():
    one = incident(START + 300)
    assert differences(None, one) == ("it was not detected live",)
    assert differences(one, None) == ("it was detected live and is not found now",)


def test_markdown_of_usual_words_reads_as_they_are_and_hostile_ones_stay_text():
    verdict = Verdict("TTFT p95 (8.2x) [chat-0] sw_thermal -> 2 s", "[x]: http://a.b", ("- - a",))
    said = markdown(report(told(verdict=verdict)))
    assert "**TTFT p95 (8.2x) [chat-0] sw_thermal -> 2 s**" in said
    assert "\\[x\\]: http://a.b" in said
    assert "- \\- - a\n" in said


def test_what_is_ruled_out_is_said_once():
    verdict = Verdict("", "", (), ("not kv pressure: KV cache at 0.5", "against: the clocks are high"))
    found = dict(reasons(told(verdict=verdict).incident))
    assert found["Evidence against it"] == ["the clocks are high"]
    assert found["Ruled out"] == ["kv pressure: KV cache at 0.5"]
