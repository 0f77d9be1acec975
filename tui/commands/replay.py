"""``aistack-top replay``: a recorded session on the same screen as live."""

import asyncio
from pathlib import Path

from aistack_top.feeds.rediagnosed import RediagnosedFeed, lacks_verdicts
from aistack_top.measure.clock import WallClock
from aistack_top.session.errors import SessionError
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from collectors.config import Config
from tui.commands.common import Options, configuration, fail, interactive
from tui.commands.window import WindowOptions
from tui.model.time_input import moment


def run(options: Options, path: Path, at: str | None, speed: float) -> int:
    """Play a session; without a terminal, print the snapshot of where it would begin. Returns the exit code."""
    return play(options, configuration(options), path, at, speed)


def run_window(options: Options, window: WindowOptions, at: str | None, speed: float) -> int:
    """Play a window that nobody recorded, as `run` plays a session."""
    config = configuration(options)
    with window.recorded(config) as path:
        return play(options, config, path, at, speed)


def play(options: Options, config: Config, path: Path, at: str | None, speed: float) -> int:
    """Play a session with a configuration that is known."""
    try:
        session = Session.open(path)
    except SessionError as error:
        fail(str(error))
    try:
        begin = None if at is None else moment(at, session.start, session.end)
    except ValueError as error:
        fail(f"--at: {error}")
    clock = WallClock()
    if not interactive():
        from tui.commands import printing
        from tui.commands.show import check_layout

        check_layout(options)
        feed = SessionFeed(session, clock, at=session.end if begin is None else begin, speed=0.0)
        state = asyncio.run(printing.collect(feed, 0.0))
        printing.show(state, session.node, as_json=False)
        return 0
    from tui.commands.show import show

    feed = SessionFeed(session, clock, at=begin, speed=speed, follow=session.alive, hold=True)
    return show(RediagnosedFeed(feed) if lacks_verdicts(session) else feed, options, config, session.node)
