"""A long list of lines of which some lead further: layers, tables, incidents, calls.

Only the lines that are seen are made, so that a table of 10,000 rows costs what a screen of it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.glyphs import Glyphs
from tui.model.targets import OpenTarget, Target
from tui.widgets.cells import Cell, CellView, Line, cell

REACH = 2
"""Lines beyond the edge within which the next row is taken at once; what lies farther is scrolled to."""


@dataclass(frozen=True)
class Row:
    """A line that is made when it is seen. ``head`` begins a section; ``target`` is where `enter` leads."""

    render: Callable[[], Line]
    target: Target | None = None
    is_heading: bool = False

    @cached_property
    def line(self) -> Line:
        """The line, made once."""
        return self.render()


class Headed(Sequence[Row]):
    """Rows of which the first is a line of headings."""


def static_row(line: Line, target: Target | None = None, *, head: bool = False) -> Row:
    """Return a row of a line that is there already."""
    return Row(lambda: line, target, head)


class RowList(CellView, can_focus=True):
    """Shows the part of a list that fits; keeps the chosen row when the list is put anew."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next row", show=False, id="board.down"),
        Binding("up,k", "move(-1)", "Previous row", show=False, id="board.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="board.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="board.page_up"),
        Binding("g,home", "edge(False)", "First row", show=False, id="board.first"),
        Binding("G", "edge(True)", "Last row", show=False, id="board.last"),
        Binding("tab,right,l", "section(1)", "Next section", show=False, id="board.next_section"),
        Binding("shift+tab,left,h", "section(-1)", "Previous section", show=False, id="board.last_section"),
        Binding("enter", "open", "Open the selected row", id="board.open"),
    ]

    class Moved(Message):
        """The part that is seen, or the chosen row, is another."""

    def __init__(self, glyphs: Glyphs, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(glyphs, id=id)
        self._rows: Sequence[Row] = ()
        self._top = 0
        self._chosen: int | None = None
        self._target: Target | None = None
        self._told: tuple[str, Target | None] = ("", None)

    @property
    def chosen(self) -> Target | None:
        """Where the chosen row leads."""
        return self._target

    @property
    def position(self) -> str:
        """Which lines are seen, or nothing when all are."""
        height, count = self.size.height, len(self._rows)
        if not count > height > 0:
            return ""
        # the line of headings of a table is none of what is counted
        heads = 1 if isinstance(self._rows, Headed) else 0
        first, last = max(self._top + 1 - heads, 1), min(self._top + height, count) - heads
        return f"{first} to {last} of {count - heads}"

    def put(self, rows: Sequence[Row]) -> None:
        """Show another list; the chosen row stays chosen, wherever it is now."""
        self._rows = rows
        self._find()
        self._draw()

    def begin(self) -> None:
        """Choose the first row again: the list that comes next has another order."""
        self._chosen = self._target = None
        self._top = 0

    def on_resize(self, _: events.Resize) -> None:
        """Show what fits now."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Choose the row that is clicked; a second click opens it."""
        index = self._top + event.y
        if index < len(self._rows) and self._rows[index].target is not None:
            event.stop()
            if index == self._chosen:
                self.action_open()
            else:
                self._choose(index)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down by the wheel."""
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up by the wheel."""
        event.stop()
        self._scroll(-3)

    def action_move(self, direction: int) -> None:
        """Choose the next row, or scroll towards it where it is far."""
        start = self._chosen
        if start is None or not self._top <= start < self._top + self.size.height:
            start = self._top - 1 if direction > 0 else self._top + self.size.height
        found = self._next(start, direction)
        low, high = self._top - REACH, self._top + self.size.height + REACH
        if found is not None and low <= found < high:
            self._choose(found)
        else:
            self._scroll(direction)

    def action_page(self, pages: int) -> None:
        """Go on by a screen, and choose the first row there that leads further."""
        self._top += pages * max(self.size.height - 1, 1)
        self._clamp()
        found = self._next(self._top - 1, 1)
        if found is not None and found < self._top + self.size.height:
            self._set(found)
        self._draw()

    def action_edge(self, last: bool) -> None:
        """Choose the first row, or the last."""
        found = self._next(len(self._rows), -1) if last else self._next(-1, 1)
        if found is not None:
            self._set(found)
        self._top = len(self._rows) if last else 0
        self._draw()

    def action_section(self, direction: int) -> None:
        """Go to the next section, or to the one before."""
        here = self._chosen if self._chosen is not None else self._top
        heads = [index for index in range(len(self._rows)) if self._rows[index].is_heading]
        if direction > 0:
            head = next((index for index in heads if index > here), None)
        else:
            own = max((index for index in heads if index <= here), default=0)
            head = max((index for index in heads if index < own), default=None)
        if head is None:
            return
        found = self._next(head, 1)
        following = next((index for index in heads if index > head), len(self._rows))
        self._top = head
        if found is not None and found < following:
            self._set(found)
        else:
            self._chosen, self._target = head, None
        self._draw()

    def action_open(self) -> None:
        """Open the selected row."""
        if self._target is not None:
            self.post_message(OpenTarget(self._target))

    def _next(self, start: int, direction: int) -> int | None:
        index = start + direction
        while 0 <= index < len(self._rows):
            if self._rows[index].target is not None:
                return index
            index += direction
        return None

    def _find(self) -> None:
        """Find the chosen row in a new list; without one, choose the first that leads anywhere."""
        if self._target is None:
            if self._chosen is None:
                found = self._next(-1, 1)
                if found is not None:
                    self._set(found)
            return
        here = self._chosen
        if here is not None and here < len(self._rows) and self._rows[here].target == self._target:
            return
        found = next((index for index in range(len(self._rows)) if self._rows[index].target == self._target), None)
        if found is not None and self._chosen is not None:
            self._top += found - self._chosen  # the row stays where the eye is
        elif found is None:
            found = self._next(min(self._chosen or 0, len(self._rows)) - 1, 1)
            if found is None:
                self._chosen = self._target = None
                return
        self._set(found)

    def _choose(self, index: int) -> None:
        self._set(index)
        first = index
        while first > 0 and self._rows[first - 1].target is None and index - first < REACH:
            first -= 1
        if first < self._top:
            self._top = first
        elif index >= self._top + self.size.height:
            self._top = index - self.size.height + 1
        self._draw()

    def _set(self, index: int) -> None:
        self._chosen, self._target = index, self._rows[index].target

    def _scroll(self, lines: int) -> None:
        self._top += lines
        self._draw()

    def _clamp(self) -> None:
        self._top = min(max(self._top, 0), max(len(self._rows) - self.size.height, 0))

    def _draw(self) -> None:
        height = self.size.height
        if height < 1:
            return
        self._clamp()
        shown = [self._rows[index].line for index in range(self._top, min(self._top + height, len(self._rows)))]
        place = -1 if self._chosen is None or self._target is None else self._chosen - self._top
        if 0 <= place < len(shown):
            shown[place] = _marked(shown[place])
        self.show(shown)
        if self._told != (self.position, self._target):
            self._told = (self.position, self._target)
            self.post_message(self.Moved())


def _marked(line: Line) -> Line:
    first = line[0] if line else cell("  ")
    return (Cell(first.text, "chosen", first.width, first.action), *line[1:])
