"""Everything around one incident: whom it is about, how each series moved, which part of the time grew.

What is looked at is what a cause could be: the engine's own series, its GPUs, the host, its peers, calls and what
stands around them. Each series is measured once, when it is asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, sqrt

from aistack_top.diagnosis.affected_calls import BeforeAfter, before_and_after, new_versions
from aistack_top.diagnosis.anomaly import Anomaly
from aistack_top.diagnosis.change import BEFORE_S, LEFT_OUT_S, MIN_VALUES, SINCE_S, Baseline, Change, measure, present
from aistack_top.diagnosis.lost_sources import LOST
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import Signal, signals
from aistack_top.model.tick import Event, SeriesKey
from aistack_top.state import State
from aistack_top.store.links import engines_serving, gpus_of

WIDE_LEAD_S = 10.0
"""Two grid steps: a smaller lead is no order."""

BURST_SPREADS = 2.0

AWAY_S, BACK_S = 20.0, 90.0
"""An engine is away after so long without a word, and until so long after its start."""

SILENT_S = 30.0
"""A GPU or an engine of which nothing was read for longer than this and two of its steps is silent."""

PULSE = {
    "engine": ("serving.requests.running",),
    "gpu": ("gpu.utilization", "gpu.clock.sm", "gpu.temperature", "gpu.power.draw"),
}
"""Signals that say of an engine or a GPU that it is read at all."""

FAMILIES = {"guardrail.": "guardrail", "calls.retrieval.": "retrieval", "data.search.": "retrieval"}
"""What is measured around the engines, and the part of a request's time that it is."""

FINISH = ("finish", "first_token")
"""Recorded when a request has got that far: such a series lags, and earns neither lead nor penalty."""


@dataclass(frozen=True, slots=True)
class WaitPart:
    """A part of a request's time: what a mean request waits there, before and now, in seconds."""

    name: str
    before: float
    now: float

    @property
    def rise(self) -> float:
        """Seconds that a mean request waits longer than before."""
        return max(self.now - self.before, 0.0)


_PARTS = (
    ("queue", "serving.queue_time", "engine"),
    ("prefill", "serving.prefill_time", "engine"),
    ("decode", "serving.decode_time", "engine"),
    ("guardrail", "guardrail.latency", "rail"),
    ("retrieval", "calls.retrieval.latency", "service"),
    ("retrieval", "data.search.latency", "service"),
)


@dataclass
class IncidentContext:
    """One incident's surroundings, as known at ``until``. ``place`` is an engine, a model, a rail, or the service."""

    state: State
    place: Entity
    onset: float
    until: float
    excursions: tuple[Anomaly, ...] = ()
    own_events: tuple[Event, ...] = ()
    """Events that it is about: a notice, a hardware error, an engine that is gone."""

    more: tuple[Entity, ...] = ()
    """Engines that it is about beside the place and the symptoms: those that events name."""

    pasts: dict[SeriesKey, Baseline] = field(default_factory=dict)
    """What was before this onset, where it is known already."""

    _shifts: dict[SeriesKey, Change | None] = field(default_factory=dict)
    _quiet: dict[tuple[str, str], bool] = field(default_factory=dict)

    @cached_property
    def all_engines(self) -> list[Entity]:
        """Every engine of which anything is known."""
        known = self.state.timeline.entities("serving.requests.running")
        return list({Entity.of(engine=name): None for e in known if (name := e.get("engine"))})

    @cached_property
    def engines(self) -> list[Entity]:
        """The engines that it is about."""
        out = {self.place.get("engine"): None, **{e.key[1].get("engine"): None for e in self.excursions}}
        out |= {one.get("engine"): None for one in self.more}
        found = [Entity.of(engine=name) for name in out if name]
        if found:
            return found
        model = self.place.get("model")
        if model:
            return [Entity.of(engine=name) for name in engines_serving(model, self.state.facts)]
        return self.all_engines

    @cached_property
    def models(self) -> set[str]:
        """The models that these engines serve."""
        return {model for engine in self.engines if (model := self.state.facts.get(engine, "model"))}

    @cached_property
    def peers(self) -> list[Entity]:
        """The other engines that serve the same model."""
        return [
            engine
            for engine in self.all_engines
            if engine not in self.engines and self.state.facts.get(engine, "model") in self.models
        ]

    @cached_property
    def replicas(self) -> list[Entity]:
        """These engines and their peers."""
        return [*self.engines, *self.peers]

    @cached_property
    def linked(self) -> bool:
        """Whether the GPUs of these engines are known by a proof."""
        return bool(self.engines) and all(gpus_of(engine, self.state.facts) for engine in self.engines)

    @cached_property
    def gpus(self) -> list[Entity]:
        """The GPUs of these engines; all there are where no link is proven."""
        known = self.state.timeline.entities("gpu.utilization") or self.state.timeline.entities("gpu.clock.sm")
        if not self.linked:
            return list(dict.fromkeys(Entity.of(gpu=name) for e in known if (name := e.get("gpu"))))
        return list(dict.fromkeys(gpu for engine in self.engines for gpu in gpus_of(engine, self.state.facts)))

    @cached_property
    def other_gpus(self) -> list[Entity]:
        """GPUs that are proven to be no engine's; none where links are not known at all."""
        if not self.linked:
            return []
        known = self.state.timeline.entities("gpu.utilization")
        gpus = {Entity.of(gpu=name): None for entity in known if (name := entity.get("gpu"))}
        return [gpu for gpu in gpus if not self.state.facts.parents(gpu)]

    def others_of(self, engine: Entity) -> list[Entity]:
        """Return the other engines that serve an engine's model, in this incident or not; `peers` of what is none."""
        model = self.state.facts.get(Entity.of(engine=engine.get("engine") or ""), "model")
        if model is None:
            return self.peers
        return [one for one in self.replicas if one != engine and self.state.facts.get(one, "model") == model]

    def is_away(self, engine: Entity) -> bool:
        """Return whether an engine says nothing now, or began to so lately that others still work off its share."""
        key = ("serving.requests.running", engine, "value")
        if self.state.timeline.sample(key, self.until, AWAY_S) is None:
            return True
        began = max((e.at for e in self.events if e.kind == "restart" and e.entity == engine), default=-inf)
        return self.until - began < BACK_S

    def subjects(self, about: str) -> list[Entity]:
        """Return whom a rule about engines, GPUs, rails ... can be about here."""
        if about == "engine":
            return self.engines
        if about == "gpu":
            return self.gpus
        if about == "peer":
            return self.peers
        if about == "replica":
            return self.replicas
        if about == "replica_gpu":
            return list(dict.fromkeys(gpu for engine in self.replicas for gpu in gpus_of(engine, self.state.facts)))
        if about == "other_gpu":
            return self.other_gpus
        if about == "rail":
            rails = (*self._having("guardrail.latency"), *self._having("guardrail.hits"))
            return list(dict.fromkeys(Entity.of(rail=name) for e in rails if (name := e.get("rail"))))
        return [SERVICE]

    @cached_property
    def focus(self) -> str:
        """The part of the time that this is about, where only one around the engines hurts; else empty.

        What slows a GPU or an engine does not slow a guardrail or a vector store.
        """
        parts = {family(excursion.key[0]) for excursion in self.excursions}
        return parts.pop() if len(parts) == 1 else ""

    @cached_property
    def inside(self) -> bool:
        """Whether only engines' own times hurt: what stands around the engines cannot make those longer."""
        return bool(self.excursions) and all(one.key[0].startswith("serving.") for one in self.excursions)

    @cached_property
    def _lost(self) -> set[str]:
        return {health.source for _, health in self.state.health.at(self.until) if health.status in LOST}

    def is_silent(self, key: SeriesKey) -> bool:
        """Return whether nothing tells a series any more: what it was is no evidence of what is."""
        if self.state.source_of(key[0], key[1]) in self._lost:
            return True
        return any(
            self._is_quiet(about, name)
            for about in PULSE
            if (name := key[1].get(about)) and not key[0].startswith("calls.")
        )

    def lost_source(self, key: SeriesKey) -> str:
        """Return the name of the source that told a series."""
        return self.state.source_of(key[0], key[1])

    def _is_quiet(self, about: str, name: str) -> bool:
        if (about, name) not in self._quiet:
            entity, timeline = Entity.of(**{about: name}), self.state.timeline
            keys = [(signal, entity, "value") for signal in PULSE[about]]
            known = [key for key in keys if key in timeline]
            lookback = max((self._steps(key) for key in known), default=0.0) + SILENT_S
            self._quiet[about, name] = bool(known) and not any(timeline.sample(k, self.until, lookback) for k in known)
        return self._quiet[about, name]

    def _steps(self, key: SeriesKey) -> float:
        record = self.state.health.newest.get(self.state.source_of(key[0], key[1]))
        return 2.0 * record[1].interval_s if record is not None else 0.0

    def _having(self, signal: str) -> list[Entity]:
        return self.state.timeline.entities(signal)

    def shift(self, key: SeriesKey) -> Change | None:
        """Return how a series moved; None where it says nothing, or nothing any more."""
        found = self._moved(key)
        return None if found is None or self.is_silent(key) else found

    def _moved(self, key: SeriesKey) -> Change | None:
        if key not in self._shifts:
            signal = signals().get(key[0])
            timeline = self.state.timeline
            found = measure(timeline, key, signal, self.onset, self.until, self.pasts) if signal is not None else None
            self._shifts[key] = found
        return self._shifts[key]

    def reads(self, signal: str) -> bool:
        """Return whether anything told a signal since the onset."""
        return any(self.shift((signal, entity, "value")) is not None for entity in self._having(signal))

    def series(self) -> Iterable[SeriesKey]:
        """Return the series that could be a cause here."""
        engines, gpus = set(self.engines), set(self.gpus)
        table = signals()
        for key in list(self.state.timeline.keys()):
            signal = table.get(key[0])
            if signal is None or signal.kind == "symptom" or key[2] not in ("value", _stat_of(signal)):
                continue
            entity = key[1]
            engine, gpu = entity.get("engine"), entity.get("gpu")
            if engine is not None and Entity.of(engine=engine) not in engines:
                continue
            if gpu is not None and Entity.of(gpu=gpu) not in gpus:
                continue
            model = entity.get("model")
            about = self.models or {self.place.get("model")} - {None}
            if engine is None and model is not None and about and model not in about:
                continue
            yield key

    def sum_of(self, signal: str, engines: Iterable[Entity]) -> tuple[float | None, float | None]:
        """Return the sum of a signal over engines, before and since; one that says nothing for a while adds nothing.

        Since: the mean from the onset on or that of the last minute, whichever is more, of all of them together.
        """
        before = 0.0
        since: list[list[float]] = []
        lately: list[list[float]] = []
        timeline, end = self.state.timeline, min(self.until, self.onset + SINCE_S)
        for engine in engines:
            key = (signal, engine, "value")
            shift = self._moved(key)  # a replica that is silent now adds nothing now, and did add before
            if shift is None or shift.usual is None:
                if shift is None and not present(timeline.window(key, self.onset - BEFORE_S, self.onset)):
                    continue
                return None, None
            before += shift.usual
            values = timeline.window(key, self.onset, end + timeline.step_s)
            since.append(present(values))
            lately.append(present(values[-int(60.0 / timeline.step_s) :]))
        return (before, max(_sum_of_means(since), _sum_of_means(lately))) if since else (None, None)

    def means_of(self, key: SeriesKey) -> tuple[float | None, float | None]:
        """Return the means of a series before and since the onset; None where too few values are known."""
        timeline, end = self.state.timeline, min(self.until, self.onset + SINCE_S) + self.state.timeline.step_s
        before = present(timeline.window(key, self.onset - LEFT_OUT_S - BEFORE_S, self.onset - LEFT_OUT_S))
        since = present(timeline.window(key, self.onset, end))
        if min(len(before), len(since)) < MIN_VALUES:
            return None, None
        return sum(before) / len(before), sum(since) / len(since)

    def busiest_before(self, signal: str, engines: Iterable[Entity]) -> tuple[float, float] | None:
        """Return the mean of a signal of engines together since the onset, and what bursts of that length reached.

        That is the largest mean of the half hour before and two spreads of such means more: so few bursts are known
        that a larger one is no news. The length is that of the incident, from one to five minutes; None where too
        little is known.
        """
        timeline, end = self.state.timeline, min(self.until, self.onset + SINCE_S) + self.state.timeline.step_s
        keys = [(signal, engine, "value") for engine in engines]
        now = _sum_of_means([present(timeline.window(key, self.onset, end)) for key in keys])
        width = max(int(max(end - self.onset, 60.0) / timeline.step_s), 1)
        total = [0.0]
        past = [timeline.window(key, self.onset - LEFT_OUT_S - BEFORE_S, self.onset - LEFT_OUT_S) for key in keys]
        for row in zip(*past, strict=True):
            known = present(row)
            total.append(total[-1] + (sum(known) if known else (total[-1] - total[-2] if len(total) > 1 else 0.0)))
        if len(total) <= width:
            return None
        means = [(b - a) / width for a, b in zip(total, total[width:], strict=False)]
        mean = sum(means) / len(means)
        spread = sqrt(sum((one - mean) ** 2 for one in means) / len(means))
        return now, max(means) + BURST_SPREADS * spread

    def lead(self, shift: Change) -> float | None:
        """Return by how many seconds a series moved before the symptom; None where the order cannot be known."""
        signal = signals()[shift.key[0]]
        if shift.moved_at is None or signal.recorded in FINISH:
            return None
        lead = self.onset - shift.moved_at
        return lead if abs(lead) > self.uncertainty(shift.key) else 0.0

    def uncertainty(self, key: SeriesKey) -> float:
        """Return the seconds within which the order of two series is unknown: steps of both, and clocks."""
        source = self.state.source_of(key[0], key[1])
        record = self.state.health.newest.get(source)
        extra = 0.0
        if record is not None:
            extra = record[1].interval_s + (record[1].clock_uncertainty_s or 0.0)
        return WIDE_LEAD_S + extra

    @cached_property
    def calls(self) -> BeforeAfter:
        """The calls of these engines' models, before and since."""
        return before_and_after(self.state, self.onset, self.until, self.models)

    @cached_property
    def events(self) -> list[Event]:
        """What happened and was known, and versions that came into use, newest first."""
        known = [event for event in self.state.events if event.at <= self.until and event.seen <= self.until + 1.0]
        known += [event for event in self.own_events if event not in known]
        known += new_versions(self.calls, self.onset)
        return sorted(known, key=lambda event: event.at, reverse=True)

    @cached_property
    def parts(self) -> list[WaitPart]:
        """The parts of a request's time that are known, each the worst of its engines or rails."""
        found: dict[str, WaitPart] = {}
        for name, signal, about in _PARTS:
            if name in found and about == "engine":
                continue
            # a proxy's rail is told with its source beside the rail's name
            owners = self.subjects(about)
            for subject in (one for one in self._having(signal) if any(owner.covers(one) for owner in owners)):
                shift = self.shift((signal, subject, "mean"))
                if shift is None or shift.usual is None:
                    continue
                part = WaitPart(name, shift.usual, shift.top)
                if name not in found or part.rise > found[name].rise:
                    found[name] = part
        self._queue_by_first_token(found)
        return list(found.values())

    def _queue_by_first_token(self, found: dict[str, WaitPart]) -> None:
        # queue time is recorded at the end of a request, TTFT at its first token: in a jam TTFT knows it sooner
        for engine in self.engines:
            shift = self.shift(("serving.ttft", engine, "mean"))
            prefill = found.get("prefill", WaitPart("prefill", 0.0, 0.0))
            if shift is None or shift.usual is None:
                continue
            queue = found.get("queue", WaitPart("queue", 0.0, 0.0))
            waited = WaitPart("queue", queue.before, queue.before + max(shift.top - shift.usual - prefill.rise, 0.0))
            if waited.rise > queue.rise:
                found["queue"] = waited

    def share(self, names: Iterable[str]) -> float | None:
        """Return which share of the rise stands in some parts; None where none of them is known or nothing grew."""
        parts, wanted = [part for part in self.parts if self.focus in ("", part.name)], set(names)
        total = sum(part.rise for part in parts)
        if total <= 0.0 or not any(part.name in wanted for part in parts):
            return None
        return sum(part.rise for part in parts if part.name in wanted) / total


def family(signal: str) -> str:
    """Return the part of a request's time around the engines that a signal is about; empty for all others."""
    return next((part for prefix, part in FAMILIES.items() if signal.startswith(prefix)), "")


def _sum_of_means(columns: list[list[float]]) -> float:
    """Return the mean of a sum of columns. What one lacks against the fullest it was silent, not as busy as else."""
    most = max(map(len, columns))
    return sum(map(sum, columns)) / most if most else 0.0


def _stat_of(signal: Signal) -> str:
    return "mean" if signal.form == "quantiles" else "value"
