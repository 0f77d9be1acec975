"""Targets of a Prometheus server as collectors: each target that this program can read joins the feed as one.

The server itself is a collector too: it looks every minute who is scraped, and its health says whether it answers.
A target's health says whether the server can read it. One query a kind brings the samples of all its targets.
"""

import asyncio
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch, Event, Fact, History, Status
from aistack_top.text.sanitize import sanitize
from collectors.config import ConfigError
from collectors.discovery.collector import place
from collectors.prometheus import client
from collectors.prometheus.client import Access, Prometheus
from collectors.prometheus.pages import by_target
from collectors.prometheus.past import BACK_S, past_of
from collectors.prometheus.queries import readable, series_of
from collectors.prometheus.reading import ScrapeResult, TargetNames, TargetReader, clock_notes, target_source
from collectors.prometheus.scraped import REPLICA_LABELS, Sighting, scraped
from collectors.runtime.addresses import without_login
from collectors.runtime.auth import headers, login_headers, more_headers
from collectors.runtime.base import Collector, HealthTracker, Source, SourceError
from collectors.runtime.engine_names import EngineNames
from collectors.runtime.notes import reason

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
    server = Prometheus(access(config), clock=tools.clock)
    return PrometheusCollector(
        source, server, tools.clock, config.interval, names_for(config, tools), replica_labels(config)
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
    keys |= more_headers(config.name, config.tenant, config.headers)
    return Access(without_login(config.url).rstrip("/"), keys, config.ca, config.timeout)


def replica_labels(config: "PrometheusSource") -> tuple[str, ...]:
    """Return the labels that tell replicas of one scraper apart.

    Raises:
        ConfigError: one of them cannot be the name of a label.

    """
    for label in config.replica_labels:
        if not (label.isascii() and label.isidentifier()):
            raise ConfigError([f"{config.name}: replica_labels: {sanitize(label, 60)!r} cannot be the name of a label"])
    return config.replica_labels


class PrometheusCollector:
    """Looks who is scraped, and lets them join. ``every_s`` is how often a target's samples are asked for."""

    def __init__(
        self,
        source: Source,
        server: Prometheus,
        clock: Clock,
        every_s: float,
        names: TargetNames,
        replica_labels: Collection[str] = REPLICA_LABELS,
    ) -> None:
        self._source = source
        self._replica_labels = replica_labels
        self._server = server
        self._names = names
        self._clock = clock
        self._keeper = HealthTracker(source)
        self._keeper.clock_offset = server.clock_offset
        self._pool = SamplePool(server, clock, every_s)
        self._every_s = every_s
        self._join: Join | None = None
        self._leave: Join | None = None
        self._engines = EngineNames()
        self._targets: list[_Joined] = []

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    def start_discovery(self, join: Join, leave: Join, names: EngineNames) -> None:
        """Start to discover collectors and report those that join or leave."""
        self._join, self._leave, self._engines = join, leave, names
        self._names = replace(self._names, given=names.given)

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        began = time.perf_counter()
        try:
            whole = await scraped(self._server, self._replica_labels)
        except SourceError as error:
            await self._engines.looked(self._source.name, ())
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, error))
        took_s = time.perf_counter() - began
        warned = self._server.warned
        await self._engines.looked(self._source.name, (self._name(one) for one in whole.found))
        now = self._clock.now()
        left_off = self._update(whole.found, now)
        notes = [f"warns: {text}" for text in warned] + whole.notes + self._clashes(whole.found)
        if not whole.found and not whole.unread:
            kinds = ", ".join(read.title for _, read in readable())
            notes.append(f"scrapes no supported target ({kinds})")
        notes += clock_notes(self._server)
        if left_off:
            notes.append(f"{left_off} targets beyond the first {MAX_TARGETS} are not read")
        status: Status = "misconfigured" if whole.unread + left_off > len(whole.found) - left_off else "ok"
        return Batch(now, now, self._keeper.success(now, took_s, status, reason(notes)))

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        self._server.close()

    def _name(self, one: Sighting) -> str:
        """Return what a target would be called if nothing else had that name."""
        return self._names.of(one.kind.name, one.target.instance)

    def _clashes(self, found: Collection[Sighting]) -> list[str]:
        """Return what has to be said of addresses that another server tells of too."""
        shared: Counter[str] = Counter()
        for name in {self._name(one) for one in found}:
            shared.update(self._engines.others(self._source.name, name))
        return [
            f"{count} {'address' if count == 1 else 'addresses'} also scraped by {other}: taken for other machines"
            for other, count in sorted(shared.items())
        ]

    def _update(self, found: Collection[Sighting], now: float) -> int:
        """Let new targets join and those long gone leave; returns for how many there was no room."""
        fresh, missing = list(found), list(self._targets)
        for known in (_Joined.is_of, _Joined.may_be):
            for joined in tuple(missing):
                if one := next((one for one in fresh if known(joined, one)), None):
                    joined.seen, joined.reader.pages.target = now, one.target
                    fresh.remove(one)
                    missing.remove(joined)
        for joined in [one for one in self._targets if now - one.seen > GONE_S]:
            self._targets.remove(joined)
            self._pool.drop(joined.reader)
            self._engines.release(joined.reader.kind.name, joined.reader.name)
            if self._leave is not None:
                self._leave(joined.collector)
        room = MAX_TARGETS - len(self._targets)
        for one in fresh[:room]:
            self._add(one, now)
        return max(len(fresh) - room, 0)

    def _add(self, one: Sighting, now: float) -> None:
        name = self._engines.claim(self._source.name, one.kind.name, self._name(one), one.qualifier)
        reader = TargetReader(one.kind, one.table, one.target, name)
        taken = {joined.collector.source.name for joined in self._targets}
        source = target_source(self._source, reader, taken, self._every_s, MAX_BUSY)
        collector = TargetCollector(source, reader, self._pool, self._clock)
        self._targets.append(_Joined(collector, reader, now))
        self._pool.add(reader)
        if self._join is not None:
            self._join(collector)


@dataclass(slots=True, eq=False)
class _Joined:
    """A target that takes part in the feed; ``seen`` is when it was last scraped."""

    collector: "TargetCollector"
    reader: TargetReader
    seen: float

    def is_of(self, one: Sighting) -> bool:
        """Whether it reads this target."""
        target = self.reader.target
        same = (target.pair, target.labels) == (one.target.pair, one.target.labels)
        return self.reader.kind.name == one.kind.name and same

    def may_be(self, one: Sighting) -> bool:
        """Whether it has read this target under other labels, such as the name of another pod."""
        return self.reader.kind.name == one.kind.name and one.target.may_follow(self.reader.target)


@dataclass(frozen=True, slots=True)
class Samples:
    """A target's samples, what the server warned of, and how many series of its instance are of no target."""

    rows: list[client.QuerySeries]
    warned: tuple[str, ...]
    unplaced: int


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
        self._unplaced: dict[str, dict[tuple[str, str], int]] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def add(self, reader: TargetReader) -> None:
        """Ask for a target's samples too."""
        self._readers[reader.kind.name].append(reader)

    def drop(self, reader: TargetReader) -> None:
        """Ask no more for a target's samples."""
        self._readers[reader.kind.name].remove(reader)
        self._rows.pop(id(reader), None)

    async def samples(self, reader: TargetReader) -> Samples:
        """Return the samples of a target that have come since it was last asked for and some before.

        Raises:
            SourceError: what went wrong, in words.

        """
        name = reader.kind.name
        async with self._locks[name]:
            now = self._clock.monotonic()
            asked = self._asked.get(name)
            if id(reader) not in self._rows or asked is None or now - asked >= self._every_s * 0.5:
                await self._fetch(name, MAX_LOOKBACK_S if asked is None else now - asked)
        unplaced = self._unplaced.get(name, {}).get(reader.target.pair, 0)
        return Samples(self._rows.pop(id(reader), []), self._warned.get(name, ()), unplaced)

    async def _fetch(self, name: str, since_s: float) -> None:
        readers = self._readers[name]
        # a page is stored when it has been read whole, so that samples may turn up behind those that were there
        slowest, latest = max(reader.every_s for reader in readers), max(reader.lag_s for reader in readers)
        back_s = since_s + 2 * slowest + latest if all(reader.was_asked for reader in readers) else MAX_LOOKBACK_S
        selector = series_of(readers[0].table, [reader.target.pair for reader in readers])
        began = self._clock.monotonic()
        answer = await self.server.samples(selector, min(back_s, MAX_LOOKBACK_S))
        self._asked[name], self._warned[name] = began, self.server.warned
        rows, self._unplaced[name] = by_target(answer, [reader.target for reader in readers])
        for reader in readers:
            reader.was_asked = True
            mine: list[client.QuerySeries] = rows.get(reader.target, [])
            self._rows[id(reader)] = mine


class TargetCollector:
    """Reads one target of a Prometheus server as if its page were read directly, as often as the server reads it."""

    def __init__(self, source: Source, reader: TargetReader, pool: SamplePool, clock: Clock) -> None:
        self.reader = reader
        self._source = source
        self._pool = pool
        self._clock = clock
        self._keeper = HealthTracker(self._source)
        self._keeper.clock_offset = pool.server.clock_offset
        self._newest = 0.0
        self._newest_since: float | None = None
        self._has_moved = False
        self._read: ScrapeResult | None = None

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def backfill(self) -> History | None:
        """Return the last two hours as the server has them; see `collectors.runtime.base.HasHistory`."""
        server = self._pool.server
        self.reader.set_offset(server.clock_offset.value)
        now = server.now()
        try:
            return await past_of(server, self.reader, self._source, now - BACK_S, now)
        except SourceError:
            return None

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        began = time.perf_counter()
        try:
            samples = await self._pool.samples(self.reader)
        except SourceError as error:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._clock.now()
        self.reader.set_offset(self._pool.server.clock_offset.value)
        told = list(self.reader.results(samples.rows, now, whole=not samples.warned))
        if not told and self._read is None and self.reader.latest is not None:
            # the history ends with the newest page, and the next may be a minute away
            told = [replace(self.reader.latest, events=(), facts=())]
        every_s = self.reader.every_s
        self._keeper.source = replace(self._source, interval_s=max(every_s, self._source.interval_s))
        if (trouble := self._trouble(every_s)) is not None:
            return Batch(now, now, self._keeper.failure(now, trouble))
        took = time.perf_counter() - began
        notes = [f"warns: {text}" for text in samples.warned]
        if samples.unplaced:
            notes.append(f"{samples.unplaced} series of its instance match no known target and are not read")
        if told:
            # said until another page says otherwise: most runs bring no new one
            self._read = told[-1]
        newest = self._read
        is_unread = newest is not None and newest.unread + samples.unplaced > newest.read
        status: Status = "misconfigured" if is_unread else "ok"
        health = self._keeper.success(now, took, status, reason([*(newest.notes if newest else ()), *notes]))
        if not told:
            return Batch(now, now, health)
        events: list[Event] = [event for one in told for event in one.events]
        facts: list[Fact] = [fact for one in told for fact in one.facts]
        return Batch(told[-1].at, now, health, told[-1].readings, tuple(events), facts=tuple(facts))

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the server's thread part of its own collector."""

    def _trouble(self, every_s: float) -> SourceError | None:
        pages = self.reader.pages
        if not pages.up:
            return SourceError("down", f"Prometheus cannot read it ({sanitize(self.reader.target.instance, 80)})")
        standing_s = self._standing_s()
        if standing_s > max(3 * every_s, 30.0):
            return SourceError("stale", f"Prometheus has had no new sample for {standing_s:.0f} s")
        if self.reader.is_another:
            return SourceError(
                "misconfigured", f"not {self.reader.table.title} itself: a router, or a copy of its page"
            )
        return None

    def _standing_s(self) -> float:
        """Return for how long no new sample has come; one that is late by a constant is new as often as any."""
        newest, now = self.reader.pages.newest, self._clock.monotonic()
        age_s = self._pool.server.now() - newest
        if newest != self._newest or self._newest_since is None:
            self._has_moved = self._newest > 0.0
            self._newest, self._newest_since = newest, now
            self.reader.lag_s = max(age_s, 0.0) if newest else 0.0
        waited_s = now - self._newest_since
        return waited_s if self._has_moved or not newest else max(waited_s, age_s)
