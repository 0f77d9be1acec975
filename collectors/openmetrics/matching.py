"""Which series of a page is what, and of whom: a table applied to labels, once a series."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Literal

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signal
from aistack_top.model.tick import Fact
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.parser import MAX_SERIES, MetricsPage, PageSeries
from collectors.openmetrics.table import FactRow, Metric, Names, Table, naming

ENTITY_LIMIT = 120
"""Characters kept of a label that names something."""

MAX_INSTANCES = 3
"""Servers named in a sentence about a page that holds several."""

INSTANCE = "instance"
"""The label by which a federated or pushed page tells its servers apart."""

NO_VALUE = frozenset({"", "None"})
"""What stands in a label that has no value; ``None`` is how servers in Python write it."""

MAX_TITLES = 3
"""Signals named in a sentence about series that lack a label."""

Part = Literal["gauge", "counter", "over", "bucket", "count", "sum"]

Key = tuple[int, int, Entity]
"""An output series: row of the table, which of the row's names, whom it is about."""

_Filter = tuple[tuple[str, re.Pattern[str]], ...]


@dataclass(frozen=True, slots=True)
class SeriesTarget:
    """Where a series goes. ``edge`` is the upper edge of a bucket."""

    key: Key
    part: Part
    edge: float = inf


@dataclass(frozen=True, slots=True)
class _Lack:
    """A label that a series would need for a signal; ``shown`` says that it is shown without."""

    label: str
    signal: str
    shown: bool


@dataclass(frozen=True, slots=True)
class _Use:
    row: int
    alias: int
    part: Part
    names: Names
    where: _Filter


class SeriesMatcher:
    """The places of all series of one source.

    ``about`` is the source itself as an entity: its engine where the table knows engines, else the source.
    ``gauges`` and ``cumulative`` hold the places of the series that go into gauges, and into counters and
    histograms.
    """

    def __init__(self, table: Table, source_name: str) -> None:
        self.table = table
        self._source = source_name
        ranked = [key for key, given in table.entity.items() if naming(given).rank]
        self.about = Entity.of(**{ranked[0] if ranked else "source": source_name})
        self._rank_labels = [label for key in ranked for label in naming(table.entity[key]).rank]
        self._uses = _uses(table)
        self._facts_of = {name: row for row in table.fact for name in row.names}
        self._ranks: set[str] = set()
        self._names_ranks = False
        self._instance_of: dict[PageSeries, str] = {}
        self._instances: frozenset[str] = frozenset()
        self._apart = False
        self._known: dict[PageSeries, bool] = {}
        self._lacking: dict[PageSeries, set[_Lack]] = {}
        self.gauges: dict[PageSeries, tuple[SeriesTarget, ...]] = {}
        self.cumulative: dict[PageSeries, tuple[SeriesTarget, ...]] = {}

    def match(self, values: Iterable[PageSeries]) -> bool:
        """Place the series that are new; return whether there were any, so that what was built of them is old."""
        new = [series for series in values if series not in self._known]
        for series in new:
            if series.name in self._uses and (instance := series.labels.get(INSTANCE, "")):
                self._instance_of[series] = instance
        came_apart = self._look_for_instances(values) if self._instance_of else False
        if not new and not came_apart:
            return False
        if len(self._known) > 2 * MAX_SERIES:
            self.forget()
            new = list(values)
        ranks = {rank for series in new if (rank := _first(series, self._rank_labels))}
        if ranks - self._ranks or came_apart:
            self._ranks |= ranks
            self._names_ranks = bool(self._ranks - {"0"})
            new = [*self._known, *new]
        for series in new:
            places = tuple(self._places(series))
            self._known[series] = bool(places)
            if any(place.part == "gauge" for place in places):
                self.gauges[series] = tuple(place for place in places if place.part == "gauge")
            if any(place.part != "gauge" for place in places):
                self.cumulative[series] = tuple(place for place in places if place.part != "gauge")
        return True

    def _look_for_instances(self, values: Iterable[PageSeries]) -> bool:
        """Look which servers a page holds; return whether it is the first that holds several at once.

        From then on they are told apart, so that none is renamed when another leaves. One that has taken the place of
        another is the same under another address.
        """
        self._instances = frozenset(one for series in values if (one := self._instance_of.get(series)))
        came_apart = len(self._instances) > 1 and not self._apart
        self._apart = self._apart or came_apart
        return came_apart

    def keys_of(self, unread: Iterable[PageSeries]) -> set[Key]:
        """Return the output series that some series are a part of."""
        return {place.key for series in unread for place in self._places(series)}

    def forget(self) -> None:
        """Forget all series."""
        for known in (self._known, self.gauges, self.cumulative, self._lacking, self._instance_of):
            known.clear()

    def is_read(self, series: PageSeries) -> bool:
        """Whether a series is of a server that is read here: a federated page may hold those of any others."""
        instance = series.labels.get(INSTANCE, "")
        return not instance or not self._instances or instance in self._instances

    def merged(self) -> Iterator[str]:
        """Yield a sentence about a page that holds several servers which the table cannot tell apart."""
        if len(self._instances) < 2 or not any(naming(given).own for given in self.table.entity.values()):
            return
        names = [sanitize(one, 60) for one in sorted(self._instances)]
        more = f" and {len(names) - MAX_INSTANCES} more" if len(names) > MAX_INSTANCES else ""
        told = ", ".join(names[:MAX_INSTANCES]) + more
        yield f"several servers on this page ({told}) are told as one: name the address of each"

    def left_out(self, values: Container[PageSeries]) -> Iterator[str]:
        """Yield a sentence for each label that series of a page lack, so that they are not shown or not told apart."""
        lacks: dict[tuple[str, bool], dict[PageSeries, None]] = {}
        titles: dict[tuple[str, bool], dict[str, None]] = {}
        for series, lacking in self._lacking.items():
            if series not in values:
                continue
            for lack in sorted(lacking, key=lambda one: (one.label, one.signal)):
                lacks.setdefault((lack.label, lack.shown), {})[series] = None
                titles.setdefault((lack.label, lack.shown), {})[signal(lack.signal).title] = None
        for (label, shown), found in lacks.items():
            names = list(titles[label, shown])
            more = f" and {len(names) - MAX_TITLES} more" if len(names) > MAX_TITLES else ""
            told = ", ".join(names[:MAX_TITLES]) + more
            how = "shown without it" if shown else "not shown"
            yield f"{len(found)} series {'have' if len(found) > 1 else 'has'} no label {label}, {how}: {told}"

    def facts(self, page: MetricsPage) -> tuple[Fact, ...]:
        """Return what the page says that holds until it changes, and which signals are read by an old name."""
        names = {series.name for series in page.values}
        chosen = {next((name for name in row.names if name in names), "") for row in self.table.fact}
        found: dict[Fact, None] = {}
        for series, value in page.values.items():
            if series.name in chosen:
                entity, _ = self._entity(self.table.entity, series)
                if entity is not None:
                    told = self._facts_of[series.name]
                    left = told.summed if len(self._ranks) > 1 else ()
                    said = _facts(told, entity, series, value)
                    found.update(dict.fromkeys(fact for fact in said if fact.key not in left))
        for row in self.table.metric:
            present = next((name for name in row.names if _stands(row, name) in names), row.names[0])
            if present != row.names[0] and not row.join:
                found[Fact(self.about, f"alias_{row.signal}", present, watched=False)] = None
        return tuple(found)

    def missing(self, page: MetricsPage, version: str = "") -> str:
        """Return a sentence about the expected metrics that the page does not have, or nothing.

        A metric that is declared but has no series yet (an engine before its first request) is not missing.
        """
        names = {series.name for series in page.values}
        told = {}
        for row in self.table.metric:
            if not row.expected or any(_stands(row, name) in names or page.declares(name) for name in row.names):
                continue
            told[signal(row.signal).title] = f" (from {row.since})" if row.since else ""
        if not told:
            return ""
        what = f"this {self.table.title} ({version})" if version else f"this {self.table.title}"
        return sanitize(f"{what} does not expose {', '.join(title + since for title, since in told.items())}", 300)

    def _places(self, series: PageSeries) -> Iterable[SeriesTarget]:
        for use in self._uses.get(series.name, ()):
            if not all(pattern.fullmatch(series.labels.get(label, "")) for label, pattern in use.where):
                continue
            entity, lacking = self._entity(use.names, series)
            if lacking:
                lack = _Lack(lacking, self.table.metric[use.row].signal, entity is not None)
                self._lacking.setdefault(series, set()).add(lack)
            edge = _edge(series.labels.get("le", "")) if use.part == "bucket" else inf
            if entity is not None and edge is not None:
                yield SeriesTarget((use.row, use.alias, entity), use.part, edge)

    def _entity(self, names: Names, series: PageSeries) -> tuple[Entity | None, str]:
        """Return whom a series is about, and which label it lacks; None where that one has to name it."""
        keys, lacking = {}, ""
        for key, given in names.items():
            way = naming(given)
            value = way.constant or (self._source if way.own else _first(series, way.labels or way.rank))
            if way.rank:
                instance = series.labels.get(INSTANCE, "") if self._apart else ""
                rank = value if self._names_ranks else ""
                value = "/".join(part for part in (self._source, instance, rank) if part)
            value = sanitize(value, ENTITY_LIMIT)
            if value:
                keys[key] = value
            elif not way.optional:
                lacking = " or ".join(way.labels)
                if not way.coarse:
                    return None, lacking
        return Entity.of(**keys), lacking


def _uses(table: Table) -> dict[str, list[_Use]]:
    uses: dict[str, list[_Use]] = {}
    for index, row in enumerate(table.metric):
        names = {**table.entity, **row.entity}
        where = _filter(row.where)
        for place, name in enumerate(row.names):
            alias = 0 if row.join else place
            if row.type == "histogram":
                uses.setdefault(name + "_bucket", []).append(_Use(index, alias, "bucket", names, where))
                uses.setdefault(name + "_count", []).append(_Use(index, alias, "count", names, where))
                uses.setdefault(name + "_sum", []).append(_Use(index, alias, "sum", names, where))
            else:
                part: Part = "gauge" if row.type in ("gauge", "names") else "counter"
                uses.setdefault(name, []).append(_Use(index, alias, part, names, where))
        for alias, name in enumerate(row.over):
            uses.setdefault(name, []).append(_Use(index, alias, "over", names, _filter(row.over_where)))
    return uses


def _filter(where: Mapping[str, str]) -> _Filter:
    return tuple((label, re.compile(pattern)) for label, pattern in where.items())


def _first(series: PageSeries, labels: Iterable[str]) -> str:
    return next((text for label in labels if (text := series.labels.get(label, "")) not in NO_VALUE), "")


def _edge(text: str) -> float | None:
    try:
        edge = float(text)
    except ValueError:
        return None
    return edge if edge == edge else None


def _stands(row: Metric, name: str) -> str:
    return name + "_bucket" if row.type == "histogram" else name


def _facts(row: FactRow, entity: Entity, series: PageSeries, value: float) -> Iterable[Fact]:
    for key, label in row.labels.items():
        text = sanitize(series.labels.get(label, ""), ENTITY_LIMIT)
        if text not in NO_VALUE:
            yield Fact(entity, key, text, row.watched)
    if row.time:
        try:
            told = datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        except (OverflowError, OSError, ValueError):
            return
        yield Fact(entity, row.time, told, row.watched)
