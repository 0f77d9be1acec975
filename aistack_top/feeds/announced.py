"""Feeds that say something about themselves, as notices in their ticks."""

from collections.abc import AsyncIterator
from dataclasses import replace

from aistack_top.feeds.base import FeedDecorator
from aistack_top.model.feed import Feed
from aistack_top.model.tick import Tick


class AnnouncedFeed(FeedDecorator):
    """A feed that takes a while to begin: one sentence says so until its first tick.

    The tick with that sentence comes before any time is known: it is at 0.
    """

    def __init__(self, feed: Feed, sentence: str) -> None:
        super().__init__(feed)
        self._sentence = sentence

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        yield Tick(0.0, 0.0, notices=(self._sentence,))
        async for tick in self._feed.ticks():
            yield tick


class NoticedFeed(FeedDecorator):
    """A feed about which a sentence holds for as long as it runs, such as that nothing is recorded."""

    def __init__(self, feed: Feed, sentence: str) -> None:
        super().__init__(feed)
        self._sentence = sentence

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        async for tick in self._feed.ticks():
            yield replace(tick, notices=(*tick.notices, self._sentence))
