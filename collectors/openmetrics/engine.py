"""The one engine for all Prometheus text sources: pages and a table in, readings, events and facts out.

| step | where |
|---|---|
| bytes to numbers of the wanted series | `collectors.openmetrics.parser` |
| which series is which signal of whom | the table, applied by `collectors.openmetrics.matching` |
| what counters rose by between two pages | `collectors.openmetrics.counters` |
| why counters fell | `collectors.openmetrics.restarts` |
| rises to rates and ratios, buckets to quantiles | here, one meter or window an output series |
| restarts, duplicates, bad lines, what was left out | here, told in words |
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import floor, inf, isfinite

from aistack_top.measure.counters import RateMeter
from aistack_top.measure.quantiles import WINDOW_S, Buckets, HistogramWindow
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signal
from aistack_top.model.tick import Event, Fact, Readings, ReadingsBuilder
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.counters import COMBINE, CounterHistory, Group, Growth, Step, groups, rows_of, value_of
from collectors.openmetrics.matching import Key, SeriesMatcher
from collectors.openmetrics.parser import MAX_SERIES, MetricsPage, PageSeries
from collectors.openmetrics.restarts import Cause, Restarts
from collectors.openmetrics.table import Metric, Table
from collectors.runtime.base import Source

GAP = 2.5
"""Intervals of a source after which a rate would be one of a time nobody looked at."""

LOST_BY_CUTTING = 0.5
"""What an observation that is cut off to a whole number loses on the average, in the unit of the source."""

SEVERAL = (
    "its counters go back and forth: several servers or workers share this address, so rates and quantiles are "
    "left out; add the address of each, or let them share one registry"
)

SignalOf = tuple[str, Entity]


@dataclass(frozen=True, slots=True)
class Assembled:
    """What one page says, after those before it.

    ``gauges`` are the values as they stand, ``totals`` the counters and the observation counts of histograms as they
    grew since first sight: for what is computed of several signals. ``notes`` are sentences for the health record.
    """

    readings: Readings
    gauges: Mapping[SignalOf, float]
    totals: Mapping[SignalOf, float]
    events: tuple[Event, ...]
    notes: tuple[str, ...]
    restarted: bool


@dataclass(slots=True)
class _Layout:
    """Which counted series make up which output series; worked out again only when a series comes or goes."""

    counters: dict[Key, dict[Hashable, Group]] = field(default_factory=dict)
    overs: dict[Key, dict[Hashable, Group]] = field(default_factory=dict)
    buckets: dict[Key, dict[float, list[PageSeries]]] = field(default_factory=dict)
    counts: dict[Key, list[PageSeries]] = field(default_factory=dict)
    sums: dict[Key, list[PageSeries]] = field(default_factory=dict)


def _layout_of(step: Step, places: SeriesMatcher) -> _Layout:
    """Return the layout of the counters that are there, the edges of histograms in order."""
    layout = _Layout()
    single: dict[str, dict[Key, list[PageSeries]]] = {
        "counter": {},
        "over": {},
        "count": layout.counts,
        "sum": layout.sums,
    }
    for series in step.now:
        for place in places.cumulative.get(series, ()):
            if place.part == "bucket":
                layout.buckets.setdefault(place.key, {}).setdefault(place.edge, []).append(series)
            else:
                single[place.part].setdefault(place.key, []).append(series)
    rows = places.table.metric
    layout.counters = {key: groups(rows[key[0]], members) for key, members in single["counter"].items()}
    layout.overs = {key: groups(rows[key[0]], members) for key, members in single["over"].items()}
    for key, edges in layout.buckets.items():
        if inf not in edges and key in layout.counts:
            edges[inf] = layout.counts[key]
        layout.buckets[key] = dict(sorted(edges.items()))
    return layout


@dataclass(slots=True)
class _Shape:
    """A histogram as it grew since first sight."""

    edges: tuple[float, ...]
    counts: list[float]
    total: float
    window: HistogramWindow = field(default_factory=HistogramWindow)


class Exposition:
    """Reads the pages of one source, one after the other; all of them parsed with one memo."""

    def __init__(self, table: Table, source: Source) -> None:
        self.table = table
        self._source = source
        self._zeros = [row for row in table.metric if row.zero_with]
        self._places = SeriesMatcher(table, source.name)
        self.about = self._places.about
        self.pace_s = source.interval_s
        """How often the source is asked now: slower than its interval while answers cost it too much."""

        self._epoch: object = None
        self._layout: _Layout | None = None
        self._history = CounterHistory()
        self._growth = Growth()
        self._restarts = Restarts(self._whose, devices=bool(table.device))
        self._whole_since: float | None = None
        self._read_at = 0.0
        self._meters: dict[tuple[Key, str], RateMeter] = {}
        self._shapes: dict[Key, _Shape] = {}

    def read(self, page: MetricsPage, at: float, seen: float) -> Assembled:
        """Return what a page says at a time in seconds; the first one gives no rates and no quantiles."""
        # The order matters. A new memo (its series are other objects) forgets every place first; series are placed
        # before counters are compared, since a restart is judged by entity; and what was reset is forgotten before
        # rows are read, so that no rate spans the reset.
        values: Mapping[PageSeries, float] = page.values
        if self.table.sentinel_ranges:
            values = {series: value for series, value in values.items() if not self.table.is_blank(value)}
        if page.epoch is not self._epoch:
            self._epoch = page.epoch
            self._places.forget()
            self._history.forget()
            self._forget()
        placed = self._places.match(values)
        step = self._history.step(values, self._places.cumulative, page.clean)
        starts = (series for series in values if series.name in self.table.start_time)
        began = {series: values[series] for series in starts if self._places.is_read(series)}
        cause = self._restarts.judge(began, step)
        events = tuple(self._events(cause, step, at, seen))
        self._forget_reset(cause, step)
        if placed or step.others or self._layout is None:
            self._layout = _layout_of(step, self._places)
            # what comes back after it left the page is another process: nothing of its past counts
            self._shapes = {key: shape for key, shape in self._shapes.items() if key in self._layout.buckets}
        made = self._begin_read(at, values, step, cause.several)
        made.hidden, made.hidden_names = self._places.keys_of(page.unread), page.unread_names
        for row, key in made.outputs(self.table):
            self._read_row(made, row, key)
        self._add_zeros(made)
        self._read_at = at
        self._whole_since = None if not page.clean else at if self._whole_since is None else self._whole_since
        notes = [
            *_notes(page, made),
            *self._places.left_out(values),
            *self._places.merged(),
            *([SEVERAL] if cause.several else []),
        ]
        restarted = cause.restarted and not self.table.device
        return Assembled(made.out.build(), made.gauges, made.totals, events, tuple(notes), restarted)

    def facts(self, page: MetricsPage) -> tuple[Fact, ...]:
        """Return what the page says that holds until it changes, and which signals are read by an old name."""
        return self._places.facts(page)

    def missing(self, page: MetricsPage, version: str = "") -> str:
        """Return a sentence about the expected metrics that the page does not have, or nothing."""
        return self._places.missing(page, version)

    def _whose(self, series: PageSeries) -> Iterator[Entity]:
        keys = self.table.entity
        for place in self._places.cumulative.get(series, ()):
            yield Entity.from_mapping({key: value for key, value in place.key[2].pairs if key in keys})

    def _begin_read(self, at: float, values: Mapping[PageSeries, float], step: Step, several: bool) -> "_PageRead":
        layout = _Layout() if several or self._layout is None else self._layout
        suspect = frozenset(rows_of(step.gone, self._places.cumulative))
        made = _PageRead(at, values, step, layout, suspect)
        for series in values:
            for place in self._places.gauges.get(series, ()):
                made.gauged.setdefault(place.key, []).append(series)
        return made

    def _add_zeros(self, made: "_PageRead") -> None:
        """Add what is none so far, because its counter is not yet born."""
        for row in self._zeros:
            has = [entity for name, entity in made.totals if name == row.signal]
            for name, entity in made.rated:
                if name == row.zero_with and not any(entity.covers(one) for one in has):
                    made.out.add(row.signal, entity, 0.0)

    def _events(self, cause: Cause, step: Step, at: float, seen: float) -> Iterator[Event]:
        """Yield one event for a restart, and one for each entity whose counters alone were reset."""
        title, layer, name = self.table.title, self._source.layer, self._source.name
        if cause.restarted and not cause.several:
            proof = "new process" if cause.by_start else "its counters went backwards"
            said = "reset its counters in the same process" if cause.kept else f"restarted ({proof})"
            yield Event(at, seen, layer, "restart", "warning", self.about, f"{title} {name} {said}", name)
        for entity in sorted(cause.reset, key=str) if not cause.several else ():
            text = f"{title} {name}: the counters of {entity} were reset, the others continue"
            if self.table.device:
                fallen = (series for series in step.fell if entity in self._whose(series))
                number = next((series.labels.get(self.table.device, "") for series in fallen), "")
                who = f"{self.table.device} {sanitize(number, 20)}" if number else str(entity)
                text = f"{who}: its counters were reset: GPU reset or driver reload?"
            yield Event(at, seen, layer, "reset", "warning", entity, text, name)

    def _forget_reset(self, cause: Cause, step: Step) -> None:
        """Forget the rates and quantiles of what was reset; the rest goes on."""
        if cause.several or (cause.restarted and not self.table.device):
            self._history.begin_again()
            self._forget()
        elif cause.reset:
            counters = self._places.cumulative
            fallen = {place.key for series in step.fell for place in counters.get(series, ())}
            self._growth.forget(fallen)
            self._meters = {one: meter for one, meter in self._meters.items() if one[0] not in fallen}
            self._shapes = {key: shape for key, shape in self._shapes.items() if key not in fallen}

    def _forget(self) -> None:
        self._growth.forget()
        self._meters.clear()
        self._shapes.clear()
        self._layout = None
        self._whole_since = None

    def _read_row(self, made: "_PageRead", row: Metric, key: Key) -> None:
        if made.is_hidden(row, key):
            made.withheld[signal(row.signal).title] = None
            if key not in self._shapes and not any(one[0] == key for one in self._meters):
                return
            # what is not shown is counted all the same: the next whole page goes on from here
            made = replace(made, out=ReadingsBuilder(), gauges={}, totals={}, rated=[], impossible={})
        if row.type == "histogram":
            self._histogram(made, row, key)
        elif row.type == "counter":
            self._counter(made, row, key)
        elif row.type == "ratio":
            self._ratio(made, row, key)
        else:
            _gauge(made, row, key)

    def _counter(self, made: "_PageRead", row: Metric, key: Key) -> None:
        found, entity = made.layout.counters[key], key[2]
        if signal(row.signal).form == "count":
            value = COMBINE[row.combine]([value_of(lines, made.step.now) for lines in found.values()])
            made.totals[row.signal, entity] = value * row.factor
            made.add(row, entity, value * row.factor)
            return
        rate, total = self._rate(made, key, "counter", row, found)
        made.totals[row.signal, entity] = total * row.factor
        if rate is not None:
            made.rated.append((row.signal, entity))
            made.add(row, entity, rate * row.factor)

    def _ratio(self, made: "_PageRead", row: Metric, key: Key) -> None:
        """Add the share of one increase in another; nothing where the other did not increase."""
        members, whole = made.layout.counters.get(key, {}), made.layout.overs.get(key)
        if whole is None or (not members and row.names != row.over):
            return
        share, _ = self._rate(made, key, "share", row, members)
        rate, _ = self._rate(made, key, "whole", row, whole)
        if share is not None and rate:
            made.add(row, key[2], share / rate * row.factor)

    def _rate(
        self, made: "_PageRead", key: Key, what: str, row: Metric, found: Mapping[Hashable, Group]
    ) -> tuple[float | None, float]:
        """Return the rate of an output and its total.

        One that is born stood at nothing as long as the pages were whole: its first event is one of all that time.
        """
        births = made.births(key)
        # A total is the sum of rises since first sight, not of values: lines that come, go or move to other labels then
        # change it by what was counted and never by what they happened to stand at.
        is_new = not self._growth.knows(key, what)
        total = self._growth.add(key, what, row, found, made.step, births)
        meter = self._meters.get((key, what))
        if meter is None:
            meter = self._meters[key, what] = RateMeter(row.window_s, GAP * self._source.interval_s)
        if is_new and births and found and made.all_born(found):
            for moment in self._known_zero(made.at, row.window_s):
                meter.observe(moment, 0.0)
        return meter.observe(made.at, total, GAP * self.pace_s).rate, total

    def _known_zero(self, at: float, window_s: float) -> Sequence[float]:
        """Return the moments at which a counter that was not there is known to have stood at nothing."""
        if self._whole_since is None:
            return ()
        return sorted({max(self._whole_since, min(at - window_s, self._read_at)), self._read_at})

    def _histogram(self, made: "_PageRead", row: Metric, key: Key) -> None:
        # Buckets are summed edge by edge over the lines of an entity. That is right only where every edge has a line of
        # each: with uneven edges a cumulative count would fall from one edge to the next.
        step, buckets, sums = made.step, made.layout.buckets[key], made.layout.sums.get(key, ())
        several = len(next(iter(buckets.values())))
        if inf not in buckets or any(len(members) != several for members in buckets.values()):
            made.uneven += 1
            return
        whole_sum = sum([step.now[series] for series in sums])
        # only a sum that is itself a whole number can be one of observations that were cut off to whole numbers
        cut = row.whole and len(sums) == several and whole_sum == int(whole_sum)
        births, edges = made.births(key), tuple([edge * row.factor for edge in (_uncut(buckets) if cut else buckets)])
        shape = self._shapes.get(key)
        if shape is None or shape.edges != edges:
            # first sight, or other edges after an upgrade: the window begins here, at zero only if all lines are new
            born = births and all(series in step.born for members in buckets.values() for series in members)
            shape = self._shapes[key] = _Shape(edges, [0.0] * len(edges), 0.0)
            for moment in self._known_zero(made.at, WINDOW_S) if born else ():
                shape.window.observe(moment, Buckets(edges, tuple(shape.counts), 0.0))
            shape.counts = [sum([step.now[series] for series in members]) for members in buckets.values()]
            shape.total = sum([step.now[series] for series in sums]) * row.factor
        else:
            for place, members in enumerate(buckets.values()):
                shape.counts[place] += sum([step.rise(series, births) for series in members])
            shape.total += sum([step.rise(series, births) for series in sums]) * row.factor
        total = shape.total if len(sums) == several else None
        if cut and total is not None:
            total += LOST_BY_CUTTING * row.factor * shape.counts[-1]
        shape.window.observe(made.at, Buckets(edges, tuple(shape.counts), total))
        made.totals[row.signal, key[2]] = shape.counts[-1]
        made.out.add(row.signal, key[2], shape.window.quantiles())


@dataclass(slots=True)
class _PageRead:
    """What is being made of one page. ``suspect`` are the rows of which a counter vanished with this page."""

    at: float
    values: Mapping[PageSeries, float]
    step: Step
    layout: _Layout
    suspect: frozenset[int]
    hidden: Collection[Key] = ()
    hidden_names: Collection[str] = ()
    gauged: dict[Key, list[PageSeries]] = field(default_factory=dict)
    out: ReadingsBuilder = field(default_factory=ReadingsBuilder)
    gauges: dict[SignalOf, float] = field(default_factory=dict)
    totals: dict[SignalOf, float] = field(default_factory=dict)
    rated: list[SignalOf] = field(default_factory=list)
    impossible: dict[str, None] = field(default_factory=dict)
    void: set[SignalOf] = field(default_factory=set)
    uneven: int = 0
    withheld: dict[str, None] = field(default_factory=dict)

    def is_hidden(self, row: Metric, key: Key) -> bool:
        """Whether a line that an output is made of was not read: of the others no sum, maximum or quantile is known."""
        return key in self.hidden or any(name in self.hidden_names for name in row.raw_names())

    def births(self, key: Key) -> bool:
        """Whether a counter that appears in a row is new, and not one that vanished under other labels."""
        return key[0] not in self.suspect

    def all_born(self, found: Mapping[Hashable, Group]) -> bool:
        """Whether all series of an output are new."""
        born = self.step.born
        return all(series in born for lines in found.values() for parts in lines for series in parts)

    def add(self, row: Metric, entity: Entity, value: float) -> float | None:
        """Add a value and return it, unless its signal rules it out."""
        possible = signal(row.signal).possible(value)
        if possible is None:
            self.impossible[row.signal] = None
        self.out.add(row.signal, entity, possible)
        return possible

    def outputs(self, table: Table) -> Iterator[tuple[Metric, Key]]:
        """Yield the outputs that have series: of each entity the first row, and of that the first of its names.

        Servers of several versions on one page, and GPUs of several kinds in one node, differ in their names.
        """
        found: dict[int, dict[int, dict[Key, None]]] = {}
        layout = self.layout
        for key in (*self.gauged, *layout.counters, *layout.overs, *layout.buckets):
            found.setdefault(key[0], {}).setdefault(key[1], {})[key] = None
        # where an entity's parts are on the page (MIG instances of a GPU), the value of the whole is theirs to give
        apart = {row.unless_parts for row in table.metric if row.unless_parts}
        wholes = {(name, key[2].without(name)) for name in apart for key in self.gauged if key[2].get(name)}
        done: dict[SignalOf, Key] = {}
        for index in sorted(found):
            row = table.metric[index]
            for key in (key for alias in sorted(found[index]) for key in found[index][alias]):
                if row.unless_parts and (row.unless_parts, key[2]) in wholes:
                    continue
                if done.setdefault((row.signal, key[2]), key) == key:
                    yield row, key


def _gauge(made: _PageRead, row: Metric, key: Key) -> None:
    members, entity, values = made.gauged[key], key[2], made.values
    if row.type == "names":
        newest = max(members, key=values.__getitem__)
        value = float(len([name for name in newest.labels.get(row.label, "").split(",") if name.strip()]))
    else:
        parts = [value_of(lines, values) for lines in groups(row, members).values()]
        if not parts:
            return
        value = COMBINE[row.combine](parts)
        if (row.least is not None and value < row.least) or (row.most is not None and value > row.most):
            made.void.add((row.signal, entity))
            return
    if (row.part_of, entity) in made.void:
        return
    possible = made.add(row, entity, value * row.factor)
    if possible is not None:
        made.gauges[row.signal, entity] = possible


def _uncut(edges: Iterable[float]) -> tuple[float, ...]:
    """Return the edges of a histogram whose observations were cut off to whole numbers, as they were before.

    What was cut off to an edge of 2 or less was below 3.
    """
    return tuple([floor(edge) + 1.0 if isfinite(edge) else edge for edge in edges])


def _notes(page: MetricsPage, made: _PageRead) -> Iterator[str]:
    if page.cut:
        yield "the page ends mid-line"
    if page.bad:
        yield f"{page.bad} {'line' if page.bad == 1 else 'lines'} of the page could not be read"
    if page.twice:
        yield f"{page.twice} duplicate series; the last was used"
    if page.left_off:
        yield f"{page.left_off} series beyond the first {MAX_SERIES} were not read"
    if made.withheld:
        yield f"not shown, some of their lines were unreadable: {', '.join(made.withheld)}"
    if made.uneven:
        yield f"{made.uneven} histograms have series with different buckets and were not read"
    if made.impossible:
        titles = ", ".join(signal(name).title for name in made.impossible)
        yield f"impossible values are not shown (below 0, or a share or flag above 1): {titles}"
