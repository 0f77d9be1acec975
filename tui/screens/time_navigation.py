"""Travelling in time: the keys that every screen has for it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.model.console import Console
from tui.model.time_input import moment
from tui.widgets.axis import TimeAxis, clock, track_width
from tui.widgets.bars import MessageBar

if TYPE_CHECKING:
    from tui.widgets.prompt import Prompt

SAID_S = 8.0


class TimeNavigationScreen(Screen[None]):
    """A screen with a time cursor, which is the same on all of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause or resume the display", id="pause"),
        Binding("left_square_bracket", "step(-1)", "One step back in time", id="time.back"),
        Binding("right_square_bracket", "step(1)", "One step forward in time", id="time.forward"),
        Binding("comma", "step(-10)", "Ten seconds back", id="time.back_ten"),
        Binding("full_stop", "step(10)", "Ten seconds forward", id="time.forward_ten"),
        Binding("left_curly_bracket", "incident_at(-1)", "To the previous incident", id="time.incident_before"),
        Binding("right_curly_bracket", "incident_at(1)", "To the next incident", id="time.incident_next"),
        Binding("t", "ask_time", "Go to a time: 14:02, -3m", id="time.go"),
        Binding("n,end", "now", "Back to now", id="time.now"),
        Binding("plus,equals_sign", "zoom(1)", "Longer time span", id="span.longer"),
        Binding("minus", "zoom(-1)", "Shorter time span", id="span.shorter"),
        Binding("greater_than_sign", "speed(2.0)", "Play twice as fast", id="speed.up"),
        Binding("less_than_sign", "speed(0.5)", "Play half as fast", id="speed.down"),
    ]

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.typed_ahead: list[events.Key] | None = None
        self._said_at = 0.0

    def refresh_view(self) -> None:
        """Show the moment that the console stands at now."""
        raise NotImplementedError

    def ask(self, label: str, done: Callable[[str], None], *, value: str = "", hint: str = "") -> "Prompt | None":
        """Ask for a line of text below the screen; None while another question is open."""
        from tui.widgets.prompt import (
            Prompt,  # its Input takes a while to import, and nobody asks before the first paint
        )

        if self.query(Prompt):
            return None
        self.typed_ahead = []
        question = Prompt(self.console.glyphs, label, done, value=value, hint=hint, back=self.focused)
        question.ready = self._answer_ahead
        self.query_one("#foot").mount(question)
        return question

    def show_message(self, sentence: str) -> None:
        """Tell what a key could not do, or did out of sight, until the next key or for `SAID_S`."""
        self.query_one(MessageBar).show_message(sentence)
        self._said_at = asyncio.get_running_loop().time()
        self.set_timer(SAID_S, self._say_no_more)

    def on_key(self) -> None:
        """Take away what was said for the key before."""
        self.query_one(MessageBar).show_message("")

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Go back in time by the wheel, a column of the axis at a time."""
        event.stop()
        self._wheel(-1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go forward in time by the wheel."""
        event.stop()
        self._wheel(1)

    def on_click(self, event: events.Click) -> None:
        """Put the time cursor where the axis is clicked."""
        if isinstance(event.widget, TimeAxis):
            at = event.widget.column_at(event.x, self.console.view())
            if at is not None:
                self.go_to(at)

    def go_to(self, at: float) -> None:
        """Put the time cursor on a time."""
        self.console.go_to(at)
        self.refresh_view()

    def action_pause(self) -> None:
        """Pause the display, or let it go on."""
        self.console.pause()
        self.refresh_view()

    def action_step(self, steps: float) -> None:
        """Move the time cursor by some steps of the timeline."""
        self.console.move(steps * self.console.state.timeline.step_s)
        self.refresh_view()

    def action_now(self) -> None:
        """Go back to the newest moment."""
        self.console.newest()
        self.refresh_view()

    def action_zoom(self, steps: int) -> None:
        """Show a longer span of time, or a shorter one."""
        self.console.zoom(steps)
        self.refresh_view()

    def action_speed(self, factor: float) -> None:
        """Play faster or slower, where the feed can."""
        if not self.console.deck.play_at(factor):
            self.show_message("playback speed cannot be changed on a live feed")
        self.refresh_view()

    def action_incident_at(self, direction: int) -> None:
        """Go to where the cause of the incident before, or of the next, was told, so that it opens there."""
        self.show_message("searching")
        self.run_worker(self._go_to_incident(direction), group="incident", exclusive=True, exit_on_error=False)

    async def _go_to_incident(self, direction: int) -> None:
        here = self.console.view().frame.at
        known = {at: f"; it began at {clock(one.onset)}" for at, one in self.console.state.incidents.latest()}
        times = sorted({*known, *await self.console.deck.incident_times()})
        ahead = [at for at in times if (at > here + 1 if direction > 0 else at < here - 1)]
        if not ahead:
            self.show_message("no later incident" if direction > 0 else "no earlier incident")
            return
        found = ahead[0] if direction > 0 else ahead[-1]
        self.go_to(found)
        self.show_message(f"at {clock(found)}, when this incident was detected{known.get(found, '')}; i opens it")

    def action_ask_time(self) -> None:
        """Ask for a time and go there."""
        self.ask("go to", self.go_to_typed, hint="14:02, 14:02:10, -3m")

    def go_to_typed(self, text: str) -> None:
        """Go to a time as it was typed."""
        bounds, now = self.console.deck.bounds, self.console.state.now
        oldest = self.console.pump.oldest
        first = min(bounds.start, oldest) if bounds.seekable else oldest
        last = max(now, bounds.end) if bounds.seekable and not bounds.live else now
        try:
            self.go_to(moment(text, first, last, back_from=now))
        except ValueError as error:
            self.show_message(str(error))

    def _answer_ahead(self, question: "Prompt") -> None:
        """Hand over what was typed before the question was there to take it."""
        keys, self.typed_ahead = self.typed_ahead or [], None
        for place, event in enumerate(keys):
            if not question.type(event):
                question.after = keys[place + 1 :]
                question.press([event])
                return

    def _say_no_more(self) -> None:
        if asyncio.get_running_loop().time() - self._said_at >= SAID_S - 0.1:
            self.query_one(MessageBar).show_message("")

    def _wheel(self, columns: int) -> None:
        view = self.console.view()
        self.console.move(columns * view.column_s(view.fit(track_width(self.app.size.width))))
        self.refresh_view()
