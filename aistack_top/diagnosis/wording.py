"""The sentences of a verdict: what, why with its confidence in words, evidence for and against, what was not seen."""

from aistack_top.derive.incident_figures import clock
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.lost_sources import LOST
from aistack_top.diagnosis.rules import RuleMatch, symptoms
from aistack_top.diagnosis.steps import Known, filled
from aistack_top.model.incident import (
    WORDS,
    CallsEvidence,
    Candidate,
    Confidence,
    RuledOut,
    Verdict,
)
from aistack_top.model.signals import LAYERS, signals
from aistack_top.model.tick import Health
from aistack_top.store.labels import label
from aistack_top.text.sanitize import sanitize

MAX_LINES = 8

UNKNOWN_STEP = "read the log of {place} from {since} on, and compare the affected calls with those before (T)"
"""Where no cause is seen and the symptom has no step of its own."""


def verdict(
    scene: IncidentContext,
    reading: RuleMatch,
    confidence: Confidence,
    because: str,
    ruled_out: tuple[RuledOut, ...],
    blind: tuple[str, ...],
    calls: CallsEvidence | None,
) -> Verdict:
    """Return the lines of a verdict with a cause; what is wrong is said by `aistack_top.derive.incident_figures`."""
    rule = reading.rule
    who = label(reading.subject, scene.state.facts)
    event = next((f.event for f in reading.required if f.event is not None), None)
    says = rule.words.replace("{who}", who).replace("{what}", event.text if event else "")
    why = f"{WORDS[confidence]}: {says}"
    if because:
        why += f" ({because})"
    support = [f.text for f in (*reading.required, *reading.supports) if f.holds and f.text]
    against = [f"against: {f.text}" for f in reading.against if f.holds and f.text]
    against += _unchanged(scene)
    against += [f"not {out.cause.value.replace('_', ' ')}: {out.because}" for out in ruled_out]
    known = Known(scene, reading.subject, event, calls, tuple(f.key for f in reading.required if f.key is not None))
    told = next((step for template in rule.known_steps if (step := filled(template, known))), None)
    step = told or rule.next_step.replace("{who}", who)
    return Verdict("", why, _few(support), _few(against), blind, step)


def unknown(
    scene: IncidentContext,
    moved: tuple[Candidate, ...],
    ruled_out: tuple[RuledOut, ...],
    blind: tuple[str, ...],
    calls: CallsEvidence | None,
    signal: str = "",
) -> Verdict:
    """Return the lines of a verdict without a cause: what moved with it, and what could not be seen.

    ``signal`` is that of the symptom: its row says what to look at first.
    """
    lost = [words for _, words in _failing(scene)]
    why = WORDS["unknown"] + (f"; {lost[0]}, so what it reads is not observed" if lost else "")
    if calls is not None and calls.findings and calls.findings[0].startswith("only "):
        why += f"; {calls.findings[0]}"
    elif moved and moved[0].score >= 0.1:
        why += f"; moved with it: {moved[0].evidence}"
    elif not lost:
        why += ": no collected signal explains it"
    against = [*_unchanged(scene), *(f"not {out.cause.value.replace('_', ' ')}: {out.because}" for out in ruled_out)]
    step = _unknown_step(scene, signal)
    return Verdict("", why, _few([one.evidence for one in moved[:4]]), _few(against), blind, step)


def _unknown_step(scene: IncidentContext, signal: str) -> str:
    """Return what to look at where no cause is seen: what failed to be read first, then the log of the place."""
    place = label(scene.place, scene.state.facts) if scene.place.pairs else "the engines"
    step = next((row.next_step for row in symptoms().get(signal, ()) if row.next_step), UNKNOWN_STEP)
    log = step.format(place=place, since=clock(scene.onset))
    failing = [health.source for health, _ in _failing(scene)]
    if not failing:
        return log
    return (
        f"get {sanitize(', '.join(failing[:3]), 120)} to answer again ('aistack-top doctor' shows how); meanwhile {log}"
    )


def _unchanged(scene: IncidentContext) -> list[str]:
    """Return what people feel or fear first and what did not move, in one sentence if there is any."""
    out = {excursion.key[0] for excursion in scene.excursions}
    found = []
    for name, stat, subjects in (
        ("serving.ttft", "mean", scene.engines),
        ("serving.itl", "mean", scene.engines),
        ("gpu.clock.sm", "value", scene.gpus if scene.linked else []),
    ):
        shifts = [scene.shift((name, subject, stat)) for subject in subjects]
        known = [shift for shift in shifts if shift is not None and shift.usual]
        if name not in out and known and all(abs(s.now / (s.usual or 1.0) - 1.0) < 0.1 for s in known):
            found.append(signals()[name].title)
    return [f"unchanged: {', '.join(found)}"] if found else []


def _failing(scene: IncidentContext) -> list[tuple[Health, str]]:
    """Return the sources that fail, each with since when nothing was read: a time does not grow old."""
    found = []
    for seen, health in scene.state.health.at(scene.until):
        if health.status in LOST:
            last = seen - (health.age_s or 0.0)
            since = f"no data since {clock(last)}" if health.age_s is not None else "no data ever"
            found.append((health, f"{sanitize(health.source)} is {health.status}: {since}"))
    return found


def blind_spots(scene: IncidentContext, baseline_s: float) -> tuple[str, ...]:
    """Return what could not be seen: short baselines, silent layers, failing sources, unproven links."""
    found = []
    if baseline_s < 180.0:
        found.append(no_baseline(baseline_s))
    table = signals()
    told = {table[key[0]].layer for key in scene.state.timeline if key[0] in table}
    silent = [layer for layer in LAYERS[:7] if layer not in told]
    found += [f"the {layer} layer is not observed: no source reads it" for layer in silent]
    if "compute" in told and not any(key[0].startswith("gpu.") for key in scene.state.timeline):
        found.append("the GPUs are not observed")
    found += [said for _, said in _failing(scene)]
    if scene.engines and not scene.linked:
        found.append("which engine uses which GPU is unknown: GPU evidence counts as possible at most")
    return tuple(found)


def no_baseline(baseline_s: float) -> str:
    """Return the sentence for a start in the middle of things."""
    return f"no baseline ({int(baseline_s) // 60}:{int(baseline_s) % 60:02d})"


def _few(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts[:MAX_LINES]))
