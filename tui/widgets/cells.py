"""Lines made of cells, and the widget that repaints only the cells that changed.

Textual 8.2 writes a line from the widget's left edge to the end of what is dirty, so what changes often stands on the
left, and what is at the end of a line changes seldom. Measured, this is a tenth of the bytes of repainting the widget.
"""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.glyphs import Glyphs


class Cell(NamedTuple):
    """A run of text in one style. ``width`` is in terminal cells; ``action`` runs when it is clicked."""

    text: str
    style: str = "text"
    width: int = -1
    action: str = ""


Line = tuple[Cell, ...]

STYLES = (
    "text",
    "title",
    "label",
    "chosen",
    "value",
    "dim",
    "stale",
    "alarm",
    "warning",
    "ok",
    "rule",
    "graph",
    "cursor",
    "key",
    "mode",
)
"""What a cell's style may be. Each is the component class ``c-NAME`` of the screen, not of every widget: Textual
matches the style sheet against each of them for each widget, which was a third of the time to the first paint."""


def cell(text: str, style: str = "text", width: int | None = None, *, right: bool = False, action: str = "") -> Cell:
    """Return a cell of exactly ``width``, padded or, for a name from outside, cut with an ellipsis."""
    size = cell_len(text)
    if width is None or width == size:
        return Cell(text, style, size, action)
    if size > width:
        text = set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else " " * width
        size = cell_len(text)
    space = " " * (width - size)
    return Cell(space + text if right else text + space, style, width, action)


def words(pieces: Sequence[str], width: int, gap: str = " ") -> str:
    """Return as many pieces, from the first on, as fit whole into a width."""
    said = ""
    for piece in pieces:
        longer = said + gap + piece if said else piece
        if cell_len(longer) > width:
            break
        said = longer
    return said


def first_that_fits(texts: Sequence[str], width: int) -> str:
    """Return the first of several wordings that fits; else the whole words of the last that do."""
    for text in texts:
        if cell_len(text) <= width:
            return text
    return words(texts[-1].split(), width) if texts else ""


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most ``width`` terminal cells, broken between words where that is possible."""
    if text.isascii():
        return textwrap.wrap(text, width)
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, width) or [""]
        lines += whole
    return [*lines, line] if line else lines


class CellView(Widget):
    """Shows lines; when they change, repaints the cells that differ and nothing else."""

    def __init__(self, glyphs: Glyphs, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.glyphs = glyphs
        self._lines: tuple[Line, ...] = ()
        self._strips: dict[int, Strip] = {}
        self._styles: dict[str, Style] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Show lines in place of those before, top line first."""
        before, self._lines = self._lines, tuple(lines)
        for y in range(max(len(before), len(self._lines))):
            old = before[y] if y < len(before) else ()
            new = self._lines[y] if y < len(self._lines) else ()
            if old != new:
                self._strips.pop(y, None)
                dirty = _changed(old, new, y, self.size.width)
                if dirty:
                    self.refresh(*dirty)

    def render_line(self, y: int) -> Strip:
        """Return one rendered line."""
        width = self.size.width
        known = self._strips.get(y)
        if known is not None and known.cell_length == width:
            return known
        line = self._lines[y] if y < len(self._lines) else ()
        base = self._style("text")
        segments = [Segment(_harmless(self.glyphs.text(one.text)), self._style(one.style, one.action)) for one in line]
        strip = Strip(segments, sum(one.width for one in line)).adjust_cell_length(width, base)
        self._strips[y] = strip
        return strip

    def restyle(self) -> None:
        """Forget all colours and paint anew: another theme."""
        self._styles.clear()
        self._strips.clear()
        self.refresh()

    def _style(self, name: str, action: str = "") -> Style:
        key = name + action
        found = self._styles.get(key)
        if found is None:
            found = self.screen.get_component_rich_style(f"c-{name}")
            if action:
                found += Style(meta={"@click": action})
            self._styles[key] = found
        return found


def _harmless(text: str) -> str:
    """Return a text without what would move the terminal: the last gate, whoever forgot an earlier one."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "" for char in text)


def _changed(old: Line, new: Line, y: int, width: int) -> list[Region]:
    """Return the region from the first to the last cell that differs; the whole line where the fields moved.

    Never two regions of one line: Textual 8.2 writes a line from its beginning to the end of each dirty region, so
    that a second one would write the first again.
    """
    if [one.width for one in old] != [one.width for one in new]:
        return [Region(0, y, width, 1)] if width else []
    first = last = -1
    x = 0
    for before, after in zip(old, new, strict=True):
        if before != after and x < width and after.width:
            first = x if first < 0 else first
            last = min(x + after.width, width)
        x += after.width
    return [Region(first, y, last - first, 1)] if last > first >= 0 else []
