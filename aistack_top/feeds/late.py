"""A feed that is made when its first tick is asked for: the screen paints before a client is imported."""

from collections.abc import AsyncIterator, Awaitable, Callable

from aistack_top.feeds.base import FeedDecorator
from aistack_top.model.feed import Bounds, Feed
from aistack_top.model.tick import Tick


class LazyFeed(FeedDecorator):
    """Makes its feed when it is needed; until then it has the bounds that were promised.

    With ``again`` another one is made whenever it ends, as when the recorder one was attached to has gone.
    """

    def __init__(self, make: Callable[[], Awaitable[Feed]], bounds: Bounds, *, again: bool = False) -> None:
        super().__init__(_Nothing(bounds))
        self._make = make
        self._again = again

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        while True:
            self._feed = await self._make()
            async for tick in self._feed.ticks():
                yield tick
            if not self._again:
                return
            await self._feed.aclose()


class _Nothing:
    """Stands for a feed that is not made yet."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def bounds(self) -> Bounds:
        return self._bounds

    async def ticks(self) -> AsyncIterator[Tick]:
        return
        yield

    def seek(self, at: float) -> None:
        raise ValueError("nothing has been read yet")

    def set_speed(self, speed: float) -> None:
        raise ValueError("nothing has been read yet")

    async def aclose(self) -> None:
        pass
