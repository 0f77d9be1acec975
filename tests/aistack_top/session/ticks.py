"""Made-up ticks for the tests of sessions: small, regular, and with everything in them a tick can have."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from aistack_top.measure.clock import Clock, VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import (
    Batch,
    Bound,
    Call,
    Event,
    Fact,
    Health,
    Link,
    Quantiles,
    ReadingsBuilder,
    Tick,
)
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.replay import SessionFeed

START = 1_763_940_000.0
GPU = Entity.of(gpu="GPU-0")
ENGINE = Entity.of(engine="vllm-a")


def health(source: str, kind: str = "vllm", status: str = "ok", reason: str = "") -> Health:
    return Health(source, kind, "serving", status, reason, 0.0, 0.25, 1.0)  # type: ignore[arg-type]


def call(number: int, end: float, seen: float) -> Call:
    return Call(
        f"call-{number}",
        f"trace-{number}",
        "",
        "generation",
        "answer",
        end - 2.0,
        end,
        seen,
        end,
        model="llama",
        input_tokens=100 + number,
        ttft=0.5,
        cost=0.001,
        tenant="u-1",
    )


def tick(second: int, start: float = START, series: int = 3) -> Tick:
    """Return the tick of a second: a GPU every second, an engine every second one, calls five seconds late."""
    seen = start + second + 0.05
    builder = ReadingsBuilder()
    for number in range(series):
        builder.add("gpu.temperature", Entity.of(gpu=f"GPU-{number}"), 40.0 + (second * 7 + number) % 30)
    batches = [Batch(seen - 0.03, seen - 0.02, health("nvml", "nvml"), builder.build())]
    if second % 2 == 0:
        batches.append(engine_batch(second, seen))
    if second % 5 == 0:
        late = (call(second, seen - 5.0, seen),)
        batches.append(Batch(seen, seen, health("langfuse", "langfuse"), calls=late, calls_until=seen - 3.0))
    return Tick(seen, seen, tuple(batches))


def engine_batch(second: int, seen: float) -> Batch:
    builder = ReadingsBuilder()
    builder.add("serving.requests.running", ENGINE, float(second % 9))
    builder.add(
        "serving.ttft", ENGINE, Quantiles(0.1, 0.3 + second / 1000, Bound("above", 80.0), 0.2, float(second), 60.0)
    )
    events: tuple[Event, ...] = ()
    if second % 30 == 10:
        events = (Event(seen - 1, seen, "serving", "restart", "warning", ENGINE, f"restarted {second}", "vllm-a"),)
    facts = (Fact(ENGINE, "version", f"0.{second // 60}"), Fact(ENGINE, "model", "llama"))
    links = (Link(ENGINE, GPU, "pid", "pid 7"),)
    status = "stale" if second % 40 == 20 else "ok"
    record = health("vllm-a", status=status, reason="slow" if status == "stale" else "")
    return Batch(seen - 0.1, seen - 0.01, record, builder.build(), events, facts=facts, links=links)


def record(path: Path, ticks: Iterable[Tick], *, block_s: float = 60.0, close: bool = True) -> Recorder:
    """Record ticks as they come, in virtual time, waiting for the recorder's thread where its queue is full."""
    recorder = Recorder(path, node="node-1", clock=VirtualClock(START), block_s=block_s)
    for one in ticks:
        if recorder.backlog > 50:
            drain(recorder)
        recorder.record(one)
    if close:
        recorder.close(30.0)
    return recorder


def drain(recorder: Recorder) -> None:
    """Wait until the recorder's thread has taken everything."""
    while recorder.backlog:
        time.sleep(0.001)


async def played(session: Session, clock: Clock | None = None, **options: object) -> list[Tick]:
    """Return all ticks of a replay in virtual time."""
    clock = clock or VirtualClock(session.start)
    feed = SessionFeed(session, clock, **options)  # type: ignore[arg-type]
    return [one async for one in feed.ticks()]


async def take(feed: AsyncIterator[Tick], count: int) -> list[Tick]:
    """Return the next ticks of a feed."""
    return [await anext(feed) for _ in range(count)]


def run(work):
    """Run a coroutine in a loop of its own, for tests that hypothesis drives."""
    return asyncio.run(work)
