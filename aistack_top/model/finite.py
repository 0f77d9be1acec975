"""Which numbers can be kept and shown: finite ones that fit the timeline's 32-bit floats and stand for themselves.

Sources write infinity as a word, as the largest double (MLflow on a SQL store), or as the largest integer (cgroup
limits, DCGM's blank values). None of these is a quantity. A larger double than `MAX_FLOAT32` becomes infinite in the
timeline.
"""

from typing import Final

MAX_FLOAT32: Final = 3.4028234663852886e38
"""The largest finite 32-bit float."""

PLAIN_LIMIT: Final = 9.2233e18
"""Below this size a finite number needs no further look: the smallest stand-in for infinity is above it."""

_STAND_INS: Final = ((9.2233e18, 9.2234e18), (1.84467e19, 1.84468e19))
"""Around 2**63 - 1 and 2**64 - 1, with what page rounding (cgroup v1) and 32-bit floats make of them."""


def usable(value: float) -> bool:
    """Whether a number can be kept: finite, within a 32-bit float, and no stand-in for infinity or "not set"."""
    if -PLAIN_LIMIT < value < PLAIN_LIMIT:
        return True
    size = abs(value)
    return size <= MAX_FLOAT32 and not any(low <= size <= high for low, high in _STAND_INS)


def fits(value: float) -> bool:
    """Whether a number is finite and stays finite as a 32-bit float."""
    return -MAX_FLOAT32 <= value <= MAX_FLOAT32
