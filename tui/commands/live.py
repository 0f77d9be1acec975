"""``aistack-top``: live on this node, recorded on the side, or attached to whoever records already."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.measure.clock import Clock, WallClock
from aistack_top.model.feed import Bounds, Feed, LazyFeed
from aistack_top.model.tick import Mark, Tick
from collectors.config import Config, ConfigError, default_path, load
from collectors.runtime.environment import NO_STATE, node_name, state_folder, wrong_addresses
from tui.commands.common import Options, fail, interactive

if TYPE_CHECKING:
    from aistack_top.session.recorder import RecordingFeed

REMEMBERED_S = 3600.0
"""What the ring holds of the last hour is laid under the first live numbers, so that a restart continues."""


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
    notes: list[str] = []

    async def make() -> Feed:
        def live() -> Feed:
            from collectors import assemble

            return assemble.feed(config, options.endpoints, clock, state, node, options.prometheus)

        if state is None:
            notes.append(f"not recorded: {NO_STATE}")
        if state is None or not (options.ring and config.recording.ring):
            return DiagnosedFeed(await asyncio.to_thread(live))
        ring = state / ring_name(options)
        return await asyncio.to_thread(ringed, live, ring, config, clock, node, notes)

    now = clock.now()
    return show(LazyFeed(make, Bounds(now, now, live=True, title=node), again=True), options, config, node, notes)


def configuration(options: Options) -> Config:
    """Return the configuration asked for; says every problem and leaves when there is one."""
    path = options.config or default_path()
    if options.config is None and not os.path.exists(path):  # noqa: PTH110 - Path.exists raises in a closed folder
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        fail("\n".join(error.problems))


def ring_name(options: Options) -> str:
    """Return the ring that belongs to what was asked for: this node's, or one for exactly these sources.

    Consoles of different sources must not attach to each other: one of them would show what it was not asked for.
    """
    from aistack_top.session.ring import RING_NAME, ring_of

    asked = [*sorted(options.endpoints), *([options.prometheus] if options.prometheus else [])]
    asked += [str(options.config.resolve())] if options.config else []
    return ring_of(asked) if asked else RING_NAME


def ringed(live: Callable[[], Feed], path: Path, config: Config, clock: Clock, node: str, notes: list[str]) -> Feed:
    """Return a live feed recorded into a ring, or, where another console records there, its recording.

    A ring that cannot be written costs the recording and not the console; ``notes`` says so.
    """
    from aistack_top.session.errors import SessionError
    from aistack_top.session.recorder import Recorder, RecordingFeed
    from aistack_top.session.replay import SessionFeed
    from aistack_top.session.ring import drop_old, open_ring

    keep_s, most = config.recording.hours * 3600.0, int(config.recording.megabytes * 1e6)
    try:
        drop_old(path.parent, clock.now())
        ring = open_ring(path, node=node, clock=clock, keep_s=keep_s, most_bytes=most)
    except SessionError as error:
        notes.append(f"not recorded: {error.msg}")
        return DiagnosedFeed(live())
    if isinstance(ring, Recorder):
        watching = DiagnosedFeed(live())
        return ResumedFeed(RecordingFeed(watching, ring), clock, notes, watching)
    return SessionFeed(ring, clock, at=ring.end, follow=True, span_s=REMEMBERED_S)


class ResumedFeed:
    """A recorded live feed that begins with what its recording holds of the last hour.

    What is wrong with the recording stands in ``notes`` for as long as it is so.
    """

    def __init__(self, feed: "RecordingFeed", clock: Clock, notes: list[str], watching: DiagnosedFeed) -> None:
        self._feed, self._clock, self._watching = feed, clock, watching
        self._notes = notes
        self._told: str | None = None

    def bounds(self) -> Bounds:
        """See `aistack_top.model.feed.Feed.bounds`."""
        return self._feed.bounds()

    async def ticks(self) -> AsyncIterator[Tick]:
        """See `aistack_top.model.feed.Feed.ticks`."""
        past = await self._past()
        if past is not None:
            yield self._watching.watched(past)
        async for tick in self._feed.ticks():
            self._tell(self._feed.recorder.problem)
            yield tick

    def seek(self, at: float) -> None:
        """See `aistack_top.model.feed.Feed.seek`."""
        self._feed.seek(at)

    def set_speed(self, speed: float) -> None:
        """See `aistack_top.model.feed.Feed.set_speed`."""
        self._feed.set_speed(speed)

    def keep(self, mark: Mark) -> bool:
        """See `aistack_top.model.feed.KeepsMarks`."""
        if mark.kind == "dismissed":
            self._watching.keep(mark)
        return self._feed.keep(mark)

    async def recording(self) -> Path | None:
        """See `aistack_top.model.feed.HasRecording`."""
        return await self._feed.recording()

    async def aclose(self) -> None:
        """See `aistack_top.model.feed.Feed.aclose`."""
        await self._feed.aclose()

    def _tell(self, problem: str | None) -> None:
        if problem == self._told:
            return
        if self._told in self._notes:
            self._notes.remove(self._told)
        if problem is not None:
            self._notes.append(problem)
        self._told = problem

    async def _past(self) -> Tick | None:
        from aistack_top.session.errors import SessionError
        from aistack_top.session.reader import Session
        from aistack_top.session.replay import SessionFeed

        with contextlib.suppress(SessionError):
            session = await asyncio.to_thread(Session.open, self._feed.recorder.path)
            if self._clock.now() - session.end < REMEMBERED_S and session.blocks:
                feed = SessionFeed(session, self._clock, at=session.end, speed=0.0, span_s=REMEMBERED_S)
                stream = feed.ticks()
                try:
                    async for tick in stream:
                        return tick
                finally:
                    await feed.aclose()
        return None
