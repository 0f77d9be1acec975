"""A live feed that goes on where its recording ended, so that a restart of the console loses nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from aistack_top.feeds.base import FeedDecorator
from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Mark, Tick

REMEMBERED_S = 3600.0
"""What the ring holds of the last hour is laid under the first live numbers, so that a restart continues."""


class ResumedFeed(FeedDecorator):
    """A recorded live feed that begins with what its recording holds of the last hour.

    What is wrong with the recording is a notice of each tick for as long as it is so.
    """

    def __init__(self, feed: RecordingFeed, clock: Clock, watching: DiagnosedFeed) -> None:
        super().__init__(feed)
        self._recorder, self._clock, self._watching = feed.recorder, clock, watching

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        past = await self._past()
        if past is not None:
            yield self._watching.watched(past)
        async for tick in self._feed.ticks():
            problem = self._recorder.problem
            yield replace(tick, notices=(*tick.notices, problem)) if problem is not None else tick

    def keep(self, mark: Mark) -> bool:
        """Store a mark with the recording; return False if nothing is recorded."""
        if mark.kind == "dismissed":
            self._watching.keep(mark)
        return super().keep(mark)

    async def _past(self) -> Tick | None:
        from aistack_top.session.errors import SessionError
        from aistack_top.session.reader import Session
        from aistack_top.session.replay import SessionFeed

        with contextlib.suppress(SessionError):
            session = await asyncio.to_thread(Session.open, self._recorder.path)
            if self._clock.now() - session.end < REMEMBERED_S and session.blocks:
                feed = SessionFeed(session, self._clock, at=session.end, speed=0.0, span_s=REMEMBERED_S)
                stream = feed.ticks()
                try:
                    async for tick in stream:
                        return tick
                finally:
                    await feed.aclose()
        return None
