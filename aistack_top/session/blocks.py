"""A block in memory: its ticks and batches, put together again as they were taken.

What a row says is checked before it becomes a value: unknown words, broken entities and impossible times cost the
row, texts are made harmless, and readings that are no numbers are gaps.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar, get_args

import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.finite import fits
from aistack_top.model.incident import Incident
from aistack_top.model.tick import (
    STATS,
    Batch,
    Bound,
    Call,
    CallKind,
    Event,
    Fact,
    Health,
    Link,
    Mark,
    Quantiles,
    Readings,
    SeriesKey,
    Severity,
    Status,
    Value,
)
from aistack_top.session.format import MAX_TEXT, MAX_TIME, entity_of
from aistack_top.session.reader import Block, Session, Table
from aistack_top.text import incident_json as document
from aistack_top.text.sanitize import sanitize

Row = Sequence[Any]
Made = TypeVar("Made")

LOADED = ("readings", "series", "batches", "calls", "events", "facts", "links", "base", "incidents", "marks")

_AT, _SOURCE = 4, 7  # places in a row of batches

_STATUSES, _SEVERITIES, _CALL_KINDS = (frozenset(get_args(kind)) for kind in (Status, Severity, CallKind))
_STAT_NAMES = frozenset(("value", *STATS))


@dataclass(frozen=True, slots=True)
class TickRow:
    """A tick of a block: its times, and the range of its batches in `BlockData.batches`."""

    number: int
    at: float
    seen: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class BlockSeries:
    """Whose readings a series id stands for in its block."""

    key: SeriesKey
    source: str


class BlockData:
    """The ticks of a block, and its batches, each made when asked for: most are looked at by their columns only.

    A batch is known by its place: the batches that hold water, counted from 0 in the order of their arrival.
    """

    def __init__(self, block: Block, tables: dict[str, Table]) -> None:
        self.block = block
        frame = _sound(tables["batches"]) if "batches" in tables else None
        self._rows: list[tuple[Any, ...]] = frame.rows() if frame is not None else []
        self.ticks = _ticks(self._rows)
        self._extras: dict[str, dict[int, list[Any]]] = {
            "calls": _grouped(tables.get("calls"), _call),
            "events": _grouped(tables.get("events"), _event),
            "facts": _grouped(tables.get("facts"), _fact),
            "links": _grouped(tables.get("links"), _link),
        }
        self._told = frozenset(number for rows in self._extras.values() for number in rows)
        self.kinds = {_text(row[_SOURCE]): _text(row[_SOURCE + 1]) for row in self._rows}
        self.series = _series(tables.get("series"))
        self.readings: Table | None = tables.get("readings")
        self.base = _base(tables.get("base"))
        self.incidents = incidents_of(tables.get("incidents"))
        self.marks = _marks(tables.get("marks"))
        self._offsets: dict[int, tuple[int, int]] | None = None
        self._by_batch: Table | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def number(self, place: int) -> int:
        """Return the number that the tables know a batch by."""
        return int(self._rows[place][0])

    def at(self, place: int) -> float:
        """Return the time of a batch, by its own clock."""
        return float(self._rows[place][_AT])

    def glance(self, place: int) -> tuple[str, tuple[str, str], bool, bool]:
        """Return source, status and reason of a batch, whether it asked for calls, and whether it says more."""
        row = self._rows[place]
        asked = row[_SOURCE - 1] is not None
        return row[_SOURCE] or "", (row[_SOURCE + 3], row[_SOURCE + 4] or ""), asked, row[0] in self._told

    def batch(self, place: int) -> Batch:
        """Return a batch without its readings."""
        number, _, _, _, at, seen, until, *health = self._rows[place]
        found: dict[str, Any] = {}
        if number in self._told:
            found = {name: tuple(rows[number]) for name, rows in self._extras.items() if number in rows}
        return Batch(at, seen, _health(health), calls_until=until, **found)

    def incidents_between(self, first: int, last: int) -> tuple[Incident, ...]:
        """Return the versions of incidents that came with ticks, given by the first and last index in `ticks`."""
        since = self.ticks[first - 1].seen if first else 0.0
        until = self.ticks[last].seen if last + 1 < len(self.ticks) else MAX_TIME
        return tuple(incident for incident in self.incidents if since < incident.revised <= until)

    def marked(self, first: int, last: int) -> tuple[Mark, ...]:
        """Return the marks that were set between ticks, given as in `told`."""
        since = self.ticks[first - 1].seen if first else 0.0
        until = self.ticks[last].seen if last + 1 < len(self.ticks) else MAX_TIME
        return tuple(mark for mark in self.marks if since < mark.seen <= until)

    def notable_batches(self) -> list[Batch]:
        """Return the batches that say more than readings and health, without their readings."""
        return [self.batch(place) for place, row in enumerate(self._rows) if row[0] in self._told]

    def prepare(self) -> None:
        """Lay the readings out batch by batch, for `whole`; some 50 ms for 300,000 readings."""
        if self._offsets is not None:
            return
        offsets: dict[int, tuple[int, int]] = {}
        if self.readings is not None:
            self._by_batch = self.readings.sort("batch", maintain_order=True)
            place = 0
            for length, number in self._by_batch["batch"].rle().struct.unnest().iter_rows():
                offsets[number] = (place, length)
                place += length
        self._offsets = offsets

    def whole(self, tick: TickRow) -> tuple[Batch, ...]:
        """Return the batches of a tick with their readings."""
        self.prepare()
        places = range(tick.low, tick.high)
        return tuple(replace(self.batch(place), readings=self._readings_of(self.number(place))) for place in places)

    def _readings_of(self, number: int) -> Readings:
        place, length = self._offsets.get(number, (0, 0)) if self._offsets else (0, 0)
        if self._by_batch is None or not length:
            return Readings()
        rows = self._by_batch.slice(place, length).select("series", "value", "mark").iter_rows()
        return readings_of(rows, self.series)


@dataclass(frozen=True, slots=True)
class BlockBase:
    """What held when a block began: facts, links, and each source's last health with its times."""

    facts: tuple[Fact, ...] = ()
    links: tuple[Link, ...] = ()
    health: tuple[tuple[float, float, Health], ...] = ()

    def batches(self) -> tuple[Batch, ...]:
        """Return it as batches, the first of which carries the facts and links."""
        bare = [Batch(at, seen, health) for at, seen, health in self.health]
        if bare and (self.facts or self.links):
            bare[0] = replace(bare[0], facts=self.facts, links=self.links)
        return tuple(bare)


def load(session: Session, block: Block, wanted: Iterable[str] = LOADED) -> BlockData:
    """Read a block.

    Raises:
        FileNotFoundError: it was compacted or removed meanwhile; refresh the session and try again.

    """
    return BlockData(block, session.tables(block, wanted))


def incidents_of(frame: Table | None) -> list[Incident]:
    """Return the versions of incidents of a table, by the time they were made; rows that are none are left out."""
    rows = frame.select("at", "data").iter_rows() if frame is not None else ()
    found = [_made(_incident, row) for row in rows if None not in row]
    return sorted((one for one in found if one is not None), key=lambda one: one.revised)


def marks_of(session: Session, block: Block) -> list[Mark]:
    """Return the marks of a block by the time they were set."""
    return _marks(session.tables(block, ("marks",)).get("marks")) if block.rows("marks") else []


def recorded_marks(session: Session) -> list[Mark]:
    """Return every mark that was recorded, by the moments they are about."""
    return sorted((mark for block in session.blocks for mark in marks_of(session, block)), key=lambda mark: mark.at)


def recorded_incidents(session: Session) -> tuple[Incident, ...]:
    """Return the newest version of every incident that was recorded, by their onset."""
    newest: dict[str, Incident] = {}
    for block in session.blocks:
        if block.rows("incidents"):
            for incident in incidents_of(session.tables(block, ("incidents",)).get("incidents")):
                newest[incident.id] = incident
    return tuple(sorted(newest.values(), key=lambda incident: incident.onset))


def readings_of(rows: Iterable[tuple[int, float | None, int | None]], series: dict[int, BlockSeries]) -> Readings:
    """Return readings made of rows of (series id, value, mark); the parts of a distribution follow each other."""
    signals: list[str] = []
    entities: list[Entity] = []
    values: list[Value] = []
    whose: tuple[str, Entity] | None = None
    parts: dict[str, float | Bound] = {}
    for number, value, mark in rows:
        known = series.get(number)
        if known is None or value is None or not fits(value):
            continue
        signal, entity, stat = known.key
        if whose is not None and (whose != (signal, entity) or stat == "value" or stat in parts):
            _close(whose, parts, signals, entities, values)
            whose = None
        if stat == "value":
            signals.append(signal)
            entities.append(entity)
            values.append(value)
        else:
            whose = (signal, entity)
            parts[stat] = Bound("below" if mark < 0 else "above", value) if mark else value
    if whose is not None:
        _close(whose, parts, signals, entities, values)
    return Readings(tuple(signals), tuple(entities), tuple(values))


def _close(
    whose: tuple[str, Entity],
    parts: dict[str, float | Bound],
    signals: list[str],
    entities: list[Entity],
    values: list[Value],
) -> None:
    count, window, mean = parts.get("count"), parts.get("window_s"), parts.get("mean")
    if isinstance(count, float) and isinstance(window, float) and not isinstance(mean, Bound):
        signals.append(whose[0])
        entities.append(whose[1])
        values.append(Quantiles(parts.get("p50"), parts.get("p95"), parts.get("p99"), mean, count, window))
    parts.clear()


def _sound(frame: Table) -> Table:
    """Return the rows of batches that a recorder can have written, by their number, once each."""
    import polars as pl

    if not frame["batch"].is_sorted():
        frame = frame.sort("batch", maintain_order=True)
    # Polars holds NaN for greater than all numbers, and drops what compares as null
    times = [pl.col(name).is_between(0, MAX_TIME, "left") for name in ("tick_at", "tick_seen", "at", "seen")]
    until = pl.col("calls_until").is_null() | pl.col("calls_until").is_between(0, MAX_TIME, "left")
    first = pl.col("batch").is_first_distinct()
    status = pl.col("status").is_in(list(_STATUSES))
    return frame.filter(first, status, until, *times, pl.col("batch").is_not_null(), pl.col("tick").is_not_null())


def _ticks(rows: Sequence[tuple[Any, ...]]) -> list[TickRow]:
    starts = [place for place, row in enumerate(rows) if place == 0 or row[1] != rows[place - 1][1]]
    ends = [*starts[1:], len(rows)]
    return [
        TickRow(rows[low][1], rows[low][2], rows[low][3], low, high)
        for low, high in zip(starts, ends, strict=bool(starts))
    ]


def _times(*times: float | None) -> bool:
    # written so that NaN, infinities and None all fail, and fast: it is asked for every batch
    return all(time is not None and 0 <= time < MAX_TIME for time in times)


def _grouped(frame: Table | None, make: Callable[[Row], Made | None]) -> dict[int, list[Made]]:
    groups: dict[int, list[Made]] = {}
    for number, *row in frame.iter_rows() if frame is not None else ():
        made = _made(make, row)
        if made is not None and number is not None:
            groups.setdefault(number, []).append(made)
    return groups


def _made(make: Callable[[Row], Made | None], row: Row) -> Made | None:
    """Return what a function makes of a row, or None for a row that no recorder wrote."""
    try:
        return make(row)
    except (ValueError, TypeError, RecursionError):  # msgspec's errors are ValueErrors
        return None


@lru_cache(maxsize=4_096)
def _text(value: object) -> str:
    return sanitize(value, MAX_TEXT) if isinstance(value, str) else ""


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _health(row: Row) -> Health:
    source, kind, layer, status, reason, age, took, interval, offset, uncertainty = row
    numbers = _number(age), _number(took) or 0.0, _number(interval) or 1.0, _number(offset), _number(uncertainty)
    return Health(_text(source), _text(kind), _text(layer), status, _text(reason), *numbers)


def _call(row: Row) -> Call | None:
    texts, times, more, rest = row[:5], row[5:9], row[9:13], row[13:]
    tokens, (ttft, cost), names, root = rest[:3], rest[3:5], rest[5:11], rest[11]
    if not _times(*times) or texts[3] not in _CALL_KINDS:
        return None
    kept = (_text(texts[0]), _text(texts[1]), _text(texts[2]), texts[3], _text(texts[4]))
    described = tuple(_text(text) for text in more)
    numbers = (*tokens, _number(ttft), _number(cost))
    return Call(*(*kept, *times, *described, *numbers, *map(_text, names), bool(root)))


def _event(row: Row) -> Event | None:
    at, seen, layer, kind, severity, entity, text, source, detail = row
    if not _times(at, seen) or severity not in _SEVERITIES:
        return None
    pairs = tuple((_text(k), _text(v)) for k, v in msgspec.json.decode(detail, type=tuple[tuple[str, str], ...]))
    about = entity_of(entity)
    return Event(at, seen, _text(layer), _text(kind), severity, about, _text(text), _text(source), pairs)


def _marks(frame: Table | None) -> list[Mark]:
    rows = frame.select("at", "seen", "text", "author", "kind", "about").iter_rows() if frame is not None else ()
    found = [
        Mark(at, seen, *(sanitize(text or "", MAX_TEXT) for text in texts))
        for at, seen, *texts in rows
        if _times(at, seen)
    ]
    return sorted(found, key=lambda mark: mark.seen)


def _incident(row: Row) -> Incident | None:
    at, data = row
    # the text has milliseconds; the column has the very time of the tick it came with
    return replace(document.decode(data), revised=at) if _times(at) else None


def _fact(row: Row) -> Fact:
    entity, key, value, watched = row
    return Fact(entity_of(entity), _text(key), _text(value), bool(watched))


def _link(row: Row) -> Link:
    parent, child, proof, detail = row
    return Link(entity_of(parent), entity_of(child), _text(proof), _text(detail))


def _series(frame: Table | None) -> dict[int, BlockSeries]:
    found: dict[int, BlockSeries] = {}
    for number, *row in frame.iter_rows() if frame is not None else ():
        series = _one_series(*row)
        if number is not None and series is not None:
            found.setdefault(number, series)
    return found


@lru_cache(maxsize=65_536)
def _one_series(signal: str | None, entity: str, stat: str, source: str) -> BlockSeries | None:
    # the same series stands in every block of a session: put together once, equal keys are one object
    about = _made(lambda row: entity_of(row[0]), (entity,))
    if not signal or about is None or stat not in _STAT_NAMES:
        return None
    return BlockSeries((_text(signal), about, stat), _text(source))


def _base(frame: Table | None) -> BlockBase:
    found = [_made(_base_row, row) for row in (frame.iter_rows() if frame is not None else ())]
    facts = tuple(thing for thing in found if isinstance(thing, Fact))
    links = tuple(thing for thing in found if isinstance(thing, Link))
    return BlockBase(facts, links, tuple(thing for thing in found if isinstance(thing, tuple)))


def _base_row(row: Row) -> Fact | Link | tuple[float, float, Health] | None:
    what, at, seen, data = row
    decode, encode = msgspec.json.decode, msgspec.json.encode
    if what == "fact":
        about, key, value, watched = decode(data, type=tuple[dict[str, str], str, str, bool])
        return _fact((encode(about).decode(), key, value, watched))
    if what == "link":
        parent, child, proof, detail = decode(data, type=tuple[dict[str, str], dict[str, str], str, str])
        return _link((encode(parent).decode(), encode(child).decode(), proof, detail))
    if what == "health" and _times(at, seen):
        record = decode(data, type=Health)
        return at, seen, replace(record, reason=_text(record.reason), source=_text(record.source))
    return None
