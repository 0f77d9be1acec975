"""What diagnosis costs: CPU of a detector step and of a look at an incident, and how long it holds the event loop up.

    python bench/diagcost.py [--node eight]

Half an hour of a node with a surge of load, read as production reads it. The first table is CPU time with the ticks
handed over as fast as they are taken; the second plays the same ticks through the feed of the console, twenty a second,
beside a task that asks every five milliseconds how late it is. Garbage is not collected meanwhile: the simulator's own
objects would be counted in.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import msgspec
from simticks import NodeReader

from aistack_top.diagnosis import open_incident as trouble
from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.feeds.diagnosed import STEPS, DiagnosedFeed
from aistack_top.model.feed import Bounds
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Mark, Tick
from aistack_top.simulator.scenario import scenarios

ONSET = 1800.0


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default="eight", help="a node of the simulator's nodes.toml")
    options = parser.parse_args()
    surge = msgspec.structs.replace(scenarios()["traffic_surge"].fault[0], at=ONSET, until=0.0, tenant="", load=1.2)
    node = scenarios()["healthy_day"].start(node=options.node, band=0.6, seed=7)
    msgspec.structs.replace(surge, tenant=node.config.tenant[0].name).arm(node)
    gc.disable()
    ticks = list(NodeReader(node).ticks(ONSET + 240.0))
    by_cpu(ticks)
    asyncio.run(on_the_loop(ticks))


def by_cpu(ticks: list[Tick]) -> None:
    """Print the CPU time of a detector step, of a look at an incident, and of a whole tick."""
    watch = IncidentDetector(STEPS)
    looks: list[float] = []
    review, step = trouble.OpenIncident._review, IncidentDetector._step

    def timed(self: trouble.OpenIncident, *given: object) -> None:
        began = time.process_time()
        review(self, *given)  # type: ignore[arg-type]  # handed on as they came
        looks.append(time.process_time() - began)

    takes: list[float] = []
    steps: list[float] = []

    def stepped(self: IncidentDetector, at: float, seen: float) -> list[Incident]:
        told, began = len(looks), time.process_time()
        found = step(self, at, seen)
        if len(looks) == told and at > ticks[0].at + 300.0:
            steps.append(time.process_time() - began)
        return found

    trouble.OpenIncident._review, IncidentDetector._step = timed, stepped  # type: ignore[method-assign, assignment]  # to time what has no hook
    for tick in ticks:
        began = time.process_time()
        watch.observe(tick)
        takes.append(time.process_time() - began)
    timeline = watch.state.timeline
    signals = len({key[0] for key in timeline})
    print(f"{len(timeline)} series, {signals} signals, {len(watch._watches)} series watched")
    spread = f"median {ms(statistics.median(steps))}, p99 {ms(high(steps))}, most {ms(max(steps))}"
    print(f"a detector step:              {spread}")
    if looks:
        print(
            f"a look at an incident: {len(looks)} of them, median {ms(statistics.median(looks))}, most {ms(max(looks))}"
        )
    print(f"a whole tick, on a thread:    median {ms(statistics.median(takes))}, most {ms(max(takes))}")
    trouble.OpenIncident._review, IncidentDetector._step = review, step  # type: ignore[method-assign]  # as it was


class Paced:
    """Plays ticks: those of the baseline at once, then twenty a second."""

    def __init__(self, ticks: list[Tick]) -> None:
        self._ticks = ticks

    def bounds(self) -> Bounds:
        """See `aistack_top.model.feed.Feed`."""
        return Bounds(self._ticks[0].at, self._ticks[-1].at, live=True)

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.model.feed.Feed`."""
        for tick in self._ticks:
            if tick.at >= self._ticks[0].at + ONSET:
                await asyncio.sleep(0.05)
            yield tick

    def seek(self, at: float) -> None:
        """See `aistack_top.model.feed.Feed`."""

    def set_speed(self, speed: float) -> None:
        """See `aistack_top.model.feed.Feed`."""

    def keep(self, mark: Mark) -> bool:
        """See `aistack_top.model.feed.KeepsMarks`."""
        return False

    async def aclose(self) -> None:
        """See `aistack_top.model.feed.Feed`."""


async def on_the_loop(ticks: list[Tick]) -> None:
    """Print how late a task of the same loop is that wants to run every five milliseconds."""
    late: list[float] = []
    begun = asyncio.Event()

    async def beat() -> None:
        await begun.wait()
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - asked - 0.005)

    beating = asyncio.create_task(beat())
    async for tick in DiagnosedFeed(Paced(ticks)).ticks():
        if tick.at >= ticks[0].at + ONSET:
            begun.set()
    beating.cancel()
    print(
        f"a task beside it on the loop:  late by median {ms(statistics.median(late))}, p99 {ms(high(late))}, "
        f"most {ms(max(late))}"
    )


def high(values: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[int(0.99 * len(values))]


def ms(seconds: float) -> str:
    """Return milliseconds."""
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
