"""The list of sources: how each one is, in full words, and which engine is known to use which GPU."""

from tui.model.view import View
from tui.screens.base import ListScreen
from tui.sections.sources import link_lines, source_lines
from tui.widgets.cells import Line


class SourcesScreen(ListScreen):
    """All sources, the worst first, then the links between engines and GPUs."""

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return "sources"

    def lines(self, view: View, width: int) -> list[Line]:
        """Return the lines of this screen at the time shown."""
        glyphs = self.console.glyphs
        return [*source_lines(view, width, glyphs), (), *link_lines(view, width, glyphs)]
