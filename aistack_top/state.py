"""The one place where ticks become what a person looks at: timeline, facts, calls, health, events.

Live, replay, backfill and simulation all go through `State.take`. Nothing here asks which of them it is.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aistack_top.derive.call_signals import CallSignals
from aistack_top.derive.incident_figures import at_moment
from aistack_top.derive.tenants import TopTenants
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, Mark, Readings, Tick
from aistack_top.spend.signals import SpendSignals
from aistack_top.store.calls import CallStore
from aistack_top.store.facts import Facts
from aistack_top.store.frame import Frame
from aistack_top.store.health import HealthLog
from aistack_top.store.incidents import IncidentStore
from aistack_top.store.timeline import Timeline

MAX_EVENTS = 5_000
MAX_MARKS = 1_000

SOURCE_PRIORITY = ("nvml", "dcgm", "", "prometheus")
"""Where two kinds of source tell the same quantity of the same entity, the earlier is primary; the other fills
its gaps and is never added to it. The empty name stands for all kinds that are not named."""

DERIVED = "derived"


@dataclass(slots=True)
class _SourceOfSeries:
    source: str
    kind: str
    at: float


class State:
    """Takes ticks, gives frames. Without ``spend`` or ``tenants`` it leaves these out, and their cost."""

    def __init__(
        self,
        span_s: float = 3600.0,
        step_s: float = 1.0,
        *,
        again: bool = True,
        spend: bool = True,
        tenants: bool = True,
    ) -> None:
        self.timeline = Timeline(span_s, step_s)
        self.facts = Facts()
        self.calls = CallStore()
        self.health = HealthLog()
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self.incidents = IncidentStore()
        self.marks: list[Mark] = []
        self.notices: tuple[str, ...] = ()
        self.now = 0.0
        self._tenants, self._spends = TopTenants() if tenants else None, spend
        self._derived = CallSignals(self.calls, again, self._tenants)
        self._spend = self._begin_spend()
        self._owners: dict[tuple[str, Entity], _SourceOfSeries] = {}
        self._told: dict[tuple[float, str, Entity, str], None] = {}

    def apply(self, tick: Tick) -> None:
        """Take what was learned at one moment."""
        for _ in self.apply_in_steps(tick):
            pass

    def apply_in_steps(self, tick: Tick) -> Iterator[None]:
        """Take what was learned at one moment in steps of a few milliseconds, between which a screen may be seen to.

        The time that is seen moves on with the last step.
        """
        self.notices = tick.notices
        if tick.at <= 0:  # before any time is known
            return
        if tick.reset:
            self._clear()
        if tick.history is not None:
            self.timeline.backfill(tick.history)
            self._derived.backfill(tick.history)
            for key in tick.history.columns:
                self._owners.setdefault((key[0], key[1]), _SourceOfSeries("history", "", 0.0))
            if self._spend is not None:
                self._spend.begin(tick.history.start)
            yield from self._take_all(tick.history.batches)
        yield from self._take_all(tick.batches)
        self.incidents.add(tick.incidents)
        self.note(*tick.marks)
        self.now = max(self.now, tick.at)
        if self._spend is not None:
            for at, readings in self._spend.until(self.now):
                self.timeline.add(at, readings)

    def frame(self, cursor: float | None = None) -> Frame:
        """Return what is to be seen at a time; None is now."""
        at = self.now if cursor is None else min(cursor, self.now)
        frame = Frame(
            at=at,
            now=self.now,
            follows=cursor is None,
            health=self.health.at(cursor),
            timeline=self.timeline,
            facts=self.facts,
            book=self.calls,
            log=self.events,
            incidents=self.incidents.at(cursor),
            source_of=self.source_of,
            marks=tuple(self.marks),
        )
        return replace(frame, incidents=tuple(at_moment(one, frame) for one in frame.incidents))

    def ledger(self) -> Fact | None:
        """Return what was spent today so far, as a fact with which a later run goes on; None where it is not known."""
        ledger = self._spend.ledger() if self._spend is not None else None
        return ledger.fact() if ledger is not None else None

    def note(self, *marks: Mark) -> None:
        """Take marks, each once, by the moments they are about."""
        fresh = [mark for mark in marks if mark not in self.marks]
        if fresh:
            self.marks = sorted([*self.marks, *fresh], key=lambda mark: mark.at)[-MAX_MARKS:]

    def source_of(self, signal: str, entity: Entity) -> str:
        """Return the name of the source that tells a signal of an entity; ``derived`` for computed ones."""
        owner = self._owners.get((signal, entity))
        return owner.source if owner else DERIVED

    def _take_all(self, batches: tuple[Batch, ...]) -> Iterator[None]:
        fresh = []
        for batch in batches:
            self._take_batch(batch)
            fresh += self.calls.add(batch.calls)
        for at, readings in self._derived.update(batches, fresh):
            self.timeline.add(at, readings)
            yield
        if self._spend is not None:
            self._spend.observe(batches, fresh)

    def _take_batch(self, batch: Batch) -> None:
        health = batch.health
        changed = self.health.apply(batch.seen, health)
        if changed is not None:
            self.events.append(changed)
        refused = self.timeline.refused
        self.timeline.add(batch.at, self._primary(batch))
        if self.timeline.refused and not refused:
            text = (
                f"{health.source} tells more series than the {self.timeline.most} that are kept; new ones are not shown"
            )
            about = Entity.of(source=health.source)
            self.events.append(
                Event(batch.at, batch.seen, health.layer, "source", "warning", about, text, health.source)
            )
        self.events.extend(event for event in batch.events if self._is_news(event))
        self.events.extend(self.facts.observe(batch.facts, batch.at, batch.seen, health.layer, health.source))
        self.facts.join(batch.links)

    def _is_news(self, event: Event) -> bool:
        """Whether an event is not known yet: a source tells of its past again when it is asked by a new console."""
        key = (round(event.at, 3), event.kind, event.entity, event.text)
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > MAX_EVENTS:
            del self._told[next(iter(self._told))]
        return True

    def _primary(self, batch: Batch) -> Readings:
        """Drop the readings that a source of higher standing tells as well."""
        kind, source = batch.health.kind, batch.health.source
        rank = priority(kind)
        kept = []
        for row in batch.readings:
            owner = self._owners.get(row[:2])
            if owner is None or owner.source == source:
                kept.append(row)
            else:
                if priority(owner.kind) < rank and batch.at - owner.at < 3 * max(batch.health.interval_s, 5.0):
                    continue
                kept.append(row)
            self._owners[row[:2]] = _SourceOfSeries(source, kind, batch.at)
        if len(kept) == len(batch.readings):
            return batch.readings
        return Readings(*(tuple(column) for column in zip(*kept, strict=True))) if kept else Readings()

    def _clear(self) -> None:
        self.timeline.clear()
        self.facts.clear()
        self.calls.clear()
        self.health.clear()
        self.events.clear()
        self.incidents.clear()
        self.marks.clear()
        self._derived.clear()
        self._spend = self._begin_spend()
        self._owners.clear()
        self._told.clear()
        self.now = 0.0

    def _begin_spend(self) -> SpendSignals | None:
        if not self._spends:
            return None
        return SpendSignals(self.timeline, self.facts, self.calls, self._tenants or TopTenants())


def priority(kind: str) -> int:
    """Return the place of a kind of source in `SOURCE_PRIORITY`; the lower one is primary."""
    return SOURCE_PRIORITY.index(kind if kind in SOURCE_PRIORITY else "")
