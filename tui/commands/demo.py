"""``aistack-top demo``: look around without a GPU, a server or an account, and train on trouble before it comes.

A simulated node stands behind the collectors of production; nothing above them knows. See ``docs/simulator.md``.
"""

import asyncio
import sys
from typing import TYPE_CHECKING

from aistack_top.feeds.announced import AnnouncedFeed
from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.feeds.late import LazyFeed
from aistack_top.model.feed import Bounds, Feed
from tui.commands import output
from tui.commands.common import Options, configuration, fail, interactive
from tui.commands.printing import collect
from tui.commands.printing import show as print_snapshot
from tui.commands.scenarios import NODE, known

if TYPE_CHECKING:
    from collectors.demo.feed import DemoFeed

COMPUTING = "simulating up to the incident, please wait"


def run(options: Options, name: str | None, seed: int | None, speed: float) -> int:
    """Show a scenario until its user leaves; without a terminal, print one snapshot. Returns the exit code."""
    config = configuration(options)
    known(name)
    if not interactive():
        from tui.commands.show import check_layout

        check_layout(options)
        state = asyncio.run(collect(DiagnosedFeed(play(name, seed, speed)), 3.0))
        print_snapshot(state, NODE, as_json=False)
        return 0
    from tui.commands.show import show

    async def make() -> Feed:
        return DiagnosedFeed(await asyncio.to_thread(play, name, seed, speed))

    feed = LazyFeed(make, Bounds(0.0, 0.0, live=True, title=NODE))
    return show(feed if name is None else AnnouncedFeed(feed, COMPUTING), options, config, f"{NODE} (demo)")


def play(name: str | None, seed: int | None, speed: float) -> "DemoFeed":
    """Return a scenario as a feed, or the story that is told without a name."""
    from collectors.demo.feed import default_scenario, rehearsal

    return default_scenario(seed, speed) if name is None else rehearsal(name, seed, speed)


def serve(name: str | None, seed: int | None, port: int) -> int:
    """Answer as the scenario's servers on a loopback port until interrupted; returns the exit code."""
    known(name)
    from aistack_top.measure.clock import WallClock
    from aistack_top.simulator.servers.serve import serve as answer
    from aistack_top.simulator.servers.world import World
    from collectors.demo.feed import served

    clock = WallClock()

    def told(address: str, names: tuple[str, ...]) -> None:
        output.write("".join(f"{address}/{server}\n" for server in names))
        print("simulated servers, each at its own path; stop with ctrl-c", file=sys.stderr)

    try:
        answer(World(served(name, seed, clock.now()), clock.now), port, told)
    except OSError as error:
        fail(f"cannot bind port {port}: {error.strerror}")
    except KeyboardInterrupt:
        pass
    return 0
