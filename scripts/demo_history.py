"""Makes the half hour that lies behind the demonstration: ``python scripts/demo_history.py``.

It is the story's node on which nothing goes wrong, from the same seed, under virtual time: the same bytes of readings
on every run. Calls are those of the last minutes only: each is a row, and half an hour of them would hold up the start.
"""

import shutil
from pathlib import Path

import msgspec
from simrecord import record

from aistack_top.simulator.scenario import scenarios
from collectors.demo.feed import DEMO_NODE, HISTORY, HISTORY_S, STEP_S, STORY

TARGET = Path(__file__).parents[1] / "aistack_top/simulator" / HISTORY
CALLS_S = 330.0


if __name__ == "__main__":
    shutil.rmtree(TARGET, ignore_errors=True)
    node = msgspec.structs.replace(scenarios()[STORY], fault=()).start(node=DEMO_NODE)
    record(node, TARGET, HISTORY_S, STEP_S, traced_s=CALLS_S)
