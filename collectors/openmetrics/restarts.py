"""Why counters fell: a restart of the source, a reset of one device, or several servers behind one address."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aistack_top.model.entity import Entity
from collectors.openmetrics.counters import Step
from collectors.openmetrics.parser import PageSeries

SCRAPES = 10
"""How many pages back a restart is looked at again, and for how many the rates are withheld after a proof."""

MAX_RESTARTS = 3
"""Restarts within `SCRAPES` pages from which they are none: several processes answer in turn."""

SAME_START_S = 1.0
"""Start times that differ by less are one: they are computed from ticks and rounded."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What a page's counters say of its process.

    ``restarted``: by another start time, or by counters that fell; ``by_start`` tells which, and ``kept`` that the
    start time is still the same.
    ``reset`` are the entities whose counters alone were reset. ``several``: pages come from more than one process.
    """

    restarted: bool = False
    by_start: bool = False
    kept: bool = False
    reset: frozenset[Entity] = frozenset()
    several: bool = False


class Restarts:
    """Watches the counters and the start time of one source, page after page.

    ``whose`` names the entity whose counter a series is. ``devices`` says that counters are the devices' own, so that
    neither does the exporter's restart end them, nor does a fall tell of one.
    """

    def __init__(self, whose: Callable[[PageSeries], Iterable[Entity]], *, devices: bool = False) -> None:
        self._whose = whose
        self._devices = devices
        self._page = 0
        self._began: Mapping[PageSeries, float] = {}
        self._earlier: deque[tuple[PageSeries, float]] = deque(maxlen=SCRAPES)
        self._restarts: deque[int] = deque(maxlen=MAX_RESTARTS)
        self._marks: dict[PageSeries, float] = {}
        self._marked = -SCRAPES
        self._proven = -2 * SCRAPES

    def judge(self, began: Mapping[PageSeries, float], step: Step) -> Cause:
        """Return what a page says; ``began`` are the start times of the processes on it, where it tells them."""
        self._page += 1
        both = {series: (self._began[series], now) for series, now in began.items() if series in self._began}
        moves = {series: now for series, (before, now) in both.items() if not _same(before, now)}
        moved, kept = bool(moves), bool(both) and not moves
        if any(
            series == one and _same(now, earlier) for series, now in moves.items() for one, earlier in self._earlier
        ):
            self._proven = self._page
        self._earlier.extend((series, self._began[series]) for series in moves)
        self._began = began or self._began
        if not began and self._came_back(step):
            self._proven = self._page
        reset = self._reset(step, kept)
        restarted = moved or (bool(step.fell) and not reset)
        if restarted:
            self._restarts.append(self._page)
            if len(self._restarts) == MAX_RESTARTS and self._page - self._restarts[0] < SCRAPES:
                self._proven = self._page
        if step.fell and not began and not self._devices:
            self._mark(step)
        several = self._page - self._proven < SCRAPES
        return Cause(restarted, moved, kept, frozenset() if moved and not self._devices else reset, several)

    def _reset(self, step: Step, kept: bool) -> frozenset[Entity]:
        """Return the entities whose counters fell, where it was not the whole source that restarted.

        A process that is ``kept`` did not: unless most of its counters fell, those that did were reset by themselves.
        """
        if not step.fell:
            return frozenset()
        fell = {entity for series in step.fell for entity in self._whose(series)}
        steady = [series for series, before in step.before.items() if step.now.get(series, 0.0) >= before > 0]
        others = any(not fell.intersection(self._whose(series)) for series in steady)
        alone = self._devices or others or (kept and len(steady) > len(step.fell))
        return frozenset(fell) if alone else frozenset()

    def _mark(self, step: Step) -> None:
        if self._page - self._marked >= SCRAPES:
            self._marks = {}
        self._marks.update({series: step.before[series] for series in step.fell})
        self._marked = self._page

    def _came_back(self, step: Step) -> bool:
        """Whether counters that fell stand at once where they stood: another process answered in between."""
        if self._page - self._marked >= SCRAPES:
            return False
        marks: Mapping[PageSeries, float] = {one: mark for one, mark in self._marks.items() if one in step.now}
        return bool(marks) and all(step.now[one] >= mark > step.before.get(one, mark) for one, mark in marks.items())


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_START_S
