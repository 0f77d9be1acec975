"""Readings of some blocks as dense columns on one grid, without a loop over the readings."""

import io
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from aistack_top.model.finite import MAX_FLOAT32
from aistack_top.model.tick import SeriesKey
from aistack_top.session.blocks import BlockData
from aistack_top.state import priority

if TYPE_CHECKING:
    import polars as pl

STEP_S = 1.0
MAX_SERIES = 20_000
"""More series than this are not laid out: each column of an hour takes 14 kB."""

FILLS_AFTER_MS = 15_000
"""A source of lower standing fills in where the primary has been silent for so long (three of its slowest usual
intervals; `aistack_top.state` asks the interval itself)."""

_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class BatchRange:
    """The batches ``low`` to ``high`` (excluded; places in `BlockData`) of a block."""

    data: BlockData
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Grid:
    """``slots`` slots of one second, the first of them number ``first`` since the epoch."""

    first: int
    slots: int


@dataclass(frozen=True, slots=True)
class DenseColumns:
    """Columns and marks as `aistack_top.model.tick.History` wants them."""

    columns: dict[SeriesKey, "array[float]"]
    marks: dict[SeriesKey, "array[int]"]


def dense_columns(parts: Sequence[BatchRange], grid: Grid) -> DenseColumns:
    """Return the readings of parts on a grid; in each slot the one that arrived last stands, as it did live."""
    import polars as pl

    keys: dict[SeriesKey, int] = {}
    owners: dict[int, str] = {}
    shared: set[int] = set()
    frames = [_numbered(part, grid, keys, owners, shared) for part in parts if part.data.readings is not None]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return DenseColumns({}, {})
    rows = pl.concat(frames)
    if shared:
        rows = _primary_first(rows, list(shared))
    names = list(keys)
    present = set(rows["place"].unique().to_list())
    columns = _laid(rows, "value", len(names), grid.slots)
    marked = rows.filter(pl.col("mark").is_not_null())["place"].unique().to_list()
    return DenseColumns(
        {name: columns[place] for place, name in enumerate(names) if place in present},
        {names[place]: _marks(rows, place, grid.slots) for place in marked},
    )


def _numbered(
    part: BatchRange, grid: Grid, keys: dict[SeriesKey, int], owners: dict[int, str], shared: set[int]
) -> "pl.DataFrame":
    """Return the readings of a part inside the grid, with the place of their column and the rank of their source."""
    import polars as pl

    data = part.data
    ids, places, ranks = array("i"), array("i"), array("i")
    for number, series in data.series.items():
        kind = data.kinds.get(series.source, "")
        place = keys.get(series.key)
        if place is None:
            if len(keys) >= MAX_SERIES:
                continue
            place = keys[series.key] = len(keys)
            owners[place] = series.source
        elif owners[place] != series.source:
            shared.add(place)
        ids.append(number)
        places.append(place)
        ranks.append(priority(kind))
    whose = pl.DataFrame(
        {"series": list(ids), "place": list(places), "rank": list(ranks)},
        schema={"series": pl.Int32, "place": pl.Int32, "rank": pl.Int32},
    )
    low, high = _batch_range(part)
    second = pl.col("at").dt.epoch("ms") // 1000 - grid.first
    assert data.readings is not None  # noqa: S101 - the caller asked
    return (
        data.readings.lazy()
        .filter(pl.col("batch").is_between(low, high), second.is_between(0, grid.slots - 1))
        .filter(pl.col("value").is_between(-MAX_FLOAT32, MAX_FLOAT32))
        .with_columns(slot=second)
        .join(whose.lazy(), on="series", how="inner", maintain_order="left")
        .select("place", "slot", "value", "mark", "rank", "at")
        .collect()
    )


def _batch_range(part: BatchRange) -> tuple[int, int]:
    if part.low >= part.high:
        return 0, -1
    return part.data.number(part.low), part.data.number(part.high - 1)


def _primary_first(rows: "pl.DataFrame", shared: Sequence[int]) -> "pl.DataFrame":
    """Of columns with several sources, keep the primary's readings and those that fill its gaps."""
    import polars as pl

    mine = pl.col("place").is_in(list(shared))
    both = rows.filter(mine)
    best = both.filter(pl.col("rank") == pl.col("rank").min().over("place")).sort("at")
    rest = both.filter(pl.col("rank") > pl.col("rank").min().over("place")).sort("at")
    covered = rest.join_asof(
        best.select("place", "at", primary_at="at"),
        on="at",
        by="place",
        strategy="backward",
        tolerance=f"{FILLS_AFTER_MS}ms",
    )
    fills = covered.filter(pl.col("primary_at").is_null()).select(rows.columns)
    return pl.concat([rows.filter(~mine), fills, best])


def _laid(rows: "pl.DataFrame", column: str, width: int, slots: int) -> "list[array[float]]":
    import polars as pl

    size = -(-width * slots // 16) * 16
    cells = pl.repeat(nan, size, dtype=pl.Float32, eager=True).alias("cells")
    places = rows.select(pl.col("place").cast(pl.Int64) * slots + pl.col("slot")).to_series()
    cells = cells.scatter(places, rows[column])
    flat = floats(cells)
    return [flat[place * slots : (place + 1) * slots] for place in range(width)]


def _marks(rows: "pl.DataFrame", place: int, slots: int) -> "array[int]":
    import polars as pl

    marks = array("b", [0]) * slots
    for slot, mark in rows.filter(pl.col("place") == place).select("slot", "mark").iter_rows():
        marks[slot] = 0 if mark is None else (-1 if mark < 0 else 1)
    return marks


def floats(cells: "pl.Series") -> "array[float]":
    """Return a Float32 series without nulls, a multiple of 16 long, as an array.

    Without NumPy and PyArrow the one public way to the bytes of a column is an Arrow IPC stream. A single record
    batch of one such column ends with its values (a multiple of 64 bytes, so without padding) and the eight bytes
    that end a stream (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format); this takes 7 ms
    for 900,000 values, `Series.to_list` 130.
    """
    flat = array("f")
    for start in range(0, len(cells), _PIECE):
        piece = cells.slice(start, _PIECE).rechunk()
        buffer = io.BytesIO()
        piece.to_frame().write_ipc_stream(buffer, compression="uncompressed")
        data = buffer.getvalue()
        if data[-8:] != b"\xff\xff\xff\xff\x00\x00\x00\x00":
            flat.extend(piece.to_list())
        else:
            flat.frombytes(data[-8 - 4 * len(piece) : -8])
    return flat
