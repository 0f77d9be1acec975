"""The call store: every call known, once, in the order in which they ended."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from aistack_top.model.tick import Call

MAX_CALLS = 50_000


@dataclass(slots=True)
class CallStore:
    """The calls known so far, once each, ordered by their end. ``changes`` grows with every one that is taken."""

    most: int = MAX_CALLS
    changes: int = 0
    _by_id: dict[str, Call] = field(default_factory=dict)
    _ends: list[tuple[float, str]] = field(default_factory=list)
    _calls: list[Call] = field(default_factory=list)
    """The calls in the order of `_ends`: looking ten thousand up by name takes ten times as long."""

    def add(self, calls: Iterable[Call]) -> list[Call]:
        """Add calls and return those that are new or newer than what was known (a row can be written again)."""
        fresh = []
        for call in calls:
            known = self._by_id.get(call.id)
            if known is not None:
                if call.updated <= known.updated:
                    continue
                place = bisect_left(self._ends, (known.end, known.id))
                del self._ends[place], self._calls[place]
                call = replace(call, seen=known.seen)
            self._by_id[call.id] = call
            place = bisect_left(self._ends, (call.end, call.id))
            self._ends.insert(place, (call.end, call.id))
            self._calls.insert(place, call)
            fresh.append(call)
        self.changes += len(fresh)
        over = len(self._ends) - self.most
        if over > 0:
            for _, oldest in self._ends[:over]:
                del self._by_id[oldest]
            del self._ends[:over], self._calls[:over]
        return fresh

    def between(self, start: float, end: float) -> list[Call]:
        """Return the calls that ended after start and not after end, oldest first."""
        low = bisect_right(self._ends, (start, "\U0010ffff"))
        high = bisect_right(self._ends, (end, "\U0010ffff"))
        return self._calls[low:high]

    def get(self, name: str) -> Call | None:
        """Return a call by its id."""
        return self._by_id.get(name)

    @property
    def oldest(self) -> float | None:
        """The end of the oldest call that is still known; None without any."""
        return self._ends[0][0] if self._ends else None

    def __len__(self) -> int:
        return len(self._ends)

    def clear(self) -> None:
        """Forget all calls."""
        self._by_id.clear()
        self._ends.clear()
        self._calls.clear()
        self.changes += 1
