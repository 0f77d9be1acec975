"""The sentences of a verdict: what, why with its strength in words, evidence for and against, what was not seen."""

from datetime import datetime

from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.rules import RuleMatch
from aistack_top.model.incident import (
    PLAIN_WORDS,
    WORDS,
    CallsEvidence,
    Candidate,
    RuledOut,
    Strength,
    Symptom,
    Verdict,
)
from aistack_top.model.signals import LAYERS, signals
from aistack_top.store.labels import label
from aistack_top.text.numbers import age, show
from aistack_top.text.sanitize import sanitize

BAD = ("stale", "down", "unauthorized", "misconfigured")
MAX_LINES = 8


def verdict(
    scene: IncidentContext,
    symptom: Symptom,
    reading: RuleMatch,
    strength: Strength,
    because: str,
    ruled_out: tuple[RuledOut, ...],
    blind: tuple[str, ...],
) -> Verdict:
    """Return the lines of a verdict with a cause."""
    rule = reading.rule
    who = label(reading.subject, scene.state.facts)
    event = next((f.event for f in reading.required if f.event is not None), None)
    says = rule.words.replace("{who}", who).replace("{what}", event.text if event else "")
    why = f"{WORDS[strength]}: {says}"
    if because:
        why += f" ({because})"
    support = [f.text for f in (*reading.required, *reading.supports) if f.holds and f.text]
    against = [f"against: {f.text}" for f in reading.against if f.holds and f.text]
    against += [f"not {out.cause.value.replace('_', ' ')}: {out.because}" for out in ruled_out]
    step = rule.next_step.replace("{who}", who)
    return Verdict(what(scene, symptom), why, _few(support), _few(against), blind, step)


def unknown(
    scene: IncidentContext,
    symptom: Symptom,
    moved: tuple[Candidate, ...],
    ruled_out: tuple[RuledOut, ...],
    blind: tuple[str, ...],
    calls: CallsEvidence | None,
) -> Verdict:
    """Return the lines of a verdict without a cause: what moved with it, and what could not be seen."""
    why = "cause not seen: no recorded signal explains this"
    if calls is not None and calls.findings and calls.findings[0].startswith("only "):
        why = f"cause not seen; {calls.findings[0]}"
    elif moved and moved[0].score >= 0.1:
        why = f"cause not seen; moved with it: {moved[0].evidence}"
    against = [f"not {out.cause.value.replace('_', ' ')}: {out.because}" for out in ruled_out]
    step = "look at the layers without data first" if blind else "compare the calls of before and since"
    return Verdict(what(scene, symptom), why, _few([one.evidence for one in moved[:4]]), _few(against), blind, step)


def what(scene: IncidentContext, symptom: Symptom) -> str:
    """Return the first line: the symptom, how far from its usual, since when, and what did not move."""
    began = datetime.fromtimestamp(scene.onset).astimezone()
    since = f"since {began:%H:%M:%S} ({age(max(scene.until - scene.onset, 0.0))})"
    if symptom.signal == "source.up":
        return f"{sanitize(symptom.entity.get('source') or 'a source')} does not answer any more; trouble {since}."
    signal = signals().get(symptom.signal)
    title, unit = (signal.title, signal.unit) if signal else (symptom.signal, "")
    who = label(symptom.entity, scene.state.facts)
    stat = "" if symptom.stat == "value" else f" {symptom.stat}"
    if signal and signal.kind == "flag":
        return f"{who} {title}, {since}."
    text = f"{title}{stat} {show(symptom.peak, unit)}"
    if symptom.ratio is not None and symptom.usual is not None:
        text += f", {symptom.ratio:.1f}x its usual {show(symptom.usual, unit)}"
    text += f", {since} [{who}]"
    if symptom.ratio is None and symptom.signal in PLAIN_WORDS:
        text = f"{PLAIN_WORDS[symptom.signal][0].format(who=who)}, {since}"
    same = _unchanged(scene, symptom)
    return f"{text}. {', '.join(same)} unchanged." if same else f"{text}."


def _unchanged(scene: IncidentContext, symptom: Symptom) -> list[str]:
    found = []
    for name, stat, subjects in (
        ("serving.ttft", "mean", scene.engines),
        ("serving.itl", "mean", scene.engines),
        ("gpu.clock.sm", "value", scene.gpus if scene.linked else []),
    ):
        shifts = [scene.shift((name, subject, stat)) for subject in subjects]
        known = [shift for shift in shifts if shift is not None and shift.usual]
        if name != symptom.signal and known and all(abs(s.now / (s.usual or 1.0) - 1.0) < 0.1 for s in known):
            found.append(signals()[name].title)
    return found


def blind_spots(scene: IncidentContext, baseline_s: float) -> tuple[str, ...]:
    """Return what could not be seen: short baselines, silent layers, failing sources, unproven links."""
    found = []
    if baseline_s < 180.0:
        found.append(no_baseline(baseline_s))
    table = signals()
    told = {table[key[0]].layer for key in scene.state.timeline if key[0] in table}
    silent = [layer for layer in LAYERS[:7] if layer not in told]
    found += [f"nothing is known of the {layer} layer: no source tells anything about it" for layer in silent]
    if "compute" in told and not any(key[0].startswith("gpu.") for key in scene.state.timeline):
        found.append("nothing is known of the GPUs")
    for _, health in scene.state.health.at(scene.until):
        if health.status in BAD:
            since = "" if health.age_s is None else f", last data {age(health.age_s)} ago"
            found.append(f"{health.source} is {health.status}{since}")
    if scene.engines and not scene.linked:
        found.append("which engine uses which GPU is not known: no GPU evidence says more than possible")
    return tuple(found)


def no_baseline(baseline_s: float) -> str:
    """Return the sentence for a start in the middle of things."""
    return f"no baseline ({int(baseline_s) // 60}:{int(baseline_s) % 60:02d})"


def _few(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts[:MAX_LINES]))
