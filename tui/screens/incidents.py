"""The list of incidents: open ones first, then those that ended, newest first."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from aistack_top.derive.incident_figures import span, symptom_words
from aistack_top.model.incident import Incident
from aistack_top.text import numbers
from tui.model.targets import IncidentTarget
from tui.screens.incident import ask_to_dismiss
from tui.screens.row_list import RowListScreen
from tui.sections.context import RenderContext, heading, note_line
from tui.widgets.axis import clock
from tui.widgets.cells import Line, cell, first_that_fits
from tui.widgets.row_list import Row, RowList
from tui.widgets.verdict import why_words

WHEN = 10
LASTS = 10
STATE = 11


class IncidentsScreen(RowListScreen):
    """Every incident known at the moment shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "dismiss_it", "Dismiss the selected incident, with a reason", id="incidents.dismiss"),
    ]

    def action_dismiss_it(self) -> None:
        """Ask why the chosen incident is none."""
        target = self.query_one(RowList).chosen
        if isinstance(target, IncidentTarget):
            ask_to_dismiss(self, self.console.state.incidents.get(target.name))

    def about_incident(self) -> Incident | None:
        """See `ConsoleScreen.about_incident`; the chosen one."""
        target = self.query_one(RowList).chosen
        known = self.console.view().frame.incidents
        found = (one for one in known if isinstance(target, IncidentTarget) and one.id == target.name)
        return next(found, None) or super().about_incident()

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return "incidents"

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        known = scene.view.frame.incidents
        shown = [one for one in reversed(known) if not scene.wanted or scene.wanted.passes(_fields(one, scene))]
        shown.sort(key=lambda one: not one.open)
        left = f"{len(shown)} of {len(known)}" if len(shown) < len(known) else ""
        top = heading("incidents", scene, left)
        if not known:
            return [top, note_line("none: no anomaly detected in the observed signals")]
        titles = (
            cell("  began", "dim", WHEN + 2),
            cell("duration", "dim", LASTS),
            cell("", "dim", STATE),
            cell("what, and why", "dim"),
        )
        rows = [Row(partial(_line, one, scene), IncidentTarget(one.id)) for one in shown]
        return [top, Row(lambda: titles), *rows] if rows else [top, note_line("no incident matches the filter")]


def _line(incident: Incident, scene: RenderContext) -> Line:
    frame = scene.view.frame
    state = "dismissed" if incident.dismissed else "open" if incident.open else "ended"
    width = scene.width - WHEN - LASTS - STATE - 2
    why = why_words(incident)
    times = f", occurrence {incident.times} in 30 min" if incident.times > 1 else ""
    brief = symptom_words(incident, frame.facts, whose=False, brief=True)
    said = first_that_fits([f"{why}{times}: {symptom_words(incident, frame.facts)}", f"{why}: {brief}", why], width)
    return (
        cell("  " + clock(incident.onset), "label", WHEN + 2),
        cell(numbers.age(span(incident, frame.at).lasted_s), "text", LASTS),
        cell(state, "alarm" if incident.open else "dim", STATE),
        cell(scene.glyphs.text(said), "text", max(width, 1)),
    )


def _fields(incident: Incident, scene: RenderContext) -> dict[str, str]:
    return {
        "what": symptom_words(incident, scene.view.frame.facts),
        "cause": incident.cause.value,
        "layer": incident.layer,
        "confidence": incident.confidence,
        "signal": incident.symptom.signal,
        "entity": str(incident.symptom.entity),
    }
