"""``aistack-top record``: without a screen, for a service unit or a second terminal."""

import asyncio
import contextlib
import signal
import sys
from datetime import datetime
from pathlib import Path

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import Clock, WallClock
from aistack_top.model.feed import Feed
from aistack_top.session.errors import SessionError
from aistack_top.session.recorder import Recorder
from aistack_top.text.sanitize import sanitize
from collectors import assemble
from collectors.config import ConfigError
from collectors.runtime.environment import node_name, state_folder
from tui.commands import own_files
from tui.commands.common import UNREACHABLE, Options, configuration, fail, warn
from tui.commands.scenarios import NODE, known
from tui.model.time_input import span

SUFFIX = ".aistack"

WRITTEN_S = 60.0
"""How long the disk, or a busy host, may take for what is still to be written at the end."""


def run(
    options: Options, output: Path | None, duration: str | None, keep: str | None, scenario: str | None = None
) -> int:
    """Record until the time is over or somebody says stop; returns the exit code.

    A simulated ``scenario`` is recorded from its start to its end, or for ``duration`` of its own time.
    """
    config = configuration(options)
    warn(own_files.problems())
    try:
        seconds = None if duration is None else span(duration)
        keep_s = None if keep is None else span(keep)
    except ValueError as error:
        fail(str(error))
    node, end = node_name(config), None
    clock: Clock = WallClock()
    try:
        if scenario is None:
            feed: Feed = assemble.feed(config, options.endpoints, clock, state_folder(), node, options.prometheus)
        else:
            node = NODE
            feed, clock, end = _simulated(scenario, seconds)
            seconds = None
        path = output or Path(f"{_as_file(node)}-{datetime.now().astimezone():%Y%m%d-%H%M%S}{SUFFIX}")
        recorder = Recorder(path, node=node, clock=clock, keep_s=keep_s)
    except ConfigError as error:
        fail("\n".join(error.problems))
    except SessionError as error:
        fail(str(error))
    print(f"recording to {path}; stop with ctrl-c", file=sys.stderr)
    readings = asyncio.run(_record(RecordingFeed(DiagnosedFeed(feed), recorder), recorder, seconds, end))
    print(f"{readings} readings in {path}", file=sys.stderr)
    if not recorder.close(0.0):
        fail(recorder.problem or f"the end of the recording was not written: the disk took more than {WRITTEN_S:g} s")
    if not readings:
        print("aistack-top: nothing was recorded: no source answered; see 'aistack-top doctor'", file=sys.stderr)
        return UNREACHABLE
    return 0


def _simulated(name: str, seconds: float | None) -> tuple[Feed, Clock, float]:
    """Return a scenario from its start, its clock, and the time of that clock at which it ends."""
    known(name)
    from aistack_top.simulator.scenario import scenarios
    from collectors.demo.feed import whole_scenario

    feed = whole_scenario(name)
    lasts = scenarios()[name].minutes * 60.0 if seconds is None else seconds
    return feed, feed.clock, feed.clock.now() + lasts


async def _record(feed: Feed, recorder: Recorder, seconds: float | None, end: float | None = None) -> int:
    """Pass ticks until the time is over or a signal comes; returns the number of readings taken.

    ``seconds`` pass on this machine's clock, ``end`` is a time of the feed's own.
    """
    readings = 0

    async def drain() -> None:
        nonlocal readings
        told = None
        async for tick in feed.ticks():
            readings += sum(len(batch.readings) for batch in tick.batches)
            # a clock that runs ahead of the disk knows no hung one: of a scenario only what is wrong at its end is said
            if end is None and recorder.problem != told:
                told = recorder.problem
                print(f"aistack-top: {told or 'recording goes on'}", file=sys.stderr)
            if end is not None and tick.at >= end:
                break

    task = asyncio.create_task(drain())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(task, seconds)
    finally:
        await asyncio.to_thread(recorder.close, WRITTEN_S)
        await feed.aclose()
    return readings


def _as_file(node: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in sanitize(node, 40)) or "node"
