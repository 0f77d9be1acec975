"""A session made from memory, for a feed that is not recorded: a demo, or a console without a ring.

It has what the screen shows: a number a second, in its second. Of a source's health it has the changes.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.incident import Incident
from aistack_top.model.signals import signals
from aistack_top.model.tick import (
    STATS,
    Batch,
    Bound,
    Call,
    Event,
    Fact,
    Health,
    Link,
    Mark,
    Quantiles,
    Readings,
    Tick,
    Value,
)
from aistack_top.session.disk import Disk, os_error_text
from aistack_top.session.errors import SessionError
from aistack_top.session.excerpt import mark_row
from aistack_top.session.format import BLOCK_S, INFO_FILE, SCHEMA, BlockName, SessionInfo, program, signal_table
from aistack_top.session.writer import BlockWriter, Row
from aistack_top.state import DERIVED, State
from aistack_top.store.timeline import Timeline
from aistack_top.text import incident_json as document
from aistack_top.text.sanitize import sanitize

AT_ONCE = 200
"""Series copied between two turns of the screen: 2 ms."""

POLL_S = 5.0
"""Interval of the records of how far the calls are complete, in seconds."""

_Row = tuple[str, Entity, Value]
_Said = TypeVar("_Said", Call, Event)


@dataclass(frozen=True, slots=True)
class MemoryCopy:
    """A copy of the stores for a stretch of time, for a thread to work on."""

    start: float
    end: float
    timeline: Timeline
    owners: dict[tuple[str, Entity], str]
    health: tuple[tuple[float, Health], ...]
    changes: tuple[tuple[float, Health], ...]
    facts: tuple[Fact, ...]
    links: tuple[Link, ...]
    events: tuple[Event, ...]
    calls: tuple[Call, ...]
    incidents: tuple[Incident, ...]
    marks: tuple[Mark, ...]


async def copy_from_memory(state: State, start: float, end: float) -> MemoryCopy:
    """Copy a stretch of time, a little at each turn of the loop: it is taken while the screen goes on."""
    step = state.timeline.step_s
    copy = Timeline(max(end - start, step) + 2 * step, step, max(len(state.timeline), 1))
    owners: dict[tuple[str, Entity], str] = {}
    for number, key in enumerate(list(state.timeline.keys())):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        copy.copy_from(state.timeline, key, start, end + step)
        owners[key[:2]] = state.source_of(*key[:2])
    return MemoryCopy(
        start,
        end,
        copy,
        owners,
        state.health.at(start) or state.health.at(),
        tuple(state.health.changes(start, end)),
        tuple(state.facts.all()),
        tuple(state.facts.links()),
        tuple(e for e in state.events if start <= e.seen <= end and e.kind != "source"),
        tuple(c for c in state.calls.between(start - BLOCK_S, end) if c.seen <= end),
        tuple(state.incidents.versions(end)),
        tuple(m for m in state.marks if start <= m.at <= end),
    )


def write(held: MemoryCopy, target: Path, node: str) -> None:
    """Write it as a session that replays.

    Raises:
        SessionError: the folder cannot be written, or no data in memory for that time.

    """
    ticks = _ticks(held)
    if not ticks:
        raise SessionError("nothing to keep", "no data in memory for that time")
    try:
        target.mkdir(parents=True)
        disk, writer, number, notes = Disk(target), BlockWriter(), 0, _notes(held, ticks[0].seen)
        for tick in ticks:
            if writer.block_first is not None and tick.seen >= writer.block_first + BLOCK_S:
                disk.put_block(BlockName(number), *writer.encode())
                writer.written()
                writer.begin()
                number += 1
            writer.add(tick)
            while notes and notes[-1][1] <= tick.seen:
                writer.add_row(*notes.pop())
        for note in reversed(notes):
            writer.add_row(*note)
        disk.put_block(BlockName(number), *writer.encode())
        names = tuple(sorted(writer.sources))
        info = SessionInfo(SCHEMA, node, program(), ticks[0].seen, names, signal_table(), os.getpid())
        info = msgspec.structs.replace(info, closed=True, end=ticks[-1].seen)
        disk.put_file(INFO_FILE, msgspec.json.encode(info))
    except OSError as error:
        raise SessionError("cannot write", f"{target}: {os_error_text(error)}") from error


def _notes(held: MemoryCopy, first: float) -> list[tuple[str, float, Row]]:
    """Return table, time and row of the incidents and marks, the last first: each belongs to the block of its time."""
    notes: list[tuple[str, float, Row]] = []
    for incident in held.incidents:
        revised = max(incident.revised, first)
        notes.append(("incidents", revised, (incident.id, revised, document.encode(incident))))
    for mark in held.marks:
        at, seen, kind, text, author, about = mark_row(mark, held.end)
        notes.append(("marks", seen, (at, max(seen, first), kind, sanitize(text), sanitize(author), about)))
    return sorted(notes, key=lambda note: note[1], reverse=True)


def _ticks(held: MemoryCopy) -> list[Tick]:
    """Return the data second by second; the first tick has the complete state at the start."""
    step = held.timeline.step_s
    low, high = held.timeline.slot(held.start), held.timeline.slot(held.end)
    rows = _rows(held, low, high)
    health = {record.source: record for _, record in held.health}
    changed: dict[int, list[Health]] = defaultdict(list)
    for at, record in held.changes:
        changed[held.timeline.slot(at)].append(record)
    calls, events = _by_slot(held.calls, held, low), _by_slot(held.events, held, low)
    ticks: list[Tick] = []
    for slot in range(low, high + 1):
        at = slot * step
        health.update({record.source: record for record in changed[slot]})
        batches = [_numbers(at, source, told, health) for source, told in rows[slot].items()]
        batches += _happened(at, calls[slot], events[slot], health)
        named = {batch.health.source for batch in batches}
        bare = changed[slot] if ticks else health.values()
        batches += [Batch(at, at, record) for record in bare if record.source not in named]
        if batches and not ticks:
            batches[0] = replace(batches[0], facts=held.facts, links=held.links)
        if batches:
            ticks.append(Tick(at, at, tuple(batches)))
    return ticks


def _rows(held: MemoryCopy, low: int, high: int) -> dict[int, dict[str, list[_Row]]]:
    """Return the numbers of each slot by their source; what is derived is derived again."""
    found: dict[int, dict[str, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    for (signal, entity), source in held.owners.items():
        if source == DERIVED:
            continue
        whole = _column(held.timeline, (signal, entity, "value"), low, high)
        parts = {stat: _column(held.timeline, (signal, entity, stat), low, high) for stat in STATS}
        for offset in range(high - low + 1):
            sample = whole[offset] if whole else None
            value: Value | None = None if isinstance(sample, Bound) else sample
            if value is None and parts["count"] and parts["window_s"]:
                value = _spread({stat: column[offset] for stat, column in parts.items() if column})
            if value is not None:
                found[low + offset][source].append((signal, entity, value))
    return found


def _column(timeline: Timeline, key: tuple[str, Entity, str], low: int, high: int) -> list[float | Bound | None]:
    """Return the samples of slots, None where there is none; nothing at all for a series that is none."""
    if key not in timeline:
        return []
    step = timeline.step_s
    values = timeline.window(key, low * step, (high + 1) * step)
    bounds = timeline.bounds(key, low, high + 1)
    return [bounds.get(low + place, value) if value == value else None for place, value in enumerate(values)]


def _spread(parts: Mapping[str, float | Bound | None]) -> Quantiles | None:
    count, window, mean = parts.get("count"), parts.get("window_s"), parts.get("mean")
    if not isinstance(count, float) or not isinstance(window, float) or isinstance(mean, Bound):
        return None
    return Quantiles(parts.get("p50"), parts.get("p95"), parts.get("p99"), mean, count, window)


def _numbers(at: float, source: str, rows: Sequence[_Row], health: Mapping[str, Health]) -> Batch:
    readings = Readings(*(tuple(column) for column in zip(*rows, strict=True)))
    known = health.get(source) or Health(source, source, signals()[rows[0][0]].layer, "ok")
    return Batch(at, at, known, readings)


def _happened(at: float, calls: Sequence[Call], events: Sequence[Event], health: Mapping[str, Health]) -> list[Batch]:
    found = []
    teller = next((record for record in health.values() if record.layer == "tracing"), None)
    if calls or (teller is not None and at % POLL_S == 0):
        record = teller or Health("calls", "calls", "tracing", "ok")
        found.append(Batch(at, at, record, calls=tuple(calls), calls_until=at))
    if events:
        first = events[0]
        # a batch needs a health record, and each event says itself whose it is
        known = health.get(first.source) or next(iter(health.values()), None)
        record = known or Health("events", "events", first.layer, "ok")
        found.append(Batch(at, at, record, events=tuple(events)))
    return found


def _by_slot(said: Iterable[_Said], held: MemoryCopy, low: int) -> dict[int, list[_Said]]:
    found: dict[int, list[_Said]] = defaultdict(list)
    for one in said:
        found[max(held.timeline.slot(one.seen), low)].append(one)
    return found
