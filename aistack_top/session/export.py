"""A session's readings as one table, for other tools: Parquet, CSV or newline-delimited JSON.

Columns: time, layer, signal, entity (JSON text), stat, value, unit, and bound (``below`` or ``above`` where a
quantile lies outside what the histogram can tell). It goes block by block, so that a day takes no more memory
than five minutes.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.model.signals import signals
from aistack_top.session.blocks import BlockData, load
from aistack_top.session.disk import os_error_text
from aistack_top.session.errors import SessionError
from aistack_top.session.format import entity_json
from aistack_top.session.reader import Session

if TYPE_CHECKING:
    import polars as pl

FORMATS = (".parquet", ".csv", ".ndjson")
COLUMNS = ("time", "layer", "signal", "entity", "stat", "value", "unit", "bound")

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.3fZ"
_TABLES = ("readings", "series")


def export(session: Session, target: Path) -> int:
    """Write the readings of a session to a file, whose name's ending says the format; return their number.

    The file appears when it is whole. Signals that are derived from calls (``calls.*``) are not in a session and
    not in its export.

    Raises:
        SessionError: the ending is none of `FORMATS`, or the file cannot be written.

    """
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise SessionError("cannot export", f"{target.name} must end in one of {', '.join(FORMATS)}")
    if target.is_dir():
        raise SessionError("cannot export", f"{target} is a folder")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        count = _parquet(session, temporary) if ending == ".parquet" else _text(session, temporary, ending)
        temporary.replace(target)
    except OSError as error:
        raise SessionError("cannot export", f"{target}: {os_error_text(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return count


def _frames(session: Session) -> Iterator["pl.DataFrame"]:
    """Yield the readings of each block, by time and then in the order of the series."""
    units: dict[str, tuple[str, str]] = {s.name: (s.layer, s.unit) for s in signals().values()}
    units |= {s.name: (s.layer, s.unit) for s in session.info.signals}
    for number in [block.number for block in session.blocks]:
        data = _load(session, number)
        if data is not None and data.readings is not None:
            yield _frame(data, units)
        session.forget()


def _load(session: Session, number: int) -> BlockData | None:
    for _ in range(3):
        block = next((block for block in session.blocks if block.number == number), None)
        if block is None:
            return None
        try:
            return load(session, block, _TABLES)
        except FileNotFoundError:
            session.refresh()
    return None


def _frame(data: BlockData, units: dict[str, tuple[str, str]]) -> "pl.DataFrame":
    import polars as pl

    rows = [
        (number, *units.get(signal, ("", "")), signal, entity_json(entity), stat)
        for number, (signal, entity, stat) in ((number, series.key) for number, series in data.series.items())
    ]
    text = dict.fromkeys(("layer", "unit", "signal", "entity", "stat"), pl.String)
    whose = pl.DataFrame(rows, schema={"series": pl.Int32, **text}, orient="row")
    assert data.readings is not None  # noqa: S101 - the caller asked
    bound = pl.when(pl.col("mark") < 0).then(pl.lit("below")).when(pl.col("mark") > 0).then(pl.lit("above"))
    return (
        data.readings.lazy()
        .filter(pl.col("value").is_finite())
        .join(whose.lazy(), on="series", how="inner")
        .sort("at", "series")
        .with_columns(time="at", bound=bound.otherwise(pl.lit("")))
        .select(COLUMNS)
        .collect()
    )


def _text(session: Session, target: Path, ending: str) -> int:
    import polars as pl

    count = 0
    with target.open("wb") as file:
        if ending == ".csv":
            file.write((",".join(COLUMNS) + "\n").encode())
        for frame in _frames(session):
            shown = frame.with_columns(pl.col("time").dt.strftime(_TIME_FORMAT))
            if ending == ".csv":
                shown.write_csv(file, include_header=False)
            else:
                shown.write_ndjson(file)
            count += len(frame)
    return count


def _parquet(session: Session, target: Path) -> int:
    """Write a file for each block, then one of them all: Polars streams from files, not from a loop of ours."""
    import polars as pl

    pieces = target.with_name(target.name + ".pieces")
    count = 0
    try:
        pieces.mkdir()
        for number, frame in enumerate(_frames(session)):
            frame.write_parquet(pieces / f"{number:08d}.parquet", compression="zstd")
            count += len(frame)
        if count:
            pl.scan_parquet(pieces / "*.parquet").sink_parquet(target, compression="zstd")
        else:
            names = {name: pl.String() for name in COLUMNS}
            pl.DataFrame(
                schema=pl.Schema({**names, "time": pl.Datetime("ms", "UTC"), "value": pl.Float32()})
            ).write_parquet(target)
    except pl.exceptions.PolarsError as error:
        raise SessionError("cannot export", str(error)) from error
    finally:
        shutil.rmtree(pieces, ignore_errors=True)
    return count
