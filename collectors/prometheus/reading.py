"""One target's pages to readings: the engine and the additions that read the page itself when it is asked directly."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aistack_top.model.tick import Event, Fact, Readings, ReadingsBuilder
from aistack_top.text.numbers import seconds
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.collector import FACTS_S, Extracted, Extractor
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import MetricsPage
from collectors.openmetrics.table import Table
from collectors.prometheus import client
from collectors.prometheus.client import Prometheus
from collectors.prometheus.pages import DEFAULT_INTERVAL_S, Pages, Times
from collectors.prometheus.scraped import Sighting, Target
from collectors.registry import Kind, import_object, page_matcher
from collectors.runtime.base import Source
from collectors.runtime.engine_names import EngineNames
from collectors.source_names import source_name

MIN_SHIFT_S = 2.0
"""A server's clock that is less off than this is taken for ours: the ``Date`` header alone is only sure to a second."""


@dataclass(frozen=True, slots=True)
class ScrapeResult:
    """What one scrape said; ``at`` is when the server made it, by our clock.

    ``read`` series of it were read, and ``unread`` could not be.
    """

    at: float
    readings: Readings
    events: tuple[Event, ...]
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    read: int = 0
    unread: int = 0


class TargetReader:
    """Reads the pages of one target, whose engine or store is called ``name``.

    ``lag_s`` is the age that its newest sample had when it was first seen, ``was_asked`` whether it was ever asked for.
    ``shift_s`` is how far the server's clock is ahead of ours, where it is told to be off at all; its times are put
    right by that.
    """

    def __init__(self, kind: Kind, read: Table, target: Target, name: str) -> None:
        self.kind, self.table, self.name = kind, read, name
        self.pages = Pages(target, read.prefixes)
        self.shift_s = 0.0
        self.lag_s = 0.0
        self.was_asked = False
        self.latest: ScrapeResult | None = None
        self._exposition: Exposition | None = None
        self._add: Extractor | None = None
        self._facts_due = 0.0
        self._known: bool | None = None

    @property
    def target(self) -> Target:
        """Whose pages they are."""
        return self.pages.target

    def set_offset(self, offset_s: float | None) -> None:
        """Use what is known of the server's clock; small changes of it do not move the times of samples."""
        offset_s = offset_s or 0.0
        wanted = offset_s if abs(offset_s) > MIN_SHIFT_S else 0.0
        if abs(wanted - self.shift_s) > MIN_SHIFT_S / 2:
            self.shift_s = wanted

    @property
    def every_s(self) -> float:
        """How often the server reads it, in seconds."""
        return self.pages.every_s or DEFAULT_INTERVAL_S

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
        times: Times | None = None,
        *,
        whole: bool = True,
        pace_s: float = 0.0,
    ) -> Iterator[ScrapeResult]:
        """Yield what each new page in an answer's rows says; it was learned at its own time, unless ``seen`` is.

        ``pace_s`` is the time between pages, where not every scrape is looked at.
        """
        pages = self.pages.of(rows, times, whole=whole, pace_s=pace_s)
        for at, page in pages:
            if self._exposition is None:
                pace = max(pace_s, self.every_s)
                source = Source(self.name, self.kind.name, self.kind.layer, pace)
                self._exposition = Exposition(self.table, source)
                self._add = import_object(self.kind.adder)(source) if self.kind.adder else None
            at -= self.shift_s
            self.latest = self._one(self._exposition, page, at, at if seen is None else seen)
            yield self.latest

    def _one(self, exposition: Exposition, page: MetricsPage, at: float, seen: float) -> ScrapeResult:
        found = exposition.read(page, at, seen)
        more = self._add(page, found, at) if self._add else Extracted()
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *more.readings):
            readings.add(signal, entity, value)
        facts: tuple[Fact, ...] = ()
        if found.restarted or at >= self._facts_due:
            facts, self._facts_due = exposition.facts(page), at + FACTS_S
        events = (*found.events, *more.events)
        # no line of the page says what it would have before its first request, so that work must have been done
        missing = exposition.missing(page) if any(found.totals.values()) and not page.partial else ""
        notes = (*found.notes, *more.notes, *([missing] if missing else ()))
        read = len(page.values)
        return ScrapeResult(at, readings.build(), events, (*facts, *more.facts), notes, read, page.left_off + page.bad)


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


def clock_notes(server: Prometheus) -> list[str]:
    """Return what has to be said of a server's clock."""
    offset_s = server.clock_offset.value or 0.0
    if abs(offset_s) <= MIN_SHIFT_S:
        return []
    side = "ahead of" if offset_s > 0 else "behind"
    return [f"its clock is {seconds(abs(offset_s))} {side} this machine's; its times are shown by this machine's"]


def readers(found: Sequence[Sighting], names: TargetNames) -> list[TargetReader]:
    """Return a reader for each target of one server, no two of a kind with one name."""
    known = EngineNames()
    return [
        TargetReader(
            one.kind,
            one.table,
            one.target,
            known.claim("", one.kind.name, names.of(one.kind.name, one.target.instance), one.qualifier),
        )
        for one in found
    ]


def target_source(
    server: Source, reader: TargetReader, taken: Collection[str], every_s: float, most_busy: float
) -> Source:
    """Return the source that a target is: its name stands behind its server's, with its kind if another has that."""
    name = f"{server.name}/{reader.name}"
    name = f"{name}@{reader.kind.name}" if name in taken else name
    return Source(name, "prometheus", reader.kind.layer, every_s, server.deadline_s, server.address, most_busy)
