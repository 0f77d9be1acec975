"""Ticks in, incidents out: detection on a grid of five seconds, and the life of each incident.

The watch keeps a state of its own on that grid, so that it runs in front of a recorder, without a screen, and the same
over a recording. An incident opens by a symptom's excursion, or by something that is trouble in itself: a frozen
engine, a hardware error, a reclaim notice. Later symptoms join it while it is open and nothing else explains them.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf, nan

from aistack_top.diagnosis.alarms import Alarms, place_of, place_of_event
from aistack_top.diagnosis.anomaly import Anomaly, AnomalyDetector, AnomalyLimits
from aistack_top.diagnosis.causes_apart import TOGETHER_S, is_other_cause, is_seen_beside_load
from aistack_top.diagnosis.context import AWAY_S, BACK_S, family
from aistack_top.diagnosis.joining import (
    is_across,
    is_apart_across,
    is_near,
    is_related,
    is_same_story,
    opinion_of,
)
from aistack_top.diagnosis.lost_sources import LostSources
from aistack_top.diagnosis.open_incident import OpenIncident
from aistack_top.diagnosis.rules import SymptomRule, symptoms
from aistack_top.model.entity import Entity
from aistack_top.model.incident import Incident
from aistack_top.model.signals import signals
from aistack_top.model.tick import Event, History, SeriesKey, Tick
from aistack_top.state import State

STEP_S = 5.0
SPAN_S = 7200.0
CALLS_LATE = 4
"""Grid steps that calls are behind: a point of theirs is computed once its calls can be in."""

CATCH_UP_S = 600.0
"""Of a history at the start, this much is watched again; what is older is baseline only."""

AROUND_EARLY = 6
"""Samples that an excursion of a guardrail or a vector store takes before there is a baseline: 30 s."""

LOOK_AGAIN_S = 15.0
"""What may be a burst is asked for a cause so often."""

TIMES_WITHIN_S = 1800.0
"""The same cause at the same place within this time is counted: "time 3 in half an hour"."""

WARMING_S = BACK_S
"""The first requests of an engine that has just started pay for cold caches: its latency is not judged so long."""

SHORT_RATIO, GONE_FOR_S = 2.0, 300.0
"""While a replica restarts the others are slower, by less than this: that passes. For so long; then it is trouble."""


class IncidentDetector:
    """Finds incidents. Feed it every tick; ``most_steps`` bounds the grid steps of one call (None: no bound).

    With ``spend`` its state keeps the day's dollars, which a recording is to carry.
    """

    def __init__(self, most_steps: int | None = None, *, spend: bool = False) -> None:
        self.state = State(SPAN_S, STEP_S, again=False, spend=spend, tenants=False)
        self._most_steps = most_steps
        self._next: float | None = None
        self._reset()

    def observe(self, tick: Tick) -> tuple[Incident, ...]:
        """Take a tick; return the versions of incidents that became known with it."""
        if tick.reset:
            self._reset()
        if tick.history is not None:
            tick = replace(tick, history=coarse(tick.history))
            for trouble in self._troubles:
                trouble.forget()
        self.state.apply(tick)
        late = tick.history is not None and tick.history.fills
        if self._next is None:
            start = tick.at if tick.history is None else max(tick.history.start, tick.at - CATCH_UP_S)
            self._next = (start // STEP_S + 1) * STEP_S
            late = True
        if late:
            self._learn_before(self._next)
        found: list[Incident] = []
        steps = 0
        # a slot of the grid is complete when its five seconds are over
        while self._next + STEP_S <= tick.at and (self._most_steps is None or steps < self._most_steps):
            found += self._step(self._next, tick.seen)
            self._next += STEP_S
            steps += 1
        return tuple(found)

    @property
    def open_incidents(self) -> tuple[OpenIncident, ...]:
        """The incidents of the last three hours, oldest first."""
        return tuple(self._troubles)

    def dismiss(self, name: str) -> bool:
        """Learn that a person called an incident none: its symptoms must rise further than this to be told again."""
        for trouble in self._troubles:
            if trouble.name == name:
                trouble.dismissed = True
                for excursion in trouble.excursions:
                    self._watches[excursion.key].ignore(excursion.peak)
                return True
        return False

    def _reset(self) -> None:
        self._watches: dict[SeriesKey, AnomalyDetector] = {}
        self._seen_series = -1
        self._slots: dict[SeriesKey, int] = {}
        self._looked: dict[SeriesKey, float] = {}
        self._troubles: list[OpenIncident] = []
        self._lost = LostSources()
        self._next = None
        self._alarms = Alarms()

    def _step(self, at: float, seen: float) -> list[Incident]:
        self._find_symptoms()
        news = [excursion for watch in self._watches.values() for excursion in self._advance(watch, at)]
        news += self._explained(at)
        # what happened first: a symptom may be what an event leads to
        placed = [self._alarm(event, at, seen) for event in self._alarms.step(self.state, at)]
        placed += [self._place(excursion, at, seen) for excursion in news if excursion.end is None]
        touched = [trouble for trouble, _ in placed]
        found = [version for _, versions in placed for version in versions]
        for trouble in list(self._troubles):
            found += self._follow(trouble, at, seen, any(one is trouble for one in touched))
        quiet = not any(trouble.is_open for trouble in self._troubles)
        found += self._lost.advance(self.state, at, seen, quiet)
        self._troubles = [t for t in self._troubles if t.end is None or at - t.end < 3 * 3600.0]
        return found

    def _follow(self, trouble: OpenIncident, at: float, seen: float, touched: bool) -> list[Incident]:
        """Return the versions of an incident that a step brings, and those of what grew out of it."""
        version = trouble.advance(self.state, at, seen, touched)
        found = [] if version is None else [replace(version, times=self._times(trouble))]
        if trouble.grown is None or not trouble.is_open:
            return found
        grew, opinion = trouble.grown
        main = trouble.main()
        place = trouble.first_place if main is None else place_of(main.key[1])
        new, ended = self._begin(OpenIncident(place, grew, at, [], opinion=opinion), [trouble], at, seen)
        version = new.advance(self.state, at, seen, touched=True)
        return [*found, *ended, *([] if version is None else [version])]

    def _times(self, trouble: OpenIncident) -> int:
        """Return how often this cause came at this place within half an hour."""
        cause = trouble.opinion.cause if trouble.opinion is not None else None
        return 1 + sum(
            one is not trouble and one.opinion is not None and one.opinion.cause is cause
            and one.first_place == trouble.first_place and 0.0 < trouble.onset - one.onset <= TIMES_WITHIN_S
            for one in self._troubles
        )  # fmt: skip

    def _find_symptoms(self) -> None:
        timeline = self.state.timeline
        if len(timeline) == self._seen_series:
            return
        self._seen_series = len(timeline)
        for key in list(timeline.keys()):
            if key in self._watches:
                continue
            for rule in symptoms().get(key[0], ()):
                if rule.stat == key[2]:
                    self._watches[key] = AnomalyDetector(key, _limits(rule))

    def _advance(self, watch: AnomalyDetector, at: float) -> Iterator[Anomaly]:
        timeline, key = self.state.timeline, watch.key
        newest = timeline.slot(at) - (CALLS_LATE if key[0].startswith("calls.") else 0)
        first = self._slots.get(key, newest - 1) + 1
        if newest < first:
            return
        self._slots[key] = newest
        started = (
            self._alarms.started.get(key[1].get("engine") or "") if key[0] in ("serving.ttft", "serving.itl") else None
        )
        warm = 0.0 if started is None else started + WARMING_S
        least = SHORT_RATIO if key[0] in ("serving.ttft", "serving.itl") and self._is_short(key[1], at) else 1.0
        for offset, value in enumerate(self._values(key, first * STEP_S, (newest + 1) * STEP_S)):
            moment = (first + offset) * STEP_S
            if moment < warm:
                continue
            excursion = watch.step(moment, value, least)
            if excursion is not None:
                excursion.detected = max(excursion.detected, at) if excursion.end is None else excursion.detected
                yield excursion

    def _explained(self, at: float) -> list[Anomaly]:
        """Return the candidate, if any, that has a cause no burst has. One is looked at a step, the worst first."""
        waiting = [
            (found.ratio or 0.0, key, found)
            for key, watch in self._watches.items()
            if not family(key[0])
            and at - self._looked.get(key, -inf) >= LOOK_AGAIN_S
            and (found := watch.candidate) is not None
        ]
        if not waiting:
            return []
        _, key, found = max(waiting, key=lambda one: one[0])
        self._looked[key] = at
        if not is_seen_beside_load(opinion_of(found, self.state, at)):
            return []
        found.detected = max(found.detected, at)
        self._watches[key].confirm(found)
        return [found]

    def _values(self, key: SeriesKey, start: float, end: float) -> Iterable[float]:
        """Return a symptom's samples; a share of too few events is none."""
        values = self.state.timeline.window(key, start, end)
        rule = next((rule for rule in symptoms()[key[0]] if rule.stat == key[2]), None)
        if rule is None or not rule.enough:
            return values
        rates = self.state.timeline.window((rule.enough, key[1], "value"), start, end)
        return [value if rate >= rule.min_rate else nan for value, rate in zip(values, rates, strict=True)]

    def _is_short(self, engine: Entity, at: float) -> bool:
        """Return whether a replica of an engine is away or has only just come back: the others have more to do."""
        model = self.state.facts.get(place_of(engine), "model")
        if model is None:
            return False
        for one in self.state.timeline.entities("serving.requests.running"):
            name = one.get("engine") or ""
            if name == engine.get("engine") or self.state.facts.get(one, "model") != model:
                continue
            if at - self._alarms.started.get(name, -inf) < WARMING_S:
                return True
            if AWAY_S < at - self._last_word(one) < GONE_FOR_S:
                return True
        return False

    def _last_word(self, engine: Entity) -> float:
        key = ("serving.requests.running", engine, "value")
        sample = self.state.timeline.sample(key, self.state.now, GONE_FOR_S)
        return sample.at if sample is not None else -inf

    def _learn_before(self, start: float) -> None:
        """Let the symptoms learn what is usual from a history, without asking whether it was."""
        self._find_symptoms()
        for key, watch in self._watches.items():
            if key in self._slots:
                continue
            for offset, value in enumerate(self._values(key, start - 1800.0, start)):
                if watch.step(start - 1800.0 + offset * STEP_S, value) is not None:
                    watch.excursion = None
            self._slots[key] = self.state.timeline.slot(start) - 1

    def _place(self, excursion: Anomaly, at: float, seen: float) -> tuple[OpenIncident, list[Incident]]:
        """Return the incident that a new excursion belongs to, and versions of those that it ended."""
        facts = self.state.facts
        near = [one for one in reversed(self._open) if is_related(excursion, one, facts)]
        place = place_of(excursion.key[1])
        for trouble in near:
            together = abs(excursion.onset - trouble.onset) <= TOGETHER_S
            own = place in trouble.places and (together or trouble.outweighs(excursion))
            if own or not self._is_apart(excursion, trouble, at):
                trouble.join(excursion)
                return trouble, []
        for trouble in reversed(self._troubles):
            if trouble.is_aftermath(excursion) and is_related(excursion, trouble, facts):
                trouble.reopen(excursion)
                return trouble, []
        ended = [one for one in near if one.is_spent or (one.first_place == place and not one.events)]
        return self._begin(OpenIncident(place, excursion.onset, excursion.detected, [excursion]), ended, at, seen)

    def _is_apart(self, excursion: Anomaly, trouble: OpenIncident, at: float) -> bool:
        """Return whether a new excursion has another cause than an open incident, judged from its own onset."""
        found = opinion_of(excursion, self.state, at)
        known = trouble.opinion_at(self.state, at)
        if is_across(excursion, trouble):
            return is_apart_across(excursion, found, known, trouble)
        near = is_near(place_of(excursion.key[1]), trouble, self.state.facts)
        return is_other_cause(found, known, near=near)

    def _begin(
        self, new: OpenIncident, ended: list[OpenIncident], at: float, seen: float
    ) -> tuple[OpenIncident, list[Incident]]:
        """Open an incident; what still hurts of those that end where it begins is its own from then on."""
        versions = []
        for trouble in ended:
            new.excursions += [one for one in trouble.excursions if one.end is None and one not in new.excursions]
            versions.append(trouble.close(new.onset, self.state, seen))
        self._troubles.append(new)
        return new, [one for one in versions if one is not None]

    def _alarm(self, event: Event, at: float, seen: float) -> tuple[OpenIncident, list[Incident]]:
        place = place_of_event(event, self.state.facts)
        for trouble in reversed(self._open):
            if is_same_story(event, place, trouble, self.state):
                trouble.alarm(event)
                return trouble, []
        new = OpenIncident(place, event.at, max(event.seen, event.at), [])
        new.alarm(event)
        takes = event.kind in ("gone", "dead", "frozen", "crash_loop")
        ended = [one for one in self._open if takes and place.get("engine") and one.first_place == place]
        return self._begin(new, ended, at, seen)

    @property
    def _open(self) -> list[OpenIncident]:
        return [trouble for trouble in self._troubles if trouble.is_open and not trouble.dismissed]


def coarse(history: History) -> History:
    """Return a history on the grid of the watch: of each five seconds the newest value there is."""
    width = round(STEP_S / history.step)
    if width <= 1:
        return history
    first = int(history.start // STEP_S)
    lead = round((history.start - first * STEP_S) / history.step)
    columns: dict[SeriesKey, array[float]] = {}
    for key, column in history.columns.items():
        padded = array("f", [nan]) * lead + column
        padded += array("f", [nan]) * (-len(padded) % width)
        out = padded[width - 1 :: width]
        for back in range(width - 2, -1, -1):
            if not any(value != value for value in out):
                break
            older = padded[back::width]
            out = array("f", [a if a == a else b for a, b in zip(out, older, strict=True)])
        columns[key] = out
    return History(first * STEP_S, STEP_S, columns, {}, history.batches, history.fills)


def _limits(rule: SymptomRule) -> AnomalyLimits:
    floor = signals()[rule.signal].floor if rule.floor is None else rule.floor
    limits = AnomalyLimits(rule.ratio, floor, rule.ratio_to_p99, rule.min_duration, rule.absolute)
    # what stands around the engines has no bursts of requests
    return replace(limits, early=AROUND_EARLY) if family(rule.signal) else limits
