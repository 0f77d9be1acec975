"""One line to type in, below the screen."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from tui.glyphs import Glyphs
from tui.widgets.bars import Bar
from tui.widgets.cells import cell

PAUSE_S = 0.3
"""So long nobody types before the text is used as far as it goes: the table of calls takes as long to filter."""


class Prompt(Horizontal):
    """Asks for one line; hands it over on `enter`, and goes without a word on `escape`.

    ``changed`` may be set to be told of the text while it is typed, whenever nobody has typed for `PAUSE_S`; it is told
    the first text again when the question is dropped.
    ``ready`` is called once it has the keys; keys in ``after`` are pressed when it is answered.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "drop", "Cancel", show=False, id="ask.drop"),
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
        self._handed = value
        self._answered = False
        self._pause: Timer | None = None

    def compose(self) -> ComposeResult:
        """Yield the child widgets."""
        yield self._label
        yield _Box(self._value, placeholder=self._hint, compact=True, select_on_focus=False, id="ask-text")

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
        """Hand the text on once nobody has typed for a moment."""
        event.stop()
        if self._pause is not None:
            self._pause.stop()
        if self.changed is not None and not self._answered and event.value != self._handed:
            self._pause = self.set_timer(PAUSE_S, self._hand_on)

    def _hand_on(self) -> None:
        if self.changed is not None and not self._answered:
            self._handed = self.query_one(Input).value
            self.changed(self._handed)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand the line over that was submitted in another way than by the key."""
        event.stop()
        self.answer()

    def answer(self) -> None:
        """Hand the line over, and give the keys back before the next one is looked at."""
        if not self._answered:
            self._leave()
            self._done(self.query_one(Input).value.strip())

    def action_drop(self) -> None:
        """Go, as if nothing had been typed."""
        if not self._answered:
            self._leave()
            if self.changed is not None:
                self.changed(self._value)

    def take_key(self, event: events.Key) -> bool:
        """Act on a key that ends the question at once, and hand on what was typed after it; return whether it did."""
        if self._answered:
            (self.app.focused or self.screen)._forward_event(events.Key(event.key, event.character))
            return True
        if event.key == "enter":
            self.answer()
            return True
        bound = None if event.is_printable else self.screen.active_bindings.get(event.key)
        if bound is not None and bound.node is self and bound.binding.action == "drop":
            self.action_drop()
            return True
        return False

    def action_stay(self) -> None:
        """Keep the keys: there is nothing else to type in."""

    def _leave(self) -> None:
        if self.after:
            self.screen.call_after_refresh(self.press, self.after)
        self._answered = True
        if self._pause is not None:
            self._pause.stop()
        if self._back is not None and self._back.is_attached:
            self.screen.set_focus(self._back)  # Widget.focus would do so after the keys that are under way
        self.remove()


class _Box(Input):
    """Where the line is typed. It asks the question about each key before it takes it as text."""

    def on_key(self, event: events.Key) -> None:
        """Let go of a key that ends the question, and of all that were typed after it."""
        ask = self.parent
        if isinstance(ask, Prompt) and ask.take_key(event):
            event.prevent_default().stop()
