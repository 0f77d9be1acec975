"""Calls as evidence: those that paid for an incident against those before it, in numbers and in sentences."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from aistack_top.derive import MODEL_KINDS
from aistack_top.diagnosis.model import CallsEvidence, Contrast
from aistack_top.diagnosis.shift import median
from aistack_top.entity import Entity
from aistack_top.numbers import show
from aistack_top.plain import plain
from aistack_top.state import State
from aistack_top.tick import Call, Event

BEFORE_S = 1800.0
FEWEST = 8
"""Fewer calls on a side compare nothing."""

MOST_CALLS = 2_000
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


def compare(state: State, onset: float, until: float, models: set[str]) -> CallsEvidence | None:
    """Return what sets the calls since the onset apart from those before; None where too few are known."""
    before, during = _windows(state, onset, until, models)
    if len(before) < FEWEST or len(during) < FEWEST:
        return None
    contrasts: list[Contrast] = []
    findings: list[str] = []
    for name, word, unit in _SIZES:
        usual, now = _middle(before, name), _middle(during, name)
        if usual is None or now is None:
            continue
        contrasts.append(Contrast(name, "", usual, now, unit))
        if usual > 0 and (now >= 1.4 * usual or now <= usual / 1.4):
            findings.append(f"{word} {show(usual, unit)} -> {show(now, unit)} ({now / usual:.2g}x the usual)")
    errors = [sum(call.failed for call in calls) / len(calls) for calls in (before, during)]
    contrasts.append(Contrast("errors", "", errors[0], errors[1], "1"))
    if errors[1] >= errors[0] + 0.05:
        findings.append(f"errors {show(errors[0], '1')} -> {show(errors[1], '1')}")
    old, new = before, during
    for trait in _TRAITS:
        slow = _compare_trait(trait, old, new, contrasts, findings)
        theirs = [[call for call in calls if getattr(call, trait) == slow] for calls in (old, new)]
        if slow is not None and min(map(len, theirs)) >= FEWEST:
            old, new = theirs  # what else sets those calls apart is asked among themselves
    return CallsEvidence(len(before), len(during), tuple(findings), tuple(contrasts))


def new_versions(state: State, onset: float, until: float, models: set[str]) -> list[Event]:
    """Return an event for each version of a model or prompt that came into use shortly before or with the onset."""
    before, during = _windows(state, onset, until, models)
    before = [call for call in before if call.end <= onset - ROLLED_S] or before
    found: list[Event] = []
    if len(before) < FEWEST or len(during) < FEWEST:
        return found
    for trait in ("version", "prompt_version"):
        old, new = _shares(before, trait), _shares(during, trait)
        for value, share in new.items():
            if not value or share < NEW_SHARE or old.get(value, 0.0) > OLD_SHARE or not any(old):
                continue
            first = min(call.start for call in (*before, *during) if getattr(call, trait) == value)
            was = max(old, key=lambda name: old[name])
            text = f"{_WORDS[trait]} {plain(was, 40)} -> {plain(value, 40)} in {share:.0%} of the calls"
            found.append(Event(first, first, "pipelines", f"calls.{trait}", "info", Entity.of(), text))
    return found


def _windows(state: State, onset: float, until: float, models: set[str]) -> tuple[list[Call], list[Call]]:
    def mine(call: Call) -> bool:
        return call.kind in MODEL_KINDS and (not models or call.model in models or not call.model)

    old = [call for call in state.calls.between(onset - BEFORE_S, onset) if mine(call)]
    new = [call for call in state.calls.between(onset, until) if mine(call) and call.start >= onset - 60.0]
    return old[-MOST_CALLS:], new[:MOST_CALLS]


def _compare_trait(
    trait: str, before: Sequence[Call], during: Sequence[Call], contrasts: list[Contrast], findings: list[str]
) -> str | None:
    old, new = _shares(before, trait), _shares(during, trait)
    word = _WORDS[trait]
    slow: list[str] = []
    judged = 0
    for value, share in sorted(new.items(), key=lambda item: -item[1])[:8]:
        was = old.get(value, 0.0)
        name = plain(value, 60)
        if value and abs(share - was) >= 0.1:
            contrasts.append(Contrast(trait, name, was, share, "1"))
        if value and share >= was + 0.2 and share >= 1.5 * was:
            findings.append(f"{word} {name}: {show(was, '1')} -> {show(share, '1')} of the calls")
        theirs = [call for call in during if getattr(call, trait) == value]
        usual = _middle([call for call in before if getattr(call, trait) == value] or before, "latency")
        late = _middle(theirs, "latency")
        if value and len(theirs) >= FEWEST and usual and late is not None:
            judged += 1
            if late >= SLOWER * usual:
                slow.append(value)
    if len(slow) != 1 or judged < 2:
        return None
    place = sum(finding.startswith("only ") for finding in findings)
    findings.insert(place, f"only {word} {plain(slow[0], 60)} is slow" + _why_slow(trait, slow[0], during))
    return slow[0]


def _why_slow(trait: str, value: str, during: Sequence[Call]) -> str:
    theirs = [call for call in during if getattr(call, trait) == value]
    others = [call for call in during if getattr(call, trait) != value]
    for name, word in (("input_tokens", "prompts"), ("output_tokens", "answers")):
        a, b = _middle(theirs, name), _middle(others, name)
        if a is not None and b and a >= 1.5 * b:
            return f"; its {word} are {a / b:.1f}x longer"
    return ""


def _shares(calls: Sequence[Call], trait: str) -> dict[str, float]:
    counts: Counter[str] = Counter(getattr(call, trait) for call in calls)
    return {value: count / len(calls) for value, count in counts.items()} if calls else {}


def _middle(calls: Sequence[Call], name: str) -> float | None:
    get: Callable[[Call], float | None] = partial(_attribute, name)
    values = sorted(value for call in calls if (value := get(call)) is not None)
    return median(values) if len(values) >= FEWEST else None


def _attribute(name: str, call: Call) -> float | None:
    value: float | None = getattr(call, name)
    return value
