"""What happens next: the queue of events every part of the model puts its appointments in."""

import heapq
from collections.abc import Callable


class EventQueue:
    """Events in the order of their time and then of their entry, so that a run never depends on anything else."""

    __slots__ = ("_entries", "_order", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._order = 0
        self._entries: list[tuple[float, int, Callable[[float], None]]] = []

    def at(self, moment: float, action: Callable[[float], None]) -> None:
        """Call ``action`` with the time when ``moment`` has come; a past moment is now."""
        self._order += 1
        heapq.heappush(self._entries, (moment if moment > self.now else self.now, self._order, action))

    def advance(self, until: float) -> None:
        """Let everything happen that is due up to and including ``until``; time never goes back."""
        entries, pop = self._entries, heapq.heappop
        while entries and entries[0][0] <= until:
            self.now, _, action = pop(entries)
            action(self.now)
        self.now = max(self.now, until)
