"""Counters to rates, without inventing a number when a process restarts."""

from collections import deque
from dataclasses import dataclass
from typing import Final

LAST_BITS: Final = 1e-12
"""By how small a part of itself a counter may fall and still stand where it stood: fractions that several processes
have counted are added up in any order, which moves the last bits."""


def fell(before: float, now: float) -> bool:
    """Whether a counter went backwards, by more than its last bits."""
    return now < before * (1.0 - LAST_BITS)


@dataclass(frozen=True, slots=True)
class Step:
    """One counter observation, compared with the one before.

    ``rate`` is None on the first sight and on a restart; ``delta`` likewise. ``restarted`` marks the latter.
    """

    rate: float | None
    delta: float | None
    restarted: bool = False


class RateMeter:
    """The rate of one counter over a sliding window.

    The rate is the increase between the newest sample and the oldest one inside the window, per second: nothing
    is interpolated or extrapolated. A counter that went backwards restarted: what came before is forgotten, the
    interval is dropped, and the caller is told. A gap of more than three windows, 30 s and ``gap_s`` also starts anew,
    since an average over the gap would be a number about a time nobody looked at.
    """

    __slots__ = ("_gap_s", "_samples", "window_s")

    def __init__(self, window_s: float = 10.0, gap_s: float = 0.0) -> None:
        self.window_s = window_s
        self._gap_s = max(window_s * 3, 30.0, gap_s)
        self._samples: deque[tuple[float, float]] = deque()

    def observe(self, at: float, value: float, gap_s: float = 0.0) -> Step:
        """Take the counter's value at a time in seconds; times must not go backwards, or the meter starts anew.

        ``gap_s`` is for a source that is asked less often for now: only a longer time between two values is a gap.
        """
        samples = self._samples
        if samples:
            last_at, last_value = samples[-1]
            if fell(last_value, value):
                samples.clear()
                samples.append((at, value))
                return Step(None, None, restarted=True)
            value = max(value, last_value)
            if at <= last_at or at - last_at > max(self._gap_s, gap_s):
                samples.clear()
        if not samples:
            samples.append((at, value))
            return Step(None, None)
        delta = value - samples[-1][1]
        samples.append((at, value))
        while len(samples) > 2 and samples[1][0] <= at - self.window_s:
            samples.popleft()
        first_at, first_value = samples[0]
        return Step((value - first_value) / (at - first_at), delta)

    def reset(self) -> None:
        """Forget everything, as after a restart seen elsewhere."""
        self._samples.clear()
