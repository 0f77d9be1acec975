"""What a person sees: the painted screen as lines of text, and a console to look at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from aistack_top.model.feed import Feed
from layouts.load import Layout, load
from tests.fakes.feed import FakeFeed, World, seconds
from tui.app import ConsoleApp
from tui.model.console import ConsoleOptions

SIZES = ((80, 24), (120, 40), (200, 50))


def lines(app: ConsoleApp) -> list[str]:
    """The screen from top to bottom, without the blanks at the ends of its lines."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def text(app: ConsoleApp) -> str:
    return "\n".join(lines(app))


@asynccontextmanager
async def shown(
    feed: Feed | None = None,
    size: tuple[int, int] = (80, 24),
    layout: Layout | None = None,
    until: float = 0.0,
    **options,
) -> AsyncIterator[tuple[ConsoleApp, Pilot[None]]]:
    """A console that has taken all the ticks its feed has to give, and painted them.

    A feed that works on a thread says ``until`` when they come: nobody knows how long its next one takes.
    """
    app = ConsoleApp(feed or FakeFeed(seconds(12, World())), layout or load("overview"), ConsoleOptions(**options))
    async with app.run_test(size=size) as pilot:
        while app.console_model.state.now < until:
            await turns(pilot)
        await settle(app, pilot)
        yield app, pilot


async def turns(pilot: Pilot[None], count: int = 3) -> None:
    """Let every message be taken a few times over, without waiting for the clock of the machine."""
    for _ in range(count):
        await pilot.pause(0)


async def settle(app: ConsoleApp, pilot: Pilot[None]) -> None:
    """Wait until nothing is under way, then paint without waiting for the next turn."""
    before = -1.0
    while app.console_model.pump.taking or app.console_model.state.now != before:
        before = app.console_model.state.now
        await turns(pilot)
    app.paint()
    await turns(pilot)


async def press(app: ConsoleApp, pilot: Pilot[None], *keys: str) -> str:
    """Press keys and return what is painted then."""
    for key in keys:
        app.simulate_key(key)
        await turns(pilot, 6)
        for _ in range(20):
            if text(app).strip():
                break
            await turns(pilot)  # another screen is being put together
    return text(app)
