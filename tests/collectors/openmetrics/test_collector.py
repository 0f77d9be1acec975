"""A source of one page: what is not ok about it, and samples that carry their own time."""

import threading

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch
from collectors.openmetrics.collector import MANY, ExpositionCollector
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import parse
from collectors.openmetrics.table import load
from tests.collectors.openmetrics.test_engine import RAIL, source


async def polled(*answers: httpx.Response, at: float = 1_700_000_000.0, every_s: float = 2.0) -> list[Batch]:
    clock, left = VirtualClock(at), [*answers]
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: left.pop(0))) as client:
        collector = ExpositionCollector(source(), client, clock, load(RAIL), "http://rails/metrics")
        batches = []
        with clock.participant():
            for number in range(len(answers)):
                await clock.sleep_until(at + number * every_s)
                batches.append(await collector.collect())
    return batches


def page_answer(*lines: bytes, kind: str = "text/plain", date: str = "") -> httpx.Response:
    headers = {"content-type": kind} | ({"date": date} if date else {})
    return httpx.Response(200, headers=headers, content=b"\n".join(lines) + b"\n")


async def test_a_page_of_which_nothing_could_be_read_is_not_ok():
    (batch,) = await polled(
        page_answer(b"# TYPE rail_requests_total counter", b"rail_requests_total x", b"rail_ms_sum y")
    )
    assert batch.health.status == "misconfigured"
    assert batch.health.reason == "the page could not be parsed: 2 lines not in the text format"


async def test_a_page_most_of_which_could_not_be_read_is_partial():
    (batch,) = await polled(page_answer(b"rail_requests_total 1", b"rail_ms_sum x", b"rail_ms_count y"))
    assert (batch.health.status, batch.health.age_s) == ("partial", 0.0)


OLD = 1_700_000_000_000 - 10_800_000
DATE = "Tue, 14 Nov 2023 19:13:15 GMT"
"""Three hours before the console's time, less five seconds."""


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((b"rail_requests_total 1 %d" % OLD, b"rail_ms_sum 3 %d" % OLD), "text/plain; version=0.0.4"),
        ((b"rail_requests_total 1 %d.25" % (OLD // 1000), b"# EOF"), "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_samples_that_are_hours_old_are_stale_and_said(lines, kind):
    (batch,) = await polled(page_answer(*lines, kind=kind))
    assert batch.health.status == "stale"
    assert batch.health.reason == "by their own times, the newest of the page's samples is 3 h old"
    assert len(batch.readings) == 0


async def test_an_age_is_told_by_the_clock_of_the_server():
    (batch,) = await polled(page_answer(b"rail_requests_total 1 %d" % OLD, date=DATE))
    assert (batch.health.status, batch.health.reason) == ("ok", "")


async def test_old_samples_among_new_ones_are_left_out_and_said():
    now, lines = 1_700_000_000_000, (b'rail_requests_total{a="1"} %d %d', b'rail_requests_total{a="2"} 5 %d')
    pages = [page_answer(lines[0] % (100 + 20 * n, now + 2000 * n), lines[1] % OLD) for n in range(2)]
    batches = await polled(*pages)
    assert batches[1].health.status == "ok"
    assert batches[1].health.reason == "by their own times, 1 sample is up to 3 h old and not shown"
    assert list(batches[1].readings) == [("guardrail.requests", Entity.of(rail="input"), 10.0)]


async def test_the_time_it_takes_to_read_a_page_is_no_part_of_an_interval(monkeypatch):
    clock, left = VirtualClock(1_000.0), [page_answer(b"rail_requests_total %d" % n) for n in (100, 200)]

    async def slowly(body, wanted, memo, **how):
        await clock.sleep_until(clock.now() + (4.0 if len(left) == 1 else 0.0))
        return parse(body, wanted, memo, **how)

    monkeypatch.setattr("collectors.openmetrics.collector.parse_aside", slowly)
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda request: left.pop(0))) as client:
        collector = ExpositionCollector(source(), client, clock, load(RAIL), "http://rails/metrics")
        with clock.participant():
            first = await collector.collect()
            await clock.sleep_until(1_010.0)
            second = await collector.collect()
    assert (first.at, first.seen) == (1_000.0, 1_004.0)
    assert [value for _, _, value in second.readings] == [10.0]


async def test_a_page_of_very_many_series_is_read_off_the_loop(monkeypatch):
    few, many = ([b'rail_requests_total{a="%d"} 1' % number for number in range(count)] for count in (5, MANY + 1))
    threads, read = [], Exposition.read

    def watched(self, page, at, seen):
        threads.append(threading.current_thread() is threading.main_thread())
        return read(self, page, at, seen)

    monkeypatch.setattr(Exposition, "read", watched)
    batches = await polled(page_answer(*few), page_answer(*many), page_answer(*many))
    assert threads == [True, False, False]
    assert len(batches[2].readings) == 1
