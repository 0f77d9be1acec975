"""A scenario of the simulator as a live feed: what ``demo`` shows, and ``record`` and ``snapshot`` with ``--demo``.

The story that opens without a name has half an hour behind it that comes with the program; every other scenario is
computed from some minutes before its trouble, as fast as the machine can, and then goes on by the clock. Nodes on
which nothing is trained get a GPU that does, so that no layer is empty.
"""

import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from math import inf
from pathlib import Path

import msgspec

from aistack_top.measure.clock import PacedClock, WallClock
from aistack_top.model.feed import Bounds
from aistack_top.model.tick import Tick
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from aistack_top.session.threads import on_thread
from aistack_top.simulator.node import EPOCH, SimulatedNode
from aistack_top.simulator.scenario import Scenario, scenarios
from collectors.runtime.scheduler import LiveFeed

TITLE = "simulated"
STORY = "thermal_throttle"
DEMO_NODE = "stage"
"""The node of the story: small enough in calls for its past to come with the program."""

HISTORY_S = 1800.0
HISTORY = "demo-calm.aistack"
WARM_S = 120.0
"""So long the story's node serves unseen, until its queues, caches and temperatures are those of any other moment."""

LEAD_S = 10.0
"""From the first live moment to the trouble."""

BASELINE_S = 300.0
"""How much of the time before its trouble a scenario shows: what is usual must be known."""

STEP_S = 5.0
"""How often sources are asked in a past that is computed."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What is played: how the node is made, when it is watched from, and from when it goes by the clock.

    Times are seconds since the Unix epoch. ``has_past``: what came before comes with the program.
    """

    make: Callable[[], SimulatedNode]
    watched_from: float
    live_from: float
    has_past: bool = False


def default_scenario(seed: int | None = None, speed: float = 1.0) -> "DemoFeed":
    """Return what ``demo`` opens with: a calm half hour, then a GPU that gets too hot.

    The past is that of the scenario's own seed; with another one it is computed, and shorter.
    """
    scenario = scenarios()[STORY]
    if seed is not None and seed != scenario.seed:
        return rehearsal(STORY, seed, speed)

    def make() -> SimulatedNode:
        first = min(fault.at for fault in scenario.fault)
        begins, lived = EPOCH + HISTORY_S - WARM_S, HISTORY_S - WARM_S
        node = moved(scenario, WARM_S + LEAD_S - first).start(node=DEMO_NODE, epoch=begins, lived_s=lived)
        node.advance(WARM_S)
        node.sink.visible.clear()  # its past tells them
        return node

    return DemoFeed(DemoPlan(make, EPOCH + HISTORY_S, EPOCH + HISTORY_S, has_past=True), speed)


def rehearsal(name: str, seed: int | None = None, speed: float = inf) -> "DemoFeed":
    """Return a scenario as a feed; an infinite speed never waits, and the same seed then gives the same ticks."""
    scenario = scenarios()[name]
    first = min((fault.at for fault in scenario.fault), default=BASELINE_S + LEAD_S)
    live_from = _begins(scenario)
    watched_from = max(min(live_from - BASELINE_S, first - BASELINE_S / 2), 0.0)

    def make() -> SimulatedNode:
        node = scenario.start(seed=seed, trains=True)
        node.advance(watched_from)
        node.sink.visible.clear()  # a quarter of an hour of calls to ask for at once would hold up the start
        return node

    return DemoFeed(DemoPlan(make, EPOCH + watched_from, EPOCH + live_from), speed)


def whole_scenario(name: str, seed: int | None = None) -> "DemoFeed":
    """Return a scenario from its start, as fast as the machine can, with every source asked as often as live."""
    return DemoFeed(DemoPlan(lambda: scenarios()[name].start(seed=seed, trains=True), EPOCH, EPOCH), inf)


def served(name: str | None, seed: int | None, now: float) -> SimulatedNode:
    """Return a scenario's node for whoever asks its servers by a wall clock: it is where ``demo`` would show it first.

    ``now`` is in seconds since the Unix epoch.
    """
    scenario = scenarios()[name or STORY]
    begins = _begins(scenario)
    node = scenario.start(seed=seed, epoch=now - begins, trains=True)
    node.advance(begins)
    return node


def _begins(scenario: Scenario) -> float:
    """Return when a scenario goes by the clock, in seconds since its start."""
    first = min((fault.at for fault in scenario.fault), default=BASELINE_S + LEAD_S)
    return max((scenario.onset or first) - LEAD_S, 0.0)


def moved(scenario: Scenario, by_s: float) -> Scenario:
    """Return a scenario whose faults happen some seconds later."""
    faults = tuple(
        msgspec.structs.replace(fault, at=fault.at + by_s, until=fault.until + by_s if fault.until else 0.0)
        for fault in scenario.fault
    )
    return msgspec.structs.replace(scenario, fault=faults)


class DemoFeed:
    """The production collectors in front of a simulated node. See `aistack_top.model.feed.Feed`; ``clock`` is its time.

    The node is made when its first tick is asked for, on a thread: its past is on the screen by then.
    """

    def __init__(self, play: DemoPlan, speed: float) -> None:
        self._play = play
        self.live_from = play.live_from
        self.clock = PacedClock(play.watched_from, inf if speed == inf else play.live_from, speed)
        self._held = contextlib.ExitStack()
        self._live: LiveFeed | None = None

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        return Bounds(self._play.watched_from, self.clock.now(), live=True, title=TITLE)

    async def ticks(self) -> AsyncGenerator[Tick, None]:
        """See `Feed.ticks`; the first one brings what came before, where that is known already."""
        if self._play.has_past:
            yield await self._past()
        folder = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="aistack-top-")))
        self._live = await on_thread(lambda: self._begin(folder))
        async for tick in self._live.ticks():
            yield tick

    def seek(self, at: float) -> None:
        """Continue at another time."""
        raise ValueError("a live feed has no history of its own")

    def set_speed(self, speed: float) -> None:
        """Set the playback speed; 1 is real time, 0 pauses."""
        raise ValueError("playback speed cannot be changed on a live feed")

    async def aclose(self) -> None:
        """Stop the feed and release what it uses."""
        if self._live is not None:
            await self._live.aclose()
        self._held.close()

    async def _past(self) -> Tick:
        with as_file(files("aistack_top.simulator").joinpath(HISTORY)) as kept:
            session = await on_thread(lambda: Session.open(kept))
            before = SessionFeed(session, WallClock(), at=session.end, speed=0.0, span_s=HISTORY_S)
            tick = await anext(before.ticks())
            await before.aclose()
        return tick

    def _begin(self, folder: Path) -> LiveFeed:
        from collectors.demo import node as simulated

        play, node = self._play, self._play.make()
        live = simulated.feed(node, self.clock, folder)
        if play.watched_from < play.live_from:
            live.collectors = [
                simulated.LimitedCollector(one, self.clock, play.live_from, STEP_S) for one in live.collectors
            ]
        return live
