"""The format of a session on disk, version 1: names, columns and limits. ``docs/sessions.md`` specifies it in words.

| in the folder ``NAME.aistack`` | is |
|---|---|
| ``session.json`` | what the session is: `SessionInfo` |
| ``writer.lock`` | locked (``flock``) as long as a recorder lives |
| ``compact.lock`` | locked as long as a compaction runs |
| ``b000012.0003`` | a file, segment 3 of block 12: the last few seconds, as the recorder wrote them |
| ``b000012`` | a folder, block 12 compacted: replaces all its segments |
| ``tmp.*``, ``old.*`` | being written, being removed: nobody reads them |

A block is a folder of Parquet files, one a table, and ``block.json`` (`BlockInfo`), which names each file with its
size and checksum. A segment holds the same in one file, since each file of its own would cost a flush of the disk's
cache every five seconds: `SEGMENT_MAGIC`, the length of the `BlockInfo` in four bytes (little endian), the
`BlockInfo`, and the Parquet files in its order. Either gets its name by one rename once all of it is on the disk, so
that it is there whole or not at all.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.text.sanitize import sanitize

if TYPE_CHECKING:
    import polars as pl

SCHEMA = "aistack-top/session/1"
SUFFIX = ".aistack"
INFO_FILE = "session.json"
BLOCK_FILE = "block.json"
LOCK_FILE = "writer.lock"
COMPACT_LOCK = "compact.lock"

SEGMENT_MAGIC = b"AISTACK1"

BLOCK_S = 300.0
"""A block is closed after this many seconds; it has everything needed to start reading there."""

TABLES = ("readings", "series", "batches", "calls", "events", "facts", "links", "base", "marks", "incidents")

MAX_FILE_BYTES = 256 * 2**20
"""A larger file was not written by this program: five minutes of 10,000 series every second are 6 MB."""

MAX_ROWS = 20_000_000
"""A table that claims more rows than this was not written by it either."""

MAX_TEXT = 4_000
"""Text read from a session is cut to this length."""

MAX_TIME = 2.0e11
"""Times at or after this (the year 8307) are not times; the calendar of Python ends at 2.5e11."""

_NAME = re.compile(r"b(\d{6,9})(?:\.(\d{4,6}))?\Z", re.ASCII)


class SignalInfo(msgspec.Struct, frozen=True):
    """What a signal was when the session was recorded, so that an old session can be read without our table."""

    name: str
    unit: str
    form: str
    layer: str


class SessionInfo(msgspec.Struct, frozen=True):
    """The content of ``session.json``.

    ``start`` and ``end`` are seconds since the epoch; ``end`` is None until the recorder closed it. ``writer`` is
    the process id of the last recorder, for a person to look at: whether it lives, the lock says.
    """

    schema: str
    node: str
    program: str
    start: float
    sources: tuple[str, ...] = ()
    signals: tuple[SignalInfo, ...] = ()
    writer: int = 0
    every_s: float = 5.0
    closed: bool = False
    end: float | None = None


class FileInfo(msgspec.Struct, frozen=True):
    """One Parquet file of a block: bytes, CRC-32 of them, and rows."""

    size: int
    crc: int
    rows: int


class BlockInfo(msgspec.Struct, frozen=True):
    """The content of ``block.json``: times of its first and last tick (``seen``), of its oldest reading, its files."""

    first: float
    last: float
    oldest: float
    files: dict[str, FileInfo]


class BlockName(msgspec.Struct, frozen=True, order=True):
    """A block's number, and the segment's within it; a segment of -1 is the whole block, compacted."""

    block: int
    segment: int = -1

    def __str__(self) -> str:
        return f"b{self.block:06d}" if self.segment < 0 else f"b{self.block:06d}.{self.segment:04d}"

    @staticmethod
    def parse(text: str) -> "BlockName | None":
        """Return what a folder's name says, or None for a folder that is no block."""
        match = _NAME.match(text)
        return BlockName(int(match[1]), int(match[2]) if match[2] else -1) if match else None


def schema(table: str) -> "pl.Schema":
    """Return the columns of a table and their Polars types.

    ``batch`` numbers the batches of a block in the order of their arrival and ties all other tables to them;
    ``series`` ids hold within one block.
    """
    import polars as pl

    text, number, short, small = pl.String, pl.Float64, pl.Float32, pl.Int32
    times = {"at": number, "seen": number}
    tables: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
        "readings": {
            "series": small,
            "batch": small,
            "at": pl.Datetime("ms", "UTC"),
            "value": short,
            "mark": pl.Int8,
        },
        "series": {"series": small, "signal": text, "entity": text, "stat": text, "source": text},
        "batches": {
            "batch": small,
            "tick": small,
            "tick_at": number,
            "tick_seen": number,
            **times,
            "calls_until": number,
            **dict.fromkeys(("source", "kind", "layer", "status", "reason"), text),
            **dict.fromkeys(("age_s", "took_s", "interval_s", "clock_offset_s", "clock_uncertainty_s"), short),
        },
        "calls": {
            "batch": small,
            **dict.fromkeys(("id", "trace", "parent", "kind", "name"), text),
            **dict.fromkeys(("start", "end", "seen", "updated"), number),
            **dict.fromkeys(("model", "version", "prompt", "prompt_version"), text),
            **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens"), pl.Int64),
            **dict.fromkeys(("ttft", "cost"), number),
            **dict.fromkeys(("level", "tenant", "session", "route", "environment", "engine"), text),
            "root": pl.Boolean,
        },
        "events": {
            "batch": small,
            **times,
            **dict.fromkeys(("layer", "kind", "severity", "entity", "text", "source", "detail"), text),
        },
        "facts": {"batch": small, "entity": text, "key": text, "value": text, "watched": pl.Boolean},
        "links": {"batch": small, **dict.fromkeys(("parent", "child", "proof", "detail"), text)},
        "base": {"what": text, **times, "data": text},
        "marks": {**times, **dict.fromkeys(("kind", "text", "author", "about"), text)},
        "incidents": {"id": text, "at": number, "data": text},
    }
    return pl.Schema(tables[table])


def signal_table() -> tuple[SignalInfo, ...]:
    """Return the snapshot of the table of signals that goes into ``session.json``."""
    return tuple(SignalInfo(s.name, s.unit, s.form, s.layer) for s in signals().values())


def entity_json(entity: Entity) -> str:
    """Return an entity as JSON text, the same text for equal entities."""
    return msgspec.json.encode(entity.as_dict()).decode()


@lru_cache(maxsize=16_384)
def entity_of(text: str) -> Entity:
    """Return the entity of JSON text, with its values made harmless.

    Raises:
        ValueError: it is no mapping of texts, or has a key that no entity has (`msgspec.MsgspecError` is one).

    """
    found = msgspec.json.decode(text, type=dict[str, str])
    return Entity.from_mapping({key: sanitize(value, MAX_TEXT) for key, value in found.items()})


def program() -> str:
    """Return the name and version that are written into a session."""
    from aistack_top import __version__

    return f"aistack-top {__version__}"
