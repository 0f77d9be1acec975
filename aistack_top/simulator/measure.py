"""What a run did to its users, measured as a console would: quantiles of scraped histograms over a minute.

It answers, for a scenario, how far its symptom rose and for how long (`excursion`), and when the service was back
to usual (`backlog_end`): an overload outlives its cause. `bench/simulator.py survey` prints it for all scenarios,
and tests hold `scenarios.toml` against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from statistics import median

from aistack_top.measure.quantiles import Buckets, HistogramWindow
from aistack_top.model.tick import Bound
from aistack_top.simulator.histogram import Histogram
from aistack_top.simulator.node import SimulatedNode

STEP_S = 5.0
WARM_UP_S = 300.0
"""A node starts empty; what is usual is taken from here to the onset."""

ALIKE = 1.5
"""A symptom within this factor of its usual value is back to usual."""

CALM_S = 120.0
EXCURSION = 2.0

Curve = list[tuple[float, float]]
"""(seconds, 95th percentile of the last minute); seconds with too few observations are left out."""


@dataclass(frozen=True, slots=True)
class MeasuredRise:
    """How far a symptom rose: its usual value, its peak over it, and the longest time it stood at twice and more."""

    usual: float
    ratio: float
    seconds: float


class Probe:
    """Follows one histogram of a node through restarts."""

    def __init__(self, read: Callable[[SimulatedNode], Histogram]) -> None:
        self._read, self._window = read, HistogramWindow()
        self.curve: Curve = []

    def observe(self, node: SimulatedNode) -> None:
        """Take a scrape."""
        histogram = self._read(node)
        edges, counts = zip(*histogram.cumulative(), strict=True)
        self._window.observe(node.now, Buckets(edges, tuple(map(float, counts)), histogram.total))
        quantiles = self._window.quantiles()
        if quantiles is not None and quantiles.p95 is not None:
            value = quantiles.p95.limit if isinstance(quantiles.p95, Bound) else quantiles.p95
            self.curve.append((node.now, value))


def probe(signal: str, engine: str) -> Probe:
    """Return a probe of a latency signal; ``calls.*`` are taken at the gateway, where the client's calls begin."""
    if signal == "calls.latency":
        return Probe(lambda node: node.gateway.latency)
    if signal == "calls.ttft":
        return Probe(lambda node: node.gateway.ttft)
    field = signal.removeprefix("serving.")
    return Probe(lambda node: _histogram(node, engine, field))


def watch(node: SimulatedNode, until: float) -> dict[tuple[str, str], Curve]:
    """Play a node to a time and return the curves of its latencies by (signal, engine); calls have no engine."""
    names = [(signal, "") for signal in ("calls.latency", "calls.ttft")]
    names += [(f"serving.{field}", engine.label) for engine in node.engines for field in ("ttft", "itl", "e2e")]
    probes = {name: probe(*name) for name in names}
    while node.now < until:
        node.advance(node.now + STEP_S)
        for watched in probes.values():
            watched.observe(node)
    return {name: watched.curve for name, watched in probes.items()}


def excursion(points: Curve, onset: float) -> MeasuredRise:
    """Return how far a curve rose after an onset over its median before it."""
    usual = _usual(points, onset)
    longest = 0.0
    began: float | None = None
    peak = 0.0
    for at, value in points:
        if at < onset:
            continue
        peak = max(peak, value)
        if value >= EXCURSION * usual:
            began = at if began is None else began
            longest = max(longest, at - began + STEP_S)
        else:
            began = None
    return MeasuredRise(usual, peak / usual, longest)


def backlog_end(points: Curve, onset: float, fault_end: float) -> float:
    """Return when a curve is back to usual for two minutes, not before the fault's end; infinite if it never is."""
    usual = _usual(points, onset)
    calm = inf
    for at, value in points:
        if at < fault_end:
            continue
        calm = min(calm, at) if value <= ALIKE * usual else inf
        if at - calm >= CALM_S:
            return calm
    return inf


def _usual(points: Curve, onset: float) -> float:
    return median([value for at, value in points if WARM_UP_S <= at < onset])


def _histogram(node: SimulatedNode, engine: str, field: str) -> Histogram:
    metrics = next(one.metrics for one in node.engines if one.label == engine)
    found: Histogram = getattr(metrics, field)
    return found
