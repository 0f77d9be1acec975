"""A recording without verdicts, such as one made of a window that nobody watched, as a feed that tells them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path

from aistack_top.model.feed import Bounds
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


class RediagnosedFeed:
    """Puts the verdicts, computed anew on a thread, into the ticks of their times. See `aistack_top.model.feed.Feed`.

    ``on_found`` is called with the number of incidents, when they are known.
    """

    def __init__(self, feed: SessionFeed, on_found: Callable[[int], None]) -> None:
        self._feed, self._on_found = feed, on_found
        self._task: asyncio.Task[list[Incident]] | None = None
        self._since = -inf

    def bounds(self) -> Bounds:
        """See `Feed.bounds`."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `Feed.ticks`."""
        self._task = self._task or asyncio.create_task(self._find())
        async for tick in self._feed.ticks():
            yield self._told(tick)

    def seek(self, at: float) -> None:
        """See `Feed.seek`."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `Feed.set_speed`."""
        self._feed.set_speed(speed)

    async def recording(self) -> Path:
        """See `aistack_top.model.feed.HasRecording`."""
        return await self._feed.recording()

    async def incident_times(self) -> Sequence[float]:
        """See `aistack_top.model.feed.KnowsIncidents`."""
        return incident_times(await asyncio.shield(self._task)) if self._task else ()

    async def aclose(self) -> None:
        """See `Feed.aclose`."""
        if self._task is not None:
            self._task.cancel()
        await self._feed.aclose()

    def _told(self, tick: Tick) -> Tick:
        if self._task is None or not self._task.done() or self._task.cancelled():
            return tick
        since = -inf if tick.reset else self._since
        self._since = tick.seen
        found = tuple(one for one in self._task.result() if since < one.revised <= tick.seen)
        return replace(tick, incidents=(*tick.incidents, *found)) if found else tick

    async def _find(self) -> list[Incident]:
        path = self._feed.session.path
        found: list[Incident] = []
        with suppress(SessionError):  # what is wrong with the recording is told by who opened it
            found = await on_thread(lambda: asyncio.run(_versions(path)))
        if found:
            self._on_found(len({one.id for one in found}))
        return found


async def _versions(path: Path) -> list[Incident]:
    from aistack_top.feeds.rediagnose import versions

    session = Session.open(path)
    return [one async for one in versions(session, session.end)]
