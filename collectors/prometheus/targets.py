"""Who a Prometheus server scrapes of what this program can read: each target joins the feed as a collector.

The server itself is a collector too: it looks every minute who is scraped, and its health says whether it answers.
A target's health says whether the server can read it. One query a kind brings the samples of all its targets.
"""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch, Event, Fact, History
from aistack_top.text.sanitize import sanitize
from collectors.discovery.collector import place
from collectors.openmetrics.collector import reason
from collectors.prometheus import client
from collectors.prometheus.client import Access, Prometheus
from collectors.prometheus.pages import by_target
from collectors.prometheus.past import BACK_S, past_of
from collectors.prometheus.queries import readable, series_of, whose
from collectors.prometheus.reading import TargetNames, TargetReader
from collectors.runtime.addresses import without_login
from collectors.runtime.auth import headers, login_headers
from collectors.runtime.base import Collector, HealthTracker, Source, SourceError

if TYPE_CHECKING:
    from collectors.config import PrometheusSource
    from collectors.registry import CollectorContext

LOOK_S = 60.0
MAX_BUSY = 0.05
"""A query for the samples of two engines took 5 to 20 ms; Prometheus is made to be asked."""

MAX_TARGETS = 64
GONE_S = 600.0
"""How long a target that is no longer scraped is still asked for, in case its server only restarts."""

MAX_LOOKBACK_S = 300.0
"""The most that one query for samples looks back."""

Join = Callable[[Collector], None]


def build(config: "PrometheusSource", tools: "CollectorContext") -> "PrometheusCollector":
    """Return the collector of a configured Prometheus server.

    Raises:
        ConfigError: a secret is not to be found.

    """
    from collectors.registry import source_of

    source = source_of(config, deadline_s=config.timeout + 5.0, most_busy=MAX_BUSY)
    source = replace(source, interval_s=LOOK_S)
    return PrometheusCollector(
        source, Prometheus(access(config)), tools.clock, config.interval, names_for(config, tools)
    )


def names_for(config: "PrometheusSource", tools: "CollectorContext") -> TargetNames:
    """Return what the targets of a configured server are called on this node."""
    return TargetNames(own_hosts(tools.node), place(config.url)[0] == "127.0.0.1")


def own_hosts(node: str) -> frozenset[str]:
    """Return the names and addresses under which others know this node."""
    from collectors.procfs.processes import ProcTree

    return frozenset({node, socket.gethostname(), *ProcTree(Path("/proc")).addresses("self")})


def access(config: "PrometheusSource") -> Access:
    """Return how a configured server is asked.

    Raises:
        ConfigError: a secret is not to be found.

    """
    keys = headers(config.name, config.token, config.username, config.password) or login_headers(config.url)
    return Access(without_login(config.url).rstrip("/"), keys, config.ca, config.timeout)


class PrometheusCollector:
    """Looks who is scraped, and lets them join. ``every_s`` is how often a target's samples are asked for."""

    def __init__(self, source: Source, server: Prometheus, clock: Clock, every_s: float, names: TargetNames) -> None:
        self._source = source
        self._server = server
        self._names = names
        self._clock = clock
        self._keeper = HealthTracker(source)
        self._pool = SamplePool(server, clock, every_s)
        self._every_s = every_s
        self._join: Join | None = None
        self._leave: Join | None = None
        self._targets: dict[tuple[str, str], tuple[TargetCollector, float]] = {}

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    def start_discovery(self, join: Join, leave: Join, given: Mapping[tuple[str, int], str]) -> None:
        """See `collectors.runtime.base.DiscoversCollectors.start_discovery`."""
        self._join, self._leave = join, leave
        self._names = replace(self._names, given=given)

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        began = time.perf_counter()
        try:
            found = await scraped(self._server, self._names)
        except SourceError as error:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._clock.now()
        left_off = self._take(found, now)
        notes = [f"warns: {text}" for text in self._server.warned]
        if not found:
            kinds = ", ".join(read.title for _, read in readable())
            notes.append(f"scrapes nothing that can be read here ({kinds})")
        if left_off:
            notes.append(f"{left_off} targets beyond the first {MAX_TARGETS} are not read")
        return Batch(now, now, self._keeper.success(now, time.perf_counter() - began, reason=reason(notes)))

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`."""
        self._server.close()

    def _take(self, found: list[TargetReader], now: float) -> int:
        here = {(reader.kind.name, reader.target[1]): reader for reader in found}
        for key, (collector, _) in list(self._targets.items()):
            if key in here:
                self._targets[key] = (collector, now)
            elif now - self._targets[key][1] > GONE_S:
                del self._targets[key]
                self._pool.drop(collector.reader)
                if self._leave is not None:
                    self._leave(collector)
        fresh = [key for key in here if key not in self._targets]
        room = MAX_TARGETS - len(self._targets)
        for key in fresh[:room]:
            collector = TargetCollector(self._source, here[key], self._pool, self._clock, self._every_s)
            self._targets[key] = (collector, now)
            self._pool.add(collector.reader)
            if self._join is not None:
                self._join(collector)
        return max(len(fresh) - room, 0)


async def scraped(
    server: Prometheus, names: TargetNames, window: tuple[float, float] | None = None
) -> list[TargetReader]:
    """Return a reader for every target that this program can read, each instance once for each kind.

    With a ``window`` those that were scraped between its start and end, in seconds since the epoch.

    Raises:
        SourceError: what went wrong, in words.

    """
    found: list[TargetReader] = []
    for kind, read in readable():
        seen: set[str] = set()
        if window is None:
            labels = await server.instant(whose(read))
        else:
            start, end = window
            steps = min(MAX_LOOKBACK_S, max(end - start, 1.0)) * 0.8
            # from the end, so that a window shorter than a step is asked about at all
            first = end - (end - start) // steps * steps
            labels = [row.metric for row in await server.stepped(whose(read), first, end, steps)]
        for target in sorted((row.get("job", ""), row.get("instance", "")) for row in labels):
            if target[1] and target[1] not in seen:
                seen.add(target[1])
                found.append(TargetReader(kind, read, target, names.of(kind.name, target[1])))
    return found


class SamplePool:
    """The newest samples of all targets, asked for once for each kind and not once for each target."""

    def __init__(self, server: Prometheus, clock: Clock, every_s: float) -> None:
        self.server = server
        self._clock = clock
        self._every_s = every_s
        self._readers: dict[str, list[TargetReader]] = defaultdict(list)
        self._rows: dict[int, list[client.QuerySeries]] = {}
        self._warned: dict[str, tuple[str, ...]] = {}
        self._asked: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def add(self, reader: TargetReader) -> None:
        """Ask for a target's samples too."""
        self._readers[reader.kind.name].append(reader)

    def drop(self, reader: TargetReader) -> None:
        """Ask no more for a target's samples."""
        self._readers[reader.kind.name].remove(reader)
        self._rows.pop(id(reader), None)

    async def rows(self, reader: TargetReader) -> tuple[list[client.QuerySeries], tuple[str, ...]]:
        """Return the samples of a target that have come since it was last asked for and some before, and warnings.

        Raises:
            SourceError: what went wrong, in words.

        """
        name = reader.kind.name
        async with self._locks[name]:
            now = self._clock.monotonic()
            asked = self._asked.get(name)
            if id(reader) not in self._rows or asked is None or now - asked >= self._every_s * 0.5:
                await self._fetch(name, MAX_LOOKBACK_S if asked is None else now - asked)
        return self._rows.pop(id(reader), []), self._warned.get(name, ())

    async def _fetch(self, name: str, since_s: float) -> None:
        readers = self._readers[name]
        # a page is stored when it has been read whole, so that samples may turn up behind those that were there
        slowest = max(reader.every_s for reader in readers)
        selector = series_of(readers[0].table, [reader.target for reader in readers])
        began = self._clock.monotonic()
        answer = await self.server.samples(selector, min(since_s + 2 * slowest, MAX_LOOKBACK_S))
        self._asked[name], self._warned[name] = began, self.server.warned
        rows = by_target(answer)
        for reader in readers:
            mine: list[client.QuerySeries] = rows.get(reader.target, [])
            self._rows[id(reader)] = mine


class TargetCollector:
    """Reads one target of a Prometheus server as if its page were read directly, as often as the server reads it."""

    def __init__(self, server: Source, reader: TargetReader, pool: SamplePool, clock: Clock, every_s: float) -> None:
        kind = reader.kind
        # a name of its own beside that of the engine, which another source may read directly
        name = f"{server.name}/{reader.name}"
        self.reader = reader
        self._source = Source(name, "prometheus", kind.layer, every_s, server.deadline_s, server.address, MAX_BUSY)
        self._pool = pool
        self._clock = clock
        self._keeper = HealthTracker(self._source)

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def backfill(self) -> History | None:
        """Return the last two hours as the server has them; see `collectors.runtime.base.HasHistory`."""
        now = self._clock.now()
        try:
            return await past_of(self._pool.server, self.reader, self._source, now - BACK_S, now)
        except SourceError:
            return None

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        began = time.perf_counter()
        try:
            rows, warned = await self._pool.rows(self.reader)
        except SourceError as error:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._clock.now()
        told = list(self.reader.results(rows, now, whole=not warned))
        every_s = self.reader.every_s
        self._keeper.source = replace(self._source, interval_s=max(every_s, self._source.interval_s))
        if (trouble := self._trouble(now, every_s)) is not None:
            return Batch(now, now, self._keeper.failure(now, trouble))
        took = time.perf_counter() - began
        if not told:
            return Batch(now, now, self._keeper.success(now, took))
        events: list[Event] = [event for one in told for event in one.events]
        facts: list[Fact] = [fact for one in told for fact in one.facts]
        newest, notes = told[-1], [f"warns: {text}" for text in warned]
        health = self._keeper.success(now, took, reason=reason([*newest.notes, *notes]))
        return Batch(newest.at, now, health, newest.readings, tuple(events), facts=tuple(facts))

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the server's thread belongs to its own collector."""

    def _trouble(self, now: float, every_s: float) -> SourceError | None:
        pages = self.reader.pages
        if not pages.up:
            return SourceError("down", f"Prometheus cannot read it ({sanitize(self.reader.target[1], 80)})")
        if pages.newest and now - pages.newest > max(3 * every_s, 30.0):
            return SourceError("stale", f"Prometheus has had no new sample for {now - pages.newest:.0f} s")
        if self.reader.is_another:
            return SourceError("misconfigured", f"this is no {self.reader.table.title}: a router or a copy of its page")
        return None
