"""The list of sources: how each one is, in full words, and which engine is known to use which GPU."""

from tui.model.view import View
from tui.screens.base import ListScreen
from tui.sections.sources import link_lines, source_lines
from tui.widgets.cells import Line


class SourcesScreen(ListScreen):
    """All sources, the worst first, then the links between engines and GPUs."""

    @property
    def breadcrumb(self) -> str:
        """See `ConsoleScreen.breadcrumb`."""
        return "sources"

    def lines(self, view: View, width: int) -> list[Line]:
        """See `ListScreen.lines`."""
        glyphs = self.console.glyphs
        return [*source_lines(view, width, glyphs), (), *link_lines(view, width, glyphs)]
