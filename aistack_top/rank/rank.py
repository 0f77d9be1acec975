"""Ranks the columns of any metrics table by how well they explain an incident, without knowing what they mean.

What moved out of its own past most explains most: large anomalies rarely come from small ones (Orchard et al., "Root
cause analysis of outliers with missing structural knowledge", NeurIPS 2025), which is why a robust distance from the
median beats learned graphs on public fault data (BARO, FSE 2024). To that come three corrections, each switched off
in `bench/rank.py` to see what it is worth: the time is looked back from, so that a late one does not spoil the
baseline; a shift that stays counts beside a single peak; and a value seen before counts less than one never seen.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import mul
from statistics import median

from aistack_top.rank.onset import find_change, look_back
from aistack_top.rank.service_graph import Graph, graph_in, inferred
from aistack_top.rank.table import MetricsTable, MetricsTableError

BASELINE_S = 1800.0
MIN_BASELINE = 60
"""The baseline is the half hour before the onset, or as much more as this number of rows needs."""

GUARD_S = 60.0
"""Left out of the baseline before the onset, up to a fifth of it: a late onset does not distort the baseline."""

SHORT_PAST = 20
"""Rows under which a spread is not trusted: by chance a few values lie closer together than they do."""

LAGS_S = (0.0, 5.0, 10.0, 15.0)
"""How far ahead of the symptom column another one may move, in seconds; or three rows, if that is more."""

TOGETHER_BEFORE, TOGETHER_AFTER = 60, 300
"""Rows before the onset and from it on in which columns are seen to move together."""

LEADERS, MIN_LEADERS = 8, 5
"""Columns that moved most: without a named symptom column, their common movement replaces it."""

LEADER_CAP = 8.0
"""Quartile distances at which a leader's movement is cut off, so that one of them is not all of it."""

MIN_TOGETHER = 8
"""Minimum number of rows for a correlation of two columns."""

LEVEL_FLOOR = 0.01
"""A change of a hundredth of the level is no incident, however still the column was: memory that wobbles by pages."""

STILL_FLOOR = 0.05
"""A column that stood at zero at least half of the time has no scale of its own: it takes a part of its whole range,
so that the first error of a day is no stronger than a twentyfold rise of something that is always there."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How the score is put together. The values are reasons and round numbers, not fitted."""

    peak: float = 0.5
    """Share of the largest distance; the rest goes to the distance that the upper half of the window keeps."""
    novelty: float = 0.3
    """Share of the score that only values never seen before earn."""
    together: bool = True
    """Whether columns that move with the one that shows the trouble, or with those that moved most, go first."""
    falls: float = 0.7
    """What a fall is worth against a rise: faults add work, waits and errors; what falls is mostly throughput."""
    look_back: bool = True
    guard: bool = True


@dataclass(frozen=True, slots=True)
class Scored:
    """A column with its score and the parts of it.

    ``shift`` is the lasting distance from the baseline in scales, negative for a fall; ``novelty`` the share of the
    incident's values that the baseline never had; ``usual`` and ``during`` are medians, NaN where nothing is known.
    ``inferred``: its place is told from the latencies of its service's callers.
    """

    name: str
    score: float
    shift: float
    novelty: float
    usual: float
    during: float
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Ranking:
    """The columns, best first, and the onset they were judged by, in seconds on the table's axis.

    ``given`` is the time that was named, None where it was found.
    """

    onset: float
    given: float | None
    columns: tuple[Scored, ...]


def rank(
    table: MetricsTable,
    given: float | None,
    sli: str | None = None,
    weights: Weights | None = None,
    graph: Graph | None = None,
) -> Ranking:
    """Rank all columns of a table. ``sli`` is the column that shows the trouble: it finds the time, and is ranked last.

    ``graph`` says who calls whom; where it is None, columns that name both ends do.

    Raises:
        TableError: there is too little before or after the incident, or nothing from which to find its time.

    """
    weights = weights or Weights()
    columns = {name: _as_rate(table.times, values) for name, values in table.columns.items()}
    if given is None:
        place = find_change(table.times, {sli: columns[sli]} if sli else columns)
        if place is None:
            raise MetricsTableError("no change was found in the table; name the time with --incident-time")
    else:
        place = bisect_left(table.times, given)
    if place < 2 or place > len(table.times) - 1:
        raise MetricsTableError("there must be two rows before the incident and one from it on")
    if weights.look_back:
        place = look_back(table.times, columns, place)
    start = max(min(bisect_left(table.times, table.times[place] - BASELINE_S), place - MIN_BASELINE), 0)
    guarded = min(bisect_left(table.times, table.times[place] - GUARD_S), place - 1)
    until = max(guarded, place - (place - start) // 5, start + 2) if weights.guard else place
    scored = [_score(name, values, (start, until, place), weights) for name, values in columns.items()]
    if weights.together:
        scored = _together(scored, table.times, columns, sli, place)
    raised = inferred({column.name: column.score for column in scored}, graph or graph_in(list(columns)))
    scored = [
        replace(column, score=raised[column.name], inferred=True) if column.name in raised else column
        for column in scored
    ]
    scored.sort(key=lambda column: (column.name == sli, -column.score))
    return Ranking(table.times[place], given, tuple(scored))


def _together(
    scored: list[Scored],
    times: Sequence[float],
    columns: Mapping[str, Sequence[float]],
    sli: str | None,
    place: int,
) -> list[Scored]:
    """Return the scores with columns that move with the symptom first.

    The named column is better evidence than the common movement of those that moved most, and weighs more.
    """
    begin = max(place - TOGETHER_BEFORE, 0)
    trouble = columns[sli] if sli is not None else _common(scored, columns, place)
    if trouble is None:
        return scored
    shown = trouble[begin : place + TOGETHER_AFTER]
    step = (times[-1] - times[0]) / max(len(times) - 1, 1) or 1.0
    lags = sorted({*range(4), *(round(lag / step) for lag in LAGS_S)})
    found = []
    for column in scored:
        moves = [_correlation(columns[column.name], shown, begin, lag) for lag in lags]
        best = max((abs(one) for one in moves if one is not None), default=None)
        if best is not None:
            score = column.score * best if sli is None else math.sqrt(column.score) * best**2
            column = replace(column, score=score)
        found.append(column)
    return found


def _common(scored: list[Scored], columns: Mapping[str, Sequence[float]], place: int) -> list[float] | None:
    """Return the median distance of the columns that moved most from where they were.

    None if too few moved, or the table is so small that those are most of it and would only confirm themselves.
    """
    if len(scored) < 3 * LEADERS:
        return None
    leaders = sorted((column for column in scored if column.score > 0), key=lambda column: -column.score)[:LEADERS]
    found = []
    for leader in leaders:
        before = sorted(v for v in columns[leader.name][:place] if v == v)
        if len(before) < 3:
            continue
        middle = before[len(before) // 2]
        quartiles = before[(3 * len(before)) // 4] - before[len(before) // 4]
        scale = quartiles or abs(middle) * LEVEL_FLOOR or 1.0
        found.append([0.0 if v != v else min(abs(v - middle) / scale, LEADER_CAP) for v in columns[leader.name]])
    return [median(at) for at in zip(*found, strict=True)] if len(found) >= MIN_LEADERS else None


def _correlation(values: Sequence[float], shown: Sequence[float], begin: int, lag: int) -> float | None:
    """Return how a column, some rows earlier, goes with the one that shows the trouble; None of too few rows."""
    first = max(lag - begin, 0)
    pairs = zip(values[begin + first - lag :], shown[first:], strict=False)
    known = [(here, there) for here, there in pairs if here == here and there == there]
    if len(known) < MIN_TOGETHER:
        return None
    x, y = (_standard([pair[side] for pair in known]) for side in (0, 1))
    return math.fsum(map(mul, x, y)) if x and y else 0.0


def _standard(values: list[float]) -> list[float]:
    """Return values with a mean of 0 and a length of 1 as a vector; nothing for a constant."""
    largest = max(map(abs, values))
    mean = math.fsum(values) / len(values)
    length = math.sqrt(math.fsum((v - mean) ** 2 for v in values))
    return [(v - mean) / length for v in values] if length > 1e-9 * largest else []


def _score(name: str, values: Sequence[float], parts: tuple[int, int, int], weights: Weights) -> Scored:
    start, until, place = parts
    before = sorted(v for v in values[start:until] if v == v)
    window = [v for v in values[place:] if v == v]
    if len(before) < 2 or not window:
        return _half_known(name, values, place, before, window)
    usual = median(before)
    scale = _scale(before, window, usual)
    if scale <= 0:
        return Scored(name, 0.0, 0.0, 0.0, usual, usual)
    rises = _side([(v - usual) / scale for v in window], weights)
    falls = _side([(usual - v) / scale for v in window], weights)
    low, high = before[0], before[-1]
    all_low = min((v for v in values[:start] if v == v), default=low)
    all_high = max((v for v in values[:start] if v == v), default=high)
    low, high = min(low, all_low), max(high, all_high)
    up = rises[0] >= weights.falls * falls[0]
    novel = sum(v > high if up else v < low for v in window) / len(window)
    strength = rises[0] if up else weights.falls * falls[0]
    # the upper half of the window decides, as for the shift: an incident may be over before the table is
    score = strength * (1 - weights.novelty + weights.novelty * min(2 * novel, 1.0))
    return Scored(name, score, rises[1] if up else -falls[1], novel, usual, median(window))


def _side(distances: list[float], weights: Weights) -> tuple[float, float]:
    """Return strength and lasting distance of one direction; logarithms, so that a tenfold distance is not all."""
    distances.sort()
    lasting = max(distances[(3 * len(distances)) // 4], 0.0)
    # a twentieth is left out where there is enough: one wild sample is a glitch
    peak = max(distances[-1 - len(distances) // 50], 0.0)
    strength = weights.peak * math.log1p(peak) + (1 - weights.peak) * math.log1p(lasting)
    return strength, lasting


def _scale(before: list[float], window: list[float], usual: float) -> float:
    """Return the unit of distance: the widest of three robust spreads and of the floors, so that no quiet one wins."""
    count = len(before)
    quartiles = before[(3 * count) // 4] - before[count // 4]
    mean = math.fsum(before) / count
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in before) / count)
    still = before[(9 * count) // 10] == before[count // 10] or quartiles == 0
    if count < SHORT_PAST:
        quartiles *= 1 + 3 / count
        deviation *= 1 + 3 / count
    spread = max(quartiles / 1.349, deviation / 2, (1 + still) * LEVEL_FLOOR * abs(usual))
    whole = max(before[-1], *window) - min(before[0], *window)
    if not still:
        return max(spread, 1e-3 * whole)
    quantum = min((b - a for a, b in pairwise(before) if b > a), default=0.0)
    return max(spread, quantum, STILL_FLOOR * whole if abs(usual) < STILL_FLOOR * whole else 0.0)


def _half_known(name: str, values: Sequence[float], place: int, before: list[float], window: list[float]) -> Scored:
    """Score a column that appears with the incident or goes with it: a lead, but no distance can be computed."""
    usual = median(before) if before else math.nan
    during = median(window) if window else math.nan
    share = len(window) / max(len(values) - place, 1) if window else len(before) / max(place, 1)
    changed = len(before) >= 2 or (any(window) and not before)
    return Scored(name, share * math.log(2.0) if changed else 0.0, 0.0, 0.0, usual, during)


def _as_rate(times: Sequence[float], values: Sequence[float]) -> Sequence[float]:
    """Return a counter as its rate a second, anything else as it is.

    A counter never falls except to restart near zero, and rises in a good part of its steps.
    """
    steps = rises = resets = 0
    last = math.nan
    for value in values:
        if value != value:
            continue
        if last == last:
            steps += 1
            rises += value > last
            if value < last:
                if value > 0.1 * last or value < 0:
                    return values
                resets += 1
        last = value
    if steps < 8 or rises < 0.2 * steps or resets > 0.02 * steps + 1:
        return values
    rates, last, at = [math.nan], values[0], times[0]
    for moment, value in zip(times[1:], values[1:], strict=True):
        known = value == value and last == last and value >= last and moment > at
        rates.append((value - last) / (moment - at) if known else math.nan)
        if value == value:
            last, at = value, moment
    return rates
