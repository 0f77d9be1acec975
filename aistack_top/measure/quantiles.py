"""Histogram deltas to quantiles over a window, and quantiles of raw values, both honest about what they are.

Prometheus histogram buckets are cumulative over their edges and over the life of the process. A quantile since
the start lags on the way up and never comes down, so quantiles are taken of the difference between two scrapes:
over the last 60 s, widened up to 300 s until 20 observations are in. Fewer are too few to say.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from operator import itemgetter

from aistack_top.model.tick import Bound, Quantiles

WINDOW_S = 60.0
MAX_WINDOW_S = 300.0
MIN_COUNT = 20
MIN_COUNT_P99 = 100
"""A 99th percentile of fewer than a hundred observations is the name of the largest one."""

QS = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Buckets:
    """One scrape of one histogram: upper edges (the last is +Inf), cumulative counts, and the sum of values."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    total: float | None = None

    @property
    def count(self) -> float:
        """Observations since the process began."""
        return self.counts[-1]


def bucket_quantile(edges: Sequence[float], counts: Sequence[float], q: float) -> float | Bound | None:
    """Return the q-quantile of cumulative bucket counts, linear within a bucket as Prometheus does it.

    A quantile in the first bucket is only known to be below its edge, one in the +Inf bucket to be above the
    last finite edge: both come back as a `Bound`. Where the first edge is 0, what is in its bucket is 0: nothing is
    shorter or smaller than that. None when there are no observations.
    """
    total = counts[-1]
    if total <= 0:
        return None
    rank = q * total
    index = bisect_left(counts, rank)
    if index >= len(edges) - 1 or edges[index] == inf:
        finite = [edge for edge in edges if isfinite(edge)]
        return Bound("above", finite[-1]) if finite else None
    if index == 0 or edges[index - 1] == -inf:
        if edges[index] == -inf:
            return None
        return Bound("below", edges[index]) if edges[index] else 0.0
    low, high = edges[index - 1], edges[index]
    below, within = counts[index - 1], counts[index] - counts[index - 1]
    return low + (high - low) * ((rank - below) / within)


class HistogramWindow:
    """Quantiles of one histogram series over a sliding window.

    Feed it every scrape; ask it after each. The first scrape gives nothing, a restart or changed edges start
    anew (and are reported), and counts that a scrape caught in mid-update are made monotone.
    """

    __slots__ = ("_edges", "_scrapes", "fewest", "widest_s", "window_s")

    def __init__(self, window_s: float = WINDOW_S, widest_s: float = MAX_WINDOW_S, fewest: int = MIN_COUNT) -> None:
        self.window_s, self.widest_s, self.fewest = window_s, widest_s, fewest
        self._edges: tuple[float, ...] = ()
        self._scrapes: deque[tuple[float, tuple[float, ...], float | None]] = deque()

    def observe(self, at: float, buckets: Buckets) -> bool:
        """Take a scrape made at a time in seconds; return whether the counts went backwards (a restart)."""
        counts = _monotone(buckets.counts)
        restarted = False
        if self._scrapes:
            last_at, last_counts, _ = self._scrapes[-1]
            restarted = buckets.edges == self._edges and counts[-1] < last_counts[-1]
            if restarted or buckets.edges != self._edges or at <= last_at:
                self._scrapes.clear()
        self._edges = buckets.edges
        self._scrapes.append((at, counts, buckets.total))
        while len(self._scrapes) > 2 and self._scrapes[1][0] <= at - self.widest_s:
            self._scrapes.popleft()
        return restarted

    def quantiles(self) -> Quantiles | None:
        """Return the distribution of the window that ends with the last scrape; None before the second one."""
        if len(self._scrapes) < 2:
            return None
        now, counts, total = self._scrapes[-1]
        index = max(bisect_right(self._scrapes, now - self.window_s, key=itemgetter(0)) - 1, 0)
        while index > 0 and counts[-1] - self._scrapes[index][1][-1] < self.fewest:
            index -= 1
        since, before, total_before = self._scrapes[index]
        delta = _monotone([c - b for c, b in zip(counts, before, strict=True)])
        count = delta[-1]
        mean = (total - total_before) / count if total is not None and total_before is not None and count else None
        found = [bucket_quantile(self._edges, delta, q) if self._enough(count, q) else None for q in QS]
        return Quantiles(found[0], found[1], found[2], mean, count, now - since)

    def _enough(self, count: float, q: float) -> bool:
        return count >= (MIN_COUNT_P99 if q > 0.95 else self.fewest)


def sample_quantiles(values: Sequence[float], window_s: float, fewest: int = MIN_COUNT) -> Quantiles:
    """Return the distribution of raw values, with quantiles by linear interpolation (Langfuse's own choice)."""
    ordered = sorted(values)
    count = len(ordered)
    mean = sum(ordered) / count if count else None
    found = [linear_quantile(ordered, q) if count >= (MIN_COUNT_P99 if q > 0.95 else fewest) else None for q in QS]
    return Quantiles(found[0], found[1], found[2], mean, count, window_s)


def linear_quantile(ordered: Sequence[float], q: float) -> float | None:
    """Return the q-quantile of sorted values, interpolated linearly between closest ranks; None of nothing."""
    if not ordered:
        return None
    rank = q * (len(ordered) - 1)
    low = int(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def _monotone(counts: Sequence[float]) -> tuple[float, ...]:
    highest = -inf
    out = []
    for count in counts:
        highest = max(highest, count)
        out.append(highest)
    return tuple(out)
