"""Places the panels of a layout: bands of equal panels, in steps and never by what they hold."""

from collections.abc import Sequence
from itertools import pairwise

from textual.geometry import Offset, Region, Spacing
from textual.geometry import Size as Area
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from layouts.load import Band, Size
from tui.widgets.panel import LayerPanel

GAP = 1
_NO_MARGIN = Spacing()


class PanelGrid(Widget):
    """Holds all panels, and places those of the present size."""

    def __init__(self, panels: Sequence[LayerPanel], size: Size) -> None:
        super().__init__(*panels, id="grid")
        self._bands = _Bands(size.grid)

    @property
    def layout(self) -> Layout:
        """See `textual.widget.Widget.layout`."""
        return self._bands

    def use(self, size: Size) -> None:
        """Place the panels as another size says."""
        if self._bands.bands != size.grid:
            self._bands = _Bands(size.grid)
            self.refresh(layout=True)


class _Bands(Layout):
    name = "bands"

    def __init__(self, bands: tuple[Band, ...]) -> None:
        self.bands = bands

    def arrange(self, parent: Widget, children: list[Widget], size: Area, greedy: bool = True) -> ArrangeResult:
        by_layer = {child.spec.layer: child for child in children if isinstance(child, LayerPanel)}
        placements, y = [], 0
        for band, height in zip(self.bands, heights([band.height for band in self.bands], size.height), strict=True):
            edges = [round(index * (size.width + GAP) / len(band.panels)) for index in range(len(band.panels) + 1)]
            for layer, (left, right) in zip(band.panels, pairwise(edges), strict=True):
                region = Region(left, y, max(right - left - GAP, 0), height)
                placements.append(WidgetPlacement(region, Offset(), _NO_MARGIN, by_layer[layer]))
            y += height
        return placements


def heights(wanted: Sequence[int], room: int) -> list[int]:
    """Divide lines among bands: each gets what it wants, more or less in proportion.

    Each has a title and its worst number, as long as there are two lines for all of them.
    """
    total = sum(wanted)
    if not total:
        return []
    edges, past = [0], 0
    for height in wanted:
        past += height
        edges.append(round(past * room / total))
    found = [below - above for above, below in pairwise(edges)]
    least = 2 if room >= 2 * len(found) else 1
    while room >= least * len(found) and min(found) < least:
        found[found.index(max(found))] -= 1
        found[found.index(min(found))] += 1
    return found
