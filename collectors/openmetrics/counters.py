"""What the counters of one source did between two of its pages, whatever their labels do meanwhile.

| between two pages | counts |
|---|---|
| a counter rises | the difference |
| a counter appears | all of it, if the page before was whole: until then it stood at nothing |
| a counter appears while another of its row vanishes | nothing: it may be the old one under other labels |
| a counter that repeats others goes on under other labels | the difference between the values |
| a counter comes back that was away | nothing |
| a counter falls by its last bits | nothing: several processes' fractions are added up in another order |
| a counter falls | nothing; `collectors.openmetrics.restarts` says why it fell |
| a line could not be read | nothing; the next page makes up for it |
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain

from aistack_top.measure.counters import fell
from collectors.openmetrics.matching import Key, SeriesTarget
from collectors.openmetrics.parser import MAX_SERIES, PageSeries
from collectors.openmetrics.table import Combine, Metric

COMBINE: Mapping[Combine, Callable[[Sequence[float]], float]] = {
    "one": max,
    "sum": sum,
    "max": max,
    "min": min,
    "mean": lambda values: sum(values) / len(values),
}
"""How the groups of an output become its value. Series that repeat one value may differ by a moment: the largest."""

Group = tuple[tuple[PageSeries, ...], ...]
"""Series that stand for one value: label sets that repeat it, each with the parts that are added up to it."""


WHOLE = "whole"
"""The one group of a row whose series all add up."""


def groups(row: Metric, members: Iterable[PageSeries]) -> dict[Hashable, Group]:
    """Return the values that a row's series of one entity stand for, by what tells them apart."""
    if row.combine == "sum" and not row.adds_over and row.join != "all":
        return {WHOLE: (tuple(members),)}
    lines: dict[Hashable, list[PageSeries]] = {}
    for series in members:
        lines.setdefault(frozenset(series.labels.items()) if row.join else series, []).append(series)
    found: dict[Hashable, list[tuple[PageSeries, ...]]] = {}
    for line, parts in lines.items():
        if row.join == "all" and len({series.name for series in parts}) < len(row.names):
            continue
        if row.adds_over:
            group: Hashable = tuple(parts[0].labels.get(label, "") for label in row.adds_over)
        else:
            group = () if row.combine == "one" else line
        found.setdefault(group, []).append(tuple(parts))
    return {group: tuple(together) for group, together in found.items()}


def value_of(group: Group, values: Mapping[PageSeries, float]) -> float:
    """Return the value that a group stands for."""
    if len(group) == 1:
        return sum([values[series] for series in group[0]])
    return max(sum([values[series] for series in parts]) for parts in group)


@dataclass(frozen=True, slots=True)
class Step:
    """The counters on one page and on the one before.

    ``born`` were never there before, and the page before was whole. ``gone`` are no longer there, ``fell`` are lower.
    """

    now: Mapping[PageSeries, float]
    before: Mapping[PageSeries, float]
    born: Set[PageSeries] = frozenset()
    gone: Set[PageSeries] = frozenset()
    fell: Set[PageSeries] = frozenset()
    others: bool = False
    """Whether other series are there than on the page before."""

    def rise(self, series: PageSeries, births: bool) -> float:
        """Return what one series rose by; a fall is no rise."""
        before = self.before.get(series)
        if before is None:
            return max(self.now[series], 0.0) if births and series in self.born else 0.0
        return max(self.now[series] - before, 0.0)


class CounterHistory:
    """Remembers where the counters of one source stood on the last page, and which were ever there."""

    def __init__(self) -> None:
        self._now: dict[PageSeries, float] = {}
        self._ever: set[PageSeries] = set()
        self._was_whole = False

    def step(
        self, values: Mapping[PageSeries, float], counters: Mapping[PageSeries, tuple[SeriesTarget, ...]], whole: bool
    ) -> Step:
        """Return what changed with a page; on one that is not ``whole``, what is missing stands where it stood."""
        before, ever = self._now, self._ever
        now = {series: value for series, value in values.items() if series in counters}
        if not whole:
            now = {**before, **now}
        births = self._was_whole
        new = {series for series in now if series not in before}
        gone = {series for series in before if series not in now} if len(before) + len(new) > len(now) else frozenset()
        down = {series for series, value in before.items() if now.get(series, value) < value}
        fallen = {series for series in down if fell(before[series], now[series])}
        born = {series for series in new if series not in ever} if births else frozenset()
        if len(ever) > 4 * MAX_SERIES:
            ever.clear()
            ever.update(before)
        ever |= new
        self._now, self._was_whole = now, whole
        return Step(now, before, born, gone, fallen, bool(new or gone))

    def begin_again(self) -> None:
        """Forget which counters were there before the last page: in a new process each one is new."""
        self._ever = set(self._now)

    def forget(self) -> None:
        """Forget all pages so far."""
        self._now, self._was_whole = {}, False
        self._ever.clear()


@dataclass(slots=True)
class Growth:
    """What each output of a source rose by since it was first seen, from its groups.

    A total goes on from where the counter stood at first sight and never falls.
    """

    _stood: dict[tuple[Key, str], dict[Hashable, float]] = field(default_factory=dict)
    _totals: dict[tuple[Key, str], float] = field(default_factory=dict)

    def knows(self, key: Key, what: str) -> bool:
        """Whether an output was seen before."""
        return (key, what) in self._totals

    def add(self, key: Key, what: str, row: Metric, found: Mapping[Hashable, Group], step: Step, births: bool) -> float:
        """Take a page's step; return the total. ``births`` is False where what is new may be old by another name."""
        known = self._stood.get((key, what))
        stood = {group: value_of(lines, step.now) for group, lines in found.items()}
        self._stood[key, what] = stood
        combine = COMBINE[row.combine]
        if known is None:
            new = {group for group, lines in found.items() if births and step.born and _is_born(lines, step)}
            values = [0.0 if group in new else value for group, value in stood.items()]
            rises = [value if group in new else 0.0 for group, value in stood.items()]
            self._totals[key, what] = combine(values) if values else 0.0
        else:
            rises = [_rise(group, lines, known, stood, step, births) for group, lines in found.items()]
        self._totals[key, what] += combine(rises) if rises else 0.0
        return self._totals[key, what]

    def forget(self, keys: Set[Key] | None = None) -> None:
        """Forget everything, or some outputs."""
        for known in (self._stood, self._totals):
            for output in [output for output in known if keys is None or output[0] in keys]:
                del known[output]


def _is_born(group: Group, step: Step) -> bool:
    return all(series in step.born for series in chain.from_iterable(group))


def _rise(
    group: Hashable,
    lines: Group,
    known: Mapping[Hashable, float],
    stood: Mapping[Hashable, float],
    step: Step,
    births: bool,
) -> float:
    """Return what one value rose by: what it rose under labels that stay, else what it went on by under others."""
    now, before, born = step.now, step.before, step.born if births else frozenset()
    stay = [parts for parts in lines if any(series in before for series in parts)]
    if stay:
        # by far the most of a large page's time is spent here
        return max(
            sum([now[one] - before[one] for one in parts if one in before and now[one] > before[one]])
            + (sum([now[one] for one in parts if one in born]) if born else 0.0)
            for parts in stay
        )
    if group in known and group != WHOLE:
        return max(stood[group] - known[group], 0.0)
    return stood[group] if births and _is_born(lines, step) else 0.0


def rows_of(series: Iterable[PageSeries], counters: Mapping[PageSeries, tuple[SeriesTarget, ...]]) -> Iterator[int]:
    """Yield the rows of the table that some series belong to."""
    for one in series:
        for place in counters.get(one, ()):
            yield place.key[0]
