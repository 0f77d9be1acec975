"""A recording without verdicts, such as one made of a window that nobody watched, as a feed that tells them."""

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from aistack_top.feeds.base import FeedDecorator
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Tick
from aistack_top.session.errors import SessionError
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from aistack_top.session.threads import on_thread
from aistack_top.store.incidents import incident_times

MAX_DURATION_S = 7200.0
"""Of a longer recording the verdicts would come when nobody waits for them any more."""


def lacks_verdicts(session: Session) -> bool:
    """Whether a recording that is over holds no verdict, and is short enough to look for them."""
    held = any(block.rows("incidents") for block in session.blocks)
    return not (session.alive or held) and session.end - session.start <= MAX_DURATION_S


class RediagnosedFeed(FeedDecorator):
    """Puts the verdicts, computed anew on a thread, into the ticks of their times. See `aistack_top.model.feed.Feed`.

    How many were found is a notice of each tick from then on; a feed that rests gets a tick of its own for them.
    """

    def __init__(self, feed: SessionFeed) -> None:
        super().__init__(feed)
        self._session = feed.session
        self._task: asyncio.Task[list[Incident]] | None = None
        self._since = -inf

    async def ticks(self) -> AsyncGenerator[Tick, None]:
        """Yield ticks in order of time."""
        finding = self._task = self._task or asyncio.create_task(self._find())
        stream = self._feed.ticks()
        coming: asyncio.Future[Tick] | None = None
        newest: Tick | None = None
        told = False
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(stream))
                waited: set[asyncio.Future[Any]] = {coming} if told or newest is None else {coming, finding}
                await asyncio.wait(waited, return_when=FIRST_COMPLETED)
                if coming.done():
                    try:
                        newest = coming.result()
                    except StopAsyncIteration:
                        return
                    coming, told = None, finding.done()
                    yield self._told(newest)
                elif newest is not None:
                    told = True
                    yield self._told(Tick(newest.at, newest.seen, notices=newest.notices))
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def incident_times(self) -> Sequence[float]:
        """See `aistack_top.model.feed.KnowsIncidents`."""
        return incident_times(await asyncio.shield(self._task)) if self._task else ()

    async def aclose(self) -> None:
        """Stop the feed and release what it uses."""
        if self._task is not None:
            self._task.cancel()
        await self._feed.aclose()

    def _told(self, tick: Tick) -> Tick:
        if self._task is None or not self._task.done() or self._task.cancelled():
            return tick
        since = -inf if tick.reset else self._since
        self._since = tick.seen
        every = self._task.result()
        if not every:
            return tick
        found = tuple(one for one in every if since < one.revised <= tick.seen)
        count = len({one.id for one in every})
        said = f"no verdict was recorded: {count} recomputed from the recording, }} goes to the next"
        return replace(tick, incidents=(*tick.incidents, *found), notices=(*tick.notices, said))

    async def _find(self) -> list[Incident]:
        path = self._session.path
        found: list[Incident] = []
        with suppress(SessionError):  # what is wrong with the recording is told by who opened it
            found = await on_thread(lambda: asyncio.run(_versions(path)))
        return found


async def _versions(path: Path) -> list[Incident]:
    from aistack_top.feeds.rediagnose import versions

    session = Session.open(path)
    return [one async for one in versions(session, session.end)]
