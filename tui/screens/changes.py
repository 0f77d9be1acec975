"""Changes and events, and what people noted, newest first."""

from collections.abc import Sequence

from aistack_top.model.tick import Event, Mark
from aistack_top.text.sanitize import sanitize
from tui.model.targets import MomentTarget
from tui.screens.row_list import RowListScreen
from tui.sections.context import RenderContext, note_line
from tui.sections.events import event_lines
from tui.widgets.axis import MARK, clock
from tui.widgets.cells import cell, wrapped
from tui.widgets.row_list import Row, static_row

REACH_S = 24 * 3600.0


class ChangesScreen(RowListScreen):
    """Events, changes and notes of a day, up to the moment shown; a line leads to its moment."""

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return "changes"

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        glyphs, frame = scene.glyphs, scene.view.frame
        room = max(scene.width - 2, 8)
        notices = [
            static_row((cell("  " if place else "! ", "alarm"), cell(part, "text", room)))
            for text in self.console.notices
            for place, part in enumerate(wrapped(glyphs.text(sanitize(text, 600)), room))
            if len(self.console.notices) > 1 or len(text) > room  # the line above says it already
        ]
        events: list[Event | Mark] = [one for one in frame.events(frame.at - REACH_S) if _passes(one, scene)]
        events += [mark for mark in frame.marks if mark.at <= frame.at and _passes(mark, scene)]
        events.sort(key=lambda one: one.at, reverse=True)
        if not events:
            said = "nothing matches the filter" if scene.wanted else "no changes or events in the last 24 h"
            return [*notices, note_line(said)]
        return [*notices, *(row for event in events for row in _rows(event, scene))]


def _passes(one: Event | Mark, scene: RenderContext) -> bool:
    if isinstance(one, Mark):
        return scene.wanted.passes({"text": one.text, "kind": one.kind, "author": one.author, "layer": ""})
    said = {"text": one.text, "kind": one.kind, "severity": one.severity, "layer": one.layer, "entity": str(one.entity)}
    return scene.wanted.passes(said)


def _rows(one: Event | Mark, scene: RenderContext) -> list[Row]:
    if isinstance(one, Mark):
        author = sanitize(one.author, 20) or "somebody"
        said = f"{author}: {sanitize(one.text, 400)}"
        line = (
            cell(clock(one.at), "dim", 13),
            cell(scene.glyphs.text(f"{MARK} {one.kind}"), "title", 22),
            cell(scene.glyphs.text(said), "text", max(scene.width - 35, 8)),
        )
        return [static_row(line, MomentTarget(one.at, one.text))]
    first, *more = event_lines(one, scene.view, scene.width, scene.glyphs)
    return [static_row(first, MomentTarget(one.at, one.text)), *map(static_row, more)]
