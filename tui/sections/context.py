"""What every section is drawn from: the moment, the room, and what a person wishes to see first, or only."""

from dataclasses import dataclass

from aistack_top.text.sanitize import sanitize
from tui.glyphs import Glyphs
from tui.model.filtering import EVERYTHING, Filter
from tui.model.view import View
from tui.widgets.cells import Line, cell, wrapped
from tui.widgets.panel_lines import Drawing
from tui.widgets.row_list import Row, static_row

MAX_TEXT = 600


@dataclass(frozen=True, slots=True)
class SortOrder:
    """By which column rows stand, and whether the smallest comes first; no column is their natural order."""

    column: str = ""
    smallest_first: bool = False


@dataclass(frozen=True, slots=True)
class RenderContext:
    """One moment of one layer on a board of some width and height."""

    view: View
    width: int
    drawing: Drawing
    layer: str = ""
    order: SortOrder = SortOrder()
    wanted: Filter = EVERYTHING
    height: int = 24

    @property
    def glyphs(self) -> Glyphs:
        """The signs of this terminal."""
        return self.drawing.glyphs


def heading(title: str, scene: RenderContext, note: str = "") -> Row:
    """Return the line that begins a section."""
    said = title if len(title) + 4 <= scene.width else title.split(",")[0]
    rest = max(scene.width - len(said) - 3, 0)
    tail = f" {note} " if note and len(note) + 8 <= rest else ""
    rule = scene.glyphs.text("─")
    line: Line = (
        cell(scene.glyphs.text(said), "title"),
        cell(" " + rule * max(rest - len(tail), 0), "rule"),
        cell(scene.glyphs.text(tail), "dim"),
    )
    return static_row(line, head=True)


def note_line(text: str, style: str = "dim") -> Row:
    """Return a line that only says something."""
    return static_row((cell("  " + text, style),))


def paragraph(text: str, scene: RenderContext, style: str = "text") -> list[Row]:
    """Return a text from outside over as many lines as it takes."""
    parts = wrapped(scene.glyphs.text(sanitize(text, MAX_TEXT)), max(scene.width - 2, 20))
    return [note_line(part, style) for part in parts]


BLANK = static_row(())
