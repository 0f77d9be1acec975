"""The recording that is always there: the last hours, in the user's state folder, by whoever came first.

Several programs on a node share one: the first records, the others attach to what it writes, so that the node is
watched once and not once a person. Who records is said by a lock that the kernel lets go when its process dies.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from aistack_top.measure.clock import Clock
from aistack_top.session.disk import block_names, current, os_error_text, read_file
from aistack_top.session.errors import SessionError
from aistack_top.session.format import INFO_FILE, SUFFIX
from aistack_top.session.info import decode_info
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder

RING_NAME = "ring" + SUFFIX
FEW = "ring-only-"
"""How the ring of a console begins that was asked for certain sources only."""

FORGOTTEN_S = 24 * 3600.0
"""So long after its last writing such a ring is deleted by the next console."""

KEEP_S = 6 * 3600.0
MAX_BYTES = 300 * 10**6


def open_ring(
    path: Path, *, node: str, clock: Clock, keep_s: float = KEEP_S, most_bytes: int = MAX_BYTES
) -> Recorder | Session:
    """Return a recorder on the ring, or, where one lives already, its session, to be followed with `SessionFeed`.

    A home folder may be shared by many nodes: the ring of another node is left alone, and this node's stands
    beside it under its own name.

    Raises:
        SessionError: the folder can be neither written nor read.

    """
    path = _of_node(path, node)
    try:
        return Recorder(path, node=node, clock=clock, keep_s=keep_s, most_bytes=most_bytes)
    except SessionError:
        with contextlib.suppress(SessionError):
            session = Session.open(path)
            if session.alive:
                return session
        raise


def ring_of(asked: Iterable[str]) -> str:
    """Return the name of the ring for certain sources only: the same for the same ones."""
    return f"{FEW}{blake2b(chr(10).join(asked).encode(), digest_size=6).hexdigest()}{SUFFIX}"


def drop_old(folder: Path, now: float) -> None:
    """Delete the rings for certain sources only that nobody has written for a day; this node's own ring stays."""
    for path in folder.glob(f"{FEW}*{SUFFIX}"):
        with contextlib.suppress(SessionError, OSError):
            newest = max((file.stat().st_mtime for file in path.iterdir()), default=path.stat().st_mtime)
            if now - newest > FORGOTTEN_S and not Session.open(path).alive:
                shutil.rmtree(path, ignore_errors=True)


def keep(ring: Path, target: Path) -> Session:
    """Make a session of its own of what a ring holds now; costs no space where the file system has hard links.

    Raises:
        SessionError: the ring cannot be read, or the target is there already or cannot be written.

    """
    Session.open(ring)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    if target.exists():
        raise SessionError("cannot keep the recording", f"{target} is there already")
    try:
        temporary.mkdir(parents=True)
        for attempt in range(3):
            try:
                _copy(ring, temporary)
                break
            except FileNotFoundError:  # a block was compacted or deleted while it was copied
                if attempt == 2:
                    raise
        shutil.copyfile(ring / INFO_FILE, temporary / INFO_FILE)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise SessionError("cannot keep the recording", f"{target}: {os_error_text(error)}") from error
    return Session.open(target)


def link_block(source: Path, target: Path) -> None:
    """Give a segment or block another name as well, or copy it where the file system cannot.

    Raises:
        FileNotFoundError: it was compacted or removed meanwhile.
        OSError: the target cannot be written.

    """
    if not source.is_dir():
        _link(source, target)
        return
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        _link(file, target / file.name)


def _copy(ring: Path, target: Path) -> None:
    for names in current(block_names(ring)).values():
        for name in names:
            link_block(ring / str(name), target / str(name))


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target, follow_symlinks=False)


def _of_node(path: Path, node: str) -> Path:
    with contextlib.suppress(OSError, SessionError):
        if decode_info(read_file(path / INFO_FILE, 2**20)).node != node:
            return path.with_name(f"{path.stem}-{re.sub(r'[^A-Za-z0-9._-]', '_', node)}{SUFFIX}")
    return path
