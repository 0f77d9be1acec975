"""What real servers answered while something went wrong, and what is said of it."""

import json
import math
from pathlib import Path

import httpx

from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Batch, Health, Quantiles, ReadingsBuilder, Tick
from collectors.runtime.base import Source
from collectors.vllm.collector import VllmCollector
from tests.aistack_top.diagnosis.fake_node import only
from tests.collectors.langfuse.langfuse_helpers import collector, playback, polls
from tests.playback.vllm import Player, PlayerTransport, Recording

CAPTURES = Path(__file__).parents[3] / "fixtures/captures"
START = 1_764_000_000.0


async def vllm(run, seconds):
    """Watch a recorded server as the collector reads it, every two seconds."""
    recording, clock = Recording(CAPTURES / "vllm-0.32.0" / run / "series.jsonl.gz"), VirtualClock(START)
    ticks = []
    async with httpx.AsyncClient(transport=PlayerTransport(Player(recording, clock, "0"))) as client:
        reader = VllmCollector(Source("chat", "vllm", "serving", 2.0, address="http://vllm"), client, clock)
        with clock.participant():
            while clock.now() <= START + seconds:
                ticks.append(Tick(clock.now(), clock.now(), (await reader.collect(),)))
                await clock.sleep_until(clock.monotonic() + 2.0)
    return watched(ticks)


def watched(ticks):
    found: dict[str, list[Incident]] = {}
    watch = IncidentDetector()
    for tick in ticks:
        for version in watch.observe(tick):
            found.setdefault(version.id, []).append(version)
    return found


async def test_a_burst_of_long_prompts_fills_the_cache_of_a_real_server():
    found = only(await vllm("run1", 190))
    # the burst began at 65.4 s; the server was up for 45 s of traffic: too short a baseline to say more
    assert abs(found.onset - START - 65.4) <= 15
    assert (found.cause, found.confidence, found.layer) == (Cause.KV_PRESSURE, "possible", "serving")
    assert any(out.cause is Cause.BATCH_LIMIT and "KV cache" in out.because for out in found.ruled_out)
    assert any("prompt length" in text for text in found.verdict.support)
    assert any("arrived" in text or "arrivals" in text for text in found.verdict.support)
    assert found.verdict.blind[0] == "no baseline (1:10)"


async def test_a_real_engine_that_stops_goes_on_and_then_dies_has_two_incidents():
    frozen, dead = (await vllm("fault1", 49)).values()
    # stopped from 8.3 s to 22.3 s, killed at 32.3 s
    assert all((one.cause, one.confidence) == (Cause.FROZEN_ENGINE, "confirmed") for one in frozen)
    first, last = frozen[0], dead[-1]
    assert 22.3 <= frozen[-1].end - START <= 32.3
    assert 8.3 <= first.onset - START <= 12
    assert first.detected - first.onset <= 10
    assert first.symptom.signal == "serving.engine.frozen"
    assert last.symptom.signal == "source.up"
    assert last.open
    assert last.verdict.what.startswith("chat does not answer")
    assert (last.cause, last.confidence) == (Cause.ENGINE_DOWN, "confirmed")
    assert 30.0 <= last.onset - START <= 34.0


async def test_a_real_server_whose_engine_is_dead_is_told_so_at_once():
    (versions,) = (await vllm("engine-dead", 40)).values()
    first, last = versions[0], versions[-1]
    assert (first.cause, first.confidence) == (Cause.ENGINE_DOWN, "confirmed")
    assert first.symptom.signal == last.symptom.signal == "serving.engine.dead"
    assert last.verdict.what.startswith("chat: engine dead, since ")
    assert first.detected - first.onset <= 5
    assert last.verdict.why.startswith("confirmed: the engine of chat is dead: /health returns 503")
    assert last.verdict.next_step.startswith("restart chat: ")
    assert last.open


async def test_of_four_real_models_only_the_slow_one_is_named():
    play = playback("v4", "2026-11-23T15:58:00Z")
    start = play.clock.now()
    batches = await polls(collector(play), play, 2700, 15.0)
    found = only(watched([Tick(batch.seen, batch.seen, (batch,)) for batch in batches]))
    # it degraded 25 to 35 minutes before the end of the recording, at 16:57
    assert abs(found.onset - (start + 24 * 60)) <= 240
    assert found.place == Entity.of(model="meta-llama/Llama-3.3-70B-Instruct")
    assert found.symptom.entity == found.place
    assert (found.cause, found.confidence) == (Cause.UNKNOWN, "unknown")  # nothing below the calls was recorded
    assert found.verdict.why == "cause unknown; only model meta-llama/Llama-3.3-70B-Instruct is slow"
    assert any("serving" in text for text in found.verdict.blind)


MILVUS = {
    "search_rate": "data.search.rate",
    "vectors_rate": "data.search.vectors.rate",
    "cpu_busy": "host.cpu.utilization",
    "load1": "host.cpu.load",
}


def test_a_real_step_of_load_on_a_vector_store_is_its_cause():
    columns = {}
    for path in (CAPTURES / "prometheus-2.42.0-milvus-step").glob("*.json"):
        (series,) = json.loads(path.read_text())["data"]["result"]
        columns[path.stem] = {float(at): float(value) for at, value in series["values"]}
    ticks = []
    for at in sorted(columns["search_rate"]):
        builder, now = ReadingsBuilder(), {name: values.get(at, math.nan) for name, values in columns.items()}
        for name, signal in MILVUS.items():
            builder.add(signal, Entity.of(node="n") if signal.startswith("host") else SERVICE, now[name])
        mean, high = now["search_mean_ms"] / 1e3, now["search_p99_ms"] / 1e3
        builder.add("data.search.latency", SERVICE, Quantiles(None, None, high, mean, 100.0, 10.0))
        builder.add(
            "data.search.queue_time", SERVICE, Quantiles(None, None, None, now["queue_mean_ms"] / 1e3, 100.0, 10.0)
        )
        ticks.append(Tick(at, at, (Batch(at, at, Health("milvus", "milvus", "data", "ok"), builder.build()),)))
    found = only(watched(ticks))
    assert (found.cause, found.layer) == (Cause.TRAFFIC_SURGE, "data")
    assert found.confidence == "possible"  # 35 s of baseline
    assert abs(found.onset - 1795454475) <= 10
    assert any("vectors" in text for text in found.verdict.support)
