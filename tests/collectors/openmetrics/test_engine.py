"""The exposition engine: parsing, tables, rates and quantiles, and everything a page can do wrong."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Quantiles
from collectors.openmetrics.collector import ExpositionCollector, check
from collectors.openmetrics.engine import Assembled, Exposition
from collectors.openmetrics.parser import ASIDE, MAX_SERIES, LineMemo, MetricsPage, parse, parse_aside
from collectors.openmetrics.table import TableError, load
from collectors.runtime.base import Source, SourceError
from collectors.runtime.http import Answer

QUICK = settings(max_examples=150, derandomize=True, deadline=None)
WANTED = frozenset({b"a_total", b"b", b"h_bucket", b"h_count", b"h_sum"})

DCGM = """
title = "DCGM exporter"
identity = ["DCGM_FI_"]
sentinel_ranges = [[2147483632, 2147483647], [9.2e18, 1e300]]
[entity]
gpu = "UUID|uuid"
mig = { labels = ["GPU_I_ID"], optional = true }
[[metric]]
signal = "gpu.clock.sm"
names = ["DCGM_FI_DEV_SM_CLOCK"]
combine = "one"
factor = 1e6
[[metric]]
signal = "gpu.temperature"
names = ["DCGM_FI_DEV_GPU_TEMP"]
combine = "one"
least = 0
[[metric]]
signal = "gpu.ecc.uncorrected"
names = ["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"]
combine = "one"
type = "counter"
[[fact]]
names = ["DCGM_FI_DEV_GPU_TEMP"]
labels = { name = "modelName" }
"""

RAIL = """
title = "rails"
identity = ["rail_"]
[entity]
rail = { constant = "input" }
[[metric]]
signal = "guardrail.latency"
type = "histogram"
names = ["rail_ms"]
combine = "sum"
factor = 0.001
[[metric]]
signal = "guardrail.requests"
type = "counter"
names = ["rail_requests_total"]
combine = "sum"
"""


def values(page: MetricsPage) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(s.name, tuple(sorted(s.labels.items()))): v for s, v in page.values.items()}


def summary(page: MetricsPage) -> object:
    return values(page), page.bad, page.twice, page.left_off, page.cut


def source(name: str = "one") -> Source:
    return Source(name, "text", "serving", 2.0)


class Reader:
    def __init__(self, text: str) -> None:
        self.table = load(text)
        self.exposition = Exposition(self.table, source())
        self.memo = LineMemo()

    def page(self, body: bytes) -> MetricsPage:
        return parse(body, self.table.wanted(), self.memo)

    def read(self, body: bytes, at: float) -> Assembled:
        return self.exposition.read(self.page(body), at, at)


def got(found: Assembled) -> dict[tuple[str, str], Any]:
    return {(signal, str(entity)): value for signal, entity, value in found.readings}


LINE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b'a_total{x="1"} 5',
            b'a_total{x="1"} 5 1700000000000',
            b'a_total{ x="1" , }  6',
            b"b\t7",
            b"b 8 ",
            b"  b 9",
            b"b NaN",
            b"b +Inf",
            b"b 1_0",
            b"b",
            b"b 1}",
            b'b{x="}"} 1',
            b'b{x="a b"} 2',
            b'b{x="\\"} 2',
            b'b{x="1",x="2"} 2',
            b"b 0x10",
            b"b 5 6 7",
            b"# TYPE b gauge",
            b" # b 4",
            b"#",
            b"",
            b"unwanted 3",
            b'h_bucket{le="+Inf"} 4',
            b'h_bucket{le="0.1"} 4\r',
            b"a_created 1",
        ]
    ),
)


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(body):
    page = parse(body, WANTED)
    assert all(value - value == 0 for value in page.values.values())


@QUICK
@given(st.lists(st.lists(LINE, max_size=8), min_size=1, max_size=4))
def test_a_memo_changes_nothing_but_the_work(pages):
    memo = LineMemo()
    for lines in pages:
        body = b"\n".join(lines) + b"\n"
        assert summary(parse(body, WANTED, memo)) == summary(parse(body, WANTED))


@QUICK
@given(st.binary(max_size=40).filter(lambda line: b"\n" not in line), st.integers(0, 2))
def test_a_bad_line_costs_only_itself(noise, place):
    good = [b'a_total{x="1"} 5', b"b 7"]
    lines = [*good[:place], b"h_sum " + noise, *good[place:]]
    page = parse(b"\n".join(lines) + b"\n", WANTED)
    kept = {key: value for key, value in values(page).items() if key[0] != "h_sum"}
    assert kept == {("a_total", (("x", "1"),)): 5.0, ("b", ()): 7.0}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"b 1 1700000000000\n", 1.0),
        (b"b\t1\n", 1.0),
        (b"b 1\r\n", 1.0),
        (b"b 1e3\n", 1000.0),
        (b"b 1_000\n", None),
        (b"b NaN\n", None),
        (b"b -Inf\n", None),
        (b"b 1 2 3\n", None),
    ],
)
def test_a_value_is_read_as_the_format_says(body, expected):
    assert values(parse(body, WANTED)).get(("b", ())) == expected


def test_escaped_labels_are_the_parsers_business():
    page = parse(b'b{x="a\\"}{\\n\\\\ b"} 1\n', WANTED)
    assert values(page) == {("b", (("x", 'a"}{\n\\ b'),)): 1.0}


def test_the_same_series_twice_is_said_and_the_last_one_counts():
    page = parse(b'b{x="1",y="2"} 1\nb{y="2",x="1"} 5\n', WANTED)
    assert (list(page.values.values()), page.twice) == ([5.0], 1)


def test_a_page_that_ends_in_mid_line_loses_its_last_number():
    page = parse(b"a_total 1\nb 12", WANTED)
    assert (values(page), page.cut, page.clean) == ({("a_total", ()): 1.0}, True, False)


def test_created_gauges_and_unwanted_names_are_not_read():
    assert parse(b"a_created 1\nb_created 2\nc 3\nbb 4\n", WANTED).values == {}


async def test_fifty_thousand_series_are_read_up_to_the_limit_and_on_a_thread():
    body = b"".join(b'b{x="%070d"} 1\n' % number for number in range(MAX_SERIES + 500))
    assert len(body) > ASIDE
    page = await parse_aside(body, WANTED, LineMemo())
    assert (len(page.values), page.left_off) == (MAX_SERIES, 500)


def test_a_memo_stays_bounded_under_labels_that_never_come_back(monkeypatch):
    monkeypatch.setattr("collectors.openmetrics.parser.MAX_PREFIXES", 100)
    memo = LineMemo()
    for turn in range(5):
        body = b"".join(b'b{x="%d"} 1\n' % (turn * 90 + number) for number in range(90))
        assert len(parse(body, WANTED, memo).values) == 90
        assert len(memo.prefixes) <= 100


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('signal = "no.such"\nnames = ["x"]\ncombine = "max"', "no such signal"),
        ('signal = "gpu.fan"\nnames = []\ncombine = "max"', "without names"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\nfactr = 2', "factr"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\ntype = "ratio"', "needs 'over'"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\ntype = "names"', "needs 'label'"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\nwhere = { a = "(" }', "regular expression"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\nentity = { gpus = "x" }', "no such entity key"),
        ('signal = "gpu.fan"\nnames = ["x"]\ncombine = "max"\nentity = { gpu = {} }', "say one of"),
        ("signal = ", "Invalid"),
    ],
)
def test_a_table_that_cannot_work_says_why(row, told):
    with pytest.raises(TableError, match=told):
        load(f'title = "t"\nidentity = ["x"]\nentity = {{ gpu = "uuid" }}\n[[metric]]\n{row}\n')


def test_renamed_labels_units_and_blank_values_of_another_exporter():
    reader = Reader(DCGM)
    body = (
        b'DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-1",modelName="H100"} 1905\n'
        b'DCGM_FI_DEV_SM_CLOCK{gpu="1",uuid="GPU-2",GPU_I_ID="3"} 9223372036854775794\n'
        b'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1",modelName="H100 \x1b[31m"} 37\n'
        b'DCGM_FI_DEV_GPU_TEMP{gpu="1",uuid="GPU-2",GPU_I_ID="3"} 2147483632\n'
        b'DCGM_FI_DEV_GPU_TEMP{gpu="9"} 50\n'
        b'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{UUID="GPU-1"} 4\n'
    )
    page = reader.page(body)
    found = got(reader.exposition.read(page, 10.0, 10.0))
    assert found == {
        ("gpu.clock.sm", "gpu=GPU-1"): 1905e6,
        ("gpu.temperature", "gpu=GPU-1"): 37.0,
        ("gpu.ecc.uncorrected", "gpu=GPU-1"): 4.0,
    }
    assert [(fact.key, fact.value) for fact in reader.exposition.facts(page)] == [("name", "H100")]


def test_a_constant_entity_and_a_histogram_in_milliseconds():
    reader = Reader(RAIL)
    page = b'rail_ms_bucket{le="100"} %d\nrail_ms_bucket{le="200"} %d\nrail_ms_count %d\nrail_ms_sum %d\n'
    reader.read(page % (0, 0, 0, 0), 0.0)
    found = got(reader.read(page % (0, 40, 40, 6000), 10.0))
    spread = found["guardrail.latency", "rail=input"]
    assert isinstance(spread, Quantiles)
    assert spread.p50 == pytest.approx(0.15)
    assert spread.mean == pytest.approx(0.15)


def test_counters_become_rates_and_the_first_sight_gives_none():
    reader = Reader(RAIL)
    assert got(reader.read(b"rail_requests_total 100\n", 0.0)) == {}
    assert got(reader.read(b"rail_requests_total 120\n", 2.0)) == {("guardrail.requests", "rail=input"): 10.0}


def test_a_counter_that_is_born_counts_from_nothing():
    reader = Reader(RAIL)
    reader.read(b'rail_requests_total{a="1"} 100\n', 0.0)
    body = b'rail_requests_total{a="1"} 100\nrail_requests_total{a="2"} 4\n'
    assert got(reader.read(body, 2.0)) == {("guardrail.requests", "rail=input"): 2.0}


def test_a_counter_hidden_by_a_bad_line_is_not_taken_for_a_new_one():
    reader = Reader(RAIL)
    good = b'rail_requests_total{a="1"} 100\nrail_requests_total{a="2"} %d\n'
    reader.read(b'rail_requests_total{a="1"} 100\nrail_requests_total{a="2"} 5000x\n', 0.0)
    assert got(reader.read(good % 5000, 2.0)) == {}
    assert got(reader.read(good % 5008, 4.0)) == {("guardrail.requests", "rail=input"): 4.0}


def test_a_line_that_is_unreadable_once_is_no_restart():
    reader = Reader(RAIL)
    good = b'rail_requests_total{a="1"} 100\nrail_requests_total{a="2"} 50\n'
    reader.read(good, 0.0)
    found = reader.read(b'rail_requests_total{a="1"} 100\nrail_requests_total{a="2"} oops\n', 2.0)
    assert found.events == ()
    assert found.notes == (
        "1 line of the page could not be read",
        "not shown, some of their lines were unreadable: checks",
    )
    assert got(found) == {}, "of two counters one is not known, so neither is their sum"
    later = reader.read(good, 4.0)
    assert got(later) == {("guardrail.requests", "rail=input"): 0.0}


@pytest.mark.parametrize(
    "after",
    [
        b"rail_requests_total 3\nprocess_start_time_seconds 50\n",
        b"rail_requests_total 900\nprocess_start_time_seconds 99\n",
    ],
    ids=["counters backwards", "another start time"],
)
def test_a_restart_drops_every_interval_and_is_told_once(after):
    reader = Reader(RAIL)
    bucket = b'rail_ms_bucket{le="+Inf"} 5\n'
    reader.read(b"rail_requests_total 100\nprocess_start_time_seconds 50\n" + bucket, 0.0)
    found = reader.read(after + bucket, 2.0)
    assert got(found) == {}
    assert [(event.kind, event.severity) for event in found.events] == [("restart", "warning")]
    assert found.restarted
    later = reader.read(after.replace(b"_total ", b"_total 1") + bucket, 4.0)
    assert later.events == ()
    assert ("guardrail.requests", "rail=input") in got(later)


def test_two_servers_behind_one_address_are_suspected_after_three_restarts():
    reader = Reader(RAIL)
    told = []
    for turn in range(8):
        found = reader.read(b"rail_requests_total %d\n" % (900 if turn % 2 else 3), turn * 2.0)
        told.append((len(found.events), bool(found.notes)))
    # it fell once, and stood where it had been with the next page: from then on no rate is one
    assert [events for events, _ in told] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert [noted for _, noted in told] == [False] * 3 + [True] * 5


def test_series_with_different_buckets_are_not_merged():
    reader = Reader(RAIL)
    body = b'rail_ms_bucket{a="1",le="1"} 1\nrail_ms_bucket{a="1",le="+Inf"} 1\nrail_ms_bucket{a="2",le="+Inf"} 1\n'
    assert reader.read(body, 0.0).notes == ("1 histograms have series with different buckets and were not read",)


def answer(
    body: bytes = b"rail_requests_total 1\n", kind: str = "text/plain; version=0.0.4", status: int = 200
) -> Answer:
    return Answer(status, httpx.Headers({"content-type": kind}), body, 0.01)


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (answer(b"<html><body>hello"), "misconfigured", "web page"),
        (answer(b"\n <!DOCTYPE html>", "text/plain"), "misconfigured", "web page"),
        (answer(b"x", "text/html"), "misconfigured", "web page"),
        (answer(b'{"detail":"no"}', "application/json"), "misconfigured", "JSON"),
        (answer(b'{"detail":"no"}'), "misconfigured", "JSON"),
        (answer(kind="image/png"), "misconfigured", "image/png"),
        (answer(b""), "misconfigured", "empty"),
        (answer(b"other_metric 1\n"), "misconfigured", "no rails metrics"),
        (answer(status=401), "unauthorized", "401"),
        (answer(status=404), "misconfigured", "404"),
        (answer(status=503), "down", "503"),
    ],
)
def test_what_is_no_metrics_page_is_said_in_words(given, status, told):
    with pytest.raises(SourceError, match=told) as caught:
        check(given, load(RAIL))
    assert caught.value.status == status


async def test_a_source_of_one_page_needs_only_a_table():
    bodies = [b"rail_requests_total 100\n", b"rail_requests_total 140\nrail_requests_total 140\n"]

    def handle(request):
        return httpx.Response(200, headers={"content-type": "text/plain"}, content=bodies.pop(0))

    clock = VirtualClock(1000.0)
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = ExpositionCollector(source(), client, clock, load(RAIL), "http://rails/metrics")
        with clock.participant():
            first = await collector.collect()
            await clock.sleep_until(1002.0)
            second = await collector.collect()
        await collector.aclose()
    assert (first.health.status, len(first.readings)) == ("ok", 0)
    assert list(second.readings) == [("guardrail.requests", Entity.of(rail="input"), 20.0)]
    assert "duplicate" in second.health.reason


def test_the_engine_can_be_left_while_a_page_is_being_read():
    async def leave() -> None:
        body = b"".join(b'b{x="%070d"} 1\n' % number for number in range(15_000))
        memo = LineMemo()
        first = asyncio.create_task(parse_aside(body, WANTED, memo))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len((await parse_aside(body, WANTED, memo)).values) == MAX_SERIES

    asyncio.run(leave())


def test_a_memo_that_had_to_forget_costs_an_interval_and_invents_nothing(monkeypatch):
    reader = Reader(RAIL)
    reader.read(b"rail_requests_total 100\n", 0.0)
    monkeypatch.setattr("collectors.openmetrics.parser.MAX_PREFIXES", 1)
    found = reader.read(b"rail_requests_total 120\n", 2.0)
    assert (got(found), found.events) == ({}, ())


def test_any_number_of_unwanted_lines_costs_the_wanted_ones_nothing(monkeypatch):
    monkeypatch.setattr("collectors.openmetrics.parser.MAX_PREFIXES", 50)
    reader = Reader(RAIL)
    rest = b"".join(b'other{x="%d"} 1\n' % number for number in range(200))
    reader.read(rest + b"rail_requests_total 100\n", 0.0)
    found = reader.read(rest + b"rail_requests_total 120\n", 2.0)
    assert got(found) == {("guardrail.requests", "rail=input"): 10.0}
