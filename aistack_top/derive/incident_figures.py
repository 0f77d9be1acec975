"""The numbers of an incident at a moment, computed once: now, peak, baseline, onset and duration.

The verdict line, the incident's page, the report and the JSON all show what stands here, so that two of them never say
two numbers for one thing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from aistack_top.model.entity import Entity
from aistack_top.model.incident import PLAIN_WORDS, Incident, Symptom
from aistack_top.model.signals import signals
from aistack_top.store.facts import Facts
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize

if TYPE_CHECKING:
    from aistack_top.store.frame import Frame

SOURCE_UP = "source.up"
"""The symptom of a source, or of an engine, that answers nothing any more."""

NOTICE = "cloud.notice"
RESTARTS = "serving.engine.restarts"
WAITING = "serving.requests.waiting"


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when an incident lasts, as known at ``at``; seconds since the epoch."""

    onset: float
    end: float | None
    at: float

    @property
    def lasted_s(self) -> float:
        """How long it has lasted, in seconds."""
        return max((self.at if self.end is None else min(self.end, self.at)) - self.onset, 0.0)

    @property
    def said(self) -> str:
        """Since when and how long: ``since 10:15:20 (85 s)``, or both ends of one that is over."""
        if self.end is not None:
            return f"{clock(self.onset)} to {clock(self.end)} ({numbers.age(self.lasted_s)})"
        return f"since {clock(self.onset)} ({numbers.age(self.lasted_s)})"


def span(incident: Incident, at: float) -> Span:
    """Return from when to when an incident lasts, as known at a time."""
    return Span(incident.onset, incident.end, at)


def clock(at: float) -> str:
    """Return a time of day of this machine."""
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S}"


def at_moment(incident: Incident, frame: "Frame") -> Incident:
    """Return an incident with the numbers of a frame's moment: its newest value, the worst so far, the time left."""
    symptom = incident.symptom
    key = (symptom.signal, symptom.entity, symptom.stat)
    if key in frame.timeline:
        end = frame.at if incident.end is None else min(incident.end, frame.at)
        values = frame.timeline.window(key, incident.onset, end + frame.timeline.step_s)
        peak = max((value for value in values if value == value), default=symptom.peak)
        reading = frame.read(*key) if incident.open else None
        now = reading.sample.number if reading is not None and not reading.stale else None
        symptom = with_numbers(symptom, max(peak, symptom.peak), now)
    verdict = replace(incident.verdict, what=sentence(replace(incident, symptom=symptom), frame.at, frame.facts))
    verdict = replace(verdict, why=verdict.why + _gone_said(incident, frame))
    return replace(incident, symptom=symptom, verdict=verdict)


def with_numbers(symptom: Symptom, peak: float, now: float | None) -> Symptom:
    """Return a symptom with another peak and newest value; its ratio is that of the peak to the baseline."""
    ratio = peak / symptom.usual if symptom.usual and symptom.ratio is not None else symptom.ratio
    return replace(symptom, peak=peak, now=now, ratio=ratio)


def sentence(incident: Incident, at: float, facts: Facts) -> str:
    """Return what is wrong in one sentence: the symptom with its numbers, since when, and how long."""
    return f"{symptom_words(incident, facts)}, {span(incident, at).said}."


def symptom_words(incident: Incident, facts: Facts, *, whose: bool = True, brief: bool = False) -> str:
    """Return the symptom: ``TTFT p95 of vllm-0 now 3.3 s, peak 18.6 s (24.8x baseline)``."""
    symptom = incident.symptom
    who = label(symptom.entity, facts, 24)
    if symptom.signal == SOURCE_UP:
        name = sanitize(symptom.entity.get("source") or symptom.entity.get("engine") or "a source", 40)
        return f"{name} does not answer" if incident.end is None else f"{name} did not answer"
    if symptom.signal in PLAIN_WORDS and symptom.ratio is None:
        said, short = PLAIN_WORDS[symptom.signal]
        return sanitize(said.format(who=who) if whose else short, 120)
    signal = signals().get(symptom.signal)
    title = signal.title if signal else symptom.signal
    if signal and signal.kind == "flag":
        return sanitize(f"{who} {title}", 120)  # the engine is what a flag is about
    part = f" {symptom.stat}" if symptom.stat not in ("", "value") else ""
    of = f" of {who}" if whose and symptom.entity.pairs else ""

    def said_of(value: float) -> str:
        return numbers.of_signal(value, signal) if signal else numbers.short(value)

    text = "" if symptom.now is None else f" now {said_of(symptom.now)}{'' if brief else ','}"
    if not brief or symptom.now is None:
        text += f" peak {said_of(symptom.peak)}"
        text += _beside_baseline(symptom, said_of)
    return sanitize(f"{title}{part}{of}{text}", 120)


def _beside_baseline(symptom: Symptom, said_of: Callable[[float], str]) -> str:
    """Return how the peak stands to the baseline; nothing where no baseline is known."""
    if symptom.ratio is not None:
        return f" ({symptom.ratio:.1f}x baseline)"
    return "" if symptom.usual is None else f" (baseline {said_of(symptom.usual)})"


def deadline_words(deadline: float, at: float) -> str:
    """Return how long there is until a deadline: ``1:58 (10:17:00)``."""
    left = max(int(deadline - at), 0)
    return f"{left // 60}:{left % 60:02d} ({clock(deadline)})" if left else f"0:00 (since {clock(deadline)})"


def waiting(incident: Incident, frame: "Frame") -> float | None:
    """Return how many requests wait at the engines of an incident now; None where nothing tells."""
    engine = incident.place.get("engine") or incident.symptom.entity.get("engine")
    within = Entity.of(engine=engine) if engine else None
    found = [reading.sample.number for reading in frame.readings(WAITING, within=within) if not reading.stale]
    return sum(found) if found else None


def gone_words(incident: Incident, frame: "Frame") -> str:
    """Return since when the cause is gone, and what it left: ``cause gone since 10:31:05; 225 still waiting``."""
    if incident.cause_gone is None or not incident.open:
        return ""
    left = waiting(incident, frame)
    tail = f"; {left:.0f} still waiting" if left else ""
    return f"cause gone since {clock(incident.cause_gone)}{tail}"


def _gone_said(incident: Incident, frame: "Frame") -> str:
    said = gone_words(incident, frame)
    return f"; {said}" if said else ""
