"""Opens a session, whatever its state, and reads its blocks.

Everything on the disk is taken for hostile: names are matched, links are not followed, sizes, checksums, columns
and rows are checked before a number is believed. A part that fails is left out and named in `Session.problems`.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from aistack_top.model.feed import Bounds
from aistack_top.session.disk import Lock, block_names, current, os_error_text, read_file
from aistack_top.session.errors import SessionError
from aistack_top.session.format import (
    BLOCK_FILE,
    INFO_FILE,
    MAX_FILE_BYTES,
    MAX_ROWS,
    MAX_TIME,
    SEGMENT_MAGIC,
    TABLES,
    BlockInfo,
    BlockName,
    SessionInfo,
    schema,
)
from aistack_top.session.info import decode_info
from aistack_top.text.sanitize import sanitize

if TYPE_CHECKING:
    import polars as pl

    Table: TypeAlias = pl.DataFrame
else:
    Table = object

MAX_INFO_BYTES = 2**20
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Block:
    """Where about five minutes of a session lie, and what its ``block.json`` files say of them."""

    number: int
    parts: tuple[tuple[BlockName, BlockInfo], ...] = field(hash=False)
    first: float
    last: float
    oldest: float

    def rows(self, table: str) -> int:
        """Return how many rows a table has in this block."""
        return sum(info.files[table].rows for _, info in self.parts if table in info.files)


@dataclass(slots=True)
class Session:
    """A session on disk, opened for reading. Made by `Session.open`."""

    path: Path
    info: SessionInfo
    blocks: list[Block] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _cache: dict[BlockName, dict[str, Table]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Session":
        """Open a session and look what is in it; reads no table yet.

        Raises:
            SessionError: it is none, or of a later version, or nothing can be read.

        """
        try:
            session = cls(path, decode_info(read_file(path / INFO_FILE, MAX_INFO_BYTES)))
            session.refresh()
        except (FileNotFoundError, NotADirectoryError):
            reason = "it has no session.json" if path.is_dir() else "there is no such folder"
            raise SessionError("not a session", f"{sanitize(str(path))}: {reason}") from None
        except OSError as error:
            raise SessionError("cannot read this session", f"{sanitize(str(path))}: {os_error_text(error)}") from error
        return session

    @property
    def node(self) -> str:
        """The node that was recorded."""
        return self.info.node

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources that were recorded."""
        return self.info.sources

    @property
    def start(self) -> float:
        """When what is kept begins."""
        return self.blocks[0].first if self.blocks else self.info.start

    @property
    def end(self) -> float:
        """When it ends, so far."""
        return max((block.last for block in self.blocks), default=self.start)

    @property
    def alive(self) -> bool:
        """Whether a recorder is writing to it now."""
        return Lock(self.path).is_held()

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows of each table, as the blocks claim them."""
        return {table: sum(block.rows(table) for block in self.blocks) for table in TABLES}

    def bounds(self) -> Bounds:
        """Return what it covers."""
        return Bounds(self.start, self.end, live=False, seekable=True, speeds=True, title=self.path.name)

    def refresh(self) -> None:
        """Look again what there is: a recorder may have written and removed some.

        Raises:
            OSError: the folder cannot be read.
            SessionError: ``session.json`` is broken.

        """
        self.info = decode_info(read_file(self.path / INFO_FILE, 2**20))
        known = {name: info for block in self.blocks for name, info in block.parts}
        blocks = []
        for number, names in current(block_names(self.path)).items():
            parts = []
            for name in names:
                info = known.get(name) or self._info_of(name)
                if info is not None:
                    parts.append((name, info))
            if parts:
                first, last = min(i.first for _, i in parts), max(i.last for _, i in parts)
                blocks.append(Block(number, tuple(parts), first, last, min(i.oldest for _, i in parts)))
        self.blocks = blocks

    def tables(self, block: Block, wanted: Iterable[str]) -> dict[str, Table]:
        """Return tables of a block, each made of what can be read of it; a table without rows is left out."""
        from aistack_top.session.writer import merged

        found: dict[str, list[Table]] = {}
        for name, info in block.parts:
            for table in wanted:
                frame = self._table(name, info, table)
                if frame is not None:
                    found.setdefault(table, []).append(frame)
        return merged(found)

    def forget(self, keep: Iterable[int] = ()) -> None:
        """Drop the tables held in memory for segments of blocks other than these."""
        numbers = set(keep)
        self._cache = {name: tables for name, tables in self._cache.items() if name.block in numbers}

    def add_problem(self, problem: str) -> None:
        """Add to the problems, once each and not without end."""
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def _info_of(self, name: BlockName) -> BlockInfo | None:
        try:
            return read_block_info(self.path, name)
        except FileNotFoundError:
            if (self.path / str(name)).is_dir():
                self.add_problem(f"{name}: it has no {BLOCK_FILE}")
        except (OSError, SessionError) as error:
            self.add_problem(f"{name}: {os_error_text(error) if isinstance(error, OSError) else error.msg}")
        return None

    def _table(self, name: BlockName, info: BlockInfo, table: str) -> Table | None:
        if table not in info.files:
            return None
        held = self._cache.setdefault(name, {}) if name.segment >= 0 else {}
        try:
            if table not in held:
                held[table] = read_table(self.path, name, info, table)
            return held[table]
        except FileNotFoundError:
            raise  # compacted or pruned under our eyes: the caller looks again
        except (OSError, SessionError) as error:
            self.add_problem(f"{name}: {os_error_text(error) if isinstance(error, OSError) else error.msg}")
        return None


def read_block_info(folder: Path, name: BlockName) -> BlockInfo:
    """Return what a segment or block of the session in a folder says of itself.

    Raises:
        OSError: it cannot be read.
        SessionError: it is not what a recorder writes.

    """
    path = folder / str(name)
    data = _segment(path)[0] if name.segment >= 0 else read_file(path / BLOCK_FILE, MAX_INFO_BYTES)
    try:
        info = msgspec.json.decode(data, type=BlockInfo)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SessionError("not a session", f"{BLOCK_FILE}: {sanitize(str(error))}") from error
    times = (info.first, info.last, info.oldest)
    if not all(isfinite(time) and 0 <= time < MAX_TIME for time in times) or info.first > info.last:
        raise SessionError("not a session", f"{BLOCK_FILE} has a time that is none")
    if any(not 0 <= file.rows <= MAX_ROWS or file.size < 0 for file in info.files.values()):
        raise SessionError("not a session", f"{BLOCK_FILE} claims more rows than any block has")
    return info


def read_tables(folder: Path, name: BlockName, info: BlockInfo) -> dict[str, Table]:
    """Return all tables of a segment or block.

    Raises:
        OSError: a file cannot be read.
        SessionError: a file is not what the recorder wrote.

    """
    return {table: read_table(folder, name, info, table) for table in TABLES if table in info.files}


def read_table(folder: Path, name: BlockName, info: BlockInfo, table: str) -> Table:
    """Return one table of a segment or block.

    Raises:
        OSError: the file cannot be read.
        SessionError: it is not what the recorder wrote.

    """
    path, file = folder / str(name), info.files[table]
    if name.segment >= 0:
        tables, start = _segment(path)[1], 0
        for other in info.files:
            if other == table:
                break
            start += info.files[other].size
        data = tables[start : start + file.size]
    else:
        data = read_file(path / f"{table}.parquet", MAX_FILE_BYTES)
    if len(data) != file.size or zlib.crc32(data) != file.crc:
        raise SessionError("damaged", f"{table} is damaged or cut short")
    return decode_table(data, table, file.rows)


def _segment(path: Path) -> tuple[bytes, bytes]:
    """Return the JSON text and the tables' bytes of a segment."""
    data = read_file(path, MAX_FILE_BYTES)
    length = int.from_bytes(data[8:12], "little")
    if data[:8] != SEGMENT_MAGIC or length > min(MAX_INFO_BYTES, len(data) - 12):
        raise SessionError("damaged", "it is no segment of a session, or cut short")
    return data[12 : 12 + length], data[12 + length :]


def decode_table(data: bytes, table: str, rows: int) -> Table:
    """Return a table from the bytes of a Parquet file, if it has the columns and the rows it must have.

    Raises:
        SessionError: it has not, or the bytes are no Parquet at all.

    """
    import io

    import polars as pl

    from aistack_top.session.parquet import check

    check(data, table, rows)
    try:
        frame = pl.read_parquet(io.BytesIO(data), use_statistics=False)
    except (Exception, pl.exceptions.PanicException) as error:
        raise SessionError("damaged", f"{table}.parquet: {sanitize(str(error), 100)}") from error
    if dict(frame.schema) != dict(schema(table)) or len(frame) != rows:
        raise SessionError("damaged", f"{table}.parquet has other columns or rows than a session has")
    return frame
