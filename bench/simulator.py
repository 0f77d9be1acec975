"""What the simulator costs and what its scenarios do.

python bench/simulator.py cost              CPU seconds of a simulated hour on each node
python bench/simulator.py saturation        load bands against what overloaded engines really do
python bench/simulator.py survey [NAME ..]  how far each scenario's symptom rises, for how long, when all is well again
python bench/simulator.py light [NAME ..]   the same on the light nodes
python bench/simulator.py toy               the recorded toy server beside the model

CPU seconds are `time.process_time`: on a machine with other work they come out up to a third too high.
"""

import sys
import time
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from aistack_top.simulator.measure import backlog_end, excursion, watch  # noqa: E402 - the path comes first
from aistack_top.simulator.node import SimulatedNode  # noqa: E402 - as above
from aistack_top.simulator.scenario import Scenario, nodes, scenarios  # noqa: E402 - as above


def cost(minutes: float = 10.0) -> None:
    """Print the CPU seconds of the model alone, on each node and two load bands."""
    print("node      band  requests/s  CPU s an hour")
    for name, config in nodes().items():
        for band in (0.40, 0.65):
            began = time.process_time()
            node = SimulatedNode(config, band=band)
            node.advance(minutes * 60.0)
            spent = (time.process_time() - began) * 60.0 / minutes
            print(f"{name:9s} {band:.2f} {node.gateway.received / node.now:11.1f} {spent:8.1f}", flush=True)


def saturation() -> None:
    """Print the requests a second an overloaded model's engines finish, over what `SimulatedNode.saturation` says."""
    print("node      model      says  finished  ratio")
    for name, config in nodes().items():
        node = SimulatedNode(config, band=1.2, hour=14.0)
        node.advance(300.0)
        before = {model: finished(node, model) for model in node.models}
        node.advance(900.0)
        for model in node.models:
            says, done = node.saturation(model), (finished(node, model) - before[model]) / 600.0
            print(f"{name:9s} {model:9s} {says:6.1f} {done:9.1f} {done / says:6.2f}", flush=True)


def finished(node: SimulatedNode, model: str) -> int:
    """Return the answers a model's engines have finished."""
    return sum(engine.metrics.e2e.count for engine in node.engines if engine.config.served_name == model)


def survey(names: list[str], light: bool = False) -> None:
    """Print each scenario's excursion at its symptom and at the calls, and when both are over, beside the data."""
    print("scenario               node      band  signal                  usual s  ratio  for s  well again s  (data)")
    for name in names or list(scenarios()):
        scenario = scenarios()[name]
        node = scenario.start(node=scenario.light if light else None)
        curves = watch(node, scenario.minutes * 60.0)
        onset, end = scenario.onset or 900.0, scenario.fault_end or 1800.0
        for key in keys(scenario):
            risen = excursion(curves[key], onset)
            calm = backlog_end(curves[key], onset, end)
            print(
                f"{name:22s} {scenario.light if light else scenario.node:9s} {scenario.band:.2f}  "
                f"{' '.join(key):22s} {risen.usual:8.3f} {risen.ratio:6.1f} {risen.seconds:6.0f} {calm:8.0f}"
                f"      ({scenario.backlog_end:.0f})",
                flush=True,
            )


def keys(scenario: Scenario) -> list[tuple[str, str]]:
    """Return what to look at: the symptom, and the calls' latency."""
    symptom, calls = scenario.symptom, ("calls.latency", "")
    own = (symptom.signal, symptom.entity.get("engine", "")) if symptom else calls
    return list(dict.fromkeys((own, calls)))


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
    if what in ("survey", "light"):
        survey(sys.argv[2:], light=what == "light")
    else:
        {"cost": cost, "saturation": saturation, "toy": toy}[what]()
