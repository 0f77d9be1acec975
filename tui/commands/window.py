"""A window of a Prometheus server that nobody recorded, fetched into a recording that ends with the command."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import VirtualClock, WallClock
from aistack_top.session.recorder import Recorder
from aistack_top.text.sanitize import sanitize
from collectors.config import Config, ConfigError
from collectors.runtime.addresses import without_login
from collectors.runtime.base import SourceError
from tui.commands.common import UNREACHABLE, fail
from tui.model.time_input import moment

if TYPE_CHECKING:
    from collectors.prometheus.window import WindowFeed
    from collectors.registry import CollectorContext

MAX_WINDOW_S = 86_400.0
BACK_S = 30 * 86_400.0
"""A time of day or a date may be this long ago."""

WRITTEN_S = 60.0
"""How long the disk may take for what is still to be written at the end."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """What was asked for: a server, and two times as a person types them."""

    url: str
    begins: str
    ends: str | None = None

    @contextmanager
    def recorded(self, config: Config) -> Iterator[Path]:
        """Fetch it and yield the session that holds it, which is deleted afterwards; says what is wrong and leaves."""
        start, end = self._times()
        with tempfile.TemporaryDirectory(prefix="aistack-top-") as folder:
            name = (urlsplit(self.url).netloc.rpartition("@")[2] or "prometheus").replace(":", "-")
            path = Path(folder) / f"{sanitize(name, 80)}.aistack"
            began = time.monotonic()
            try:
                readings = asyncio.run(self._fetch(config, start, end, path))
            except ConfigError as error:
                fail("\n".join(error.problems))
            except SourceError as error:
                fail(f"{sanitize(without_login(self.url))}: {error.reason}", UNREACHABLE)
            took = time.monotonic() - began
            print(f"{readings} readings of {(end - start) / 60:.0f} min fetched in {took:.1f} s", file=sys.stderr)
            yield path

    def _times(self) -> tuple[float, float]:
        now = WallClock().now()
        option = "--to"
        try:
            end = now if self.ends is None else moment(self.ends, now - BACK_S, now)
            option = "--from"
            start = moment(self.begins, now - BACK_S, now)
        except ValueError as error:
            fail(f"{option}: {error}")
        if end - start < 1.0:
            fail("--from: the window begins after it ends")
        if end - start > MAX_WINDOW_S:
            fail(f"--from: a window is at most {MAX_WINDOW_S / 3600:.0f} h long")
        return start, end

    async def _fetch(self, config: Config, start: float, end: float, path: Path) -> int:
        """Record the window and return how many readings there are.

        Raises:
            ConfigError: a secret is not to be found, or the address is none.
            SourceError: the server cannot be asked.

        """
        from collectors.registry import CollectorContext
        from collectors.runtime.client import client
        from collectors.runtime.environment import node_name, salt, state_folder

        async with client() as http:
            tools = CollectorContext(WallClock(), http, salt(state_folder()), node_name(config))
            feed = self._feed(config, tools, start, end)
            if not await feed.find_targets():
                raise SourceError("ok", "it scraped no supported target in this window")
            recorder = Recorder(path, node=tools.node, clock=VirtualClock(start))
            recording, readings = RecordingFeed(DiagnosedFeed(feed), recorder), 0
            try:
                async for tick in recording.ticks():
                    readings += sum(len(batch.readings) for batch in tick.batches)
                if not await asyncio.to_thread(recorder.close, WRITTEN_S):
                    fail(recorder.problem or f"the folder {path.parent} took more than {WRITTEN_S:g} s to write to")
            finally:
                await recording.aclose()
            return readings

    def _feed(self, config: Config, tools: "CollectorContext", start: float, end: float) -> "WindowFeed":
        from collectors.assemble import prometheus_of, sources
        from collectors.config import LangfuseSource
        from collectors.langfuse.collector import build
        from collectors.prometheus.client import Prometheus
        from collectors.prometheus.targets import access, names_for, replica_labels
        from collectors.prometheus.window import WindowFeed
        from collectors.registry import source_of

        asked = sources(config, [], os.environ, self.url)
        calls = [build(one, tools) for one in asked if isinstance(one, LangfuseSource)]
        server = prometheus_of(config, self.url)
        source = source_of(server, deadline_s=server.timeout + 5.0)
        return WindowFeed(
            source,
            Prometheus(access(server)),
            names_for(server, tools),
            start,
            end,
            calls,
            replica_labels=replica_labels(server),
        )
