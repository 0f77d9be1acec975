"""Every incident known, as each was known at a moment: a replay shows the verdict of then, not the final one."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from aistack_top.model.incident import Incident

MAX_INCIDENTS = 500
MAX_VERSIONS = 200


class IncidentStore:
    """Takes versions of incidents, gives those of a moment."""

    def __init__(self) -> None:
        self._versions: dict[str, list[Incident]] = {}

    def add(self, incidents: Iterable[Incident]) -> None:
        """Take versions; one that is known already is taken once, and of too many the oldest are forgotten."""
        for incident in incidents:
            versions = self._versions.setdefault(incident.id, [])
            place = bisect_right(versions, incident.revised, key=_revised)
            if place and versions[place - 1].revised == incident.revised:
                versions[place - 1] = incident
                continue
            versions.insert(place, incident)
            if len(versions) > MAX_VERSIONS:
                del versions[1]  # the first says when it was noticed, the last how it ended
        while len(self._versions) > MAX_INCIDENTS:
            del self._versions[next(iter(self._versions))]

    def at(self, moment: float | None = None) -> tuple[Incident, ...]:
        """Return the incidents, open and ended, as they were known at a time (now for None), by their onset."""
        found = []
        for versions in self._versions.values():
            place = len(versions) if moment is None else bisect_right(versions, moment, key=_revised)
            if place:
                found.append(versions[place - 1])
        return tuple(sorted(found, key=lambda incident: (incident.onset, incident.id)))

    def latest(self) -> list[tuple[float, Incident]]:
        """Return when each incident was told as it is known now, the earliest first, with its newest version."""
        found = ((incident_at(versions), versions[-1]) for versions in self._versions.values())
        return sorted(found, key=lambda one: (one[0], one[1].id))

    def versions(self, until: float) -> list[Incident]:
        """Return every version that was known at a time, in the order in which they became known."""
        known = [one for versions in self._versions.values() for one in versions if one.revised <= until]
        return sorted(known, key=_revised)

    def get(self, name: str) -> Incident | None:
        """Return the newest version of an incident."""
        versions = self._versions.get(name)
        return versions[-1] if versions else None

    def clear(self) -> None:
        """Forget all."""
        self._versions.clear()


def incident_at(versions: Sequence[Incident]) -> float:
    """Return when an incident's cause was first told that its newest version has: the moment worth going to."""
    return next(one.revised for one in versions if one.cause is versions[-1].cause)


def incident_times(incidents: Iterable[Incident]) -> list[float]:
    """Return `incident_at` of each incident among versions, the earliest first."""
    of: dict[str, list[Incident]] = {}
    for one in incidents:
        of.setdefault(one.id, []).append(one)
    return sorted(incident_at(versions) for versions in of.values())


def _revised(incident: Incident) -> float:
    return incident.revised
