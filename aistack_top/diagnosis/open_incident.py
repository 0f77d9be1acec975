"""One incident while it lives: what it is made of, when it is judged again, and its versions."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf

from aistack_top.derive.incident_figures import NOTICE, SOURCE_UP, sentence
from aistack_top.diagnosis.alarms import SIGNALS, is_withdrawn, place_of
from aistack_top.diagnosis.anomaly import Anomaly
from aistack_top.diagnosis.assessment import Assessment, affected_calls, assess, moments
from aistack_top.diagnosis.causes_apart import TOGETHER_S, is_other_cause
from aistack_top.diagnosis.change import Baseline
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.standing import cause_gone_since, lost_evidence, weakened
from aistack_top.diagnosis.steps import due_of
from aistack_top.diagnosis.unreachable import is_back
from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence, Incident, Moment, Symptom
from aistack_top.model.tick import Event, SeriesKey
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

REVIEWS_S = (0.0, 15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0)
"""Seconds after the detection at which it is judged again: evidence that is recorded late comes in meanwhile."""

LATER_S = 120.0
"""From then on it is judged again every so many seconds: what lasts may get another cause."""

ALARM_S = 300.0
"""A hardware error without a symptom is told for so long; a notice so long after its deadline."""

NOTICE_S = 1800.0
"""A notice without a deadline is told for so long, unless it is taken back."""

AFTERMATH_S = 120.0
"""So long after an engine works again its backlog may hurt."""

SETTLED_S = 15.0
"""An event's own signal may come a scrape after it."""

FIRST_S = 30.0
"""Symptoms that begin within this of the first are those that it began with."""

GREW = 1.25
GREW_AFTER_S = 45.0
"""A symptom that did the larger part of its rise so long after its onset is judged from there, too."""

_PREFERRED = (
    "serving.ttft",
    "serving.itl",
    "serving.http.server_errors",
    "serving.http.failed",
    "serving.http.errors",
    "serving.requests.rejected",
    "serving.requests.hung_up",
    "calls.request.ttft",
    "calls.request.latency",
    "calls.ttft",
    "calls.latency",
)


@dataclass
class OpenIncident:
    """An incident being followed. Times are seconds since the epoch; ``first_place`` is where it was first seen."""

    first_place: Entity
    onset: float
    detected: float
    excursions: list[Anomaly]
    events: list[Event] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Sources of engines that answered nothing any more."""

    end: float | None = None
    dismissed: bool = False
    opinion: Assessment | None = None
    grown: tuple[float, Assessment] | None = None
    """Since when something else makes the larger part of it, and what: the next incident."""

    _reviewed: int = 0
    _reviewed_at: float = -inf
    _told_peak: float = 0.0
    _calls: CallsEvidence | None = None
    _moments: tuple[Moment, ...] = ()
    _pasts: dict[SeriesKey, Baseline] = field(default_factory=dict)
    _pasts_at: float | None = None
    _cause_gone: float | None = None
    _is_away: bool = False

    @property
    def name(self) -> str:
        """Its id: when and where it was first detected."""
        when = datetime.fromtimestamp(self.detected, UTC)
        where = "-".join(value for _, value in self.first_place.pairs) or "service"
        return sanitize(f"i-{when:%Y%m%dT%H%M%S}-{where}", 80)

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.end is None

    @property
    def place(self) -> Entity:
        """Where it is worst now: the place of its main symptom, else where it was first seen."""
        main = self.main()
        return self.first_place if main is None or self._is_away else place_of(main.key[1])

    @property
    def places(self) -> set[Entity]:
        """Everywhere it is, or was."""
        engines = {place_of(event.entity) for event in self.events if event.entity.get("engine")}
        return {self.first_place, *engines, *(place_of(one.key[1]) for one in self.excursions)}

    @property
    def is_wide(self) -> bool:
        """Whether it is about the whole node or service, and no engine, rail or model."""
        return not any(self.first_place.get(key) for key in ("engine", "rail", "model", "gpu"))

    @property
    def event(self) -> Event | None:
        """The event that it began with, if any; of a notice that was changed the newest."""
        if not self.events:
            return None
        return next(one for one in reversed(self.events) if one.kind == self.events[0].kind)

    @property
    def deadline(self) -> float | None:
        """Until when the provider leaves the node; None where no notice says."""
        notices = [due for one in self.events if one.kind == "notice" and (due := due_of(one)) is not None]
        return notices[-1] if notices else None

    @property
    def baseline_s(self) -> float:
        """Seconds of usual life known before it: what a symptom of later learned in the trouble itself is none."""
        first = [one.baseline_s for one in self.excursions if one.onset - self.onset <= FIRST_S]
        return max(first or [one.baseline_s for one in self.excursions], default=0.0)

    def join(self, excursion: Anomaly) -> None:
        """Take another symptom."""
        self.excursions.append(excursion)
        if self.detected - excursion.onset < 300.0:
            self.onset = min(self.onset, excursion.onset)

    def alarm(self, event: Event) -> None:
        """Take another event."""
        self.events.append(event)
        if event.kind == "gone":
            self.gone.append(event.source)
        if self.detected - event.at < 300.0:
            self.onset = min(self.onset, event.at)

    def outweighs(self, excursion: Anomaly) -> bool:
        """Return whether a new symptom of the same place is smaller than what is known to cause this: its aftermath."""
        main = self.main()
        known = self.opinion is not None and self.opinion.confidence in ("confirmed", "likely")
        return known and main is not None and (excursion.ratio or 0.0) <= (main.ratio or 0.0)

    @property
    def is_spent(self) -> bool:
        """Whether what explained it only passes, and has passed."""
        return self.opinion is not None and self.opinion.passing and self._cause_gone is not None

    def is_aftermath(self, excursion: Anomaly) -> bool:
        """Return whether a symptom is what an outage leaves behind: requests that waited come all at once."""
        if self.end is None or not self.events or self.dismissed:
            return False
        return -FIRST_S <= excursion.onset - self.end <= AFTERMATH_S

    def reopen(self, excursion: Anomaly) -> None:
        """Go on, since its aftermath hurts; it is still as old, and was detected, as it was."""
        self.end = None
        self.excursions.append(excursion)

    def opinion_at(self, state: State, at: float) -> Assessment | None:
        """Return what is thought of it; judged now where it has only just begun."""
        if self.opinion is None:
            self._review(state, at)
        return self.opinion

    def close(self, at: float, state: State, seen: float) -> Incident | None:
        """End it, since what comes after is another incident; return its last version."""
        self.end = max(at, self.onset)
        return self._version(state, seen)

    def advance(self, state: State, at: float, seen: float, touched: bool) -> Incident | None:
        """Go on to a grid time; return a version if there is something to tell."""
        if self.end is not None:
            return None
        self._is_away = any(not is_back(state, source) for source in self.gone)
        ended = self._ended(state, at)
        if ended is not None:
            self.end = max(ended, self.onset)
            return self._version(state, seen)
        due = self._reviewed < len(REVIEWS_S) and at - self.detected >= REVIEWS_S[self._reviewed]
        grew = bool(self.excursions) and self.symptom(state).peak > GREW * self._told_peak
        if touched or due or grew or self.opinion is None or at - self._reviewed_at >= LATER_S:
            while self._reviewed < len(REVIEWS_S) and at - self.detected >= REVIEWS_S[self._reviewed]:
                self._reviewed += 1
            self._review(state, at)
            return self._version(state, seen)
        return self._version(state, seen) if self._has_news(state, at) else None

    def main(self) -> Anomaly | None:
        """Return the excursion that people feel most now: of those still out, what is slow, then what fails."""

        def standing(excursion: Anomaly) -> tuple[bool, int, float]:
            signal = excursion.key[0]
            place = _PREFERRED.index(signal) if signal in _PREFERRED else len(_PREFERRED)
            return excursion.end is not None, place, -excursion.ratio_now

        return min(self.excursions, key=standing) if self.excursions else None

    def symptom(self, state: State) -> Symptom:
        """Return what is wrong."""
        main = self.main()
        if main is not None and not self._is_away:
            signal, entity, stat = main.key
            now = main.now if main.end is None and self.end is None else None
            return Symptom(signal, entity, main.usual, max(main.worst, main.peak), main.ratio, stat, now)
        event = self.event
        is_dead = event is not None and event.kind == "dead" and _is_flagged(state, event, state.now)
        if self.gone and not is_dead:
            return Symptom(SOURCE_UP, Entity.of(source=self.gone[-1]), 1.0, 0.0, None)
        signal = SIGNALS.get(event.kind if event else "", "serving.engine.frozen")
        about = event.entity if event else self.first_place
        sample = state.timeline.sample((signal, about, "value"), state.now, 60.0)
        return Symptom(signal, about, 0.0, sample.number if sample else 1.0, None)

    def _has_news(self, state: State, at: float) -> bool:
        """Whether the cause went, or came back, since the last look."""
        gone = cause_gone_since(self.opinion, state, self.onset, at)
        if (gone is None) == (self._cause_gone is None):
            return False
        self._cause_gone = gone
        return True

    def _ended(self, state: State, at: float) -> float | None:
        if self._is_away or any(excursion.end is None for excursion in self.excursions):
            return None
        over = max((excursion.end or at for excursion in self.excursions), default=at)
        if self.gone:
            return max(at, over)
        event = self.event
        if event is None:
            return over
        if at - event.at < SETTLED_S:
            return None
        if event.kind in ("frozen", "dead"):
            return None if _is_flagged(state, event, at) else over
        if event.kind == "notice":
            return over if self._is_past(event, state, at) else None
        if self.excursions:
            return over
        return at if at - max(self.detected, event.at) >= ALARM_S else None

    def _is_past(self, notice: Event, state: State, at: float) -> bool:
        deadline = self.deadline
        until = notice.seen + NOTICE_S if deadline is None else deadline + ALARM_S
        return at >= until or is_withdrawn(notice, state.events)

    def _scene(
        self, state: State, onset: float, at: float, pasts: dict[SeriesKey, Baseline] | None = None
    ) -> IncidentContext:
        more = tuple(place for place in self.places if place.get("engine"))
        pasts = {} if pasts is None else pasts
        return IncidentContext(state, self.place, onset, at, tuple(self.excursions), tuple(self.events), more, pasts)

    def _review(self, state: State, at: float) -> None:
        self._reviewed_at = at
        scene = self._scene(state, self.onset, at, self._pasts_of(self.onset))
        main = self.main()
        baseline = self.baseline_s
        self._calls = affected_calls(scene)
        opinion = assess(scene, self.symptom(state), main.key if main is not None else None, baseline, self._calls)
        if main is not None:
            opinion = self._since_it_grew(state, at, main, opinion)
        if self.opinion is None or self.opinion.is_superseded_by(opinion):
            self.opinion = opinion
        elif opinion.cause is Cause.UNKNOWN and not self.events and lost_evidence(self.opinion, scene):
            self.opinion = weakened(self.opinion, lost_evidence(self.opinion, scene))
        self._cause_gone = cause_gone_since(self.opinion, state, self.onset, at)
        self._moments = moments(scene)
        self._told_peak = self.symptom(state).peak

    def _since_it_grew(self, state: State, at: float, main: Anomaly, known: Assessment) -> Assessment:
        """Return what explains the larger part of a symptom that grew long after its onset, where nothing else does.

        A harmless burst may open what something else makes an incident of; long after it, that is another incident.
        """
        grew = self._grew_at(state, at, main)
        if grew - self.onset < GREW_AFTER_S or (known.cause is not Cause.UNKNOWN and grew - self.onset <= TOGETHER_S):
            return known
        opinion = assess(self._scene(state, grew, at), self.symptom(state), main.key, self.baseline_s, self._calls)
        if grew - self.onset > TOGETHER_S and is_other_cause(opinion, self.opinion or known, near=True):
            self.grown = grew, opinion
            return known
        return known if opinion.cause is Cause.UNKNOWN or known.cause is not Cause.UNKNOWN else opinion

    def _grew_at(self, state: State, at: float, main: Anomaly) -> float:
        """Return when the main symptom passed half of its rise for the first time."""
        step = state.timeline.step_s
        usual = main.usual or 0.0
        half = usual + (main.peak - usual) / 2
        grew = self.onset
        for number, value in enumerate(state.timeline.window(main.key, self.onset, at + step)):
            if value < half:  # never of a gap
                grew = self.onset + (number + 1) * step
            elif value == value:
                break
        return grew

    def forget(self) -> None:
        """Forget what was before the onset: a history has just told more of it."""
        self._pasts_at = None

    def _pasts_of(self, onset: float) -> dict[SeriesKey, Baseline]:
        if self._pasts_at != onset:
            self._pasts_at, self._pasts = onset, {}
        return self._pasts

    def _version(self, state: State, seen: float) -> Incident | None:
        opinion = self.opinion
        if opinion is None:
            return None
        symptom = self.symptom(state)
        self._told_peak = max(symptom.peak, self._told_peak)
        gone = self._cause_gone if self.is_open else None
        confidence = "likely" if gone is not None and opinion.confidence == "confirmed" else opinion.confidence
        found = Incident(
            id=self.name,
            revised=seen,
            onset=self.onset,
            detected=self.detected,
            end=self.end,
            symptom=symptom,
            confidence=confidence,
            layer=opinion.layer,
            cause=opinion.cause,
            verdict=opinion.verdict,
            candidates=opinion.candidates,
            ruled_out=opinion.ruled_out,
            blind_spots=opinion.blind_spots,
            events=self._moments,
            calls=self._calls,
            place=self.place,
            baseline_s=self.baseline_s,
            dismissed=self.dismissed,
            deadline=self.deadline if self.is_open or symptom.signal == NOTICE else None,
            cause_gone=gone,
        )
        return replace(found, verdict=replace(opinion.verdict, what=sentence(found, seen, state.facts)))


def _is_flagged(state: State, event: Event, at: float) -> bool:
    """Whether the flag that an event of an engine stands for is still set."""
    engine = Entity.of(engine=event.entity.get("engine") or "")
    sample = state.timeline.sample((SIGNALS[event.kind], engine, "value"), at, 30.0)
    return sample is not None and sample.number > 0
