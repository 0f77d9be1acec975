"""One line while an incident is open: what is wrong, since when, in which layer, and how sure that is."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from aistack_top.model.incident import PLAIN_WORDS, Incident
from aistack_top.model.signals import signals
from aistack_top.store.facts import Facts
from aistack_top.store.labels import label
from aistack_top.text import numbers
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
    """Return the incidents that are open at the moment shown, the newest first."""
    return [one for one in reversed(view.frame.incidents) if one.open]


def incident_shown(view: View) -> Incident | None:
    """Return the newest incident that is open at the moment shown; else the newest that is known."""
    found = open_incidents(view) or list(reversed(view.frame.incidents))
    return found[0] if found else None


def verdict_line(incidents: list[Incident], view: View, width: int) -> Line:
    """Return the newest incident in one line; others are counted."""
    newest = incidents[0]
    facts = view.frame.facts
    others = f", and {len(incidents) - 1} more" if len(incidents) > 1 else ""
    what = what_words(newest, facts)
    since = f"since {clock(newest.onset)}"
    why = why_words(newest)
    short = what_words(newest, facts, whose=False)
    brief = what_words(newest, facts, whose=False, brief=True)
    said = first_that_fits(
        [
            f"{what}, {since} ({lasting(newest, view)}): {why}{others}  (enter, i: open)",
            f"{what}, {since}: {why}{others}  (i: open)",
            f"{what}, {since}: {why}{others}",
            f"{short}, {since}: {why}{others}",
            f"{brief} {since}: {why}{others}",
            f"{brief} {since}: {why}",
            f"{brief}: {why}",
        ],
        width - 2,
    )
    return (cell("! ", "alarm"), cell(said, "warning"))


def lasting(incident: Incident, view: View) -> str:
    """Return how long an incident has gone on, in whole minutes: a line that changed every second costs a slow link."""
    minutes = int(max(view.frame.at - incident.onset, 0.0) // 60)
    return f"{numbers.age(minutes * 60.0)}" if minutes >= 2 else "1 min" if minutes else "under 1 min"


def what_words(incident: Incident, facts: Facts, *, whose: bool = True, brief: bool = False) -> str:
    """Return the symptom: ``TTFT p95 of vllm-0 4.1 s, 8.0x its usual``."""
    symptom = incident.symptom
    if symptom.ratio is None and symptom.signal in PLAIN_WORDS:
        said, short = PLAIN_WORDS[symptom.signal]
        return sanitize(said.format(who=label(symptom.entity, facts, 24)) if whose else short, 120)
    signal = signals().get(symptom.signal)
    name = signal.title if signal else symptom.signal
    part = f" {symptom.stat}" if symptom.stat not in ("", "value") else ""
    of = f" of {label(symptom.entity, facts, 24)}" if whose and symptom.entity.pairs else ""
    if (
        signal and signal.kind == "flag"
    ):  # the engine is what a flag is about, so that it stays where there is less room
        return sanitize(f"{label(symptom.entity, facts, 24)} {name}", 120)
    peak = numbers.of_signal(symptom.peak, signal) if signal else numbers.short(symptom.peak)
    ratio = (
        "" if symptom.ratio is None else f" ({symptom.ratio:.1f}x)" if brief else f", {symptom.ratio:.1f}x its usual"
    )
    return sanitize(f"{name}{part}{of} {peak}{ratio}", 120)


def why_words(incident: Incident) -> str:
    """Return layer, cause and how sure: ``compute, thermal throttle, likely``."""
    if incident.strength == "unknown" or incident.cause.value in ("unknown", "none"):
        where = f"{incident.layer}, " if incident.layer else ""
        return f"{where}cause not seen"
    layer = f"{incident.layer}, " if incident.layer else ""
    return f"{layer}{incident.cause.value.replace('_', ' ')}, {incident.strength}"
