"""Targets as collectors: what a server scraped is what one sees, and a fault costs only what it is about."""

import gzip
import json
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.store.timeline import Timeline
from collectors.openmetrics.build import table
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import LineMemo, parse
from collectors.prometheus.client import Prometheus
from collectors.prometheus.reading import TargetNames
from collectors.prometheus.targets import GONE_S, PrometheusCollector
from collectors.runtime.base import Source
from collectors.runtime.engine_names import EngineNames
from collectors.runtime.scheduler import LiveFeed
from tests.fakes.pages import CAPTURES
from tests.fakes.promserver import ACCESS, FakePrometheus

START = 1_800_000_000.0
ONE, OTHER = "127.0.0.1:8000", "127.0.0.1:8001"
ENGINE = Entity.of(engine="vllm-8000")
EVERY_S = 5.0


@pytest.fixture(scope="module")
def bodies():
    """Return pages of a real server under load, five seconds apart."""
    with gzip.open(CAPTURES / "vllm-0.32.0/run1/series.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    pages = [row["body"].encode() for row in rows if row["url"] == "/metrics" and row["status"] == 200]
    return pages[20:80:5]


def source(name="prometheus"):
    """Return the source that a Prometheus server is."""
    return Source(name, "prometheus", "tracing", 60.0, 15.0, "http://prometheus:9090")


@asynccontextmanager
async def watched(scrapes=(), *, alone=True):
    """Yield a server that has scraped, its collector, the clock and the targets that joined."""
    clock = VirtualClock(START)
    joined: list[Any] = []
    fake = FakePrometheus(clock.now)
    for moment, instance, body in scrapes:
        fake.scrape(moment, instance, body)
    server = Prometheus(ACCESS, connect=fake.connect, clock=clock)
    collector = PrometheusCollector(source(), server, clock, EVERY_S, TargetNames((), near=True))
    collector.start_discovery(joined.append, joined.remove, EngineNames())
    with clock.participant() if alone else nullcontext():
        try:
            yield fake, collector, clock, joined
        finally:
            await collector.aclose()


def values(batch):
    return {(signal, entity): value for signal, entity, value in batch.readings}


async def test_a_target_reads_what_its_page_says_when_it_is_read_directly(bodies):
    read, memo = table("serving", "vllm"), LineMemo()
    direct = Exposition(read, Source("vllm-8000", "vllm", "serving", EVERY_S))
    async with watched([(START - 5.0, ONE, bodies[0])]) as (fake, collector, clock, joined):
        health = (await collector.collect()).health
        assert (health.status, health.reason) == ("ok", "")
        (target,) = joined
        for number, body in enumerate(bodies[1:7]):
            at = START + EVERY_S * number
            await clock.sleep_until(at)
            fake.scrape(at, ONE, body)
            batch = await target.collect()
            if number == 0:
                direct.read(parse(bodies[0], read.wanted(), memo), START - 5.0, START - 5.0)
            found = direct.read(parse(body, read.wanted(), memo), at, at)
            got = values(batch)
            assert batch.at == at
            assert batch.health.source == "prometheus/vllm-8000"
            # vLLM counts no arrivals; they come from what it does count, as when it is read directly
            assert got.pop(("serving.requests.arrived", ENGINE), None) is not None
            assert got.pop(("serving.requests.hung_up", ENGINE), None) is not None
            assert got == {(signal, entity): value for signal, entity, value in found.readings}
        assert ("serving.generation_tokens.rate", ENGINE) in got
        assert len(got) > 25


async def test_one_query_brings_the_samples_of_all_targets_of_a_kind(bodies):
    scrapes = [(START - 5.0, one, bodies[0]) for one in (ONE, OTHER)]
    async with watched(scrapes) as (fake, collector, _, joined):
        await collector.collect()
        looked = len(fake.asked)
        batches = [await target.collect() for target in joined]
        assert len(joined) == 2
        assert len(fake.asked) == looked + 1
        assert all(batch.readings for batch in batches)


async def test_the_last_two_hours_lie_under_the_live_numbers(bodies):
    scrapes = [(START - 600.0 + EVERY_S * number, ONE, bodies[number % 6]) for number in range(120)]
    async with watched(scrapes) as (fake, collector, _, joined):
        await collector.collect()
        (target,) = joined
        history = await target.backfill()
        timeline = Timeline(7200.0)
        timeline.backfill(history)
        running = ("serving.requests.running", ENGINE, "value")
        known = [value for value in history.columns[running] if value == value]
        assert history.fills
        assert 19 <= len(known) <= 21, "ten minutes in steps of 30 s"
        assert timeline.sample(running, START - 300.0, 60.0) is not None
        assert timeline.sample(running, START - 700.0, 60.0) is None
        fake.scrape(START, ONE, bodies[6])
        first = values(await target.collect())
        assert ("serving.generation_tokens.rate", ENGINE) in first


async def test_a_feed_begins_with_the_past_and_goes_on_with_the_present(bodies):
    scrapes = [(START - 300.0 + EVERY_S * number, ONE, bodies[0]) for number in range(60)]
    async with watched(scrapes, alone=False) as (_, collector, clock, _):
        feed, ticks = LiveFeed([collector], clock), []
        collector.start_discovery(feed.join, feed.leave, EngineNames())
        stream = feed.ticks()
        async for tick in stream:
            ticks.append(tick)
            if tick.at >= START + 8.0:
                break
        await stream.aclose()
        await feed.aclose()
    pasts = [tick for tick in ticks if tick.history is not None]
    assert len(pasts) == 1
    sources = {batch.health.source for tick in ticks for batch in tick.batches}
    assert sources == {"prometheus", "prometheus/vllm-8000"}


async def test_a_server_that_goes_away_is_said_and_the_others_go_on(bodies):
    scrapes = [(START - 5.0, one, bodies[0]) for one in (ONE, OTHER)]
    async with watched(scrapes) as (fake, collector, clock, joined):
        await collector.collect()
        first, second = joined
        fake.scrape(START, ONE, None)
        fake.scrape(START, OTHER, bodies[1])
        gone, there = (await first.collect()).health, (await second.collect()).health
        assert (gone.status, gone.reason) == ("down", f"Prometheus cannot read it ({ONE})")
        assert there.status == "ok"
        await clock.sleep_until(START + 60.0)
        stale = (await second.collect()).health
        assert (stale.status, stale.reason) == ("stale", "Prometheus has had no new sample for 60 s")


async def test_a_prometheus_that_cannot_be_asked_is_said_by_each_and_comes_back(bodies):
    async with watched([(START - 5.0, ONE, bodies[0])]) as (fake, collector, _, joined):
        await collector.collect()
        (target,) = joined
        fake.fault = ConnectionRefusedError("Connection refused")
        for one in (collector, target):
            health = (await one.collect()).health
            assert (health.status, health.reason) == ("down", "connection refused: nothing listens there")
        assert await target.backfill() is None
        fake.fault = None
        assert (await collector.collect()).health.status == "ok"
        assert (await target.collect()).readings


async def test_warnings_are_told_and_a_series_that_may_be_missing_is_no_news(bodies):
    async with watched([(START - 5.0, ONE, bodies[0])]) as (fake, collector, _, joined):
        await collector.collect()
        (target,) = joined
        await target.collect()
        fake.warning = b',"warnings":["store b did not answer"]'
        fake.hidden = {"vllm:kv_cache_usage_perc"}
        fake.scrape(START, ONE, bodies[1])
        batch = await target.collect()
        assert batch.health.status == "ok"
        assert batch.health.reason == "warns: store b did not answer"
        assert batch.readings
        assert (await collector.collect()).health.reason == "warns: store b did not answer"


async def test_a_prometheus_that_scrapes_nothing_of_ours_says_so():
    async with watched([(START - 5.0, ONE, b"node_load1 1\n")]) as (_, collector, _, joined):
        health = (await collector.collect()).health
        assert joined == []
        assert health.status == "ok"
        assert health.reason.startswith("scrapes no supported target (")


async def test_a_target_that_is_scraped_no_more_leaves_after_a_while(bodies):
    async with watched([(START - 5.0, ONE, bodies[0])]) as (_, collector, clock, joined):
        await collector.collect()
        await clock.sleep_until(START + 400.0)
        await collector.collect()
        assert len(joined) == 1
        await clock.sleep_until(START + 400.0 + GONE_S)
        await collector.collect()
        assert joined == []


@pytest.mark.parametrize(
    ("told", "known"), [((87.0, 1.0), (0.87, 0.01)), ((0.5, 1.0), (0.5, 1.0)), ((0.0, 1.0), (0.0, None))]
)
async def test_a_share_that_may_be_percents_is_told_only_where_the_numbers_decide(told, known):
    line = 'DCGM_FI_DEV_GPU_UTIL_RATIO{{gpu="{0}",UUID="GPU-{0}",Hostname="n"}} {1}\n'
    page = "".join(line.format(number, value) for number, value in enumerate(told)).encode()
    page += b'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-0",Hostname="n"} 50\n'
    async with watched([(START - 5.0, "n:9400", page)]) as (_, collector, _, joined):
        await collector.collect()
        (target,) = joined
        found = values(await target.collect())
    shown = {entity.get("gpu"): value for (signal, entity), value in found.items() if signal == "gpu.utilization"}
    assert (shown.get("GPU-0"), shown.get("GPU-1")) == known
