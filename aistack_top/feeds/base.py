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
        """See `aistack_top.model.feed.Feed.bounds`."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.model.feed.Feed.ticks`."""
        async for tick in self._feed.ticks():
            yield tick

    def seek(self, at: float) -> None:
        """See `aistack_top.model.feed.Feed.seek`."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `aistack_top.model.feed.Feed.set_speed`."""
        self._feed.set_speed(speed)

    def keep(self, mark: Mark) -> bool:
        """See `aistack_top.model.feed.KeepsMarks.keep`."""
        feed: object = self._feed
        return isinstance(feed, KeepsMarks) and feed.keep(mark)

    async def recording(self) -> Path | None:
        """See `aistack_top.model.feed.HasRecording.recording`."""
        feed: object = self._feed
        return await feed.recording() if isinstance(feed, HasRecording) else None

    async def incident_times(self) -> Sequence[float]:
        """See `aistack_top.model.feed.KnowsIncidents.incident_times`."""
        feed: object = self._feed
        return await feed.incident_times() if isinstance(feed, KnowsIncidents) else ()

    async def aclose(self) -> None:
        """See `aistack_top.model.feed.Feed.aclose`."""
        await self._feed.aclose()
