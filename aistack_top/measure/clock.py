"""What time it is: the only place that knows, so that a day can be played in minutes.

| who asks | for what |
|---|---|
| scheduler | when a collector is due |
| collectors | the stamp of what they bring |
| recorder, detector | the step they stand on |

``WallClock`` is the real one. ``VirtualClock`` moves only when everybody who takes part waits for it, so that
the same inputs give the same ticks, byte for byte, however slow the machine is. ``PacedClock`` is virtual up to a
moment and goes with the machine's time from there.
"""

import asyncio
import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Time as the program sees it: seconds since the Unix epoch."""

    def now(self) -> float:
        """Return the current time in seconds since the Unix epoch; never steps, even if the system's clock does."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a scale that never steps back, for intervals and deadlines."""
        ...

    def stepped_s(self) -> float:
        """Return by how many seconds the system's clock was set away from this one since the start."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Wait until ``monotonic()`` has reached ``moment``; return at once when it has."""
        ...


class WallClock:
    """The clock of this machine, read once and carried on by the one that cannot be set.

    An operator or NTP may set the system's clock by an hour in mid-incident. The time axis must not tear, so it
    goes on with the time of its start, and `stepped_s` tells what the screen has to say about it.
    """

    def __init__(self) -> None:
        self._began, self._began_steady = time.time(), _steady()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._began + (_steady() - self._began_steady)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def stepped_s(self) -> float:
        """See `Clock.stepped_s`."""
        return time.time() - self.now()

    async def sleep_until(self, moment: float) -> None:
        """Sleep until a time of this clock."""
        delay = moment - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)


def _steady() -> float:
    # CLOCK_BOOTTIME also counts the time a machine was asleep, which CLOCK_MONOTONIC leaves out
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class VirtualClock:
    """A clock that jumps to the next appointment once every participant is asleep.

    Tasks that sleep on it must register with `participant`; a task that forgets keeps the clock from knowing
    that work is still going on. Sleepers wake one at a time, in the order of their appointments and then of
    their arrival, which is what makes a run repeatable.
    """

    def __init__(self, start: float) -> None:
        self._now = start
        self._participants = 0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`; here the same scale as `now`."""
        return self._now

    def stepped_s(self) -> float:
        """See `Clock.stepped_s`; nobody sets this clock."""
        return 0.0

    @contextmanager
    def participant(self) -> Iterator[None]:
        """Count the caller among those the clock waits for."""
        self._participants += 1
        try:
            yield
        finally:
            self._participants -= 1
            self._wake_next()

    async def sleep_until(self, moment: float) -> None:
        """Sleep until a time of this clock."""
        future = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (moment, self._order, future))
        self._wake_next()
        try:
            await future
        except asyncio.CancelledError:
            self._sleepers = [entry for entry in self._sleepers if entry[2] is not future]
            heapq.heapify(self._sleepers)
            raise

    def _wake_next(self) -> None:
        if self._sleepers and len(self._sleepers) >= self._participants:
            moment, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, moment)
            if not future.done():
                future.set_result(None)


class PacedClock(VirtualClock):
    """A virtual clock up to ``live_from``; from there ``speed`` of its seconds pass in each second of this machine.

    So a past is caught up with as fast as it can be computed, by those who then go on live.
    """

    def __init__(self, start: float, live_from: float, speed: float = 1.0) -> None:
        super().__init__(start)
        self._live_from, self._speed = max(start, live_from), speed
        self._began: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Return seconds since the epoch."""
        if self._began is None:
            return self._now
        return self._live_from + (_steady() - self._began) * self._speed

    def monotonic(self) -> float:
        """See `Clock.monotonic`; here the same scale as `now`."""
        return self.now()

    async def sleep_until(self, moment: float) -> None:
        """Sleep until a time of this clock."""
        self._loop = asyncio.get_running_loop()
        await super().sleep_until(moment)

    def _wake_next(self) -> None:
        sleepers = self._sleepers
        if self._began is None and sleepers and len(sleepers) >= self._participants:
            if sleepers[0][0] <= self._live_from:
                super()._wake_next()
                return
            self._began = _steady()
        if self._began is not None:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        loop = self._loop
        if self._sleepers and loop is not None and not loop.is_closed():
            delay = (self._sleepers[0][0] - self.now()) / self._speed
            self._alarm = loop.call_later(max(delay, 0.0), self._ring)

    def _ring(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self.now():
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
        self._set_alarm()
