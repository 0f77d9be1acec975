"""Who is scraped: every label separates, but those that tell replicas of one scraper apart."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from collectors.openmetrics.parser import MAX_SERIES
from collectors.prometheus.client import Prometheus, QuerySeries
from collectors.prometheus.pages import Pages, by_target
from collectors.prometheus.reading import TargetNames
from collectors.prometheus.scraped import Target, scraped
from collectors.prometheus.targets import GONE_S, PrometheusCollector
from collectors.prometheus.window import WindowFeed
from collectors.runtime.engine_names import EngineNames
from tests.collectors.prometheus.test_targets import EVERY_S, START, source, watched
from tests.fakes.promserver import ACCESS, FakePrometheus

ADDRESS = "10.0.0.5:8000"


def page(running, tokens=0.0):
    """Return a page of an engine with some running requests and a counter of tokens."""
    labels = '{engine="0",model_name="m"}'
    return f"vllm:num_requests_running{labels} {running}\nvllm:generation_tokens_total{labels} {tokens}\n".encode()


def running(batches):
    return {
        entity.get("engine"): value
        for batch in batches
        for signal, entity, value in batch.readings
        if signal == "serving.requests.running"
    }


def rate(batch):
    return next((value for signal, _, value in batch.readings if signal == "serving.generation_tokens.rate"), None)


async def told(fake, joined):
    return [await target.collect() for target in joined]


async def test_two_clusters_with_one_private_address_are_two_engines():
    async with watched() as (fake, collector, clock, joined):
        for step in range(3):
            at = START + EVERY_S * step
            await clock.sleep_until(at)
            fake.scrape(at, ADDRESS, page(3, 500.0 * step), cluster="east", region="eu")
            fake.scrape(at, ADDRESS, page(7, 4500.0 * step), cluster="west", region="eu")
            await collector.collect()
            batches = await told(fake, joined)
        assert running(batches) == {f"{ADDRESS}@east": 3.0, f"{ADDRESS}@west": 7.0}
        assert [rate(batch) for batch in batches] == [pytest.approx(100.0), pytest.approx(900.0)]
        assert {batch.health.source for batch in batches} == {
            f"prometheus/{ADDRESS}@east",
            f"prometheus/{ADDRESS}@west",
        }


@pytest.mark.parametrize("label", ["replica", "prometheus_replica", "__replica__"])
@pytest.mark.parametrize("shift", [0.0, 2.5])
async def test_replicas_of_one_scraper_are_read_once_and_another_goes_on(label, shift):
    async with watched() as (fake, collector, clock, joined):
        got = []
        for step in range(16):
            at = START + EVERY_S * step
            await clock.sleep_until(at + 3.0)
            if step < 8:
                fake.scrape(at, ADDRESS, page(3, 100.0 * (at - START)), **{label: "a"})
            fake.scrape(at + shift, ADDRESS, page(3, 100.0 * (at + shift - START)), **{label: "b"})
            await collector.collect()
            got.append(await told(fake, joined))
            assert len(joined) == 1
        assert all(running(batches) == {ADDRESS: 3.0} for batches in got if batches[0].readings)
        rates = [rate(batches[0]) for batches in got if rate(batches[0]) is not None]
        assert rates == [pytest.approx(100.0)] * len(rates)
        missed = [not batches[0].readings for batches in got]
        # the other is read when this one has had no sample for two intervals, and no page of it is lost then
        assert sum(missed) <= 2
        assert not any(missed[11:])
        assert all(batches[0].health.status == "ok" for batches in got)


async def test_a_replica_that_cannot_reach_the_target_is_not_the_last_word():
    async with watched() as (fake, collector, clock, joined):
        for step in range(12):
            at = START + EVERY_S * step
            await clock.sleep_until(at)
            fake.scrape(at, ADDRESS, page(3), replica="a")
            fake.scrape(at, ADDRESS, None, replica="b")
            await collector.collect()
            (batch,) = await told(fake, joined)
            assert batch.health.status == "ok"


async def test_a_label_of_the_page_itself_is_no_replica_of_the_scraper():
    async with watched() as (fake, collector, _, joined):
        two = page(3) + page(5).replace(b'engine="0"', b'engine="0",replica="x"')
        fake.scrape(START - 5.0, ADDRESS, two, up=False)
        await collector.collect()
        (batch,) = await told(fake, joined)
        assert running([batch]) == {ADDRESS: 8.0}


async def test_pushed_series_are_told_apart_by_where_they_are_and_have_replicas():
    async with watched() as (fake, collector, _, joined):
        for cluster, count in (("east", 3), ("west", 7)):
            for replica in "ab":
                fake.scrape(START - 5.0, ADDRESS, page(count), up=False, cluster=cluster, replica=replica)
        await collector.collect()
        assert running(await told(fake, joined)) == {f"{ADDRESS}@east": 3.0, f"{ADDRESS}@west": 7.0}


async def test_labels_that_other_people_use_for_replicas_are_configured():
    fake = FakePrometheus(lambda: START)
    for name in "ab":
        fake.scrape(START - 5.0, ADDRESS, page(3), scraper=name)
    server = Prometheus(ACCESS, connect=fake.connect)
    assert len((await scraped(server)).found) == 2
    (one,) = (await scraped(server, ["scraper"])).found
    assert one.target.replicas == {("a",), ("b",)}
    server.close()


async def test_one_instance_of_two_jobs_is_one_target_and_that_is_said():
    async with watched() as (fake, collector, _, joined):
        for job in ("vllm", "pods"):
            fake.scrape(START - 5.0, ADDRESS, page(3), job, pod="p", **({"service": "s"} if job == "vllm" else {}))
        health = (await collector.collect()).health
        assert running(await told(fake, joined)) == {ADDRESS: 3.0}
        assert health.reason == f"{ADDRESS} is scraped by more jobs (vllm) and read once"


async def test_two_jobs_in_two_clusters_are_two_targets():
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START - 5.0, ADDRESS, page(3), "a", cluster="east")
        fake.scrape(START - 5.0, ADDRESS, page(7), "b", cluster="west")
        await collector.collect()
        assert running(await told(fake, joined)) == {f"{ADDRESS}@east": 3.0, f"{ADDRESS}@west": 7.0}


async def test_another_page_of_one_job_and_instance_is_not_a_target_of_this_kind():
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START - 5.0, ADDRESS, page(3), endpoint="metrics")
        fake.scrape(START - 5.0, ADDRESS, b"node_load1 1\n", endpoint="node")
        await collector.collect()
        assert running(await told(fake, joined)) == {ADDRESS: 3.0}


async def test_a_pod_of_another_name_at_the_same_address_goes_on_with_the_name():
    async with watched() as (fake, collector, clock, joined):
        fake.scrape(START - 5.0, ADDRESS, page(3), pod="a")
        await collector.collect()
        (first,) = joined
        fake.forget(ADDRESS, pod="a")
        fake.scrape(START, ADDRESS, page(5), pod="b")
        await collector.collect()
        assert joined == [first]
        assert running([await first.collect()]) == {ADDRESS: 5.0}
        await clock.sleep_until(START + GONE_S + 400.0)
        await collector.collect()
        assert joined == []


async def test_a_label_of_the_target_is_none_of_the_page():
    """Without this a GPU that nobody uses is used by the pod of its exporter."""
    gpu = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-0",Hostname="n",exported_pod="job"} 50\n'
    async with watched() as (fake, collector, clock, joined):
        for step, body in enumerate((gpu, gpu.replace(',exported_pod="job"', ""))):
            await clock.sleep_until(START + 70.0 * step)
            fake.scrape(START + 70.0 * step, "n:9400", body.encode(), "dcgm", pod="exporter-x1", namespace="gpu")
            await collector.collect()
            (batch,) = await told(fake, joined)
            found = {fact.value for fact in batch.facts}
            assert ("job" in found) == (step == 0), found
            assert not any("exporter-x1" in value for value in found)


async def test_counters_of_a_pod_at_the_place_of_another_begin_anew():
    async with watched() as (fake, collector, clock, joined):
        for step, (pod, count) in enumerate([("a", 9000.0), ("a", 9500.0), ("b", 100.0), ("b", 600.0)]):
            await clock.sleep_until(START + EVERY_S * step)
            if step == 2:
                fake.forget(ADDRESS, pod="a")
            fake.scrape(START + EVERY_S * step, ADDRESS, page(3, count), pod=pod)
            await collector.collect()
            (batch,) = await told(fake, joined)
            if step == 2:
                assert [event.kind for event in batch.events] == ["restart"]
        assert rate(batch) == pytest.approx(100.0)


async def test_a_label_that_a_pushed_page_has_of_its_own_does_not_part_it():
    async with watched() as (fake, collector, _, joined):
        body = page(3) + page(5).replace(b'engine="0"', b'engine="0",tenant="x"')
        fake.scrape(START - 5.0, ADDRESS, body, up=False)
        await collector.collect()
        assert running(await told(fake, joined)) == {ADDRESS: 8.0}


async def test_a_cluster_that_comes_later_does_not_take_the_name_of_one_that_is_gone():
    async with watched() as (fake, collector, clock, joined):
        fake.scrape(START - 5.0, ADDRESS, page(3), cluster="east")
        await collector.collect()
        await clock.sleep_until(START + 400.0)
        fake.scrape(START + 395.0, ADDRESS, page(7), cluster="west")
        await collector.collect()
        assert [target.reader.name for target in joined] == [ADDRESS, f"{ADDRESS}@2"]


async def test_targets_without_an_instance_are_counted_and_said():
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START - 5.0, "", page(3), job="push", up=False)
        health = (await collector.collect()).health
        assert joined == []
        assert health.status == "misconfigured", "nothing at all could be read"
        assert health.reason == "1 target of vLLM has no instance label and cannot be read (push)"
        for number in range(2):
            fake.scrape(START - 5.0, f"10.0.0.{number}:8000", page(3))
        health = (await collector.collect()).health
        assert health.status == "ok"
        assert health.reason.startswith("1 target of vLLM has no instance label")


async def test_series_that_are_of_no_target_are_counted_and_said():
    async with watched() as (fake, collector, _, joined):
        for cluster in ("east", "west"):
            fake.scrape(START - 5.0, ADDRESS, page(3), cluster=cluster)
        await collector.collect()
        fake.scrape(START, ADDRESS, page(9), up=False)
        fake.scrape(START, ADDRESS, page(3), cluster="east")
        batch = await joined[0].collect()
        assert running([batch]) == {f"{ADDRESS}@east": 3.0}
        assert "2 series of its instance match no known target and are not read" in batch.health.reason


async def test_a_target_most_of_which_is_not_read_is_not_ok():
    lines = [f'vllm:num_requests_running{{engine="{n}",model_name="m"}} 1\n' for n in range(2 * MAX_SERIES + 10)]
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START - 5.0, ADDRESS, "".join(lines).encode())
        await collector.collect()
        (batch,) = await told(fake, joined)
        assert batch.health.status == "misconfigured"
        assert f"{MAX_SERIES + 10} series beyond the first {MAX_SERIES} were not read" in batch.health.reason


async def two_servers(*answers):
    """Return what two servers' targets are called, of which each scraped one page; in the order of ``answers``."""
    clock, names = VirtualClock(START), EngineNames({}, ["east", "west"])
    joined: list[Any] = []
    found = {}
    for name, count in (("east", 3), ("west", 7)):
        fake = FakePrometheus(clock.now)
        fake.scrape(START - 5.0, ADDRESS, page(count))
        server = Prometheus(ACCESS, connect=fake.connect, clock=clock)
        one = PrometheusCollector(source(name), server, clock, EVERY_S, TargetNames())
        one.start_discovery(joined.append, joined.remove, names)
        found[name] = one
    healths = await asyncio.gather(*(found[name].collect() for name in answers))
    batches = [await target.collect() for target in joined]
    for one in found.values():
        await one.aclose()
    return running(batches), {batch.health.source: batch.health.reason for batch in healths}


@pytest.mark.parametrize("order", [("east", "west"), ("west", "east")])
async def test_one_address_told_by_two_servers_is_two_engines_and_that_is_said(order):
    found, said = await two_servers(*order)
    assert found == {f"{ADDRESS}@east": 3.0, f"{ADDRESS}@west": 7.0}
    assert said == {
        "east": "1 address also scraped by west: taken for other machines",
        "west": "1 address also scraped by east: taken for other machines",
    }


async def test_a_window_tells_the_same_targets_apart_and_pods_after_one_another_are_one():
    fake = FakePrometheus(lambda: START)
    for step in range(60):
        at = START - 600.0 + 10.0 * step
        for cluster, count in (("east", 3), ("west", 7)):
            for replica in "ab":
                pod = "old" if step < 30 else "new"
                fake.scrape(at, ADDRESS, page(count, 10.0 * step), cluster=cluster, replica=replica, pod=pod)
        if step == 30:
            for key in [key for key in fake._series if ("pod", "old") in key]:
                fake._series[key].append((at, None))
    server = Prometheus(ACCESS, connect=fake.connect)
    feed = WindowFeed(source("prometheus"), server, TargetNames(), START - 500.0, START)
    assert await feed.find_targets() == 2
    batches = [batch for tick in [tick async for tick in feed.ticks()] for batch in tick.batches]
    await feed.aclose()
    assert running(batches) == {f"{ADDRESS}@east": 3.0, f"{ADDRESS}@west": 7.0}
    for name in ("east", "west"):
        own = [batch for batch in batches if batch.health.source == f"prometheus/{ADDRESS}@{name}" and batch.readings]
        assert len(own) == 49


async def test_an_engine_that_lived_between_two_looks_is_in_a_window():
    fake = FakePrometheus(lambda: START)
    for step in range(6):
        fake.scrape(START - 400.0 + EVERY_S * step, ADDRESS, page(3))
    fake.scrape(START - 370.0, ADDRESS, None)
    server = Prometheus(ACCESS, connect=fake.connect)
    assert len((await scraped(server, window=(START - 600.0, START))).found) == 1
    server.close()


LABELS = st.dictionaries(st.sampled_from(("cluster", "pod", "zone", "replica")), st.sampled_from("ab"), max_size=4)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(LABELS, min_size=1, max_size=5))
async def test_every_target_is_one_and_every_series_of_one(labels):
    fake = FakePrometheus(lambda: START)
    for one in labels:
        fake.scrape(START - 5.0, ADDRESS, page(1), **one)
    server = Prometheus(ACCESS, connect=fake.connect)
    whole = await scraped(server)
    rows = await server.samples(f'{{__name__=~".+",job=~"vllm",instance=~"{ADDRESS}"}}', 60.0)
    server.close()
    every = all("replica" in one for one in labels)
    apart = {tuple(sorted((k, v) for k, v in one.items() if k != "replica" or not every)) for one in labels}
    assert {one.target.labels for one in whole.found} == apart
    found, unplaced = by_target(rows, [one.target for one in whole.found])
    assert not unplaced
    assert len(found) == len(apart)
    names = [one.qualifier for one in whole.found]
    assert len(set(names)) == len(names)


def test_a_series_goes_on_when_another_replica_is_read():
    target = Target("j", "i", replica_labels=("replica",), replicas=frozenset({("a",), ("b",)}))
    pages = Pages(target)

    def row(replica, *moments):
        metric = {"__name__": "x", "job": "j", "instance": "i", "replica": replica}
        return QuerySeries(metric, [(at, str(at)) for at in moments])

    first = pages.of([row("a", 0.0, 5.0, 10.0), row("b", 2.5, 7.5, 12.5)])
    assert [at for at, _ in first] == [5.0, 10.0] or [at for at, _ in first] == [2.5, 7.5, 12.5]
    second = pages.of([row("b", 60.0, 65.0), row("a")])
    assert [at for at, _ in second] == [60.0, 65.0]
    assert set(first[0][1].values) == set(second[0][1].values)
