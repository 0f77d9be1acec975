"""Histograms as a Prometheus client keeps them, with the bucket edges of vLLM 0.33."""

from bisect import bisect_left
from itertools import accumulate
from math import inf

TTFT_EDGES: tuple[float, ...] = tuple(
    float(edge)
    for edge in [
        "0.001",
        "0.005",
        "0.01",
        "0.02",
        "0.04",
        "0.06",
        "0.08",
        "0.1",
        "0.25",
        "0.5",
        "0.75",
        "1",
        "2.5",
        "5",
        "7.5",
        "10",
        "20",
        "40",
        "80",
        "160",
        "640",
        "2560",
    ]
)
"""Seconds to the first token; this and the next four from the text of a vLLM 0.33.0 server."""

TOKEN_TIME_EDGES: tuple[float, ...] = tuple(
    float(edge)
    for edge in [
        "0.01",
        "0.025",
        "0.05",
        "0.075",
        "0.1",
        "0.15",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
        "0.75",
        "1",
        "2.5",
        "5",
        "7.5",
        "10",
        "20",
        "40",
        "80",
    ]
)
"""Seconds between tokens."""

REQUEST_TIME_EDGES: tuple[float, ...] = tuple(
    float(edge)
    for edge in [
        "0.3",
        "0.5",
        "0.8",
        "1",
        "1.5",
        "2",
        "2.5",
        "5",
        "10",
        "15",
        "20",
        "30",
        "40",
        "50",
        "60",
        "120",
        "240",
        "480",
        "960",
        "1920",
        "7680",
    ]
)
"""Seconds of a part of a request."""

ITERATION_TOKEN_EDGES = tuple(float(2**power) for power in (0, *range(3, 15)))
"""Tokens of one iteration: 1, then 8 to 16,384."""

PREEMPTION_EDGES = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
"""Preemptions of one request."""

PARAM_N_EDGES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Answers asked for by one request."""

SERVICE_TIME_EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds of a call to a service: the default edges of the Python client, prometheus_client.Histogram."""

SEARCH_TIME_EDGES = tuple(2.0**power / 1000.0 for power in range(18))
"""Seconds of a search: 1 ms and its doubles up to 131 s, as Milvus 2.3 counts in milliseconds."""


def token_edges(max_model_len: int) -> tuple[float, ...]:
    """Return the edges for tokens of a request: 1, 2, 5, 10 ... up to the model's length, as vLLM builds them."""
    edges: list[float] = []
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power > max_model_len:
                return tuple(edges)
            edges.append(float(digit * power))
        power *= 10


class Histogram:
    """Counts of values by bucket, the last of them open, and the values' sum."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, several times if asked."""
        self.counts[bisect_left(self.edges, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean of all values; 0 before the first, for use inside the model only."""
        count = self.count
        return self.total / count if count else 0.0

    def cumulative(self) -> list[tuple[float, int]]:
        """Return (upper edge, values up to it), the last edge infinite, as the text format writes them."""
        return list(zip((*self.edges, inf), accumulate(self.counts), strict=True))
