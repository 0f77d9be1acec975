"""Fetching one Prometheus text page, and the collector of a source that has nothing but that page."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from threading import Lock

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder, Status, Value
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.engine import Assembled, Exposition
from collectors.openmetrics.identity import identified, without_prefix
from collectors.openmetrics.matching import INSTANCE
from collectors.openmetrics.parser import LineMemo, MetricsPage, parse_aside
from collectors.openmetrics.table import Metric, Table, naming
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import Answer, get
from collectors.runtime.notes import reason

OLD_S = 60.0
"""A sample whose own time is further back is not shown as now; for a source asked seldom, three of its intervals."""

FACTS_S = 60.0
"""How often facts are said again; in between they are taken to hold."""

MANY = 1_000
"""Series from which a page is placed and joined on a thread: the first sight of 5,000 takes 80 ms."""

OPENMETRICS = "application/openmetrics-text"
"""The media type whose samples carry times in seconds; those of the text format are in milliseconds."""


SPARED_RUNS = 9
"""Runs after a refusal that ask whether the server is there, and not for its metrics: LiteLLM counts each refused
request as a failed one of its own. With a run a minute the metrics are asked for every ten minutes."""

_TEXT = frozenset({"", "text/plain", OPENMETRICS})


@dataclass(frozen=True, slots=True)
class Scrape:
    """A page that was fetched and read; ``took_s`` is the time the server needed for it.

    ``at`` is when it had come, in seconds: what its reading took is no part of an interval.
    ``status`` is that of its health record, ``notes`` are sentences for it, ``date`` is the ``Date`` header.
    """

    page: MetricsPage
    took_s: float
    at: float
    status: Status = "ok"
    notes: tuple[str, ...] = ()
    date: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a source's own module reads from a page beyond its table; ``notes`` go into the health record."""

    readings: Sequence[tuple[str, Entity, Value | None]] = ()
    events: tuple[Event, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()


Extractor = Callable[[MetricsPage, Assembled, float], Extracted]
"""Reads a page that its table has been applied to, at a time in seconds."""


class Scraper:
    """Fetches the page of one source and reads it by its table; ``headers`` carry a key, if it wants one."""

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        table: Table,
        url: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._clock = clock
        self._table = table
        self._url = url
        self._headers = headers
        self._wanted = table.wanted()
        self._memo = LineMemo(addable(table))
        self._refusal: SourceError | None = None
        self._spared = 0

    async def scrape(self) -> Scrape:
        """Return the page as it is now.

        Raises:
            SourceError: no answer, a refusal, something that is not a page of this kind of source, a page of which
                nothing could be read, or one whose samples are all old.

        """
        if self._refusal is not None and self._spared > 0:
            self._spared -= 1
            await get(self._client, self._alive_url(), deadline_s=self._source.deadline_s)
            raise self._refusal
        answer = await get(self._client, self._url, headers=self._headers, deadline_s=self._source.deadline_s)
        at = self._clock.now()
        if self._table.prefixes:
            answer = replace(answer, body=without_prefix(answer.body, self._table))
        try:
            check(answer, self._table)
        except SourceError as error:
            if error.status == "unauthorized" and self._table.alive:
                self._refusal, self._spared = error, SPARED_RUNS
            raise
        page = await parse_aside(answer.body, self._wanted, self._memo, openmetrics=answer.content_type == OPENMETRICS)
        if page.bad and not page.values:
            lines = "1 line" if page.bad == 1 else f"{page.bad} lines"
            raise SourceError("misconfigured", f"the page could not be parsed: {lines} not in the text format")
        old = self._drop_old(page, server_time(answer) or at)
        status: Status = "partial" if page.left_off + page.bad > len(page.values) else "ok"
        return Scrape(page, answer.took_s, at, status, (old,) if old else (), answer.date)

    def _drop_old(self, page: MetricsPage, now: float) -> str:
        """Take the samples off a page that are not of now by their own time; return a sentence that says so.

        Raises:
            SourceError: that is all of them.

        """
        limit = max(OLD_S, 3.0 * self._source.interval_s)
        old = {series: now - at for series, at in page.times.items() if now - at > limit}
        if not old:
            return ""
        for series in old:
            page.values.pop(series, None)
        if not page.values:
            youngest = numbers.age(min(old.values()))
            raise SourceError("stale", f"by their own times, the newest of the page's samples is {youngest} old")
        count = "1 sample is" if len(old) == 1 else f"{len(old)} samples are"
        return f"by their own times, {count} up to {numbers.age(max(old.values()))} old and not shown"

    def _alive_url(self) -> str:
        return self._url.removesuffix("/metrics") + self._table.alive


class ExpositionCollector:
    """Collects from a source of which everything worth knowing stands on one page; needs a table and no code.

    What a table cannot say is read by ``add``.
    """

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        table: Table,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        add: Extractor | None = None,
    ) -> None:
        self._source = source
        self._clock = clock
        self._add = add
        self._scraper = Scraper(source, client, clock, table, url, headers)
        self._exposition = Exposition(table, source)
        self._keeper = HealthTracker(source)
        self._reading = Lock()
        self._facts_due = 0.0

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        sent = self._clock.now()
        try:
            scrape = await self._scraper.scrape()
        except SourceError as error:
            now = self._clock.now()
            self._facts_due = now
            return Batch(now, now, self._keeper.failure(now, error))
        now, seen = scrape.at, self._clock.now()
        self._keeper.heard(sent, now, scrape.date)
        if len(scrape.page.values) < MANY:
            found = self._read(scrape.page, now, seen)
        else:
            found = await asyncio.to_thread(self._read, scrape.page, now, seen)
        more = self._add(scrape.page, found, now) if self._add else Extracted()
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *more.readings):
            readings.add(signal, entity, value)
        notes = [*scrape.notes, *found.notes, *more.notes, self._exposition.missing(scrape.page)]
        health = self._keeper.success(seen, scrape.took_s, scrape.status, reason(notes))
        facts = self._exposition.facts(scrape.page) if found.restarted or now >= self._facts_due else ()
        if facts:
            self._facts_due = now + FACTS_S
        return Batch(now, seen, health, readings.build(), (*found.events, *more.events), facts=(*facts, *more.facts))

    def set_pace(self, pace_s: float) -> None:
        """See `collectors.runtime.base.Paced`."""
        self._exposition.pace_s = pace_s

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""

    def _read(self, page: MetricsPage, at: float, seen: float) -> Assembled:
        # a run that was given up may still be at work on its thread
        with self._reading:
            return self._exposition.read(page, at, seen)


def check(answer: Answer, table: Table) -> None:
    """Make sure that an answer is a metrics page of the right kind of source.

    Raises:
        SourceError: it is not; the reason says what it is instead.

    """
    if answer.status in (401, 403):
        raise SourceError("unauthorized", f"HTTP {answer.status}: the metrics endpoint requires a token")
    if answer.status >= 500:
        raise SourceError("down", f"HTTP {answer.status}")
    if answer.status != 200:
        raise SourceError("misconfigured", f"HTTP {answer.status}: is this the address of {table.title}'s metrics?")
    start = answer.body[:512].lstrip()
    if answer.content_type in ("text/html", "application/xhtml+xml") or start.startswith(b"<"):
        raise SourceError("misconfigured", "returned a web page, not metrics")
    if answer.content_type == "application/json" or start[:1] in (b"{", b"["):
        told = "returned JSON, not metrics"
        raise SourceError("misconfigured", f"{told}: {table.hint}" if table.hint else told)
    if answer.content_type not in _TEXT:
        raise SourceError("misconfigured", f"returned {sanitize(answer.content_type, 60)}, not metrics in text")
    if not start:
        raise SourceError("misconfigured", "returned an empty page")
    if not identified(answer.body, table):
        told = f"no {table.title} metrics on the page"
        raise SourceError("misconfigured", f"{told}: {table.hint}" if table.hint else told)


def server_time(answer: Answer) -> float | None:
    """Return when an answer was made by its server's own clock, which is the clock of its samples; None if unsaid."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def addable(table: Table) -> dict[bytes, frozenset[str]]:
    """Return the names whose series may be added up where there are too many, each with the labels that must stay.

    These are counters and gauges that the table sums, and that nothing else reads one by one: a sum of them is what
    the table wants, however many there are.
    """
    if table.sentinel_ranges:
        return {}
    labels: dict[str, set[str]] = {}
    others = {name for row in table.fact for name in row.names} | {*table.start_time, *table.extra_names}
    for row in table.metric:
        for name in row.raw_names():
            if _sums(row):
                labels.setdefault(name, set()).update(_labels(table, row))
            else:
                others.add(name)
    return {name.encode(): frozenset(kept) for name, kept in labels.items() if name not in others}


def _sums(row: Metric) -> bool:
    if row.type in ("counter", "ratio"):
        return row.combine == "sum"
    return row.type == "gauge" and row.combine == "sum" and not row.join and row.least is None and row.most is None


def _labels(table: Table, row: Metric) -> set[str]:
    ways = [naming(given) for given in {**table.entity, **row.entity}.values()]
    apart = [INSTANCE] if any(way.rank for way in ways) else []
    return {*apart, *row.where, *row.over_where, *(label for way in ways for label in (*way.labels, *way.rank))}
