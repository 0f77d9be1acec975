"""The text formats: exemplars, times, numbers that are none, pages larger than what is kept."""

import pytest

from aistack_top.model.tick import Quantiles
from collectors.openmetrics.collector import addable
from collectors.openmetrics.parser import LineMemo, parse
from tests.collectors.openmetrics.test_engine import RAIL, WANTED, Reader, got, summary, values

EXEMPLAR = b' # {trace_id="0b{} 1"} 0.31 1700000000.125'


@pytest.mark.parametrize(
    ("line", "value", "time"),
    [
        (b'b 3 # {trace_id="x"} 0.5', 3.0, None),
        (b'b{x="a"} 3' + EXEMPLAR, 3.0, None),
        (b'b{x="a"} 3 1700000000.5' + EXEMPLAR, 3.0, 1700000000.5),
        (b'b{x="} 7"} 3' + EXEMPLAR, 3.0, None),
        (b'b{x="\\\\"} 3 # {} 1', 3.0, None),
        (b"b 3 1.7e9", 3.0, 1.7e9),
        (b"b 3 -12.5", 3.0, -12.5),
        (b"b 3 NaN", None, None),
        (b"b 3 12 13", None, None),
        (b"b 3 # no exemplar", None, None),
    ],
)
def test_openmetrics_exemplars_and_times_in_seconds(line, value, time):
    memo = LineMemo()
    for _ in range(2):
        page = parse(line + b"\n# EOF\n", WANTED, memo, openmetrics=True)
        assert list(page.values.values()) == ([] if value is None else [value])
        assert list(page.times.values()) == ([] if time is None else [time])
        assert page.bad == (value is None)


def test_times_of_the_text_format_are_milliseconds():
    page = parse(b"b 3 1700000000500\n", WANTED)
    assert list(page.times.values()) == [1700000000.5]
    assert parse(b"b 3 1700000000.5\n", WANTED).bad == 1


def test_names_in_quotes_are_read_or_passed_over():
    page = parse(b'{"b",x="1"} 4\n{"other.name",x="1"} 5\n', WANTED)
    assert (values(page), page.bad) == ({("b", (("x", "1"),)): 4.0}, 0)


@pytest.mark.parametrize("value", [b"NaN", b"+Inf", b"-Inf", b"1e39", b"1.797e308", b"9223372036854775807", b"1e999"])
def test_what_is_no_number_hides_what_is_made_of_it(value):
    reader = Reader(RAIL)
    page = b'rail_requests_total{a="1"} %s\nrail_requests_total{a="2"} %s\n'
    reader.read(page % (b"100", b"5"), 0.0)
    found = reader.read(page % (b"120", value), 2.0)
    assert (got(found), found.events) == ({}, ())
    assert got(reader.read(page % (b"140", b"5"), 4.0)) == {("guardrail.requests", "rail=input"): 10.0}


@pytest.mark.parametrize("broken", [b"x", b"1 2 3", b"NaN"])
def test_a_histogram_with_a_bucket_that_was_not_read_is_not_told(broken):
    reader = Reader(RAIL)
    page = b'rail_ms_bucket{le="100"} %d\nrail_ms_bucket{le="200"} %s\nrail_ms_bucket{le="+Inf"} %d\nrail_ms_count %d\n'
    reader.read(page % (0, broken, 0, 0), 0.0)
    found = reader.read(page % (0, broken, 40, 40), 10.0)
    assert got(found) == {}
    assert "not shown, some of their lines were unreadable: guardrail latency" in found.notes
    reader.read(page % (0, b"40", 40, 40), 20.0)
    spread = got(reader.read(page % (0, b"80", 80, 80), 30.0))["guardrail.latency", "rail=input"]
    assert isinstance(spread, Quantiles)
    assert spread.p50 == pytest.approx(0.15)


def test_a_page_of_line_feeds_is_no_work():
    page = parse(b"\n" * 4_000_000 + b"b 1\n", WANTED)
    assert values(page) == {("b", ()): 1.0}


def test_lines_are_whole_wherever_the_page_is_split(monkeypatch):
    body = b"".join(b'b{x="%d"} %d\n' % (number, number) for number in range(300)) + b"a_total 7"
    whole = summary(parse(body, WANTED))
    for block in range(1, 40):
        monkeypatch.setattr("collectors.openmetrics.parser.BLOCK", block)
        assert summary(parse(body, WANTED)) == whole


def test_the_end_mark_needs_no_line_feed():
    assert parse(b"b 1\n# EOF", WANTED).cut is False


SPEND = """
title = "proxy"
identity = ["spend_"]
[entity]
model = "model"
[[metric]]
signal = "spend.proxy.rate"
type = "counter"
names = ["spend_total"]
combine = "sum"
factor = 3600.0
[[metric]]
signal = "serving.requests.running"
names = ["running"]
combine = "max"
"""


def spend_page(keys: int, at: float) -> bytes:
    rows = [b'spend_total{key="k%d",model="m"} %f\n' % (key, 0.001 * at) for key in range(keys)]
    rows += [b'running{key="k%d",model="m"} 1\n' % key for key in range(3)]
    return b"".join(rows)


def test_a_sum_over_more_series_than_are_kept_is_whole(monkeypatch):
    monkeypatch.setattr("collectors.openmetrics.parser.MAX_SERIES", 50)
    reader = Reader(SPEND)
    reader.memo = LineMemo(addable(reader.table))
    assert addable(reader.table) == {b"spend_total": frozenset({"model"})}
    reader.read(spend_page(90, 100.0), 0.0)
    found = reader.read(spend_page(90, 110.0), 10.0)
    # 90 keys of 3.60 $/h each; the gauge is a maximum and stands behind the limit, so that it is not known
    assert got(found) == {("spend.proxy.rate", "model=m"): pytest.approx(90 * 3.6)}
    assert "not shown" not in " ".join(found.notes), "a name of which nothing was read has nothing to withhold"
    assert any("3 series beyond the first" in note for note in found.notes)
    fewer = reader.read(spend_page(80, 120.0), 20.0)
    assert fewer.events == (), "a key that was deleted is no restart"
    restarted = reader.read(spend_page(80, 1.0), 30.0)
    assert [event.kind for event in restarted.events] == ["restart"]
    again = reader.read(spend_page(80, 11.0), 40.0)
    assert got(again) == {("spend.proxy.rate", "model=m"): pytest.approx(80 * 3.6)}


def test_a_sum_of_which_a_part_was_not_read_is_not_told(monkeypatch):
    monkeypatch.setattr("collectors.openmetrics.parser.MAX_SERIES", 50)
    reader = Reader(SPEND)
    reader.read(spend_page(90, 100.0), 0.0)
    found = reader.read(spend_page(90, 110.0), 10.0)
    assert got(found) == {}
    assert any(note.startswith("not shown, some of their lines were unreadable: ") for note in found.notes)


WHOLE = RAIL.replace("factor = 0.001", "factor = 0.001\nwhole = true")


@pytest.mark.parametrize(("fraction", "p50", "mean"), [(0.0, 0.0025, 0.0025), (0.25, 0.0015, 0.002)])
def test_a_histogram_of_whole_milliseconds_is_told_as_it_was_before_they_were_cut_off(fraction, p50, mean):
    reader = Reader(WHOLE)
    page = b'rail_ms_bucket{le="1"} 0\nrail_ms_bucket{le="2"} %d\nrail_ms_bucket{le="+Inf"} %d\nrail_ms_sum %f\n'
    reader.read(page % (10, 10, 20 + fraction), 0.0)
    spread = got(reader.read(page % (50, 50, 100 + fraction), 10.0))["guardrail.latency", "rail=input"]
    # a sum with a fraction shows that nothing is cut off
    assert (spread.p50, spread.mean) == (pytest.approx(p50), pytest.approx(mean))


def test_a_histogram_that_left_the_page_begins_anew_when_it_comes_back():
    reader = Reader(RAIL)
    page = b'rail_requests_total 1\nrail_ms_bucket{le="100"} %d\nrail_ms_bucket{le="+Inf"} %d\n'
    reader.read(page % (0, 0), 0.0)
    assert got(reader.read(page % (30, 30), 10.0))["guardrail.latency", "rail=input"].count == 30
    assert ("guardrail.latency", "rail=input") not in got(reader.read(b"rail_requests_total 1\n", 20.0))
    assert ("guardrail.latency", "rail=input") not in got(reader.read(page % (70, 70), 30.0))
    assert got(reader.read(page % (90, 90), 40.0))["guardrail.latency", "rail=input"].count == 20
