"""What stands before and after the engines: guardrails and the vector store, each a small queue with servers.

Service times are log-normal. Their medians are assumptions of the size people report for small classifier rails
(tens of milliseconds) and for approximate-nearest-neighbour search with an embedding before it; they are
parameters of the node, not results.
"""

import heapq
from dataclasses import dataclass, field
from math import exp, log
from random import Random

from aistack_top.simulator.histogram import SERVICE_TIME_EDGES, Histogram


@dataclass(slots=True)
class QueuedService:
    """A service of ``servers`` places, first come first served. Times in seconds.

    Faults write ``slowdown`` (factor on each service time) and ``error_rate``.
    """

    name: str
    servers: int
    median_s: float
    spread: float
    rng: Random
    slowdown: float = 1.0
    error_rate: float = 0.0
    requests: int = 0
    errors: int = 0
    latency: Histogram = field(default_factory=lambda: Histogram(SERVICE_TIME_EDGES))
    _free: list[float] = field(default_factory=list)

    def ask(self, now: float) -> float:
        """Return when the answer to a question asked now will be there."""
        took = exp(self.rng.gauss(log(self.median_s * self.slowdown), self.spread))
        free = self._free
        begin = now if len(free) < self.servers else max(now, heapq.heappop(free))
        heapq.heappush(free, begin + took)
        self.requests += 1
        if self.error_rate and self.rng.random() < self.error_rate:
            self.errors += 1
        self.latency.observe(begin + took - now)
        return begin + took

    def queue(self, now: float) -> int:
        """Return how many questions are being answered or wait for it."""
        return sum(1 for moment in self._free if moment > now)


@dataclass(slots=True)
class Rail:
    """A guardrail: a service that also says no to a share of what it sees.

    ``passed`` and ``stopped`` hold the times of the finished checks.
    """

    service: QueuedService
    hit_rate: float
    hits: int = 0
    passed: Histogram = field(default_factory=lambda: Histogram(SERVICE_TIME_EDGES))
    stopped: Histogram = field(default_factory=lambda: Histogram(SERVICE_TIME_EDGES))

    def judge(self, took_s: float) -> bool:
        """Return whether one that was checked for so long is stopped."""
        hit = self.service.rng.random() < self.hit_rate
        self.hits += hit
        (self.stopped if hit else self.passed).observe(took_s)
        return hit


@dataclass(slots=True)
class VectorStore:
    """A collection that is searched and grows: inserts make segments, compaction merges them.

    While it compacts, searches are slower by ``compaction_slowdown``.
    """

    search: QueuedService
    rows: int = 4_200_000
    inserted: int = 0
    inserts_per_s: float = 12.0
    rows_per_segment: int = 100_000
    segments: int = 42
    compacting: bool = False
    compactions: int = 0
    compaction_slowdown: float = 1.0

    def advance(self, dt: float) -> None:
        """Take in what was written in the last ``dt`` seconds."""
        self.rows += int(self.inserts_per_s * dt)
        self.inserted += int(self.inserts_per_s * dt)
        if not self.compacting:
            self.segments = max(self.segments, self.rows // self.rows_per_segment)

    def begin_compaction(self, slowdown: float) -> None:
        """Start to merge segments."""
        self.compacting, self.compaction_slowdown = True, slowdown
        self.search.slowdown *= slowdown

    def end_compaction(self) -> None:
        """Finish: fewer segments, searches as before."""
        self.compacting = False
        self.compactions += 1
        self.segments = max(1, self.segments // 2)
        self.search.slowdown /= self.compaction_slowdown
        self.compaction_slowdown = 1.0
