"""Where a run's readings come from: the simulator's model, or another one that keeps the same protocol.

A model is a function from a case to a `Run`, or to None where it cannot play the case. The option ``--model
package.module:function`` of `bench/diagnosis.py` names one outside of this file. Nothing of the rules is known here,
and nothing of a model in the scoring.
"""

import gzip
import importlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Protocol

from diagcases import Case
from simticks import NodeReader

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Tick
from aistack_top.simulator.measure import ALIKE, EXCURSION, WARM_UP_S, Curve, Probe, excursion, probe

LASTING_S = 120.0
BEFORE_S = 1800.0
"""What is usual in a piece of a day: the median of this much before."""


class Run(Protocol):
    """One run of a model. The truth may be asked when its ticks have been consumed."""

    epoch: float
    engines: int

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """Yield a tick a second."""

    def felt(self, onset: float) -> dict[str, Any] | None:
        """Return the worst latency that stood at twice its usual for two minutes, and since when; None for none."""

    def pains(self) -> list[tuple[float, float]]:
        """Return when any latency stood at twice its usual for two minutes, in seconds since the start."""


Model = Callable[[Case], Run | None]


class SimulatorRun:
    """The simulator's model, read as `simticks` reads it."""

    def __init__(self, case: Case) -> None:
        self._node = case.start()
        self.epoch, self.engines = self._node.epoch, len(self._node.engines)
        self._reader = NodeReader(self._node, case.missing, case.reset_s)
        names = [("calls.latency", ""), ("calls.ttft", "")]
        names += [(f"serving.{name}", one.label) for one in self._node.engines for name in ("ttft", "itl")]
        self._probes = {name: probe(*name) for name in names}

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """See `Run`."""
        for tick in self._reader.ticks(seconds):
            if (tick.at - self.epoch) % 5 == 0:
                for one in self._probes.values():
                    one.observe(self._node)
            yield tick

    def felt(self, onset: float) -> dict[str, Any] | None:
        """See `Run`."""
        return felt(self._probes, onset)

    def pains(self) -> list[tuple[float, float]]:
        """See `Run`."""
        return sorted(one for each in self._probes.values() for one in lasting(each.curve))


@dataclass
class PlayedRun:
    """A run that was kept: detection can be judged again without playing the model."""

    epoch: float
    engines: int
    truth: dict[str, Any] | None
    hurt: list[tuple[float, float]]
    kept: list[Tick] = field(repr=False)

    def ticks(self, seconds: float) -> Iterator[Tick]:
        """See `Run`."""
        yield from (tick for tick in self.kept if tick.at - self.epoch <= seconds)

    def felt(self, onset: float) -> dict[str, Any] | None:
        """See `Run`."""
        return self.truth

    def pains(self) -> list[tuple[float, float]]:
        """See `Run`."""
        return self.hurt


def model(name: str) -> Model:
    """Return a model by name: ``simulator``, or ``package.module:function``."""
    if name == "simulator":
        return SimulatorRun
    where, _, function = name.partition(":")
    found: Model = getattr(importlib.import_module(where), function or "start")
    return found


def kept(folder: Path, version: str, play: Model) -> Model:
    """Return a model that keeps what it played in a folder, one file a case, and reads it from there next time."""

    def start(case: Case) -> Run | None:
        path = folder / version / f"{case.id.replace('/', '-')}.pickle.gz"
        if path.exists():
            found: PlayedRun = pickle.loads(gzip.decompress(path.read_bytes()))  # our own file
            return found
        run = play(case)
        if run is None:
            return None
        ticks = list(run.ticks(case.seconds))
        done = PlayedRun(run.epoch, run.engines, run.felt(case.scenario.onset), run.pains(), ticks)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = io.BytesIO()
        _Pickler(body, 5).dump(done)
        path.write_bytes(gzip.compress(body.getvalue(), 1))
        return done

    return start


class _Pickler(pickle.Pickler):
    """Keeps an entity as its pairs: its hash is remembered, and is another one in the next process."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - pickle's own protocol
        """See `pickle.Pickler`."""
        return (Entity.from_mapping, (obj.as_dict(),)) if isinstance(obj, Entity) else NotImplemented


def felt(probes: dict[tuple[str, str], Probe], onset: float) -> dict[str, Any] | None:
    """Return what people felt: the worst latency that stood at twice its usual for two minutes, and since when.

    It began when the first of all latencies was half as long again as usual, and stayed so for a minute.
    """
    rises: list[dict[str, Any]] = []
    starts = []
    for (signal, engine), one in probes.items():
        if not [at for at, _ in one.curve if WARM_UP_S <= at < onset]:
            continue
        rise = excursion(one.curve, onset)
        starts.append(begins(one.curve, onset, ALIKE * rise.usual))
        if rise.seconds >= LASTING_S:
            rises.append({"signal": signal, "engine": engine, "ratio": rise.ratio, "s": rise.seconds})
    return max(rises, key=lambda row: float(row["ratio"])) | {"onset": min(starts)} if rises else None


def begins(curve: Curve, onset: float, limit: float) -> float:
    """Return when the first minute above a limit begins."""
    began = inf
    for at, value in curve:
        if at >= onset:
            began = min(began, at) if value >= limit else inf
            if at - began + 5.0 >= 60.0:
                return began
    return inf


def lasting(curve: Curve) -> list[tuple[float, float]]:
    """Return when a latency stood at twice the median of the half hour before it, for two minutes and more."""
    found: list[tuple[float, float]] = []
    began: float | None = None
    usual = inf
    for place, (at, value) in enumerate(curve):
        if began is None:
            past = sorted(v for t, v in curve[max(place - 360, 0) : place] if max(WARM_UP_S, at - BEFORE_S) <= t)
            usual = past[len(past) // 2] if len(past) >= 12 else inf
        if value >= EXCURSION * usual:
            began = at if began is None else began
        else:
            if began is not None and at - began >= LASTING_S:
                found.append((began, at))
            began = None
    if began is not None and curve[-1][0] - began >= LASTING_S:
        found.append((began, curve[-1][0]))
    return found
