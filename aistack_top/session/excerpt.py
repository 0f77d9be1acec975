"""Cuts a stretch out of a recording: a session of its own that replays as the recording does.

Whole blocks are taken, so that it begins and ends up to five minutes beyond what was asked for: each block begins
with all that held then, and its files are linked where the file system can, which costs no space.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from aistack_top.model.tick import Mark
from aistack_top.session.blocks import recorded_marks
from aistack_top.session.disk import Disk, os_error_text
from aistack_top.session.errors import SessionError
from aistack_top.session.format import INFO_FILE, TABLES, BlockName, schema
from aistack_top.session.reader import Block, Session
from aistack_top.session.ring import link_block
from aistack_top.session.writer import Row, parquet

ATTEMPTS = 3


def write_excerpt(recording: Path, target: Path, start: float, end: float, marks: Iterable[Mark] = ()) -> None:
    """Make a session of the blocks that hold what was learned from start to end (seconds since the epoch).

    ``marks`` are those that people set in the meantime; what the recording has of them already is not said twice.

    Raises:
        SessionError: the recording cannot be read, or the target cannot be written.

    """
    try:
        target.mkdir(parents=True)
        for attempt in range(ATTEMPTS):
            session = Session.open(recording)
            try:
                _cut(session, Disk(target), start, end, tuple(marks))
                return
            except FileNotFoundError:  # a block was compacted or deleted while it was copied
                if attempt == ATTEMPTS - 1:
                    raise
    except OSError as error:
        raise SessionError("cannot cut this out of the recording", f"{target}: {os_error_text(error)}") from error


def _cut(session: Session, disk: Disk, start: float, end: float, marks: tuple[Mark, ...]) -> None:
    chosen = [block for block in session.blocks if block.last >= start and block.first <= end]
    if not chosen:
        raise SessionError("nothing to cut out", f"{session.path} holds nothing of that time")
    first, last = chosen[0].first, chosen[-1].last
    known = recorded_marks(replace(session, blocks=chosen))
    fresh = [mark for mark in marks if first <= mark.at <= last and mark not in known]
    for block in chosen:
        if fresh and block is chosen[-1]:
            _put_with(session, block, disk, [mark_row(mark, last) for mark in fresh])
        else:
            for name, _ in block.parts:
                link_block(session.path / str(name), disk.folder / str(name))
    info = msgspec.structs.replace(session.info, start=first, closed=True, end=last, writer=os.getpid())
    disk.put_file(INFO_FILE, msgspec.json.encode(info))


def mark_row(mark: Mark, end: float) -> Row:
    """Return a mark as it lies on the disk; one that was set after the end is told at the end."""
    return (mark.at, min(mark.seen, end), mark.kind, mark.text, mark.author, mark.about)


def _put_with(session: Session, block: Block, disk: Disk, rows: list[Row]) -> None:
    import polars as pl

    tables = session.tables(block, TABLES)
    added = pl.DataFrame(rows, schema=schema("marks"), orient="row")
    tables["marks"] = pl.concat([tables["marks"], added]) if "marks" in tables else added
    files = {table: (parquet(frame), len(frame)) for table, frame in tables.items()}
    disk.put_block(BlockName(block.number), files, (block.first, block.last, block.oldest))
