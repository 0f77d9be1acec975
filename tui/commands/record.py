"""``aistack-top record``: without a screen, for a service unit or a second terminal."""

import asyncio
import contextlib
import signal
import sys
from datetime import datetime
from pathlib import Path

from aistack_top.clock import WallClock
from aistack_top.diagnosis.feed import WatchingFeed
from aistack_top.feed import Feed
from aistack_top.plain import plain
from aistack_top.session.errors import SessionError
from aistack_top.session.recorder import Recorder, RecordingFeed
from collectors import assemble
from collectors.config import ConfigError
from collectors.place import node_name, state_folder
from tui.commands.common import Options, fail
from tui.commands.live import configuration
from tui.times import span

SUFFIX = ".aistack"


def run(options: Options, output: Path | None, duration: str | None, keep: str | None) -> int:
    """Record until the time is over or somebody says stop; returns the exit code."""
    config = configuration(options)
    try:
        seconds = None if duration is None else span(duration)
        keep_s = None if keep is None else span(keep)
    except ValueError as error:
        fail(str(error))
    node, clock = node_name(config), WallClock()
    path = output or Path(f"{_as_file(node)}-{datetime.now().astimezone():%Y%m%d-%H%M%S}{SUFFIX}")
    try:
        feed = assemble.feed(config, options.endpoints, clock, state_folder(), node)
        recorder = Recorder(path, node=node, clock=clock, keep_s=keep_s)
    except ConfigError as error:
        fail("\n".join(error.problems))
    except SessionError as error:
        fail(str(error))
    print(f"recording to {path}; stop with ctrl-c", file=sys.stderr)
    readings = asyncio.run(_record(RecordingFeed(WatchingFeed(feed), recorder), recorder, seconds))
    print(f"{readings} readings in {path}", file=sys.stderr)
    return 0


async def _record(feed: Feed, recorder: Recorder, seconds: float | None) -> int:
    """Pass ticks until the time is over or a signal comes; returns the number of readings taken."""
    readings = 0

    async def drain() -> None:
        nonlocal readings
        told = None
        async for tick in feed.ticks():
            readings += sum(len(batch.readings) for batch in tick.batches)
            if recorder.problem != told:
                told = recorder.problem
                print(f"aistack-top: {told or 'recording goes on'}", file=sys.stderr)

    task = asyncio.create_task(drain())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(task, seconds)
    finally:
        await feed.aclose()
    return readings


def _as_file(node: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in plain(node, 40)) or "node"
