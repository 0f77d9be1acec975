"""A window of time that nobody recorded, as a feed: what a Prometheus server and Langfuse still know of it.

The samples are the raw ones, so that each tick says what a live console would have seen when the page was scraped.
The feed plays once, from its start, as fast as the servers answer; whoever wants to go about in it records it first.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Protocol

from aistack_top.model.feed import Bounds
from aistack_top.model.tick import Batch, Status, Tick
from aistack_top.session.threads import on_thread
from aistack_top.text.sanitize import sanitize
from collectors.prometheus import client
from collectors.prometheus.client import Prometheus
from collectors.prometheus.pages import by_target
from collectors.prometheus.queries import series_of
from collectors.prometheus.reading import (
    MIN_SHIFT_S,
    ScrapeResult,
    TargetNames,
    TargetReader,
    clock_notes,
    readers,
    target_source,
)
from collectors.prometheus.scraped import REPLICA_LABELS, scraped
from collectors.prometheus.targets import LOOK_S, MAX_TARGETS
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason

CHUNK_S = 600.0
"""Of one query: eight engines scraped every 5 s are 120 pages each, some 20 MB of answer."""

WARM_S = 300.0
"""Read before the window, so that its first rates and quantiles stand on what came before."""

FAILURES = 2
"""Queries in a row that fail before the rest of the window is given up."""


class HasPastCalls(Protocol):
    """A source of calls that also knows those of a time gone by."""

    async def between(self, start: float, end: float) -> list[Batch]:
        """Return them in batches, at the times when they ended; never raises for what a server did."""
        ...


class WindowFeed:
    """The window from ``start`` to ``end``, in seconds since the epoch by our clock."""

    def __init__(
        self,
        source: Source,
        server: Prometheus,
        names: TargetNames,
        start: float,
        end: float,
        calls: Sequence[HasPastCalls] = (),
        *,
        replica_labels: Sequence[str] = REPLICA_LABELS,
    ) -> None:
        self._server, self._names = server, names
        self._replica_labels = replica_labels
        self._shift_s = 0.0
        self._notes: list[str] = []
        self._start, self._end = start, end
        self._calls = calls
        self._source = source
        self._keeper = HealthTracker(source)
        self._keeper.clock_offset = server.clock_offset
        self._targets: list[_Target] = []

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        return Bounds(self._start, self._end, live=False, title=self._source.address)

    async def find_targets(self) -> int:
        """Find out who was scraped in the window; returns how many there are.

        Raises:
            SourceError: what went wrong, in words.

        """
        whole = await scraped(self._server, self._replica_labels, (self._start, self._end))
        offset_s = self._server.clock_offset.value or 0.0
        if abs(offset_s) > MIN_SHIFT_S:
            self._shift_s = offset_s
            window = self._start + offset_s, self._end + offset_s
            whole = await scraped(self._server, self._replica_labels, window)
        self._notes = [*whole.notes, *clock_notes(self._server)]
        if len(whole.found) > MAX_TARGETS:
            self._notes.append(f"{len(whole.found) - MAX_TARGETS} targets beyond the first {MAX_TARGETS} are not read")
        taken: set[str] = set()
        for reader in readers(whole.found[:MAX_TARGETS], self._names):
            reader.set_offset(self._shift_s)
            one = _Target(self._source, reader, taken)
            taken.add(one.name)
            self._targets.append(one)
        return len(whole.found)

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield a tick a second. See `aistack_top.model.feed.Feed.ticks`; `look` comes first."""
        told = await asyncio.gather(*(one.between(self._start, self._end) for one in self._calls))
        calls = sorted((batch for batches in told for batch in batches), key=lambda batch: batch.seen)
        at, failed = self._start - WARM_S, 0
        while at < self._end:
            until = self._start if at < self._start else min(at + CHUNK_S, self._end)
            batches: list[Batch] = []
            if failed < FAILURES:
                batches, error = await self._chunk(at, until)
                failed = failed + 1 if error else 0
            if until > self._start:
                batches += [batch for batch in calls if at <= batch.seen < until]
                for tick in _by_second(at, until, batches):
                    yield tick
            at = until

    def seek(self, at: float) -> None:
        """See `aistack_top.model.feed.Feed.seek`; it cannot.

        Raises:
            ValueError: always.

        """
        raise ValueError("this window plays once, from its start")

    def set_speed(self, speed: float) -> None:
        """See `aistack_top.model.feed.Feed.set_speed`; it has none.

        Raises:
            ValueError: always.

        """
        raise ValueError("this window plays as fast as it is fetched")

    async def aclose(self) -> None:
        """Stop the feed and release what it uses."""
        self._server.close()

    async def _chunk(self, at: float, until: float) -> tuple[list[Batch], bool]:
        """Return what all targets said, the server's own health first, and whether that failed."""
        batches: list[Batch] = []
        warned: dict[str, None] = {}
        kinds: dict[str, list[_Target]] = defaultdict(list)
        for target in self._targets:
            kinds[target.reader.kind.name].append(target)
        for targets in kinds.values():
            wanted = [one.reader.target for one in targets]
            selector = series_of(targets[0].reader.table, [one.pair for one in wanted])
            try:
                answer = await self._server.samples(selector, until - at, until + self._shift_s)
            except SourceError as error:
                return [Batch(at, at, self._keeper.failure(at, error))], True
            here = self._server.warned
            warned.update(dict.fromkeys(f"warns: {text}" for text in here))
            rows, unplaced = by_target(answer, wanted)
            count = sum(unplaced.values())
            if count:
                warned[f"{count} series match no target of their instance"] = None
            for one in targets:
                mine: list[client.QuerySeries] = rows.get(one.reader.target, [])
                batches += await on_thread(partial(one.batches, mine, not here))
        notes = reason([*self._notes, *warned])
        looks = [at + LOOK_S * count for count in range(ceil((until - at) / LOOK_S))]
        return [*(Batch(look, look, self._keeper.success(look, 0.0, reason=notes)) for look in looks), *batches], False


class _Target:
    """One target's pages as the batches that its collector would have brought."""

    def __init__(self, server: Source, reader: TargetReader, taken: Collection[str]) -> None:
        self.reader = reader
        self._source = target_source(server, reader, taken, reader.every_s, server.most_busy)
        self._keeper = HealthTracker(self._source)

    @property
    def name(self) -> str:
        """The name of the source that this target is."""
        return self._source.name

    def batches(self, rows: list[client.QuerySeries], whole: bool) -> list[Batch]:
        """Return a batch for each scrape in an answer's rows, also for those that brought no page."""
        told: list[tuple[float, ScrapeResult | None]] = [
            (one.at, one) for one in self.reader.results(rows, whole=whole)
        ]
        if self.reader.is_another:
            return []
        self._keeper.source = replace(self._source, interval_s=self.reader.every_s)
        told += [(at - self.reader.shift_s, None) for at in self.reader.pages.away]
        return [self._batch(at, one) for at, one in sorted(told, key=lambda pair: pair[0])]

    def _batch(self, at: float, told: ScrapeResult | None) -> Batch:
        if told is None:
            where = sanitize(self.reader.target.instance, 80)
            return Batch(
                at, at, self._keeper.failure(at, SourceError("down", f"Prometheus could not read it ({where})"))
            )
        status: Status = "misconfigured" if told.unread > told.read else "ok"
        health = self._keeper.success(at, 0.0, status, reason(told.notes))
        return Batch(at, at, health, told.readings, told.events, facts=told.facts)


def _by_second(start: float, end: float, batches: list[Batch]) -> list[Tick]:
    """Return a tick a second with what was learned in it, since ages grow and sources fall silent in between."""
    count = ceil(end - start)
    seconds: dict[int, list[Batch]] = defaultdict(list)
    for batch in sorted(batches, key=lambda one: one.seen):
        if start <= batch.seen <= end:
            seconds[min(int(batch.seen - start), count - 1)].append(batch)
    ends = [min(start + second + 1.0, end) for second in range(count)]
    return [Tick(at, at, tuple(seconds.get(second, ()))) for second, at in enumerate(ends)]
