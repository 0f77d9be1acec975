"""One run of the second model in front of the production detection: what was said, beside what people felt."""

import time
from typing import Any

from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.model.incident import Incident
from enginemodel.arrivals import autocorrelation, counts, fano
from enginemodel.pain import Pain, unprovoked, worst
from enginemodel.readings import EPOCH, Readings
from enginemodel.trials import ONSET_S, SECOND_S, Trial

COUNTED_S = 10.0


def play(trial: Trial) -> dict[str, Any]:
    """Return the record of a run, in the form of the other model's records and with what is asked here beyond them."""
    world = trial.world()
    readings, watch = Readings(world, trial.hidden, trial.reset_s), IncidentDetector()
    versions: dict[str, list[Incident]] = {}
    spent = 0.0
    for tick in readings.ticks(trial.seconds):
        began = time.process_time()
        for version in watch.observe(tick):
            versions.setdefault(version.id, []).append(version)
        spent += time.process_time() - began
    onset = ONSET_S if trial.faults else trial.seconds
    arrived = counts(world.arrived_at, COUNTED_S, 0.0, min(onset, trial.seconds))
    record: dict[str, Any] = {
        "id": trial.id,
        "model": "second",
        "kind": trial.kind,
        "name": trial.name,
        "arrivals": trial.process,
        "fleet": trial.fleet,
        "severity": trial.severity,
        "truth": sorted({cause for fault in trial.faults for cause in fault.causes}),
        "causes": [list(fault.causes) for fault in trial.faults],
        "layers": list(trial.faults[0].layers) if trial.faults else [],
        "onset": onset,
        "second_onset": onset + SECOND_S if len(trial.faults) > 1 else None,
        "seconds": trial.seconds,
        "engines": len(world.engines),
        "requests": len(world.arrived_at),
        "fano": fano(arrived),
        "autocorrelation": autocorrelation(arrived),
        "watch_cpu_s": round(spent, 2),
        "incidents": [_said(found) for found in versions.values()],
        "source_lost": bool(readings.silent),
        "felt": None,
        "organic": [_pain(one) for one in unprovoked(world.felt, len(world.engines), onset)],
    }
    if trial.faults:
        found = worst(world.felt, len(world.engines), onset, trial.seconds)
        record["felt"] = None if found is None else _pain(found)
    return record


def _pain(one: Pain) -> dict[str, Any]:
    return {"signal": one.what, "ratio": round(one.ratio, 2), "s": one.seconds, "onset": one.onset}


def _said(versions: list[Incident]) -> dict[str, Any]:
    last = versions[-1]
    rows = [[round(v.revised - EPOCH), v.cause, v.confidence, v.layer, v.times] for v in versions]
    causes = [one.cause for one in last.candidates if one.cause is not None]
    return {
        "id": last.id,
        "onset": last.onset - EPOCH,
        "detected": versions[0].detected - EPOCH,
        "end": None if last.end is None else last.end - EPOCH,
        "signal": last.symptom.signal,
        "entity": str(last.symptom.entity),
        "ratio": last.symptom.ratio,
        "said": [row for n, row in enumerate(rows) if n == 0 or row[1:] != rows[n - 1][1:]],
        "causes": list(dict.fromkeys([last.cause, *causes]))[:3],
    }
