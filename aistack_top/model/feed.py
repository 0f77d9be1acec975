"""Where ticks come from.

Live collectors, a session on disk, a history window and the simulator are the same thing to everything above this
line; only the transport bar asks what a feed can do.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from aistack_top.model.tick import Mark, Tick


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a feed covers and can do. Times are seconds since the epoch.

    ``live``: its end is now and moves. ``seekable``: `Feed.seek` works between start and end.
    ``speeds``: it can be played faster or slower, at ``speed`` times real time now.
    """

    start: float
    end: float
    live: bool
    seekable: bool = False
    speeds: bool = False
    speed: float = 1.0
    title: str = ""


class Feed(Protocol):
    """An async iterator of ticks, in the order in which things were learned (``seen``)."""

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        ...

    def ticks(self) -> AsyncIterator[Tick]:
        """Iterate over the ticks from where the feed stands; ends when there are no more."""
        ...

    def seek(self, at: float) -> None:
        """Go to a time; the next tick has ``reset`` set and carries the history before it.

        Raises:
            ValueError: the feed cannot seek.

        """
        ...

    def set_speed(self, speed: float) -> None:
        """Play at ``speed`` times real time; 0 stands still.

        Raises:
            ValueError: the feed has one speed only.

        """
        ...

    async def aclose(self) -> None:
        """Let go of connections, threads and files."""
        ...


@runtime_checkable
class KeepsMarks(Protocol):
    """A feed with a recording behind it, which can keep what a person notes."""

    def keep(self, mark: Mark) -> bool:
        """Keep a mark with the recording; False where nothing is recorded after all."""
        ...


@runtime_checkable
class HasRecording(Protocol):
    """A feed whose ticks lie on a disk, so that a stretch of them can be cut out."""

    async def recording(self) -> Path | None:
        """Return the session that holds all that was told so far; None where nothing is recorded after all."""
        ...


@runtime_checkable
class KnowsIncidents(Protocol):
    """A feed whose incidents are known before they are played, so that one can go to the next."""

    async def incident_times(self) -> Sequence[float]:
        """Return when the cause of each incident was told, the earliest first."""
        ...


class LazyFeed:
    """A feed that is made when its first tick is asked for: the screen paints before a client is imported.

    With ``again`` another one is made whenever it ends, as when the recorder one was attached to has gone.
    """

    def __init__(self, make: Callable[[], Awaitable[Feed]], bounds: Bounds, *, again: bool = False) -> None:
        self._make = make
        self._bounds = bounds
        self._again = again
        self._feed: Feed | None = None

    def bounds(self) -> Bounds:
        """See `Feed.bounds`; what was promised until the feed is there."""
        return self._feed.bounds() if self._feed else self._bounds

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `Feed.ticks`."""
        while True:
            self._feed = await self._make()
            async for tick in self._feed.ticks():
                yield tick
            if not self._again:
                return
            await self._feed.aclose()

    def seek(self, at: float) -> None:
        """See `Feed.seek`."""
        if self._feed is None:
            raise ValueError("nothing has been read yet")
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `Feed.set_speed`."""
        if self._feed is None:
            raise ValueError("nothing has been read yet")
        self._feed.set_speed(speed)

    def keep(self, mark: Mark) -> bool:
        """See `KeepsMarks.keep`."""
        feed: object = self._feed
        return isinstance(feed, KeepsMarks) and feed.keep(mark)

    async def recording(self) -> Path | None:
        """See `HasRecording.recording`."""
        feed: object = self._feed
        return await feed.recording() if isinstance(feed, HasRecording) else None

    async def incident_times(self) -> Sequence[float]:
        """See `KnowsIncidents.incident_times`."""
        feed: object = self._feed
        return await feed.incident_times() if isinstance(feed, KnowsIncidents) else ()

    async def aclose(self) -> None:
        """See `Feed.aclose`."""
        if self._feed is not None:
            await self._feed.aclose()
