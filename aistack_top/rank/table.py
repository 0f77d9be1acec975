"""A table of metrics as `aistack_top.rank.rank` wants it: one time axis, one row of floats a column.

It takes what monitoring systems export: CSV (plain or gzip) and Parquet, times in seconds, milliseconds, micro- or
nanoseconds or as ISO text, rows in any order, times that come twice, columns with holes or with text.
"""

import csv
import difflib
import gzip
import math
import re
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.text.sanitize import sanitize

if TYPE_CHECKING:
    import polars as pl

TIME_NAMES = ("time", "timestamp", "datetime", "date", "ts")
MAX_CELLS = 50_000_000
"""400 MB as floats; a table that large wants a smaller window, not a larger machine."""

LAST_DATE_S = 2.5e11
"""Later moments have no date (the year 9999)."""

_UNITS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
_SPAN = re.compile(r"([+-])\s*(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHOWN_NAMES = 6

MAX_SIZE = 1e100
"""What is larger is a placeholder for "infinite", and what is smaller than its inverse is zero."""

_AXIS = "\0time"


class MetricsTableError(ValueError):
    """A table that cannot be ranked, with the reason in one sentence."""


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """Metrics on one axis: ``times`` in seconds, rising; a column has NaN where it knows nothing.

    ``left_out`` are columns without a single number; ``repeated`` those that stand in the file once more, with the
    same name and the same numbers.
    """

    times: Sequence[float]
    columns: Mapping[str, Sequence[float]]
    left_out: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def named(self, name: str) -> str:
        """Return the name of a column as the table spells it.

        Raises:
            TableError: there is none; the nearest is named.

        """
        if name in self.columns:
            return name
        near = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.0)
        hint = f"; the nearest is {sanitize(near[0])!r}" if near else ""
        raise MetricsTableError(f"there is no numeric column {sanitize(name)!r} in the table{hint}")


def read_table(path: Path) -> MetricsTable:
    """Read a table from CSV, CSV.gz or Parquet.

    Raises:
        TableError: it cannot be read, has no time, no numbers or no rows.

    """
    import polars as pl

    try:
        frame = _parquet(path) if _is_parquet(path) else _csv(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        raise MetricsTableError(f"cannot read {sanitize(str(path))} as CSV or Parquet: {sanitize(reason)}") from None
    if frame.height * max(frame.width, 1) > MAX_CELLS:
        raise MetricsTableError(
            f"{sanitize(str(path))} has more than {MAX_CELLS:,} cells; cut it to the hours of the incident"
        )
    return from_frame(frame)


def from_frame(frame: "pl.DataFrame") -> MetricsTable:
    """Return the table of a data frame.

    Raises:
        TableError: it has no time, no numbers or no rows.

    """
    import polars as pl

    name = _time_column(frame.columns)
    frame, repeated = _once(frame)
    numbers, left_out = [], []
    for column in frame.get_columns():
        if column.name == _AXIS:
            continue
        if column.name == name or re.fullmatch(rf"{re.escape(name)}(_duplicated_\d+|\.\d+| \(\d+\))", column.name):
            continue
        numeric = _numeric(column)
        if numeric is None:
            left_out.append(column.name)
        else:
            numbers.append(numeric)
    if not numbers:
        raise MetricsTableError("the table has a time column but no column of numbers")
    axis = _times(frame[name]).alias(_AXIS)
    whole = pl.DataFrame([axis, *numbers]).filter(pl.col(_AXIS).is_finite() & (pl.col(_AXIS).abs() < MAX_SIZE))
    if not whole.height:
        raise MetricsTableError(f"no row of the table has a time that can be read in column {name!r}")
    if whole[_AXIS].n_unique() < whole.height:
        whole = whole.group_by(_AXIS).agg(pl.all().mean())
    whole = whole.sort(_AXIS)
    columns: dict[str, Sequence[float]] = {
        column.name: array("d", column.fill_null(math.nan).to_list())
        for column in whole.get_columns()
        if column.name != _AXIS
    }
    return MetricsTable(array("d", whole[_AXIS].to_list()), columns, tuple(left_out), repeated)


def moment_of(text: str, times: Sequence[float]) -> float:
    """Return a typed time on the axis of a table, in its seconds.

    A number is in seconds, milliseconds, micro- or nanoseconds by its size, or seconds after the first row; ``-5m``
    counts back from the last row, ``+10m`` on from the first; else it is ISO 8601, UTC where it names no zone.

    Raises:
        TableError: it is no time, or one outside the table.

    """
    said, first, last = text.strip(), times[0], times[-1]
    span = _SPAN.fullmatch(said)
    number = _float(said)
    if span:
        length = float(span[2]) * _SECONDS[span[3]]
        found = first + length if span[1] == "+" else last - length
    elif number is not None:
        found = seconds_of(number)
        if not first <= found <= last and 0 <= number <= last - first:
            found = first + number
    else:
        found = _typed(said, first)
    if not first <= found <= last:
        raise MetricsTableError(
            f"the incident time {said} is outside the data, which goes from {_shown(first)} to {_shown(last)}"
        )
    return found


def seconds_of(number: float) -> float:
    """Return a time in seconds, its unit told by its size (1e11 s are 3,000 years)."""
    return next((number * factor for least, factor in _UNITS if abs(number) >= least), number)


def _typed(said: str, first: float) -> float:
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", said):
            hours, minutes, *rest = (int(part) for part in said.split(":"))
            day = datetime.fromtimestamp(first, UTC)
            return day.replace(hour=hours, minute=minutes, second=rest[0] if rest else 0, microsecond=0).timestamp()
        found = datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        message = f"{sanitize(said)!r} is not a time; write 1700000000, 2026-11-23T14:02:10Z, -5m or none"
        raise MetricsTableError(message) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _shown(moment: float) -> str:
    if not 1e8 <= moment < LAST_DATE_S:
        return f"{moment:g} s"
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _csv(path: Path) -> "pl.DataFrame":
    import polars as pl

    frame = pl.read_csv(path, infer_schema_length=None)
    names = _header(path)
    if len(names) != frame.width:
        return frame
    # polars keeps the doubled quotes of names, and gives a name that comes twice another one
    whose: dict[str, str] = {}
    seen: set[str] = set()
    for told, name in zip(frame.columns, names, strict=True):
        known = told.replace('""', '"').strip('"')
        if known != name and not re.fullmatch(re.escape(name) + r"_duplicated_\d+", known):
            return frame
        unique, number = name, 1
        while unique in seen:
            number += 1
            unique = f"{name} ({number})"
        seen.add(unique)
        whose[told] = unique
    return frame.rename(whose)


def _header(path: Path) -> list[str]:
    """Return the names in the first line of a CSV file; none where they cannot be read."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    open_as_text = gzip.open if packed else open
    try:
        with open_as_text(path, "rt", encoding="utf-8-sig", newline="") as text:
            return next(csv.reader(text), [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error):
        return []


def _once(frame: "pl.DataFrame") -> tuple["pl.DataFrame", tuple[str, ...]]:
    """Return a table without the columns that stand in it once more with the same name and numbers, and their names."""
    repeated = []
    for name in frame.columns:
        found = re.fullmatch(r"(.+?)(?: \(\d+\)|_duplicated_\d+|\.\d+)", name)
        if found and found[1] in frame.columns and frame[name].equals(frame[found[1]], null_equal=True):
            repeated.append(name)
    return frame.drop(repeated), tuple(repeated)


def _parquet(path: Path) -> "pl.DataFrame":
    import polars as pl

    return pl.read_parquet(path)


def _time_column(names: Sequence[str]) -> str:
    for wanted in TIME_NAMES:
        for name in names:
            if name.strip().lower() == wanted:
                return name
    shown = ", ".join(sanitize(name, 40) for name in names[:_SHOWN_NAMES]) + (
        ", ..." if len(names) > _SHOWN_NAMES else ""
    )
    raise MetricsTableError(f"the table has no column named time; it has {shown or 'none at all'}")


def _times(column: "pl.Series") -> "pl.Series":
    import polars as pl

    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() <= column.len() / 2:
            column = numbers
        else:
            column = pl.Series(column.name, [_iso(text) for text in column.to_list()], dtype=pl.Float64)
            return column.fill_null(math.nan)
    if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
        return column.dt.epoch("us").cast(pl.Float64).fill_null(math.nan) / 1e6
    if not column.dtype.is_numeric():
        raise MetricsTableError(f"the time column holds {column.dtype}, which is no time")
    numbers = column.cast(pl.Float64).fill_null(math.nan)
    largest = numbers.filter(numbers.is_finite()).abs().max()
    scale = next((factor for least, factor in _UNITS if isinstance(largest, float) and largest >= least), 1.0)
    return numbers * scale


def _iso(text: str | None) -> float | None:
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _numeric(column: "pl.Series") -> "pl.Series | None":
    """Return a column as floats with NaN for what is none; None for a column of text."""
    import polars as pl

    if column.dtype == pl.String:
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        known = column.len() - column.null_count()
        if known and (column.len() - numbers.null_count()) < known / 2:
            return None
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        numbers = column.cast(pl.Float64, strict=False)
    else:
        return None
    numbers = numbers.set(~numbers.is_finite(), None)
    numbers = numbers.set(numbers.abs() > MAX_SIZE, None)
    return numbers.set(numbers.abs() < 1 / MAX_SIZE, 0.0)
