"""The collectors of production in front of the simulator: they read the model's own truth."""

from pathlib import Path

import pytest

from aistack_top.clock import VirtualClock
from aistack_top.entity import Entity
from aistack_top.simulator.scenario import scenarios
from collectors import simulated

STEP_S = 5.0


class Played:
    """A scenario on two GPUs, played through the collectors to a second of its own."""

    def __init__(self, folder: Path, name: str = "healthy_day", **more):
        scenario = scenarios()[name]
        self.node = scenario.start(node=more.pop("node", scenario.light), **more)
        self.clock = VirtualClock(self.node.epoch)
        self.feed = simulated.feed(self.node, self.clock, folder, step_s=STEP_S)
        self.ticks = []

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
    assert health == dict.fromkeys(("nvml", "host", "links", "chat-0", "chat-1"), ("ok", ""))


async def test_the_same_seed_gives_the_same_ticks_and_another_gives_others(tmp_path):
    one = await Played(tmp_path / "one").to(60.0)
    again = await Played(tmp_path / "again").to(60.0)
    other = await Played(tmp_path / "other", seed=2).to(60.0)
    assert repr(one.ticks) == repr(again.ticks)
    assert repr(one.ticks) != repr(other.ticks)


async def test_an_engine_that_dies_with_its_gpu_refuses_connections_and_comes_back(tmp_path):
    played = await Played(tmp_path, "xid").to(1230.0)
    health = {
        round(batch.at - played.node.epoch): batch.health.status
        for batch in played.batches
        if batch.health.source == "chat-0"
    }
    assert health[895] == "ok"
    assert health[905] == "down"
    assert health[1225] == "ok"
    kinds = [(at, kind) for at, kind, _ in played.events]
    assert (900, "xid") in kinds
    assert [at for at, kind in kinds if kind == "lost"] == [900, 1140]
    assert [at for at, kind in kinds if kind == "restart"] == [1215]


async def test_links_say_which_gpus_an_engine_works_on(tmp_path):
    played = await Played(tmp_path, node="linked").to(20.0)
    links = {(link.parent, link.child) for batch in played.batches for link in batch.links}
    assert links == {(Entity.of(engine="chat-0"), Entity.of(gpu=gpu.uuid)) for gpu in played.node.gpus}
