"""Recorded answers of a real Prometheus are the pages that it scraped, and read as those."""

import gzip
import json
from typing import Any

import msgspec
import pytest

from collectors.openmetrics.build import table
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import MAX_SERIES, LineMemo, parse
from collectors.prometheus.client import QuerySeries
from collectors.prometheus.pages import Pages, by_target, interval
from collectors.prometheus.queries import readable, series_of, up_of, whose
from collectors.prometheus.reading import TargetNames, TargetReader
from collectors.prometheus.scraped import Target
from collectors.registry import kind, kinds
from collectors.runtime.base import Source
from tests.fakes.pages import CAPTURES, page

RECORDED = "prometheus-2.42.0-vllm/"
TARGET = Target("vllm", "127.0.0.1:28102")
VLLM = kind("vllm")


def answer(name):
    return msgspec.convert(json.loads(page(RECORDED + name))["data"]["result"], list[QuerySeries])


def reader():
    return TargetReader(VLLM, table("serving", "vllm"), TARGET, "vllm-28102")


@pytest.fixture(scope="module")
def scraped():
    """Return every page that the server may have read, parsed, as sets of numbers by series."""
    found: list[Any] = []
    memo = LineMemo()
    with gzip.open(CAPTURES / "vllm-0.32.0/run1/series.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    wanted = table("serving", "vllm").wanted()
    bodies = (row["body"] for row in rows if row["url"] == "/metrics" and row["status"] == 200)
    found.extend(parse(body.encode(), wanted, memo) for body in bodies)
    return found


def numbers(one):
    return {(s.name, tuple(sorted(s.labels.items()))): value for s, value in one.values.items()}


def readings(found):
    return {(signal, entity): value for signal, entity, value in found}


def test_each_scrape_is_one_of_the_pages_and_reads_as_it_does(scraped):
    read = table("serving", "vllm")
    direct = Exposition(read, Source("vllm-28102", "vllm", "serving", 5.0))
    told = list(reader().results(answer("samples.json.gz")))
    assert len(told) == 6
    pages = Pages().of(answer("samples.json.gz"))
    known = [(numbers(one), one) for one in scraped]
    for (at, kept), one in zip(pages, told, strict=True):
        # labels without a value are not kept by Prometheus, and mean the same
        mine = numbers(kept)
        original = next(page for shown, page in known if shown == mine)
        found = direct.read(original, at, at)
        expected, got = readings(found.readings), readings(one.readings)
        counted = ("serving.requests.arrived", "serving.requests.hung_up")
        got = {key: value for key, value in got.items() if key[0] not in counted}
        assert got == expected
    assert len(expected) > 25
    assert told[-1].at - told[0].at == pytest.approx(25.0, abs=0.1)


def test_the_steps_of_a_range_have_the_times_of_the_scrapes():
    times = {(): {at: float(text) for row in answer("range_times.json") for at, text in row.values}}
    told = list(reader().results(answer("range.json.gz"), times=times, pace_s=30.0))
    assert [one.at for one in told] == sorted(times[()].values())
    assert all(at < step for step, at in times[()].items())
    rates = [
        value for one in told[1:] for signal, _, value in one.readings if signal == "serving.generation_tokens.rate"
    ]
    assert len(rates) == 2
    assert min(rates) > 0


def test_a_page_is_read_once_however_often_it_is_answered():
    pages = Pages()
    rows = answer("samples.json.gz")
    assert len(pages.of(rows)) == 6
    assert pages.of(rows) == []
    assert pages.up
    assert pages.every_s == pytest.approx(5.0, abs=0.01)
    assert interval(at for row in answer("up.json") for at, _ in row.values) == pytest.approx(5.0, abs=0.01)


def test_a_target_that_does_not_answer_has_no_pages_and_is_down():
    pages = Pages()
    assert pages.of(answer("down.json")) == []
    assert not pages.up


def test_who_is_scraped_is_told_by_names_that_only_this_kind_has():
    rows = answer("targets.json")
    other = Target("vllm", "127.0.0.1:28101")
    found, unplaced = by_target(rows, [TARGET, other])
    assert set(found) == {TARGET, other}
    assert not unplaced
    read = {one.name: table for one, table in readable()}
    assert set(read) == {one.name for one in kinds() if one.table}
    assert "process_start_time_seconds" not in whose(read["vllm"], ("job", "instance"))
    assert "process_start_time_seconds" in series_of(read["vllm"], [TARGET.pair])


def test_hostile_names_of_targets_cannot_leave_their_quotes():
    hostile = 'a"} or vector(1) or up{x="\\n\n.*'
    told = up_of(("job", hostile))
    assert (
        told
        == '{__name__="up",job=~"job",instance=~"a\\"\\\\} or vector\\\\(1\\\\) or up\\\\{x=\\"\\\\\\\\n\\n\\\\.\\\\*"}'
    )


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf", "", "0x", "1e999"])
def test_what_is_no_number_is_a_gap(text):
    row = QuerySeries({"__name__": "vllm:num_requests_running"}, [(1.0, text)])
    assert Pages().of([row]) == []


def test_labels_that_churn_cost_a_bounded_amount():
    pages = Pages()
    for start in range(0, 5 * MAX_SERIES, MAX_SERIES):
        rows = [QuerySeries({"__name__": "x", "id": str(start + n)}, [(start + 1.0, "1")]) for n in range(MAX_SERIES)]
        ((_, one),) = pages.of(rows)
        assert len(one.values) == MAX_SERIES
    assert len(pages._series) <= 3 * MAX_SERIES
    ((_, one),) = pages.of([QuerySeries({"__name__": "y", "id": str(n)}, [(1e6, "1")]) for n in range(MAX_SERIES + 3)])
    assert (one.left_off, one.clean, one.unread_names) == (3, False, {"y"})


@pytest.mark.parametrize(
    ("instance", "near", "name"),
    [
        ("127.0.0.1:8000", True, "vllm-8000"),
        ("localhost:8000", True, "vllm-8000"),
        ("[::1]:8000", True, "vllm-8000"),
        ("10.0.0.5:8000", True, "10.0.0.5:8000"),
        ("gpu-1:8000", False, "vllm-8000"),
        ("192.168.0.7:8001", False, "chat"),
        ("localhost:8000", False, "localhost:8000"),
        ("engine of team a", False, "engine of team a"),
        ("http://[", False, "http://["),
        ("a:99999", False, "a:99999"),
        ("x\x1b[2J:1", False, "x:1"),
    ],
)
def test_a_target_has_the_name_that_it_has_when_it_is_read_directly(instance, near, name):
    names = TargetNames({"gpu-1", "192.168.0.7"}, near, {("127.0.0.1", 8001): "chat"})
    assert names.of("vllm", instance) == name
