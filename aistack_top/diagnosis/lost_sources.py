"""Sources that fell silent: an incident of their own, since what they told is no longer known."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.incident import Incident, Symptom, Verdict
from aistack_top.model.signals import LAYERS
from aistack_top.model.tick import Health
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

LOST_S = 60.0
FINE = ("ok", "slow", "partial")
LOST = ("stale", "down", "unauthorized", "misconfigured")


@dataclass(slots=True)
class _Silence:
    since: float
    told: Incident | None = None


class LostSources:
    """Follows the health of sources. One that worked and is gone for a minute is told, engines excepted.

    An engine that does not answer is trouble of the service, and told by its symptoms.
    """

    def __init__(self) -> None:
        self._worked: set[str] = set()
        self._silent: dict[str, _Silence] = {}

    def advance(self, state: State, at: float, seen: float, quiet: bool) -> list[Incident]:
        """Return versions that are new; nothing new is opened while other incidents are open (not ``quiet``)."""
        found = []
        for _, health in state.health.at():
            if health.layer == "serving" or health.layer not in LAYERS:
                continue
            if health.status in FINE:
                self._worked.add(health.source)
                silence = self._silent.pop(health.source, None)
                if silence is not None and silence.told is not None:
                    found.append(replace(silence.told, end=at, revised=seen))
                continue
            if health.source not in self._worked or health.status not in LOST:
                continue
            silence = self._silent.setdefault(health.source, _Silence(at))
            if silence.told is None and quiet and at - silence.since >= LOST_S:
                silence.told = _incident(health, silence.since, at, seen)
                found.append(silence.told)
        return found


def _incident(health: Health, since: float, at: float, seen: float) -> Incident:
    about = Entity.of(source=health.source)
    when = datetime.fromtimestamp(at, UTC)
    reason = sanitize(health.reason, 200) or health.status
    verdict = Verdict(
        f"{sanitize(health.source)} does not answer: {health.status}.",
        f"confirmed: {reason}",
        support=(f"{sanitize(health.source)}: {reason}",),
        blind=(f"no data from {sanitize(health.source)} since then",),
        next_step=f"aistack-top doctor shows how to fix {sanitize(health.source)}",
    )
    return Incident(
        id=sanitize(f"i-{when:%Y%m%dT%H%M%S}-{health.source}", 80),
        revised=seen,
        onset=since,
        detected=at,
        end=None,
        symptom=Symptom("source.up", about, 1.0, 0.0, None),
        confidence="confirmed",
        layer=health.layer,
        cause=Cause.SOURCE_LOST,
        verdict=verdict,
        blind_spots=verdict.blind,
        place=about,
    )
