"""A screen that is one board of rows: what leads further, is sorted and filtered."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.model import filtering
from tui.model.console import Console
from tui.model.view import View
from tui.screens.base import BACK, TIME_HINTS, ConsoleScreen, Hints
from tui.sections.context import RenderContext, SortOrder
from tui.widgets.panel_lines import Drawing
from tui.widgets.row_list import Row, RowList


class RowListScreen(ConsoleScreen):
    """One board; `rows` says what is on it at a moment."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask_filter", "Filter: model:llama ttft>2s", id="filter"),
        Binding("s", "sort", "Sort by the next column", id="sort"),
        Binding("r", "reverse", "Reverse the sort order", id="sort.reverse"),
    ]

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.order = SortOrder()
        self.wanted = filtering.EVERYTHING

    def body(self) -> ComposeResult:
        """Yield the widgets between header and footer."""
        yield RowList(self.console.glyphs, id="board")

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of a moment."""
        raise NotImplementedError

    def columns(self, scene: RenderContext) -> list[str]:
        """Return what can be sorted by."""
        return []

    def about_layer(self) -> str:
        """Return the layer that the screen is about, if it is about one."""
        return ""

    def on_mount(self) -> None:
        """Give the board the keys."""
        super().on_mount()
        self.query_one(RowList).focus()

    def context(self, view: View) -> RenderContext:
        """Return what the rows are drawn from."""
        width, height = self.query_one(RowList).size
        drawing = Drawing(self.console.glyphs, not self.console.options.low_bandwidth and width >= 60, tables=True)
        return RenderContext(view, width, drawing, self.about_layer(), self.order, self.wanted, height)

    def draw(self, view: View) -> None:
        """Redraw this screen from a view."""
        board = self.query_one(RowList)
        if board.size.width:
            board.put(self.rows(self.context(view)))

    def hints(self) -> Hints:
        """Return the keys shown on the last line."""
        sort: Hints = (("s", "sort", "screen.sort"),) if self.sorts() else ()
        return (
            BACK,
            ("enter", "open", ""),
            ("tab", "section", ""),
            *sort,
            ("/", "filter", "screen.ask_filter"),
            *TIME_HINTS,
            ("?", "help", "app.open('help')"),
        )

    def position(self) -> Sequence[str]:
        """See `ConsoleScreen.place`."""
        told = [self.query_one(RowList).position]
        if self.wanted:
            told.append(f"/{self.wanted.text}")
        return [one for one in told if one]

    def on_row_list_moved(self) -> None:
        """Say where in the list one is."""
        self.show_keys()

    def action_back(self) -> None:
        """Drop the filter; without one, go one step back."""
        if self.wanted:
            self.filter_by("")
        else:
            super().action_back()

    def action_ask_filter(self) -> None:
        """Ask for a filter; the list follows every letter."""
        question = self.ask("filter", self._filter_or_say, value=self.wanted.text, hint="model:llama ttft>2s")
        if question is not None:
            question.changed = self.filter_by

    def filter_by(self, text: str) -> None:
        """Keep only the rows that a filter lets through; one that is half typed changes nothing."""
        try:
            self.wanted = filtering.read(text)
        except filtering.FilterError:
            return
        self.refresh_view()

    def action_sort(self) -> None:
        """Sort by the next column; after the last, as it was."""
        names = ["", *self.sorts()]
        place = names.index(self.order.column) if self.order.column in names else 0
        self.sort_by(names[(place + 1) % len(names)])

    def sorts(self) -> list[str]:
        """Return what the rows of this moment can be sorted by."""
        return self.columns(self.context(self.console.view()))

    def sort_by(self, column: str) -> None:
        """Sort by a column, the worst or the first first; by none is the natural order."""
        self.order = SortOrder(column)
        self.query_one(RowList).begin()
        self.refresh_view()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.order = SortOrder(self.order.column, not self.order.smallest_first)
        self.query_one(RowList).begin()
        self.refresh_view()

    def fields(self) -> list[str]:
        """Return the fields that a filter may name; empty where any may."""
        return []

    def _filter_or_say(self, text: str) -> None:
        try:
            self.wanted = filtering.read(text)
        except filtering.FilterError as error:
            self.show_message(str(error))
            return
        if self.fields() and (said := self.wanted.unknown(self.fields())):
            self.show_message(said)
        self.refresh_view()
