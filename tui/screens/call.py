"""One call: its trace as a waterfall, and what its engine did meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from textual.binding import Binding, BindingType

from aistack_top.model.signals import signals
from aistack_top.model.tick import Call
from aistack_top.text.sanitize import sanitize
from tui.model.console import Console
from tui.screens.base import BACK, TIME_HINTS, Hints
from tui.screens.row_list import RowListScreen
from tui.sections import text, waterfall
from tui.sections.context import BLANK, RenderContext, note_line
from tui.widgets.row_list import Row, RowList


class CallScreen(RowListScreen):
    """A call as it was known at the moment shown."""

    def __init__(self, console: Console, name: str) -> None:
        super().__init__(console)
        self.call_id = name
        self._spans: tuple[object, list[Call]] = ((), [])
        self._text: tuple[str, str] | None = None

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        call = self.console.state.calls.get(self.call_id)
        return f"call {sanitize(call.name or call.kind, 20)}" if call else "call"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "read", "Fetch and show the text of this call (never recorded)", id="call.text"),
    ]

    def hints(self) -> Hints:
        """Return the keys shown on the last line."""
        return (BACK, ("enter", "open", ""), ("tab", "section", ""), ("o", "text", "screen.read"), *TIME_HINTS)

    def action_read(self) -> None:
        """Fetch the text of the call: only now, only of this one, and only to be shown."""
        call = self.console.state.calls.get(self.call_id)
        if call is not None and self._text is None:
            self._text = ("fetching it from Langfuse", "")
            self.run_worker(self._read(call), exit_on_error=False)
            self._show_text()

    async def _read(self, call: Call) -> None:
        if self.console.options.text_of is None:
            self._text = ("no source can fetch it", "")
        else:
            try:
                self._text = await self.console.options.text_of(call)
            except Exception as error:  # whatever it was, it is told, and the next try begins anew
                self.show_message(f"no text: {sanitize(str(error) or type(error).__name__, 300)}")
                self._text = None
        self._show_text()

    def _show_text(self) -> None:
        """Go to the text: it stands below all that is known of the call."""
        self.refresh_view()
        if self._text is not None:
            self.query_one(RowList).action_edge(last=True)

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """See `ConsoleScreen.discreet`: the text of a call is shown and never kept."""
        text, self._text = self._text, None
        self.refresh_view()
        try:
            yield
        finally:
            self._text = text
            self.refresh_view()

    def numbers(self) -> Sequence[str]:
        """See `ConsoleScreen.numbers`: the sums over calls and those of its engine meanwhile."""
        meanwhile = {"gpu.clock.sm", *(name for name, _ in waterfall.MEANWHILE)}
        return [name for name in signals() if name.startswith("calls.") or name in meanwhile]

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        call = scene.view.frame.book.get(self.call_id)
        if call is None:
            return [note_line("this call is no longer in memory")]
        spans = self.spans(call, scene)
        return [
            *waterfall.span_rows(call, spans, scene),
            BLANK,
            *waterfall.meanwhile_rows(call, spans, scene),
            BLANK,
            *waterfall.detail_rows(call, scene),
            *(text.rows(*self._text, scene) if self._text else ()),
        ]

    def spans(self, call: Call, scene: RenderContext) -> list[Call]:
        """Return the spans of the call's trace that are known; found anew only when calls were added."""
        book = scene.view.frame.book
        if self._spans[0] != (book.changes, call.id):
            found = [one for one in book.between(0.0, float("inf")) if one.trace == call.trace and call.trace]
            self._spans = ((book.changes, call.id), found or [call])
        return self._spans[1]
