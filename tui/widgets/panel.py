"""One layer's panel: title line, rows, table."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from layouts.load import Panel
from tui.model.view import View
from tui.widgets.cells import Cell, CellView, Line, cell
from tui.widgets.panel_lines import Drawing, body, heading


class LayerPanel(CellView, can_focus=True):
    """Shows one layer at one moment; opened alone, all of its numbers.

    Rows are computed once a frame and compared with those before, so that a panel whose numbers stand still
    writes nothing.
    """

    ALLOW_MAXIMIZE = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False, id="row.down"),
        Binding("up,k", "move(-1)", "Up", show=False, id="row.up"),
        Binding("pagedown", "move(10)", "Page down", show=False, id="row.page_down"),
        Binding("pageup", "move(-10)", "Page up", show=False, id="row.page_up"),
        Binding("g,home", "edge(False)", "First row", show=False, id="row.first"),
        Binding("G", "edge(True)", "Last row", show=False, id="row.last"),
    ]

    class Left(Message):
        """The row cursor left the panel over its upper (-1) or lower (+1) edge."""

        def __init__(self, panel: "LayerPanel", direction: int) -> None:
            super().__init__()
            self.panel, self.direction = panel, direction

    def __init__(self, spec: Panel, number: int, drawing: Drawing) -> None:
        super().__init__(drawing.glyphs, id=f"layer-{spec.layer}")
        self.spec = spec
        self.number = number
        self.drawing = drawing
        self._view: View | None = None
        self._row = 0
        self._top = 0
        self._length = 0

    @property
    def opened(self) -> bool:
        """Whether the panel is shown alone."""
        return self.has_class("-maximized")

    def update_view(self, view: View) -> None:
        """Show a moment."""
        self._view = view
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        """Lay out anew for another size."""
        self._draw()

    def on_focus(self) -> None:
        """Mark the panel and its row."""
        self._draw()

    def on_blur(self) -> None:
        """Unmark the panel and its row."""
        self._draw()

    def action_move(self, rows: int) -> None:
        """Move the row cursor, and scroll a panel that is opened alone."""
        target = self._row + rows
        if not self.opened and not 0 <= target < self._length:
            self.post_message(self.Left(self, 1 if rows > 0 else -1))
            return
        self._row = min(max(target, 0), max(self._length - 1, 0))
        self._draw()

    def action_edge(self, last: bool) -> None:
        """Move the row cursor to the first or last row."""
        self._row = max(self._length - 1, 0) if last else 0
        self._draw()

    def enter_from(self, direction: int) -> None:
        """Take the row cursor as it comes from another panel: from above (+1) or below (-1)."""
        self._row = 0 if direction > 0 else max(self._length - 1, 0)
        self._draw()

    def _draw(self) -> None:
        width, height = self.size
        if self._view is None or width < 1 or height < 1:
            return
        head = heading(self.number, self.spec, self._view, width, self.drawing.glyphs, focused=self.has_focus)
        room = height - 1
        rows = body(self.spec, self._view, width, room, self.drawing, whole=self.opened)
        self._length = len(rows)
        self._row = min(self._row, max(self._length - 1, 0))
        self._top = min(max(self._top, self._row - room + 1), self._row) if self.opened else 0
        shown = rows[self._top : self._top + room]
        if self.has_focus and shown:
            place = self._row - self._top
            shown[place] = _chosen(shown[place])
        if self.opened and self._length > room:
            head = _with_place(head, self._top, room, self._length)
        self.show([head, *shown])


def _chosen(line: Line) -> Line:
    first = line[0] if line else cell("  ")
    return (Cell(first.text, "chosen", first.width), *line[1:])


def _with_place(head: Line, top: int, room: int, length: int) -> Line:
    place = cell(f" {top + 1} to {min(top + room, length)} of {length} ", "dim")
    rule = head[2]
    if len(head) < 4 or rule.width <= place.width:
        return head
    return (*head[:2], cell(rule.text[: rule.width - place.width], rule.style), place, *head[3:])
