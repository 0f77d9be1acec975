"""vLLM 0.6 to 0.33: its metrics page, what it is made of, and whether its engine still works.

| asked | how often | for |
|---|---|---|
| ``/metrics`` | every run | everything `collectors/tables/vllm.toml` lists; decides the health |
| ``/health`` | every run | an engine that is dead while its API server lives on |
| ``/load`` | every run | requests the API server holds, and the frozen engine |
| ``/version``, ``/v1/models`` | at a start and every minute | what may have changed |

All but the first are extras: each may fail alone, and costs nothing but itself.
"""

import asyncio
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder, Severity
from collectors.openmetrics.collector import FACTS_S, Scrape, Scraper
from collectors.openmetrics.engine import Assembled, Exposition
from collectors.openmetrics.identity import recognised
from collectors.openmetrics.parser import MetricsPage
from collectors.openmetrics.table import Table, load
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import REFUSED
from collectors.runtime.notes import reason
from collectors.vllm.arrivals import Arrivals
from collectors.vllm.extras import Extras, Told
from collectors.vllm.frozen import FrozenEngines

if TYPE_CHECKING:
    from collectors.config import VllmSource
    from collectors.registry import CollectorContext

MAX_INTERVAL_S = 5.0
"""An engine is asked at least so often: a rate over ten seconds and a freeze need two looks in ten."""

LARGE_PAGE_BYTES = 500_000
MAX_INTERVAL_LARGE_S = 10.0
"""The same for a page of so many bytes, as many adapters, engines or API servers make it."""

START_TIME = "process_start_time_seconds"
"""Missing where several API servers answer, and with the Rust frontend."""

DEAD = (
    "engine dead: /health returned 503, and /metrics keeps old numbers, which are not shown; "
    "check its log, then restart it"
)

_OF_API_SERVER = ("serving.http.", "serving.requests.rejected", "serving.scrape.")
"""Beginnings of the signals that stay true when the engine behind the API server is dead."""


@cache
def table() -> Table:
    """Return the table of vLLM's metrics."""
    return load(files("collectors.tables").joinpath("vllm.toml").read_text(encoding="utf-8"))


def fingerprint(body: bytes) -> bool:
    """Whether a metrics page is an engine's own: its router repeats the names with a label ``server``."""
    return recognised(body, table())


def build(config: "VllmSource", tools: "CollectorContext") -> "VllmCollector":
    """Return the collector of a configured vLLM server."""
    from collectors.registry import source_of

    return VllmCollector(source_of(config), tools.client, tools.clock, url=config.url)


class VllmCollector:
    """Reads one vLLM server. ``url`` is its base address, where it is not ``source.address`` (a login in it)."""

    def __init__(self, source: Source, client: httpx.AsyncClient, clock: Clock, *, url: str = "") -> None:
        self._source = replace(source, max_interval_s=max(MAX_INTERVAL_S, source.interval_s))
        self._clock = clock
        self._base = (url or source.address).rstrip("/").removesuffix("/metrics")
        self._scraper = Scraper(source, client, clock, table(), self._base + "/metrics")
        self._exposition = Exposition(table(), source)
        self._keeper = HealthTracker(source)
        self._engine = Entity.of(engine=source.name)
        self._extras = Extras(client, self._base, self._engine)
        self._arrivals = Arrivals(source)
        self._held = _Held()
        self._frozen = FrozenEngines(source)
        self._facts_due = 0.0
        self._pace_s = source.interval_s
        self._was_read = False
        self._refused = False
        self._is_dead = False
        self._up = True

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    def set_pace(self, pace_s: float) -> None:
        """See `collectors.runtime.base.Paced`."""
        self._pace_s = self._exposition.pace_s = self._arrivals.pace_s = self._frozen.pace_s = pace_s

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        sent = self._clock.now()
        is_due = self._up and self._clock.now() >= self._facts_due
        scraped, told = await asyncio.gather(self._scrape(), self._extras.ask(facts=is_due))
        now = self._clock.now()
        if isinstance(scraped, SourceError):
            return self._lost(scraped, now)
        self._up = True
        self._size(scraped.page)
        # the page's own moment: its parsing and the extras may take longer than it
        self._keeper.heard(sent, scraped.at, scraped.date)
        now, seen = scraped.at, now
        found = self._read(scraped.page, now, seen)
        events = list(found.events)
        if found.restarted:
            self._arrivals.reset()
            self._held.reset()
            self._frozen.reset()
            self._is_dead = False
        events += self._dead(told.alive, now)
        if self._is_dead:
            return self._without_engine(scraped, found, events, now)
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *self._arrivals.rates(found, now)):
            readings.add(signal, entity, value)
        if told.alive:
            readings.add("serving.engine.dead", self._engine, 0.0)
        readings.add("serving.scrape.duration", self._engine, scraped.took_s)
        frozen = self._watch(readings, events, scraped.page, found, told, now)
        facts = self._facts(scraped, found, told.facts, now)
        notes = [*frozen, *scraped.notes, *found.notes, self._exposition.missing(scraped.page, self._extras.version)]
        health = self._keeper.success(seen, scraped.took_s, scraped.status, reason(notes))
        return Batch(now, seen, health, readings.build(), tuple(events), facts=facts)

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""

    async def _scrape(self) -> Scrape | SourceError:
        try:
            return await self._scraper.scrape()
        except SourceError as error:
            return error

    def _lost(self, error: SourceError, now: float) -> Batch:
        self._up, self._facts_due = False, now
        self._refused = self._refused or error.reason == REFUSED
        self._frozen.reset()
        return Batch(now, now, self._keeper.failure(now, error))

    def _size(self, page: MetricsPage) -> None:
        """Say how large a page is, which is what it costs to make, and how seldom it may be asked for."""
        size = len(page.body)
        most = MAX_INTERVAL_S if size < LARGE_PAGE_BYTES else MAX_INTERVAL_LARGE_S
        interval_s = self._source.interval_s
        self._source = replace(self._source, page_bytes=size, max_interval_s=max(most, interval_s))

    def _read(self, page: MetricsPage, now: float, seen: float) -> Assembled:
        """Read a page. One that does not say when its process began is of another, if nothing listened in between."""
        is_another = self._was_read and self._refused and not page.declares(START_TIME)
        self._was_read, self._refused = True, False
        if not is_another:
            return self._exposition.read(page, now, seen)
        self._exposition = Exposition(table(), self._source)
        self._exposition.pace_s = self._pace_s
        found = self._exposition.read(page, now, seen)
        text = f"{table().title} {self._source.name} restarted (its port was closed in between)"
        return replace(found, restarted=True, events=(self._event("restart", now, seen, "warning", text),))

    def _dead(self, alive: bool | None, now: float) -> list[Event]:
        """Take what ``/health`` says; return the news."""
        was_dead = self._is_dead
        if alive is not None:
            self._is_dead = not alive
        if self._is_dead == was_dead:
            return []
        if not self._is_dead:
            return [self._event("dead", now, now, "info", f"the engine of {self._source.name} responds again")]
        self._frozen.reset()
        text = f"the engine of {self._source.name} is dead: /health returns 503, its API server is still up"
        return [self._event("dead", now, now, "critical", text)]

    def _without_engine(self, scraped: Scrape, found: Assembled, events: list[Event], now: float) -> Batch:
        """Return what the API server of a dead engine still tells; the engine's numbers stand as they stood."""
        readings = ReadingsBuilder()
        for signal, entity, value in found.readings:
            if signal.startswith(_OF_API_SERVER):
                readings.add(signal, entity, value)
        readings.add("serving.engine.dead", self._engine, 1.0)
        readings.add("serving.scrape.duration", self._engine, scraped.took_s)
        health = self._keeper.failure(now, SourceError("down", DEAD), scraped.took_s)
        return Batch(now, now, health, readings.build(), tuple(events))

    def _facts(self, scraped: Scrape, found: Assembled, asked: tuple[Fact, ...] | None, now: float) -> tuple[Fact, ...]:
        if found.restarted:
            # what was asked may be the answer of the process before
            self._facts_due = now
        elif asked is not None:
            self._facts_due = now + FACTS_S
        else:
            return ()
        page = self._exposition.facts(scraped.page)
        says_model = any(fact.key == "model" for fact in page)
        return (*page, *(fact for fact in asked or () if not (says_model and fact.key == "model")))

    def _watch(
        self,
        readings: ReadingsBuilder,
        events: list[Event],
        page: MetricsPage,
        found: Assembled,
        told: Told,
        now: float,
    ) -> list[str]:
        """Look whether the engines work on what the server holds; return sentences for the health record."""
        is_whole = page.declares(START_TIME) or self._extras.is_rust
        held = self._held.trusted(told.load, always=self._extras.is_rust)
        # each of several API servers knows only its own share of the load
        if held is not None and is_whole:
            readings.add("serving.requests.in_flight", self._engine, held)
        seen = self._frozen.observe(now, held, found)
        for entity, is_frozen in seen.flags.items():
            readings.add("serving.engine.frozen", entity, float(is_frozen))
        events += [self._event("frozen", one.at, now, one.severity, one.text, one.entity) for one in seen.news]
        return seen.notes

    def _event(
        self, kind: str, at: float, now: float, severity: Severity, text: str, about: Entity | None = None
    ) -> Event:
        return Event(at, now, self._source.layer, kind, severity, about or self._engine, text, self._source.name)


class _Held:
    """Tells a load of nothing from a load that nobody counts.

    Without ``--enable-server-load-tracking`` the server says 0 for ever, so 0 is believed only of a server that
    has once said more.
    """

    def __init__(self) -> None:
        self._counts = False

    def trusted(self, load_now: float | None, *, always: bool = False) -> float | None:
        """Return the load if it is one; the Rust frontend ``always`` counts."""
        self._counts = self._counts or bool(load_now)
        return load_now if self._counts or always else None

    def reset(self) -> None:
        """Forget what a process did that is gone."""
        self._counts = False
