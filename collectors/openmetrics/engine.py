"""The one engine for all Prometheus text sources: pages and a table in, readings, events and facts out.

| step | where |
|---|---|
| bytes to numbers of the wanted series | `collectors.openmetrics.parser` |
| which series is which signal of whom | the table, applied by `collectors.openmetrics.matching` |
| counters to rates and ratios, buckets to quantiles | here, one meter or window an output series |
| restarts, duplicates, bad lines | here, told in words |
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf, isfinite

from aistack_top.measure.counters import RateMeter
from aistack_top.measure.quantiles import Buckets, HistogramWindow
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signal
from aistack_top.model.tick import Event, Fact, Readings, ReadingsBuilder
from collectors.openmetrics.matching import Key, SeriesMatcher, SeriesTarget
from collectors.openmetrics.parser import MAX_SERIES, MetricsPage, PageSeries
from collectors.openmetrics.table import Combine, Metric, Table
from collectors.runtime.base import Source

FLAPPING = 3
"""Restarts within a minute from which they are no restarts: several processes answer behind one address."""

GAP = 2.5
"""Intervals of a source after which a rate would be one of a time nobody looked at."""

_COMBINE: Mapping[Combine, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "mean": lambda values: sum(values) / len(values),
}

SignalOf = tuple[str, Entity]


@dataclass(frozen=True, slots=True)
class Assembled:
    """What one page says, after those before it.

    ``gauges`` are the values as they stand, ``totals`` the counters since the source began and the observation
    counts of histograms: for what is computed of several signals. ``notes`` are sentences for the health record.
    """

    readings: Readings
    gauges: Mapping[SignalOf, float]
    totals: Mapping[SignalOf, float]
    events: tuple[Event, ...]
    notes: tuple[str, ...]
    restarted: bool


@dataclass(slots=True)
class _Layout:
    """Which counted series make up which output series; worked out anew only when a series appears."""

    counters: dict[Key, list[PageSeries]] = field(default_factory=dict)
    overs: dict[Key, list[PageSeries]] = field(default_factory=dict)
    buckets: dict[Key, dict[float, list[PageSeries]]] = field(default_factory=dict)
    counts: dict[Key, list[PageSeries]] = field(default_factory=dict)
    totals: dict[Key, list[PageSeries]] = field(default_factory=dict)

    def add(self, series: PageSeries, place: SeriesTarget) -> None:
        if place.part == "bucket":
            self.buckets.setdefault(place.key, {}).setdefault(place.edge, []).append(series)
            return
        groups = {"counter": self.counters, "over": self.overs, "count": self.counts, "sum": self.totals}
        groups[place.part].setdefault(place.key, []).append(series)

    def finish(self) -> None:
        """Put the edges in order, with the count for an infinite one that is not there."""
        for key, edges in self.buckets.items():
            if inf not in edges and key in self.counts:
                edges[inf] = self.counts[key]
            self.buckets[key] = dict(sorted(edges.items()))


class Exposition:
    """Reads the pages of one source, one after the other; all of them parsed with one memo."""

    def __init__(self, table: Table, source: Source) -> None:
        self.table = table
        self._source = source
        self._zeros = [row for row in table.metric if row.zero_with]
        self._places = SeriesMatcher(table, source.name)
        self.about = self._places.about
        self._epoch: object = None
        self._layout: _Layout | None = None
        self._counted: dict[PageSeries, float] = {}
        self._base: dict[PageSeries, float] = {}
        self._was_clean = True
        self._newborn: set[PageSeries] = set()
        self._read_at: float | None = None
        self._began: float | None = None
        self._restarts: deque[float] = deque(maxlen=FLAPPING)
        self._meters: dict[tuple[Key, str], RateMeter] = {}
        self._windows: dict[Key, HistogramWindow] = {}

    def read(self, page: MetricsPage, at: float, seen: float) -> Assembled:
        """Return what a page says at a time in seconds; the first one gives no rates and no quantiles."""
        values: Mapping[PageSeries, float] = page.values
        if self.table.blanks:
            values = {series: value for series, value in values.items() if not self.table.is_blank(value)}
        if page.epoch is not self._epoch:
            self._epoch = page.epoch
            self._places.forget()
            self._forget()
        if self._places.match(values):
            self._layout = None
        events, restarted = self._restart(values, at, seen)
        self._carry(values, page.clean)
        if self._layout is None:
            self._layout = self._lay_out()
        hidden = self._places.keys_of(page.unread)
        taking = _PageRead(at, values, page.clean, self._counted, self._layout, hidden, page.unread_names)
        for series, value in values.items():
            for place in self._places.gauges.get(series, ()):
                taking.gauged.setdefault(place.key, []).append((value, series))
        done: dict[str, int] = {}
        for index, keys in taking.present():
            row = self.table.metric[index]
            if done.setdefault(row.signal, index) == index:
                for key in keys:
                    self._take(taking, row, key)
        self._add_zeros(taking)
        self._read_at = at
        notes = _notes(page, taking)
        if self._flapping(at):
            notes.append(f"restarted {FLAPPING} times within a minute: do several servers answer behind this address?")
        return Assembled(taking.out.build(), taking.gauges, taking.totals, events, tuple(notes), restarted)

    def _add_zeros(self, taking: "_PageRead") -> None:
        """Add what is none so far, because its counter is not yet born."""
        for row in self._zeros:
            has = [entity for name, entity in taking.totals if name == row.signal]
            for name, entity in taking.rated:
                if name == row.zero_with and not any(entity.covers(one) for one in has):
                    taking.out.add(row.signal, entity, 0.0)

    def facts(self, page: MetricsPage) -> tuple[Fact, ...]:
        """Return what the page says that holds until it changes, and which signals are read by an old name."""
        return self._places.facts(page)

    def missing(self, page: MetricsPage, version: str = "") -> str:
        """Return a sentence about the expected metrics that the page does not have, or nothing."""
        return self._places.missing(page, version)

    def _restart(self, values: Mapping[PageSeries, float], at: float, seen: float) -> tuple[tuple[Event, ...], bool]:
        """Forget the past if the source began anew since the last page, and say so once."""
        began = next((value for series, value in values.items() if series.name in self.table.start_time), None)
        moved = began is not None and self._began is not None and abs(began - self._began) > 1.0
        counted = self._counted
        back = any(value < counted.get(series, -inf) for series, value in values.items())
        self._began = self._began if began is None else began
        if not (moved or back):
            return (), False
        self._forget()
        self._restarts.append(at)
        if self._flapping(at):
            return (), True
        proof = "its process is another" if moved else "its counters went backwards"
        text = f"{self.table.title} {self._source.name} restarted: {proof}"
        event = Event(at, seen, self._source.layer, "restart", "warning", self.about, text, self._source.name)
        return (event,), True

    def _forget(self) -> None:
        for kept in (self._counted, self._base, self._meters, self._windows):
            kept.clear()
        self._layout = None
        self._was_clean = True
        self._read_at = None

    def _flapping(self, at: float) -> bool:
        return len(self._restarts) == FLAPPING and at - self._restarts[0] < 60.0

    def _carry(self, values: Mapping[PageSeries, float], clean: bool) -> None:
        """Keep the newest value of every counter: one whose line was unreadable has not fallen to nothing.

        A counter that appears was born since the last page and counts from nothing, unless that page was not
        whole: then its past may only have been hidden, and it counts from here.
        """
        counted, cumulative = self._counted, self._places.cumulative
        hidden, before = bool(counted) and not self._was_clean, len(counted)
        self._newborn = set()
        for series, value in values.items():
            if series in cumulative:
                if series not in counted:
                    if hidden:
                        self._base[series] = value
                    else:
                        self._newborn.add(series)
                counted[series] = value
        if len(counted) > 2 * MAX_SERIES:
            self._counted = {series: value for series, value in counted.items() if series in values}
        if len(self._counted) != before:
            self._layout = None
        self._was_clean = clean

    def _lay_out(self) -> _Layout:
        layout = _Layout()
        for series in self._counted:
            for place in self._places.cumulative.get(series, ()):
                layout.add(series, place)
        layout.finish()
        return layout

    def _take(self, taking: "_PageRead", row: Metric, key: Key) -> None:
        if taking.silent(key):
            # what comes back after that is another process: nothing of its past counts
            self._windows.pop(key, None)
            return
        if taking.is_hidden(row, key):
            taking.withheld[signal(row.signal).title] = None
            return
        if row.type == "histogram":
            self._histogram(taking, row, key)
        elif row.type == "counter":
            self._counter(taking, row, key)
        elif row.type == "ratio":
            self._ratio(taking, row, key)
        else:
            _gauge(taking, row, key)

    def _counter(self, taking: "_PageRead", row: Metric, key: Key) -> None:
        members, entity = taking.layout.counters[key], key[2]
        total = _COMBINE[row.combine]([taking.counted[series] for series in members]) * row.factor
        taking.totals[row.signal, entity] = total
        if signal(row.signal).form == "count":
            taking.out.add(row.signal, entity, total)
            return
        rate = self._rate(taking, key, "counter", row, members)
        if rate is not None:
            taking.rated.append((row.signal, entity))
            taking.out.add(row.signal, entity, rate * row.factor)

    def _ratio(self, taking: "_PageRead", row: Metric, key: Key) -> None:
        """Add the share of one increase in another; nothing where the other did not increase."""
        members, whole = taking.layout.counters.get(key, []), taking.layout.overs.get(key)
        if whole is None or (not members and row.names != row.over):
            return
        share = self._rate(taking, key, "share", row, members)
        rate = self._rate(taking, key, "whole", row, whole)
        if share is not None and rate:
            taking.out.add(row.signal, key[2], share / rate * row.factor)

    def _rate(
        self, taking: "_PageRead", key: Key, what: str, row: Metric, members: Sequence[PageSeries]
    ) -> float | None:
        meter = self._meters.get((key, what))
        if meter is None:
            meter = self._meters[key, what] = RateMeter(row.window_s, GAP * self._source.interval_s)
            born = self._born(members)
            if born is not None:
                meter.observe(born, 0.0)
        values = [taking.counted[series] - self._base.get(series, 0.0) for series in members]
        return meter.observe(taking.at, _COMBINE[row.combine](values) if values else 0.0).rate

    def _born(self, members: Sequence[PageSeries]) -> float | None:
        """Return when counters that appear for the first time stood at nothing: at the page before; None if unknown.

        Without it the first block of a guardrail, which makes its counter, would never be in a rate.
        """
        return self._read_at if members and all(series in self._newborn for series in members) else None

    def _histogram(self, taking: "_PageRead", row: Metric, key: Key) -> None:
        layout, counted = taking.layout, taking.counted
        buckets, sums = layout.buckets[key], layout.totals.get(key, ())
        several = len(next(iter(buckets.values())))
        if inf not in buckets or any(len(members) != several for members in buckets.values()):
            taking.uneven += 1
            return
        if several == 1:
            counts = tuple([counted[members[0]] for members in buckets.values()])
        else:
            counts = tuple([sum([counted[series] for series in members]) for members in buckets.values()])
        total = sum([counted[series] for series in sums]) if len(sums) == several else None
        edges = tuple(buckets)
        if row.whole and total == int(total or 0):
            edges, total = _uncut(edges, counts, total)
        edges = tuple([edge * row.factor for edge in edges])
        total = None if total is None else total * row.factor
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = HistogramWindow()
            born = self._born([series for members in buckets.values() for series in members])
            if born is not None:
                window.observe(born, Buckets(edges, (0.0,) * len(edges), 0.0))
        window.observe(taking.at, Buckets(edges, counts, total))
        taking.totals[row.signal, key[2]] = counts[-1]
        taking.out.add(row.signal, key[2], window.quantiles())


@dataclass(slots=True)
class _PageRead:
    """What is being made of one page."""

    at: float
    values: Mapping[PageSeries, float]
    clean: bool
    counted: Mapping[PageSeries, float]
    layout: _Layout
    hidden: Collection[Key]
    hidden_names: Collection[str]
    gauged: dict[Key, list[tuple[float, PageSeries]]] = field(default_factory=dict)
    out: ReadingsBuilder = field(default_factory=ReadingsBuilder)
    gauges: dict[SignalOf, float] = field(default_factory=dict)
    totals: dict[SignalOf, float] = field(default_factory=dict)
    rated: list[SignalOf] = field(default_factory=list)
    uneven: int = 0
    withheld: dict[str, None] = field(default_factory=dict)

    def is_hidden(self, row: Metric, key: Key) -> bool:
        """Whether a line that an output is made of was not read: of the others no sum, maximum or quantile is known."""
        return key in self.hidden or any(name in self.hidden_names for name in row.raw_names())

    def silent(self, key: Key) -> bool:
        """Whether a whole page has none of an output's series any more: a GPU that is lost counts nothing."""
        if not self.clean or key in self.gauged:
            return False
        layout = self.layout
        groups = [layout.counters.get(key, ()), layout.overs.get(key, ()), *layout.buckets.get(key, {}).values()]
        return not any(series in self.values for members in groups for series in members)

    def present(self) -> list[tuple[int, list[Key]]]:
        """Return the rows that have series, each with the output series of the first of its names that has."""
        found: dict[int, dict[int, dict[Key, None]]] = {}
        layout = self.layout
        for key in (*self.gauged, *layout.counters, *layout.overs, *layout.buckets):
            found.setdefault(key[0], {}).setdefault(key[1], {})[key] = None
        return [(row, list(found[row][min(found[row])])) for row in sorted(found)]


def _gauge(taking: _PageRead, row: Metric, key: Key) -> None:
    found, entity = taking.gauged[key], key[2]
    if row.join == "all" and len({series.name for _, series in found}) < len(row.names):
        return
    if row.type == "names":
        _, newest = max(found, key=lambda pair: pair[0])
        value = float(len([name for name in newest.labels.get(row.label, "").split(",") if name.strip()]))
    else:
        low, high = -inf if row.least is None else row.least, inf if row.most is None else row.most
        kept = [value for value, _ in found if low <= value <= high]
        if not kept:
            return
        value = _COMBINE[row.combine](kept) * row.factor
    taking.gauges[row.signal, entity] = value
    taking.out.add(row.signal, entity, value)


def _uncut(edges: tuple[float, ...], counts: tuple[float, ...], total: float) -> tuple[tuple[float, ...], float]:
    """Return edges and sum of a histogram whose observations were cut off to whole numbers, as they were before.

    What was cut off to an edge of 2 or less was below 3; on the average half a unit was lost. A sum that is no whole
    number shows that nothing was cut off.
    """
    return tuple([floor(edge) + 1.0 if isfinite(edge) else edge for edge in edges]), total + 0.5 * counts[-1]


def _notes(page: MetricsPage, taking: _PageRead) -> list[str]:
    notes = []
    if page.cut:
        notes.append("the page ends in mid-line")
    if page.bad:
        notes.append(f"{page.bad} {'line' if page.bad == 1 else 'lines'} of the page could not be read")
    if page.twice:
        notes.append(f"{page.twice} series stood there twice; the last was taken")
    if page.left_off:
        notes.append(f"{page.left_off} series beyond the first {MAX_SERIES} were not read")
    if taking.withheld:
        notes.append(f"not shown, as some of their lines were not read: {', '.join(taking.withheld)}")
    if taking.uneven:
        notes.append(f"{taking.uneven} histograms have series with different buckets and were not read")
    return notes
