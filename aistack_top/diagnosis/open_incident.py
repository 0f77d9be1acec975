"""One incident while it lives: what it is made of, when it is looked at anew, and its versions."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aistack_top.diagnosis.anomaly import Anomaly
from aistack_top.diagnosis.assessment import Assessment, affected_calls, assess, moments
from aistack_top.diagnosis.change import Baseline
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.unreachable import is_back
from aistack_top.diagnosis.wording import what
from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence, Incident, Moment, Symptom
from aistack_top.model.tick import Event, SeriesKey
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

REVIEWS_S = (0.0, 15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 420.0, 600.0)
"""Seconds after the detection at which it is judged anew: evidence that is recorded late comes in meanwhile."""

ALARM_S = 300.0
"""A hardware error without a symptom is told for so long."""

SETTLED_S = 15.0
"""An event's own signal may come a scrape after it."""

FIRST_S = 30.0
"""Symptoms that begin within this of the first are those that it began with."""

GREW = 1.25
GREW_AFTER_S = 45.0
"""A symptom that did the larger part of its rise so long after its onset is looked at from there, too."""

_PREFERRED = (
    "serving.ttft",
    "serving.itl",
    "calls.request.ttft",
    "calls.request.latency",
    "calls.ttft",
    "calls.latency",
)


@dataclass
class OpenIncident:
    """An incident being followed. Times are seconds since the epoch."""

    place: Entity
    onset: float
    detected: float
    excursions: list[Anomaly]
    event: Event | None = None
    gone: list[str] = field(default_factory=list)
    """Sources of engines that answered nothing any more."""

    end: float | None = None
    dismissed: bool = False
    opinion: Assessment | None = None
    _reviewed: int = 0
    _told_peak: float = 0.0
    _calls: CallsEvidence | None = None
    _moments: tuple[Moment, ...] = ()
    _pasts: dict[SeriesKey, Baseline] = field(default_factory=dict)
    _pasts_at: float | None = None
    _name: str = field(default="")

    @property
    def name(self) -> str:
        """Its id: when and where it was first seen."""
        if not self._name:
            when = datetime.fromtimestamp(self.detected, UTC)
            where = "-".join(value for _, value in self.place.pairs) or "service"
            self._name = sanitize(f"i-{when:%Y%m%dT%H%M%S}-{where}", 80)
        return self._name

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.end is None

    @property
    def baseline_s(self) -> float:
        """Seconds of usual life known before it: what a symptom of later learned in the trouble itself is none."""
        first = [one.baseline_s for one in self.excursions if one.onset - self.onset <= FIRST_S]
        return max(first or [one.baseline_s for one in self.excursions], default=0.0)

    def join(self, excursion: Anomaly) -> None:
        """Take another symptom; one that had ended goes on."""
        self._wake(excursion.detected)
        self.excursions.append(excursion)
        if self.detected - excursion.onset < 300.0:
            self.onset = min(self.onset, excursion.onset)

    def alarm(self, event: Event) -> None:
        """Take another event."""
        self._wake(event.seen)
        self.event = self.event or event
        if event.kind == "gone":
            self.gone.append(event.source)
        self.onset = min(self.onset, event.at)

    def advance(self, state: State, at: float, seen: float, touched: bool) -> Incident | None:
        """Go on to a grid time; return a version if there is something to tell."""
        if self.end is not None:
            return None
        ended = self._ended(state, at)
        if ended is not None:
            self.end = max(ended, self.onset)
            return self._version(state, seen)
        due = self._reviewed < len(REVIEWS_S) and at - self.detected >= REVIEWS_S[self._reviewed]
        if touched or due or self.opinion is None:
            while self._reviewed < len(REVIEWS_S) and at - self.detected >= REVIEWS_S[self._reviewed]:
                self._reviewed += 1
            self._review(state, at)
            return self._version(state, seen)
        if self.excursions and self.symptom(state).peak > GREW * self._told_peak:
            return self._version(state, seen)
        return None

    def main(self) -> Anomaly | None:
        """Return the excursion that people feel most: first tokens and tokens before what is measured around them."""

        def standing(excursion: Anomaly) -> tuple[int, float]:
            signal = excursion.key[0]
            place = _PREFERRED.index(signal) if signal in _PREFERRED else len(_PREFERRED)
            return place, -(excursion.ratio or 0.0)

        return min(self.excursions, key=standing) if self.excursions else None

    def symptom(self, state: State) -> Symptom:
        """Return what is wrong."""
        main = self.main()
        if main is not None:
            signal, entity, stat = main.key
            return Symptom(signal, entity, main.usual, main.peak, main.ratio, stat)
        if self.gone:
            return Symptom("source.up", Entity.of(source=self.gone[-1]), 1.0, 0.0, None)
        event = self.event
        signal = _SIGNAL_OF.get(event.kind if event else "", "serving.engine.frozen")
        about = event.entity if event else self.place
        sample = state.timeline.sample((signal, about, "value"), state.now, 60.0)
        return Symptom(signal, about, 0.0, sample.number if sample else 1.0, None)

    def _wake(self, at: float) -> None:
        if self.end is not None:
            self.end = None
            self.detected = at
            self._reviewed = 0

    def _ended(self, state: State, at: float) -> float | None:
        if any(excursion.end is None for excursion in self.excursions):
            return None
        if self.gone:
            if not all(is_back(state, source) for source in self.gone):
                return None
            return max([at, *(excursion.end or at for excursion in self.excursions)])
        if self.event is not None and at - self.event.at < SETTLED_S:
            return None
        if self.event is not None and self.event.kind == "frozen":
            name = self.event.entity.get("engine") or ""
            sample = state.timeline.sample(("serving.engine.frozen", Entity.of(engine=name), "value"), at, 30.0)
            if sample is not None and sample.number > 0:
                return None
            if not self.excursions:
                return at
        if self.excursions:
            return max(excursion.end or at for excursion in self.excursions)
        return at if at - self.detected >= ALARM_S else None

    def _review(self, state: State, at: float) -> None:
        scene = IncidentContext(state, self.place, self.onset, at, tuple(self.excursions), self._pasts_of(self.onset))
        main = self.main()
        key: SeriesKey | None = main.key if main is not None else None
        baseline = self.baseline_s
        self._calls = affected_calls(scene)
        opinion = assess(scene, self.symptom(state), key, baseline, self._calls)
        if opinion.cause is Cause.UNKNOWN and main is not None:
            grown = self._since_it_grew(state, at, main, baseline)
            if grown is not None:  # the incident is still as old as it is
                opinion = replace(grown, verdict=replace(grown.verdict, what=opinion.verdict.what))
        if self.opinion is None or self.opinion.is_superseded_by(opinion):
            self.opinion = opinion
        else:
            self.opinion = replace(self.opinion, verdict=replace(self.opinion.verdict, what=opinion.verdict.what))
        self._moments = moments(scene)
        self._told_peak = self.symptom(state).peak

    def _since_it_grew(self, state: State, at: float, main: Anomaly, baseline: float) -> Assessment | None:
        """Return what explains the larger part of a symptom that grew long after its onset, if anything does.

        A harmless burst may open what something else makes an incident of.
        """
        grew = self.onset
        usual = main.usual or 0.0
        half = usual + (main.peak - usual) / 2
        values = state.timeline.window(main.key, self.onset, at + state.timeline.step_s)
        for number, value in enumerate(values):
            if value < half:  # never of a gap
                grew = self.onset + (number + 1) * state.timeline.step_s
            elif value == value:
                break
        if grew - self.onset < GREW_AFTER_S:
            return None
        scene = IncidentContext(state, self.place, grew, at, tuple(self.excursions))
        opinion = assess(scene, self.symptom(state), main.key, baseline, self._calls)
        return None if opinion.cause is Cause.UNKNOWN else opinion

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
        if symptom.peak != self._told_peak:  # the sentence has the number that stands beside it
            until = seen if self.end is None else self.end
            scene = IncidentContext(
                state, self.place, self.onset, until, tuple(self.excursions), self._pasts_of(self.onset)
            )
            opinion = replace(opinion, verdict=replace(opinion.verdict, what=what(scene, symptom)))
            self.opinion = opinion
        self._told_peak = symptom.peak
        return Incident(
            id=self.name,
            revised=seen,
            onset=self.onset,
            detected=self.detected,
            end=self.end,
            symptom=symptom,
            strength=opinion.strength,
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
        )


_SIGNAL_OF = {"ecc": "gpu.ecc.uncorrected", "xid": "gpu.recovery_action"}
