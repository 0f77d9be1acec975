"""Makes the pictures of the documentation from the story of the demonstration: ``make pictures``."""

import asyncio
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path

from aistack_top.diagnosis.feed import WatchingFeed
from aistack_top.tick import Tick
from collectors.rehearsal import TITLE, RehearsalFeed, story
from layouts.load import load
from tui.app import ConsoleApp

ROOT = Path(__file__).parents[1]
SHOWN_S = 100.0
"""From the first live moment to the picture: the incident has been told."""


class Until(WatchingFeed):
    """A rehearsal, watched, that ends at a moment of its own time."""

    def __init__(self, feed: RehearsalFeed, seconds: float) -> None:
        super().__init__(feed)
        self._end = feed.live_from + seconds

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.feed.Feed.ticks`."""
        async for tick in super().ticks():
            yield tick
            if tick.at >= self._end:
                return


async def picture(columns: int, rows: int) -> str:
    """Return the overview with the incident told."""
    app = ConsoleApp(Until(story(speed=inf), SHOWN_S), load("overview"), node=f"{TITLE} (demo)")
    async with app.run_test(size=(columns, rows)) as pilot:
        while app.console_model.state.now < app.console_model.deck.bounds.start + SHOWN_S:
            await pilot.pause(0.1)
        await pilot.pause(0.5)
        drawn = app.export_screenshot()
        await pilot.press("q")
    return drawn


if __name__ == "__main__":
    drawn = asyncio.run(picture(120, 40))
    (ROOT / "docs/pictures/overview.svg").write_text(drawn, encoding="utf-8")
