"""What the screen gets once a tick: one immutable look at everything, at one moment.

A frame can be dropped when the terminal is slow; the next one says all. It reads the timeline, it does not copy
it: the hour of 1,000 series behind a frame is 14 MB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.incident import Incident
from aistack_top.model.signals import Signal
from aistack_top.model.tick import Call, Event, Health, Mark
from aistack_top.store.calls import CallStore
from aistack_top.store.facts import Facts
from aistack_top.store.timeline import Fold, Sample, Timeline

LOOKBACK_S = 30.0
CALLS_LOOKBACK_S = 120.0
"""Traces come late and in polls of up to half a minute, so the newest number about calls is older."""

SPEND_BY_CALLS = frozenset({"spend.managed.rate", "spend.share.rate", "spend.unattributed.rate"})
"""Dollars that are derived from calls, and as late as they are."""

PARTIAL_BELOW = 0.999
"""A sum over less than this of its time is said to be partial."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number as it is shown: whose, from when, from whom, and whether it is too old to be taken for the present."""

    signal: str
    entity: Entity
    stat: str
    sample: Sample
    age_s: float
    stale: bool
    source: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything at one moment.

    ``at`` is the moment shown, ``now`` the newest moment known; ``follows`` says that the two move together.
    ``health`` holds for each source its record and when it was written. ``incidents`` are those known at this
    moment, open and ended, by their onset. ``marks`` are what people noted.
    ``timeline``, ``facts`` and ``book`` are for reading only.
    """

    at: float
    now: float
    follows: bool
    health: tuple[tuple[float, Health], ...]
    timeline: Timeline
    facts: Facts
    book: CallStore
    log: Sequence[Event]
    source_of: Callable[[str, Entity], str]
    incidents: tuple[Incident, ...] = ()
    marks: tuple[Mark, ...] = ()

    def read(self, signal: str, entity: Entity = SERVICE, stat: str = "value") -> Reading | None:
        """Return the newest number at this moment, or None when there is none that is not too old."""
        late = signal.startswith(("calls.", "guardrail.")) or signal in SPEND_BY_CALLS
        lookback = CALLS_LOOKBACK_S if late else LOOKBACK_S
        key = (signal, entity, stat)
        sample = self.timeline.sample(key, self.at, lookback)
        source = self.source_of(signal, entity)
        interval = next((h.interval_s for _, h in self.health if h.source == source), lookback / 3)
        if sample is None and interval > lookback / 3:
            # a source that is asked once a minute has told its number until it is asked again
            sample = self.timeline.sample(key, self.at, 3 * interval)
        if sample is None:
            return None
        age = max(self.at - sample.at, 0.0)
        return Reading(signal, entity, stat, sample, age, age > max(3 * interval, 3.0), source)

    def partial(self, signal: Signal, entity: Entity = SERVICE) -> bool:
        """Whether a sum leaves out a part of the time it is about, such as what was before the first sight."""
        covered = self.read(signal.covered, entity) if signal.covered else None
        return covered is not None and covered.sample.number < PARTIAL_BELOW

    def entities(self, signal: str, within: Entity | None = None) -> list[Entity]:
        """Return whom a signal is about."""
        return self.timeline.entities(signal, within)

    def readings(self, signal: str, stat: str = "value", within: Entity | None = None) -> list[Reading]:
        """Return the newest number of everybody a signal is about."""
        found = (self.read(signal, entity, stat) for entity in self.entities(signal, within))
        return [reading for reading in found if reading is not None]

    def columns(
        self, signal: str, entity: Entity, stat: str, count: int, width_s: float, fold: Fold = "max"
    ) -> list[float]:
        """Return the history up to this moment, in ``count`` columns of ``width_s`` seconds; NaN is a gap."""
        width = max(round(width_s / self.timeline.step_s), 1)
        last = self.timeline.slot(self.at) // width
        return self.timeline.columns((signal, entity, stat), last, count, width, fold)

    def events(self, start: float, end: float | None = None) -> list[Event]:
        """Return what happened from a time to this moment (or to ``end``), oldest first, and known by then."""
        until = self.at if end is None else end
        known = (e for e in self.log if start <= e.at <= until and e.seen <= self.at + 1.0)
        return sorted(known, key=lambda event: event.at)

    def calls(self, start: float, end: float | None = None) -> Sequence[Call]:
        """Return the calls that ended after a time and not after this moment (or ``end``)."""
        return self.book.between(start, self.at if end is None else end)


def finished_only(frame: Frame) -> str:
    """Return what a sum over tenants leaves out: a call tells its tenant when it ends."""
    engines = [one for one in frame.entities("serving.requests.waiting") if len(one.pairs) == 1 and one.get("engine")]
    told = [shown for entity in engines if (shown := frame.read("serving.requests.waiting", entity)) is not None]
    waiting = round(sum(shown.sample.number for shown in told))
    return f"finished calls only; {waiting} waiting not attributed" if waiting else "finished calls only"
