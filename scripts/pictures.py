"""Makes the pictures of the documentation from the session that comes with the program: ``make pictures``."""

import asyncio
from pathlib import Path

from aistack_top.clock import WallClock
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from layouts.load import load
from tui.app import ConsoleApp

ROOT = Path(__file__).parents[1]
SESSION = ROOT / "aistack_top/session/examples/lab-burst.aistack"
BURST_S = 95.0


async def picture(columns: int, rows: int) -> str:
    """Return the overview in the middle of the burst."""
    session = Session.open(SESSION)
    feed = SessionFeed(session, WallClock(), at=session.start + BURST_S, speed=0.0, hold=True)
    app = ConsoleApp(feed, load("overview"), node=session.node)
    async with app.run_test(size=(columns, rows)) as pilot:
        for _ in range(30):
            await pilot.pause(0.1)
        drawn = app.export_screenshot()
        await pilot.press("q")
    return drawn


if __name__ == "__main__":
    drawn = asyncio.run(picture(120, 40))
    (ROOT / "docs/pictures/overview.svg").write_text(drawn, encoding="utf-8")
