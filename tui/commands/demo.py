"""``aistack-top demo``: look around without a GPU, a server or an account, and train on trouble before it comes.

A simulated node stands behind the collectors of production; nothing above them knows. See ``docs/simulator.md``.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.model.feed import Bounds, Feed, LazyFeed
from aistack_top.model.tick import Tick
from tui.commands import output
from tui.commands.common import Options, fail, interactive
from tui.commands.live import configuration

if TYPE_CHECKING:
    from collectors.demo.feed import DemoFeed

NODE = "simulated"
COMPUTING = "the simulated node works unseen until shortly before its trouble; that is computed first"


def run(options: Options, name: str | None, seed: int | None, speed: float) -> int:
    """Show a scenario until its user leaves; without a terminal, print one snapshot. Returns the exit code."""
    config = configuration(options)
    known(name)
    if not interactive():
        from tui.commands import snapshot
        from tui.commands.show import check_layout

        check_layout(options)
        state = asyncio.run(snapshot.collect(DiagnosedFeed(play(name, seed, speed)), 3.0))
        snapshot.show(state, NODE, as_json=False)
        return 0
    from tui.commands.show import show

    notes = [COMPUTING] if name is not None else []

    async def make() -> Feed:
        return DiagnosedFeed(AnnouncedFeed(await asyncio.to_thread(play, name, seed, speed), notes))

    return show(LazyFeed(make, Bounds(0.0, 0.0, live=True, title=NODE)), options, config, f"{NODE} (demo)", notes)


class AnnouncedFeed:
    """A feed of which is said that it takes a while to begin, until it has. See `aistack_top.model.feed.Feed`."""

    def __init__(self, feed: Feed, notes: list[str]) -> None:
        self._feed, self._notes = feed, notes
        self.bounds, self.seek, self.set_speed, self.aclose = feed.bounds, feed.seek, feed.set_speed, feed.aclose

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.model.feed.Feed.ticks`."""
        async for tick in self._feed.ticks():
            self._notes.clear()
            yield tick


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
        fail(f"port {port} cannot be had: {error.strerror}")
    except KeyboardInterrupt:
        pass
    return 0


def known(name: str | None) -> None:
    """Leave with a sentence when there is no such scenario."""
    if name is not None:
        import difflib

        from aistack_top.simulator.scenario import scenarios

        if name not in scenarios():
            near = difflib.get_close_matches(name, scenarios(), 1)
            hint = f" did you mean {near[0]}?" if near else ""
            fail(f"no scenario {name!r}:{hint} 'aistack-top demo --list' has all")


def show_list(as_json: bool) -> int:
    """Print the scenarios; returns the exit code."""
    from aistack_top.simulator.scenario import scenarios

    rows = list(scenarios().values())
    if as_json:
        told = [{"name": row.name, "layer": row.layer, "cause": str(row.cause), "says": row.says} for row in rows]
        output.write_json({"schema": "aistack-top/demo-list/1", "scenarios": told}, indent=1)
    else:
        width = max(len(row.name) for row in rows)
        output.write("".join(f"{row.name:{width}}  {row.layer or '-':10}  {row.says}\n" for row in rows))
    return 0
