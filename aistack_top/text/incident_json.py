"""Incidents as JSON: ``aistack-top/diagnosis/2``, whose schema is ``docs/schema/diagnosis.json``.

The same form is printed, is part of a snapshot, and lies in a session. Version 1, of sessions that 0.1.0 recorded, is
read too: it said ``strength`` (``shown`` for ``confirmed``) and ``usual``. What is read is taken for hostile.
"""

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Literal

import msgspec

from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.incident import (
    CallsEvidence,
    Candidate,
    Confidence,
    Difference,
    Incident,
    Moment,
    RuledOut,
    Symptom,
    Verdict,
)
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import from_rfc3339, rfc3339

SCHEMA = "aistack-top/diagnosis/2"

MAX_TEXT = 600
MAX_BYTES = 500_000
"""An incident is 3 to 10 kB; one that claims more than this is not ours."""


def document(incidents: Iterable[Incident]) -> dict[str, Any]:
    """Return incidents as JSON-ready data."""
    return {"schema": SCHEMA, "incidents": [incident_data(incident) for incident in incidents]}


def incident_data(incident: Incident) -> dict[str, Any]:
    """Return one incident as JSON-ready data, as it stands in the list of the document."""
    return {
        "id": incident.id,
        "onset": rfc3339(incident.onset),
        "detected": rfc3339(incident.detected),
        "end": None if incident.end is None else rfc3339(incident.end),
        "revised": rfc3339(incident.revised),
        "symptom": {
            "signal": incident.symptom.signal,
            "entity": incident.symptom.entity.as_dict(),
            "baseline": _number(incident.symptom.usual),
            "now": _number(incident.symptom.now),
            "peak": _number(incident.symptom.peak),
            "ratio": _number(incident.symptom.ratio),
            "stat": incident.symptom.stat,
        },
        "confidence": incident.confidence,
        "layer": incident.layer or None,
        "cause": incident.cause.value,
        "candidates": [_candidate(candidate) for candidate in incident.candidates],
        "ruled_out": [{"cause": out.cause.value, "because": out.because} for out in incident.ruled_out],
        "blind_spots": list(incident.blind_spots),
        "verdict": _verdict(incident.verdict),
        "events": [
            {"time": rfc3339(e.at), "layer": e.layer, "kind": e.kind, "entity": e.entity.as_dict(), "text": e.text}
            for e in incident.events
        ],
        "calls": _calls(incident.calls),
        "place": incident.place.as_dict(),
        "times": incident.times,
        "baseline_s": round(incident.baseline_s, 3),
        "dismissed": incident.dismissed,
        "deadline": None if incident.deadline is None else rfc3339(incident.deadline),
        "cause_gone": None if incident.cause_gone is None else rfc3339(incident.cause_gone),
    }


def encode(incident: Incident) -> str:
    """Return one incident as JSON text, as it lies in a session."""
    return msgspec.json.encode(incident_data(incident)).decode()


def decode(text: str) -> Incident:
    """Return the incident of JSON text, with its texts made harmless.

    Raises:
        ValueError: it is none (`msgspec.MsgspecError` is one), or too large to be ours.

    """
    if len(text) > MAX_BYTES:
        raise ValueError("an incident of this size is not ours")
    return incident_of(msgspec.json.decode(text))


def incident_of(data: object) -> Incident:
    """Return the incident of JSON data, with its texts made harmless.

    Raises:
        ValueError: it is none.

    """
    row = msgspec.convert(data, _Incident)
    symptom = row.symptom
    return Incident(
        id=sanitize(row.id),
        revised=_time(row.revised),
        onset=_time(row.onset),
        detected=_time(row.detected),
        end=None if row.end is None else _time(row.end),
        symptom=Symptom(
            sanitize(symptom.signal),
            _entity(symptom.entity),
            symptom.usual if symptom.baseline is None else symptom.baseline,
            symptom.peak,
            symptom.ratio,
            sanitize(symptom.stat),
            symptom.now,
        ),
        confidence=_confidence(row),
        layer=sanitize(row.layer or ""),
        cause=row.cause,
        verdict=Verdict(
            _text(row.verdict.what),
            _OLD_WHY.sub("confirmed", _text(row.verdict.why)),
            _texts(row.verdict.support),
            _texts(row.verdict.against),
            _texts(row.verdict.blind),
            _text(row.verdict.next_step),
        ),
        candidates=tuple(_candidate_of(c) for c in row.candidates),
        ruled_out=tuple(RuledOut(out.cause, _text(out.because)) for out in row.ruled_out),
        blind_spots=_texts(row.blind_spots),
        events=tuple(
            Moment(_time(e.time), sanitize(e.layer), sanitize(e.kind), _entity(e.entity), _text(e.text))
            for e in row.events
        ),
        calls=None if row.calls is None else _calls_of(row.calls),
        place=_entity(row.place),
        times=row.times,
        baseline_s=row.baseline_s,
        dismissed=row.dismissed,
        deadline=None if row.deadline is None else _time(row.deadline),
        cause_gone=None if row.cause_gone is None else _time(row.cause_gone),
    )


def _confidence(row: "_Incident") -> Confidence:
    """Return how sure it is, in the words of this version.

    Raises:
        ValueError: it does not say.

    """
    if row.confidence is not None:
        return row.confidence
    if row.strength is None:
        raise ValueError("an incident must say how sure it is")
    return "confirmed" if row.strength == "shown" else row.strength


_OLD_WHY = re.compile(r"^(?:shown|confirmed) by(?=: )")
"""How sessions of earlier builds begin the reason of a confirmed cause."""


class _Symptom(msgspec.Struct):
    signal: str
    entity: dict[str, str]
    peak: float
    ratio: float | None
    baseline: float | None = None
    usual: float | None = None
    stat: str = "value"
    now: float | None = None


class _Candidate(msgspec.Struct):
    signal: str
    entity: dict[str, str]
    layer: str
    score: float
    lead_s: float | None
    evidence: str
    cause: Cause | None = None
    baseline: float | None = None
    during: float | None = None


class _RuledOut(msgspec.Struct):
    cause: Cause
    because: str


class _Verdict(msgspec.Struct):
    what: str
    why: str
    support: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    next_step: str = ""


class _Event(msgspec.Struct):
    time: str
    layer: str
    kind: str
    entity: dict[str, str]
    text: str


class _Contrast(msgspec.Struct):
    field: str
    value: str
    before: float | None
    during: float | None
    unit: str


class _Calls(msgspec.Struct):
    before: int
    during: int
    findings: tuple[str, ...] = ()
    contrasts: tuple[_Contrast, ...] = ()


class _Incident(msgspec.Struct):
    id: str
    onset: str
    detected: str
    end: str | None
    symptom: _Symptom
    layer: str | None
    cause: Cause
    candidates: tuple[_Candidate, ...]
    ruled_out: tuple[_RuledOut, ...]
    blind_spots: tuple[str, ...]
    revised: str
    verdict: _Verdict
    confidence: Confidence | None = None
    strength: Literal["shown", "likely", "possible", "unknown"] | None = None
    events: tuple[_Event, ...] = ()
    calls: _Calls | None = None
    place: dict[str, str] = {}
    times: int = 1
    baseline_s: float = 0.0
    dismissed: bool = False
    deadline: str | None = None
    cause_gone: str | None = None


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "what": verdict.what,
        "why": verdict.why,
        "support": list(verdict.support),
        "against": list(verdict.against),
        "blind": list(verdict.blind),
        "next_step": verdict.next_step,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "signal": candidate.signal,
        "entity": candidate.entity.as_dict(),
        "layer": candidate.layer,
        "score": round(candidate.score, 3),
        "lead_s": None if candidate.lead_s is None else round(candidate.lead_s, 1),
        "evidence": candidate.evidence,
        "cause": None if candidate.cause is None else candidate.cause.value,
        "baseline": _number(candidate.baseline),
        "during": _number(candidate.during),
    }


def _candidate_of(row: _Candidate) -> Candidate:
    signal, entity, layer = sanitize(row.signal), _entity(row.entity), sanitize(row.layer)
    numbers = (row.baseline, row.during)
    return Candidate(signal, entity, layer, row.score, row.lead_s, _text(row.evidence), row.cause, *numbers)


def _calls(calls: CallsEvidence | None) -> dict[str, Any] | None:
    if calls is None:
        return None
    contrasts = [
        {"field": c.field, "value": c.value, "before": _number(c.before), "during": _number(c.during), "unit": c.unit}
        for c in calls.contrasts
    ]
    return {
        "before": calls.before,
        "during": calls.during,
        "findings": list(calls.findings),
        "contrasts": contrasts,
    }


def _calls_of(row: _Calls) -> CallsEvidence:
    contrasts = tuple(
        Difference(sanitize(c.field), sanitize(c.value), c.before, c.during, sanitize(c.unit)) for c in row.contrasts
    )
    return CallsEvidence(row.before, row.during, _texts(row.findings), contrasts)


def _number(value: float | None) -> float | None:
    # the timeline holds float32: more than seven digits are noise; JSON has no infinity
    return float(f"{value:.7g}") if value is not None and isfinite(value) else None


def _text(text: str) -> str:
    return sanitize(text, MAX_TEXT)


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(_text(text) for text in texts)


def _entity(keys: Mapping[str, str]) -> Entity:
    return Entity.from_mapping({key: sanitize(value) for key, value in keys.items()})


def _time(text: str) -> float:
    moment = from_rfc3339(text)
    if moment < 0:
        raise ValueError(f"{text!r} is not a time of ours")
    return moment
