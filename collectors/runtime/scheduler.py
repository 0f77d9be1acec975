"""Runs every collector at its own pace and makes ticks of what they bring: the live feed.

A collector that fails, hangs or is slow costs only itself: each has its own task and deadline, and each run ends
in exactly one batch with one health record.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from aistack_top.measure.clock import Clock, VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.feed import Bounds
from aistack_top.model.tick import Batch, Event, Health, History, Tick
from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import Collector, HasHistory, HealthTracker, Paced, SourceError
from collectors.runtime.pace import Pacer

TICK_S = 1.0
EARLY_S = (0.1, 0.2, 0.4, 0.7)
"""Moments after the start at which a tick is made if there is news, so that the first numbers come at once."""

GRACE_S = 0.5
"""A collector keeps its own deadline; the scheduler's is later by this, for the one that does not."""

PAST_S = 60.0
"""How long a source may take to tell what was before we came."""

STEP_S = 2.0
"""A difference between the system's clock and ours that cannot come from its being slewed."""


class LiveFeed:
    """The feed of running collectors; its end is now. See `aistack_top.model.feed.Feed`."""

    def __init__(
        self, collectors: Sequence[Collector], clock: Clock, *, title: str = "", tick_s: float = TICK_S
    ) -> None:
        self.collectors = list(collectors)
        self._clock = clock
        self._tick_s = tick_s
        self._title = title
        self._began = clock.now()
        self._batches: list[Batch] = []
        self._pasts: deque[History] = deque()
        self._stepped = 0.0
        self._incident_open = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        return Bounds(self._began, self._clock.now(), live=True, title=self._title)

    async def ticks(self) -> AsyncGenerator[Tick, None]:
        """Start the collectors and give a tick a second, whether or not there is news: time passes anyway."""
        clock = self._clock
        with _taking_part(clock):
            for collector in self.collectors:
                self._begin(collector)
            # a virtual clock must know all its participants before it moves for the first time
            await asyncio.sleep(0)
            began = clock.monotonic()
            for early in EARLY_S:
                await clock.sleep_until(began + early)
                if self._batches or self._pasts:
                    for tick in self._news():
                        yield tick
            due = began + self._tick_s
            while True:
                await clock.sleep_until(due)
                for tick in self._news():
                    yield tick
                due = max(due + self._tick_s, clock.monotonic())

    def set_incident_open(self, is_open: bool) -> None:
        """See `aistack_top.model.feed.IncidentAware`: costly sources are asked more often meanwhile."""
        self._incident_open = is_open

    def seek(self, at: float) -> None:
        """Continue at another time."""
        raise ValueError("a live feed has no history of its own")

    def set_speed(self, speed: float) -> None:
        """Set the playback speed; 1 is real time, 0 pauses."""
        raise ValueError("playback speed cannot be changed on a live feed")

    def join(self, collector: Collector) -> None:
        """Run one more collector, from within the running feed."""
        self.collectors.append(collector)
        self._begin(collector)

    def leave(self, collector: Collector) -> None:
        """Stop a collector and let go of it, from within the running feed."""
        self.collectors.remove(collector)
        self._tasks.pop(id(collector)).cancel()
        task = asyncio.create_task(collector.aclose())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        """Stop the collectors; does not wait for a request under way."""
        tasks = [*self._tasks.values(), *self._leaving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(collector.aclose() for collector in self.collectors), return_exceptions=True)

    def _begin(self, collector: Collector) -> None:
        self._tasks[id(collector)] = asyncio.create_task(self._pace(collector))

    def _news(self) -> Iterator[Tick]:
        """Yield what sources knew before we came, each in a tick of its own, then what they say now."""
        while self._pasts:
            now = self._clock.now()
            yield Tick(now, now, history=self._pasts.popleft())
        yield self._tick()

    def _tick(self) -> Tick:
        now = self._clock.now()
        # some come from threads, in any order: the same seed must give the same ticks
        batches, self._batches = sorted(self._batches, key=lambda one: (one.seen, one.health.source)), []
        stepped = self._clock.stepped_s()
        if abs(stepped - self._stepped) > STEP_S:
            batches.append(_clock_batch(now, stepped - self._stepped))
            self._stepped = stepped
        return Tick(now, now, tuple(batches))

    async def _pace(self, collector: Collector) -> None:
        """Run one collector over and over, at its pace or slower."""
        source, clock = collector.source, self._clock
        keeper, pacer = HealthTracker(source), Pacer()
        with _taking_part(clock):
            await self._remember(collector)
            due = clock.monotonic()
            while True:
                batch = await self._run(collector, keeper)
                batch = pacer.paced(batch, collector.source, urgent=self._incident_open)
                if isinstance(collector, Paced):
                    collector.set_pace(pacer.pace_s)
                self._batches.append(batch)
                due = max(due + pacer.pace_s, clock.monotonic())
                await clock.sleep_until(due)

    async def _remember(self, collector: Collector) -> None:
        if isinstance(collector, HasHistory):
            # whatever fails here, the present is still to be had
            with suppress(TimeoutError, Exception):
                async with asyncio.timeout(PAST_S):
                    past = await collector.backfill()
                    if past is not None:
                        self._pasts.append(past)

    async def _run(self, collector: Collector, keeper: HealthTracker) -> Batch:
        source, clock = collector.source, self._clock
        began = clock.monotonic()
        try:
            async with asyncio.timeout(source.deadline_s + GRACE_S):
                batch = await collector.collect()
                if batch.health.status in ("ok", "slow", "partial"):
                    keeper.success(batch.seen, 0.0)
                return batch
        except TimeoutError:
            error = SourceError("slow", f"no answer within {source.deadline_s:g} s")
        except Exception as fault:  # a bug in one collector must not cost the others their screen
            error = SourceError("down", sanitize(f"this collector failed: {type(fault).__name__}: {fault}"))
        now = clock.now()
        return Batch(now, now, keeper.failure(now, error, clock.monotonic() - began))


def _clock_batch(now: float, stepped_s: float) -> Batch:
    direction = "ahead" if stepped_s > 0 else "back"
    text = f"the system clock was set {direction} by {abs(stepped_s):.0f} s; the axis continues with the old time"
    health = Health("clock", "clock", "compute", "ok", text)
    event = Event(now, now, "compute", "clock", "warning", Entity.of(source="clock"), text, "clock")
    return Batch(now, now, health, events=(event,))


def _taking_part(clock: Clock) -> AbstractContextManager[None]:
    return clock.participant() if isinstance(clock, VirtualClock) else nullcontext()
