"""``aistack-top``: live on this node, recorded on the side, or attached to whoever records already."""

from collections.abc import Callable
from pathlib import Path

from aistack_top.clock import WallClock
from aistack_top.feed import Bounds, Feed, LateFeed
from collectors import assemble
from collectors.config import Config, ConfigError, default_path, load
from tui.commands.common import Options, fail, interactive

RING = "ring.aistack"


def run(options: Options) -> int:
    """Show the console until its user leaves; without a terminal, print one snapshot. Returns the exit code."""
    config = configuration(options)
    if not interactive():
        from tui.commands import snapshot

        snapshot.run(options, as_json=False, settle=3.0)
        return 0
    node = assemble.node_name(config)
    clock = WallClock()
    state = assemble.state_folder()

    async def make() -> Feed:
        feed = assemble.feed(config, options.endpoints, clock, state, node)
        return _recorded(feed, options, config, state, node)

    from tui.commands.show import show

    now = clock.now()
    return show(LateFeed(make, Bounds(now, now, live=True, title=node)), options, config, node)


def configuration(options: Options) -> Config:
    """Return the configuration asked for; says every problem and leaves when there is one."""
    path = options.config or default_path()
    if options.config is None and not path.exists():
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        fail("\n".join(error.problems))


def _recorded(feed: Feed, options: Options, config: Config, state: Path, node: str) -> Feed:
    """Record the feed into the ring unless that is switched off; attach when another console records."""
    raise NotImplementedError


Recorded = Callable[[Feed], Feed]
