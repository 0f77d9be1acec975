"""Makes the pictures of the documentation from a drill of the simulator: ``make pictures``. Takes some minutes.

The drill is recorded as ``aistack-top record --demo`` does, so that every picture shows the same moment again.
"""

import asyncio
import subprocess
import sys
import tempfile
from contextlib import aclosing
from pathlib import Path

from aistack_top.measure.clock import WallClock
from aistack_top.session.blocks import recorded_incidents
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from layouts.load import load
from tui.app import ConsoleApp
from tui.model.console import ConsoleOptions

FOLDER = Path(__file__).parents[1] / "docs/pictures"
DRILL = "thermal_throttle"
SEEN_S = 75.0
"""How long after the incident was noticed the pictures are taken."""

PICTURES: dict[tuple[int, int], dict[str, tuple[str, ...]]] = {
    (80, 24): {"overview-80x24": ()},
    (120, 40): {
        "overview": (),
        "incident": ("i",),
        "compute": ("1",),
        "serving": ("2",),
        "calls": ("T",),
        "call": ("T", "j", "enter"),
        "help": ("2", "question_mark"),
    },
}
"""For each size the keys that lead from the overview to what is drawn."""


async def draw(session: Session, at: float, size: tuple[int, int], wanted: dict[str, tuple[str, ...]]) -> None:
    """Draw screens of one size at a moment of a session."""
    feed = SessionFeed(session, WallClock(), at=at, speed=0.0, hold=True)
    app = ConsoleApp(feed, load("overview"), ConsoleOptions(node=session.node))
    async with aclosing(feed), app.run_test(size=size) as pilot:
        while app.console_model.state.now <= 0:
            await pilot.pause(0.2)
        for name, keys in wanted.items():
            for key in (*("escape",) * (len(app.screen_stack) - 1), *keys):
                app.simulate_key(key)
                await pilot.pause(0.5)
            await pilot.pause(1.0)
            drawn = app.export_screenshot(title="aistack-top")
            (FOLDER / f"{name}.svg").write_text(drawn, encoding="utf-8")
            print(f"{name}.svg, {len(drawn) // 1000} kB")


async def main(recorded: Path) -> None:
    """Draw all pictures from a recorded drill."""
    session = Session.open(recorded)
    incident = recorded_incidents(session)[0]
    for size, wanted in PICTURES.items():
        await draw(session, incident.detected + SEEN_S, size, wanted)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / f"{DRILL}.aistack"
        if not made.exists():
            command = [str(Path(sys.executable).parent / "aistack-top"), "record", "--demo", DRILL, "-o", str(made)]
            subprocess.run(command, check=True)
        asyncio.run(main(made))
