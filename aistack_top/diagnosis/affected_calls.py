"""Calls as evidence: those that paid for an incident against those before it, in numbers and in sentences."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from aistack_top.derive.call_signals import MODEL_KINDS
from aistack_top.diagnosis.change import median
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence, Difference
from aistack_top.model.tick import Call, Event
from aistack_top.state import State
from aistack_top.text.numbers import show
from aistack_top.text.sanitize import sanitize

BEFORE_S = 1800.0
MIN_CALLS = 8
"""Fewer calls on a side compare nothing."""

MAX_CALLS = 600
"""Of more calls on a side every second, third ... is looked at: medians and shares hardly move by it."""

NEW_SHARE, OLD_SHARE = 0.2, 0.05
SLOWER = 1.5
ROLLED_S = 180.0
"""A version that slows things down has been in use for a while by the time that it shows."""

_TRAITS = ("model", "version", "prompt_version", "tenant", "route")
_WORDS = {
    "version": "version",
    "prompt_version": "prompt version",
    "model": "model",
    "tenant": "tenant",
    "route": "route",
}
_SIZES: tuple[tuple[str, str, str], ...] = (
    ("input_tokens", "prompts", "{token}"),
    ("output_tokens", "answers", "{token}"),
    ("cached_tokens", "cached prompt tokens", "{token}"),
    ("ttft", "time to the first token", "s"),
    ("latency", "calls", "s"),
)


class BeforeAfter(NamedTuple):
    """The models' calls before and since an onset, and how many there were of each."""

    before: list[Call]
    during: list[Call]
    known_before: int
    known_during: int


def before_and_after(state: State, onset: float, until: float, models: set[str]) -> BeforeAfter:
    """Return the calls of some models (of all where none is given) before and since an onset."""

    def mine(calls: list[Call]) -> list[Call]:
        return [c for c in calls if c.kind in MODEL_KINDS and (not models or c.model in models or not c.model)]

    old = mine(state.calls.between(onset - BEFORE_S, onset))
    new = [call for call in mine(state.calls.between(onset, until)) if call.start >= onset - 60.0]
    return BeforeAfter(_thinned(old), _thinned(new), len(old), len(new))


def _thinned(calls: list[Call]) -> list[Call]:
    return calls[:: -(-len(calls) // MAX_CALLS) or 1]


def compare(known: BeforeAfter) -> CallsEvidence | None:
    """Return what sets the calls since the onset apart from those before; None where too few are known."""
    before, during = known.before, known.during
    if len(before) < MIN_CALLS or len(during) < MIN_CALLS:
        return None
    contrasts: list[Difference] = []
    findings: list[str] = []
    for name, word, unit in _SIZES:
        usual, now = _middle(before, name), _middle(during, name)
        if usual is None or now is None:
            continue
        contrasts.append(Difference(name, "", usual, now, unit))
        if usual > 0 and (now >= 1.4 * usual or now <= usual / 1.4):
            findings.append(f"{word} {show(usual, unit)} -> {show(now, unit)} ({now / usual:.2g}x the usual)")
    errors = [sum(call.failed for call in calls) / len(calls) for calls in (before, during)]
    contrasts.append(Difference("errors", "", errors[0], errors[1], "1"))
    if errors[1] >= errors[0] + 0.05:
        findings.append(f"errors {show(errors[0], '1')} -> {show(errors[1], '1')}")
    old, new = before, during
    for trait in _TRAITS:
        slow = _compare_trait(trait, old, new, contrasts, findings)
        theirs = [[call for call in calls if getattr(call, trait) == slow] for calls in (old, new)]
        if slow is not None and min(map(len, theirs)) >= MIN_CALLS:
            old, new = theirs  # what else sets those calls apart is asked among themselves
    return CallsEvidence(known.known_before, known.known_during, tuple(findings), tuple(contrasts))


def new_versions(known: BeforeAfter, onset: float) -> list[Event]:
    """Return an event for each version of a model or prompt that came into use shortly before or with the onset."""
    during = known.during
    before = [call for call in known.before if call.end <= onset - ROLLED_S] or known.before
    found: list[Event] = []
    if len(before) < MIN_CALLS or len(during) < MIN_CALLS:
        return found
    for trait in ("version", "prompt_version"):
        old, new = _shares(before, trait), _shares(during, trait)
        for value, share in new.items():
            if not value or share < NEW_SHARE or old.get(value, 0.0) > OLD_SHARE or not any(old):
                continue
            first = min(call.start for call in (*before, *during) if getattr(call, trait) == value)
            was = max(old, key=lambda name: old[name])
            text = f"{_WORDS[trait]} {sanitize(was, 40)} -> {sanitize(value, 40)} in {share:.0%} of the calls"
            detail = (("before", sanitize(was, 60)), ("after", sanitize(value, 60)))
            found.append(Event(first, first, "pipelines", f"calls.{trait}", "info", Entity.of(), text, "", detail))
    return found


def _compare_trait(
    trait: str, before: Sequence[Call], during: Sequence[Call], contrasts: list[Difference], findings: list[str]
) -> str | None:
    old, new = _shares(before, trait), _shares(during, trait)
    word = _WORDS[trait]
    slow: list[str] = []
    judged = 0
    for value, share in sorted(new.items(), key=lambda item: -item[1])[:8]:
        was = old.get(value, 0.0)
        name = sanitize(value, 60)
        if value and abs(share - was) >= 0.1:
            contrasts.append(Difference(trait, name, was, share, "1"))
        if value and share >= was + 0.2 and share >= 1.5 * was:
            findings.append(f"{word} {name}: {show(was, '1')} -> {show(share, '1')} of the calls")
        theirs = [call for call in during if getattr(call, trait) == value]
        usual = _middle([call for call in before if getattr(call, trait) == value] or before, "latency")
        late = _middle(theirs, "latency")
        if value and len(theirs) >= MIN_CALLS and usual and late is not None:
            judged += 1
            if late >= SLOWER * usual:
                slow.append(value)
    if len(slow) != 1 or judged < 2:
        return None
    place = sum(finding.startswith("only ") for finding in findings)
    findings.insert(place, f"only {word} {sanitize(slow[0], 60)} is slow" + _why_slow(trait, slow[0], before, during))
    return slow[0]


def _why_slow(trait: str, value: str, before: Sequence[Call], during: Sequence[Call]) -> str:
    theirs = [call for call in during if getattr(call, trait) == value]
    # what was there before is set against itself, what is new against the others
    own = [call for call in before if getattr(call, trait) == value]
    usual = own if len(own) >= MIN_CALLS else [call for call in during if getattr(call, trait) != value]
    for name, word in (("input_tokens", "prompts"), ("output_tokens", "answers")):
        a, b = _middle(theirs, name), _middle(usual, name)
        if a is not None and b and a >= 1.5 * b:
            return f"; its {word} are {a / b:.1f}x longer"
    return ""


def _shares(calls: Sequence[Call], trait: str) -> dict[str, float]:
    counts: Counter[str] = Counter(getattr(call, trait) for call in calls)
    return {value: count / len(calls) for value, count in counts.items()} if calls else {}


def _middle(calls: Sequence[Call], name: str) -> float | None:
    get: Callable[[Call], float | None] = partial(_attribute, name)
    values = sorted(value for call in calls if (value := get(call)) is not None)
    return median(values) if len(values) >= MIN_CALLS else None


def _attribute(name: str, call: Call) -> float | None:
    value: float | None = getattr(call, name)
    return value
