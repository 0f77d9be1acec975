"""Records a simulated node through the production collectors and the real recorder, under virtual time."""

import asyncio
import tempfile
from pathlib import Path

from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import VirtualClock
from aistack_top.session.compact import compact
from aistack_top.session.recorder import Recorder
from aistack_top.simulator.node import SimulatedNode
from collectors.demo import node as simulated


def record(
    node: SimulatedNode,
    target: Path,
    seconds: float,
    step_s: float,
    *,
    traced_s: float | None = None,
) -> None:
    """Record some seconds of a node's life from its present; calls of the last ``traced_s`` of them only, if given."""
    asyncio.run(_record(node, target, seconds, step_s, traced_s))
    compact(target)
    for lock in target.glob("*.lock"):
        lock.unlink()


async def _record(node: SimulatedNode, target: Path, seconds: float, step_s: float, traced_s: float | None) -> None:
    begins = node.epoch + node.now
    clock = VirtualClock(begins)
    with tempfile.TemporaryDirectory() as folder:
        live = simulated.feed(node, clock, Path(folder), step_s=step_s)
        late = [one for one in live.collectors if traced_s is not None and one.source.kind == "langfuse"]
        live.collectors = [one for one in live.collectors if one not in late]
        recording = RecordingFeed(live, Recorder(target, node=simulated.NODE, clock=clock))
        async for tick in recording.ticks():
            if late and tick.at >= begins + seconds - (traced_s or 0.0):
                node.sink.visible.clear()
                live.join(late.pop())
            if tick.at >= begins + seconds:
                break
        await recording.aclose()
