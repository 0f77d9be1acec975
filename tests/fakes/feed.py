"""A feed that is the same every time: GPUs, engines and calls under real signal names, with gaps and failures."""

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.feed import Bounds
from aistack_top.model.tick import (
    Batch,
    Bound,
    Call,
    Event,
    Fact,
    Health,
    History,
    Link,
    Quantiles,
    ReadingsBuilder,
    SeriesKey,
    Tick,
)

START = 1_764_000_000.0
"""2025-11-24 16:00:00 UTC."""


@dataclass(frozen=True)
class World:
    """How much there is to show, and what is wrong with it."""

    gpus: int = 2
    engines: int = 1
    calls: bool = True
    history_s: int = 300
    engine_names: tuple[str, ...] = ()
    langfuse_status: str = "ok"
    langfuse_reason: str = ""

    def engine(self, index: int) -> str:
        return self.engine_names[index] if index < len(self.engine_names) else f"vllm-{index}"


def gpu(index: int) -> Entity:
    return Entity.of(gpu=f"GPU-{index:08x}-aaaa-bbbb-cccc-000000000000")


def wave(at: float, phase: float, low: float, high: float) -> float:
    """A number between two others that moves every second, the same for the same time."""
    slow = math.sin(at / 47 + phase)
    fast = math.sin(at * 1.7 + phase * 3)
    return low + (high - low) * (0.5 + 0.35 * slow + 0.15 * fast)


def gpu_values(at: float, index: int) -> dict[str, float]:
    return {
        "gpu.utilization": wave(at, index, 0.7, 1.0),
        "gpu.memory.usage": 0.9 + index * 0.001,
        "gpu.temperature": wave(at, index, 55, 75) + index,
        "gpu.power.draw": wave(at, index, 400, 690),
        "gpu.clock.sm": round(wave(at, index, 1400, 1980)) * 1e6,
        "gpu.ecc.uncorrected": 0.0,
    }


def engine_values(at: float, index: int) -> dict[str, float]:
    return {
        "serving.requests.running": round(wave(at, index, 8, 60)),
        "serving.requests.waiting": round(wave(at, index, 0, 12)),
        "serving.kv_cache.usage": wave(at, index, 0.3, 0.9),
        "serving.generation_tokens.rate": wave(at, index, 400, 2400),
        "serving.preemptions": 0.0,
        "serving.requests.arrived": wave(at, index, 2, 9),
    }


def quantiles(at: float, index: int, scale: float) -> Quantiles:
    p95 = wave(at, index, scale, 4 * scale)
    return Quantiles(p95 / 2, p95, p95 * 1.3, p95 / 1.8, 240.0, 60.0)


def nvml_batch(at: float, world: World) -> Batch:
    builder = ReadingsBuilder()
    for index in range(world.gpus):
        for name, value in gpu_values(at, index).items():
            builder.add(name, gpu(index), value)
        builder.add("gpu.throttle", gpu(index).with_(reason="hw_thermal"), 0.4 if index == 1 else 0.0)
        builder.add("gpu.throttle", gpu(index).with_(reason="power_cap"), 1.0)
    facts = tuple(Fact(gpu(index), "index", str(index)) for index in range(world.gpus))
    return Batch(at, at, Health("nvml", "nvml", "compute", "ok", took_s=0.004), builder.build(), facts=facts)


def vllm_batch(at: float, world: World, index: int) -> Batch:
    builder = ReadingsBuilder()
    name = world.engine(index)
    engine = Entity.of(engine=name)
    for signal, value in engine_values(at, index).items():
        builder.add(signal, engine, value)
    builder.add("serving.ttft", engine, quantiles(at, index, 0.2))
    builder.add("serving.itl", engine, quantiles(at, index, 0.01))
    builder.add("serving.e2e", engine, Quantiles(None, None, None, 4.0, 3.0, 300.0))
    builder.add(
        "serving.queue_time", engine, Quantiles(Bound("below", 0.3), Bound("below", 0.3), None, 0.1, 240.0, 60.0)
    )
    facts = (Fact(engine, "model", "meta-llama/Llama-3.1-70B-Instruct"),)
    links = (Link(engine, gpu(index), "pid", "pid 4242 listens on 8000"),) if index < world.gpus else ()
    health = Health(name, "vllm", "serving", "ok", took_s=0.016, interval_s=2.0)
    return Batch(at, at, health, builder.build(), facts=facts, links=links)


def langfuse_batch(at: float, world: World) -> Batch:
    health = Health(
        "langfuse",
        "langfuse",
        "tracing",
        world.langfuse_status,  # type: ignore[arg-type]  # a test says which
        world.langfuse_reason,
        age_s=0.0 if world.langfuse_status == "ok" else 45.0,
        took_s=0.12,
        interval_s=5.0,
        clock_offset_s=0.8,
        clock_uncertainty_s=0.5,
    )
    calls = tuple(
        Call(
            id=f"c{int(at)}-{number}",
            trace=f"t{int(at)}-{number}",
            parent="",
            kind="generation",
            name="chat",
            start=at - 9 - number * 0.1,
            end=at - 7 + number * 0.1,
            seen=at,
            updated=at,
            model="llama",
            input_tokens=1200,
            output_tokens=200,
            ttft=0.4,
            cost=0.002,
        )
        for number in range(3)
    )
    return Batch(at, at, health, calls=calls if world.langfuse_status == "ok" else (), calls_until=at - 5)


def history(until: float, world: World) -> History:
    """The seconds before the first tick, in bulk, with a gap of twenty seconds in them."""
    start = until - world.history_s
    columns: dict[SeriesKey, array[float]] = {}
    times = [start + second for second in range(world.history_s)]
    gap = range(100, 120)

    def lay(key: SeriesKey, values: Iterable[float]) -> None:
        columns[key] = array("f", [math.nan if second in gap else value for second, value in enumerate(values)])

    for index in range(world.gpus):
        rows = [gpu_values(at, index) for at in times]
        for name in rows[0]:
            lay((name, gpu(index), "value"), [row[name] for row in rows])
    for index in range(world.engines):
        engine = Entity.of(engine=world.engine(index))
        rows = [engine_values(at, index) for at in times]
        for name in rows[0]:
            lay((name, engine, "value"), [row[name] for row in rows])
        lay(("serving.ttft", engine, "p95"), [wave(at, index, 0.2, 0.8) for at in times])
        lay(("serving.itl", engine, "p95"), [wave(at, index, 0.01, 0.04) for at in times])
    return History(start, 1.0, columns)


def tick(at: float, world: World, *, first: bool = False) -> Tick:
    """What one second brings: GPUs every second, engines every second, calls every fifth."""
    batches = [nvml_batch(at, world)] if world.gpus else []
    batches += [vllm_batch(at, world, index) for index in range(world.engines)]
    if world.calls and int(at) % 5 == 0:
        batches.append(langfuse_batch(at, world))
    if first and batches:
        engine = Entity.of(engine=world.engine(0))
        batches[0] = replace(
            batches[0],
            events=(
                Event(at - 60, at, "serving", "restart", "warning", engine, "engine restarted", "vllm"),
                Event(at - 30, at, "compute", "xid", "critical", gpu(0), "XID 79: GPU has fallen off the bus", "nvml"),
            ),
        )
    return Tick(at, at, tuple(batches), history(at, world) if first and world.history_s else None)


class FakeFeed:
    """Gives ticks one after the other, as fast as they are taken, then waits for ever or ends.

    ``pause`` is awaited before each tick but the first: a test lets ticks through one by one, a benchmark sleeps.
    Seeks and speeds are written down in ``seeks`` and ``speeds``.
    """

    def __init__(
        self,
        ticks: Iterable[Tick],
        *,
        bounds: Bounds | None = None,
        pause: Callable[[], Awaitable[object]] | None = None,
        fault: Exception | None = None,
        on_seek: Callable[[float], Tick] | None = None,
        pause_first: bool = False,
    ) -> None:
        self._ticks = iter(ticks)
        self._bounds = bounds or Bounds(START, START, live=True, title="node-1")
        self._pause = pause
        self._pauses_first = pause_first
        self._fault = fault
        self._on_seek = on_seek
        self._sought: asyncio.Queue[Tick] = asyncio.Queue()
        self.seeks: list[float] = []
        self.speeds: list[float] = []
        self.closed = False
        self.given = 0

    def bounds(self) -> Bounds:
        return self._bounds

    async def ticks(self) -> AsyncIterator[Tick]:
        for one in self._ticks:
            if self._pause is not None and (self.given or self._pauses_first):
                await self._pause()
            self.given += 1
            yield one
        if self._fault is not None:
            raise self._fault
        while True:
            yield await self._sought.get()

    def seek(self, at: float) -> None:
        if not self._bounds.seekable:
            raise ValueError("a live feed has no history of its own")
        self.seeks.append(at)
        if self._on_seek is not None:
            self._sought.put_nowait(self._on_seek(at))

    def set_speed(self, speed: float) -> None:
        if not self._bounds.speeds:
            raise ValueError("playback speed cannot be changed on a live feed")
        self.speeds.append(speed)
        self._bounds = replace(self._bounds, speed=speed)

    async def aclose(self) -> None:
        self.closed = True


def seconds(count: int, world: World, start: float = START) -> list[Tick]:
    """Ticks of consecutive seconds, the first with its history."""
    return [tick(start + number, world, first=number == 0) for number in range(count)]


def reset_tick(at: float, world: World) -> Tick:
    """What a seek brings: forget, then the history before the time, then the time itself."""
    return replace(tick(at, world, first=True), reset=True)


__all__ = ["SERVICE", "START", "FakeFeed", "World", "gpu", "reset_tick", "seconds", "tick"]
