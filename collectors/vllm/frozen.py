"""Telling a frozen engine, which every metric calls healthy.

Observed on a real vLLM 0.32 whose engine process was stopped: ``/health`` and ``/metrics`` went on answering 200
with nothing running, nothing waiting and flat counters for as long as it lasted; only ``/load``, the requests
that the API server holds, rose. So the watch compares what the API server holds with what the engine does.
"""

from collections.abc import Hashable
from dataclasses import dataclass

RISING_S = 3.0
"""How long requests must pile up in front of an engine that does nothing."""

STEADY_S = 10.0
"""The same for a load that does not rise: one request may take seconds to be tokenised or to fetch its images."""

STALLED_S = 10.0
"""How long an engine with requests in its batch may go without one step while the load rises."""

MAX_GAP_S = 10.0
"""Between two looks further apart, quiet is no proof: the engine may have worked and gone idle."""


@dataclass(frozen=True, slots=True)
class EngineLook:
    """One look at a server.

    ``held`` is what the API server says it holds, ``inside`` what is running or waiting in the engine, ``running``
    its batch; ``work`` stands for the counters that any step of the engine moves.
    """

    at: float
    held: float
    inside: float
    running: float
    work: Hashable


class FreezeDetector:
    """Looks at a server again and again; ``since`` is when the engine stopped, or None while it works."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._last: EngineLook | None = None
        self._start: EngineLook | None = None

    def observe(self, look: EngineLook) -> bool:
        """Take a look and return whether the engine is frozen."""
        last, self._last = self._last, look
        if last is None or look.at - last.at > MAX_GAP_S or not _idle(last, look, self.since is not None):
            self._start = self.since = None
        elif self._start is None or (look.inside > 0) != (self._start.inside > 0):
            quiet_before = last.held > 0 and (last.inside > 0) == (look.inside > 0)
            self._start, self.since = last if quiet_before else look, None
        elif self.since is None and self._long_enough(self._start, look):
            self.since = self._start.at
        return self.since is not None

    def reset(self) -> None:
        """Forget everything, as when the server died."""
        self.since = self._last = self._start = None

    @staticmethod
    def _long_enough(start: EngineLook, look: EngineLook) -> bool:
        lasted, rose = look.at - start.at, look.held > start.held
        if look.inside > 0:
            return rose and lasted >= STALLED_S
        return lasted >= (RISING_S if rose else STEADY_S)


def _idle(last: EngineLook, look: EngineLook, frozen: bool) -> bool:
    """Whether the engine owed work and did none between two looks.

    A load that falls may be an answer under way, unless the engine is known to be frozen: then clients give up.
    """
    owed = look.held > 0 and (frozen or look.held >= last.held)
    return owed and look.work == last.work and (look.inside == 0 or look.running > 0)
