"""Takes ticks from the feed into the state, for as long as the console runs."""

import asyncio
from collections.abc import AsyncIterator, Callable

from aistack_top.model.feed import Feed
from aistack_top.model.tick import Tick
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

SETTLED_S = 4.0
CLOSE_S = 0.25
"""How long the feed may take to let go at the end: the console must be gone within half a second."""


class TickLoop:
    """Runs the feed. ``on_news`` is called after every tick, ``on_fault`` with one sentence when the feed failed.

    ``taking`` says that a tick is being taken and not seen yet.
    """

    def __init__(self, feed: Feed, state: State, on_news: Callable[[], None], on_fault: Callable[[str], None]) -> None:
        self._feed = feed
        self._state = state
        self._on_news = on_news
        self._on_fault = on_fault
        self.taking = False
        self._again = asyncio.Event()
        self._oldest: float | None = None
        self._began: float | None = None
        self._told_history = False

    @property
    def settled(self) -> bool:
        """Whether every source has had the time to answer once."""
        return self._told_history or (self._began is not None and self._state.now - self._began >= SETTLED_S)

    @property
    def oldest(self) -> float:
        """The earliest time that is still held in memory."""
        state = self._state
        reach = state.now - state.timeline.capacity * state.timeline.step_s
        return max(self._oldest if self._oldest is not None else state.now, reach)

    def wake(self) -> None:
        """Ask a feed that has ended for more ticks: it was taken to another time."""
        self._again.set()

    async def run(self) -> None:
        """Take ticks until cancelled. A feed that fails is told of once; what it brought stays on the screen."""
        while True:
            self._again.clear()
            ticks = self._feed.ticks()
            try:
                await self._drain(ticks)
            except asyncio.CancelledError:
                raise
            except Exception as fault:  # whatever a feed does, the screen stays and says so
                self._on_fault(f"no more data: {sanitize(str(fault) or type(fault).__name__, 300)}")
            finally:
                await _end(ticks)
            await self._again.wait()

    async def close(self) -> None:
        """Let the feed go, and do not wait for one that hangs."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._feed.aclose()
        except Exception as fault:  # at the end there is nobody left to help
            self._on_fault(f"the feed did not close: {sanitize(str(fault), 200)}")

    async def _drain(self, ticks: AsyncIterator[Tick]) -> None:
        async for tick in ticks:
            if tick.at > 0:  # one at 0 comes before any time is known
                self._note_reach(tick)
            await self._take(tick)
            self._on_news()
            # a feed that is played fast may never wait by itself, and keys must get their turn
            await asyncio.sleep(0)

    def _note_reach(self, tick: Tick) -> None:
        """Note how far back memory reaches now."""
        oldest = tick.at if tick.reset or self._oldest is None else self._oldest
        self._began = tick.at if self._began is None else self._began
        if tick.history is not None:
            self._told_history = True
            oldest = min(oldest, tick.history.start)
        self._oldest = oldest

    async def _take(self, tick: Tick) -> None:
        self.taking = True
        try:
            for _ in self._state.apply_in_steps(tick):
                if not tick.reset:  # of another time nothing is shown before it is whole
                    await asyncio.sleep(0)
        finally:
            self.taking = False


async def _end(ticks: AsyncIterator[Tick]) -> None:
    close = getattr(ticks, "aclose", None)
    if close is not None:
        await close()
