"""``aistack-top snapshot``: collect for a few seconds, print everything."""

import asyncio

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.measure.clock import WallClock
from collectors import assemble
from collectors.config import ConfigError
from collectors.runtime.environment import node_name, state_folder
from tui.commands import own_files
from tui.commands.common import Options, configuration, fail, warn
from tui.commands.printing import collect, show
from tui.commands.scenarios import NODE, known


def run(options: Options, as_json: bool, settle: float, scenario: str | None = None) -> int:
    """Print a snapshot after ``settle`` seconds of collecting and return the exit code."""
    config = configuration(options)
    warn(own_files.problems())
    if scenario is not None:
        return _of_scenario(scenario, settle, as_json)
    node = node_name(config)
    try:
        feed = assemble.feed(config, options.endpoints, WallClock(), state_folder(), node, options.prometheus)
    except ConfigError as error:
        fail("\n".join(error.problems))
    return show(asyncio.run(collect(DiagnosedFeed(feed), settle)), node, as_json)


def _of_scenario(name: str, settle: float, as_json: bool) -> int:
    known(name)
    from collectors.demo.feed import rehearsal

    feed = rehearsal(name)
    state = asyncio.run(collect(DiagnosedFeed(feed), settle, feed.live_from))
    return show(state, NODE, as_json)
