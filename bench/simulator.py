"""What the simulator costs and what its scenarios do.

python bench/simulator.py cost             CPU seconds of a simulated hour on each node
python bench/simulator.py survey [NAME]    what each scenario does to the symptoms, by 15 s steps
python bench/simulator.py toy              the recorded toy server beside the model
"""

import sys
import time
from pathlib import Path
from statistics import mean, median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aistack_top.simulator.node import Node  # noqa: E402 - the checkout is put on the path first
from aistack_top.simulator.scenario import Scenario, nodes, scenarios  # noqa: E402

STEP_S = 15.0


def cost(minutes: float = 60.0) -> None:
    """Print the CPU seconds of the model alone, on each node and two load bands."""
    print("node      band  requests  CPU s an hour")
    for name, config in nodes().items():
        for band in (0.40, 0.65):
            began = time.process_time()
            node = Node(config, band=band)
            node.advance(minutes * 60.0)
            spent = (time.process_time() - began) * 60.0 / minutes
            print(f"{name:9s} {band:.2f} {node.gateway.received:9d} {spent:8.1f}", flush=True)


def steps(scenario: Scenario) -> list[dict[str, float]]:
    """Return what a scraper would see of a scenario, one row a step."""
    node, rows = scenario.start(), []
    last: dict[str, tuple[float, ...]] = {}
    while node.now < scenario.minutes * 60.0:
        node.advance(node.now + STEP_S)
        now: dict[str, tuple[float, ...]] = {}
        for engine in node.engines:
            m = engine.metrics
            now[f"{engine.label}/{engine.restarts}"] = (m.ttft.total, m.ttft.count, m.itl.total, m.itl.count)
        gateway = node.gateway
        now["gateway"] = (gateway.latency.total, gateway.latency.count, gateway.ttft.total, gateway.ttft.count)
        delta = {key: [a - b for a, b in zip(new, last.get(key, (0.0,) * 4), strict=True)] for key, new in now.items()}
        last = now
        worst = [row for key, row in delta.items() if key != "gateway"]
        rows.append(
            {
                "at": node.now,
                "ttft": max((row[0] / row[1] for row in worst if row[1] > 0), default=0.0),
                "itl": max((row[2] / row[3] for row in worst if row[3] > 0), default=0.0),
                "latency": delta["gateway"][0] / max(1.0, delta["gateway"][1]),
                "client": delta["gateway"][2] / max(1.0, delta["gateway"][3]),
                "waiting": float(sum(engine.gauges.waiting for engine in node.engines)),
                "kv": max(engine.gauges.kv_usage for engine in node.engines),
                "clock": min(gpu.clock for gpu in node.gpus) / 1e6,
                "hot": max(gpu.temperature for gpu in node.gpus),
            }
        )
    return rows


def calm_again(rows: list[dict[str, float]], onset: float, end: float) -> float:
    """Return when latency, first tokens and queue are back at what they were before the onset, for two minutes."""
    usual = {key: max(row[key] for row in rows if 300 < row["at"] <= onset) for key in ("latency", "ttft", "waiting")}
    calm = 0.0
    for row in rows:
        if row["at"] <= end:
            continue
        quiet = all(row[key] <= usual[key] * 1.2 + (4.0 if key == "waiting" else 0.0) for key in usual)
        calm = calm or row["at"] if quiet else 0.0
        if calm and row["at"] - calm >= 120.0:
            return calm
    return 0.0


def survey(names: list[str]) -> None:
    """Print, for each scenario, the median of each number before the onset and during the fault."""
    keys = ("ttft", "itl", "latency", "client", "waiting", "kv", "clock", "hot")
    print(f"{'scenario':24s} " + " ".join(f"{key:>15s}" for key in keys) + "  calm  CPU s")
    for name in names or list(scenarios()):
        scenario = scenarios()[name]
        began = time.process_time()
        rows = steps(scenario)
        spent = time.process_time() - began
        onset, end = scenario.onset or 900.0, scenario.fault_end or 1800.0
        before = [row for row in rows if 300 < row["at"] <= onset]
        during = [row for row in rows if onset + 30 < row["at"] <= end]
        cells = [f"{median(r[k] for r in before):7.2f}{median(r[k] for r in during):8.2f}" for k in keys]
        print(f"{name:24s} " + " ".join(cells) + f" {calm_again(rows, onset, end):5.0f} {spent:5.1f}", flush=True)


def toy() -> None:
    """Print the recorded run's phases as the model plays them."""
    from tests.aistack_top.simulator.toy import PHASES, replay

    phases = replay()
    for name, start, end in PHASES:
        p = phases[name]
        late = sorted(p.ttft)[int(0.95 * len(p.ttft))]
        print(
            f"{name:9s} running {max(p.running)} ({mean(p.running):.1f})  waiting {max(p.waiting)} "
            f"({mean(p.waiting):.0f})  KV {max(p.usage):.2f} ({mean(p.usage):.2f})  preemptions {p.preemptions}  "
            f"tokens/s {p.tokens / (end - start):.0f}  finished {p.finished}  TTFT {p.median_ttft:.3f} / {late:.2f}"
        )


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "cost"
    if what == "survey":
        survey(sys.argv[2:])
    else:
        {"cost": cost, "toy": toy}[what]()
