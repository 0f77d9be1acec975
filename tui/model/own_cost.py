"""Resource use of the console itself: processor time, memory, bytes written to the terminal."""

import os
import resource
import time
from collections import deque
from typing import NamedTuple

from textual.drivers.linux_driver import LinuxDriver

WINDOW = 60
"""Measurements kept, one a second or so: costs are told of the last minute."""


class CountingDriver(LinuxDriver):
    """The terminal's driver, which also counts the bytes it writes."""

    written = 0

    def write(self, data: str) -> None:
        """Write to the terminal."""
        CountingDriver.written += len(data) if data.isascii() else len(data.encode("utf-8", "replace"))
        super().write(data)


class _Point(NamedTuple):
    at: float
    cpu_s: float
    written: int


class OwnCost:
    """Measures this process; children are not counted."""

    def __init__(self) -> None:
        self._points: deque[_Point] = deque(maxlen=WINDOW)

    def measure(self) -> None:
        """Take a measurement."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._points.append(_Point(time.monotonic(), used.ru_utime + used.ru_stime, CountingDriver.written))

    def words(self) -> list[str]:
        """Return the cost as short pieces of text, averaged over the measurements kept."""
        pieces = []
        if len(self._points) > 1:
            first, last = self._points[0], self._points[-1]
            passed = max(last.at - first.at, 1e-3)
            pieces.append(f"cpu {(last.cpu_s - first.cpu_s) / passed * 100:.1f} %")
            pieces.append(f"{(last.written - first.written) / passed * 60 / 1e6:.3f} MB/min out")
        memory = resident_bytes()
        if memory is not None:
            pieces.append(f"mem {memory / 1e6:.0f} MB")
        return pieces


def resident_bytes() -> int | None:
    """Return the memory this process holds, or None where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as handle:  # noqa: PTH123 - a path object costs more than the read
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
