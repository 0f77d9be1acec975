"""The last hours of a target as a Prometheus server has them, as columns that are laid under the live numbers."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from math import ceil, nan

from aistack_top.model.tick import STATS, Batch, Bound, Health, History, Quantiles, SeriesKey, Value
from aistack_top.session.threads import on_thread
from collectors.prometheus import client
from collectors.prometheus.client import Prometheus
from collectors.prometheus.pages import Times, by_target, interval
from collectors.prometheus.queries import series_of, up_of
from collectors.prometheus.reading import ScrapeResult, TargetReader
from collectors.prometheus.scraped import Target
from collectors.runtime.base import Source

BACK_S = 7_200.0
STEP_S = 30.0
"""Two hours in steps of 30 s are 240 pages a target: a second of work for eight engines, off the loop."""

GRID_S = 5.0
"""Of the columns: what the diagnosis looks at, and a multiple of what the screen does."""

CHUNK_S = 1_800.0
PROBE_S = 300.0

_MARKS = {"below": -1, "above": 1}


class DenseGrid:
    """Dense columns on one grid, filled page by page."""

    def __init__(self, start: float, step: float, slots: int) -> None:
        self._start, self._step, self._slots = start, step, slots
        self._columns: dict[SeriesKey, array[float]] = {}
        self._marks: dict[SeriesKey, array[int]] = {}

    def put(self, told: ScrapeResult) -> None:
        """Lay what a page said into the slot of its time."""
        slot = int((told.at - self._start) // self._step)
        if 0 <= slot < self._slots:
            for signal, entity, value in told.readings:
                for stat, part in _parts(value):
                    self._set((signal, entity, stat), slot, part)

    def history(self, batches: tuple[Batch, ...]) -> History:
        """Return what was laid."""
        return History(self._start, self._step, self._columns, self._marks, batches, fills=True)

    def _set(self, key: SeriesKey, slot: int, part: float | Bound) -> None:
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = array("f", [nan]) * self._slots
        column[slot] = part.limit if isinstance(part, Bound) else part
        if isinstance(part, Bound):
            marks = self._marks.setdefault(key, array("b", [0]) * self._slots)
            marks[slot] = _MARKS[part.side]


async def past_of(server: Prometheus, reader: TargetReader, source: Source, start: float, end: float) -> History | None:
    """Return a target's readings from start to end in steps of at least `STEP_S`; None where there are none.

    ``source`` is who tells them; both times are the server's. The reader has read those pages then, so that its first
    live page has rates and quantiles at once.

    Raises:
        SourceError: what went wrong, in words.

    """
    target = reader.target
    up = up_of(target.pair)
    probed = _of(target, await server.samples(up, PROBE_S))
    scrapes = [moment for row in probed for moment, _ in row.values]
    gaps = [gap for row in probed if (gap := interval(moment for moment, _ in row.values))]
    if not gaps:
        return None
    reader.pages.every_s = every_s = min(gaps)
    step = round(ceil(STEP_S / every_s) * every_s, 3)
    # steps end just behind scrapes, so that what stood then was scraped then
    last = max(scrapes) + every_s * 0.1
    at = last - (last - start) // step * step
    first = (at - reader.shift_s) // GRID_S * GRID_S
    columns = DenseGrid(first, GRID_S, int((end - reader.shift_s - first) / GRID_S) + 1)
    batches: list[Batch] = []
    while at <= last:
        until = min(at + CHUNK_S // step * step, last)
        rows = _of(target, await server.stepped(series_of(reader.table, [target.pair]), at, until, step))
        warned = bool(server.warned)
        times: defaultdict[tuple[str, ...], dict[float, float]] = defaultdict(dict)
        for row in _of(target, await server.stepped(f"timestamp({up})", at, until, step)):
            replica = tuple(row.metric.get(label, "") for label in target.replica_labels)
            times[replica].update((moment, float(text)) for moment, text in row.values)
        told = partial(_read, reader, source, rows, times, columns, whole=not warned, pace_s=step)
        batches += await on_thread(told)
        at = until + step
    return columns.history(tuple(batches))


def _of(target: Target, rows: list[client.QuerySeries]) -> list[client.QuerySeries]:
    return by_target(rows, [target])[0][target]


def _read(
    reader: TargetReader,
    source: Source,
    rows: list[client.QuerySeries],
    times: Times,
    columns: DenseGrid,
    *,
    whole: bool,
    pace_s: float,
) -> list[Batch]:
    """Lay the pages of an answer; return what is not a number: what changed, and restarts."""
    batches = []
    for told in reader.results(rows, times=times, whole=whole, pace_s=pace_s):
        columns.put(told)
        if told.events or told.facts:
            health = Health(source.name, source.kind, source.layer, "ok")
            batches.append(Batch(told.at, told.at, health, events=told.events, facts=told.facts))
    return batches


def _parts(value: Value) -> Iterable[tuple[str, float | Bound]]:
    if not isinstance(value, Quantiles):
        yield "value", value
        return
    for stat in STATS:
        part = getattr(value, stat)
        if part is not None:
            yield stat, part
