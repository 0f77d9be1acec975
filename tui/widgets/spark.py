"""Histories one row high, in block characters and one colour."""

from collections.abc import Sequence
from math import floor, isfinite, log10

from tui.glyphs import Glyphs
from tui.widgets.cells import Cell

_NICE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def top_of(values: Sequence[float], unit: str) -> float:
    """Return the value of a full bar: 1 for a ratio, else the round number above the highest value.

    Round, so that the scale, and with it every bar, does not move with every new sample.
    """
    highest = max((value for value in values if isfinite(value)), default=0.0)
    if unit == "1" and highest <= 1.0:
        return 1.0
    if highest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(highest))
    return next((step * power for step in _NICE if step * power >= highest * 0.999), highest)


def bars(values: Sequence[float], unit: str, glyphs: Glyphs) -> str:
    """Return one character a value; a gap is a blank, zero is the lowest bar."""
    top = top_of(values, unit)
    signs = glyphs.bars
    return "".join(
        " " if not isfinite(value) else signs[min(max(int(value / top * len(signs)), 0), len(signs) - 1)]
        for value in values
    )


def spark(values: Sequence[float], unit: str, glyphs: Glyphs, cursor: int | None = None) -> tuple[Cell, ...]:
    """Return a history as cells: the past, and apart from it what changes by itself, the newest or the cursor."""
    text = bars(values, unit, glyphs)
    if not text:
        return ()
    if cursor is None:
        return (Cell(text[:-1], "graph", len(text) - 1), Cell(text[-1], "graph", 1))
    under = text[cursor] if text[cursor] != " " else glyphs.text("│")
    return (
        Cell(text[:cursor], "graph", cursor),
        Cell(under, "cursor", 1),
        Cell(text[cursor + 1 :], "graph", len(text) - cursor - 1),
    )
