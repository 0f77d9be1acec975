"""Fetching one Prometheus text page, and the collector of a source that has nothing but that page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder, Value
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.engine import Assembled, Exposition
from collectors.openmetrics.parser import LineMemo, MetricsPage, parse_aside
from collectors.openmetrics.table import Table
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import Answer, get

FACTS_S = 60.0
"""How often facts are said again; in between they are taken to hold."""

REASON_LIMIT = 300

_TEXT = frozenset({"", "text/plain", "application/openmetrics-text"})


@dataclass(frozen=True, slots=True)
class Scrape:
    """A page that was fetched and read; ``took_s`` is the time the server needed for it."""

    page: MetricsPage
    took_s: float


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
        table: Table,
        url: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._table = table
        self._url = url
        self._headers = headers
        self._wanted = table.wanted()
        self._memo = LineMemo()

    async def scrape(self) -> Scrape:
        """Return the page as it is now.

        Raises:
            SourceError: no answer, a refusal, or something that is not a page of this kind of source.

        """
        answer = await get(self._client, self._url, headers=self._headers, deadline_s=self._source.deadline_s)
        check(answer, self._table)
        page = await parse_aside(answer.body, self._wanted, self._memo)
        if not page.values and page.bad and not identified(answer.body, self._table):
            raise SourceError("misconfigured", f"no line of the page is one of {self._table.title}'s metrics")
        return Scrape(page, answer.took_s)


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
        self._scraper = Scraper(source, client, table, url, headers)
        self._exposition = Exposition(table, source)
        self._keeper = HealthTracker(source)
        self._facts_due = 0.0

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        try:
            scrape = await self._scraper.scrape()
        except SourceError as error:
            now = self._clock.now()
            self._facts_due = now
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._clock.now()
        found = self._exposition.read(scrape.page, now, now)
        more = self._add(scrape.page, found, now) if self._add else Extracted()
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *more.readings):
            readings.add(signal, entity, value)
        notes = [*found.notes, *more.notes, self._exposition.missing(scrape.page)]
        health = self._keeper.success(now, scrape.took_s, reason=reason(notes))
        facts = self._exposition.facts(scrape.page) if found.restarted or now >= self._facts_due else ()
        if facts:
            self._facts_due = now + FACTS_S
        return Batch(now, now, health, readings.build(), (*found.events, *more.events), facts=(*facts, *more.facts))

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""


def check(answer: Answer, table: Table) -> None:
    """Make sure that an answer is a metrics page of the right kind of source.

    Raises:
        SourceError: it is not; the reason says what it is instead.

    """
    if answer.status in (401, 403):
        raise SourceError("unauthorized", f"answers {answer.status}: the metrics want a key")
    if answer.status >= 500:
        raise SourceError("down", f"answers {answer.status}")
    if answer.status != 200:
        raise SourceError("misconfigured", f"answers {answer.status}: is this the address of {table.title}'s metrics?")
    start = answer.body[:512].lstrip()
    if answer.content_type in ("text/html", "application/xhtml+xml") or start.startswith(b"<"):
        raise SourceError("misconfigured", "answers with a web page, not metrics")
    if answer.content_type == "application/json" or start[:1] in (b"{", b"["):
        told = "answers with JSON, not metrics"
        raise SourceError("misconfigured", f"{told}: {table.hint}" if table.hint else told)
    if answer.content_type not in _TEXT:
        raise SourceError("misconfigured", f"answers with {sanitize(answer.content_type, 60)}, not metrics in text")
    if not start:
        raise SourceError("misconfigured", "answers with an empty page")
    if not identified(answer.body, table):
        told = f"the page holds no metrics of {table.title}"
        raise SourceError("misconfigured", f"{told}: {table.hint}" if table.hint else told)


def reason(notes: Sequence[str]) -> str:
    """Return the notes of a run as one sentence for the health record; empty ones are left out."""
    return sanitize("; ".join(note for note in notes if note), REASON_LIMIT)


def identified(body: bytes, table: Table) -> bool:
    """Whether a page holds what a table's source is known by."""
    for start in table.identity:
        prefix = start.encode()
        if body.startswith(prefix) or b"\n" + prefix in body or b"# TYPE " + prefix in body:
            return True
    return False
