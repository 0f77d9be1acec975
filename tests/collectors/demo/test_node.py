"""The collectors of production in front of the simulator: they read the model's own truth."""

from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Tick
from aistack_top.simulator.scenario import scenarios
from aistack_top.simulator.servers.app import Servers
from aistack_top.simulator.servers.world import World
from collectors.config import configured
from collectors.demo import node as simulated
from collectors.registry import CollectorContext, build

STEP_S = 5.0
SOURCES = ("nvml", "host", "links", "chat-0", "chat-1", "langfuse", "litellm", "milvus", "cloud", "prices")


class Played:
    """A scenario on two GPUs, played through the collectors to a second of its own; ``at`` is when its fault begins."""

    def __init__(self, folder: Path, name: str = "healthy_day", at: float | None = None, **more):
        scenario = scenarios()[name]
        if at is not None:
            faults = tuple(replace(fault, at=at, until=0.0) for fault in scenario.fault)
            scenario = replace(scenario, fault=faults)
        self.node = scenario.start(node=more.pop("node", scenario.light), **more)
        self.clock = VirtualClock(self.node.epoch)
        self.feed = simulated.feed(self.node, self.clock, folder, step_s=STEP_S)
        self.ticks: list[Tick] = []

    async def to(self, seconds):
        stream = self.feed.ticks()
        async for tick in stream:
            self.ticks.append(tick)
            if tick.at >= self.node.epoch + seconds:
                break
        await stream.aclose()
        await self.feed.aclose()
        return self

    @property
    def batches(self):
        return [batch for tick in self.ticks for batch in tick.batches]

    @property
    def last(self):
        return {(signal, entity): value for batch in self.batches for signal, entity, value in batch.readings}

    @property
    def events(self):
        return [(round(one.at - self.node.epoch), one.kind, one.text) for b in self.batches for one in b.events]


async def test_readings_are_what_the_model_says_of_itself(tmp_path):
    played = await Played(tmp_path).to(100.0)
    node, last = played.node, played.last
    for engine in node.engines:
        of = Entity.of(engine=engine.label)
        assert last["serving.requests.running", of] == engine.gauges.running > 0
        assert last["serving.requests.waiting", of] == engine.gauges.waiting
        assert last["serving.kv_cache.usage", of] == engine.gauges.kv_usage
        assert last["serving.requests.in_flight", of] == engine.load
    for gpu in node.gpus:
        of = Entity.of(gpu=gpu.uuid)
        assert last["gpu.temperature", of] == round(gpu.temperature)
        assert last["gpu.power.draw", of] == pytest.approx(gpu.power, abs=0.01)
        assert last["gpu.clock.sm", of] == pytest.approx(gpu.clock, abs=1e6)
        assert last["gpu.sm.active", of] == pytest.approx(gpu.load.busy, abs=0.3)
        assert last["gpu.memory.used", of] == sum(int(one.memory) for one in gpu.processes.values())
    of = Entity.of(node=simulated.NODE)
    assert last["host.cpu.cores", of] == node.host.cores
    assert last["host.cpu.utilization", of] == pytest.approx(node.host.utilization, abs=0.1)
    health = {batch.health.source: (batch.health.status, batch.health.reason) for batch in played.batches}
    assert "list 2026-06-10" in health["prices"][1]
    assert health == dict.fromkeys(SOURCES, ("ok", "")) | {"prices": ("ok", health["prices"][1])}


async def test_the_same_seed_gives_the_same_ticks_and_another_gives_others(tmp_path):
    one = await Played(tmp_path / "one").to(60.0)
    again = await Played(tmp_path / "again").to(60.0)
    other = await Played(tmp_path / "other", seed=2).to(60.0)
    assert repr(one.ticks) == repr(again.ticks)
    assert repr(one.ticks) != repr(other.ticks)


async def test_an_engine_that_dies_with_its_gpu_refuses_connections_and_comes_back(tmp_path):
    played = await Played(tmp_path, "xid", at=60.0).to(395.0)
    health = {
        round(batch.at - played.node.epoch): batch.health.status
        for batch in played.batches
        if batch.health.source == "chat-0"
    }
    assert health[55] == "ok"
    assert health[65] == "down"
    assert health[390] == "ok"
    kinds = [(at, kind) for at, kind, _ in played.events]
    assert (60, "xid") in kinds
    assert [at for at, kind in kinds if kind == "lost"] == [60, 300]
    assert [at for at, kind in kinds if kind == "restart"] == [375]


async def test_links_say_which_gpus_an_engine_works_on(tmp_path):
    played = await Played(tmp_path, node="linked").to(20.0)
    links = {(link.parent, link.child) for batch in played.batches for link in batch.links}
    assert links == {(Entity.of(engine="chat-0"), Entity.of(gpu=gpu.uuid)) for gpu in played.node.gpus}


async def test_calls_come_late_once_each_and_by_their_clients_clock(tmp_path):
    played = await Played(tmp_path).to(120.0)
    node = played.node
    calls = [call for batch in played.batches for call in batch.calls]
    assert len({call.id for call in calls}) == len(calls)
    generations = {call.trace: call for call in calls if call.root}
    known = {request.number: (seen, request) for seen, request in node.sink.since(-1.0)}
    until = max(b.at for b in played.batches if b.health.source == "langfuse") - node.epoch
    there = [request for seen, request in known.values() if seen <= until]
    assert len(there) > 100
    ends = sorted(one.end - node.epoch - node.sink.skew_s for one in generations.values())
    assert ends == pytest.approx(sorted(request.ended for request in there), abs=0.002)
    delays = [call.seen - call.end for call in generations.values()]
    assert min(delays) > 0.0
    assert max(delays) < 20.0
    kinds = {call.kind for call in calls}
    assert kinds == {"generation", "guardrail", "retrieval"}
    assert {call.model for call in generations.values()} == {"chat-32b"}
    assert all(call.ttft is None or 0.0 < call.ttft < call.latency for call in generations.values())
    served = [call for call in generations.values() if call.level == "DEFAULT"]
    assert all(call.output_tokens and call.input_tokens and call.cost is None for call in served)


async def test_a_trace_store_that_is_down_refuses_and_has_lost_what_was_sent_meanwhile(tmp_path):
    played = await Played(tmp_path, "langfuse_down", at=60.0).to(90.0)
    health = {round(b.at - played.node.epoch): b.health.status for b in played.batches if b.health.source == "langfuse"}
    assert {at: status for at, status in health.items() if status != "ok"}.keys() == {at for at in health if at >= 60}
    assert {status for at, status in health.items() if at >= 60} == {"down"}
    assert played.node.sink.lost > 0


async def test_training_vector_store_and_pipelines_are_read_where_there_are_any(tmp_path):
    played = await Played(tmp_path, node="trained").to(420.0)
    node, last = played.node, played.last
    values = {
        (signal, entity.get("job") or entity.get("reason") or ""): value for (signal, entity), value in last.items()
    }
    (job,) = node.training
    assert values["training.jobs.running", ""] == 1.0
    assert values["training.gpus.used", ""] == 1.0
    assert values["training.step", "finetune-qwen/train"] == job.report.step > 0
    assert values["training.loss", "finetune-qwen/train"] == job.report.loss
    assert values["data.segments", ""] == node.gateway.store.segments
    assert values["data.vectors", ""] == pytest.approx(node.gateway.store.rows, abs=100)
    assert values["data.search.latency", ""].count > 100
    assert values["pipelines.runs.active", "finetune-qwen"] == 1.0
    assert len(job.checkpoints) == 2
    assert values["pipelines.run.failed", "finetune-qwen-eval"] == 0.0
    assert values["pipelines.models", ""] == 2.0


async def test_a_collector_that_dies_of_the_incident_says_so_and_comes_back(tmp_path):
    scenario = scenarios()["collector_dies"]
    assert [fault.source for fault in scenario.fault if hasattr(fault, "source")] == ["dcgm", "nvml"]
    played = await Played(tmp_path, "collector_dies", at=30.0).to(60.0)
    health = {round(b.at - played.node.epoch): b.health for b in played.batches if b.health.source == "nvml"}
    assert health[25].status == "ok"
    assert {at for at, one in health.items() if one.status == "down"} == {at for at in health if at >= 30}
    assert health[60].age_s == pytest.approx(35.0, abs=1.0)


async def test_the_gateway_and_the_rails_are_counted_as_the_model_counts_them(tmp_path):
    played = await Played(tmp_path).to(121.0)
    node, clock = played.node, VirtualClock(played.clock.now())
    rails = {"input": node.gateway.input_rail, "output": node.gateway.output_rail}
    told = {(signal, entity.get("rail") or entity.get("model")): v for (signal, entity), v in played.last.items()}
    for name, rail in rails.items():
        assert told["guardrail.latency", name].count > 200
        assert told["guardrail.latency", name].p50 == pytest.approx(rail.service.median_s, rel=0.15)
        assert told["guardrail.requests", name] * 60.0 == pytest.approx(rail.service.requests / 2, rel=0.2)
    assert told["spend.proxy.rate", "chat-32b"] == 0.0
    transport = simulated.SimulatedTransport(Servers(World(node, clock.now)), lambda: 0.01)
    tools = CollectorContext(clock, httpx.AsyncClient(transport=transport), simulated.SALT, simulated.NODE)
    nemo = build(configured("nemo", url=f"{simulated.ADDRESS}/nemo", name="nemo"), tools)
    first = {side: rail.hits for side, rail in rails.items()}
    await nemo.collect()
    with clock.participant():
        await clock.sleep_until(clock.now() + 60.0)
    batch = await nemo.collect()
    rates = {entity.get("rail"): value for signal, entity, value in batch.readings if signal == "guardrail.hits"}
    assert batch.health.status == "ok"
    assert {side.lower(): round(rate * 60.0) for side, rate in rates.items()} == {
        side: rail.hits - first[side] for side, rail in rails.items()
    }


async def test_the_exporters_page_says_of_the_gpus_what_the_driver_says(tmp_path):
    played = await Played(tmp_path).to(61.0)
    node, clock = played.node, VirtualClock(played.clock.now())
    transport = simulated.SimulatedTransport(Servers(World(node, clock.now)), lambda: 0.01)
    tools = CollectorContext(clock, httpx.AsyncClient(transport=transport), simulated.SALT, simulated.NODE)
    batch = await build(configured("dcgm", url=f"{simulated.ADDRESS}/dcgm", name="dcgm"), tools).collect()
    assert batch.health.status == "ok"
    told = {(signal, entity.get("gpu")): value for signal, entity, value in batch.readings}
    for gpu in node.gpus:
        assert told["gpu.temperature", gpu.uuid] == round(gpu.temperature)
        assert told["gpu.power.draw", gpu.uuid] == pytest.approx(gpu.power, abs=0.01)
        assert told["gpu.clock.sm", gpu.uuid] == pytest.approx(gpu.clock, abs=1e6)
        assert told["gpu.sm.active", gpu.uuid] == pytest.approx(gpu.load.busy, abs=1e-6)
        assert told["gpu.memory.used", gpu.uuid] == pytest.approx(
            sum(one.memory for one in gpu.processes.values()), abs=2**20
        )


async def test_capacity_that_is_called_back_is_told_by_the_clouds_own_metadata(tmp_path):
    played = await Played(tmp_path, "spot_notice", at=10.0).to(20.0)
    (told,) = [event for batch in played.batches for event in batch.events if event.kind == "notice"]
    assert (told.severity, dict(told.detail)["action"], told.entity) == (
        "critical",
        "terminate",
        Entity.of(node=simulated.NODE),
    )
    assert told.at - played.node.epoch in (10.0, 15.0)
    assert told.text.startswith("AWS is reclaiming this spot instance: terminated at 10:02:1")
    facts = {one.key: one.value for batch in played.batches for one in batch.facts if batch.health.source == "cloud"}
    assert facts == {"cloud": "AWS", "instance_type": "simulated.2xh100", "instance_life_cycle": "spot"}
