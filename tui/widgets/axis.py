"""The time axis that all panels share: its span, what happened on it, and where the cursor stands."""

from datetime import datetime
from itertools import groupby

from aistack_top.model.tick import Severity
from tui.glyphs import SEVERITY_SIGNS, Glyphs
from tui.model.view import View
from tui.widgets.cells import Cell, CellView, Line, cell

CHANGE, MARK, ONSET = "◇", "◆", "×"
"""Something changed; a person noted something; an incident began, and goes on for as long as the line is thick."""

_RANK: tuple[Severity, ...] = ("info", "warning", "critical")
_STYLE: dict[Severity, str] = {"info": "text", "warning": "warning", "critical": "alarm"}


class TimeAxis(CellView):
    """One line: first time, track with marks and cursor, last time, span."""

    def update_view(self, view: View) -> None:
        """Show a moment."""
        if self.size.width and view.frame.now > 0:
            self.show([axis(view, self.size.width, self.glyphs)])

    def column_at(self, x: int, view: View) -> float | None:
        """Return the time under a column of the widget, or None beside the track."""
        room = track_width(self.size.width)
        count = view.fit(room)
        place = x - 9 - (room - count)
        return view.start(count) + (place + 1) * view.column_s(count) - 1e-3 if 0 <= place < count else None


def track_width(width: int) -> int:
    """Return how many columns the track has on an axis of a width: less two times of day and the span."""
    return max(width - 26, 8)


def axis(view: View, width: int, glyphs: Glyphs) -> Line:
    """Return the axis as one line."""
    room = track_width(width)
    count = view.fit(room)
    marks = _marks(view, count)
    troubled = _troubled(view, count)
    cursor = view.cursor(count)
    signs = [_sign(column, marks, troubled, cursor, glyphs) for column in range(count)]
    runs = [(style, "".join(sign for sign, _ in group)) for style, group in groupby(signs, key=lambda sign: sign[1])]
    track = tuple(Cell(text, style, len(text)) for style, text in runs)
    first = cell(clock(view.start(count)), "dim")
    # the seconds of the newest moment stand in the transport bar; here they would cost a line a second
    last = cell(f" {clock(view.end)[: 5 if view.frame.follows else 8]}", "dim", 9)
    pad = cell("", "text", room - count)
    used = pad.width + first.width + 1 + count + last.width
    length = cell(span(view.span_s), "dim", max(width - used, 0), right=True)
    return (pad, first, cell(" "), *track, last, length)


def clock(at: float) -> str:
    """Return a local time of day to the second."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def zone(at: float) -> str:
    """Return the name of the local time zone at a time."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Z")


def span(seconds: float) -> str:
    """Return the length of the axis: ``5 min``, ``1 h``."""
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def _marks(view: View, count: int) -> dict[int, tuple[str, str]]:
    """Return sign and style of each column in which something happened: the most important thing there."""
    found: dict[int, tuple[int, str, str]] = {}

    def put(at: float, rank: int, sign: str, style: str) -> None:
        column = view.column_of(at, count)
        if column is not None and rank >= found.get(column, (0, "", ""))[0]:
            found[column] = (rank, sign, style)

    for event in view.frame.log:
        if event.kind == "changed" and event.severity == "info":
            put(event.at, 1, CHANGE, "text")
        else:
            put(event.at, _RANK.index(event.severity) * 2, SEVERITY_SIGNS[event.severity], _STYLE[event.severity])
    for mark in view.frame.marks:
        put(mark.at, 3, MARK, "title")
    for incident in view.frame.incidents:
        if not incident.dismissed:
            put(incident.onset, 5, ONSET, "alarm")
    return {column: (sign, style) for column, (_, sign, style) in found.items()}


def _troubled(view: View, count: int) -> set[int]:
    """Return the columns in which an incident was open."""
    found: set[int] = set()
    first, width = view.start(count), view.column_s(count)
    for incident in view.frame.incidents:
        if not incident.dismissed:
            end = min(view.frame.at if incident.end is None else incident.end, view.frame.at)
            low, high = (int((at - first) // width) for at in (incident.onset, end))
            found.update(range(max(low, 0), min(high + 1, count)))
    return found


def _sign(
    column: int, marks: dict[int, tuple[str, str]], troubled: set[int], cursor: int | None, glyphs: Glyphs
) -> tuple[str, str]:
    if column == cursor:
        return glyphs.text("│"), "cursor"
    if column in marks:
        sign, style = marks[column]
        return glyphs.text(sign), style
    return (glyphs.text("━"), "alarm") if column in troubled else (glyphs.text("─"), "rule")
