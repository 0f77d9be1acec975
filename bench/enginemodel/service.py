"""What stands around the engines: checks and look-ups with workers of their own, the host's CPUs, the router."""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from enginemodel.counting import TTFT_EDGES, Histogram
from enginemodel.engine import Engine

STORE_EDGES_MS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)


class Station:
    """A service with workers and one queue: a guardrail model, a vector store. ``slower`` stretches its work."""

    def __init__(self, name: str, workers: int, median_s: float, spread: float, chance: random.Random) -> None:
        self.name, self.median_s, self.spread, self.chance = name, median_s, spread, chance
        self.slower = 1.0
        self.extra_s = 0.0
        self.requests = 0
        self.latency, self.latency_of_blocked = Histogram(TTFT_EDGES), Histogram(TTFT_EDGES)
        self.latency_ms = Histogram(STORE_EDGES_MS)
        self._free = [0.0] * workers
        self._ends: list[float] = []

    def serve(self, now: float) -> float:
        """Return when a request that comes now is done."""
        begin = max(now, heapq.heappop(self._free))
        work = self.chance.lognormvariate(math.log(self.median_s), self.spread) * self.slower
        if self.chance.random() < 0.002:
            work += self.chance.uniform(0.2, 0.8)  # a pause of a garbage collector
        work += self.extra_s * self.chance.uniform(0.6, 1.4)
        end = begin + work
        heapq.heappush(self._free, end)
        heapq.heappush(self._ends, end)
        return end

    def done(self, began: float, end: float, *, blocked: bool = False) -> None:
        """Count a request that is done."""
        self.requests += 1
        (self.latency_of_blocked if blocked else self.latency).observe(end - began)
        self.latency_ms.observe((end - began) * 1000.0)

    def inside(self, now: float) -> int:
        """Return how many are being served or wait."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends)


@dataclass(slots=True)
class Host:
    """The CPUs of the node. Demand beyond the cores makes everybody wait, as the scheduler shares them out."""

    chance: random.Random
    cores: int = 32
    memory: float = 512e9
    hog: float = 0.0
    blip: float = 0.0
    blip_until: float = 0.0
    load: float = 4.0
    busy: float = 0.1
    pressure: float = 0.0
    slowdown: float = 1.0

    def second(self, now: float, serving: float) -> None:
        """Go on by a second; ``serving`` is the demand in cores of engines and gateway."""
        if now >= self.blip_until:
            self.blip = 0.0
            if self.chance.random() < 1 / 900:
                # a backup, a log rotation, a scan: many cores for some seconds and no trouble
                self.blip, self.blip_until = self.chance.uniform(4.0, 12.0), now + self.chance.uniform(5.0, 30.0)
        demand = max(1.0 + serving + self.hog + self.blip + self.chance.gauss(0.0, 0.4), 0.2)
        over = demand / self.cores
        self.busy += (min(over, 1.0) - self.busy) * 0.6
        self.slowdown = 1.0 + 0.15 * min(over, 1.0) ** 3 + max(over - 1.0, 0.0) * 2.2
        waits = max(over - 1.0, 0.0) / max(over, 1.0) + 0.01 * min(over, 1.0) ** 4
        self.pressure += (min(waits * 1.6, 0.98) - self.pressure) * 0.12
        self.load += (demand - self.load) / 60.0


@dataclass(slots=True)
class TrainingJob:
    """A training run that reports its steps to a tracking server now and then."""

    name: str
    step_s: float
    tokens_per_step: float = 65536.0
    started: float = 0.0
    step: int = 0


@dataclass(slots=True)
class Router:
    """Sends requests to the engines it believes to be up: where the conversation was, or where least is inside.

    ``skew`` is the share that goes to the first engine whatever its load; ``lists`` what it believes.
    """

    chance: random.Random
    engines: Sequence[Engine]
    lists: list[bool] = field(default_factory=list)
    skew: float = 0.0
    homes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lists = self.lists or [True] * len(self.engines)

    def choose(self, session: str, avoid: int = -1) -> int:
        """Return the place of an engine; -1 where none is believed to be up."""
        up = [n for n, is_up in enumerate(self.lists) if is_up and n != avoid] or [
            n for n, is_up in enumerate(self.lists) if is_up
        ]
        if not up:
            return -1
        if self.skew and up[0] == 0 and self.chance.random() < self.skew:
            return 0
        loads = {n: self.engines[n].load + self.chance.random() for n in up}
        least = min(up, key=loads.__getitem__)
        home = self.homes.get(session, least)
        place = home if home in loads and loads[home] <= loads[least] + 6 else least
        if len(self.homes) > 5000:
            self.homes.clear()
        self.homes[session] = place
        return place
