"""What an engine counts: histograms with the edges of vLLM's own, and counters."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import inf

TTFT_EDGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
              80.0, 160.0, 640.0, 2560.0)  # fmt: skip
ITL_EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
             80.0)  # fmt: skip
LONG_EDGES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
              960.0, 1920.0, 7680.0)  # fmt: skip
TOKEN_EDGES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0)
STEP_EDGES = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)


class Histogram:
    """Counts of observations by bucket, as Prometheus has them; the last bucket is +Inf."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = (*edges, inf)
        self.counts = [0] * len(self.edges)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value so many times."""
        self.counts[bisect_left(self.edges, value)] += times
        self.total += value * times

    def cumulative(self) -> list[int]:
        """Return the counts as a page shows them."""
        return list(accumulate(self.counts))

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self.counts)


class EngineCounters:
    """All counters of an engine's process; a new process has new ones."""

    def __init__(self) -> None:
        self.prompt_tokens = self.generation_tokens = self.preemptions = 0
        self.prefix_hits = self.prefix_queries = 0
        self.finished = {"stop": 0, "length": 0, "abort": 0}
        self.rejected = 0
        self.http = {"2xx": 0, "5xx": 0}
        self.ttft = Histogram(TTFT_EDGES)
        self.itl = Histogram(ITL_EDGES)
        self.e2e, self.queue = Histogram(LONG_EDGES), Histogram(LONG_EDGES)
        self.prefill, self.decode = Histogram(LONG_EDGES), Histogram(LONG_EDGES)
        self.prompt, self.generation = Histogram(TOKEN_EDGES), Histogram(TOKEN_EDGES)
        self.step_tokens = Histogram(STEP_EDGES)
