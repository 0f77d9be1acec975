"""What every screen of the console is: something that can look at a moment, framed by the same lines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.theme import Theme

from aistack_top.model.incident import Incident
from aistack_top.model.signals import LAYERS
from tui.model.console import Console
from tui.model.view import View
from tui.screens.time_navigation import TimeNavigationScreen
from tui.widgets.axis import TimeAxis
from tui.widgets.bars import HealthBar, KeyBar, MessageBar, NoticeBar, TitleBar
from tui.widgets.cells import STYLES, CellView, Line
from tui.widgets.pager import Pager
from tui.widgets.transport import TransportBar
from tui.widgets.verdict import VerdictBar, incident_shown

Hints = Sequence[tuple[str, str, str]]

BACK = ("esc", "back", "screen.back")
TIME_HINTS: Hints = (
    ("space", "pause", "screen.pause"),
    ("[ ]", "step", ""),
    (", .", "10 s", ""),
    ("t", "go to", "screen.ask_time"),
    ("n", "now", "screen.now"),
    ("+ -", "span", ""),
)


class ConsoleScreen(TimeNavigationScreen):
    """A screen that is handed one view a tick, with the head and foot that all have.

    ``breadcrumb`` is its place in the path that the title shows. ``HEALTH`` asks for the line of sources. ``drawn``
    says that it is put together and has shown a moment; before that the app leaves the screen below on the terminal.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"c-{name}" for name in STYLES}
    HEALTH: ClassVar[bool] = False
    AUTO_FOCUS = ""  # each screen says itself which of its widgets gets the keys

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "app.open('help')", "Help: keys and numbers", id="help"),
        *(Binding(str(number), f"app.open('{layer}')", f"Open {layer}", id=f"open.{layer}")
          for number, layer in enumerate(LAYERS, 1)),
        Binding("escape", "back", "One step back", id="back"),
        Binding("i", "app.open('incident')", "Open the incident of the verdict line", id="incident"),
        Binding("A", "app.open('incidents')", "List of incidents", id="incidents"),
        Binding("T", "app.open('calls')", "Table of calls", id="calls"),
        Binding("m", "mark", "Add a note at this time", id="mark"),
        Binding("S", "app.open('sources')", "List of sources", id="sources"),
        Binding("c", "app.open('changes')", "Changes and events", id="changes"),
        Binding("e", "app.keep_evidence", "Save evidence: session, verdict, screen", id="evidence"),
        Binding("R", "app.keep_recording", "Save this recording under a name", id="recording.keep"),
        Binding("y", "app.copy_verdict", "Copy the verdict to the clipboard", id="verdict.copy"),
        Binding("C", "cost", "Resource use of the console itself", id="cost"),
    ]  # fmt: skip

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._composed = self._look_due = False
        self.drawn = False

    @property
    def breadcrumb(self) -> str:
        """The screen's name in the path; nothing for the one it all begins with."""
        return ""

    def body(self) -> ComposeResult:
        """Yield what stands between head and foot."""
        raise NotImplementedError

    def draw(self, view: View) -> None:
        """Show a moment between head and foot."""
        raise NotImplementedError

    def hints(self) -> Hints:
        """Return what the line of keys says, the most important first."""
        return (BACK, *TIME_HINTS, (":", "all commands", "app.command_palette"))

    def numbers(self) -> Sequence[str]:
        """Return the signals whose numbers are on this screen, for its help; those of the layout where it has none."""
        return ()

    def position(self) -> Sequence[str]:
        """Return what stands before the keys: where in a list one is."""
        return ()

    def compose(self) -> ComposeResult:
        """Yield the widgets of this screen."""
        glyphs = self.console.glyphs
        with Container(id="head"):
            with Container(id="top"):
                yield TitleBar(glyphs, id="title")
                yield TransportBar(self.console.deck, glyphs, id="transport")
            if self.HEALTH:
                yield HealthBar(glyphs, id="health")
            for bar in (NoticeBar(glyphs, id="notice"), VerdictBar(glyphs, id="verdict")):
                bar.display = False
                yield bar
        yield from self.body()
        with Container(id="foot"):
            said = MessageBar(glyphs, id="said")
            said.display = False
            yield said
            yield TimeAxis(glyphs, id="axis")
            yield KeyBar(glyphs, id="keys")

    def update_view(self, view: View) -> None:
        """Show a moment. Called once a tick, and never for a moment that another has replaced."""
        self.query_one(TitleBar).set_title(self.console.name, *self.path())
        self.query_one(TransportBar).update_view(view)
        if self.HEALTH:
            self.query_one(HealthBar).update_view(view)
        self.query_one(NoticeBar).show_notices(self.console.notices)
        self.query_one(VerdictBar).update_view(view)
        self.draw(view)
        self.query_one(TimeAxis).update_view(view)
        if self.console.shows_cost:
            self.console.cost.measure()
        self.show_keys()

    def show_keys(self) -> None:
        """Show what the keys do here."""
        cost = self.console.cost.words() if self.console.shows_cost else ()
        self.query_one(KeyBar).hints(self.hints(), (*self.position(), *cost))

    def path(self) -> tuple[str, ...]:
        """Return the names of the screens one came through, this one's last."""
        stack = self.app.screen_stack
        here = stack.index(self) if self in stack else len(stack)
        screens = [*stack[:here], self]
        return tuple(screen.breadcrumb for screen in screens if isinstance(screen, ConsoleScreen) and screen.breadcrumb)

    def refresh_view(self) -> None:
        """Show the moment that the console stands at now: after a key, or after another screen."""
        if self._composed and self.is_current:
            self.refresh_now()

    def refresh_now(self) -> None:
        """Show the moment that the console stands at now, whether this screen is seen already or about to be."""
        if self._composed:
            with self.app.batch_update():
                self.update_view(self.console.view())
            if not self.drawn and self.query_one(TimeAxis).size.width:
                self.drawn = True
                self.refresh()

    def on_mount(self) -> None:
        """Follow the theme."""
        self._composed = True
        self.app.theme_changed_signal.subscribe(self, self._restyle)

    def on_screen_resume(self) -> None:
        """Catch up with what went on behind another screen."""
        self._look_soon()

    def on_resize(self, _: events.Resize) -> None:
        """Lay out anew for another size."""
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._look_due:
            self._look_due = True
            self.call_after_refresh(self._look_once)

    def _look_once(self) -> None:
        self._look_due = False
        self.refresh_view()

    def action_back(self) -> None:
        """Go one step back."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_mark(self) -> None:
        """Ask for a note about the moment shown."""
        self.ask("note", self._mark, hint="what you saw, did, or were told")

    def about_incident(self) -> Incident | None:
        """Return the incident that the screen is about; else the newest that is open, or known at all."""
        return incident_shown(self.console.view())

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """Paint nothing meanwhile that must not lie on a disk."""
        yield

    def action_cost(self) -> None:
        """Show what the console costs, or stop showing it."""
        self.console.shows_cost = not self.console.shows_cost
        self.refresh_view()

    def _mark(self, text: str) -> None:
        if text:
            kept = self.console.mark(text)
            self.show_message("noted" if kept else "note added to this session only (recording is off)")
            self.refresh_view()

    def _restyle(self, _: Theme) -> None:
        for view in self.query(CellView):
            view.restyle()


class ListScreen(ConsoleScreen):
    """A screen that is one long list, and leads back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "back", "Back", show=False, id="list.back")]

    def body(self) -> ComposeResult:
        """Yield the widgets between header and footer."""
        yield Pager(self.console.glyphs, id="list")

    def on_mount(self) -> None:
        """Give the list the keys."""
        super().on_mount()
        self.query_one(Pager).focus()

    def draw(self, view: View) -> None:
        """Redraw this screen from a view."""
        pager = self.query_one(Pager)
        if pager.size.width:
            pager.put(self.lines(view, pager.size.width))

    def hints(self) -> Hints:
        """Return the keys shown on the last line."""
        return (BACK, ("j k", "scroll", ""), ("g G", "ends", ""), *TIME_HINTS, ("q", "quit", "app.quit"))

    def lines(self, view: View, width: int) -> list[Line]:
        """Return the list for a width."""
        raise NotImplementedError
