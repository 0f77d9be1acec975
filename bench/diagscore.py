"""From the records of runs to the numbers of docs/diagnosis.md."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

Record = dict[str, Any]
OWN = ("fault", "alike")
METHODS = ("ours", "chance", "volume", "N-sigma", "robust scorer", "fse-baro")


def report(records: list[Record]) -> str:
    """Return all tables."""
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[record["kind"]].append(record)
    parts = [
        headline(by_kind),
        arrivals(records),
        by("fault", by_kind["fault"], lambda record: record["name"]),
        by("load band", by_kind["fault"], lambda record: f"{record['band']:.2f}"),
        by("severity", by_kind["fault"], lambda record: f"{record['severity']:.2f}"),
        beside(_given(by_kind["fault"])),
        ablation(_given(by_kind["fault"])),
        days(by_kind["clean"]),
        named(records),
    ]
    return "\n\n".join(part for part in parts if part)


def felt(records: Iterable[Record]) -> list[Record]:
    """Return the runs in which people waited twice as long as usual for two minutes."""
    return [record for record in records if record.get("felt")]


def _given(records: Iterable[Record]) -> list[Record]:
    """Return the runs in which something was said with the time of the onset given."""
    return [record for record in felt(records) if "given" in record]


def main_incident(record: Record) -> Record | None:
    """Return the incident of a run's fault: the first that was told since its onset and lasted into what people felt.

    What was open before the fault is not its incident, even where its cause is told as the fault's later on.
    """
    felt_at = (record.get("felt") or {}).get("onset", record["onset"])
    for incident in sorted(record["incidents"], key=lambda one: one["detected"]):
        ended = incident["end"] if incident["end"] is not None else math.inf
        if ended > max(record["onset"], felt_at) and incident["detected"] >= record["onset"] - 5.0:
            return dict(incident)
    return None


def first_cause(incident: Record | None) -> str:
    """Return the cause of the last verdict."""
    return str(incident["said"][-1][1]) if incident else ""


def own(record: Record, places: int) -> bool:
    """Whether the cause stands among the first with the own detection."""
    incident = main_incident(record)
    return incident is not None and any(cause in record["truth"] for cause in incident["causes"][:places])


def told(record: Record, places: int, variant: str = "all") -> bool:
    """Whether the cause stands among the first with the time given."""
    return any(cause in record["truth"] for cause in record["given"]["rules"][variant][0][:places])


def layer(record: Record) -> bool:
    """Whether the layer is right with the time given."""
    return bool(record["given"]["rules"]["all"][1] == record["layer"])


def own_layer(record: Record) -> bool:
    """Whether the layer is right with the own detection."""
    incident = main_incident(record)
    return incident is not None and incident["said"][-1][3] == record["layer"]


def wrong_shown(record: Record) -> list[Record]:
    """Return the incidents of which a wrong cause was ever called shown."""
    right = {*record["truth"], "source_lost"} if record["truth"] else set()
    return [
        one
        for one in record["incidents"]
        if any(confidence == "confirmed" and cause not in right for _, cause, confidence, *_ in one["said"])
    ]


def before_onset(record: Record) -> list[Record]:
    """Return the incidents of a run in which nothing had happened yet."""
    return [one for one in record["incidents"] if one["detected"] < record["onset"]]


def painless(record: Record, incidents: list[Record]) -> int:
    """Return how many incidents began while no latency stood at twice its usual for two minutes."""
    return sum(
        not any(start - 60.0 <= one["detected"] and one["onset"] <= end for start, end in record["pains"])
        for one in incidents
    )


def arrivals(records: list[Record]) -> str:
    """Return a row for each arrival process: verdicts, wrong confirmed, false alarms by engine and day."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record["arrivals"]].append(record)
    if len(groups) < 2:
        return ""
    head = "| arrivals | felt | cause right | layer right | recall | delay p50 / p90 | wrong confirmed "
    head += "| unknown on withheld | both of two | alarms before the fault | clean days |"
    groups["all"] = records
    return "\n".join([head, "|" + "---|" * 11, *(_row(name, found) for name, found in groups.items())])


def _row(name: str, records: list[Record]) -> str:
    hit = felt(r for r in records if r["kind"] == "fault")
    late, _ = delays(hit)
    incidents = sum(len(r["incidents"]) for r in records)
    wrong = sum(len(wrong_shown(r)) for r in records)
    clean = [r for r in records if r["kind"] == "clean"]
    early = [r for r in records if r["kind"] not in ("clean", "late")]
    cells = [
        str(len(hit)), share(own(r, 1) for r in hit), share(own_layer(r) for r in hit),
        share(main_incident(r) is not None for r in hit), f"{quantile(late, 0.5)} / {quantile(late, 0.9)}",
        f"{wrong / max(incidents, 1):.1%} ({wrong}/{incidents})",
        share(_unknown(r) for r in felt(x for x in records if x["kind"] == "withheld")),
        share(_both(r) for r in felt(x for x in records if x["kind"] == "two")),
        _alarm_rate(early, [(r, before_onset(r)) for r in early], lambda r: float(r["onset"])),
        _alarm_rate(clean, [(r, r["incidents"]) for r in clean], lambda r: float(r["seconds"])),
    ]  # fmt: skip
    return f"| {name} | " + " | ".join(cells) + " |"


def _alarm_rate(
    records: list[Record], alarms: list[tuple[Record, list[Record]]], seconds: Callable[[Record], float]
) -> str:
    """Return incidents a day and engine, of them those without pain, and their counts."""
    days = sum(seconds(r) * r["engines"] for r in records) / 86400.0
    if not days:
        return "-"
    every = sum(len(found) for _, found in alarms)
    false = sum(painless(record, found) for record, found in alarms)
    return f"{every / days:.1f}, without pain {false / days:.1f} ({false} of {every} in {days:.1f} days)"


def share(values: Iterable[bool]) -> str:
    """Return a share with its count."""
    found = list(values)
    return f"{sum(found) / len(found):.2f} ({sum(found)}/{len(found)})" if found else "-"


def quantile(values: list[float], part: float) -> str:
    """Return a quantile of seconds."""
    return f"{sorted(values)[min(int(part * len(values)), len(values) - 1)]:.0f} s" if values else "-"


def delays(records: list[Record]) -> tuple[list[float], list[float]]:
    """Return the delays of detection and the errors of the onset, of runs with an incident."""
    late, wide = [], []
    for record in records:
        incident = main_incident(record)
        if incident is not None and record.get("felt"):
            late.append(max(incident["detected"] - record["felt"]["onset"], 0.0))
            wide.append(abs(incident["onset"] - record["felt"]["onset"]))
    return late, wide


def headline(by_kind: dict[str, list[Record]]) -> str:
    """Return the table of all bars."""
    faults, alike = felt(by_kind["fault"]), felt(by_kind["alike"])
    late, wide = delays([*faults, *alike])
    every = [record for kind, found in by_kind.items() if kind != "clean" for record in found]
    incidents = sum(len(record["incidents"]) for record in every)
    wrong = sum(len(wrong_shown(record)) for record in every)
    withheld = felt(by_kind["withheld"])
    two = felt(by_kind["two"])
    started = by_kind["late"]
    rows = [
        ("cause AC@1, time given", ">= 0.80", share(told(r, 1) for r in _given(faults))),
        ("cause AC@3, time given", ">= 0.95", share(told(r, 3) for r in _given(faults))),
        ("layer AC@1, time given", ">= 0.90", share(layer(r) for r in _given(faults))),
        ("cause AC@1, own detection", ">= 0.90", share(own(r, 1) for r in faults)),
        ("cause AC@3, own detection", "", share(own(r, 3) for r in faults)),
        ("layer AC@1, own detection", ">= 0.95", share(own_layer(r) for r in faults)),
        ("cause AC@1 beside a look-alike", "", share(own(r, 1) for r in alike)),
        ("recall (2x for 2 min)", ">= 0.95", share(main_incident(r) is not None for r in [*faults, *alike])),
        ("delay p50 / p90", "30 / 90 s", f"{quantile(late, 0.5)} / {quantile(late, 0.9)}"),
        ("onset error p50 / p90", "15 s / -", f"{quantile(wide, 0.5)} / {quantile(wide, 0.9)}"),
        ("wrong confirmed, of all incidents", "<= 1 %", f"{wrong / max(incidents, 1):.1%} ({wrong}/{incidents})"),
        ("unknown on withheld causes", ">= 0.80", share(_unknown(r) for r in withheld)),
        ("incidents from decoys", "0", f"{sum(_since(r) for r in by_kind['decoy'])} in {len(by_kind['decoy'])} runs"),
        ("two faults: one named first", "", share(own(r, 1) for r in two)),
        ("two faults: both named", ">= 0.70", share(_both(r) for r in two)),
        ("started in mid-incident: confirmed", "0", str(sum(_ever_shown(r) for r in started))),
        ("started in mid-incident: says no baseline", "all", share(_no_baseline(r) for r in started if r["incidents"])),
    ]
    text = [
        f"{sum(len(found) for found in by_kind.values())} runs, {len(faults)} of {len(by_kind['fault'])} faults felt."
    ]
    return "\n".join(
        [*text, "", "| what | bar | measured |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    )


def _unknown(record: Record) -> bool:
    incident = main_incident(record)
    return incident is None or first_cause(incident) == "unknown"


def _since(record: Record) -> int:
    return sum(one["detected"] >= record["onset"] for one in record["incidents"])


def _both(record: Record) -> bool:
    named = {cause for one in record["incidents"] for cause in one["causes"]}
    return set(record["truth"]) <= named


def _named(record: Record) -> str:
    named = {cause for one in record["incidents"] for cause in one["causes"]}
    return ", ".join(cause for cause in record["truth"] if cause in named)


def _ever_shown(record: Record) -> int:
    return sum(row[2] == "confirmed" for one in record["incidents"] for row in one["said"])


def _no_baseline(record: Record) -> bool:
    return all(any("no baseline" in spot for spot in one["blind"]) for one in record["incidents"][:1])


def by(what: str, records: list[Record], key: Callable[[Record], str]) -> str:
    """Return a table of the runs by something."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    if not groups:
        return ""
    head = f"| {what} | runs | felt | AC@1 given | AC@3 given | AC@1 own | layer own | recall | delay p50 | p90 "
    head += "| onset error | wrong confirmed |"
    lines = [head, "|" + "---|" * 12]
    for name, found in groups.items():
        hit = felt(found)
        late, wide = delays(hit)
        cells = [
            f"{len(found)}", f"{len(hit)}", *(_plain(told(r, n) for r in _given(hit)) for n in (1, 3)),
            _plain(own(r, 1) for r in hit), _plain(own_layer(r) for r in hit),
            _plain(main_incident(r) is not None for r in hit), quantile(late, 0.5), quantile(late, 0.9),
            quantile(wide, 0.5), f"{sum(len(wrong_shown(r)) for r in found)}",
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _plain(values: Iterable[bool]) -> str:
    found = list(values)
    return f"{sum(found) / len(found):.2f}" if found else "-"


def beside(records: list[Record]) -> str:
    """Return how often the first columns of a ranking are evidence of the cause, by method, with the time given."""
    told_by = [record for record in records if record["given"]["evidence"]]
    if not told_by:
        return ""
    lines = ["| ranking of the series, time given | evidence AC@1 | AC@3 | AC@5 |", "|---|---|---|---|"]
    for method in (name for name in METHODS if name in told_by[0]["given"]["columns"]):
        cells = [
            _plain(any(s in r["given"]["evidence"] for s in r["given"]["columns"][method][:n]) for r in told_by)
            for n in (1, 3, 5)
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    rules = [r["given"]["rules"]["all"][0] for r in told_by]
    hits = [
        _plain(any(c in r["truth"] for c in causes[:n]) for r, causes in zip(told_by, rules, strict=True))
        for n in (1, 3)
    ]
    return "\n".join(
        [*lines, f"| the rules, by the cause itself | {hits[0]} | {hits[1]} | |", "", f"{len(told_by)} runs."]
    )


def ablation(records: list[Record]) -> str:
    """Return what each factor is worth: the rules without it, and the ranking of the series without it."""
    if not records:
        return ""
    lines = ["| without | cause AC@1 | AC@3 | said confirmed, wrongly |", "|---|---|---|---|"]
    for variant in records[0]["given"]["rules"]:
        wrong = sum(
            r["given"]["rules"][variant][2] == "confirmed" and r["given"]["rules"][variant][0][0] not in r["truth"]
            for r in records
        )
        cells = [_plain(told(r, n, variant) for r in records) for n in (1, 3)]
        lines.append(f"| {'nothing' if variant == 'all' else variant} | {cells[0]} | {cells[1]} | {wrong} |")
    lines += ["", "| series ranked without | evidence AC@1 | AC@3 |", "|---|---|---|"]
    told_by = [record for record in records if record["given"]["evidence"]]
    for method in (name for name in records[0]["given"]["columns"] if name.startswith("ours")):
        cells = [
            _plain(any(s in r["given"]["evidence"] for s in r["given"]["columns"][method][:n]) for r in told_by)
            for n in (1, 3)
        ]
        lines.append(f"| {method.removeprefix('ours').lstrip('-') or 'nothing'} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def days(records: list[Record]) -> str:
    """Return the false alarms a day of clean days."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        gaps = "10 % missing, counters reset every 10 min" if "+gaps" in record["id"] else "as it is"
        groups[gaps, f"{record['band']:.2f}"].append(record)
        groups[gaps, "all"].append(record)
    if not groups:
        return ""
    lines = [
        "| clean days | load | simulated days | incidents | a day and engine | wrong confirmed |",
        "|---|---|---|---|---|---|",
    ]
    for (gaps, band), found in sorted(groups.items()):
        length = sum(record["seconds"] for record in found) / 86400.0
        engine_days = sum(record["seconds"] * record["engines"] for record in found) / 86400.0
        alarms = sum(len(record["incidents"]) for record in found)
        shown = sum(len(wrong_shown(record)) for record in found)
        lines.append(f"| {gaps} | {band} | {length:.2f} | {alarms} | {alarms / engine_days:.2f} | {shown} |")
    return "\n".join(lines)


def named(records: list[Record]) -> str:
    """Return every failure by name."""
    lines = []
    for record in records:
        if record["kind"] == "fault" and record.get("felt") and not own(record, 1):
            incident = main_incident(record)
            said = f"{first_cause(incident)} ({incident['said'][-1][2]})" if incident else "not detected"
            if incident is None and before_onset(record):
                said += f", after {', '.join(first_cause(one) for one in before_onset(record))} before it"
            lines.append(f"- {record['id']}: {said} instead of {record['truth'][0]}")
        for one in wrong_shown(record):
            row = next(r for r in one["said"] if r[2] == "confirmed" and r[1] not in record["truth"])
            lines.append(f"- {record['id']}: {row[1]} said to be *confirmed* at {row[0]} s ({one['id']})")
        if record["kind"] in ("decoy", "withheld", "two", "alike", "late"):
            lines += [
                f"- {record['id']}: {first_cause(one)} ({one['said'][-1][2]}), {one['signal']}"
                for one in record["incidents"]
                if first_cause(one) not in record["truth"] and one["detected"] >= record["onset"]
                if record["kind"] != "withheld" or first_cause(one) != "unknown"
            ]
        if record["kind"] == "two" and record.get("felt") and not _both(record):
            lines.append(f"- {record['id']}: of {' and '.join(record['truth'])} only {_named(record) or 'none'}")
    return "\n".join(["Failures:", "", *lines]) if lines else ""
