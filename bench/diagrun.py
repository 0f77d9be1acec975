"""Plays a case in front of the production detection and writes down what was said, beside what simple methods say."""

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from math import inf, isnan
from typing import Any

from diagcases import Case
from diagmodels import Run

from aistack_top.diagnosis.anomaly import Anomaly
from aistack_top.diagnosis.assessment import Factors, assess, candidates
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.diagnosis.rules import rules
from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.incident import Incident, Symptom
from aistack_top.model.signals import signals
from aistack_top.model.tick import SeriesKey, Tick

GIVEN_S = 120.0
"""With the time given, this much after the onset is looked at."""

BEFORE_S = 1800.0
OFF = ("weight", "evidence", "support", "order", "mechanism", "against", "novelty", "coherence", "shift", "kind")


def play(case: Case, run: Run, *, given_too: bool) -> dict[str, Any]:
    """Return the record of a run; ``given_too``: with what is said when the time of the onset is given."""
    watch = IncidentDetector()
    onset = case.scenario.onset
    first = onset + 150.0 if case.kind == "late" else 0.0
    versions: dict[str, list[Incident]] = {}
    spent = 0.0
    for tick in run.ticks(case.seconds):
        if tick.at - run.epoch < first:
            continue
        began = time.process_time()
        for version in watch.observe(_hidden(tick, case.withheld)):
            versions.setdefault(version.id, []).append(version)
        spent += time.process_time() - began
    record: dict[str, Any] = {
        "id": case.id,
        "kind": case.kind,
        "name": case.name,
        "band": case.band,
        "arrivals": case.arrivals,
        "severity": case.severity,
        "truth": list(case.truth),
        "layer": case.scenario.layer,
        "onset": onset,
        "seconds": case.seconds,
        "engines": run.engines,
        "watch_cpu_s": round(spent, 2),
        "incidents": [_told(found, run.epoch) for found in versions.values()],
        "pains": run.pains(),
    }
    if case.kind in ("fault", "two", "alike", "withheld", "late"):
        record["felt"] = run.felt(onset)
    if given_too and case.kind in ("fault", "alike", "withheld") and record["felt"]:
        record["given"] = given(watch, case, run.epoch + record["felt"]["onset"])
    return record


def _hidden(tick: Tick, withheld: Sequence[str]) -> Tick:
    if not withheld:
        return tick
    kept = [batch for batch in tick.batches if batch.health.source not in withheld]
    if "spans" in withheld:
        kept = [
            replace(batch, calls=tuple(call for call in batch.calls if call.kind in ("other", "generation")))
            for batch in kept
        ]
    return replace(tick, batches=tuple(kept))


def _told(versions: list[Incident], epoch: float) -> dict[str, Any]:
    last = versions[-1]
    said = [[round(v.revised - epoch), v.cause, v.confidence, v.layer, v.times] for v in versions]
    causes = [c.cause for c in last.candidates if c.cause is not None]
    return {
        "id": last.id,
        "onset": last.onset - epoch,
        "detected": versions[0].detected - epoch,
        "end": None if last.end is None else last.end - epoch,
        "signal": last.symptom.signal,
        "entity": str(last.symptom.entity),
        "ratio": last.symptom.ratio,
        "usual": last.symptom.usual,
        "said": [row for n, row in enumerate(said) if n == 0 or row[1:] != said[n - 1][1:]],
        "causes": list(dict.fromkeys([last.cause, *causes]))[:3],
        "baseline_s": last.baseline_s,
        "blind": list(last.blind_spots),
        "why": last.verdict.why,
    }


def given(watch: IncidentDetector, case: Case, onset: float) -> dict[str, Any]:
    """Return what is said with the time of the onset given: by the rules, without each factor, and by others."""
    place, excursions = _where(watch, case, onset)
    scene = IncidentContext(watch.state, place, onset, onset + GIVEN_S, excursions)
    key = excursions[0].key if excursions else ("calls.latency", SERVICE, "mean")
    symptom = Symptom(key[0], key[1], None, 0.0, None, key[2])
    out: dict[str, Any] = {"rules": {}, "columns": {}}
    for name in ("", *OFF[:6]):
        factors = replace(Factors(), **{name: False}) if name else Factors()
        opinion = assess(scene, symptom, key, BEFORE_S, factors=factors)
        causes = [c.cause for c in opinion.candidates if c.cause is not None]
        named = list(dict.fromkeys([opinion.cause, *causes]))[:3]
        out["rules"][name or "all"] = [named, opinion.layer, opinion.confidence]
    alone = IncidentContext(watch.state, place, onset, onset + GIVEN_S, excursions)
    alone.__dict__["peers"] = []
    opinion = assess(alone, symptom, key, BEFORE_S)
    causes = [c.cause for c in opinion.candidates if c.cause is not None]
    named = list(dict.fromkeys([opinion.cause, *causes]))[:3]
    out["rules"]["peers"] = [named, opinion.layer, opinion.confidence]
    for name in ("", *OFF[3:4], *OFF[6:]):
        factors = replace(Factors(), **{name: False}) if name else Factors()
        found = candidates(scene, key, [], factors)
        out["columns"][f"ours-{name}" if name else "ours"] = [one.signal for one in found[:5]]
    for method, order in columns(scene, onset).items():
        out["columns"][method] = [name[0] for name in order[:5]]
    out["evidence"] = sorted(evidence(case.truth[0]))
    return out


def _where(watch: IncidentDetector, case: Case, onset: float) -> tuple[Entity, tuple[Anomaly, ...]]:
    """Return where it hurts, as detected; the engine of the answer sheet where nothing was."""
    for trouble in watch.open_incidents:
        if abs(trouble.onset - onset) <= 180.0:
            known = [one for one in trouble.excursions if one.detected <= onset + GIVEN_S]
            return trouble.place, tuple(known)
    symptom = case.scenario.symptom
    engine = symptom.entity.get("engine") if symptom else None
    return (Entity.of(engine=engine) if engine else SERVICE), ()


def evidence(cause: Cause) -> set[str]:
    """Return the signals that a cause's rules ask for, those people notice excepted."""
    table = signals()
    tests = [test for rule in rules() if rule.slug is cause for test in rule.required if test.signal]
    names = {name for test in tests for name in test.signal.split("|")}
    return {name for name in names if table[name].kind != "symptom"}


def columns(scene: IncidentContext, onset: float) -> dict[str, list[SeriesKey]]:
    """Return the same series as simple methods rank them: best first."""
    rows = {key: both for key in scene.series() if (both := _sides(scene, key, onset)) is not None}
    names = list(rows)
    shuffled = list(names)
    random.Random(f"{onset}").shuffle(shuffled)
    order = {"chance": shuffled}
    for method in ("volume", "N-sigma", "robust scorer"):
        scores = {key: _simple(method, *rows[key]) for key in names}
        order[method] = sorted(names, key=lambda key: -scores[key])
    if rows and find_spec("baro") is not None:
        order["fse-baro"] = _baro(scene, names, onset)
    return order


def _baro(scene: IncidentContext, names: list[SeriesKey], onset: float) -> list[SeriesKey]:
    """Return the order of the package of BARO's authors; it names no constant column."""
    import pandas as pd
    from baro.root_cause_analysis import robust_scorer

    frame = pd.DataFrame({"time": [float(n) for n in range(int((BEFORE_S + GIVEN_S) / 5.0))]})
    for number, key in enumerate(names):
        values = list(scene.state.timeline.window(key, onset - BEFORE_S, onset + GIVEN_S))
        frame[f"c{number}"] = pd.Series(values[: len(frame)])
    ranks = robust_scorer(frame.ffill().bfill().fillna(0), inject_time=BEFORE_S / 5.0)["ranks"]
    return [names[int(name[1:])] for name in ranks if name != "time"]


def _sides(scene: IncidentContext, key: SeriesKey, onset: float) -> tuple[list[float], list[float]] | None:
    timeline = scene.state.timeline
    windows = (timeline.window(key, onset - BEFORE_S, onset), timeline.window(key, onset, onset + GIVEN_S))
    before, after = (list(_filled(window)) for window in windows)
    return (before, after) if len(before) >= 2 and after else None


def _filled(values: Sequence[float]) -> Iterator[float]:
    last = None
    for value in values:
        last = last if isnan(value) else value
        if last is not None:
            yield last


def _simple(method: str, before: list[float], after: list[float]) -> float:
    """Return a score as in the method's paper; a constant gets none."""
    if method == "volume":
        was = statistics.fmean(before)
        return abs(statistics.fmean(after) - was) / abs(was) if was else 0.0
    if min(before) == max(before) or min(after) == max(after):
        return -inf
    if method == "N-sigma":
        return (max(after) - statistics.fmean(before)) / (statistics.pstdev(before) or 1.0)
    low, middle, high = statistics.quantiles(before, n=4, method="inclusive")
    return (max(after) - middle) / ((high - low) or 1.0)
