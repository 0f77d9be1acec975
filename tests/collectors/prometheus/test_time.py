"""Clocks, paces and lateness: stale is what stands still, and every server's time is told by its own clock."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from collectors.prometheus.client import Prometheus, QuerySeries
from collectors.prometheus.pages import Pages
from collectors.prometheus.reading import TargetNames
from collectors.prometheus.targets import PrometheusCollector
from collectors.prometheus.window import WindowFeed
from collectors.runtime.engine_names import EngineNames
from tests.collectors.prometheus.test_scraped import ADDRESS, page, rate, running
from tests.collectors.prometheus.test_targets import EVERY_S, START, source
from tests.fakes.promserver import ACCESS, FakePrometheus


@asynccontextmanager
async def off_by(offset_s):
    """Yield a server whose clock is off, its collector, our clock, and the targets that joined."""
    clock = VirtualClock(START)
    joined: list[Any] = []
    fake = FakePrometheus(lambda: clock.now() + offset_s)
    server = Prometheus(ACCESS, connect=fake.connect, clock=clock)
    collector = PrometheusCollector(source(), server, clock, EVERY_S, TargetNames())
    collector.start_discovery(joined.append, joined.remove, EngineNames())
    with clock.participant():
        try:
            yield fake, collector, clock, joined
        finally:
            await collector.aclose()


@pytest.mark.parametrize("offset_s", [-90.0, 90.0, -7200.0, 0.4])
async def test_a_server_with_another_clock_is_read_and_its_clock_is_told(offset_s):
    async with off_by(offset_s) as (fake, collector, clock, joined):
        for step in range(4):
            now = START + EVERY_S * step
            await clock.sleep_until(now)
            fake.scrape(now + offset_s, ADDRESS, page(3, 500.0 * step))
            health = (await collector.collect()).health
            (batch,) = [await target.collect() for target in joined]
        assert running([batch]) == {ADDRESS: 3.0}
        assert rate(batch) == pytest.approx(100.0)
        assert batch.at == pytest.approx(now, abs=0.5), "a time by our clock"
        for one in (health, batch.health):
            assert one.status == "ok"
            assert one.clock_offset_s == pytest.approx(offset_s, abs=0.01)
            assert one.clock_uncertainty_s == pytest.approx(0.0, abs=0.01)
        side = "ahead of" if offset_s > 0 else "behind"
        assert (f"{side} this machine's" in health.reason) == (abs(offset_s) > 2.0)


async def test_history_of_a_server_with_another_clock_lies_where_it_belongs():
    async with off_by(-300.0) as (fake, collector, _, joined):
        for step in range(120):
            fake.scrape(START - 900.0 + EVERY_S * step, ADDRESS, page(step))
        await collector.collect()
        history = await joined[0].backfill()
        (column,) = [column for (signal, *_), column in history.columns.items() if signal == "serving.requests.running"]
        known = [history.start + n * history.step for n, value in enumerate(column) if value == value]
        assert START - 35.0 < known[-1] <= START


@pytest.mark.parametrize("lag_s", [0.0, 50.0, 200.0])
async def test_samples_that_are_late_by_a_constant_are_not_stale_and_those_that_stand_still_are(lag_s):
    async with off_by(0.0) as (fake, collector, clock, joined):
        scrapes = [START - 400.0 + EVERY_S * step for step in range(200)]
        for step in range(30):
            now = START + EVERY_S * step
            await clock.sleep_until(now)
            # a store that is late shows nothing of what it has not yet
            while scrapes and scrapes[0] <= min(now - lag_s, START + 60.0 - lag_s):
                at = scrapes.pop(0)
                fake.scrape(at, ADDRESS, page(3, 100.0 * (at - START + 400.0)))
            await collector.collect()
            (batch,) = [await target.collect() for target in joined]
            if 1 <= step <= 12:
                assert batch.health.status == "ok", step
                assert rate(batch) == pytest.approx(100.0)
                assert batch.at == now - lag_s
        assert (batch.health.status, batch.health.reason) == (
            "stale",
            f"Prometheus has had no new sample for {now - START - 60.0:.0f} s",
        )


@pytest.mark.parametrize("every_s", [5.0, 60.0])
async def test_the_pace_of_what_is_pushed_is_learned_from_its_own_gaps(every_s):
    async with off_by(0.0) as (fake, collector, clock, joined):
        for step in range(int(240 / every_s)):
            at = START - 240.0 - 50.0 + every_s * step
            fake.scrape(at, ADDRESS, page(3, 100.0 * (at - START + 300.0)), up=False)
        await collector.collect()
        (batch,) = [await target.collect() for target in joined]
        health = batch.health
        assert health.interval_s == every_s
        assert (health.status, running([batch])) == (("ok", {ADDRESS: 3.0}) if every_s > 30.0 else ("stale", {}))
        if every_s > 30.0:
            assert rate(batch) == pytest.approx(100.0)
            await clock.sleep_until(START + 200.0)
            assert (await joined[0].collect()).health.status == "stale"


async def test_the_newest_page_is_told_at_once_though_the_history_has_read_it():
    async with off_by(0.0) as (fake, collector, clock, joined):
        for step in range(20):
            fake.scrape(START - 1190.0 + 60.0 * step, ADDRESS, page(3, 6000.0 * step))
        await collector.collect()
        (target,) = joined
        assert await target.backfill() is not None
        batch = await target.collect()
        assert (batch.at, running([batch])) == (START - 50.0, {ADDRESS: 3.0})
        assert rate(batch) == pytest.approx(100.0)
        await clock.sleep_until(START + 5.0)
        assert not (await target.collect()).readings


def test_the_last_two_samples_of_a_target_that_is_gone_are_no_new_pace():
    """Else it is stale, and is not, and is: what is left in an answer may be a gap of one missed scrape."""
    moments = [START - 5.0 * step for step in range(60, 6, -1)] + [START]
    pages = Pages()

    def ups(some):
        return [QuerySeries({"__name__": "up", "job": "j", "instance": "i"}, [(at, "1") for at in some])]

    pages.of(ups(moments))
    for count in (9, 3, 2, 1, 0):
        pages.of(ups(moments[-count:] if count else []))
        assert pages.every_s == 5.0
    later = [START + 60.0 * step for step in range(1, 9)]
    pages.of(ups(later))
    assert pages.every_s == 60.0, "a pace that is another is learned"


async def test_a_window_is_one_of_our_clock():
    clock = VirtualClock(START)
    fake = FakePrometheus(lambda: START - 600.0)
    for step in range(100):
        fake.scrape(START - 1100.0 + EVERY_S * step, ADDRESS, page(step))
    server = Prometheus(ACCESS, connect=fake.connect, clock=clock)
    server.clock_offset.exact(START, START, START - 600.0)
    feed = WindowFeed(source(), server, TargetNames(), START - 100.0, START)
    assert await feed.find_targets() == 1
    batches = [batch for tick in [tick async for tick in feed.ticks()] for batch in tick.batches]
    await feed.aclose()
    own = [batch for batch in batches if batch.readings]
    assert len(own) == 19
    assert all(START - 100.0 < batch.at <= START for batch in own)
    assert running(own[-1:]) == {ADDRESS: 99.0}


async def test_the_date_of_an_answer_tells_the_clock_until_an_answer_has_its_own_time():
    clock = VirtualClock(1_000_000_000.0)
    answers = [[], [{"metric": {}, "value": [1_000_000_090.25, "1"]}], []]

    class Connection:
        def custom_query(self, query, params):
            heard[0](b"{}", "Sun, 09 Sep 2001 01:46:50 GMT")
            return answers.pop(0)

    def connect(_, hear):
        heard.append(hear)
        return Connection()

    heard: list[Any] = []
    server = Prometheus(ACCESS, connect=connect, clock=clock)
    found = []
    for _ in range(3):
        await server.instant("up")
        found.append((server.clock_offset.value, server.clock_offset.uncertainty, server.now()))
    server.close()
    assert found == [(10.5, 0.5, 1_000_000_010.5)] + 2 * [(90.25, 0.0, 1_000_000_090.25)]


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.floats(-0.4, 0.4), min_size=8, max_size=30),
    st.sampled_from((1.0, 5.0, 15.0, 60.0)),
    st.booleans(),
    st.floats(0.0, 0.99),
)
def test_pace_is_learned_in_any_pieces_and_no_page_is_read_twice(jitter, every_s, has_up, phase):
    """A pace with jitter of less than half of it, read in overlapping answers."""
    moments = [1e9 + every_s * (n + wobble / 2 + phase) for n, wobble in enumerate(jitter)]
    names = ["x", *(["up"] if has_up else [])]
    pages, seen = Pages(), []
    for end in range(0, len(moments) + 3, 3):
        piece = moments[max(end - 8, 0) : end]
        rows = [
            QuerySeries({"__name__": name, "job": "j", "instance": "i"}, [(at, "1") for at in piece]) for name in names
        ]
        seen += [at for at, _ in pages.of(rows)]
    assert seen == moments[: len(seen)]
    assert len(seen) >= len(moments) - 2
    assert every_s * 0.5 < pages.every_s < every_s * 1.5
