"""A feed whose ticks carry the incidents that were found in them. See `aistack_top.feed.Feed`."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from aistack_top.feed import Bounds, Feed
from aistack_top.tick import Tick

if TYPE_CHECKING:
    from aistack_top.diagnosis.watch import Watch

STEPS = 2
"""Grid steps of one tick: a history at the start is caught up with over the ticks that follow."""


class WatchingFeed:
    """Puts the watch between the sources and whoever records or shows them.

    A feed that tells incidents itself (a recording) needs none: theirs are passed on as they were.
    """

    def __init__(self, feed: Feed, watch: "Watch | None" = None) -> None:
        self._feed = feed
        self._watch = watch

    def bounds(self) -> Bounds:
        """See `Feed.bounds`."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `Feed.ticks`."""
        if self._watch is None:
            from aistack_top.diagnosis.watch import Watch

            self._watch = Watch(STEPS)
        stream = self._feed.ticks()
        async for tick in stream:
            found = self._watch.take(tick)
            yield replace(tick, incidents=(*tick.incidents, *found)) if found else tick

    def seek(self, at: float) -> None:
        """See `Feed.seek`."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `Feed.set_speed`."""
        self._feed.set_speed(speed)

    async def aclose(self) -> None:
        """See `Feed.aclose`."""
        await self._feed.aclose()
