"""One row a model and a process of arrivals, from the records of both models' runs.

| column | is |
|---|---|
| felt | runs of single faults that hurt people, by the model's own truth: twice the usual for two minutes |
| cause, layer | of those, in how many the verdict of the first incident since the onset is right |
| recall, delay | of those, in how many there is an incident, and how long after the pain began it was there |
| wrong confirmed | incidents that ever called a wrong cause confirmed, of all incidents of all runs |
| false alarms | incidents of quiet time (quiet runs, and before a fault) a day and engine; in brackets, of them |
| | those at times when nothing hurt anybody, not even by a burst of the arrivals |
| unknown | of runs whose cause is withheld: said to be unknown, no incident at all, anything else |
| both | of runs with two faults: both among the causes named, and both as verdicts of incidents |

Wrong is counted strictly: a cause that is merely also true is wrong, unless the fault names it as an answer.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import Any

from diagscore import felt, first_cause, main_incident, quantile

Record = dict[str, Any]
DAY_S = 86400.0
COLUMNS = (
    "model", "arrivals", "Fano 10 s", "lag-1", "runs", "felt", "cause right", "layer right", "recall",
    "delay p50 / p90", "wrong confirmed", "false alarms a day and engine", "withheld: unknown / none / other",
    "two: both named / verdicts",
)  # fmt: skip


def share(values: Iterable[bool]) -> str:
    """Return a share with its count."""
    found = list(values)
    return f"{sum(found) / len(found):.2f} ({sum(found)}/{len(found)})" if found else "-"


def causes_of(record: Record) -> list[set[str]]:
    """Return the right answers, fault by fault."""
    if "causes" in record:
        return [set(one) for one in record["causes"]]
    return [{cause} for cause in record["truth"]]


def cause_right(record: Record) -> bool:
    """Whether the first incident since the onset has a right cause in the end."""
    return first_cause(main_incident(record)) in set().union(*causes_of(record))


def layer_right(record: Record) -> bool:
    """Whether it has a right layer."""
    incident = main_incident(record)
    layers = record["layers"] if "layers" in record else [record["layer"]]
    return incident is not None and incident["said"][-1][3] in layers


def wrong_confirmed(record: Record) -> int:
    """Return how many incidents of a run ever called a wrong cause confirmed."""
    right = set().union(*causes_of(record)) if record["kind"] != "clean" else set()
    if record.get("source_lost", True):
        right = right | {"source_lost"}
    return sum(
        any(confidence == "confirmed" and cause not in right for _, cause, confidence, *_ in one["said"])
        for one in record["incidents"]
    )


def false_alarms(record: Record) -> tuple[int, int, float]:
    """Return the incidents of a run's quiet time, those at times without pain, and its days times engines."""
    quiet_s = record["seconds"] if record["kind"] == "clean" else record["onset"]
    alarms = [one for one in record["incidents"] if one["detected"] < quiet_s]
    calm = [one for one in alarms if not any(_at_once(one, pain) for pain in record.get("organic", ()))]
    return len(alarms), len(calm), quiet_s * record["engines"] / DAY_S


def _at_once(incident: Record, pain: Record) -> bool:
    """Whether an incident was detected during a pain, or up to two minutes after it, as slow signals do."""
    return bool(pain["onset"] - 30.0 <= incident["detected"] <= pain["onset"] + pain["s"] + 120.0)


def rows(records: Iterable[Record]) -> list[list[str]]:
    """Return a row for each model and process, and one of each model's all."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        model = record.get("model", "first")
        groups[model, record.get("arrivals", "its own")].append(record)
        if "arrivals" in record:
            groups[model, "all"].append(record)
    ordered = sorted(groups, key=lambda key: (key[0], key[1] == "all"))
    return [[*key, *_row(groups[key])] for key in ordered]


def _row(records: list[Record]) -> list[str]:
    singles = [record for record in records if record["kind"] == "fault"]
    hurt = felt(singles)
    late = [
        max(incident["detected"] - record["felt"]["onset"], 0.0)
        for record in hurt
        if (incident := main_incident(record)) is not None
    ]
    incidents = sum(len(record["incidents"]) for record in records)
    wrong = sum(wrong_confirmed(record) for record in records)
    return [
        _mean(record.get("fano", math.nan) for record in records),
        _mean(record.get("autocorrelation", math.nan) for record in records),
        str(len(records)),
        f"{len(hurt)}/{len(singles)}",
        share(cause_right(record) for record in hurt),
        share(layer_right(record) for record in hurt if record.get("layers", True)),
        share(main_incident(record) is not None for record in hurt),
        f"{quantile(late, 0.5)} / {quantile(late, 0.9)}",
        f"{wrong}/{incidents}",
        _alarms(records),
        _withheld(records),
        _two(records),
    ]


def _mean(values: Iterable[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{fmean(known):.1f}" if known else "-"


def _alarms(records: list[Record]) -> str:
    found = [false_alarms(record) for record in records if record["kind"] not in ("late", "decoy")]
    alarms, calm, days = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0, 0.0)
    return f"{alarms / days:.2f} ({calm / days:.2f}) in {days:.1f}" if days else "-"


def _withheld(records: list[Record]) -> str:
    found = [main_incident(record) for record in records if record["kind"] == "withheld" and record["felt"]]
    none = sum(one is None for one in found)
    unknown = sum(one is not None and first_cause(one) == "unknown" for one in found)
    return f"{unknown} / {none} / {len(found) - unknown - none}" if found else "-"


def _two(records: list[Record]) -> str:
    pairs = [record for record in records if record["kind"] == "two"]
    if not pairs:
        return "-"
    named = sum(_both(record, (cause for one in record["incidents"] for cause in one["causes"])) for record in pairs)
    said = sum(_both(record, (first_cause(one) for one in record["incidents"])) for record in pairs)
    return f"{named} / {said} of {len(pairs)}"


def _both(record: Record, named: Iterable[str]) -> bool:
    known = set(named)
    return all(known & causes for causes in causes_of(record))


def by_model(records: Iterable[Record]) -> str:
    """Return the table of all models and processes."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows(records))])


def by_fault(records: Iterable[Record]) -> str:
    """Return a table of the second model's faults, whatever the arrivals."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.get("model") == "second" and record["kind"] == "fault":
            groups[record["name"]].append(record)
    if not groups:
        return ""
    head = ("fault", "right answers", "runs", "felt", "cause right", "layer right", "recall", "delay p50 / p90")
    lines = ["| " + " | ".join((*head, "wrong confirmed", "verdicts of felt runs")) + " |", "|" + "---|" * 10]
    for name, found in groups.items():
        cells = _row(found)
        verdicts: dict[str, int] = defaultdict(int)
        for record in felt(found):
            incident = main_incident(record)
            said = f"{first_cause(incident)} {incident['said'][-1][2]}" if incident else "no incident"
            verdicts[said] += 1
        told = ", ".join(f"{count} x {said}" for said, count in sorted(verdicts.items(), key=lambda pair: -pair[1]))
        right = " or ".join(found[0]["causes"][0])
        lines.append(f"| {name} | {right} | " + " | ".join([*cells[2:9], told or "-"]) + " |")
    return "\n".join(lines)


def report(records: list[Record]) -> str:
    """Return all tables of both models."""
    return "\n\n".join(part for part in (by_model(records), by_fault(records)) if part)
