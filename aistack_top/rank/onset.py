"""When an incident began, from all columns at once: by looking back from a given time, or found from nothing.

A given time is mostly late (an alarm waits until it is sure), and a late time puts the fault into the baseline: with
60 s of delay N-sigma falls from 0.94 to 0.16 on the Online Boutique cases (ASE 2024, "Root Cause Analysis for
Microservices based on Causal Inference: How Far Are We?", table 5). So the time is only where to begin to look.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean, median

LOOK_BACK_S = 120.0
LOOK_BACK_ROWS = 5
"""A coarse table is looked back over by rows: an alarm waits for some of them before it is sure."""

RECENT_S = 20.0
"""Whether a column moves is also seen in the seconds before a given time, for one so late that all is over."""

MAX_BUCKETS = 240
"""Points of the coarse axis on which a change is sought; the place is refined on the full one."""

_CAP = 8.0
_MOVERS = 8
_EDGE = 0.08
_TAIL = 2
"""Rows at the end that can be an incident by themselves; at the beginning a part of the table is needed as a past."""

_EARLIER = 0.45
_MISSES = 2


def look_back(times: Sequence[float], columns: Mapping[str, Sequence[float]], given: int) -> int:
    """Return the index of the onset: at most `LOOK_BACK_S`, and two thirds of what is before, ahead of the given one.

    The columns that move most tell: their mean distance from the baseline is followed back to where it was under
    half of its rise.
    """
    first = min(bisect_left(times, times[given] - LOOK_BACK_S), given - LOOK_BACK_ROWS)
    first = max(first, given // 3)
    if first < 4 or given - first < 1 or given >= len(times) - 1:
        return given
    after = max(bisect_left(times, times[given] + LOOK_BACK_S / 2), given + 3)
    recent = max(min(bisect_left(times, times[given] - RECENT_S), given - 1), first)

    def now(at: Sequence[float]) -> float:
        return max(median(at[given:after]), median(at[recent:given]))

    moved = []
    for values in columns.values():
        distances = _distances(values[:after], first)
        if distances is not None:
            # what had moved long before the time that is looked back over belongs to something else
            usual = max(median(distances[:first]), median(distances[first - first // 4 - 1 : first]))
            moved.append((now(distances) - usual, distances))
    moved.sort(key=lambda pair: -pair[0])
    movers = [distances for rise, distances in moved[:_MOVERS] if rise > 2.0]
    if not movers:
        return given
    height = [fmean(at) for at in zip(*movers, strict=True)]
    usual, high = median(height[:first]), now(height)
    half = usual + (high - usual) / 2
    onset, misses, index = given, 0, given - 1
    while index >= first and misses <= _MISSES:
        if height[index] >= half:
            onset, misses = index, 0
        else:
            misses += 1
        index -= 1
    return onset


def find_change(times: Sequence[float], columns: Mapping[str, Sequence[float]]) -> int | None:
    """Return the index where most columns change most, or None where the table is too short or nothing moves.

    The cumulative-sum statistic of each column, cut off so that no unit and no outlier wins, squared and summed over
    the columns; where the part before the best place holds a change nearly as strong, that one is the onset.
    """
    count = len(times)
    if count < 8:
        return None
    width = max(math.ceil(count / MAX_BUCKETS), 1)
    series = [found for values in columns.values() if (found := _levelled(values, width)) is not None]
    if not series:
        return None
    place, strength = _best(series, len(series[0]))
    late = _in_the_last_rows(columns, count, width)
    if late is not None and late[1] > strength:
        return late[0]
    if strength <= 0:
        return None
    whole = strength
    while place >= 16:
        earlier, strength = _best([values[:place] for values in series], place)
        if strength < _EARLIER * whole * place / len(series[0]):
            break
        place = earlier
    return min(place * width, count - 1)


def _in_the_last_rows(columns: Mapping[str, Sequence[float]], count: int, width: int) -> tuple[int, float] | None:
    """Return the place and strength of the strongest change in the rows of the last two points of a coarse axis."""
    if width == 1:
        return None
    begin = count - min(MAX_BUCKETS, count)
    series = [found for values in columns.values() if (found := _levelled(values[begin:], 1)) is not None]
    if not series:
        return None
    place, strength = _best(series, len(series[0]))
    place += begin
    return (place, strength) if place >= count - (_TAIL + 1) * width else None


def _best(series: Sequence[Sequence[float]], count: int) -> tuple[int, float]:
    energy = [0.0] * count
    margin, last = max(int(count * _EDGE), 2), count - _TAIL
    for values in series:
        total = math.fsum(values)
        mean = total / count
        spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / count)
        if spread <= 0:
            continue
        for place, so_far in enumerate(accumulate(values[:last]), 1):
            if place >= margin:
                found = (so_far - place * mean) / (spread * math.sqrt(place * (count - place) / count))
                energy[place] += max(found * found - 6.0, 0.0) ** 2  # 6: what independent noise reaches
    best = max(range(count), key=energy.__getitem__)
    return best, energy[best]


def _levelled(values: Sequence[float], width: int) -> list[float] | None:
    buckets: list[float] = []
    for start in range(0, len(values), width):
        known = [v for v in values[start : start + width] if v == v]
        buckets.append(fmean(known) if known else math.nan)
    order = sorted({v for v in buckets if v == v})
    if len(order) < 2:
        return None
    middle = median(v for v in buckets if v == v)
    spread = median(abs(v - middle) for v in buckets if v == v)
    scale = max(spread, (order[-1] - order[0]) / 50, 1e-12 * max(abs(order[0]), abs(order[-1])))
    return [0.0 if v != v else max(min((v - middle) / scale, 4.0), -4.0) for v in buckets]


def _distances(values: Sequence[float], first: int) -> list[float] | None:
    known = [v for v in values[:first] if v == v]
    if len(known) < 4:
        return None
    middle = median(known)
    scale = max(1.4826 * median(abs(v - middle) for v in known), 0.01 * abs(middle))
    if scale <= 0:
        scale = max((abs(v - middle) for v in values if v == v), default=0.0) / _CAP or 1.0
    return [0.0 if v != v else min(abs(v - middle) / scale, _CAP) for v in values]
