"""Cause rules: data in ``causes.toml``, and the one small evaluator that reads them.

A rule is about subjects of one kind (a GPU, an engine, a rail, the service). Its tests are looked at for each subject;
all that are required must hold for the same one. A test holds, does not hold, or cannot be told: a GPU nobody reads is
not a healthy GPU.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from aistack_top.diagnosis.change import Change, median
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.phrases import order_of, sentence
from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.signals import Layer, signals
from aistack_top.model.tick import Event, SeriesKey
from aistack_top.store.labels import label
from aistack_top.text.numbers import show


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to look at. ``signal`` or ``event`` or ``part`` says what, the rest what must be so of it.

    ``on`` names other subjects than the rule's own. ``at_least`` and ``at_most`` are levels since the onset, ``rose``
    and ``fell`` ratios to the usual, ``level`` the ratio it stayed below, ``by`` the least difference in the unit;
    ``first``: it moved before the symptom or with it. ``beside`` compares with the median of the peers. ``steady``: it
    hardly moved since the onset. ``total``: of all replicas together. ``mean``: by the mean, of
    what comes in lumps. ``bad``: a bad event only. ``away``: an engine
    that says nothing now, or has only just said something again. ``slower``: tokens a second of each running request
    fell to this share while no more, and no longer, requests came. ``per``: ``rose`` is that of the share in another
    signal, of no fewer than ten. ``as_busy``: all replicas together had no more of it than in a burst of the half hour
    before that lasted as long.
    ``within_s`` is how long before the onset an event still counts.
    """

    signal: str = ""
    on: str = ""
    reason: str = ""
    stat: str = ""
    at_least: float | None = None
    at_most: float | None = None
    rose: float | None = None
    fell: float | None = None
    level: float | None = None
    by: float | None = None
    beside: float | None = None
    steady: bool = False
    total: bool = False
    mean: bool = False
    bad: bool = False
    first: bool = False
    away: bool = False
    slower: float | None = None
    per: str = ""
    as_busy: bool = False
    event: str = ""
    key: str = ""
    where: Mapping[str, str] = {}
    lower: bool = False
    within_s: float = 900.0
    part: str = ""
    share: float = 0.0
    says: str = ""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cause. ``weight`` orders causes of equal evidence: what acts before what it does to the engine.

    ``acts_on`` are the parts of a request's time that it can lengthen. ``alone``: it is trouble by itself, without a
    latency symptom. ``local``: it is about one engine or GPU. ``words`` is the sentence of the verdict.
    """

    slug: Cause
    layer: Layer
    about: Literal["engine", "gpu", "other_gpu", "peer", "rail", "service"]
    words: str
    next_step: str
    required: tuple[Condition, ...]
    known_steps: tuple[str, ...] = ()
    """Steps with details, best first: the first of which all are known stands. `aistack_top.diagnosis.steps` fills."""

    supports: tuple[Condition, ...] = ()
    against: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()
    """What rules it out, however well the rest fits: its evidence is then an effect of something else."""

    acts_on: tuple[str, ...] = ()
    weight: float = 1.0
    local: bool = True
    alone: bool = False
    symptom: str = ""
    """A pattern of signals: it explains these symptoms and no others."""

    strongest: Literal["confirmed", "likely", "possible"] = "confirmed"
    passing: bool = False
    """It explains while it is so: what is found when it is over gives the lasting cause."""

    seen: tuple[str, ...] = ()
    """Signals that must be read before it may be said: what nobody reads could be the cause."""

    confirmed_after_s: float = 0.0
    """Before this much baseline is known it is *likely* at most: ordinary bursts must have had time to show."""

    without_baseline: bool = False
    """It is said only where less than three minutes of baseline are known: else what moved says more."""

    effect: bool = False
    """It is how things hurt, not why: it stands first only where no cause is seen."""


class SymptomRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes an excursion of a signal; the fields after ``stat`` are those of `excursion.Limits`."""

    signal: str
    stat: str = "p95"
    ratio: float = 1.5
    floor: float | None = None
    """None: the signal's own."""

    ratio_to_p99: float = 1.3
    absolute: float | None = None
    min_duration: float = 1.0
    enough: str = ""
    min_rate: float = 0.0
    """A share of fewer events a second than ``min_rate`` of the signal ``enough`` says nothing."""

    next_step: str = ""
    """What to look at first where no cause is seen; filled in with its place and time."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cause: tuple[Rule, ...]
    symptom: tuple[SymptomRule, ...]


def rules() -> tuple[Rule, ...]:
    """Return all rules, in the order of the file."""
    return _file().cause


@cache
def symptoms() -> Mapping[str, tuple[SymptomRule, ...]]:
    """Return what makes an excursion, by signal."""
    found: dict[str, tuple[SymptomRule, ...]] = {}
    for row in _file().symptom:
        found[row.signal] = (*found.get(row.signal, ()), row)
    return found


@cache
def _file() -> _File:
    text = files("aistack_top.diagnosis").joinpath("causes.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=_File)


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """What a test found: whether it holds (None: cannot be told), the sentence, the series, the lead in seconds."""

    holds: bool | None
    text: str = ""
    key: SeriesKey | None = None
    score: float = 0.0
    lead_s: float | None = None
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule read for one subject."""

    rule: Rule
    subject: Entity
    required: tuple[ConditionResult, ...]
    supports: tuple[ConditionResult, ...]
    against: tuple[ConditionResult, ...]
    share: float | None
    excluded: bool = False
    """Whether something rules it out that is no effect of it."""

    @property
    def established(self) -> bool:
        """Whether all that is required holds."""
        return all(finding.holds for finding in self.required)

    @property
    def refuted(self) -> ConditionResult | None:
        """The first required test that certainly does not hold."""
        return next((finding for finding in self.required if finding.holds is False), None)

    @property
    def cannot_tell(self) -> bool:
        """Whether a required test cannot be told, and none fails."""
        return not self.established and self.refuted is None

    def is_blind(self, scene: IncidentContext) -> bool:
        """Whether a signal is unread that could be the cause, and no input is seen to have risen instead."""
        table = signals()
        if any(one.holds and one.key is not None and table[one.key[0]].kind == "input" for one in self.supports):
            return False
        return not all(scene.reads(name) for name in self.rule.seen)

    @property
    def contradicted(self) -> bool:
        """Whether something stands against it."""
        return any(finding.holds for finding in self.against)


def evaluate(rule: Rule, scene: IncidentContext) -> list[RuleMatch]:
    """Return a rule read for each of its subjects."""
    found = []
    for subject in scene.subjects(rule.about):
        required = []
        for test in rule.required:
            required.append(check_condition(test, subject, scene))
            if required[-1].holds is False:
                break
        excluded = next((one for test in rule.unless if (one := check_condition(test, subject, scene)).holds), None)
        if excluded is not None:
            required.append(replace(excluded, holds=False))
        good = all(finding.holds for finding in required)
        supports = tuple(check_condition(test, subject, scene) for test in rule.supports) if good else ()
        against = tuple(check_condition(test, subject, scene) for test in rule.against) if good else ()
        share = scene.share(rule.acts_on) if rule.acts_on else None
        found.append(RuleMatch(rule, subject, tuple(required), supports, against, share, excluded is not None))
    return found


def check_condition(test: Condition, subject: Entity, scene: IncidentContext) -> ConditionResult:
    """Return what a test finds about a subject."""
    if test.event:
        return _event(test, subject, scene)
    if test.away:
        return _away(test, subject, scene)
    if test.part:
        share = scene.share(test.part.split("|"))
        if share is None:
            return ConditionResult(None)
        text = f"{share:.0%} of the added latency is {test.part.replace('|', ' and ')}"
        return ConditionResult(share >= test.share, test.says or text, score=share)
    if test.total:
        return _total(test, scene)
    if test.mean:
        return _mean(test, subject, scene)
    if test.per:
        return _per(test, subject, scene)
    if test.as_busy:
        return _as_busy(test, scene)
    if test.slower is not None:
        return _slower(test.slower, subject, scene)
    findings = [_series(test, shift, scene) for shift in _shifts(test, subject, scene)]
    held = [finding for finding in findings if finding.holds]
    if held:
        return max(held, key=lambda finding: finding.score)
    told = [finding for finding in findings if finding.holds is False]
    return max(told, key=lambda finding: finding.score) if told else ConditionResult(None)


def _subjects(test: Condition, subject: Entity, scene: IncidentContext) -> list[Entity]:
    """Return whom a test looks at. ``peer``: replicas outside of this incident; ``other``: all but the subject."""
    if test.on == "other":
        return scene.others_of(subject)
    return scene.subjects(test.on) if test.on else [subject]


def _shifts(test: Condition, subject: Entity, scene: IncidentContext) -> Iterable[Change]:
    subjects = _subjects(test, subject, scene)
    for name in test.signal.split("|"):
        form = signals()[name].form
        stat = test.stat or ("mean" if form == "quantiles" else "value")
        for entity in scene.state.timeline.entities(name):
            if not any(one.covers(entity) for one in subjects):
                continue
            if test.reason and not re.fullmatch(test.reason, entity.get("reason") or ""):
                continue
            shift = scene.shift((name, entity, stat))
            if shift is not None:
                yield shift


def _series(test: Condition, shift: Change, scene: IncidentContext) -> ConditionResult:
    lead = scene.lead(shift)
    holds = _level_holds(test, shift, scene)
    if holds and test.first and lead is not None and lead < 0:
        holds = False
    score = shift.score * (0.3 + 0.7 * shift.novelty) if test.rose or test.fell else max(shift.score, 0.5)
    if holds and signals()[shift.key[0]].kind == "flag":
        score = 1.0  # how far a flag moved says nothing
    return ConditionResult(holds, sentence(shift, scene, lead), shift.key, score, lead)


def _level_holds(test: Condition, shift: Change, scene: IncidentContext) -> bool | None:
    usual, by = shift.usual, test.by if test.by is not None else signals()[shift.key[0]].floor
    checks: list[bool | None] = []
    if test.at_least is not None:
        checks.append(shift.top >= test.at_least)
    if test.at_most is not None:
        checks.append(shift.top <= test.at_most)
    if test.rose is not None:
        checks.append(None if usual is None else shift.top >= usual * test.rose and shift.top - usual >= by)
    if test.fell is not None:
        checks.append(None if usual is None else shift.bottom <= usual * test.fell and usual - shift.bottom >= by)
    if test.level is not None:
        checks.append(None if usual is None else shift.top < usual * test.level or shift.top - usual < by)
    if test.steady:
        checks.append(shift.top - shift.bottom <= max(0.1 * shift.top, 1.0))
    if test.beside is not None:
        checks.append(_beside(test.beside, shift, scene))
    if False in checks:
        return False
    return None if None in checks or not checks else True


def _beside(factor: float, shift: Change, scene: IncidentContext) -> bool | None:
    """Whether a value is so many times that of its peers (below 1: at most that share of it)."""
    signal, entity, stat = shift.key
    others = []
    for peer in _peers(entity, scene):
        theirs = scene.shift((signal, peer, stat))
        if theirs is not None:
            others.append(theirs.middle)
    if not others:
        return None
    usual = median(sorted(others))
    floor = signals()[signal].floor
    if factor < 1.0:
        return shift.middle <= usual * factor and usual - shift.middle >= floor
    return shift.middle >= usual * factor and shift.middle - usual >= floor


def _away(test: Condition, subject: Entity, scene: IncidentContext) -> ConditionResult:
    for one in _subjects(test, subject, scene):
        if scene.is_away(one):
            return ConditionResult(
                True, f"{label(one, scene.state.facts)} is away, or has only just come back", None, 1.0
            )
    return ConditionResult(False)


INPUTS = ("serving.requests.arrived", "serving.prompt_tokens.rate", "serving.prompt_tokens.per_request")
MIN_COUNT = 10.0
"""A share of fewer events is chance."""

LEVEL = 1.25
"""An input that rose by less than this ratio is level."""


def _slower(share: float, engine: Entity, scene: IncidentContext) -> ConditionResult:
    """Whether an engine does less for each running request, while what it is asked for is level."""
    rate = scene.shift(("serving.generation_tokens.rate", engine, "value"))
    running = scene.shift(("serving.requests.running", engine, "value"))
    if rate is None or running is None or not rate.usual or not running.usual or running.middle <= 0:
        return ConditionResult(None)
    for name in INPUTS:
        shift = scene.shift((name, engine, "mean" if signals()[name].form == "quantiles" else "value"))
        if shift is not None and shift.usual and shift.middle > LEVEL * shift.usual:
            return ConditionResult(False)
    before, now = rate.usual / running.usual, rate.middle / running.middle
    who = label(engine, scene.state.facts)
    text = f"tokens/s per running request [{who}] {show(before, '/s')} -> {show(now, '/s')} at level inputs"
    return ConditionResult(now <= share * before, text, None, 0.8)


def _total(test: Condition, scene: IncidentContext) -> ConditionResult:
    """Whether a signal of all replicas together rose so many times: what one of them loses the others must take."""
    engines = scene.replicas
    before, now = scene.sum_of(test.signal, engines)
    if before is None or now is None or test.rose is None:
        return ConditionResult(None)
    signal = signals()[test.signal]
    text = f"{signal.title} of all replicas {show(before, signal.unit)} -> {show(now, signal.unit)}"
    key = (test.signal, engines[0], "value")
    return ConditionResult(now >= before * test.rose and now - before >= signal.floor, text, key, 0.8)


def _mean(test: Condition, subject: Entity, scene: IncidentContext) -> ConditionResult:
    """Whether the mean of a signal rose so many times."""
    key = (test.signal, subject, "value")
    before, now = scene.means_of(key)
    if before is None or now is None or test.rose is None:
        return ConditionResult(None)
    signal = signals()[test.signal]
    who = label(subject, scene.state.facts)
    text = f"{signal.title} [{who}] on average {show(before, signal.unit)} -> {show(now, signal.unit)}"
    return ConditionResult(now >= before * test.rose and now - before >= signal.floor, text, key, 0.8)


def _per(test: Condition, subject: Entity, scene: IncidentContext) -> ConditionResult:
    """Whether a signal's share in another rose; where the other is not read nothing speaks against it."""
    for entity in scene.state.timeline.entities(test.signal):
        (before, now), (of, in_all) = (scene.means_of((name, entity, "value")) for name in (test.signal, test.per))
        if not subject.covers(entity) or before is None or now is None or test.rose is None:
            continue
        if not of or not in_all:
            return ConditionResult(True, score=0.5)
        shares = before / of, now / in_all
        holds = shares[1] >= test.rose * shares[0] and now * (scene.until - scene.onset) >= MIN_COUNT
        text = f"{signals()[test.signal].title} [{label(entity, scene.state.facts)}] {shares[0]:.1%} -> {shares[1]:.1%}"
        return ConditionResult(holds, text, (test.signal, entity, "value"), 0.8)
    return ConditionResult(None)


def _as_busy(test: Condition, scene: IncidentContext) -> ConditionResult:
    """Whether a burst of before was as busy as this."""
    found = scene.busiest_before(test.signal, scene.replicas)
    if found is None:
        return ConditionResult(None)
    now, before = found
    signal = signals()[test.signal]
    text = f"{signal.title} of all replicas {show(now, signal.unit)}, no more than bursts"
    return ConditionResult(now <= before, f"{text} may reach ({show(before, signal.unit)})")


def _peers(entity: Entity, scene: IncidentContext) -> list[Entity]:
    if entity.get("gpu"):
        rest = entity.without("gpu")
        return [gpu.with_(**rest.as_dict()) for gpu in scene.gpus if gpu.get("gpu") != entity.get("gpu")]
    rest = entity.without("engine")
    around = [*scene.peers, *scene.engines]
    return [e.with_(**rest.as_dict()) for e in around if e.get("engine") != entity.get("engine")]


def _event(test: Condition, subject: Entity, scene: IncidentContext) -> ConditionResult:
    subjects = _subjects(test, subject, scene)
    since = scene.onset - test.within_s
    for event in scene.events:
        if event.at < since:
            break
        if not re.fullmatch(test.event, event.kind) or not any(_about(one, event.entity) for one in subjects):
            continue
        detail = dict(event.detail)
        if test.bad and event.severity == "info":
            continue
        if test.key and not re.fullmatch(test.key, detail.get("key", "")):
            continue
        if any(not re.fullmatch(pattern, detail.get(name, "")) for name, pattern in test.where.items()):
            continue
        if test.lower and not _is_lower(detail):
            continue
        # versions are known by calls that have ended: no order can be read off them
        lead = None if event.kind.startswith("calls.") else scene.onset - event.at
        if event.kind == "changed" and lead is not None and lead < 0.0:
            lead = None  # what an engine is started with is known when it answers again
        if test.first and lead is not None and lead < -scene.uncertainty(("", event.entity, "")):
            continue
        who = label(event.entity, scene.state.facts)
        return ConditionResult(True, f"{who}: {event.text}, {order_of(lead)}", None, 1.0, lead, event)
    return ConditionResult(False, test.says)


def _about(subject: Entity, entity: Entity) -> bool:
    # "chat" speaks for its ranks "chat/0", "chat/1"; a source for the engine it reads; the service for everybody
    if subject.covers(entity):
        return True
    name, theirs = subject.get("engine"), entity.get("engine")
    if name and entity.get("source") == name.partition("/")[0]:
        return True
    return bool(name and theirs and name.rpartition("/")[0] == theirs)


def _is_lower(detail: Mapping[str, str]) -> bool:
    try:
        return float(detail.get("after", "")) < float(detail.get("before", ""))
    except ValueError:
        return False


def requirement(test: Condition) -> str:
    """Return what would have to be so, to stand behind the sentence of a test that does not hold."""
    if not test.signal:
        return ""
    unit = signals()[test.signal.split("|")[0]].unit
    parts = [
        f"at least {show(test.at_least, unit)}" if test.at_least is not None else "",
        f"at most {show(test.at_most, unit)}" if test.at_most is not None else "",
        f"{test.rose:g}x baseline" if test.rose is not None else "",
        f"at most {test.fell:.0%} of baseline" if test.fell is not None else "",
        f"below {test.level:g}x baseline" if test.level is not None else "",
        f"{test.beside:g}x its peers" if test.beside is not None else "",
        "steady" if test.steady else "",
        "earlier" if test.first else "",
    ]
    said = " and ".join(part for part in parts if part)
    return f"; would be {said}" if said else ""
