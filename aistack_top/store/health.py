"""How every source was, over time."""

from bisect import bisect_right
from collections import deque

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, Health, Severity


class HealthLog:
    """How every source was, over time: one entry for each change of status or reason, and the newest record."""

    def __init__(self, most: int = 2_000) -> None:
        self._most = most
        self._log: dict[str, deque[tuple[float, Health]]] = {}
        self.newest: dict[str, tuple[float, Health]] = {}

    def apply(self, seen: float, health: Health) -> Event | None:
        """Take a record; return an event when the source's status changed."""
        log = self._log.setdefault(health.source, deque(maxlen=self._most))
        before = log[-1][1] if log else None
        self.newest[health.source] = (seen, health)
        if before is not None and (before.status, before.reason) == (health.status, health.reason):
            return None
        log.append((seen, health))
        if before is None or before.status == health.status:
            return None
        severity: Severity = "info" if health.status == "ok" else "warning"
        text = f"{health.source} {health.status}" + (f": {health.reason}" if health.reason else "")
        about = Entity.of(source=health.source)
        return Event(seen, seen, health.layer, "source", severity, about, text, health.source)

    def at(self, moment: float | None = None) -> tuple[tuple[float, Health], ...]:
        """Return the record of every source that stood at a time (now for None), with when it was written."""
        if moment is None:
            return tuple(self.newest.values())
        found = []
        for log in self._log.values():
            place = bisect_right([seen for seen, _ in log], moment) - 1
            if place >= 0:
                found.append(log[place])
        return tuple(found)

    def changes(self, start: float, end: float) -> list[tuple[float, Health]]:
        """Return the changes of any source's status or reason after a time and not after another, in their order."""
        found = [entry for log in self._log.values() for entry in log if start < entry[0] <= end]
        return sorted(found, key=lambda entry: entry[0])

    def clear(self) -> None:
        """Forget everything."""
        self._log.clear()
        self.newest.clear()
