"""Histories several rows high, in braille: two samples a column, four steps a row.

The columns are those of the time axis, so that charts below each other and the axis line up. The past and the newest
column are cells of their own: while time passes within a column, only the newest is painted again.
"""

from collections.abc import Sequence
from math import isfinite
from statistics import median

from aistack_top.model.entity import Entity
from aistack_top.model.signals import Signal
from aistack_top.text import numbers
from tui.glyphs import Glyphs
from tui.model.view import View, merge
from tui.widgets.axis import track_width
from tui.widgets.cells import Cell, Line, cell
from tui.widgets.values import fold_of

GUTTER = 9
"""Cells before the track: on the axis they hold the first time of day."""

_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)
"""Dots of a braille cell from the lowest up, in its left and its right column."""

STEPS = 4


def samples(view: View, signal: Signal, about: Sequence[Entity], stat: str, count: int) -> list[float]:
    """Return two samples for each of ``count`` columns of the axis; NaN is a gap. Several entities: their worst."""
    timeline = view.frame.timeline
    width = view.slots(count)
    last = timeline.slot(view.end) // width
    fold = fold_of(signal)
    found = []
    for entity in about:
        key = (signal.name, entity, stat)
        if width % 2 == 0:
            values = timeline.columns(key, last * 2 + 1, count * 2, width // 2, fold)
        else:
            values = [one for one in timeline.columns(key, last, count, width, fold) for _ in (0, 1)]
        found.append([*values[:-2], *[view.newest(key, count)] * 2] if view.frame.follows else values)
    return merge(found, "min" if signal.hurts == "down" else "max") if found else [float("nan")] * (count * 2)


def chart(
    values: Sequence[float],
    signal: Signal,
    view: View,
    width: int,
    height: int,
    glyphs: Glyphs,
    marks: Sequence[float] = (),
) -> list[Line]:
    """Return the lines of a chart as wide as the axis. ``marks`` are times at which a dim line stands."""
    room = track_width(width)
    count = view.fit(room)
    low, high = bounds(values, signal)
    levels = [_level(value, low, high, height * STEPS) for value in values]
    standing = {column for at in marks if (column := view.column_of(at, count)) is not None}
    cursor = view.cursor(count)
    pad = cell("", "text", room - count)
    lines = []
    for row in range(height):
        floor = (height - 1 - row) * STEPS
        signs = [_sign(levels, 2 * column, floor, glyphs) for column in range(count)]
        edge = (
            numbers.of_signal(high, signal) if row == 0 else numbers.of_signal(low, signal) if row == height - 1 else ""
        )
        lines.append((pad, _edge(glyphs.text(edge)), *_runs(signs, standing, cursor, glyphs),
                      cell("", "text", max(width - pad.width - GUTTER - count, 0))))  # fmt: skip
    return lines


def bounds(values: Sequence[float], signal: Signal) -> tuple[float, float]:
    """Return the scale of a chart: from zero where that does not flatten what there is to see."""
    present = [value for value in values if isfinite(value)]
    if not present:
        return 0.0, 1.0
    low, high = min(present), max(present)
    if signal.unit == "1" and low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and (high <= 0 or low < 0.7 * high):
        return 0.0, high or 1.0
    room = max((high - low) * 0.1, abs(high) * 0.05, 1e-9)
    return max(low - room, 0.0) if low >= 0 else low - room, high + room


def median_of(values: Sequence[float]) -> float | None:
    """Return the median of what is there; None of nothing."""
    present = [value for value in values if isfinite(value)]
    return median(present) if present else None


def _edge(said: str) -> Cell:
    return cell(said + " " if len(said) < GUTTER else said, "dim", GUTTER, right=True)


def _level(value: float, low: float, high: float, steps: int) -> int | None:
    if not isfinite(value):
        return None
    return min(max(round((value - low) / (high - low) * (steps - 1)), 0), steps - 1)


def _sign(levels: Sequence[int | None], place: int, floor: int, glyphs: Glyphs) -> str:
    """Return one cell: for each of its two samples the dots from the sample before up or down to it."""
    bits = 0
    for offset, dots in ((0, _LEFT), (1, _RIGHT)):
        level = levels[place + offset]
        if level is None:
            continue
        before = levels[place + offset - 1] if place + offset else None
        start = level if before is None else before + (level > before) - (level < before)
        for step in range(min(level, start), max(level, start) + 1):
            if floor <= step < floor + STEPS:
                bits |= dots[step - floor]
    if glyphs.ascii_only:
        return "*" if bits else " "
    return chr(0x2800 + bits) if bits else " "


def _runs(signs: Sequence[str], standing: set[int], cursor: int | None, glyphs: Glyphs) -> list[Cell]:
    """Return cells: runs of the graph, marks and cursor between them, and the newest column by itself."""
    cells: list[Cell] = []
    run = ""
    for column, sign in enumerate(signs):
        special = column == cursor or (column in standing and sign == " ")
        newest = column == len(signs) - 1
        if (special or newest) and run:
            cells.append(Cell(run, "graph", len(run)))
            run = ""
        if special:
            shown = glyphs.text("│") if sign == " " else sign
            cells.append(Cell(shown, "cursor" if column == cursor else "rule", 1))
        elif newest:
            cells.append(Cell(sign, "graph", 1))
        else:
            run += sign
    return cells
