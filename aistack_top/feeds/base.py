"""What all feeds have in common that are made of another one. See `aistack_top.model.feed`."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aistack_top.model.feed import Bounds, Feed, HasRecording, KeepsMarks, KnowsIncidents
from aistack_top.model.tick import Mark, Tick


class FeedDecorator:
    """Passes everything on to the feed below it; a feed that adds something overrides the method concerned.

    What the feed below cannot do, this one cannot do either: a mark is then not kept, and there is no recording.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        async for tick in self._feed.ticks():
            yield tick

    def seek(self, at: float) -> None:
        """Continue at another time."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """Set the playback speed; 1 is real time, 0 pauses."""
        self._feed.set_speed(speed)

    def keep(self, mark: Mark) -> bool:
        """Store a mark with the recording; return False if nothing is recorded."""
        feed: object = self._feed
        return isinstance(feed, KeepsMarks) and feed.keep(mark)

    async def recording(self) -> Path | None:
        """Return the session recorded so far; None if nothing is recorded."""
        feed: object = self._feed
        return await feed.recording() if isinstance(feed, HasRecording) else None

    async def incident_times(self) -> Sequence[float]:
        """Return when each incident was detected, the earliest first."""
        feed: object = self._feed
        return await feed.incident_times() if isinstance(feed, KnowsIncidents) else ()

    async def aclose(self) -> None:
        """Stop the feed and release what it uses."""
        await self._feed.aclose()
