"""``aistack-top``: live on this node, recorded on the side, or attached to whoever records already."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aistack_top.clock import Clock, WallClock
from aistack_top.feed import Bounds, Feed, LateFeed
from aistack_top.tick import Tick
from collectors.config import Config, ConfigError, default_path, load
from collectors.place import node_name, state_folder
from tui.commands.common import Options, fail, interactive

REMEMBERED_S = 3600.0
"""What the ring holds of the last hour is laid under the first live numbers, so that a restart continues."""


def run(options: Options) -> int:
    """Show the console until its user leaves; without a terminal, print one snapshot. Returns the exit code."""
    config = configuration(options)
    if not interactive():
        from tui.commands import snapshot

        snapshot.run(options, as_json=False, settle=3.0)
        return 0
    from tui.commands.show import show

    node, clock, state = node_name(config), WallClock(), state_folder()
    notes: list[str] = []

    async def make() -> Feed:
        def live() -> Feed:
            from collectors import assemble

            return assemble.feed(config, options.endpoints, clock, state, node)

        if not (options.ring and config.recording.ring):
            return await asyncio.to_thread(live)
        return await asyncio.to_thread(ringed, live, state, config, clock, node, notes)

    now = clock.now()
    return show(LateFeed(make, Bounds(now, now, live=True, title=node), again=True), options, config, node, notes)


def configuration(options: Options) -> Config:
    """Return the configuration asked for; says every problem and leaves when there is one."""
    path = options.config or default_path()
    if options.config is None and not path.exists():
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        fail("\n".join(error.problems))


def ringed(live: Callable[[], Feed], state: Path, config: Config, clock: Clock, node: str, notes: list[str]) -> Feed:
    """Return the feed of this node: recorded into the ring, or, where another console records, its recording.

    A ring that cannot be written costs the recording and not the console; ``notes`` says so.
    """
    from aistack_top.session.errors import SessionError
    from aistack_top.session.recorder import Recorder, RecordingFeed
    from aistack_top.session.replay import SessionFeed
    from aistack_top.session.ring import RING_NAME, open_ring

    keep_s, most = config.recording.hours * 3600.0, int(config.recording.megabytes * 1e6)
    try:
        ring = open_ring(state / RING_NAME, node=node, clock=clock, keep_s=keep_s, most_bytes=most)
    except SessionError as error:
        notes.append(f"not recorded: {error.msg}")
        return live()
    if isinstance(ring, Recorder):
        return RememberingFeed(RecordingFeed(live(), ring), ring.path, clock)
    return SessionFeed(ring, clock, at=ring.end, follow=True, span_s=REMEMBERED_S)


class RememberingFeed:
    """A live feed that begins with what a recording of the last hour holds. See `aistack_top.feed.Feed`."""

    def __init__(self, feed: Feed, recording: Path, clock: Clock) -> None:
        self._feed, self._recording, self._clock = feed, recording, clock

    def bounds(self) -> Bounds:
        """See `aistack_top.feed.Feed.bounds`."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.feed.Feed.ticks`."""
        past = await self._past()
        if past is not None:
            yield past
        async for tick in self._feed.ticks():
            yield tick

    def seek(self, at: float) -> None:
        """See `aistack_top.feed.Feed.seek`."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `aistack_top.feed.Feed.set_speed`."""
        self._feed.set_speed(speed)

    async def aclose(self) -> None:
        """See `aistack_top.feed.Feed.aclose`."""
        await self._feed.aclose()

    async def _past(self) -> Tick | None:
        from aistack_top.session.errors import SessionError
        from aistack_top.session.reader import Session
        from aistack_top.session.replay import SessionFeed

        with contextlib.suppress(SessionError):
            session = await asyncio.to_thread(Session.open, self._recording)
            if self._clock.now() - session.end < REMEMBERED_S and session.blocks:
                feed = SessionFeed(session, self._clock, at=session.end, speed=0.0, span_s=REMEMBERED_S)
                stream = feed.ticks()
                try:
                    async for tick in stream:
                        return tick
                finally:
                    await feed.aclose()
        return None
