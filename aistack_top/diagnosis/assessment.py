"""From a scene to a verdict: rank what moved, read the rules, say how sure, what it was not and what was not seen."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aistack_top.diagnosis import wording as words
from aistack_top.diagnosis.affected_calls import compare
from aistack_top.diagnosis.alarms import SIGNALS
from aistack_top.diagnosis.change import Change, coherence
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.phrases import sentence
from aistack_top.diagnosis.rules import Rule, RuleMatch, evaluate, requirement, rules
from aistack_top.model.causes import Cause
from aistack_top.model.incident import CallsEvidence, Candidate, Confidence, Moment, RuledOut, Symptom, Verdict
from aistack_top.model.signals import signals
from aistack_top.model.tick import SeriesKey

CLASS_WEIGHT = {"flag": 1.0, "input": 0.7, "other": 0.3, "state": 0.25, "symptom": 0.0}
MAX_CANDIDATES = 10
NOTHING = 0.2
"""Below this nothing recorded explains it."""

SEEN = 0.35
"""From here a cause is seen: how it hurts (queue, cache) is attached to it and does not stand beside it."""

MIN_SCORE_SHARE = 0.8
"""A verdict gives way to one with at least this share of its score."""

SHORT_BASELINE_S = 180.0
SOON_S = 60.0
"""Nothing is confirmed earlier than this after the onset: a cause that is told every half minute may not be in yet."""

LEAST_SHARE, MAX_SHARE = 0.2, 0.5
"""A cause in a part that grew by less than a fifth of the rise cannot be first; a mechanism explains from a half."""


@dataclass(frozen=True, slots=True)
class Factors:
    """What counts in the ranking. Everything does; a benchmark asks what each factor is worth."""

    weight: bool = True
    evidence: bool = True
    support: bool = True
    order: bool = True
    mechanism: bool = True
    against: bool = True
    kind: bool = True
    shift: bool = True
    novelty: bool = True
    coherence: bool = True


ALL = Factors()


ENGINE_PARTS = frozenset({"queue", "prefill", "decode"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """A series that a verdict stands on: its baseline, and what it was while it was out."""

    key: SeriesKey
    usual: float
    during: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is thought of an incident at a moment."""

    confidence: Confidence
    score: float
    layer: str
    cause: Cause
    candidates: tuple[Candidate, ...]
    ruled_out: tuple[RuledOut, ...]
    blind_spots: tuple[str, ...]
    verdict: Verdict
    passing: bool = False
    effect: bool = False
    excluded: frozenset[Cause] = frozenset()
    """Causes that are ruled out by what they cannot do."""

    evidence: tuple[Evidence, ...] = ()

    def is_superseded_by(self, other: "Assessment") -> bool:
        """Whether a later opinion takes the place of this one: what is seen late is mostly effect, not cause."""
        if self.cause is Cause.UNKNOWN or self.cause in other.excluded:
            return True
        if (other.effect or (other.passing and not self.passing)) and not self.effect:
            return False
        lasting = (self.passing and not other.passing) or (self.effect and not other.effect)
        return other.score >= (SEEN if lasting else MIN_SCORE_SHARE * self.score)


@dataclass(frozen=True, slots=True)
class _Ranked:
    score: float
    reading: RuleMatch


def assess(
    scene: IncidentContext,
    symptom: Symptom,
    symptom_key: SeriesKey | None,
    baseline_s: float,
    calls: CallsEvidence | None = None,
    factors: Factors = ALL,
) -> Assessment:
    """Return the verdict on a scene. ``baseline_s`` is how long the usual was watched."""
    out = {symptom.signal, *(excursion.key[0] for excursion in scene.excursions)}
    out |= {SIGNALS[event.kind] for event in scene.own_events if event.kind in SIGNALS}
    # with hardly a baseline, what stands at a limit says more than what seems to have risen
    short = baseline_s < SHORT_BASELINE_S
    apt = [rule for rule in rules() if _is_apt(rule, scene, out) and (short or not rule.without_baseline)]
    readings = [reading for rule in apt for reading in evaluate(rule, scene)]
    ranked = sorted(
        (_Ranked(_score(r, scene, factors), r) for r in readings if r.established and not r.is_blind(scene)),
        key=lambda one: (short and _is_relative(one.reading.rule), -one.score),
    )
    if not short and any(one.score >= SEEN and not one.reading.rule.effect for one in ranked):
        ranked.sort(key=lambda one: one.score < SEEN or one.reading.rule.effect)
    ranked = [one for one in ranked if symptom_key is not None or one.reading.rule.alone]
    blind = words.blind_spots(scene, baseline_s)
    moved = candidates(scene, symptom_key, _best_of_each(ranked), factors)
    best = ranked[0] if ranked and ranked[0].score >= NOTHING else None
    ruled_out = _ruled_out(readings, best)
    fitting = {reading.rule.slug for reading in readings if reading.established}
    excluded = frozenset({reading.rule.slug for reading in readings if reading.excluded} - fitting)
    if best is None:
        verdict = words.unknown(scene, moved, ruled_out, blind, calls, symptom.signal)
        return Assessment("unknown", 0.0, "", Cause.UNKNOWN, moved, ruled_out, blind, verdict, excluded=excluded)
    rule = best.reading.rule
    confidence, because = _confidence(best, ranked, scene, baseline_s)
    verdict = words.verdict(scene, best.reading, confidence, because, ruled_out, blind, calls)
    kind = (rule.passing, rule.effect, excluded, _evidence_of(best.reading, scene))
    return Assessment(confidence, best.score, rule.layer, rule.slug, moved, ruled_out, blind, verdict, *kind)


def _is_apt(rule: Rule, scene: IncidentContext, out: set[str]) -> bool:
    """Whether a rule can be about these symptoms: what slows engines slows no guardrail, nor the other way round."""
    if rule.symptom and not any(re.fullmatch(rule.symptom, name) for name in out):
        return False
    if scene.focus:
        return scene.focus in rule.acts_on or (not rule.acts_on and (bool(rule.symptom) or not rule.local))
    return not (scene.inside and rule.acts_on and ENGINE_PARTS.isdisjoint(rule.acts_on))


def _evidence_of(reading: RuleMatch, scene: IncidentContext) -> tuple[Evidence, ...]:
    """Return the series that a cause stands on and that moved, those that people feel excepted."""
    found = []
    for finding in reading.required:
        shift = scene.shift(finding.key) if finding.key is not None else None
        if shift is None or shift.usual is None or signals()[shift.key[0]].kind == "symptom":
            continue
        if abs(shift.now - shift.usual) > signals()[shift.key[0]].floor / 2:
            found.append(Evidence(shift.key, shift.usual, shift.now))
    return tuple(found)


def _best_of_each(ranked: list[_Ranked]) -> list[_Ranked]:
    best: dict[Cause, _Ranked] = {}
    for one in ranked:
        if one.score >= NOTHING / 2:
            best.setdefault(one.reading.rule.slug, one)
    return list(best.values())[:MAX_CANDIDATES]


def _is_relative(rule: Rule) -> bool:
    return any(test.rose is not None or test.fell is not None for test in rule.required)


def _score(reading: RuleMatch, scene: IncidentContext, factors: Factors) -> float:
    rule = reading.rule
    evidence = sum(finding.score for finding in reading.required) / len(reading.required)
    score = rule.weight if factors.weight else 1.0
    if factors.evidence:
        score *= 0.5 + 0.5 * evidence
    helped = sum(1 for finding in reading.supports if finding.holds)
    if factors.support and reading.supports:
        score *= 0.75 + 0.25 * helped / len(reading.supports)
    leads = [finding.lead_s for finding in reading.required if finding.lead_s is not None]
    if factors.order and leads and max(leads) < 0:
        score *= 0.5
    if factors.mechanism and rule.acts_on and not rule.alone:
        share = reading.share
        score *= 0.8 if share is None else 0.3 if share < LEAST_SHARE else min(1.0, 0.7 + 0.6 * share)
    return score * (0.4 if factors.against and reading.contradicted else 1.0)


def _confidence(
    best: _Ranked, ranked: list[_Ranked], scene: IncidentContext, baseline_s: float
) -> tuple[Confidence, str]:
    """Return how sure one may be, and the reason for not being surer."""
    reading, rule = best.reading, best.reading.rule
    limits: list[tuple[Confidence, str]] = [(rule.strongest, ""), *_young(rule, baseline_s)]
    if scene.until - scene.onset < SOON_S and not rule.alone:
        limits.append(("likely", "assessed in its first minute"))
    if rule.about == "gpu" and not scene.linked:
        limits.append(("possible", "which engine uses which GPU is unknown"))
    if rule.local and scene.place.get("engine") is None and not scene.engines:
        limits.append(("possible", "the calls are service-wide: their engine is unknown"))
    if reading.contradicted:
        against = next(finding for finding in reading.against if finding.holds)
        limits.append(("possible", f"against it: {against.text}"))
    if rule.acts_on and not rule.alone:
        share = reading.share
        if share is None:
            limits.append(("likely", "which part of the latency grew is unknown"))
        elif share < MAX_SHARE:
            limits.append(
                ("possible" if share < LEAST_SHARE else "likely", f"it explains {share:.0%} of the added latency")
            )
    leads = [finding.lead_s for finding in reading.required if finding.lead_s is not None]
    if not leads and not rule.alone:
        limits.append(("likely", "the order is unknown"))
    if leads and max(leads) < 0:
        limits.append(("likely", "it started after the symptom"))
    rival = next((one for one in ranked if one.reading.rule.slug is not rule.slug), None)
    if rival is not None and rival.score > 0.9 * best.score and not rival.reading.contradicted:
        limits.append(("likely", f"{rival.reading.rule.slug.value.replace('_', ' ')} fits nearly as well"))
    order = ("confirmed", "likely", "possible", "unknown")
    return max(limits, key=lambda limit: order.index(limit[0]))


def _young(rule: Rule, baseline_s: float) -> Iterator[tuple[Confidence, str]]:
    """Yield how sure one may be of a cause with so little baseline."""
    if baseline_s < SHORT_BASELINE_S and not rule.alone:
        yield "possible", words.no_baseline(baseline_s)
    if baseline_s < rule.confirmed_after_s:
        yield "likely", f"only {baseline_s / 60:.0f} min of baseline: ordinary bursts may not have shown yet"


def candidates(
    scene: IncidentContext, symptom: SeriesKey | None, ranked: list[_Ranked], factors: Factors = ALL
) -> tuple[Candidate, ...]:
    """Return the causes that fit, best first, then what else moved: class x shift x novelty x coherence x lead."""
    found = [_evidence(one, scene) for one in ranked]
    told = {(one.signal, one.entity) for one in found}
    rough: list[tuple[float, Change]] = []
    for key in scene.series():
        shift = scene.shift(key)
        if shift is not None and shift.usual is not None and shift.score > 0.1:
            weight = CLASS_WEIGHT[signals()[key[0]].kind] if factors.kind else 1.0
            moved_by = shift.score if factors.shift else 1.0
            rough.append((weight * moved_by * (0.3 + 0.7 * shift.novelty if factors.novelty else 1.0), shift))
    rough.sort(key=lambda pair: pair[0], reverse=True)
    moved: list[Candidate] = []
    for score, shift in rough[: 3 * MAX_CANDIDATES]:
        agreed = 1.0
        if symptom and factors.coherence:
            agreed = coherence(scene.state.timeline, shift.key, symptom, scene.onset, scene.until)
        lead = scene.lead(shift)
        order = 0.5 if factors.order and lead is not None and lead < 0 else 1.0
        total = score * (0.5 + 0.5 * agreed) * order
        signal, entity, _ = shift.key
        text = sentence(shift, scene, lead)
        layer = signals()[signal].layer
        if (signal, entity) not in told:
            levels = (shift.usual, None if shift.usual is None else shift.now)
            moved.append(Candidate(signal, entity, layer, min(total, 1.0), lead, text, None, *levels))
    moved.sort(key=lambda one: one.score, reverse=True)
    return (*found, *moved[:MAX_CANDIDATES])


def _evidence(ranked: _Ranked, scene: IncidentContext) -> Candidate:
    """Return what a rule stands on as a candidate: the required series, or the event, that says most."""
    reading = ranked.reading
    best = max(reading.required, key=lambda finding: (finding.key is not None, finding.score))
    signal = best.key[0] if best.key is not None else (best.event.kind if best.event is not None else "")
    entity = best.key[1] if best.key is not None else (best.event.entity if best.event is not None else reading.subject)
    shift = scene.shift(best.key) if best.key is not None else None
    levels = (None, None) if shift is None or shift.usual is None else (shift.usual, shift.now)
    kind = (reading.rule.slug, *levels)
    return Candidate(signal, entity, reading.rule.layer, min(ranked.score, 1.0), best.lead_s, best.text, *kind)


def moments(scene: IncidentContext) -> tuple[Moment, ...]:
    """Return what happened around the onset, oldest first."""
    near = [event for event in scene.events if scene.onset - 900.0 <= event.at <= scene.onset + 300.0]
    return tuple(Moment(e.at, e.layer, e.kind, e.entity, e.text) for e in near[:20][::-1])


def affected_calls(scene: IncidentContext) -> CallsEvidence | None:
    """Return the calls that paid for it against those before."""
    return compare(scene.calls)


def _ruled_out(readings: list[RuleMatch], best: _Ranked | None) -> tuple[RuledOut, ...]:
    """Return the causes whose required evidence was looked for and was not there, one reason each."""
    own = best.reading.rule.slug if best else None
    fits = {reading.rule.slug for reading in readings if reading.established}
    unseen = {reading.rule.slug for reading in readings if reading.cannot_tell}
    found: dict[Cause, RuledOut] = {}
    for reading in readings:
        slug, failed = reading.rule.slug, reading.refuted
        if slug is own or slug in fits or slug in unseen or slug in found or failed is None or not failed.text:
            continue
        place = reading.required.index(failed)
        # what stands behind the required tests is there, and must not be
        told = not failed.text.endswith("unchanged") and place < len(reading.rule.required)
        found[slug] = RuledOut(slug, failed.text + (requirement(reading.rule.required[place]) if told else ""))
    return tuple(found.values())
