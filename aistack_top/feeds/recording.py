"""A feed whose ticks are recorded as they pass."""

from collections.abc import AsyncIterator
from pathlib import Path

from aistack_top.feeds.base import FeedDecorator
from aistack_top.model.feed import Feed
from aistack_top.model.tick import Mark, Tick
from aistack_top.session.recorder import Recorder
from aistack_top.session.threads import on_thread


class RecordingFeed(FeedDecorator):
    """Writes every tick to a recording and passes it on; waits where the disk is behind."""

    def __init__(self, feed: Feed, recorder: Recorder) -> None:
        super().__init__(feed)
        self._recorder = recorder

    @property
    def recorder(self) -> Recorder:
        """Who records."""
        return self._recorder

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `Feed.ticks`."""
        async for tick in self._feed.ticks():
            self._recorder.record(tick)
            if self._recorder.is_behind:
                await on_thread(self._recorder.catch_up)
            yield tick

    def keep(self, mark: Mark) -> bool:
        """See `aistack_top.model.feed.KeepsMarks`."""
        self._recorder.mark(mark)
        return True

    async def recording(self) -> Path | None:
        """See `aistack_top.model.feed.HasRecording`."""
        return self._recorder.path if await on_thread(self._recorder.sync) else None

    async def aclose(self) -> None:
        """Close the feed, then the recording."""
        try:
            await self._feed.aclose()
        finally:
            self._recorder.close()
