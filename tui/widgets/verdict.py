"""One line while an incident is open: what is wrong, since when, in which layer, and how sure that is."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from aistack_top.derive.incident_figures import NOTICE, deadline_words, gone_words, span, symptom_words
from aistack_top.model.incident import Incident
from aistack_top.text.sanitize import sanitize
from tui.model.targets import IncidentTarget, OpenTarget
from tui.model.view import View
from tui.widgets.axis import clock
from tui.widgets.bars import Bar
from tui.widgets.cells import Line, cell, first_that_fits


class VerdictBar(Bar, can_focus=True):
    """Takes no room while nothing is wrong; `enter` opens what it says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "app.open('incident')", "Open the incident", show=False, id="verdict.open"),
        Binding("down,j", "app.focus_next", "To the panels", show=False, id="verdict.down"),
    ]

    _gave: Widget | None = None

    def update_view(self, view: View) -> None:
        """Show a moment."""
        incidents = open_incidents(view)
        self._give_way(bool(incidents))
        if incidents:
            line = verdict_line(incidents, view, self.app.size.width)
            if self.has_focus:
                line = (line[0]._replace(style="chosen"), *line[1:])
            self.show([tuple(one._replace(text=self.glyphs.text(one.text)) for one in line)])

    def _give_way(self, shown: bool) -> None:
        """Appear or not. The keys go to the first panel while there is nothing to open, and come back with it."""
        if self.display and not shown and self.has_focus:
            self.screen.focus_next()
            self._gave = self.screen.focused
        self.display = shown
        if shown and self._gave is not None:
            if self.screen.focused is self._gave:
                self.focus()
            self._gave = None

    def on_focus(self) -> None:
        """Mark the line."""
        self._mark("chosen")

    def on_blur(self) -> None:
        """Unmark the line."""
        self._mark("alarm")

    def on_click(self) -> None:
        """Open the incident."""
        self.post_message(OpenTarget(IncidentTarget()))

    def _mark(self, style: str) -> None:
        if self.lines and self.lines[0]:
            first, *rest = self.lines[0]
            self.show([(first._replace(style=style), *rest)])


def open_incidents(view: View) -> list[Incident]:
    """Return the incidents that are open at the moment shown: a deadline first, a lost source last, else the newest."""
    found = [one for one in reversed(view.frame.incidents) if one.open]
    return sorted(found, key=lambda one: (one.deadline is None, one.cause.value == "source_lost"))


def incident_shown(view: View) -> Incident | None:
    """Return the newest incident that is open at the moment shown; else the newest that is known."""
    found = open_incidents(view) or list(reversed(view.frame.incidents))
    return found[0] if found else None


def verdict_line(incidents: list[Incident], view: View, width: int) -> Line:
    """Return the foremost incident in one line; others are named, or counted where there is no room."""
    first, *others = incidents
    facts = view.frame.facts
    what = symptom_words(first, facts)
    since = span(first, view.frame.at).said
    start = f"since {clock(first.onset)}"
    why = why_words(first)
    gone = gone_words(first, view.frame)
    why += f", {gone}" if gone else ""
    left = deadline_line(first, view)
    short = symptom_words(first, facts, whose=False)
    brief = symptom_words(first, facts, whose=False, brief=True)
    named = "".join(f"; also {why_words(one)}" for one in others)
    counted = f", and {len(others)} more" if others else ""
    tail = "  (i: open)"
    if left and first.symptom.signal == NOTICE:
        said = [f"{left}{named}{tail}", f"{left}{counted}{tail}", f"{left}{counted}", left]
    elif left:
        said = [f"{left}; {what}: {why}{named}{tail}", f"{left}; {brief}: {why}{counted}", f"{left}; {brief}", left]
    else:
        said = [
            f"{what}, {since}: {why}{named}{tail}",
            f"{what}, {since}: {why}{named}",
            f"{what}, {start}: {why}{counted}{tail}",
            f"{what}, {start}: {why}{counted}",
            f"{short}, {start}: {why}{counted}",
            f"{brief} {start}: {why}{counted}",
            f"{brief} {start}: {why}",
            f"{brief}: {why}",
            *([f"{brief}: {first.cause.value.replace('_', ' ')} {gone.removeprefix('cause ')}"] if gone else []),
            f"{brief}: {why_words(first)}",
        ]
    return (cell("! ", "alarm"), cell(first_that_fits(said, width - 2), "warning"))


def deadline_line(incident: Incident, view: View) -> str:
    """Return who takes the node back and when: ``AWS reclaims this node in 1:58 (10:17:00): drain now``."""
    if incident.deadline is None or not incident.open:
        return ""
    at, facts = view.frame.at, view.frame.facts
    cloud = next((value for _, key, value in facts.rows() if key == "cloud"), "")
    who = sanitize(cloud, 20) or "the provider"
    if at >= incident.deadline:
        return f"{who} reclaimed this node at {clock(incident.deadline)}"
    return f"{who} reclaims this node in {deadline_words(incident.deadline, at)}: drain now"


def why_words(incident: Incident) -> str:
    """Return layer, cause and how sure: ``compute, thermal throttle, likely``."""
    layer = f"{incident.layer}, " if incident.layer else ""
    if incident.confidence == "unknown" or incident.cause.value in ("unknown", "none"):
        return f"{layer}cause unknown"
    return f"{layer}{incident.cause.value.replace('_', ' ')}, {incident.confidence}"
