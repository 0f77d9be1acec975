"""From a scene to a verdict: rank what moved, read the rules, say how sure, what it was not and what was not seen."""

import re
from dataclasses import dataclass

from aistack_top.cause_slugs import Cause
from aistack_top.diagnosis import words
from aistack_top.diagnosis.model import CallsEvidence, Candidate, Moment, RuledOut, Strength, Symptom, Verdict
from aistack_top.diagnosis.payers import compare
from aistack_top.diagnosis.rules import Reading, Rule, read, rules, sentence
from aistack_top.diagnosis.scene import Scene
from aistack_top.diagnosis.shift import Shift, coherence
from aistack_top.signals import signals
from aistack_top.tick import SeriesKey

CLASS_WEIGHT = {"flag": 1.0, "input": 0.7, "other": 0.3, "state": 0.25, "symptom": 0.0}
MOST_CANDIDATES = 10
NOTHING = 0.2
"""Below this nothing recorded explains it."""

SHORT_BASELINE_S = 180.0
LEAST_SHARE, MOST_SHARE = 0.2, 0.5
"""A cause in a part that grew by less than a fifth of the rise cannot be first; a mechanism explains from a half."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of an incident at a moment."""

    strength: Strength
    score: float
    layer: str
    cause: Cause
    candidates: tuple[Candidate, ...]
    ruled_out: tuple[RuledOut, ...]
    blind_spots: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Ranked:
    score: float
    reading: Reading


def judge(
    scene: Scene,
    symptom: Symptom,
    symptom_key: SeriesKey | None,
    baseline_s: float,
    calls: CallsEvidence | None = None,
) -> Opinion:
    """Return the verdict on a scene. ``baseline_s`` is how long the usual was watched."""
    out = {symptom.signal, *(excursion.key[0] for excursion in scene.excursions)}
    apt = [rule for rule in rules() if not rule.symptom or any(re.fullmatch(rule.symptom, name) for name in out)]
    readings = [reading for rule in apt for reading in read(rule, scene)]
    # with hardly a baseline, what stands at a limit says more than what seems to have risen
    short = baseline_s < SHORT_BASELINE_S
    ranked = sorted(
        (_Ranked(_score(r, scene), r) for r in readings if r.established),
        key=lambda one: (short and _is_relative(one.reading.rule), -one.score),
    )
    ranked = [one for one in ranked if symptom_key is not None or one.reading.rule.alone]
    blind = words.blind_spots(scene, baseline_s)
    moved = candidates(scene, symptom_key, _best_of_each(ranked))
    best = ranked[0] if ranked and ranked[0].score >= NOTHING else None
    ruled_out = _ruled_out(readings, best)
    if best is None:
        verdict = words.unknown(scene, symptom, moved, ruled_out, blind, calls)
        return Opinion("unknown", 0.0, "", Cause.UNKNOWN, moved, ruled_out, blind, verdict)
    rule = best.reading.rule
    strength, because = _strength(best, ranked, scene, baseline_s)
    verdict = words.verdict(scene, symptom, best.reading, strength, because, ruled_out, blind)
    return Opinion(strength, best.score, rule.layer, rule.slug, moved, ruled_out, blind, verdict)


def _best_of_each(ranked: list[_Ranked]) -> list[_Ranked]:
    best: dict[Cause, _Ranked] = {}
    for one in ranked:
        if one.score >= NOTHING / 2:
            best.setdefault(one.reading.rule.slug, one)
    return list(best.values())[:MOST_CANDIDATES]


def _is_relative(rule: Rule) -> bool:
    return any(test.rose is not None or test.fell is not None for test in rule.required)


def _score(reading: Reading, scene: Scene) -> float:
    rule = reading.rule
    evidence = sum(finding.score for finding in reading.required) / len(reading.required)
    helped = sum(1 for finding in reading.supports if finding.holds)
    support = 0.75 + 0.25 * helped / len(reading.supports) if reading.supports else 1.0
    leads = [finding.lead_s for finding in reading.required if finding.lead_s is not None]
    order = 0.5 if leads and max(leads) < 0 else 1.0
    mechanism = 1.0
    if rule.acts_on and not rule.alone:
        share = reading.share
        mechanism = 0.8 if share is None else 0.3 if share < LEAST_SHARE else min(1.0, 0.7 + 0.6 * share)
    against = 0.4 if reading.contradicted else 1.0
    return rule.weight * (0.5 + 0.5 * evidence) * support * order * mechanism * against


def _strength(best: _Ranked, ranked: list[_Ranked], scene: Scene, baseline_s: float) -> tuple[Strength, str]:
    """Return how sure one may be, and the reason for not being surer."""
    reading, rule = best.reading, best.reading.rule
    limits: list[tuple[Strength, str]] = [(rule.strongest, "")]
    if baseline_s < SHORT_BASELINE_S and not rule.alone:
        limits.append(("possible", words.no_baseline(baseline_s)))
    if rule.about == "gpu" and not scene.linked:
        limits.append(("possible", "which engine uses which GPU is not known"))
    if rule.local and scene.place.get("engine") is None and not scene.engines:
        limits.append(("possible", "the calls are service-wide: no engine is known for them"))
    if reading.contradicted:
        against = next(finding for finding in reading.against if finding.holds)
        limits.append(("possible", f"against it: {against.text}"))
    if rule.acts_on and not rule.alone:
        share = reading.share
        if share is None:
            limits.append(("likely", "which part of the time grew is not known"))
        elif share < MOST_SHARE:
            limits.append(
                ("possible" if share < LEAST_SHARE else "likely", f"it explains {share:.0%} of the added time")
            )
    leads = [finding.lead_s for finding in reading.required if finding.lead_s is not None]
    if not leads and not rule.alone:
        limits.append(("likely", "the order is not known"))
    rival = next((one for one in ranked if one.reading.rule.slug is not rule.slug), None)
    if rival is not None and rival.score > 0.9 * best.score and not rival.reading.contradicted:
        limits.append(("likely", f"{rival.reading.rule.slug.value.replace('_', ' ')} fits nearly as well"))
    order = ("shown", "likely", "possible", "unknown")
    return max(limits, key=lambda limit: order.index(limit[0]))


def candidates(scene: Scene, symptom: SeriesKey | None, ranked: list[_Ranked]) -> tuple[Candidate, ...]:
    """Return the causes that fit, best first, then what else moved: class x shift x novelty x coherence x lead."""
    found = [_evidence(one, scene) for one in ranked]
    told = {(one.signal, one.entity) for one in found}
    rough: list[tuple[float, Shift]] = []
    for key in scene.series():
        shift = scene.shift(key)
        if shift is not None and shift.usual is not None and shift.score > 0.1:
            weight = CLASS_WEIGHT[signals()[key[0]].kind]
            rough.append((weight * shift.score * (0.3 + 0.7 * shift.novelty), shift))
    rough.sort(key=lambda pair: pair[0], reverse=True)
    moved: list[Candidate] = []
    for score, shift in rough[: 3 * MOST_CANDIDATES]:
        agreed = coherence(scene.state.timeline, shift.key, symptom, scene.onset, scene.until) if symptom else 1.0
        lead = scene.lead(shift)
        order = 0.5 if lead is not None and lead < 0 else 1.0
        total = score * (0.5 + 0.5 * agreed) * order
        signal, entity, _ = shift.key
        text = sentence(shift, scene, lead)
        layer = signals()[signal].layer
        if (signal, entity) not in told:
            moved.append(Candidate(signal, entity, layer, min(total, 1.0), lead, text))
    moved.sort(key=lambda one: one.score, reverse=True)
    return (*found, *moved[:MOST_CANDIDATES])


def _evidence(ranked: _Ranked, scene: Scene) -> Candidate:
    """Return what a rule stands on as a candidate: the required series, or the event, that says most."""
    reading = ranked.reading
    best = max(reading.required, key=lambda finding: (finding.key is not None, finding.score))
    signal = best.key[0] if best.key is not None else (best.event.kind if best.event is not None else "")
    entity = best.key[1] if best.key is not None else (best.event.entity if best.event is not None else reading.subject)
    return Candidate(
        signal, entity, reading.rule.layer, min(ranked.score, 1.0), best.lead_s, best.text, reading.rule.slug
    )


def moments(scene: Scene) -> tuple[Moment, ...]:
    """Return what happened around the onset, oldest first."""
    near = [event for event in scene.events if scene.onset - 900.0 <= event.at <= scene.onset + 300.0]
    return tuple(Moment(e.at, e.layer, e.kind, e.entity, e.text) for e in near[:20][::-1])


def payers(scene: Scene) -> CallsEvidence | None:
    """Return the calls that paid for it against those before."""
    return compare(scene.state, scene.onset, scene.until, scene.models)


def _ruled_out(readings: list[Reading], best: _Ranked | None) -> tuple[RuledOut, ...]:
    """Return the causes whose required evidence was looked for and was not there, one reason each."""
    own = best.reading.rule.slug if best else None
    fits = {reading.rule.slug for reading in readings if reading.established}
    unseen = {reading.rule.slug for reading in readings if reading.unseen}
    found: dict[Cause, RuledOut] = {}
    for reading in readings:
        slug, failed = reading.rule.slug, reading.refuted
        if slug is own or slug in fits or slug in unseen or slug in found or failed is None or not failed.text:
            continue
        found[slug] = RuledOut(slug, failed.text)
    return tuple(found.values())
