"""What sessions cost: bytes a reading, opening, seeking, playing at full speed, exporting.

``python bench/sessions.py [--hours 24] [--series 1000] [--step 5] [--folder DIR]`` generates a session of realistic
numbers (steady, drifting, whole, rare and noisy series), compacts it as a recorder does, and prints a table. It is
a benchmark, not a test: look at ratios, and at the machine's load beside them.
"""

import argparse
import asyncio
import math
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Fact, Health, Readings, Tick
from aistack_top.session.compact import compact
from aistack_top.session.disk import Disk, size_of
from aistack_top.session.export import export
from aistack_top.session.format import BlockName
from aistack_top.session.history import SessionHistory
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.replay import SessionFeed
from aistack_top.session.writer import BlockWriter
from aistack_top.state import State

START = 1_763_940_000.0
SOURCES = 10


def walk(kind: int, before: float, dice: random.Random) -> float:
    """Return the next value of a series: of the kinds a node really has."""
    if kind == 0:
        return float(round(min(max(before + dice.gauss(0, 2), 20), 95)))  # whole degrees, percent, megahertz
    if kind == 1:
        return before  # memory totals, limits, flags that stand
    if kind == 2:
        return before + dice.gauss(0, 0.1)  # power, rates: every bit is noise
    if kind == 3:
        return float(dice.random() < 0.02)  # throttle reasons, errors
    return round(abs(before + dice.gauss(0, 1)))  # queues and counts


def ticks(hours: float, series: int, step: float) -> Iterator[Tick]:
    """Yield ticks of ten sources that each bring a tenth of the series."""
    dice = random.Random(1)
    entities = [Entity.of(gpu=f"GPU-{number}") for number in range(series // SOURCES)]
    signals = [f"bench.signal.{number % 20}" for number in range(series // SOURCES)]
    values = [[50.0] * len(entities) for _ in range(SOURCES)]
    for turn in range(math.ceil(hours * 3600 / step)):
        moment = START + turn * step
        found = []
        for source in range(SOURCES):
            values[source] = [walk((source + n) % 5, v, dice) for n, v in enumerate(values[source])]
            at = moment + 0.01 * source + dice.random() * 0.004
            names = tuple(f"{signal}.{source}" for signal in signals)
            health = Health(f"source-{source}", "bench", "compute", "ok", took_s=dice.random() * 0.01, interval_s=step)
            facts = (Fact(Entity.of(engine="e"), "version", str(turn // 5000)),) if source == 0 else ()
            readings = Readings(names, tuple(entities), tuple(values[source]))
            found.append(Batch(at, at + 0.005, health, readings, facts=facts))
        yield Tick(moment + 0.2, moment + 0.2, tuple(found))


def generate(folder: Path, hours: float, series: int, step: float) -> int:
    """Write a session block by block, without the small segments in between; return its readings."""
    Recorder(folder, node="bench", clock=VirtualClock(START)).close()
    writer, disk, number, count = BlockWriter(), Disk(folder), 0, 0
    for tick in ticks(hours, series, step):
        if writer.block_first is not None and tick.seen >= writer.block_first + 300.0:
            disk.put_block(BlockName(number), *writer.encode())
            writer.written()
            writer.begin()
            number += 1
        writer.add(tick)
        count += sum(len(batch.readings) for batch in tick.batches)
    disk.put_block(BlockName(number), *writer.encode())
    return count


def timed(work: Callable[[], object], times: int = 1) -> list[float]:
    """Return how many milliseconds each run took."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return found


def show(what: str, numbers: list[float], unit: str = "ms") -> None:
    """Print one line: median and worst."""
    print(f"{what:58} {statistics.median(numbers):9.1f} {max(numbers):9.1f} {unit}")


async def play_fast(session: Session, at: float, seconds: float) -> tuple[float, float]:
    """Return wall seconds for playing some seconds as fast as it goes, with and without the state above it."""
    spent = 0.0
    state = State()
    feed = SessionFeed(session, VirtualClock(START), at, speed=1000.0)
    began = time.perf_counter()
    async for tick in feed.ticks():
        before = time.perf_counter()
        state.apply(tick)
        spent += time.perf_counter() - before
        if tick.seen > at + seconds:
            break
    total = time.perf_counter() - began
    return total, total - spent


def _seek(past: SessionHistory, at: float) -> None:
    past.before(*past.find(at))


def recording(folder: Path, series: int) -> None:
    """Print what recording one minute of one-second ticks costs, on the taker's side and on the thread's."""
    minute = list(ticks(1 / 60, series, 1.0))
    shutil.rmtree(folder / "live.aistack", ignore_errors=True)
    recorder = Recorder(folder / "live.aistack", node="bench", clock=VirtualClock(START))
    cpu = time.process_time()
    took = []
    for tick in minute:
        took += timed(partial(recorder.record, tick))
        while recorder.backlog:
            time.sleep(0.001)
    recorder.close(30)
    show("take() of a tick", took)
    show(f"CPU of recording a minute of {series} series every second", [(time.process_time() - cpu) * 1000])
    segments = sum(size_of(path) for path in (folder / "live.aistack").glob("b*"))
    show("compacting that minute, in process", timed(lambda: compact(folder / "live.aistack")))
    blocks = sum(size_of(path) for path in (folder / "live.aistack").glob("b*"))
    print(f"{'bytes a reading, segments; compacted':58} {segments / series / 60:9.2f} {blocks / series / 60:9.2f}")


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--step", type=float, default=5.0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="bench-sessions-"))
    print(f"{options.hours:g} h x {options.series} series every {options.step:g} s; load {os.getloadavg()[0]:.1f}")
    path = folder / "bench.aistack"
    if not path.exists():
        generate(path, options.hours, options.series, options.step)
    session = Session.open(path)
    count = session.counts["readings"]
    whole = sum(size_of(entry) for entry in path.iterdir())
    readings = sum(
        file.size for b in session.blocks for _, i in b.parts for t, file in i.files.items() if t == "readings"
    )
    print(f"{'':58} {'median':>9} {'worst':>9}")
    print(f"{'bytes a reading: readings alone; everything':58} {readings / count:9.2f} {whole / count:9.2f}")
    show("open", timed(lambda: Session.open(path), 5))
    past, dice = SessionHistory(session), random.Random(2)
    moments = [session.start + dice.random() * (session.end - session.start) for _ in range(20)]
    seeks = [timed(partial(_seek, past, at))[0] for at in [moments[0], *moments]]
    show("seek, first (reads the day's changes)", seeks[:1])
    show("seek, 20 random", seeks[1:])
    history = past.before(*past.find(moments[3]))
    show("laying the history of a seek into the timeline", timed(lambda: State().apply(Tick(0, 0, history=history)), 3))
    total, own = asyncio.run(play_fast(session, session.start + 3600, 3600.0))
    print(f"{'an hour at full speed: times real time; feed alone':58} {3600 / total:9.0f} {3600 / own:9.0f} x")
    for ending in (".parquet", ".csv"):
        show(f"export of {count} readings to {ending}", timed(partial(export, session, folder / f"out{ending}")))
    print(f"{'peak memory of this process':58} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:9.0f} MB")
    recording(folder, options.series)
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
