"""Events in lines."""

from datetime import datetime

from aistack_top.model.tick import Event, Severity
from aistack_top.store.labels import label
from aistack_top.text.sanitize import sanitize
from tui.glyphs import SEVERITY_SIGNS, Glyphs
from tui.model.view import View
from tui.widgets.cells import Line, cell, wrapped

_STYLES: dict[Severity, str] = {"info": "text", "warning": "warning", "critical": "alarm"}


def event_lines(event: Event, view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return an event with its time, severity, layer and whom it is about; long texts go on below."""
    at = datetime.fromtimestamp(event.at).astimezone()
    today = datetime.fromtimestamp(view.frame.at).astimezone().date() == at.date()
    head = [
        cell(at.strftime("%H:%M:%S" if today else "%a %H:%M:%S"), "dim", 13),
        cell(glyphs.text(f"{SEVERITY_SIGNS[event.severity]} {event.severity}"), _STYLES[event.severity], 11),
        cell(sanitize(event.layer, 10), "dim", 11),
    ]
    who = label(event.entity, view.frame.facts, 30)
    said = sanitize(event.text, 600) if who == "all" or who in event.text else f"{who}: {sanitize(event.text, 600)}"
    indent = sum(one.width for one in head)
    parts = wrapped(glyphs.text(said), max(width - indent, 20)) or [""]
    return [(*head, cell(parts[0])), *((cell("", "text", indent), cell(part)) for part in parts[1:])]
