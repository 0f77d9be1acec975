"""A long list of lines that scrolls: sources, help, changes."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from tui.glyphs import Glyphs
from tui.widgets.cells import CellView, Line


class Pager(CellView, can_focus=True):
    """Shows the part of a list that fits, and scrolls it; a new list keeps the place."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", "Down", show=False, id="list.down"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="list.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.page_up"),
        Binding("g,home", "edge(False)", "Top", show=False, id="list.first"),
        Binding("G", "edge(True)", "Bottom", show=False, id="list.last"),
    ]

    def __init__(self, glyphs: Glyphs, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(glyphs, id=id)
        self._all: list[Line] = []
        self._top = 0

    def put(self, lines: Sequence[Line]) -> None:
        """Show another list."""
        self._all = list(lines)
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        """Show what fits now."""
        self._draw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll down by the wheel."""
        event.stop()
        self.action_scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll up by the wheel."""
        event.stop()
        self.action_scroll(-3)

    def action_scroll(self, lines: int) -> None:
        """Scroll by some lines."""
        self._top += lines
        self._draw()

    def action_page(self, pages: int) -> None:
        """Scroll by whole pages."""
        self.action_scroll(pages * max(self.size.height - 1, 1))

    def action_edge(self, last: bool) -> None:
        """Go to the top or to the bottom."""
        self._top = len(self._all) if last else 0
        self._draw()

    def _draw(self) -> None:
        height = self.size.height
        self._top = min(max(self._top, 0), max(len(self._all) - height, 0))
        self.show(self._all[self._top : self._top + height])
