"""How well `aistack-top rank` explains incidents, beside chance, N-sigma and BARO's scorer.

    python bench/rank.py [--cases 60] [--seed 1000] [--ablate] [--folder FOLDER]

N-sigma and the robust scorer are written out here from their papers (BARO, FSE 2024, section 4.2: the largest
distance from the median in interquartile ranges); with fse-baro installed its own code is run beside them.
FOLDER holds real cases: FOLDER/SERVICE_FAULT/N/data.csv with inject_time.txt, or normal.csv and anomalous.csv.
"""

import argparse
import math
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mesh import Case, case

from aistack_top.rank.rank import Weights, rank
from aistack_top.rank.table import MetricsTable, read_table

Method = Callable[[Case, float | None], list[str]]


def ours(weights: Weights, sli: bool = False) -> Method:
    """Return the ranker under test."""

    def run(what: Case, at: float | None) -> list[str]:
        table = MetricsTable(what.times, what.columns)
        return [c.name for c in rank(table, at, what.sli if sli else None, weights).columns]

    return run


def _filled(values: list[float]) -> list[float]:
    found, last = [], 0.0
    for value in values:
        last = value if value == value else last
        found.append(last)
    return found


def _baseline(scale: str) -> Method:
    def run(what: Case, at: float | None) -> list[str]:
        assert at is not None
        place = next((n for n, moment in enumerate(what.times) if moment >= at), len(what.times) - 1)
        scores = {}
        for name, values in what.columns.items():
            filled = _filled(values)
            if name.endswith("_mem"):
                filled = [v / 1e6 for v in filled]  # as BARO's preprocessing has it
            before, after = filled[:place], filled[place:]
            if scale == "sigma":
                middle, unit = statistics.fmean(before), statistics.pstdev(before)
            else:
                quarters = statistics.quantiles(before, n=4, method="inclusive")
                middle, unit = quarters[1], quarters[2] - quarters[0]
            constant = min(before) == max(before) or min(after) == max(after)
            scores[name] = -math.inf if constant else (max(after) - middle) / (unit or 1.0)
        return sorted(scores, key=lambda name: -scores[name])

    return run


def _baro(what: Case, at: float | None) -> list[str]:
    import pandas as pd
    from baro.root_cause_analysis import robust_scorer

    frame = pd.DataFrame({"time": what.times, **what.columns}).ffill().fillna(0)
    return list(robust_scorer(frame, inject_time=at)["ranks"])


def _chance(what: Case, at: float | None) -> list[str]:
    names = list(what.columns)
    random.Random(int(what.onset)).shuffle(names)
    return names


def methods(ablate: bool) -> dict[str, Method]:
    """Return what is compared."""
    found: dict[str, Method] = {
        "chance": _chance,
        "N-sigma": _baseline("sigma"),
        "robust scorer": _baseline("iqr"),
        "aistack-top": ours(Weights()),
        "aistack-top, SLI given": ours(Weights(), sli=True),
    }
    try:
        import baro.root_cause_analysis  # noqa: F401 - only asked whether it is there

        found["fse-baro 0.2.2"] = _baro
    except ImportError:
        print("fse-baro is not installed: its own code is not run", file=sys.stderr)
    if ablate:
        plain = Weights()
        found["without looking back"] = ours(replace(plain, look_back=False))
        found["without guard"] = ours(replace(plain, guard=False))
        found["without both"] = ours(replace(plain, guard=False, look_back=False))
        found["without novelty"] = ours(replace(plain, novelty=0.0))
        found["without moving together"] = ours(replace(plain, together=False))
        found["peak only"] = ours(replace(plain, peak=1.0))
        found["lasting only"] = ours(replace(plain, peak=0.0))
        found["falls as rises"] = ours(replace(plain, falls=1.0))
    return found


def services(names: list[str]) -> list[str]:
    """Return the services in the order in which their first column comes."""
    return list(dict.fromkeys(name.rsplit("_", 1)[0] if "_lat_" not in name else name.split("_")[0] for name in names))


def real_cases(folder: Path) -> Iterator[Case]:
    """Yield the cases of a folder of real tables."""
    for place in sorted(p for p in folder.glob("*/*") if p.is_dir()):
        service, fault = re.split(r"[_-](?=[a-z]+$)", place.parent.name)
        if (place / "data.csv").exists():
            table = read_table(place / "data.csv")
            onset = float((place / "inject_time.txt").read_text())
        else:
            import polars as pl

            parts = [pl.read_csv(place / name) for name in ("normal.csv", "anomalous.csv")]
            joined = pl.concat(parts, how="diagonal_relaxed")
            from aistack_top.rank.table import from_frame

            table, onset = from_frame(joined), float(parts[1]["time"].min())  # type: ignore[arg-type]  # a number by the form
        columns = {name: list(values) for name, values in table.columns.items()}
        metric = {"cpu": "cpu", "mem": "mem"}.get(fault, "latency")
        found = next((name for name in columns if name.startswith(f"{service}_{metric}")), f"{service}_{metric}")
        yield Case(list(table.times), columns, onset, service, found, fault, "")


def main() -> None:
    """Print a table of Avg@5 and AC@1 a method and a variant of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--by-fault", action="store_true")
    options = parser.parse_args()
    cases = (
        list(real_cases(options.folder)) if options.folder else [case(options.seed + n) for n in range(options.cases)]
    )
    variants = {"right time": 0.0, "60 s late": 60.0, "time unknown": None}
    print(f"{len(cases)} cases; service Avg@5 / AC@1, metric Avg@5 / AC@1")
    for name, method in methods(options.ablate).items():
        cells = []
        for late in variants.values():
            if late is None and not name.startswith(("aistack", "wit", "peak", "last", "falls")):
                cells.append("   -         -      ")
                continue
            began = time.process_time()
            places = [_places(method, what, late) for what in cases]
            spent = (time.process_time() - began) / len(cases)
            cells.append(_cell([s for s, _ in places]) + " " + _cell([m for _, m in places]))
            if options.by_fault and late == 0.0:
                _by_fault(cases, places)
        print(f"{name:24} | " + " | ".join(cells) + f" | {spent * 1000:.0f} ms")


def _by_fault(cases: list[Case], places: list[tuple[int, int]]) -> None:
    for fault in sorted({what.fault for what in cases}):
        of = [pair for what, pair in zip(cases, places, strict=True) if what.fault == fault]
        print(f"   {fault:8} {_cell([s for s, _ in of])} {_cell([m for _, m in of])}")


def _places(method: Method, what: Case, late: float | None) -> tuple[int, int]:
    names = method(what, None if late is None else what.onset + late)
    by_service = services(names)
    service = by_service.index(what.service) if what.service in by_service else 99
    metric = names.index(what.metric) if what.metric in names else 99
    if what.fault in ("delay", "loss"):  # either latency column of the service names it
        metric = min((n for n, name in enumerate(names) if name.startswith(f"{what.service}_lat")), default=99)
    return service, metric


def _cell(places: list[int]) -> str:
    average = statistics.fmean(sum(place < k for place in places) / len(places) for k in range(1, 6))
    return f"{average:.2f}/{sum(place == 0 for place in places) / len(places):.2f}"


if __name__ == "__main__":
    main()
