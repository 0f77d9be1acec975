"""Made-up systems of services at several steps, with and without a graph, and with culprits that do not show.

    python bench/systems.py [--cases 20] [--seed 1000] [--only NAME]

Apart from `bench/mesh.py`, whose tables have a row a second: here steps go from 1 s to 5 minutes, the incident comes
and goes, other services do things of their own at the same time (a batch job, a deployment), some tables have a short
past and some end a few rows after the onset. The column that shows the trouble is named, as a pager does. Seeds below
1000 were looked at while the ranker was written; figures in docs/rank.md are of seeds from 1000 on.
"""

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mesh import Case
from rank import _baro, _baseline

from aistack_top.rank.rank import Weights, rank
from aistack_top.rank.table import MetricsTable

RESOURCES = ("cpu", "mem", "disk", "threads")


@dataclass(frozen=True, slots=True)
class Made:
    """One table with its answer and who calls whom."""

    case: Case
    graph: dict[str, set[str]]


def made(seed: int, step: float, rows: int, before: float, hidden: bool) -> Made:
    """Return a system; ``before``: the share of rows before the onset, ``hidden``: the culprit's columns stay calm."""
    rng = random.Random(seed)
    count = rng.randint(8, 14)
    names = [f"svc{n:02d}" for n in range(count)]
    graph: dict[str, set[str]] = {}
    parents: dict[int, list[int]] = {0: []}
    for n in range(1, count):
        parents[n] = sorted(rng.sample(range(n), min(n, rng.choice((1, 1, 2, 3)))))
        for p in parents[n]:
            graph.setdefault(names[p], set()).add(names[n])
    root = rng.randrange(1, count)
    hit = [0.0] * count
    hit[root] = 1.0
    for n in range(root, 0, -1):
        for p in parents[n]:
            hit[p] = max(hit[p], hit[n] * rng.uniform(0.5, 0.9))
    onset = max(round(rows * before), 3)
    onset = min(onset, rows - 3)
    force = rng.choice((0.5, 1.0, 2.0))
    comes = [max(rng.gauss(1.0, 0.35), 0.1) if rng.random() < 0.8 else 0.15 for _ in range(rows)]
    wave = [0.0] * rows
    for t in range(onset, rows):
        wave[t] = 0.5 * wave[t - 1] + 0.5 * comes[t] if t > onset else comes[t]
    kind = rng.choice(RESOURCES)
    period = rng.uniform(0.3, 1.2) * rows
    load = [1 + 0.2 * math.sin(2 * math.pi * t / period) + rng.gauss(0, 0.05) for t in range(rows)]
    decoys = {
        n: (rng.choice(RESOURCES), rng.randint(max(onset - rows // 6, 1), rows - 2), rng.uniform(1.0, 5.0))
        for n in rng.sample(range(1, count), 3)
        if n != root
    }
    columns: dict[str, list[float]] = {}
    for n, name in enumerate(names):
        base = math.exp(rng.uniform(-5, -2))
        slow = [force * hit[n] * 3 * w for w in wave]
        if hidden and n == root:
            slow = [0.0] * rows
        columns[f"{name}_latency"] = [base * (1 + s) * math.exp(rng.gauss(0, 0.15)) for s in slow]
        columns[f"{name}_requests"] = [50 * v * math.exp(rng.gauss(0, 0.08)) for v in load]
        columns[f"{name}_errors"] = [max(rng.gauss(-0.3, 0.2), 0.0) for _ in range(rows)]
        for what in RESOURCES:
            level, noise = math.exp(rng.uniform(0, 6)), rng.uniform(0.03, 0.2)
            own = [force * 3 * w if n == root and what == kind and not hidden else 0.0 for w in wave]
            if n in decoys and decoys[n][0] == what:
                _, at, size = decoys[n]
                own = [size if t >= at else 0.0 for t in range(rows)]
            follows = 0.7 if what == "cpu" else 0.0
            columns[f"{name}_{what}"] = [
                level * (1 + o) * v**follows * math.exp(rng.gauss(0, noise)) for o, v in zip(own, load, strict=True)
            ]
    start = 1_700_000_000.0 + seed * 5000
    times = [start + t * step for t in range(rows)]
    metric = f"{names[root]}_{'latency' if hidden else kind}"
    return Made(Case(times, columns, times[onset], names[root], metric, kind, f"{names[0]}_latency"), graph)


SETS: dict[str, tuple[float, int, float, bool]] = {
    "1 s": (1.0, 600, 0.6, False),
    "5 s": (5.0, 360, 0.7, False),
    "30 s": (30.0, 240, 0.75, False),
    "60 s": (60.0, 180, 0.8, False),
    "5 min": (300.0, 144, 0.8, False),
    "60 s, short past": (60.0, 60, 0.12, False),
    "60 s, last rows": (60.0, 180, 0.97, False),
    "15 s, culprit calm": (15.0, 240, 0.7, True),
    "60 s, culprit calm": (60.0, 180, 0.8, True),
}

Method = Callable[[Made, float | None], list[str]]


def _correlated(what: Made, at: float | None) -> list[str]:
    """Order by the largest correlation with the SLI over the second half, at lags of 0 to 3 rows."""
    shown, scores = what.case.columns[what.case.sli], {}
    begin = max(next((n for n, t in enumerate(what.case.times) if at is not None and t >= at), 0) - 60, 3)
    for name, values in what.case.columns.items():
        best = 0.0
        for lag in range(4):
            x, y = values[begin - lag : len(values) - lag], shown[begin:]
            if min(x) < max(x):
                best = max(best, abs(statistics.correlation(x, y)))
        scores[name] = best
    return sorted((n for n in scores if n != what.case.sli), key=lambda n: -scores[n])


def _ours(sli: bool, graph: bool, weights: Weights | None = None) -> Method:
    def run(what: Made, at: float | None) -> list[str]:
        table = MetricsTable(what.case.times, what.case.columns)
        return [
            c.name
            for c in rank(table, at, what.case.sli if sli else None, weights, what.graph if graph else None).columns
        ]

    return run


def _plain(method: Callable[[Case, float | None], list[str]]) -> Method:
    return lambda what, at: [name for name in method(what.case, at) if name != what.case.sli]


def methods() -> dict[str, Method]:
    """Return what is compared."""
    found = {
        "N-sigma": _plain(_baseline("sigma")),
        "robust scorer": _plain(_baseline("iqr")),
        "correlation": _correlated,
    }
    try:
        import baro.root_cause_analysis  # noqa: F401 - only asked whether it is there

        found["fse-baro 0.2.2"] = _plain(_baro)
    except ImportError:
        print("fse-baro is not installed: its own code is not run", file=sys.stderr)
    found |= {
        "aistack-top": _ours(False, False),
        "with --sli": _ours(True, False),
        "with --sli, --graph": _ours(True, True),
    }
    return found


def main() -> None:
    """Print Avg@5 / AC@1 of the service, a line a set and method: the right time, and the time unknown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for name, (step, rows, before, hidden) in SETS.items():
        if options.only not in name:
            continue
        cases = [made(options.seed + n, step, rows, before, hidden) for n in range(options.cases)]
        print(f"{name} ({len(cases)} cases)")
        for method, run in methods().items():
            began = time.process_time()
            cells = [_cell([_place(run, what, what.case.onset) for what in cases])]
            ours = method.startswith(("aistack", "with"))
            cells.append(_cell([_place(run, what, None) for what in cases]) if ours else "    -    ")
            print(
                f"   {method:22} {cells[0]}   {cells[1]}   {(time.process_time() - began) / len(cases) * 1000:.0f} ms",
                flush=True,
            )


def _place(run: Method, what: Made, at: float | None) -> int:
    order = list(dict.fromkeys(name.split("_")[0] for name in run(what, at)))
    return order.index(what.case.service) if what.case.service in order else 99


def _cell(places: list[int]) -> str:
    average = statistics.fmean(sum(place < k for place in places) / len(places) for k in range(1, 6))
    return f"{average:.2f}/{sum(place == 0 for place in places) / len(places):.2f}"


if __name__ == "__main__":
    main()
