"""How a series moved: before the onset against since the onset. Pure arithmetic on windows of the timeline."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import dist, exp, hypot, log, sqrt
from operator import mul

from aistack_top.model.signals import Signal
from aistack_top.model.tick import SeriesKey
from aistack_top.store.timeline import Timeline

BEFORE_S = 1800.0
LEFT_OUT_S = 60.0
"""The last minute before the onset is no baseline: what leads is already moving in it."""

LEFT_OUT_SHORT_S = 10.0
"""Where so little is known that nothing would be left, it is taken: no verdict on it says more than possible."""

LOOKED_BACK_S = 180.0
SINCE_S = 300.0
"""What happens later than this after the onset is the trouble feeding itself."""

MIN_VALUES = 6
MAX_BEFORE = 120
FULL_Z = log(20.0)


@dataclass(frozen=True, slots=True)
class Change:
    """One series before and since the onset, in the signal's unit.

    ``usual`` is its median before, None where too little is known; ``low`` and ``high`` are all it did before. Since
    the onset ``top`` is the median of the upper half of its values, ``bottom`` that of the lower half, ``middle`` of
    all. ``moved_at`` is when it had done half of its move. ``score`` is 0 to 1, in the direction that hurts.
    """

    key: SeriesKey
    usual: float | None
    low: float
    high: float
    top: float
    bottom: float
    middle: float
    score: float = 0.0
    novelty: float = 0.0
    moved_at: float | None = None
    before: int = 0
    rose: bool = True

    @property
    def now(self) -> float:
        """The value since the onset, on the side to which it moved."""
        return self.top if self.rose else self.bottom


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a series was before an onset: its median (None: too few values), extremes, and a robust scale."""

    usual: float | None
    low: float
    high: float
    scale: float
    count: int


def baseline(timeline: Timeline, key: SeriesKey, floor: float, onset: float) -> Baseline:
    """Return what a series was in the half hour before an onset. ``floor`` is the least scale, in its unit."""
    before = present(timeline.window(key, onset - LEFT_OUT_S - BEFORE_S, onset - LEFT_OUT_S))
    if len(before) < MIN_VALUES:
        before = present(timeline.window(key, onset - LEFT_OUT_S - BEFORE_S, onset - LEFT_OUT_SHORT_S))
    if len(before) < MIN_VALUES:
        return Baseline(None, 0.0, 0.0, 0.0, len(before))
    if len(before) > MAX_BEFORE:
        before = before[:: -(-len(before) // MAX_BEFORE)]
    before.sort()
    usual = median(before)
    return Baseline(usual, before[0], before[-1], _scale(before, usual, floor), len(before))


def measure(
    timeline: Timeline,
    key: SeriesKey,
    signal: Signal,
    onset: float,
    until: float,
    pasts: dict[SeriesKey, Baseline] | None = None,
) -> Change | None:
    """Return how a series moved around an onset, as known at ``until``; None where it has no value since.

    The score is that of the method: two-sided shift by a robust scale that no unit or near-constant can win with.
    ``pasts`` remembers what was before this very onset: an incident is looked at a dozen times.
    """
    end = min(until, onset + SINCE_S)
    since = present(timeline.window(key, onset - timeline.step_s, end + timeline.step_s))
    if not since:
        return None
    before = pasts.get(key) if pasts is not None else None
    if before is None:
        before = baseline(timeline, key, signal.floor, onset)
        if pasts is not None and before.usual is not None:
            pasts[key] = before
    newest = since[-1]
    since.sort()
    top, bottom, middle = median(since[len(since) // 2 :]), median(since[: (len(since) + 1) // 2]), median(since)
    if signal.kind == "flag":  # half a flag is none: what was just raised stands
        top, bottom = max(top, newest), min(bottom, newest)
    usual = before.usual
    if usual is None:
        return Change(key, None, top, bottom, top, bottom, middle, before=before.count)
    up = (top - usual) / before.scale if signal.hurts != "down" else 0.0
    down = (usual - bottom) / before.scale if signal.hurts != "up" else 0.0
    rose = up >= down
    score = min(1.0, log(1.0 + max(up, down, 0.0)) / FULL_Z)
    # sorted as they are, those outside of all that was before stand at one end
    outside = len(since) - bisect_right(since, before.high) if rose else bisect_left(since, before.low)
    novelty = outside / len(since)
    aim = (usual + top) / 2 if rose else (usual + bottom) / 2
    moved = _moved_at(timeline, key, aim, onset, end, rose) if score > 0.1 else None
    low, high = before.low, before.high
    return Change(key, usual, low, high, top, bottom, middle, score, novelty, moved, before.count, rose)


def coherence(timeline: Timeline, key: SeriesKey, symptom: SeriesKey, onset: float, until: float) -> float:
    """Return the largest correlation of a series with the symptom where the series leads by 0 to 5 steps."""
    step, start, end = timeline.step_s, onset - SINCE_S, min(until, onset + SINCE_S)
    ours = _carried(timeline.window(key, start - 5 * step, end))
    theirs = _carried(timeline.window(symptom, start, end))
    if not theirs:
        return 0.0
    return max(abs(_correlation(ours[5 - lag : 5 - lag + len(theirs)], theirs)) for lag in range(6))


def present(values: Sequence[float]) -> list[float]:
    """Return what there is of a window, without its gaps."""
    return [value for value in values if value == value]


def median(ordered: Sequence[float]) -> float:
    """Return the median of sorted values, of which there is at least one."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(ordered: Sequence[float], middle: float) -> float:
    """Return the median absolute deviation of values."""
    return median(sorted([abs(value - middle) for value in ordered]))


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return exp(sum(log(value) for value in values) / len(values))


def _scale(ordered: Sequence[float], middle: float, floor: float) -> float:
    count = len(ordered)
    mean = sum(ordered) / count
    deviation = dist(ordered, [mean] * count) / sqrt(count)
    return max(1.4826 * spread(ordered, middle), deviation / 4, 0.001 * abs(middle), floor, 1e-12)


def _moved_at(timeline: Timeline, key: SeriesKey, aim: float, onset: float, end: float, rose: bool) -> float | None:
    """Return when a series stepped over ``aim``, looking from a while before the onset; None where it never did."""
    start = timeline.slot(onset - LOOKED_BACK_S)
    sign = 1.0 if rose else -1.0
    values = timeline.window(key, onset - LOOKED_BACK_S, end + timeline.step_s)
    offset = step_at([sign * (value - aim) for value in values])
    return None if offset is None else (start + offset) * timeline.step_s


def step_at(values: Sequence[float]) -> int | None:
    """Return where a series steps above zero and stays: the start of the run with the largest sum.

    A change point between two known levels: noise that crosses for a sample or two before the step does not move it.
    A value counts for no more than the middle of all, so that one outlier is no step. NaN is a gap.
    """
    known = sorted(abs(value) for value in values if value == value)
    if not known:
        return None
    most = median(known)
    best = total = 0.0
    begins = found = None
    for place, value in enumerate(values):
        if value != value:
            continue
        if total <= 0.0:
            total, begins = 0.0, place
        total += min(max(value, -most), most)
        if total > best:
            best, found = total, begins
    return found


def _carried(values: Sequence[float]) -> list[float]:
    """Return a window with each gap filled by the value before it, for correlating only."""
    held = next((value for value in values if value == value), None)
    if held is None:
        return []
    out = []
    for value in values:
        held = value if value == value else held
        out.append(held)
    return out


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    count = min(len(a), len(b))
    if count < 3:
        return 0.0
    ma, mb = sum(a[:count]) / count, sum(b[:count]) / count
    da, db = [x - ma for x in a[:count]], [y - mb for y in b[:count]]
    scale = hypot(*da) * hypot(*db)
    return sum(map(mul, da, db)) / scale if scale > 0 else 0.0
