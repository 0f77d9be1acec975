"""Ticks in, incidents out: detection on a grid of five seconds, and the life of each incident.

The watch keeps a state of its own on that grid, so that it runs in front of a recorder, without a screen, and the same
over a recording. An incident opens by a symptom's excursion, or by something that is trouble in itself: a frozen
engine, a hardware error. Later symptoms of the same engines join it, also for five minutes after its end.
"""

from array import array
from collections.abc import Iterator
from dataclasses import replace
from math import inf, nan

from aistack_top.diagnosis.anomaly import Anomaly, AnomalyDetector, AnomalyLimits
from aistack_top.diagnosis.context import AWAY_S, BACK_S
from aistack_top.diagnosis.lost_sources import LostSources
from aistack_top.diagnosis.open_incident import OpenIncident
from aistack_top.diagnosis.rules import SymptomRule, symptoms
from aistack_top.diagnosis.unreachable import UnreachableEngines
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.incident import Incident
from aistack_top.model.signals import signals
from aistack_top.model.tick import Event, History, SeriesKey, Tick
from aistack_top.state import State
from aistack_top.store.links import gpus_of

STEP_S = 5.0
SPAN_S = 7200.0
CALLS_LATE = 4
"""Grid steps that calls are behind: a point of theirs is computed once its calls can be in."""

CATCH_UP_S = 600.0
"""Of a history at the start, this much is watched again; what is older is baseline only."""

JOIN_S = 300.0
TOGETHER_S = 120.0
"""Symptoms of different models that begin within this time have one cause until shown otherwise."""

WARMING_S = BACK_S
"""The first requests of an engine that has just started pay for cold caches: its latency is not judged so long."""

SHORT_RATIO, GONE_FOR_S = 2.0, 300.0
"""While a replica restarts the others are slower, by less than this: that passes. For so long; then it is trouble."""

AROUND = ("guardrail.", "calls.retrieval.")


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
        self._troubles: list[OpenIncident] = []
        self._lost = LostSources()
        self._gone = UnreachableEngines()
        self._next = None
        self._events_until = 0.0
        self._errors: dict[Entity, float] = {}
        self._started: dict[str, float] = {}

    def _step(self, at: float, seen: float) -> list[Incident]:
        self._find_symptoms()
        news = [excursion for watch in self._watches.values() for excursion in self._advance(watch, at)]
        touched = [self._place(excursion) for excursion in news if excursion.end is None]
        touched += [self._alarm(event) for event in self._alarms(at)]
        found = []
        for trouble in self._troubles:
            version = trouble.advance(self.state, at, seen, trouble in touched)
            if version is not None:
                found.append(version)
        quiet = not any(trouble.is_open for trouble in self._troubles)
        found += self._lost.advance(self.state, at, seen, quiet)
        self._troubles = [t for t in self._troubles if t.end is None or at - t.end < 3 * 3600.0]
        return found

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
        started = self._started.get(key[1].get("engine") or "") if key[0] in ("serving.ttft", "serving.itl") else None
        warm = 0.0 if started is None else started + WARMING_S
        least = SHORT_RATIO if key[0] in ("serving.ttft", "serving.itl") and self._is_short(key[1], at) else 1.0
        for offset, value in enumerate(timeline.window(key, first * STEP_S, (newest + 1) * STEP_S)):
            moment = (first + offset) * STEP_S
            if moment < warm:
                continue
            excursion = watch.step(moment, value, least)
            if excursion is not None:
                excursion.detected = max(excursion.detected, at) if excursion.end is None else excursion.detected
                yield excursion

    def _is_short(self, engine: Entity, at: float) -> bool:
        """Return whether a replica of an engine is away or has only just come back: the others have more to do."""
        model = self.state.facts.get(place_of(engine), "model")
        if model is None:
            return False
        for one in self.state.timeline.entities("serving.requests.running"):
            name = one.get("engine") or ""
            if name == engine.get("engine") or self.state.facts.get(one, "model") != model:
                continue
            if at - self._started.get(name, -inf) < WARMING_S:
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
            for offset, value in enumerate(self.state.timeline.window(key, start - 1800.0, start)):
                if watch.step(start - 1800.0 + offset * STEP_S, value) is not None:
                    watch.excursion = None
            self._slots[key] = self.state.timeline.slot(start) - 1

    def _place(self, excursion: Anomaly) -> OpenIncident:
        """Return the incident that a new excursion belongs to."""
        for trouble in reversed(self._troubles):
            if trouble.dismissed or (trouble.end is not None and excursion.detected - trouble.end > JOIN_S):
                continue
            if self._belongs(excursion, trouble):
                trouble.join(excursion)
                return trouble
        trouble = OpenIncident(place_of(excursion.key[1]), excursion.onset, excursion.detected, [excursion])
        self._troubles.append(trouble)
        return trouble

    def _belongs(self, excursion: Anomaly, trouble: OpenIncident) -> bool:
        if trouble.is_open and abs(excursion.onset - trouble.onset) <= TOGETHER_S:
            return True
        signal, entity, _ = excursion.key
        theirs = [other.key[0] for other in trouble.excursions]
        if signal.startswith(AROUND):
            return signal in theirs
        if trouble.place == SERVICE or not entity.get("engine"):
            return True
        mine = self.state.facts.get(place_of(entity), "model")
        others = {self.state.facts.get(place_of(other.key[1]), "model") for other in trouble.excursions}
        others.add(self.state.facts.get(trouble.place, "model"))
        return trouble.place == place_of(entity) or (mine is not None and mine in others)

    def _alarms(self, at: float) -> list[Event]:
        """Return what happened since the last step that is trouble in itself."""
        fresh = [e for e in self.state.events if self._events_until < e.seen <= at + STEP_S and e.at > at - 300.0]
        self._events_until = at + STEP_S
        self._started |= {event.entity.get("engine") or "": event.at for event in fresh if event.kind == "restart"}
        found = [e for e in fresh if _is_alarm(e)] + self._gone.advance(self.state, at)
        for entity in self.state.timeline.entities("gpu.ecc.uncorrected"):
            sample = self.state.timeline.sample(("gpu.ecc.uncorrected", entity, "value"), at, 30.0)
            if sample is not None:
                before = self._errors.setdefault(entity, sample.number)
                self._errors[entity] = sample.number
                if sample.number > before:
                    found.append(
                        Event(sample.at, at, "compute", "ecc", "critical", entity, "uncorrectable memory error")
                    )
        return found

    def _alarm(self, event: Event) -> OpenIncident:
        place = place_of(event.entity)
        if event.entity.get("gpu"):
            owners = [link.parent for link in self.state.facts.parents(Entity.of(gpu=event.entity.get("gpu") or ""))]
            place = owners[0] if owners else event.entity
        for trouble in self._troubles:
            near = trouble.is_open and (trouble.place == place or abs(trouble.onset - event.at) <= TOGETHER_S)
            again = trouble.end is not None and trouble.place == place and event.at - trouble.end <= JOIN_S
            if near or again or (trouble.is_open and event.entity in gpus_of(trouble.place, self.state.facts)):
                trouble.alarm(event)
                return trouble
        trouble = OpenIncident(place, event.at, max(event.seen, event.at), [])
        trouble.alarm(event)
        self._troubles.append(trouble)
        return trouble


def place_of(entity: Entity) -> Entity:
    """Return where a symptom is: its engine, rail or model, else the service."""
    for key in ("engine", "rail", "model"):
        name = entity.get(key)
        if name:
            return Entity.of(**{key: name})
    return SERVICE


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
    return AnomalyLimits(rule.ratio, floor, rule.ratio_to_p99, rule.min_duration, rule.absolute)


def _is_alarm(event: Event) -> bool:
    if event.severity != "critical":
        return False
    if event.kind == "xid":
        return dict(event.detail).get("group", "") != "application"
    return event.kind == "frozen"
