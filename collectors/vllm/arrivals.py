"""Requests that arrive at a vLLM engine, which counts only those that end."""

from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from collectors.openmetrics.collector import Extracted, Extractor
from collectors.openmetrics.engine import GAP, Assembled
from collectors.openmetrics.parser import MetricsPage
from collectors.runtime.base import Source

RUNNING, WAITING = "serving.requests.running", "serving.requests.waiting"
FINISHED, ARRIVED = "serving.requests.finished", "serving.requests.arrived"


class Arrivals:
    """Requests that arrived a second, by conservation: what finished plus what came to be inside.

    vLLM counts no arrivals. Its HTTP counters and histograms count a request when it ends, which in a jam is a
    minute late; running and waiting change at once. A client that hangs up may leave without being counted as
    finished, so an interval in which the balance is negative counts as none.
    """

    def __init__(self, source: Source) -> None:
        self._gap_s = GAP * source.interval_s
        self._seen: dict[Entity, tuple[float, float]] = {}
        self._meters: dict[Entity, RateMeter] = {}

    def rates(self, found: Assembled, at: float) -> dict[Entity, float]:
        """Return the rate of each engine whose page says what is needed."""
        finished: dict[Entity, float] = {}
        for (signal, entity), total in found.totals.items():
            if signal == FINISHED:
                engine = entity.without("reason")
                finished[engine] = finished.get(engine, 0.0) + total
        rates = {}
        for engine, total in finished.items():
            running, waiting = found.gauges.get((RUNNING, engine)), found.gauges.get((WAITING, engine))
            if running is None or waiting is None:
                continue
            balance = total + running + waiting
            before, arrived = self._seen.get(engine, (balance, 0.0))
            arrived += max(balance - before, 0.0)
            self._seen[engine] = (balance, arrived)
            rate = self._meters.setdefault(engine, RateMeter(gap_s=self._gap_s)).observe(at, arrived).rate
            if rate is not None:
                rates[engine] = rate
        return rates

    def reset(self) -> None:
        """Forget the counters of a process that is gone."""
        self._seen.clear()
        self._meters.clear()


def extractor(source: Source) -> Extractor:
    """Return what adds the arrivals to what a page says by its table."""
    arrivals = Arrivals(source)

    def add(_: MetricsPage, found: Assembled, at: float) -> Extracted:
        if found.restarted:
            arrivals.reset()
        return Extracted([(ARRIVED, entity, rate) for entity, rate in arrivals.rates(found, at).items()])

    return add
