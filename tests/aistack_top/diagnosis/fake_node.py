"""A small made-up plant: one or two engines on their own GPUs, a host, a rail; a test bends what it wants.

Every value is a constant with a little noise of a fixed seed until ``bend`` says otherwise.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.model.entity import Entity
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Batch, Event, Fact, Health, Link, Quantiles, ReadingsBuilder, Tick

START = 1_764_000_000.0
NODE = Entity.of(node="n")

ENGINE_USUAL = {
    "serving.requests.running": 20.0,
    "serving.requests.waiting": 0.0,
    "serving.requests.arrived": 3.0,
    "serving.kv_cache.usage": 0.4,
    "serving.preemptions": 0.0,
    "serving.prompt_tokens.rate": 3000.0,
    "serving.generation_tokens.rate": 800.0,
    "serving.prefix_cache.hit_ratio": 0.6,
    "serving.engine.frozen": 0.0,
}
SPREAD_USUAL = {
    "serving.ttft": 0.4,
    "serving.itl": 0.03,
    "serving.queue_time": 0.02,
    "serving.prefill_time": 0.3,
    "serving.decode_time": 5.0,
    "serving.prompt_tokens.per_request": 1000.0,
    "serving.generation_tokens.per_request": 200.0,
}
GPU_USUAL = {
    "gpu.utilization": 0.95,
    "gpu.temperature": 60.0,
    "gpu.clock.sm": 1.98e9,
    "gpu.power.draw": 500.0,
    "gpu.power.limit": 700.0,
    "gpu.processes": 1.0,
    "gpu.nvlink.active": 18.0,
    "gpu.ecc.uncorrected": 0.0,
}
HOST_USUAL = {"host.cpu.utilization": 0.3, "host.cpu.run_queue": 10.0, "host.cpu.steal": 0.0}

Bend = Callable[[float, str, str], float]
"""Seconds since the start, signal, name of engine, GPU, reason or rail: the factor on the value (or the value of a
signal that is usually 0)."""


def engine(number: int) -> Entity:
    return Entity.of(engine=f"chat-{number}")


def gpu(number: int) -> Entity:
    return Entity.of(gpu=f"GPU-{number}")


@dataclass
class Plant:
    bend: Bend = lambda at, signal, who: 1.0
    engines: int = 1
    linked: bool = True
    nvml: bool = True
    events: dict[int, tuple[Event, ...]] = field(default_factory=dict)
    down: dict[str, tuple[int, int]] = field(default_factory=dict)
    noise: float = 0.03
    seed: int = 1
    missing: float = 0.0

    def ticks(self, seconds: int, start: int = 0) -> Iterator[Tick]:
        rng = random.Random(self.seed)
        for second in range(start, seconds, 5):
            at = START + second
            batches = [self._engine(rng, number, second, at) for number in range(self.engines)]
            if self.nvml:
                batches.append(self._gpus(rng, second, at))
            batches.append(self._host(rng, second, at))
            batches[-1] = Batch(at, at, batches[-1].health, batches[-1].readings, self.events.get(second, ()))
            batches = [self._source(batch, second) for batch in batches]
            yield Tick(at, at, tuple(batch for batch in batches if rng.random() >= self.missing))

    def _source(self, batch: Batch, second: int) -> Batch:
        low, high = self.down.get(batch.health.source, (0, 0))
        if not low <= second < high:
            return batch
        health = batch.health
        return Batch(batch.at, batch.seen, Health(health.source, health.kind, health.layer, "down", "refused"))

    def _value(self, rng: random.Random, second: float, signal: str, who: str, usual: float) -> float:
        bent = self.bend(second, signal, who)
        if usual == 0.0:
            return 0.0 if bent == 1.0 else bent
        return usual * bent * (1.0 + rng.gauss(0.0, self.noise))

    def _engine(self, rng: random.Random, number: int, second: int, at: float) -> Batch:
        about, builder, name = engine(number), ReadingsBuilder(), f"chat-{number}"
        for signal, usual in ENGINE_USUAL.items():
            builder.add(signal, about, self._value(rng, second, signal, name, usual))
        for signal, usual in SPREAD_USUAL.items():
            mean = self._value(rng, second, signal, name, usual)
            builder.add(signal, about, Quantiles(mean * 0.9, mean * 1.8, mean * 2.2, mean, 200.0, 60.0))
        links = (Link(about, gpu(number), "pid"),) if self.linked else ()
        facts = (Fact(about, "model", "llama"),)
        health = Health(name, "vllm", "serving", "ok", interval_s=2.0)
        return Batch(at, at, health, builder.build(), facts=facts, links=links)

    def _gpus(self, rng: random.Random, second: int, at: float) -> Batch:
        builder = ReadingsBuilder()
        for number in range(self.engines):
            about, name = gpu(number), f"GPU-{number}"
            for signal, usual in GPU_USUAL.items():
                exact = signal in ("gpu.processes", "gpu.nvlink.active", "gpu.ecc.uncorrected", "gpu.power.limit")
                value = usual * self.bend(second, signal, name) if exact and usual else None
                builder.add(signal, about, self._value(rng, second, signal, name, usual) if value is None else value)
            for reason in ("hw_thermal", "sw_thermal", "hw_power_brake", "power_cap"):
                bent = self.bend(second, "gpu.throttle", f"{name}/{reason}")
                builder.add("gpu.throttle", about.with_(reason=reason), 0.0 if bent == 1.0 else bent)
        return Batch(at, at, Health("nvml", "nvml", "compute", "ok"), builder.build())

    def _host(self, rng: random.Random, second: int, at: float) -> Batch:
        builder = ReadingsBuilder()
        for signal, usual in HOST_USUAL.items():
            builder.add(signal, NODE, self._value(rng, second, signal, "n", usual))
        rail = Entity.of(rail="input")
        mean = self._value(rng, second, "guardrail.latency", "input", 0.05)
        builder.add("guardrail.latency", rail, Quantiles(mean, mean * 2, mean * 2.2, mean, 200.0, 60.0))
        builder.add("guardrail.hits", rail, self._value(rng, second, "guardrail.hits", "input", 0.02))
        builder.add("guardrail.requests", rail, 3.0 * self.bend(second, "guardrail.requests", "input"))
        return Batch(at, at, Health("host", "host", "compute", "ok"), builder.build())


def bent(since: float, until: float = 1e9, **factors: float) -> Bend:
    """Bend signals, named with two underscores for a dot, between two times; everybody's."""
    wanted = {name.replace("__", "."): factor for name, factor in factors.items()}
    return lambda at, signal, who: wanted.get(signal, 1.0) if since <= at < until else 1.0


def both(*bends: Bend) -> Bend:
    def bend(at: float, signal: str, who: str) -> float:
        out = 1.0
        for one in bends:
            out *= one(at, signal, who)
        return out

    return bend


def watch(plant: Plant, seconds: int = 1500, start: int = 0) -> dict[str, list[Incident]]:
    """Return all versions of the incidents that a plant has in so many seconds."""
    found: dict[str, list[Incident]] = {}
    watching = IncidentDetector()
    for tick in plant.ticks(seconds, start):
        for version in watching.observe(tick):
            found.setdefault(version.id, []).append(version)
    return found


def only(found: dict[str, list[Incident]]) -> Incident:
    """Return the last version of the one incident there is."""
    assert len(found) == 1, {name: versions[-1].verdict.what for name, versions in found.items()}
    return next(iter(found.values()))[-1]
