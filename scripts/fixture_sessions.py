"""Records the drills that diagnosis is tested on: ``python scripts/fixture_sessions.py [NAME ...]``.

Each scenario on its light node, every source asked every 5 s, from the start of the scenario to some minutes after its
last effect, with the right answer beside it in ``answer.toml``. A fifth of the requests is traced, as a service of this
size would do; a call is the dearest row of a session. The same seed gives the same bytes of readings.
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from simrecord import record

from aistack_top.simulator.node import EPOCH
from aistack_top.simulator.scenario import Scenario, scenarios

TARGET = Path(__file__).parents[1] / "fixtures/sessions"
STEP_S = 5.0
AFTER_S = 120.0
MIN_S = 1800.0
TRACED = 0.2


def seconds(scenario: Scenario) -> float:
    """Return how long a scenario is recorded."""
    return max(scenario.fault_end, scenario.backlog_end, MIN_S - AFTER_S) + AFTER_S


def make(scenario: Scenario, target: Path, lasts_s: float) -> None:
    """Record a session and write its answer."""
    node = scenario.start(node=scenario.light)
    node.sink.traced = TRACED
    record(node, target, lasts_s, STEP_S)
    (target / "answer.toml").write_text(answer(scenario), encoding="utf-8")


def answer(scenario: Scenario) -> str:
    """Return what ``answer.toml`` says of a scenario."""
    lines = [f'scenario = "{scenario.name}"', f"seed = {scenario.seed}", f'cause = "{scenario.cause}"']
    if scenario.also:
        lines.append(f"also = {[str(cause) for cause in scenario.also]}".replace("'", '"'))
    if scenario.layer:
        lines.append(f'layer = "{scenario.layer}"')
    times = {"onset": scenario.onset, "fault_end": scenario.fault_end, "backlog_end": scenario.backlog_end}
    lines += [f"{name} = {_stamp(moment)}" for name, moment in times.items() if moment]
    if scenario.symptom is not None:
        of = ", ".join(f'{key} = "{value}"' for key, value in scenario.symptom.entity.items())
        lines.append(f'symptom = {{ signal = "{scenario.symptom.signal}", entity = {{ {of} }} }}'.replace("{  }", "{}"))
    return "\n".join(lines) + "\n"


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(EPOCH + moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    for name in sys.argv[1:] or scenarios():
        folder = TARGET / f"{name}.aistack"
        shutil.rmtree(folder, ignore_errors=True)
        make(scenarios()[name], folder, seconds(scenarios()[name]))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        sys.stdout.write(f"{name} {size / 1e3:.0f} kB\n")
        sys.stdout.flush()
