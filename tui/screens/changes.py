"""What changed and happened, newest first."""

import textwrap
from datetime import datetime

from aistack_top.labels import label
from aistack_top.plain import plain
from aistack_top.tick import Event, Severity
from tui.glyphs import SEVERITY_SIGNS, Glyphs
from tui.screens.base import ListScreen
from tui.view import View
from tui.widgets.cells import Line, cell

REACH_S = 24 * 3600.0
_STYLES: dict[Severity, str] = {"info": "text", "warning": "warning", "critical": "alarm"}


class ChangesScreen(ListScreen):
    """Events and changes of a day, up to the moment shown."""

    @property
    def crumb(self) -> str:
        """See `ConsoleScreen.crumb`."""
        return "changes"

    def lines(self, view: View, width: int) -> list[Line]:
        """See `ListScreen.lines`."""
        glyphs = self.console.glyphs
        notices = [(cell("! ", "alarm"), cell(glyphs.text(plain(text, width - 2)))) for text in self.console.notices]
        events = sorted(view.frame.events(view.frame.at - REACH_S), key=lambda event: event.at, reverse=True)
        if not events:
            return [*notices, (cell("nothing changed or happened in the last 24 h that is known here", "dim"),)]
        return [*notices, *(line for event in events for line in event_lines(event, view, width, glyphs))]


def event_lines(event: Event, view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return an event with its time, severity, layer and whom it is about; long texts go on below."""
    at = datetime.fromtimestamp(event.at).astimezone()
    today = datetime.fromtimestamp(view.frame.at).astimezone().date() == at.date()
    head = [
        cell(at.strftime("%H:%M:%S" if today else "%a %H:%M:%S"), "dim", 13),
        cell(glyphs.text(f"{SEVERITY_SIGNS[event.severity]} {event.severity}"), _STYLES[event.severity], 11),
        cell(event.layer, "dim", 11),
    ]
    who = label(event.entity, view.frame.facts, 30)
    said = plain(event.text, 600) if who == "all" or who in event.text else f"{who}: {plain(event.text, 600)}"
    indent = sum(one.width for one in head)
    parts = textwrap.wrap(glyphs.text(said), max(width - indent, 20)) or [""]
    return [(*head, cell(parts[0])), *((cell("", "text", indent), cell(part)) for part in parts[1:])]
