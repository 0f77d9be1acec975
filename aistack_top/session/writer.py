"""Ticks to tables: what a recorder holds in memory until the next segment, and how it becomes Parquet."""

import io
from array import array
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.finite import fits
from aistack_top.model.tick import STATS, Batch, Bound, Event, Fact, Health, Link, Quantiles, Tick
from aistack_top.session.format import entity_json, schema

if TYPE_CHECKING:
    import polars as pl

COMPRESSION_LEVEL = 3
"""zstd's own default; 9 saves 5 % on mixed series and takes twice the time (measured)."""

_MARKS = {"below": -1, "above": 1}
_CALL = attrgetter(
    *("id", "trace", "parent", "kind", "name", "start", "end", "seen", "updated"),
    *("model", "version", "prompt", "prompt_version", "input_tokens", "output_tokens", "cached_tokens"),
    *("ttft", "cost", "level", "tenant", "session", "route", "environment", "engine", "root"),
)
_HEALTH = attrgetter("source", "kind", "layer", "status", "reason")
_HEALTH_NUMBERS = attrgetter("age_s", "took_s", "interval_s", "clock_offset_s", "clock_uncertainty_s")

Row = tuple[Any, ...]
Times = tuple[float, float, float]
Encoded = dict[str, tuple[bytes, int]]


class _Known:
    """What holds now, so that a block can begin with all of it: facts, links, the health of every source."""

    def __init__(self) -> None:
        self.facts: dict[tuple[Entity, str], Fact] = {}
        self.links: dict[tuple[Entity, Entity], Link] = {}
        self.health: dict[str, tuple[float, float, Health]] = {}

    def base(self) -> list[Row]:
        encode = msgspec.json.encode
        rows: list[Row] = []
        for fact in self.facts.values():
            data = (fact.entity.as_dict(), fact.key, fact.value, fact.watched)
            rows.append(("fact", 0.0, 0.0, encode(data).decode()))
        for link in self.links.values():
            joined = (link.parent.as_dict(), link.child.as_dict(), link.proof, link.detail)
            rows.append(("link", 0.0, 0.0, encode(joined).decode()))
        for at, seen, health in self.health.values():
            rows.append(("health", at, seen, encode(health).decode()))
        return rows


class BlockWriter:
    """Takes ticks and gives the tables of the next segment of the present block.

    `begin` starts a block, `encode` gives what came since the last `written`; it can be asked again when a disk
    was full, with what came in the meantime.
    """

    def __init__(self) -> None:
        self._known = _Known()
        self._notes: dict[str, list[Row]] = {}
        self.sources: dict[str, None] = {}
        self.first: float | None = None
        self.last = 0.0
        self.block_first: float | None = None
        self.begin()

    def begin(self) -> None:
        """Start a block: ids and numbers count from 0 again, and what holds now is said anew."""
        self._ids: dict[tuple[str, Entity, str, bool], int] = {}
        self._next_id = self._batch = self._tick = 0
        self._clear()
        self._rows["base"] = self._known.base()
        self.block_first = None

    def written(self) -> None:
        """Forget what `encode` gave: it is on the disk."""
        self._clear()
        self._notes.clear()

    def add(self, tick: Tick) -> None:
        """Take a tick's batches."""
        if not tick.batches:
            return
        if self.block_first is None:
            self.block_first = tick.seen
        if self.first is None:
            self.first = tick.seen
        self.last = tick.seen
        for batch in tick.batches:
            self._add_batch(tick, batch)
        self._tick += 1

    def add_row(self, table: str, at: float, row: Row) -> None:
        """Take a mark or an incident of a time; it goes with the next segment."""
        if self.first is None:
            self.first = self.last = at
        self._notes.setdefault(table, []).append(row)

    @property
    def waiting(self) -> int:
        """Readings in memory."""
        return len(self._series)

    def encode(self) -> tuple[Encoded, Times]:
        """Return the tables as Parquet, and the times of the first and last tick and of the oldest reading."""
        import polars as pl

        frames = {}
        if self._series:
            columns: tuple[array[Any], ...] = (self._series, self._batches, self._ats, self._values, self._marks)
            raw = {name: list(column) for name, column in zip(schema("readings"), columns, strict=True)}
            raw["mark"] = [mark or None for mark in self._marks]
            raw["value"] = [value if fits(value) else None for value in self._values]
            frames["readings"] = tidy(pl.DataFrame(raw, schema=schema("readings")))
        for table, rows in (*self._rows.items(), *self._notes.items()):
            if rows:
                frames[table] = pl.DataFrame(rows, schema=schema(table), orient="row")
        first = self.last if self.first is None else self.first
        oldest = min(self._ats) / 1000 if self._ats else first
        return {name: (parquet(frame), len(frame)) for name, frame in frames.items()}, (first, self.last, oldest)

    def _clear(self) -> None:
        self._series, self._batches = array("i"), array("i")
        self._ats, self._values, self._marks = array("q"), array("d"), array("b")
        self._rows: dict[str, list[Row]] = {}
        self.first = None
        self.last = 0.0

    def _add_batch(self, tick: Tick, batch: Batch) -> None:
        number, health, known = self._batch, batch.health, self._known
        self._batch += 1
        times = (number, self._tick, tick.at, tick.seen, batch.at, batch.seen, batch.calls_until)
        self._put("batches", (*times, *_HEALTH(health), *_HEALTH_NUMBERS(health)))
        self.sources.setdefault(health.source)
        known.health[health.source] = (batch.at, batch.seen, health)
        self._add_readings(number, batch)
        for call in batch.calls:
            self._put("calls", (number, *_CALL(call)))
        for event in batch.events:
            self._put("events", (number, *_event(event)))
        for fact in batch.facts:
            if known.facts.get((fact.entity, fact.key)) != fact:
                known.facts[(fact.entity, fact.key)] = fact
                self._put("facts", (number, entity_json(fact.entity), fact.key, fact.value, fact.watched))
        for link in batch.links:
            if known.links.get((link.parent, link.child)) != link:
                known.links[(link.parent, link.child)] = link
                names = entity_json(link.parent), entity_json(link.child)
                self._put("links", (number, *names, link.proof, link.detail))

    def _add_readings(self, number: int, batch: Batch) -> None:
        at, source = milliseconds(batch.at), batch.health.source
        for signal, entity, value in batch.readings:
            if signal.startswith("calls."):
                continue
            spread = isinstance(value, Quantiles)
            series = self._ids.get((signal, entity, source, spread))
            if series is None:
                series = self._new_series(signal, entity, source, STATS if spread else ("value",))
            if isinstance(value, Quantiles):
                for place, stat in enumerate(STATS):
                    self._add_value(series + place, number, at, getattr(value, stat))
            else:
                self._add_value(series, number, at, value)

    def _add_value(self, series: int, number: int, at: int, value: float | Bound | None) -> None:
        if value is None:
            return
        mark = 0
        if isinstance(value, Bound):
            mark, value = _MARKS[value.side], value.limit
        self._series.append(series)
        self._batches.append(number)
        self._ats.append(at)
        self._values.append(value)
        self._marks.append(mark)

    def _new_series(self, signal: str, entity: Entity, source: str, stats: Sequence[str]) -> int:
        first = self._ids[(signal, entity, source, len(stats) > 1)] = self._next_id
        for place, stat in enumerate(stats):
            self._put("series", (first + place, signal, entity_json(entity), stat, source))
        self._next_id += len(stats)
        return first

    def _put(self, table: str, row: Row) -> None:
        self._rows.setdefault(table, []).append(row)


def milliseconds(at: float) -> int:
    """Return a time as whole milliseconds, never rounded up into the next second: a slot of the timeline is one."""
    return min(round(at * 1000), int(at // 1) * 1000 + 999)


def tidy(readings: "pl.DataFrame") -> "pl.DataFrame":
    """Return readings as they lie on the disk: finite numbers only, series by series in the order of arrival."""
    import polars as pl

    return readings.filter(pl.col("value").is_finite()).sort("series", "batch", maintain_order=True)


def parquet(frame: "pl.DataFrame") -> bytes:
    """Return a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=COMPRESSION_LEVEL)
    return buffer.getvalue()


def merged(tables: Mapping[str, Sequence["pl.DataFrame"]]) -> dict[str, "pl.DataFrame"]:
    """Return the tables of a block, made of those of its segments in their order."""
    import polars as pl

    whole = {table: pl.concat(frames) if len(frames) > 1 else frames[0] for table, frames in tables.items() if frames}
    if len(tables.get("readings", ())) > 1:
        whole["readings"] = tidy(whole["readings"])
    return whole


def _event(event: Event) -> Row:
    detail = msgspec.json.encode(event.detail).decode()
    about = (event.at, event.seen, event.layer, event.kind, event.severity)
    return (*about, entity_json(event.entity), event.text, event.source, detail)
