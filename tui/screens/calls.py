"""The table of calls, up to the moment shown: filter and sort by any field."""

from collections.abc import Sequence

from aistack_top.model.signals import signals
from aistack_top.model.tick import Call
from tui.model import filtering
from tui.model.console import Console
from tui.screens.row_list import RowListScreen
from tui.sections import calls as table
from tui.sections.context import RenderContext, note_line
from tui.widgets.row_list import Row


class CallsScreen(RowListScreen):
    """Every call that is known; the newest first."""

    def __init__(self, console: Console, wanted: str = "") -> None:
        super().__init__(console)
        self.wanted = filtering.read(wanted) if wanted else filtering.EVERYTHING
        self._of: tuple[object, ...] = ()
        self._found: list[Call] = []
        self._known = 0

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return "calls"

    def columns(self, scene: RenderContext) -> list[str]:
        """Return the columns that can be sorted by."""
        return [column.title for column in table.COLUMNS]

    def fields(self) -> list[str]:
        """Return the fields that the filter knows."""
        return list(table.FIELDS)

    def numbers(self) -> Sequence[str]:
        """See `ConsoleScreen.numbers`: the sums over calls."""
        return [name for name in signals() if name.startswith("calls.")]

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        self._choose(scene)
        if not self._known:
            sources = any(health.layer == "tracing" for _, health in scene.view.frame.health)
            why = "Langfuse reports calls after they end" if sources else "no source of calls, such as Langfuse"
            return [note_line(f"no calls at this time: {why}")]
        if not self._found:
            return [note_line(f"none of {self._known} calls match the filter; esc clears it")]
        return table.CallRows(self._found, scene)

    def position(self) -> Sequence[str]:
        """See `RowListScreen.place`."""
        left = f"{len(self._found)} of {self._known} calls" if len(self._found) < self._known else ""
        return [one for one in (left, *super().position()) if one]

    def _choose(self, scene: RenderContext) -> None:
        """Filter and sort only when there is something else to see: with 10,000 calls it takes 20 ms."""
        frame = scene.view.frame
        now = frame.book.changes, None if frame.follows else frame.at, scene.wanted.text, scene.order
        if now != self._of:
            calls = frame.calls(0.0)
            self._of, self._known, self._found = now, len(calls), table.chosen(calls, scene)
