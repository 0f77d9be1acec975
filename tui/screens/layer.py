"""The full picture of one layer."""

from collections.abc import Sequence

from aistack_top.model.signals import signals
from layouts.layers import layer_screen
from tui.hints import empty_texts
from tui.model import filtering
from tui.model.console import Console
from tui.screens.row_list import RowListScreen
from tui.sections import layer as sections
from tui.sections import other_signals as rest
from tui.sections.context import RenderContext, SortOrder
from tui.widgets.panel_lines import FINDERS
from tui.widgets.row_list import Row, RowList


class LayerScreen(RowListScreen):
    """What ``layouts/screens`` says about a layer, and every other number it has."""

    def __init__(self, console: Console, name: str) -> None:
        super().__init__(console)
        self.name_of_layer = name

    def show_layer(self, name: str) -> None:
        """Show another layer, from its beginning, in its own order and whole."""
        if name != self.name_of_layer:
            self.name_of_layer = name
            self.order, self.wanted = SortOrder(), filtering.EVERYTHING
            self.query_one(RowList).begin()
        self.refresh_now()

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return self.name_of_layer

    def about_layer(self) -> str:
        """Return the layer that this screen is about."""
        return self.name_of_layer

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        return sections.rows(layer_screen(self.name_of_layer), scene, self._empty(scene))

    def columns(self, scene: RenderContext) -> list[str]:
        """Return the columns that can be sorted by."""
        return sections.sortable(layer_screen(self.name_of_layer), scene)

    def numbers(self) -> Sequence[str]:
        """See `ConsoleScreen.numbers`: those that its file names, and those that the layer has at this moment."""
        frame, named = self.console.view().frame, rest.named(layer_screen(self.name_of_layer))
        mine = [
            signal.name for signal in signals().values() if signal.layer == self.name_of_layer or signal.name in named
        ]
        return [name for name in mine if name in named or frame.entities(name)]

    def _empty(self, scene: RenderContext) -> str:
        if not scene.view.settled:
            return "waiting for the first data"
        if any(one.layer == self.name_of_layer and one.kind not in FINDERS for _, one in scene.view.frame.health):
            return "no data from its sources (below) at this time"
        try:
            told = empty_texts(self.console.layout.panel_of(self.name_of_layer))
        except KeyError:
            return "no source for this layer"
        return next((text for text in told if len(text) + 2 <= scene.width), told[-1])
