"""The overview: every layer at one moment, on one axis."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from aistack_top.signals import LAYERS
from tui.console import Console
from tui.screens.base import ConsoleScreen
from tui.view import View
from tui.widgets.axis import TimeAxis, track_width
from tui.widgets.bars import Bar, HealthBar, KeyBar, NoticeBar, TitleBar
from tui.widgets.grid import PanelGrid
from tui.widgets.lines import Drawing
from tui.widgets.panel import LayerPanel
from tui.widgets.transport import TransportBar

HINTS = (
    ("q", "quit", "app.quit"),
    ("?", "help", "screen.help"),
    ("1-8", "layer", ""),
    ("space", "pause", "screen.pause"),
    ("[ ]", "step", ""),
    (", .", "10 s", ""),
    ("n", "now", "screen.now"),
    ("+ -", "span", ""),
    ("S", "sources", "screen.sources"),
    ("c", "changes", "screen.changes"),
    (":", "all commands", "app.command_palette"),
)


class OverviewScreen(ConsoleScreen):
    """Eight panels, and the keys that move in space and time."""

    ALLOW_IN_MAXIMIZED_VIEW = "#head, #foot"
    ESCAPE_TO_MINIMIZE = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1", "help", "Help: keys and numbers", id="help"),
        Binding("space", "pause", "Pause the display, or go on", id="pause"),
        Binding("left_square_bracket", "step(-1)", "One step back in time", id="time.back"),
        Binding("right_square_bracket", "step(1)", "One step forward in time", id="time.forward"),
        Binding("comma", "step(-10)", "Ten seconds back", id="time.back_ten"),
        Binding("full_stop", "step(10)", "Ten seconds forward", id="time.forward_ten"),
        Binding("n,end", "now", "Back to now", id="time.now"),
        Binding("plus,equals_sign", "zoom(1)", "A longer span of time", id="span.longer"),
        Binding("minus", "zoom(-1)", "A shorter span of time", id="span.shorter"),
        Binding("greater_than_sign", "speed(2.0)", "Play twice as fast", id="speed.up"),
        Binding("less_than_sign", "speed(0.5)", "Play half as fast", id="speed.down"),
        *(Binding(str(number), f"open({number})", f"Open {layer}", id=f"open.{layer}")
          for number, layer in enumerate(LAYERS, 1)),
        Binding("M,enter", "maximise", "Open the panel, or close it", id="panel.open"),
        Binding("escape", "back", "One step back", id="back"),
        Binding("left,h", "side(-1)", "Panel to the left", id="panel.left"),
        Binding("right,l", "side(1)", "Panel to the right", id="panel.right"),
        Binding("S", "sources", "List of sources", id="sources"),
        Binding("c", "changes", "What changed and happened", id="changes"),
        Binding("C", "cost", "What the console itself costs", id="cost"),
    ]  # fmt: skip

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._size_shown = console.layout.size_for(80, 24)
        drawing = Drawing(console.glyphs)
        self._panels = {
            panel.layer: LayerPanel(panel, LAYERS.index(panel.layer) + 1, drawing)
            for panel in sorted(console.layout.panel, key=lambda panel: LAYERS.index(panel.layer))
        }

    def compose(self) -> ComposeResult:
        """See `textual.screen.Screen.compose`."""
        glyphs = self.console.glyphs
        with Container(id="head"):
            with Container(id="top"):
                yield TitleBar(glyphs, id="title")
                yield TransportBar(self.console.deck, glyphs, id="transport")
            yield HealthBar(glyphs, id="health")
            yield NoticeBar(glyphs, id="notice")
            verdict = Bar(glyphs, id="verdict")
            verdict.display = False
            yield verdict
        yield PanelGrid(list(self._panels.values()), self._size_shown)
        with Container(id="foot"):
            yield TimeAxis(glyphs, id="axis")
            yield KeyBar(glyphs, id="keys")

    def on_mount(self) -> None:
        """Begin with the first panel."""
        super().on_mount()
        self._fit()
        next(iter(self._panels.values())).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Take the layout's step for another size."""
        self._fit()
        super().on_resize(event)

    def look(self, view: View) -> None:
        """See `ConsoleScreen.look`."""
        opened = self.maximized
        path = (opened.spec.layer,) if isinstance(opened, LayerPanel) else ()
        self.query_one(TitleBar).tell(self.console.name, *path)
        self.query_one(TransportBar).look(view)
        self.query_one(HealthBar).look(view)
        self.query_one(NoticeBar).say(self.console.notices)
        for panel in [opened] if isinstance(opened, LayerPanel) else self._shown():
            panel.look(view)
        self.query_one(TimeAxis).look(view)
        if self.console.shows_cost:
            self.console.cost.measure()
        cost = self.console.cost.words() if self.console.shows_cost else ()
        self.query_one(KeyBar).hints(HINTS, cost)

    def on_layer_panel_left(self, message: LayerPanel.Left) -> None:
        """Hand the row cursor to the panel above or below."""
        target = self._neighbour(message.panel, 0, message.direction)
        if target is not None:
            target.enter_from(message.direction)
            target.focus()

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
                self.console.go_to(at)
                self.look_again()

    def action_pause(self) -> None:
        """Pause the display, or let it go on."""
        self.console.pause()
        self.look_again()

    def action_step(self, steps: float) -> None:
        """Move the time cursor by some steps of the timeline."""
        self.console.move(steps * self.console.state.timeline.step_s)
        self.look_again()

    def action_now(self) -> None:
        """Go back to the newest moment."""
        self.console.newest()
        self.look_again()

    def action_zoom(self, steps: int) -> None:
        """Show a longer span of time, or a shorter one."""
        self.console.zoom(steps)
        self.look_again()

    def action_speed(self, factor: float) -> None:
        """Play faster or slower, where the feed can."""
        if not self.console.deck.play_at(factor):
            self.notify("this feed runs at the speed of time", markup=False)
        self.look_again()

    def action_open(self, number: int) -> None:
        """Open a layer's panel with all its numbers."""
        panel = self._panels.get(LAYERS[number - 1])
        if panel is None:
            self.notify(f"this layout has no panel for {LAYERS[number - 1]}", markup=False)
            return
        self.maximize(panel, container=False)
        panel.focus()
        self.call_after_refresh(self.look_again)

    def action_maximise(self) -> None:
        """Open the panel that has the focus, or close the one that is open."""
        if self.maximized is not None:
            self.action_back()
        elif isinstance(self.focused, LayerPanel):
            self.action_open(self.focused.number)

    def action_back(self) -> None:
        """Close the open panel; else go back to now."""
        if self.maximized is not None:
            self.minimize()
            self.call_after_refresh(self.look_again)
        elif self.console.cursor.at is not None:
            self.action_now()

    def action_side(self, direction: int) -> None:
        """Focus the panel to the left or right."""
        if isinstance(self.focused, LayerPanel) and self.maximized is None:
            target = self._neighbour(self.focused, direction, 0)
            if target is not None:
                target.focus()

    def action_sources(self) -> None:
        """List the sources."""
        from tui.screens.sources import SourcesScreen

        self.app.push_screen(SourcesScreen(self.console))

    def action_changes(self) -> None:
        """List what changed and happened."""
        from tui.screens.changes import ChangesScreen

        self.app.push_screen(ChangesScreen(self.console))

    def action_help(self) -> None:
        """Explain keys and numbers."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self.console, self.active_bindings))

    def action_cost(self) -> None:
        """Show what the console costs, or stop showing it."""
        self.console.shows_cost = not self.console.shows_cost
        self.look_again()

    def _fit(self) -> None:
        size = self.console.layout.size_for(self.app.size.width, self.app.size.height)
        self._size_shown = size
        drawing = Drawing(self.console.glyphs, size.histories and not self.console.low_bandwidth, size.tables)
        for panel in self._panels.values():
            panel.drawing = drawing
        self.query_one(PanelGrid).use(size)

    def _shown(self) -> list[LayerPanel]:
        return [self._panels[layer] for band in self._size_shown.grid for layer in band.panels]

    def _wheel(self, columns: int) -> None:
        view = self.console.view()
        self.console.move(columns * view.column_s(view.fit(track_width(self.app.size.width))))
        self.look_again()

    def _neighbour(self, panel: LayerPanel, across: int, down: int) -> LayerPanel | None:
        """Return the nearest panel beside another: in the same band, or in the next."""
        bands = [band.panels for band in self._size_shown.grid]
        place = next((index for index, layers in enumerate(bands) if panel.spec.layer in layers), None)
        if place is None:
            return None
        column = bands[place].index(panel.spec.layer)
        if across:
            column += across
            return self._panels[bands[place][column]] if 0 <= column < len(bands[place]) else None
        if not 0 <= place + down < len(bands):
            return None
        share = (column + 0.5) / len(bands[place])
        target = bands[place + down]
        return self._panels[target[min(int(share * len(target)), len(target) - 1)]]
