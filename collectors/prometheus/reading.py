"""One target's pages to readings: the engine and the additions that read the page itself when it is asked directly."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aistack_top.model.tick import Event, Fact, Readings, ReadingsBuilder
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.collector import FACTS_S, Extracted, Extractor
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import MetricsPage
from collectors.openmetrics.table import Table
from collectors.prometheus import client
from collectors.prometheus.pages import Pages, Target
from collectors.registry import Kind, import_object, page_matcher, source_name
from collectors.runtime.base import Source

DEFAULT_PACE_S = 15.0
"""Prometheus scrapes every minute unless told otherwise, most installations every 15 s; learned from the samples."""


@dataclass(frozen=True, slots=True)
class ScrapeResult:
    """What one scrape said; ``at`` is when the server made it."""

    at: float
    readings: Readings
    events: tuple[Event, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]


class TargetReader:
    """Reads the pages of one target, whose engine or store is called ``name``."""

    def __init__(self, kind: Kind, read: Table, target: Target, name: str) -> None:
        self.kind, self.table, self.target, self.name = kind, read, target, name
        self.pages = Pages()
        self._exposition: Exposition | None = None
        self._add: Extractor | None = None
        self._facts_due = 0.0
        self._known: bool | None = None

    @property
    def every_s(self) -> float:
        """How often the server reads it, in seconds."""
        return self.pages.every_s or DEFAULT_PACE_S

    @property
    def is_another(self) -> bool:
        """Whether it is none of its kind after all: a router, or an exporter that copies a page."""
        if self._known is None and self.pages.newest:
            knows = page_matcher(self.kind)
            self._known = knows is None or knows(self.pages.body())
        return self._known is False

    def results(
        self,
        rows: Sequence[client.QuerySeries],
        seen: float | None = None,
        times: Mapping[float, float] | None = None,
        *,
        whole: bool = True,
        pace_s: float = 0.0,
    ) -> Iterator[ScrapeResult]:
        """Yield what each new page in an answer's rows says; it was learned at its own time, unless ``seen`` is.

        ``pace_s`` is the time between pages, where not every scrape is looked at.
        """
        pages = self.pages.of(rows, times, whole=whole)
        for at, page in pages:
            if self._exposition is None:
                pace = max(pace_s, self.every_s)
                source = Source(self.name, self.kind.name, self.kind.layer, pace)
                self._exposition = Exposition(self.table, source)
                self._add = import_object(self.kind.adder)(source) if self.kind.adder else None
            yield self._one(self._exposition, page, at, at if seen is None else seen)

    def _one(self, exposition: Exposition, page: MetricsPage, at: float, seen: float) -> ScrapeResult:
        found = exposition.read(page, at, seen)
        more = self._add(page, found, at) if self._add else Extracted()
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *more.readings):
            readings.add(signal, entity, value)
        facts: tuple[Fact, ...] = ()
        if found.restarted or at >= self._facts_due:
            facts, self._facts_due = exposition.facts(page), at + FACTS_S
        events, notes = (*found.events, *more.events), (*found.notes, *more.notes)
        return ScrapeResult(at, readings.build(), events, (*facts, *more.facts), notes)


@dataclass(frozen=True, slots=True)
class TargetNames:
    """What targets are called here, so that a server that is also read directly is one and not two.

    ``own`` are the host names and addresses of this node; ``near`` says that the Prometheus server is on it too, so
    that its localhost is ours. ``given`` are configured names by host and port.
    """

    own: Collection[str] = ()
    near: bool = False
    given: Mapping[tuple[str, int], str] | None = None

    def of(self, kind: str, instance: str) -> str:
        """Return the name of a target: that which it has when it is read directly, else what the server calls it."""
        try:
            parts = urlsplit(f"//{instance}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        # relabelling may make an instance of any text
        if port is None or parts.netloc != instance:
            return sanitize(instance, 120)
        loopback = host in ("localhost", "::1") or host.startswith("127.")
        if host in self.own or (loopback and self.near):
            host = "127.0.0.1"
        elif loopback:
            return sanitize(instance, 120)
        known = (self.given or {}).get((host, port))
        return known or sanitize(source_name(kind, f"http://{f'[{host}]' if ':' in host else host}:{port}"), 120)
