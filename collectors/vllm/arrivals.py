"""Requests that arrive at a vLLM engine, which counts only those that end, and those whose clients hang up."""

from dataclasses import dataclass, field

from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from collectors.openmetrics.collector import Extracted, Extractor
from collectors.openmetrics.engine import GAP, Assembled
from collectors.openmetrics.parser import MetricsPage
from collectors.runtime.base import Source

RUNNING, WAITING = "serving.requests.running", "serving.requests.waiting"
FINISHED, ARRIVED = "serving.requests.finished", "serving.requests.arrived"
REJECTED, HUNG_UP = "serving.requests.rejected", "serving.requests.hung_up"
FIRST_TOKENS = "serving.ttft"

SETTLING_S = 30.0
"""A request between its place in the batch and its first token hides one that hung up, and how many there are is not
told. So hang-ups are counted from the most that was seen in this time at the start."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one page says of one engine: totals since its process began, and the requests inside it now.

    ``first_tokens`` is None where the page has no TTFT histogram.
    """

    finished: float
    aborted: float
    inside: float
    running: float
    rejected: float = 0.0
    first_tokens: float | None = None

    @property
    def unfinished(self) -> float:
        """Requests that had their first token, are not in the batch and never finished: at least so many hung up."""
        return 0.0 if self.first_tokens is None else self.first_tokens - self.finished - self.running


@dataclass(slots=True)
class Ledger:
    """The arrivals and hang-ups of one engine, page by page.

    Arrivals by conservation: what finished, was rejected or hung up, plus what came to be inside. vLLM counts no
    arrivals; its HTTP counters count a request when it ends, which in a jam is a minute late, while running and waiting
    change at once. Its Python server does not count who hangs up as finished (Rust: as abort), but both count the first
    token: who had one and neither runs nor finished has hung up. Who hangs up in the queue leaves no trace, and is an
    arrival that is counted, and a hang-up that is not.
    """

    arrived: float = 0.0
    hung_up: float = 0.0
    _since: float | None = None
    _before: Counts | None = None
    _most: float = 0.0
    """The most unfinished that two pages in a row agreed on: of several API servers one may be ahead of the other."""

    _owed: float = 0.0
    """By how much the balance fell: a client that hung up, and may be seen to have done so later only."""

    def observe(self, at: float, now: Counts) -> None:
        """Take the counts of a page read at a time in seconds."""
        before, self._before = self._before, now
        if before is None or self._since is None:
            self._since, self._most = at, now.unfinished
            return
        seen = min(before.unfinished, now.unfinished)
        left = max(seen - self._most, 0.0)
        self._most = max(self._most, seen)
        if at - self._since <= SETTLING_S:
            left = 0.0
        self.hung_up += left + max(now.aborted - before.aborted, 0.0)
        gain = _passed(now) - _passed(before) + left
        paid = min(self._owed, left, max(gain, 0.0))
        self._owed += max(-gain, 0.0) - paid
        self.arrived += max(gain, 0.0) - paid


def _passed(counts: Counts) -> float:
    return counts.finished + counts.rejected + counts.inside


@dataclass(slots=True)
class _Meters:
    ledger: Ledger = field(default_factory=Ledger)
    arrived: RateMeter = field(default_factory=RateMeter)
    hung_up: RateMeter = field(default_factory=RateMeter)


class Arrivals:
    """Arrivals and hang-ups a second of the engines of one source. ``pace_s`` is how often it is asked now."""

    def __init__(self, source: Source) -> None:
        self.pace_s = source.interval_s
        self._engines: dict[Entity, _Meters] = {}

    def rates(self, found: Assembled, at: float) -> list[tuple[str, Entity, float]]:
        """Return the rates of each engine whose page says what is needed, as readings."""
        readings = []
        for engine, counts in _counts(found).items():
            meters = self._engines.setdefault(engine, _Meters())
            meters.ledger.observe(at, counts)
            for signal, meter, total in (
                (ARRIVED, meters.arrived, meters.ledger.arrived),
                (HUNG_UP, meters.hung_up, meters.ledger.hung_up),
            ):
                rate = meter.observe(at, total, GAP * self.pace_s).rate
                if rate is not None:
                    readings.append((signal, engine, rate))
        return readings

    def reset(self) -> None:
        """Forget the counters of a process that is gone."""
        self._engines.clear()


def _counts(found: Assembled) -> dict[Entity, Counts]:
    finished: dict[Entity, float] = {}
    aborted: dict[Entity, float] = {}
    rejected: dict[Entity, float] = {}
    for (signal, entity), total in found.totals.items():
        engine = entity.without("reason")
        if signal == FINISHED:
            finished[engine] = finished.get(engine, 0.0) + total
            if entity.get("reason") == "abort":
                aborted[engine] = total
        elif signal == REJECTED:
            rejected[engine] = rejected.get(engine, 0.0) + total
    counts = {}
    for engine, total in finished.items():
        running, waiting = found.gauges.get((RUNNING, engine)), found.gauges.get((WAITING, engine))
        if running is None or waiting is None:
            continue
        first_tokens = found.totals.get((FIRST_TOKENS, engine))
        inside, refused = running + waiting, rejected.get(engine, 0.0)
        counts[engine] = Counts(total, aborted.get(engine, 0.0), inside, running, refused, first_tokens)
    return counts


def extractor(source: Source) -> Extractor:
    """Return what adds the arrivals to what a page says by its table."""
    arrivals = Arrivals(source)

    def add(_: MetricsPage, found: Assembled, at: float) -> Extracted:
        if found.restarted:
            arrivals.reset()
        return Extracted(arrivals.rates(found, at))

    return add
