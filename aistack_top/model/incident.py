"""What an incident is: one trouble with an identity, from its onset to its end, and what is known of its cause.

An `Incident` is one version of what was known: the next version has the same ``id`` and a later ``revised``. All
texts are safe to print, but they hold names from outside and must not be read as markup.
"""

from dataclasses import dataclass
from typing import Literal

from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE, Entity

Confidence = Literal["confirmed", "likely", "possible", "unknown"]
CONFIDENCES: tuple[Confidence, ...] = ("confirmed", "likely", "possible", "unknown")
"""How sure, from the surest. ``confirmed``: all required evidence, a mechanism that explains the size, and it came
first. ``likely``: all required evidence, nothing against it. ``possible``: statistics only, or a reason not to say
more. ``unknown``: no recorded signal explains it."""

WORDS: dict[Confidence, str] = {
    "confirmed": "confirmed",
    "likely": "likely",
    "possible": "possible",
    "unknown": "cause unknown",
}
"""The confidences as they stand in a sentence."""

PLAIN_WORDS: dict[str, tuple[str, str]] = {
    "gpu.recovery_action": ("XID error on {who}", "XID error"),
    "gpu.ecc.uncorrected": ("uncorrected memory errors on {who}", "uncorrected memory errors"),
    "serving.engine.frozen": ("{who} is frozen", "frozen engine"),
    "serving.engine.dead": ("{who}: engine dead", "engine dead"),
    "host.log.lines": ("the kernel of {who} reports a GPU error", "GPU error in the kernel's log"),
    "serving.engine.restarts": ("{who} keeps restarting", "restarts"),
    "cloud.notice": ("the provider takes {who} back", "reclaim notice"),
}
"""What is said, of whom and without whom, of a symptom that is there or not: its number would say nothing more."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is wrong: a signal of an entity, its baseline ``usual`` and its worst ``peak``, in the signal's unit.

    ``stat`` is ``value``, or a part of a distribution (``p95``). ``usual`` and ``ratio`` (of the peak to the baseline)
    are None where nothing from before is known. ``now`` is the newest value, None where there is none or it is over.
    """

    signal: str
    entity: Entity
    usual: float | None
    peak: float
    ratio: float | None = None
    stat: str = "value"
    now: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signal that may explain the symptom.

    ``score`` is 0 to 1. ``lead_s`` is by how many seconds it moved before the symptom; None where the order is
    unknown. ``cause`` is what a rule makes of it, None where no rule speaks. ``baseline`` and ``during`` are the
    numbers of the evidence in the signal's unit, None where it has none.
    """

    signal: str
    entity: Entity
    layer: str
    score: float
    lead_s: float | None
    evidence: str
    cause: Cause | None = None
    baseline: float | None = None
    during: float | None = None


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A cause that it was not, with the reason."""

    cause: Cause
    because: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened around the onset: an XID, a restart, a change. ``at`` is seconds since the epoch."""

    at: float
    layer: str
    kind: str
    entity: Entity
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of the calls of an incident against the calls before: a number of each, or a share of each.

    ``field`` is a property of a call (``input_tokens``, ``version``), ``value`` the value it is about (``1.9.0``)
    or empty where the whole distribution is meant. ``unit`` is ``1`` for shares, ``s`` or ``{token}`` for medians.
    """

    field: str
    value: str
    before: float | None
    during: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class CallsEvidence:
    """The calls that paid for it against those before: how many of each, what differs, in sentences and in numbers."""

    before: int
    during: int
    findings: tuple[str, ...] = ()
    contrasts: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The lines of a verdict, each a sentence or a list of them.

    ``what`` is wrong since when; ``why``, with its confidence in words; evidence ``support`` and ``against``, each with
    number, baseline and lead; ``blind``: what could not be seen; ``next_step``: one safe thing to look at or do.
    """

    what: str
    why: str
    support: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One trouble, as it was known at ``revised``. Times are seconds since the epoch.

    ``onset`` is when it began, by looking back; ``detected`` when that was first detected; ``end`` is None while open.
    ``layer`` is empty where it is unknown. ``times`` counts how often this cause came at this place in half an hour
    ("3rd time"). ``baseline_s`` is how many seconds of usual life were known before it; below 180 nothing is more
    than possible. ``dismissed``: a person said that it is none. ``deadline`` is when the provider takes the node back.
    ``cause_gone`` is since when the evidence of the cause is back at its baseline, while the incident goes on.
    """

    id: str
    revised: float
    onset: float
    detected: float
    end: float | None
    symptom: Symptom
    confidence: Confidence
    layer: str
    cause: Cause
    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()
    ruled_out: tuple[RuledOut, ...] = ()
    blind_spots: tuple[str, ...] = ()
    events: tuple[Moment, ...] = ()
    calls: CallsEvidence | None = None
    place: Entity = SERVICE
    times: int = 1
    baseline_s: float = 0.0
    dismissed: bool = False
    deadline: float | None = None
    cause_gone: float | None = None

    @property
    def open(self) -> bool:
        """Whether it goes on, as far as was known."""
        return self.end is None and not self.dismissed
