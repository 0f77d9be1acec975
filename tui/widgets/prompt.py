"""One line to type in, below the screen."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input

from tui.glyphs import Glyphs
from tui.widgets.bars import Bar
from tui.widgets.cells import cell


class Prompt(Horizontal):
    """Asks for one line; hands it over on `enter`, and goes without a word on `escape`.

    ``changed`` may be set to be told of every letter; it is told the first text again when the question is dropped.
    ``ready`` is called once it has the keys; keys in ``after`` are pressed when it is answered.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "drop", "Drop the question", show=False, id="ask.drop"),
        Binding("tab,shift+tab", "stay", "Stay", show=False, id="ask.stay"),
    ]

    def __init__(
        self,
        glyphs: Glyphs,
        label: str,
        done: Callable[[str], None],
        *,
        value: str = "",
        hint: str = "",
        back: Widget | None = None,
    ) -> None:
        super().__init__(id="ask")
        self._label = Bar(glyphs, id="ask-label")
        self._said, self._done, self._value, self._hint, self._back = label, done, value, hint, back
        self.changed: Callable[[str], None] | None = None
        self.ready: Callable[[Prompt], None] | None = None
        self.after: Sequence[events.Key] = ()

    def compose(self) -> ComposeResult:
        """See `textual.widget.Widget.compose`."""
        yield self._label
        yield Input(self._value, placeholder=self._hint, compact=True, select_on_focus=False, id="ask-text")

    def on_mount(self) -> None:
        """Take the keys."""
        self._label.styles.width = len(self._said) + 2
        self._label.show([(cell(f"{self._said}: ", "title"),)])
        self.query_one(Input).focus()

    def on_descendant_focus(self) -> None:
        """Say that it has the keys, once those are through that were under way to who had them before."""
        ready, self.ready = self.ready, None
        if ready is not None:
            self.call_after_refresh(ready, self)

    def type(self, event: events.Key) -> bool:
        """Take a letter as if it had been typed here; return False for a key that is none."""
        if not event.is_printable or event.character is None:
            return False
        self.query_one(Input).insert_text_at_cursor(event.character)
        return True

    def press(self, keys: Sequence[events.Key]) -> None:
        """Press keys anew; by the app, since what a widget sends does not bubble beyond it."""
        app = self.app

        def again() -> None:
            for one in keys:
                app.post_message(events.Key(one.key, one.character))

        app.call_later(again)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hand every letter on."""
        event.stop()
        if self.changed is not None:
            self.changed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the line over."""
        event.stop()
        self._leave()
        self._done(event.value.strip())

    def action_drop(self) -> None:
        """Go, as if nothing had been typed."""
        self._leave()
        if self.changed is not None:
            self.changed(self._value)

    def action_stay(self) -> None:
        """Keep the keys: there is nothing else to type in."""

    def _leave(self) -> None:
        if self.after:
            self.screen.call_after_refresh(self.press, self.after)
        if self._back is not None and self._back.is_attached:
            self._back.focus()
        self.remove()
