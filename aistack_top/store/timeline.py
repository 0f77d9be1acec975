"""The last hour of every series on one shared axis, in bounded memory.

Each series is a ring of float32 samples on a grid of one step (1 s by default): 14 kB an hour. A slot nobody
wrote is NaN, and stays a gap: nothing is carried into it and nothing is interpolated. What a reader sees at a
moment is the newest sample at or before it, with its own time, so that it can say how old the number is.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Literal

from aistack_top.model.entity import Entity
from aistack_top.model.finite import fits
from aistack_top.model.tick import STATS, Bound, History, Quantiles, Readings, SeriesKey, Value

Fold = Literal["max", "min", "mean", "last"]

FILLS_S = 30.0
"""A history that only fills gaps fills those where nothing stands for so long before and after."""

_BELOW, _ABOVE = -1, 1
_MARKS = {"below": _BELOW, "above": _ABOVE}
_SIDES: Mapping[int, Literal["below", "above"]] = {_BELOW: "below", _ABOVE: "above"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value and the time it belongs to, in seconds since the epoch."""

    at: float
    value: float | Bound

    @property
    def number(self) -> float:
        """The value, or the limit of a bound, for comparing and drawing."""
        return self.value.limit if isinstance(self.value, Bound) else self.value


class _Series:
    """A ring of samples; slot ``n`` of the grid stands at ``n % capacity``, valid in (last - capacity, last]."""

    __slots__ = ("capacity", "dirty", "first", "folded", "last", "marks", "values")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.values = array("f", [nan]) * capacity
        self.marks: array[int] | None = None
        self.first = self.last = -1
        self.folded: dict[tuple[int, Fold], dict[int, float]] = {}
        self.dirty = False

    def write(self, slot: int, value: float, mark: int) -> None:
        if not fits(value):
            return
        if self.last < 0:
            self.first = self.last = slot
        elif slot > self.last:
            self._blank(self.last + 1, slot)
            self.last = slot
        elif slot <= self.last - self.capacity:
            return
        else:
            self.first = min(self.first, slot)
            self._forget_folds(slot)
        position = slot % self.capacity
        self.values[position] = value
        if mark or self.marks is not None:
            self._set_mark(position, mark)

    def backfill(self, slot: int, values: "array[float]", marks: "array[int] | None") -> None:
        """Write a run of slots at once; NaN in it leaves what stood there."""
        if len(values) > self.capacity:
            cut = len(values) - self.capacity
            slot, values, marks = slot + cut, values[cut:], marks[cut:] if marks else None
        position, end = slot % self.capacity, slot + len(values) - 1
        if self.last < 0 and position + len(values) <= self.capacity:
            self.values[position : position + len(values)] = values
            self.first, self.last = slot, end
            if marks is not None:
                for offset, mark in enumerate(marks):
                    if mark:
                        self._set_mark(position + offset, mark)
            return
        for offset, value in enumerate(values):
            if value == value:
                self.write(slot + offset, value, marks[offset] if marks else 0)

    def read(self, slot: int) -> float:
        if self.first <= slot <= self.last and slot > self.last - self.capacity:
            return self.values[slot % self.capacity]
        return nan

    def is_quiet(self, slot: int, near: int) -> bool:
        """Whether nothing stands within so many slots."""
        return all(value != value for value in self.slots(slot - near, slot + near + 1))

    def mark(self, slot: int) -> int:
        return self.marks[slot % self.capacity] if self.marks is not None else 0

    def slots(self, start: int, end: int) -> "array[float]":
        """Return the samples of the slots start..end-1, NaN where there are none."""
        low = max(start, self.first, self.last - self.capacity + 1)
        high = min(end, self.last + 1)
        if self.last < 0 or low >= high:
            return array("f", [nan]) * max(end - start, 0)
        at, to = low % self.capacity, (high - 1) % self.capacity + 1
        inside = self.values[at:to] if at < to else self.values[at:] + self.values[:to]
        gap = array("f", [nan])
        return gap * (low - start) + inside + gap * (end - high)

    def _blank(self, start: int, end: int) -> None:
        if end - start >= self.capacity:
            self.values = array("f", [nan]) * self.capacity
            return
        for slot in range(start, end):
            self.values[slot % self.capacity] = nan

    def _set_mark(self, position: int, mark: int) -> None:
        if self.marks is None:
            self.marks = array("b", [0]) * self.capacity
        self.marks[position] = mark

    def _forget_folds(self, slot: int) -> None:
        for (width, _), columns in self.folded.items():
            columns.pop(slot // width, None)


MAX_SERIES = 5_000
"""Some 72 MB at an hour of seconds; a node of 8 GPUs and 8 engines has about 800."""


class Timeline:
    """Every series of the last ``span_s`` seconds on a grid of ``step_s``.

    ``refused`` counts the readings of series beyond the first ``most``: a server that invents labels must not cost
    the node its memory.
    """

    def __init__(self, span_s: float = 3600.0, step_s: float = 1.0, most: int = MAX_SERIES) -> None:
        self.step_s = step_s
        self.most = most
        self.refused = 0
        self.capacity = int(span_s / step_s)
        self._series: dict[SeriesKey, _Series] = {}
        self._entities: dict[str, dict[Entity, None]] = {}
        self._spare = _Series(1)

    def add(self, at: float, readings: Readings) -> None:
        """Lay the readings of one run into the slot of their time."""
        slot = self.slot(at)
        for signal, entity, value in readings:
            self.put(slot, signal, entity, value)

    def put(self, slot: int, signal: str, entity: Entity, value: Value) -> None:
        """Lay one reading into a slot."""
        if isinstance(value, Quantiles):
            for stat in STATS:
                part = getattr(value, stat)
                if isinstance(part, Bound):
                    self._of((signal, entity, stat)).write(slot, part.limit, _MARKS[part.side])
                elif part is not None:
                    self._of((signal, entity, stat)).write(slot, part, 0)
        else:
            self._of((signal, entity, "value")).write(slot, value, 0)

    def backfill(self, history: History) -> None:
        """Lay bulk columns in; their step must be a multiple of this timeline's."""
        start = self.slot(history.start)
        stride = max(round(history.step / self.step_s), 1)
        for key, column in history.columns.items():
            marks = history.marks.get(key)
            series = self._of(key)
            column = without_infinities(column)
            if stride == 1 and not history.fills:
                series.backfill(start, column, marks)
                continue
            present = [index for index, value in enumerate(column) if value == value]
            if history.fills and series.last >= 0:
                near = round(FILLS_S / self.step_s)
                present = [index for index in present if series.is_quiet(start + index * stride, near)]
            for index in present:
                series.write(start + index * stride, column[index], marks[index] if marks else 0)

    def copy_from(self, other: "Timeline", key: SeriesKey, start: float, end: float) -> None:
        """Copy the samples of a series from start to end (seconds, end excluded) of a timeline of the same step."""
        series, low, high = other._series.get(key), self.slot(start), self.slot(end)
        if series is not None and high > low:
            marks = None if series.marks is None else array("b", map(series.mark, range(low, high)))
            self._of(key).backfill(low, series.slots(low, high), marks)

    def slot(self, at: float) -> int:
        """Return the number of the grid's slot that holds a time."""
        return int(at // self.step_s)

    def clear(self) -> None:
        """Forget everything."""
        self._series.clear()
        self._entities.clear()
        self.refused = 0

    def keys(self) -> Iterable[SeriesKey]:
        """Return the keys of all series."""
        return self._series.keys()

    def entities(self, signal: str, within: Entity | None = None) -> list[Entity]:
        """Return whom a signal is about, in the order of their first appearance."""
        known = self._entities.get(signal, {})
        return [entity for entity in known if within is None or within.covers(entity)]

    def sample(self, key: SeriesKey, at: float, lookback_s: float) -> Sample | None:
        """Return the newest sample at or before a time and no older than ``lookback_s``; None if there is none."""
        series = self._series.get(key)
        if series is None:
            return None
        newest = self.slot(at)
        oldest = max(self.slot(at - lookback_s), series.first)
        for slot in range(min(newest, series.last), oldest - 1, -1):
            value = series.read(slot)
            if not isnan(value):
                mark = series.mark(slot)
                moment = slot * self.step_s
                return Sample(moment, Bound(_SIDES[mark], value) if mark else value)
        return None

    def window(self, key: SeriesKey, start: float, end: float) -> "array[float]":
        """Return the samples of the slots from start to end (seconds, end excluded); NaN is a gap."""
        low, high = self.slot(start), self.slot(end)
        series = self._series.get(key)
        return series.slots(low, high) if series else array("f", [nan]) * max(high - low, 0)

    def bounds(self, key: SeriesKey, low: int, high: int) -> dict[int, Bound]:
        """Return the samples that are bounds and no values, by their slots from low to high (excluded)."""
        series = self._series.get(key)
        if series is None or series.marks is None:
            return {}
        marked = ((slot, series.mark(slot), series.read(slot)) for slot in range(low, high))
        return {slot: Bound(_SIDES[mark], value) for slot, mark, value in marked if mark}

    def columns(self, key: SeriesKey, last: int, count: int, width: int, fold: Fold = "max") -> list[float]:
        """Return ``count`` columns of ``width`` slots each, folded, ending with column number ``last``.

        Columns stand at multiples of their width, so that one that is past never changes by the passing of time;
        past ones are folded once and remembered.
        """
        series = self._series.get(key)
        if series is None:
            return [nan] * count
        known = series.folded.setdefault((width, fold), {})
        oldest = last - count + 1
        if len(known) > 4 * count + 64:
            for column in [column for column in known if column < oldest]:
                del known[column]
        out = []
        for column in range(oldest, last + 1):
            value = known.get(column)
            if value is None:
                value = _fold(series.slots(column * width, (column + 1) * width), fold)
                if (column + 1) * width <= series.last:
                    known[column] = value
            out.append(value)
        return out

    def __contains__(self, key: SeriesKey) -> bool:
        return key in self._series

    def __iter__(self) -> Iterator[SeriesKey]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def _of(self, key: SeriesKey) -> _Series:
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self.most and not self._drop_forgotten():
                self.refused += 1
                return self._spare
            series = self._series[key] = _Series(self.capacity)
            self._entities.setdefault(key[0], {})[key[1]] = None
        return series

    def _drop_forgotten(self) -> bool:
        """Drop the series of which nothing is left in the span (ended processes, finished tenants)."""
        newest = max(series.last for series in self._series.values())
        gone = [key for key, series in self._series.items() if series.last <= newest - self.capacity]
        for key in gone:
            del self._series[key]
        for signal, entity in {(signal, entity) for signal, entity, _ in gone}:
            if not any((signal, entity, stat) in self._series for stat in ("value", *STATS)):
                self._entities[signal].pop(entity, None)
        return bool(gone)


_INFINITE = (array("f", [inf]).tobytes(), array("f", [-inf]).tobytes())


def without_infinities(column: "array[float]") -> "array[float]":
    """Return a column with NaN for what is infinite; the same object where nothing is.

    The bytes are searched first: looking at 3,600 numbers one by one takes a hundred times as long.
    """
    data = column.tobytes()
    if not any(pattern in data for pattern in _INFINITE):
        return column
    return array("f", [value if fits(value) else nan for value in column])


def _fold(values: "array[float]", fold: Fold) -> float:
    present = [value for value in values if value == value]
    if not present:
        return nan
    if fold == "max":
        return max(present)
    if fold == "min":
        return min(present)
    if fold == "last":
        return present[-1]
    return sum(present) / len(present)
