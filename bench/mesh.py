"""Makes metrics tables of a mesh of services with one fault, in the form of public fault data (RCAEval RE1, RE2).

Made up, and known to be: what it has from real tables is their form. One row a second, ``service_metric`` columns,
values held for 5 to 15 s between scrapes or drawn as a line between two, memory that moves by pages, heavy-tailed
latency that is carried from callee to caller, load that swings, a baseline of 10 minutes and as much of the fault.
Nothing here was used to choose a constant of the ranker; seeds below 1000 were looked at while it was written.
"""

import math
import random
from dataclasses import dataclass

FAULTS = ("cpu", "mem", "disk", "delay", "loss", "socket")
ROOT_METRIC = {
    "cpu": "cpu",
    "mem": "mem",
    "disk": "diskio",
    "delay": "latency-90",
    "loss": "latency-90",
    "socket": "socket",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One table with its answer."""

    times: list[float]
    columns: dict[str, list[float]]
    onset: float
    service: str
    metric: str
    fault: str
    sli: str


def case(seed: int, services: int = 12, minutes: int = 20, strength: float = 1.0) -> Case:
    """Return a case; every third hits the kind of fault that shows mildly."""
    rng = random.Random(seed)
    fault = FAULTS[seed % len(FAULTS)]
    names = ["frontend"] + [f"svc{n}service" for n in range(1, services)]
    parent = {n: rng.randrange(max(n // 2, 1)) for n in range(1, services)}
    root = rng.randrange(1, services)
    count, half = minutes * 60, minutes * 30 + rng.randint(-60, 60)
    force = strength * rng.choice((0.4, 1.0, 2.0))
    hit = [0.0] * services
    node = root
    share = 1.0
    while True:
        hit[node] = max(hit[node], share)
        if node == 0:
            break
        node, share = parent[node], share * rng.uniform(0.4, 0.95)
    columns: dict[str, list[float]] = {}
    swing = [1 + 0.15 * math.sin(2 * math.pi * t / rng.choice((300, 700, 1800))) for t in range(count)]
    for number, name in enumerate(names):
        columns |= _service(rng, name, number == root, hit[number], fault, force, swing, half)
    start = 1_700_000_000.0 + seed * 5000
    times = [start + t for t in range(count)]
    metric = ROOT_METRIC[fault]
    return Case(times, columns, start + half, names[root], f"{names[root]}_{metric}", fault, "frontend_latency-90")


def _service(
    rng: random.Random, name: str, root: bool, hit: float, fault: str, force: float, swing: list[float], half: int
) -> dict[str, list[float]]:
    count = len(swing)
    lag = rng.randint(2, 12) if not root else rng.randint(0, 4)
    slow = {"cpu": 1.5, "mem": 0.8, "disk": 1.0, "delay": 6.0, "loss": 3.0, "socket": 0.8}[fault] * force

    def on(t: int) -> float:
        return min(max(t - half - lag, 0) / 10.0, 1.0)

    base_cpu, base_mem = rng.uniform(0.2, 20), rng.uniform(5e6, 4e8)
    base_latency, load = math.exp(rng.uniform(-6, -2)), rng.uniform(1, 30)
    drift, leak = rng.choice((0.0, 0.0, 20_000.0)), rng.uniform(0.5, 2.0)
    noise = {key: rng.uniform(0.05, 0.35) for key in ("cpu", "diskio", "socket", "load")}
    rows: dict[str, list[float]] = {
        key: [] for key in ("cpu", "mem", "diskio", "socket", "load", "lat50", "lat90", "error")
    }
    glitch = rng.uniform(0.0, 0.01)
    walk = 0.0
    for t in range(count):
        walk = 0.97 * walk + rng.gauss(0, 0.03)
        demand = load * swing[t] * (1 + walk) * (1 - 0.25 * hit * on(t) * min(slow / 4, 1))
        own = 1 + (force * 6 * on(t) if root and fault == "cpu" else 0)
        rows["cpu"].append(base_cpu * (demand / load) * own * math.exp(rng.gauss(0, noise["cpu"])))
        grown = base_mem * leak * force * on(t) if root and fault == "mem" else 0.0
        rows["mem"].append(4096 * round((base_mem + drift * t + grown + rng.gauss(0, 30_000)) / 4096))
        writes = 1e5 * (1 + (force * 8 * on(t) if root and fault == "disk" else 0))
        rows["diskio"].append(writes * math.exp(rng.gauss(0, 2 * noise["diskio"])))
        open_now = 20 + (force * 60 * on(t) if root and fault == "socket" else 0) + 10 * hit * on(t) * min(slow, 3)
        rows["socket"].append(round(open_now * math.exp(rng.gauss(0, noise["socket"] / 3))))
        rows["load"].append(demand * math.exp(rng.gauss(0, noise["load"] / 2)))
        waits = 1 + hit * slow * on(t)
        jump = rng.paretovariate(1.5) if rng.random() < glitch else 1.0
        rows["lat50"].append(base_latency * waits * math.exp(rng.gauss(0, 0.1)))
        rows["lat90"].append(2.5 * base_latency * waits * jump * math.exp(rng.gauss(0, 0.2)))
        rows["error"].append(
            max(rng.gauss(-0.2, 0.1), 0) + (hit * force * on(t) * rng.random() if fault == "loss" else 0)
        )
    spelled = {"lat50": "latency-50", "lat90": "latency-90"}
    return {f"{name}_{spelled.get(key, key)}": _scraped(rng, values) for key, values in rows.items()}


def _scraped(rng: random.Random, values: list[float]) -> list[float]:
    """Return values as a scraper keeps them: held, or drawn as a line to the next, with a hole now and then."""
    every, line = rng.choice((5, 10, 15)), rng.random() < 0.4
    kept = list(range(rng.randrange(every), len(values), every))
    told = [math.nan] * len(values)
    for here, there in zip(kept, [*kept[1:], len(values)], strict=True):
        step = (values[min(there, len(values) - 1)] - values[here]) / every if line else 0.0
        for t in range(here, there):
            told[t] = values[here] + step * (t - here)
    if rng.random() < 0.1:
        hole = rng.randrange(len(values) - 60)
        told[hole : hole + 40] = [math.nan] * 40
    return told
