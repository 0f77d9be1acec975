"""What a session knew at a moment: the history that a seek, or a fast replay, hands over in one piece."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aistack_top.model.incident import Incident
from aistack_top.model.tick import Batch, Health, History, Mark
from aistack_top.session.blocks import BlockBase, BlockData, incidents_of, load, marks_of
from aistack_top.session.columns import STEP_S, BatchRange, DenseColumns, Grid, dense_columns
from aistack_top.session.reader import Block, Session
from aistack_top.store.incidents import incident_times

SPAN_S = 900.0
CHANGES_S = 86_400.0
"""Events and changed facts are told for a day back: the list of changes shows 24 hours."""

_AHEAD_S = 3
"""Slots after the moment: a source whose clock is ahead brings readings of the next seconds."""

MAX_NEAR = 5
"""Blocks kept in memory: the span of a seek, and the one being played."""

MAX_SLOTS = 3_600
"""Readings of a fast replay that come later than this after their time find no place on the timeline either."""

_FAR_TABLES = ("batches", "events", "facts", "links")


@dataclass(frozen=True, slots=True)
class TickPosition:
    """Between two ticks: the next one is number ``tick`` or later of block ``block``. ``at`` is the time there."""

    block: int
    tick: int
    at: float


class SessionHistory:
    """Reads histories of a session; keeps what it found about blocks that no longer change."""

    def __init__(self, session: Session, span_s: float = SPAN_S, changes_s: float = CHANGES_S) -> None:
        self._session, self._span_s, self._changes_s = session, span_s, changes_s
        self._far: dict[int, tuple[Batch, ...]] = {}
        self._near: dict[Block, BlockData] = {}

    def read(self, block: Block) -> BlockData:
        """Return a block, from memory if it was one of the last few: who steps back and forth stays among them.

        Raises:
            FileNotFoundError: it was compacted or removed meanwhile.

        """
        data = self._near.pop(block, None) or load(self._session, block)
        self._near[block] = data
        while len(self._near) > MAX_NEAR:
            del self._near[next(iter(self._near))]
        return data

    def find(self, at: float) -> tuple[TickPosition, BlockData | None]:
        """Return the place after all ticks that were seen at a time or before, and its block's data."""
        blocks = self._session.blocks
        within = [block for block in blocks if block.first <= at]
        if not blocks or at < blocks[0].first:
            return TickPosition(blocks[0].number, 0, at) if blocks else TickPosition(0, 0, at), self._first_block()
        block = within[-1]
        data = self.read(block)
        later = (tick.number for tick in data.ticks if tick.seen > at)
        end = data.ticks[-1].number + 1 if data.ticks else 0
        return TickPosition(block.number, next(later, end), at), data

    def marks(self, at: float) -> tuple[Mark, ...]:
        """Return the marks of the last day that were set by a time."""
        blocks = [block for block in self._session.blocks if block.first <= at and block.last >= at - self._changes_s]
        found = [mark for block in blocks for mark in marks_of(self._session, block)]
        return tuple(mark for mark in found if mark.seen <= at)

    def _first_block(self) -> BlockData | None:
        blocks = self._session.blocks
        return self.read(blocks[0]) if blocks else None

    def before(self, place: TickPosition, present: BlockData | None) -> History:
        """Return the history before a place: readings of the span, events and changes of the last day."""
        blocks = [block for block in self._session.blocks if block.number < place.block]
        start = place.at - self._span_s
        near = [block for block in blocks if block.last >= start]
        far = [block for block in blocks if start > block.last >= place.at - self._changes_s]
        parts = [BatchRange(data, 0, len(data)) for data in map(self.read, near)]
        if present is not None:
            parts.append(BatchRange(present, 0, _batches_before(present, place.tick)))
        first = int(start // STEP_S)
        grid = Grid(first, int(place.at // STEP_S) + 1 + _AHEAD_S - first)
        base = parts[0].data.base if parts else BlockBase()
        stood = {health.source: health for _, _, health in base.health}
        batches = (*self._changes(far, stood), *base.batches(), *news(parts, stood))
        found = dense_columns(parts, grid)
        return _history(found, grid, batches)

    def incidents(self, at: float) -> tuple[Incident, ...]:
        """Return the versions of incidents of the last day that were known at a time, in their order."""
        found: list[Incident] = []
        for block in self._session.blocks:
            if block.first <= at and block.last >= at - self._changes_s and block.rows("incidents"):
                found += incidents_of(self._session.tables(block, ("incidents",)).get("incidents"))
        return tuple(incident for incident in found if incident.revised <= at)

    def incident_times(self) -> list[float]:
        """Return when the cause of each incident of the session was told, the earliest first."""
        found: list[Incident] = []
        for block in self._session.blocks:
            if block.rows("incidents"):
                found += incidents_of(self._session.tables(block, ("incidents",)).get("incidents"))
        return incident_times(found)

    def between(self, data: BlockData, low: int, high: int) -> History:
        """Return the batches of a block from place ``low`` to ``high`` (excluded) as a history."""
        part = BatchRange(data, low, high)
        times = [data.at(place) for place in range(low, high)] or [0.0]
        end = int(max(times) // STEP_S) + 1
        slots = min(end - int(min(times) // STEP_S), MAX_SLOTS)
        grid = Grid(end - slots, slots)
        return _history(dense_columns([part], grid), grid, tuple(news([part], {})))

    def _changes(self, far: Sequence[Block], stood: dict[str, Health]) -> list[Batch]:
        """Return the batches of blocks before the span that have events or changed facts.

        They carry the health that stood when the span began: what it was in between is not read, and must not
        look like a change at the wrong time.
        """
        found: list[Batch] = []
        for block in far:
            if block.number not in self._far:
                self._far[block.number] = _told(self._session, block)
            found += self._far[block.number]
        return [replace(batch, health=stood.get(batch.health.source, batch.health)) for batch in found]


def news(parts: Iterable[BatchRange], stood: dict[str, Health]) -> list[Batch]:
    """Return the batches of parts that say more than readings.

    These are the ones with calls, events, facts or links, with a health that differs from the one before, the
    first of each source that asked for calls, and the last of each source. ``stood`` is each source's health before.
    """
    before: dict[str, tuple[str, str]] = {source: (health.status, health.reason) for source, health in stood.items()}
    asked: set[str] = set()
    kept: dict[int, tuple[BlockData, int]] = {}
    last: dict[str, tuple[int, BlockData, int]] = {}
    count = 0
    for part in parts:
        for place in range(part.low, part.high):
            source, state, asks, tells = part.data.glance(place)
            first = asks and source not in asked
            if first:
                asked.add(source)
            if first or tells or before.get(source) != state:
                kept[count] = (part.data, place)
            before[source] = state
            last[source] = (count, part.data, place)
            count += 1
    kept.update({number: (data, place) for number, data, place in last.values()})
    return [data.batch(place) for _, (data, place) in sorted(kept.items(), key=lambda item: item[0])]


def _told(session: Session, block: Block) -> tuple[Batch, ...]:
    if not any(block.rows(table) for table in ("events", "facts", "links")):
        return ()
    data = load(session, block, _FAR_TABLES)
    return tuple(replace(batch, calls_until=None) for batch in data.notable_batches())


def _batches_before(data: BlockData, tick: int) -> int:
    return max((row.high for row in data.ticks if row.number < tick), default=0)


def _history(found: DenseColumns, grid: Grid, batches: tuple[Batch, ...]) -> History:
    return History(grid.first * STEP_S, STEP_S, found.columns, found.marks, batches)
