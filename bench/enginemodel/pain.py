"""What people felt, from the model's own record of requests: the truth against which detection is measured.

Requests are put by when they arrived into windows of 30 s, every 10 s. A fault hurts where the typical (median) time to
the first token, time to the end, an engine's own time to the first token, or its time between tokens stands at twice
its usual for two minutes, or a fifth of all requests fails for two minutes. Usual is the median of the windows before.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from enginemodel.world import Felt

WINDOW_S, STEP_S = 30.0, 10.0
TWICE, HALF_MORE = 2.0, 1.5
LASTING_S = 120.0
FAILING = 0.2
FEWEST = 5
WARM_UP_S = 300.0


@dataclass(frozen=True, slots=True)
class Pain:
    """What hurt most: which curve, how many times its usual at worst, how long, and since when."""

    what: str
    ratio: float
    seconds: float
    onset: float


Curve = list[tuple[float, float]]


def curve(rows: Sequence[tuple[float, float]], start: float, end: float) -> Curve:
    """Return medians of values by window, at the windows' middles; windows with few values are left out."""
    found: Curve = []
    ordered = sorted(rows)
    low = high = 0
    at = start
    while at + WINDOW_S <= end:
        while low < len(ordered) and ordered[low][0] < at:
            low += 1
        high = max(high, low)
        while high < len(ordered) and ordered[high][0] < at + WINDOW_S:
            high += 1
        if high - low >= FEWEST:
            found.append((at + WINDOW_S / 2, median(value for _, value in ordered[low:high])))
        at += STEP_S
    return found


def curves(felt: Iterable[Felt], engines: int) -> dict[str, list[tuple[float, float]]]:
    """Return the rows of each curve."""
    rows: dict[str, list[tuple[float, float]]] = {"ttft": [], "latency": [], "failed": []}
    for one in felt:
        rows["ttft"].append((one.arrived, one.ttft))
        rows["latency"].append((one.arrived, one.latency))
        rows["failed"].append((one.arrived, float(one.failed)))
        if 0 <= one.engine < engines:
            rows.setdefault(f"ttft of {one.engine}", []).append((one.arrived, one.engine_ttft))
            if not math.isnan(one.itl):
                rows.setdefault(f"itl of {one.engine}", []).append((one.arrived, one.itl))
    return rows


def spells(found: Curve, hurts: Callable[[float], bool]) -> list[tuple[float, float]]:
    """Return begin and end of each stretch in which a curve hurts; a gap of more than a minute ends one."""
    out: list[tuple[float, float]] = []
    begin = last = None
    for at, value in found:
        if not hurts(value):
            begin = None
        elif begin is None or last is None or at - last > 60.0:
            begin = at
            out.append((at, at))
        else:
            out[-1] = (begin, at)
        last = at
    return out


def _failing(rows: Sequence[tuple[float, float]], start: float, end: float) -> Curve:
    found: Curve = []
    at = start
    while at + WINDOW_S <= end:
        inside = [value for when, value in rows if at <= when < at + WINDOW_S]
        if len(inside) >= FEWEST:
            found.append((at + WINDOW_S / 2, sum(inside) / len(inside)))
        at += STEP_S
    return found


def pains(felt: Sequence[Felt], engines: int, onset: float, end: float) -> list[Pain]:
    """Return all that hurt since an onset; usual is what was before it."""
    found: list[Pain] = []
    for name, rows in curves(felt, engines).items():
        if name == "failed":
            line, usual = _failing(rows, WARM_UP_S, end), 1.0
            twice, half_more = FAILING, FAILING / 2
        else:
            line = curve(rows, WARM_UP_S, end)
            before = [value for at, value in line if at + WINDOW_S / 2 <= onset]
            if len(before) < 6:
                continue
            usual = median(before)
            twice, half_more = TWICE * usual, HALF_MORE * usual
        after = [(at, value) for at, value in line if at + WINDOW_S / 2 > onset]
        found += _lasting(name, after, usual, twice, half_more)
    return found


def unprovoked(felt: Sequence[Felt], engines: int, end: float) -> list[Pain]:
    """Return what hurt without a fault: bursts beyond what the engines can do. Usual is the median of all of it."""
    found: list[Pain] = []
    for name, rows in curves(felt, engines).items():
        if name == "failed":
            found += _lasting(name, _failing(rows, WARM_UP_S, end), 1.0, FAILING, FAILING / 2)
        elif line := curve(rows, WARM_UP_S, end):
            usual = median(value for _, value in line)
            found += _lasting(name, line, usual, TWICE * usual, HALF_MORE * usual)
    return found


def _lasting(name: str, after: Curve, usual: float, twice: float, half_more: float) -> Iterable[Pain]:
    mild = spells(after, lambda value: value >= half_more)
    for begin, stop in spells(after, lambda value: value >= twice):
        if stop - begin + STEP_S < LASTING_S:
            continue
        worst = max(value for at, value in after if begin <= at <= stop)
        onset = min([since for since, until in mild if since <= begin <= until], default=begin)
        # a window tells of half of its length before its middle
        yield Pain(name, worst / usual, stop - begin + STEP_S, onset - WINDOW_S / 2)


def worst(felt: Sequence[Felt], engines: int, onset: float, end: float) -> Pain | None:
    """Return the worst of what hurt, with the onset of the first; None where nothing did."""
    found = pains(felt, engines, onset, end)
    if not found:
        return None
    most = max(found, key=lambda one: one.ratio)
    return Pain(most.what, most.ratio, most.seconds, max(min(one.onset for one in found), onset))
