"""``aistack-top snapshot``: collect for a few seconds, print everything."""

import asyncio

from aistack_top import snapshot
from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.measure.clock import WallClock
from aistack_top.model.feed import Feed
from aistack_top.state import State
from collectors import assemble
from collectors.config import ConfigError
from collectors.runtime.environment import node_name, state_folder
from tui.commands import output
from tui.commands.common import Options, fail
from tui.commands.live import configuration


def run(options: Options, as_json: bool, settle: float, scenario: str | None = None) -> int:
    """Print a snapshot after ``settle`` seconds of collecting and return the exit code."""
    config = configuration(options)
    if scenario is not None:
        return _of_scenario(scenario, settle, as_json)
    node = node_name(config)
    try:
        feed = assemble.feed(config, options.endpoints, WallClock(), state_folder(), node, options.prometheus)
    except ConfigError as error:
        fail("\n".join(error.problems))
    return show(asyncio.run(collect(DiagnosedFeed(feed), settle)), node, as_json)


def _of_scenario(name: str, settle: float, as_json: bool) -> int:
    from tui.commands import demo

    demo.known(name)
    from collectors.demo.feed import rehearsal

    feed = rehearsal(name)
    state = asyncio.run(collect(DiagnosedFeed(feed), settle, feed.live_from))
    return show(state, demo.NODE, as_json)


async def collect(feed: Feed, settle: float, start: float | None = None) -> State:
    """Return the state after ``settle`` seconds of a feed, or after its end if that comes first.

    ``start`` is the time from which they count; its first tick, if that is left out.
    """
    state = State()
    stream = feed.ticks()
    try:
        async for tick in stream:
            state.apply(tick)
            start = tick.at if start is None else start
            if tick.at - start >= settle:
                break
    finally:
        await feed.aclose()
    return state


def show(state: State, node: str, as_json: bool) -> int:
    """Print the snapshot of a state's newest moment and return the exit code."""
    frame = state.frame()
    if as_json:
        output.write_json(snapshot.document(frame, node))
    else:
        output.write(snapshot.text(frame, node))
    return snapshot.exit_code(frame)
