"""What every screen of the console is: something that can look at a moment."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.theme import Theme

from tui.console import Console
from tui.view import View
from tui.widgets.bars import KeyBar, TitleBar
from tui.widgets.cells import STYLES, CellView, Line
from tui.widgets.pager import Pager
from tui.widgets.transport import TransportBar


class ConsoleScreen(Screen[None]):
    """A screen that is handed one view a tick."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"c-{name}" for name in STYLES}

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def look(self, view: View) -> None:
        """Show a moment. Called once a tick, and never for a moment that another has replaced."""
        raise NotImplementedError

    def look_again(self) -> None:
        """Show the moment that the console stands at now: after a key, or after another screen."""
        if self.is_mounted:
            with self.app.batch_update():
                self.look(self.console.view())

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, self._restyle)

    def on_screen_resume(self) -> None:
        """Catch up with what went on behind another screen."""
        self.call_after_refresh(self.look_again)

    def on_resize(self, _: events.Resize) -> None:
        """Lay out anew for another size."""
        self.call_after_refresh(self.look_again)

    def _restyle(self, _: Theme) -> None:
        for view in self.query(CellView):
            view.restyle()


class ListScreen(ConsoleScreen):
    """A screen that is one long list, and leads back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "back", "Back", id="back")]

    TITLE_PATH = ""

    def compose(self) -> ComposeResult:
        """See `textual.screen.Screen.compose`."""
        glyphs = self.console.glyphs
        with Container(id="head"), Container(id="top"):
            yield TitleBar(glyphs, id="title")
            yield TransportBar(self.console.deck, glyphs, id="transport")
        yield Pager(glyphs, id="list")
        with Container(id="foot"):
            yield KeyBar(glyphs, id="keys")

    def look(self, view: View) -> None:
        """See `ConsoleScreen.look`."""
        self.query_one(TitleBar).tell(self.console.name, self.TITLE_PATH)
        self.query_one(TransportBar).look(view)
        pager = self.query_one(Pager)
        if pager.size.width:
            pager.put(self.lines(view, pager.size.width))
        self.query_one(KeyBar).hints(
            [("esc", "back", "screen.back"), ("j k", "scroll", ""), ("g G", "ends", ""), ("q", "quit", "app.quit")]
        )

    def lines(self, view: View, width: int) -> list[Line]:
        """Return the list for a width."""
        raise NotImplementedError

    def action_back(self) -> None:
        """Go one step back."""
        self.dismiss()
