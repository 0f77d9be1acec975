"""Plays a session: the same ticks, in the order in which things were learned, at any speed.

Up to `FAST` times real time each tick is one that was recorded, with its batches. Faster, a tick carries some
seconds at once as a `History`. Files are read and columns laid on daemon threads. A recorder that is still
writing can be followed, a few seconds behind it.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aistack_top.measure.clock import Clock, VirtualClock
from aistack_top.model.feed import Bounds
from aistack_top.model.tick import Tick
from aistack_top.session.blocks import BlockData
from aistack_top.session.errors import SessionError
from aistack_top.session.history import SPAN_S, SessionHistory
from aistack_top.session.reader import Session
from aistack_top.session.threads import on_thread

FAST = 20.0
QUIET_S = 1.0
"""While nothing was learned, a tick a second lets ages grow."""

PIECE_S = 0.25
"""Wall seconds that a tick of a fast replay covers."""

BEHIND_S = 1.0
"""A follower stays this much behind the recorder's own interval: a segment has to be written and found."""

LAG_S = 5.0
"""A replay that was held up for longer (a stopped terminal) goes on from there and does not rush after its time."""

RUSH_S = 60.0
"""A follower that was held up for longer goes to the newest at once."""

_Result = TypeVar("_Result")


class SessionFeed:
    """A session as a feed. See `aistack_top.model.feed.Feed`.

    ``at`` is where it begins (the start for None). ``follow`` keeps up with a living recorder; the feed then ends
    when the recorder does. ``hold`` keeps a replay from ending at its end: it waits there for a seek. ``span_s``
    is how much history a seek brings.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock,
        at: float | None = None,
        speed: float = 1.0,
        follow: bool = False,
        *,
        hold: bool = False,
        span_s: float = SPAN_S,
    ) -> None:
        self.session = session
        self._clock, self._speed, self._follow, self._hold = clock, speed, follow, hold
        self._past = SessionHistory(session, span_s)
        self._target = at
        self._begun = self._ended = self._closed = False
        self._data: BlockData | None = None
        self._next: tuple[int, int] = (0, 0)
        self._seen = session.start
        self._anchor = (0.0, 0.0)
        self._wake = asyncio.Event()
        self._sleeper: asyncio.Future[None] | None = None

    def bounds(self) -> Bounds:
        """See `Feed.bounds`; the title says whom it follows and how far behind."""
        session = self.session
        if not self._follow:
            title = f"replay of {session.path.name} ({session.node})"
            return Bounds(session.start, session.end, False, True, True, self._speed, title)
        behind = max(self._clock.now() - self._seen, 0.0)
        title = f"attached to the recorder with pid {session.info.writer}, {behind:.0f} s behind"
        return Bounds(session.start, self._live_edge(), True, True, True, self._speed, title)

    def seek(self, at: float) -> None:
        """See `Feed.seek`; a time outside the session means its nearest end."""
        self._target = at
        self._interrupt()

    def set_speed(self, speed: float) -> None:
        """See `Feed.set_speed`.

        Raises:
            ValueError: the speed is negative or no number.

        """
        if not 0 <= speed < float("inf"):
            raise ValueError(f"a speed of {speed} cannot be played")
        self._speed = speed
        self._set_anchor(self._seen)
        self._interrupt()

    async def recording(self) -> Path:
        """See `aistack_top.model.feed.HasRecording`."""
        return self.session.path

    async def incident_times(self) -> Sequence[float]:
        """See `aistack_top.model.feed.KnowsIncidents`."""
        return await self._read(self._past.incident_times)

    async def aclose(self) -> None:
        """Stop the feed and release what it uses."""
        self._closed = True
        self._interrupt()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `Feed.ticks`; the first tick brings the history before the place where it begins."""
        if not self._begun:
            self._begun = True
            self._target = self._first_target()
        self._ended = False
        while not self._closed:
            if self._resting():
                self._wake.clear()
                await self._wake.wait()
                continue
            with _taking_part(self._clock):
                async for tick in self._play():
                    yield self._noted(tick)
            if self._ended and not self._hold and self._target is None:
                return

    def _noted(self, tick: Tick) -> Tick:
        """Return a tick with what is wrong with the session as far as it was read."""
        problems = self.session.problems
        return replace(tick, notices=tuple(problems)) if problems else tick

    def _first_target(self) -> float:
        if self._target is not None:
            return self._target
        return self._live_edge() if self._follow else float("-inf")

    def _live_edge(self) -> float:
        return self._clock.now() - self.session.info.every_s - BEHIND_S

    def _resting(self) -> bool:
        return self._target is None and (self._speed == 0 or self._ended)

    def _interrupt(self) -> None:
        self._wake.set()
        if self._sleeper is not None:
            self._sleeper.cancel()

    async def _play(self) -> AsyncIterator[Tick]:
        """Play until the end, or until the feed is closed or stands still."""
        while not self._closed:
            if self._target is not None:
                target, self._target = self._target, None
                yield await self._jump(target)
            elif self._speed == 0:
                return
            else:
                step = await self._step()
                if step is None:
                    self._ended = True
                    return
                tick, goes_to = step
                if await self._wait_for(tick.seen):
                    self._next = goes_to
                    self._seen = tick.seen
                    yield tick

    async def _jump(self, target: float) -> Tick:
        """Go to a time, and return the tick that brings all that was known then."""
        self._ended = False
        if self._follow:
            await self._refresh()
        at = self._within(target)
        place, data = await self._read(lambda: self._past.find(at))
        history = await self._read(lambda: self._past.before(place, data))
        incidents = await self._read(lambda: self._past.incidents(place.at))
        marks = await self._read(lambda: self._past.marks(place.at))
        self._data, self._next, self._seen = data, (place.block, place.tick), place.at
        self._set_anchor(place.at)
        return Tick(place.at, place.at, history=history, reset=True, incidents=incidents, marks=marks)

    def _within(self, target: float) -> float:
        session = self.session
        if target == float("-inf"):
            return math.nextafter(session.start, 0.0)  # before the first tick, so that it is played
        return min(max(target, session.start), self._live_edge() if self._follow else session.end)

    async def _step(self) -> tuple[Tick, tuple[int, int]] | None:
        """Return the next tick to play and the place after it; None at the end."""
        quiet = QUIET_S if self._speed <= FAST else self._speed * PIECE_S
        found = await self._find()
        if found is None:
            return await self._beyond()
        data, index = found
        row = data.ticks[index]
        if row.seen > self._seen + 1.5 * quiet:
            return Tick(self._seen + quiet, self._seen + quiet), self._next
        if self._speed <= FAST:
            told, marks = data.incidents_between(index, index), data.marked(index, index)
            tick = Tick(row.at, row.seen, data.whole(row), incidents=told, marks=marks)
            return tick, (data.block.number, row.number + 1)
        last = index
        while last + 1 < len(data.ticks) and data.ticks[last + 1].seen <= self._seen + quiet:
            last += 1
        end = data.ticks[last]
        history = await self._read(lambda: self._past.between(data, row.low, end.high))
        told, marks = data.incidents_between(index, last), data.marked(index, last)
        tick = Tick(end.at, end.seen, history=history, incidents=told, marks=marks)
        return tick, (data.block.number, end.number + 1)

    async def _beyond(self) -> tuple[Tick, tuple[int, int]] | None:
        """At the end of what is known: look for more when following, and let time pass."""
        if not self._follow:
            return None
        quiet = Tick(self._seen + QUIET_S, self._seen + QUIET_S), self._next
        if not await self._wait_for(quiet[0].seen):
            return quiet  # which will not be played: something else is wanted
        alive = self.session.alive
        await self._refresh()
        found = await self._find()
        if found is None and not alive:
            return None
        if found is not None:
            return await self._step()
        return quiet

    async def _find(self) -> tuple[BlockData, int] | None:
        """Return the block and the index of the next tick in it, reading the block if need be."""
        number, tick = self._next
        for block in [block for block in self.session.blocks if block.number >= number]:
            data = self._data
            if data is None or data.block != block:
                data = await self._read_block(block.number)
                if data is None:
                    continue
                self._data = data
            wanted = tick if block.number == number else 0
            index = next((i for i, row in enumerate(data.ticks) if row.number >= wanted), None)
            if index is not None:
                self._next = (block.number, wanted)  # or a quiet hour would read the block before it each second
                return data, index
        return None

    async def _read_block(self, number: int) -> BlockData | None:
        slow = self._speed <= FAST

        def read() -> BlockData | None:
            session = self.session
            block = next((block for block in session.blocks if block.number == number), None)
            if block is None:
                return None
            session.forget((number,))
            data = self._past.read(block)
            if slow:
                data.prepare()
            return data

        return await self._read(read)

    async def _refresh(self) -> None:
        await self._read(self.session.refresh)

    async def _read(self, work: Callable[[], _Result]) -> _Result:
        """Do something with the session's files on a thread; once more if they were compacted meanwhile."""

        def attempt() -> _Result:
            for _ in range(3):
                try:
                    return work()
                except FileNotFoundError:
                    self.session.refresh()
            return work()

        try:
            return await on_thread(attempt)
        except OSError as error:
            raise SessionError("cannot read this session", str(error)) from error

    async def _wait_for(self, seen: float) -> bool:
        """Wait until a time of the session is due; return False when something else is wanted meanwhile."""
        if self._target is not None or self._speed == 0 or self._closed:
            return False
        began, start = self._anchor
        due = began + (seen - start) / self._speed
        now = self._clock.monotonic()
        if now - due > LAG_S:
            if not self._follow:
                self._set_anchor(seen)
            elif now - due > RUSH_S:
                self._target = self._live_edge()
                return False
        self._sleeper = asyncio.ensure_future(self._clock.sleep_until(due))
        try:
            await self._sleeper
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        finally:
            self._sleeper = None
        return True

    def _set_anchor(self, seen: float) -> None:
        self._anchor = (self._clock.monotonic(), seen)


def _taking_part(clock: Clock) -> AbstractContextManager[None]:
    return clock.participant() if isinstance(clock, VirtualClock) else nullcontext()
