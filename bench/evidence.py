"""How long the loop of the screen is held while the first evidence, and a second one, is written.

    python bench/evidence.py [--size 120x40] [--settle 20]

A console on the demo runs without a terminal; beside it a task that sleeps a millisecond at a time notes its longest
wait, and how much of it was work of the loop's own thread. One JSON line: before, while the first is written (what it
needs is imported then), while the second is.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aistack_top.feeds.diagnosed import DiagnosedFeed
from collectors.demo.feed import rehearsal
from layouts.load import load
from tui.app import ConsoleApp
from tui.model.console import ConsoleOptions


class Watch:
    """Notes the longest time that the loop did not come round: by the clock, and of that its own work."""

    def __init__(self) -> None:
        self.longest = self.worked = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            before, work = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - before - 0.001)
            self.worked = max(self.worked, time.thread_time() - work)

    def taken(self) -> tuple[float, float]:
        """Return the longest wait and the longest work in milliseconds since the last asking."""
        found = (round(self.longest * 1000, 1), round(self.worked * 1000, 1))
        self.longest = self.worked = 0.0
        return found


async def measure(size: tuple[int, int], settle: float) -> dict[str, object]:
    """Run the console, write evidence twice."""
    folder = Path(tempfile.mkdtemp(prefix="bench-evidence-"))
    app = ConsoleApp(
        DiagnosedFeed(rehearsal("thermal_throttle", None, 1.0)), load("overview"), ConsoleOptions(evidence=folder)
    )
    async with app.run_test(size=size) as pilot:
        await asyncio.sleep(settle)
        gc.collect()
        gc.freeze()  # as the console does once data is on its screen
        watch = Watch()
        await asyncio.sleep(5.0)
        found: dict[str, object] = {"before_ms": watch.taken()}
        for which in ("first", "second"):
            began = time.perf_counter()
            await pilot.press("e")
            await app.workers.wait_for_complete()
            found[f"{which}_s"] = round(time.perf_counter() - began, 2)
            found[f"{which}_ms"] = watch.taken()
            await asyncio.sleep(1.5)
            watch.taken()
    return {**found, "load": round(os.getloadavg()[0], 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--settle", type=float, default=20.0)
    options = parser.parse_args()
    columns, rows = (int(part) for part in options.size.split("x"))
    print(json.dumps(asyncio.run(measure((columns, rows), options.settle))))


if __name__ == "__main__":
    main()
