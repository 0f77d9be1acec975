"""What is looked at: a moment, and the stretch of time around it that all panels share."""

from dataclasses import dataclass
from math import ceil, isnan, nan

from aistack_top.model.entity import Entity
from aistack_top.model.tick import SeriesKey
from aistack_top.state import State
from aistack_top.store.frame import Frame
from aistack_top.store.timeline import Fold

SPANS_S = (60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0)
"""Lengths of the time axis; the timeline holds no more than the last."""

HELD_S = 5.0
"""So long a number is taken to be as it was told last: engines are asked every few seconds."""


@dataclass(frozen=True, slots=True)
class View:
    """A frame, and the part of time that the axis and all histories draw: ``span_s`` seconds up to ``end``.

    Columns stand at absolute multiples of their width, so that by the passing of time only the newest changes
    until all move by one. ``settled`` is False in the first moments, when a source that has not answered yet must
    not be called missing.
    """

    frame: Frame
    end: float
    span_s: float
    settled: bool = True

    def fit(self, room: int) -> int:
        """Return how many of ``room`` columns the span takes, since a column is a whole number of steps."""
        return max(ceil(self.span_s / (self.slots(room) * self.frame.timeline.step_s)), 1)

    def column_s(self, count: int) -> float:
        """Return how many seconds one of ``count`` columns covers."""
        return self.slots(count) * self.frame.timeline.step_s

    def start(self, count: int) -> float:
        """Return the time at which the first of ``count`` columns begins."""
        width = self.slots(count)
        last = self.frame.timeline.slot(self.end) // width
        return (last - count + 1) * width * self.frame.timeline.step_s

    def column_of(self, moment: float, count: int) -> int | None:
        """Return which of ``count`` columns holds a time, or None where it lies outside."""
        column = int((moment - self.start(count)) // self.column_s(count))
        return column if 0 <= column < count else None

    def cursor(self, count: int) -> int | None:
        """Return the column under the time cursor; None while the view follows the newest moment."""
        return None if self.frame.follows else self.column_of(self.frame.at, count)

    def history(self, signal: str, entity: Entity, stat: str, count: int, fold: Fold) -> list[float]:
        """Return the history of a series in ``count`` columns; NaN is a gap.

        The newest column stands at its first sample until it is whole, and before that at the last one: a line that
        changes at its end is written to the terminal from its beginning.
        """
        timeline = self.frame.timeline
        width = self.slots(count)
        key = (signal, entity, stat)
        values = timeline.columns(key, timeline.slot(self.end) // width, count, width, fold)
        return [*values[:-1], self.newest(key, count)] if self.frame.follows else values

    def newest(self, key: SeriesKey, count: int) -> float:
        """Return the first sample in the newest of ``count`` columns; until it comes the last of `HELD_S`, else NaN."""
        timeline = self.frame.timeline
        width = self.slots(count)
        start = timeline.slot(self.end) // width * width * timeline.step_s
        back = max(min(width, int((start + HELD_S - self.end) / timeline.step_s)), 0)
        window = timeline.window(key, start - back * timeline.step_s, start + width * timeline.step_s)
        first = next((value for value in window[back:] if value == value), nan)
        return first if first == first else next((value for value in reversed(window[:back]) if value == value), nan)

    def slots(self, count: int) -> int:
        """Return how many steps of the timeline one of ``count`` columns covers."""
        return max(ceil(self.span_s / count / self.frame.timeline.step_s), 1)


def merge(histories: list[list[float]], how: str) -> list[float]:
    """Return several histories as one, column by column: their ``max``, ``min``, ``sum`` or ``mean``.

    A column nobody has a sample in stays a gap.
    """
    if len(histories) == 1:
        return histories[0]
    merged = []
    for column in zip(*histories, strict=True):
        present = [value for value in column if not isnan(value)]
        if not present:
            merged.append(nan)
        elif how == "max":
            merged.append(max(present))
        elif how == "min":
            merged.append(min(present))
        else:
            merged.append(sum(present) / (1 if how == "sum" else len(present)))
    return merged


class TimeCursor:
    """Where a person stands in time: with the newest moment, or at one in the past while time goes on."""

    def __init__(self, span_s: float = 300.0) -> None:
        self.span_s = span_s
        self.at: float | None = None
        self._end = 0.0

    def stay_at(self, now: float) -> None:
        """Stay at a time; the axis stays with it."""
        if self.at is None:
            self._end = now
        self.at = now

    def release(self) -> None:
        """Go on with the newest moment."""
        self.at = None

    def put(self, at: float, now: float) -> None:
        """Stand at a time. The axis moves only when the cursor would leave it."""
        if self.at is None:
            self._end = now
        self.at = at
        if at > self._end:
            self._end = at
        elif at < self._end - self.span_s:
            self._end = min(at + self.span_s / 2, now)

    def zoom(self, steps: int, now: float) -> None:
        """Lengthen the axis by some steps of `SPANS_S`, or shorten it; the cursor stays on it."""
        place = min(range(len(SPANS_S)), key=lambda index: abs(SPANS_S[index] - self.span_s)) + steps
        self.span_s = SPANS_S[min(max(place, 0), len(SPANS_S) - 1)]
        if self.at is not None:
            self.put(self.at, now)

    def view(self, state: State, *, settled: bool = True) -> View:
        """Return what is seen from here."""
        frame = state.frame(self.at)
        return View(frame, frame.at if self.at is None else max(self._end, frame.at), self.span_s, settled)
