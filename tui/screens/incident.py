"""One incident: the verdict, its evidence on one axis, the affected calls, and one safe next step."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from aistack_top.model.incident import Incident
from aistack_top.model.signals import signals
from aistack_top.state import State
from tui.model.console import Console
from tui.model.view import SPANS_S
from tui.screens.base import BACK, TIME_HINTS, ConsoleScreen, Hints
from tui.screens.row_list import RowListScreen
from tui.sections import incident as parts
from tui.sections.context import BLANK, RenderContext, note_line
from tui.widgets.row_list import Row

HOUR_S = 3600.0
AROUND_S = 60.0
"""How much of the time before the onset is to be on the axis at least."""


def ask_to_dismiss(screen: ConsoleScreen, incident: Incident | None) -> None:
    """Ask why an incident is none, and say so of it."""

    def dismiss(reason: str) -> None:
        if incident is None or not reason:
            screen.show_message("not dismissed: a reason is needed")
            return
        kept = screen.console.dismiss(incident, reason)
        screen.refresh_view()
        screen.show_message("dismissed" if kept else "dismissed in this session only (recording is off)")

    if incident is not None:
        screen.ask("dismiss, because", dismiss, hint="e.g. this morning's load test")


class IncidentScreen(RowListScreen):
    """What was known of an incident at the moment shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "dismiss_it", "Dismiss the incident, with a reason", id="incident.dismiss"),
        Binding("b", "compare", "Compare with yesterday, or with before the onset", id="incident.compare"),
    ]

    def __init__(self, console: Console, name: str) -> None:
        super().__init__(console)
        self.incident_id = name
        self._yesterday: State | None = None

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        found = self._incident()
        return f"incident {found.cause.value.replace('_', ' ')}" if found else "incident"

    def on_mount(self) -> None:
        """Bring the onset onto the axis."""
        super().on_mount()
        self._bring()

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        found = next((one for one in scene.view.frame.incidents if one.id == self.incident_id), None)
        if found is None:
            return [note_line("this incident was not yet detected at the time shown; n: back to now")]
        height = 3 if scene.height < 32 else 4 if scene.height < 42 else 5
        return [
            *parts.verdict_rows(found, scene, self.console.runbooks),
            BLANK,
            *parts.chart_rows(found, scene, height, self._against(found, scene)),
            BLANK,
            *parts.reason_rows(found, scene),
            *parts.paid_rows(found, scene),
            *parts.happened_rows(found, scene),
        ]

    def hints(self) -> Hints:
        """Return the keys shown on the last line."""
        return (
            BACK,
            ("j k", "scroll", ""),
            ("enter", "open", ""),
            ("{ }", "other incident", ""),
            ("m", "note", "screen.mark"),
            ("b", "before / yesterday", "screen.compare"),
            ("x", "dismiss", "screen.dismiss_it"),
            ("e", "keep", "app.keep_evidence"),
            ("y", "copy", "app.copy_verdict"),
            *TIME_HINTS,
            ("?", "help", "app.open('help')"),
        )

    def about_incident(self) -> Incident | None:
        """See `ConsoleScreen.about_incident`."""
        return next((one for one in self.console.view().frame.incidents if one.id == self.incident_id), None)

    def numbers(self) -> Sequence[str]:
        """See `ConsoleScreen.numbers`: the symptom, and what may explain it."""
        found = self.about_incident()
        said = [] if found is None else [found.symptom.signal, *(one.signal for one in found.candidates)]
        return [name for name in dict.fromkeys(said) if name in signals()]

    def action_incident_at(self, direction: int) -> None:
        """Show the incident before, or the next, and go to its time."""
        known = sorted(self.console.state.incidents.at(), key=lambda one: (one.onset, one.id))
        place = next((index for index, one in enumerate(known) if one.id == self.incident_id), None)
        if place is None or not 0 <= place + direction < len(known):
            self.show_message("no later incident" if direction > 0 else "no earlier incident")
            return
        self.incident_id = known[place + direction].id
        self._bring()
        self.refresh_view()

    def action_compare(self) -> None:
        """Compare with the same hour of yesterday; again, with the time before the onset."""
        if self._yesterday is not None:
            self._yesterday = None
            self.refresh_view()
            return
        self.show_message("loading yesterday")
        self.run_worker(self._read_yesterday(), exclusive=True, exit_on_error=False)

    async def _read_yesterday(self) -> None:
        from tui.model import compare_day as yesterday

        try:
            recording = await self.console.deck.recording()
            self._yesterday = await yesterday.same_hour(recording, self.console.view().frame.at)
        except yesterday.NoDataError as error:
            self.show_message(str(error))
            return
        self.show_message("comparing with the same hour yesterday")
        self.refresh_view()

    def _against(self, incident: Incident, scene: RenderContext) -> parts.Comparison:
        """Return what now is compared with."""
        if self._yesterday is None:
            return parts.before_onset(incident, scene.view.frame)
        end = self._yesterday.now
        return parts.Comparison("yesterday", self._yesterday.frame(), end - HOUR_S, end)

    def action_dismiss_it(self) -> None:
        """Ask why the incident is none."""
        ask_to_dismiss(self, self._incident())

    def _incident(self) -> Incident | None:
        return self.console.state.incidents.get(self.incident_id)

    def _bring(self) -> None:
        """Stand where the incident can be seen: at now with a span that reaches back, else at its own time."""
        found = self._incident()
        if found is None:
            return
        console = self.console
        here = console.view().frame.at
        reach = here - found.onset + AROUND_S
        fitting = [span for span in SPANS_S if span >= reach]
        if found.onset <= here and fitting and (found.end is None or found.end >= here - fitting[0]):
            console.cursor.span_s = max(console.cursor.span_s, fitting[0])
            return
        end = found.detected if found.end is None else found.end
        console.go_to(min(max(end, found.detected), console.state.now))
        lasts = end - found.onset + 2 * AROUND_S
        console.cursor.span_s = next((span for span in SPANS_S if span >= lasts), SPANS_S[-1])
