"""One call: its trace as a waterfall, and what its engine did meanwhile."""

from collections.abc import Sequence

from aistack_top.plain import plain
from aistack_top.tick import Call
from tui.console import Console
from tui.screens.board import BoardScreen
from tui.sections import waterfall
from tui.sections.scene import BLANK, Scene, note
from tui.widgets.board import Row


class CallScreen(BoardScreen):
    """A call as it was known at the moment shown."""

    def __init__(self, console: Console, name: str) -> None:
        super().__init__(console)
        self.call_id = name
        self._spans: tuple[object, list[Call]] = ((), [])

    @property
    def crumb(self) -> str:
        """See `ConsoleScreen.crumb`."""
        call = self.console.state.calls.get(self.call_id)
        return f"call {plain(call.name or call.kind, 20)}" if call else "call"

    def rows(self, scene: Scene) -> Sequence[Row]:
        """See `BoardScreen.rows`."""
        call = scene.view.frame.book.get(self.call_id)
        if call is None:
            return [note("this call is no longer held in memory")]
        spans = self.spans(call, scene)
        return [
            *waterfall.span_rows(call, spans, scene),
            BLANK,
            *waterfall.meanwhile_rows(call, spans, scene),
            BLANK,
            *waterfall.detail_rows(call, scene),
        ]

    def spans(self, call: Call, scene: Scene) -> list[Call]:
        """Return the spans of the call's trace that are known; found anew only when calls were added."""
        book = scene.view.frame.book
        if self._spans[0] != (book.changes, call.id):
            found = [one for one in book.between(0.0, float("inf")) if one.trace == call.trace and call.trace]
            self._spans = ((book.changes, call.id), found or [call])
        return self._spans[1]
