"""What diagnosis costs: CPU of a detector step and of a look at an incident, and the longest piece on the event loop.

    python bench/diagcost.py

Half an hour of the node of eight engines and eight GPUs with a surge of load, read as production reads it.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import msgspec
from simticks import NodeReader

from aistack_top.diagnosis import trouble
from aistack_top.diagnosis.feed import STEPS
from aistack_top.diagnosis.model import Incident
from aistack_top.diagnosis.watch import Watch
from aistack_top.simulator.scenario import scenarios

ONSET = 1800.0


def main() -> None:
    """Print the costs."""
    surge = msgspec.structs.replace(scenarios()["traffic_surge"].fault[0], at=ONSET, until=0.0, tenant="", load=1.2)
    node = scenarios()["healthy_day"].start(node="eight", band=0.6, seed=7)
    msgspec.structs.replace(surge, tenant=node.config.tenant[0].name).arm(node)
    watch = Watch(STEPS)
    looks: list[float] = []
    review, step = trouble.Trouble._review, Watch._step

    def timed(self: trouble.Trouble, *given: object) -> None:
        began = time.process_time()
        review(self, *given)  # type: ignore[arg-type]  # handed on as they came
        looks.append(time.process_time() - began)

    takes: list[float] = []
    steps: list[float] = []

    def stepped(self: Watch, at: float, seen: float) -> list[Incident]:
        told, began = len(looks), time.process_time()
        found = step(self, at, seen)
        if len(looks) == told and at > node.epoch + 300.0:
            steps.append(time.process_time() - began)
        return found

    trouble.Trouble._review, Watch._step = timed, stepped  # type: ignore[method-assign]  # to time what has no hook
    for tick in NodeReader(node).ticks(ONSET + 240.0):
        began = time.process_time()
        watch.take(tick)
        takes.append(time.process_time() - began)
    timeline = watch.state.timeline
    signals = len({key[0] for key in timeline})
    print(f"{len(timeline)} series, {signals} signals, {len(watch._watches)} series watched")
    spread = f"median {ms(statistics.median(steps))}, p99 {ms(high(steps))}, most {ms(max(steps))}"
    print(f"a detector step:              {spread}")
    if looks:
        print(
            f"a look at an incident: {len(looks)} of them, median {ms(statistics.median(looks))}, most {ms(max(looks))}"
        )
    print(f"a whole tick, on a thread:    median {ms(statistics.median(takes))}, most {ms(max(takes))}")


def high(values: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(values)[int(0.99 * len(values))]


def ms(seconds: float) -> str:
    """Return milliseconds."""
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
