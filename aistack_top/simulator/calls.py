"""The calls as a trace store gets them: late, by another clock, and not at all while it is down."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from random import Random

from aistack_top.simulator.request import Request

FLUSH_S = 5.0
"""A client sends its spans every five seconds (Langfuse SDK, flush_interval)."""

PROCESSING_MEDIAN_S = 0.5
"""From the store's queue to its table: with the flush a median of 3 s, as recorded on a real Langfuse 4.16."""


@dataclass(slots=True)
class TraceStore:
    """A trace store. A request's `Request` object holds the times of all its parts; renderers make spans of it.

    ``skew_s`` is what the clients' clock is ahead of the node's. ``kept_s`` bounds the memory: older calls go.
    ``traced`` is the share of the requests whose spans are sent (Langfuse SDK, sample_rate).
    """

    rng: Random
    kept_s: float = 900.0
    skew_s: float = 0.0
    traced: float = 1.0
    down: bool = False
    taken: int = 0
    lost: int = 0
    visible: deque[tuple[float, Request]] = field(default_factory=deque)
    _coming: list[tuple[float, int, Request]] = field(default_factory=list)

    def accept(self, request: Request, now: float) -> None:
        """Accept an ended request's spans, to be visible some seconds later."""
        if self.down:
            self.lost += 1
            return
        if self.traced < 1.0 and self.rng.random() >= self.traced:
            return
        self.taken += 1
        delay = self.rng.uniform(0.0, FLUSH_S) + PROCESSING_MEDIAN_S * self.rng.lognormvariate(0.0, 0.5)
        heapq.heappush(self._coming, (now + delay, request.number, request))

    def advance(self, now: float) -> None:
        """Make visible what has arrived by now, in the order of arrival, and drop what is too old."""
        coming, visible = self._coming, self.visible
        while coming and coming[0][0] <= now:
            at, _, request = heapq.heappop(coming)
            visible.append((at, request))
        while visible and visible[0][0] < now - self.kept_s:
            visible.popleft()

    def since(self, moment: float) -> list[tuple[float, Request]]:
        """Return (visible at, request) of all that became visible after a moment, oldest first."""
        found = []
        for entry in reversed(self.visible):
            if entry[0] <= moment:
                break
            found.append(entry)
        return found[::-1]
