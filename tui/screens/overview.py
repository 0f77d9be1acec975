"""The overview: every layer at one moment, on one axis."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from aistack_top.model.signals import LAYERS
from tui.model.console import Console
from tui.model.targets import LayerTarget, OpenTarget
from tui.model.view import View
from tui.screens.base import TIME_HINTS, ConsoleScreen, Hints
from tui.widgets.grid import PanelGrid
from tui.widgets.panel import LayerPanel
from tui.widgets.panel_lines import Drawing
from tui.widgets.verdict import VerdictBar, open_incidents


class OverviewScreen(ConsoleScreen):
    """Eight panels, and the keys that move among them."""

    ALLOW_IN_MAXIMIZED_VIEW = "#head, #foot"
    ESCAPE_TO_MINIMIZE = False
    HEALTH = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open the layer", id="panel.open"),
        Binding("M", "maximise", "Maximise the panel, or show all", id="panel.maximise"),
        Binding("tab", "app.focus_next", "Next panel", show=False, id="panel.next"),
        Binding("shift+tab", "app.focus_previous", "Previous panel", show=False, id="panel.previous"),
        Binding("left,h", "side(-1)", "Panel to the left", id="panel.left"),
        Binding("right,l", "side(1)", "Panel to the right", id="panel.right"),
    ]

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._greeted = False
        self._untouched = True
        self._size_shown = console.layout.size_for(80, 24)
        drawing = Drawing(console.glyphs)
        self._panels = {
            panel.layer: LayerPanel(panel, LAYERS.index(panel.layer) + 1, drawing)
            for panel in sorted(console.layout.panel, key=lambda panel: LAYERS.index(panel.layer))
        }

    def body(self) -> ComposeResult:
        """Yield the widgets between header and footer."""
        yield PanelGrid(list(self._panels.values()), self._size_shown)

    def on_mount(self) -> None:
        """Begin with the first panel."""
        super().on_mount()
        self._fit()
        next(iter(self._panels.values())).focus()

    def on_resize(self, event: events.Resize) -> None:
        """Take the layout's step for another size."""
        self._fit()
        super().on_resize(event)

    def path(self) -> tuple[str, ...]:
        """See `ConsoleScreen.path`."""
        opened = self.maximized
        return (opened.spec.layer,) if isinstance(opened, LayerPanel) else ()

    def draw(self, view: View) -> None:
        """Redraw this screen from a view."""
        opened = self.maximized
        for panel in [opened] if isinstance(opened, LayerPanel) else self._shown():
            panel.update_view(view)
        if not self._greeted and view.frame.incidents:
            self._greeted = True
            if self._untouched and open_incidents(view):
                self.query_one(VerdictBar).focus()

    def hints(self) -> Hints:
        """Return the keys shown on the last line."""
        return (
            ("q", "quit", "app.quit"),
            ("?", "help", "app.open('help')"),
            *((("i", "incident", "app.open('incident')"),) if open_incidents(self.console.view()) else ()),
            ("1-8", "layer", ""),
            *TIME_HINTS,
            ("A", "incidents", "app.open('incidents')"),
            ("T", "calls", "app.open('calls')"),
            ("S", "sources", "app.open('sources')"),
            ("c", "changes", "app.open('changes')"),
            ("e", "evidence", "app.keep_evidence"),
            ("R", "keep recording", "app.keep_recording"),
            (":", "all commands", "app.command_palette"),
        )

    def numbers(self) -> Sequence[str]:
        """Return the signals that the help of this screen explains."""
        from tui.screens.help import layout_names

        opened = self.maximized
        return layout_names(self.console.layout, [opened.spec.layer]) if isinstance(opened, LayerPanel) else ()

    def on_key(self) -> None:
        """Remember that somebody is at the keys: the focus is not moved under their fingers."""
        super().on_key()
        self._untouched = False

    def on_layer_panel_left(self, message: LayerPanel.Left) -> None:
        """Hand the row cursor to the panel above or below."""
        target = self._neighbour(message.panel, 0, message.direction)
        if target is not None:
            target.enter_from(message.direction)
            target.focus()

    def action_open(self) -> None:
        """Open the layer whose panel has the focus."""
        if isinstance(self.focused, LayerPanel):
            self.post_message(OpenTarget(LayerTarget(self.focused.spec.layer)))

    def action_maximise(self) -> None:
        """Show the panel that has the focus alone, or all of them again."""
        if self.maximized is not None:
            self.action_back()
        elif isinstance(self.focused, LayerPanel):
            panel = self.focused
            self.maximize(panel, container=False)
            panel.focus()
            self.call_after_refresh(self.refresh_view)

    def action_back(self) -> None:
        """Show all panels again; else go back to now."""
        if self.maximized is not None:
            self.minimize()
            self.call_after_refresh(self.refresh_view)
        elif self.console.cursor.at is not None:
            self.action_now()

    def action_side(self, direction: int) -> None:
        """Focus the panel to the left or right."""
        if isinstance(self.focused, LayerPanel) and self.maximized is None:
            target = self._neighbour(self.focused, direction, 0)
            if target is not None:
                target.focus()

    def _fit(self) -> None:
        size = self.console.layout.size_for(self.app.size.width, self.app.size.height)
        self._size_shown = size
        drawing = Drawing(self.console.glyphs, size.histories and not self.console.options.low_bandwidth, size.tables)
        for panel in self._panels.values():
            panel.drawing = drawing
        self.query_one(PanelGrid).use(size)

    def _shown(self) -> list[LayerPanel]:
        return [self._panels[layer] for band in self._size_shown.grid for layer in band.panels]

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
