"""The incidents of a recording, computed anew: what this program finds in what was seen then."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.incident import Incident
from aistack_top.session.reader import Session
from aistack_top.session.replay import FAST, SessionFeed

LONG_S = 7200.0
"""A longer recording is laid in pieces of some minutes: quicker, with late calls known a little early."""

SAME_S = 120.0


async def rediagnose(session: Session, until: float) -> tuple[Incident, ...]:
    """Return the incidents found up to a time, each in its last version, by their onset.

    Raises:
        SessionError: the session cannot be read.

    """
    newest = {incident.id: incident async for incident in versions(session, until)}
    return tuple(sorted(newest.values(), key=lambda one: (one.onset, one.id)))


async def versions(session: Session, until: float) -> AsyncIterator[Incident]:
    """Yield every version of the incidents found up to a time, in the order in which they would have become known.

    Raises:
        SessionError: the session cannot be read.

    """
    speed = FAST if until - session.start <= LONG_S else 40 * FAST
    feed, watch = SessionFeed(session, VirtualClock(session.start), speed=speed), IncidentDetector()
    async with aclosing(feed):
        async for tick in feed.ticks():
            if tick.seen > until:
                break
            for incident in watch.observe(tick):
                yield incident


def differences(recorded: tuple[Incident, ...], found: tuple[Incident, ...]) -> list[str]:
    """Return a sentence for each incident that was told otherwise when it was recorded."""
    said = []
    for incident in found:
        then = next((one for one in recorded if abs(one.onset - incident.onset) <= SAME_S), None)
        if then is not None and (then.cause, then.confidence) != (incident.cause, incident.confidence):
            before = f"{then.cause.value.replace('_', ' ')} ({then.confidence})"
            now = f"{incident.cause.value.replace('_', ' ')} ({incident.confidence})"
            said.append(f"{incident.id}: when it was recorded the verdict was {before}; recomputed, it is {now}")
    lost = [then for then in recorded if not any(abs(one.onset - then.onset) <= SAME_S for one in found)]
    return [*said, *(f"{then.id}: detected when recorded, not found when recomputed" for then in lost)]
