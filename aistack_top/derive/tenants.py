"""Whose calls they are: which tenants are named.

Tenants can be a handful of teams or a crowd of end users. `MAX_TENANTS` of them are named at a time, the others are
one. A name is kept while its tenant calls at all, so that a crowd does not cost a new set of series every minute; a
tenant that takes much of the service gets a name at once.
"""

from collections import Counter
from collections.abc import Iterable

from aistack_top.model.tick import Call

MAX_TENANTS = 20
OTHER = "other"
"""All tenants without a name of their own."""

NO_TENANT = "none"
"""Calls that name no tenant."""

AGGREGATES = (NO_TENANT, OTHER)
"""Lines that are nobody's in particular, and stand last."""

GONE_S = 600.0
"""A tenant without a call for this long gives its name away."""

MIN_SHARE = 0.05
"""A tenant with this share of all calls takes the name of one that has less than half as many."""

MAX_MOMENTS = 720
"""Moments whose names are remembered, for calls that come late: an hour of the grid."""

Names = frozenset[str]


class TopTenants:
    """The tenants that are named, moment by moment; moments come in order, and can be asked for again."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._at: dict[float, Names] = {}
        self._newest: Names = frozenset()

    def update(self, moment: float, calls: Iterable[Call]) -> Names:
        """Return who is named at a moment, by the calls of the minutes before it."""
        return self.count(moment, Counter(call.tenant for call in calls))

    def count(self, moment: float, counts: Counter[str]) -> Names:
        """Return who is named at a moment, by how many calls each has of the minutes before it; uses them up."""
        many = counts.total() * MIN_SHARE
        del counts[""]
        if self._at and moment <= next(reversed(self._at)):
            return self._again(moment, counts)
        self._last |= {name: moment for name in counts if name in self._last}
        for gone in [name for name, last in self._last.items() if last < moment - GONE_S]:
            del self._last[gone]
        for name, count in sorted(counts.items(), key=lambda row: (-row[1], row[0])):
            if name in self._last:
                continue
            if len(self._last) >= MAX_TENANTS:
                weakest = min(self._last, key=lambda one: (counts[one], one))
                if count < many or counts[weakest] * 2 >= count:
                    break
                del self._last[weakest]
            self._last[name] = moment
        if self._last.keys() != self._newest:
            self._newest = frozenset(self._last)
        self._at[moment] = self._newest
        if len(self._at) > MAX_MOMENTS:
            del self._at[next(iter(self._at))]
        return self._newest

    def _again(self, moment: float, counts: Counter[str]) -> Names:
        """Return who is named at a moment that is done again: whoever was, and late comers while there is room."""
        known = self.names_at(moment)
        late = [name for name, _ in counts.most_common() if name not in known]
        if late and len(known) < MAX_TENANTS:
            known |= frozenset(late[: MAX_TENANTS - len(known)])
            if moment in self._at:
                self._at[moment] = known
        return known

    def names_at(self, moment: float) -> Names:
        """Return who was named at a moment; who is named now, if that is not known any more."""
        return self._at.get(moment, self._newest)

    def clear(self) -> None:
        """Forget everybody."""
        self._last.clear()
        self._at.clear()
        self._newest = frozenset()


def shown_as(tenant: str, named: Names) -> str:
    """Return under which name a tenant's calls are counted."""
    return NO_TENANT if not tenant else tenant if tenant in named else OTHER
