"""``aistack-top``: live on this node, recorded on the side, or attached to whoever records already."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from aistack_top.feeds.announced import NoticedFeed
from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.feeds.late import LazyFeed
from aistack_top.measure.clock import Clock, WallClock
from aistack_top.model.feed import Bounds, Feed
from collectors.config import Config
from collectors.runtime.environment import NO_STATE, node_name, state_folder, wrong_addresses
from tui.commands.common import Options, configuration, fail, interactive


def run(options: Options) -> int:
    """Show the console until its user leaves; without a terminal, print one snapshot. Returns the exit code."""
    config = configuration(options)
    if not interactive():
        from tui.commands import snapshot
        from tui.commands.show import check_layout

        check_layout(options)
        snapshot.run(options, as_json=False, settle=3.0)
        return 0
    from tui.commands.show import show

    if wrong := wrong_addresses(options.endpoints, options.prometheus):
        fail("\n".join(wrong))
    node, clock, state = node_name(config), WallClock(), state_folder()

    async def make() -> Feed:
        def live() -> Feed:
            from collectors import assemble

            return assemble.feed(config, options.endpoints, clock, state, node, options.prometheus)

        if state is None:
            return not_recorded(await asyncio.to_thread(live), NO_STATE)
        if not (options.ring and config.recording.ring):
            return DiagnosedFeed(await asyncio.to_thread(live))
        return await asyncio.to_thread(ringed, live, state / ring_name(options), config, clock, node)

    now = clock.now()
    return show(LazyFeed(make, Bounds(now, now, live=True, title=node), again=True), options, config, node)


def ring_name(options: Options) -> str:
    """Return the ring that belongs to what was asked for: this node's, or one for exactly these sources.

    Consoles of different sources must not attach to each other: one of them would show what it was not asked for.
    """
    from aistack_top.session.ring import RING_NAME, ring_of

    asked = [*sorted(options.endpoints), *([options.prometheus] if options.prometheus else [])]
    asked += [str(options.config.resolve())] if options.config else []
    return ring_of(asked) if asked else RING_NAME


def ringed(live: Callable[[], Feed], path: Path, config: Config, clock: Clock, node: str) -> Feed:
    """Return a live feed recorded into a ring, or, where another console records there, its recording.

    A ring that cannot be written costs the recording and not the console; a notice says so.
    """
    from aistack_top.feeds.recording import RecordingFeed
    from aistack_top.feeds.resumed import REMEMBERED_S, ResumedFeed
    from aistack_top.session.errors import SessionError
    from aistack_top.session.recorder import Recorder
    from aistack_top.session.replay import SessionFeed
    from aistack_top.session.ring import drop_old, open_ring

    keep_s, most = config.recording.hours * 3600.0, int(config.recording.megabytes * 1e6)
    try:
        drop_old(path.parent, clock.now())
        ring = open_ring(path, node=node, clock=clock, keep_s=keep_s, most_bytes=most)
    except SessionError as error:
        return not_recorded(live(), error.msg)
    if isinstance(ring, Recorder):
        watching = DiagnosedFeed(live())
        return ResumedFeed(RecordingFeed(watching, ring), clock, watching)
    return SessionFeed(ring, clock, at=ring.end, follow=True, span_s=REMEMBERED_S)


def not_recorded(live: Feed, reason: str) -> Feed:
    """Return a live feed that is shown without being recorded, which its notices say."""
    return NoticedFeed(DiagnosedFeed(live), f"not recorded: {reason}")
