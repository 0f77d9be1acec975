"""Writes that survive: everything is on the disk before it gets its name.

Plain system calls, so that a full disk is an `OSError` with its number, whoever makes the bytes.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from aistack_top.session.errors import SessionError
from aistack_top.session.format import (
    BLOCK_FILE,
    COMPACT_LOCK,
    LOCK_FILE,
    SEGMENT_MAGIC,
    BlockInfo,
    BlockName,
    FileInfo,
)


class Disk:
    """The folder of one session, for writing. Tests replace it with one that is full.

    Raises:
        OSError: from every method, when the disk refuses.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_file(self, name: str, data: bytes) -> None:
        """Write a file durably, whole or not at all."""
        temporary = self.folder / f"tmp.{name}"
        try:
            _write(temporary, data)
            temporary.replace(self.folder / name)
        except OSError:
            _discard(temporary)
            raise
        _sync_folder(self.folder)

    def put_block(
        self, name: BlockName, files: Mapping[str, tuple[bytes, int]], times: tuple[float, float, float]
    ) -> None:
        """Write a segment or block durably, whole or not at all.

        ``files`` holds for each table its Parquet bytes and number of rows; ``times`` the first and last tick and
        the oldest reading.
        """
        temporary = self.folder / f"tmp.{name}"
        _discard(temporary)
        found = {t: FileInfo(len(data), zlib.crc32(data), rows) for t, (data, rows) in files.items()}
        info = msgspec.json.encode(BlockInfo(*times, found))
        try:
            if name.segment >= 0:
                head = SEGMENT_MAGIC + len(info).to_bytes(4, "little") + info
                _write(temporary, head + b"".join(data for data, _ in files.values()))
            else:
                temporary.mkdir()
                for table, (data, _) in files.items():
                    _write(temporary / f"{table}.parquet", data)
                _write(temporary / BLOCK_FILE, info)
                _sync_folder(temporary)
            temporary.rename(self.folder / str(name))
        except OSError:
            _discard(temporary)
            raise
        with contextlib.suppress(OSError):  # it has its name: to report a failure now would have it written twice
            _sync_folder(self.folder)

    def remove_block(self, name: BlockName) -> None:
        """Remove a segment or block, whole or not at all."""
        doomed = self.folder / f"old.{name}"
        _discard(doomed)
        (self.folder / str(name)).rename(doomed)
        _discard(doomed)

    def sweep(self) -> None:
        """Remove what a killed process left half done, unless a compaction is under way."""
        lock = Lock(self.folder, COMPACT_LOCK)
        if not lock.acquire():
            return
        for pattern in ("tmp.*", "old.*"):
            for path in self.folder.glob(pattern):
                _discard(path)
        lock.drop()


class Lock:
    """Says who records: an ``flock`` that the kernel lets go when its process dies, however it dies."""

    def __init__(self, folder: Path, name: str = LOCK_FILE) -> None:
        self._path = folder / name
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Take the lock; return False when somebody who lives has it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        if not any(_locked(handle, pause) for pause in (0.0, 0.005, 0.02)):
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle
        return True

    def drop(self) -> None:
        """Let the lock go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def is_held(self) -> bool:
        """Whether a living recorder, of this process or another, has the lock."""
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False


def block_names(folder: Path) -> list[BlockName]:
    """Return the segments (plain files) and blocks (folders) of a session in their order; links are none."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = BlockName.parse(entry.name)
            if name is not None and (entry.is_file if name.segment >= 0 else entry.is_dir)(follow_symlinks=False):
                found.append(name)
    return sorted(found)


def current(names: list[BlockName]) -> dict[int, list[BlockName]]:
    """Return for each block what is to be read of it: the compacted block, or else its segments."""
    blocks: dict[int, list[BlockName]] = {}
    for name in sorted(names):
        parts = blocks.setdefault(name.block, [])
        if not parts or parts[0].segment >= 0:  # -1, the compacted block, sorts before the segments it replaces
            parts.append(name)
    return blocks


def size_of(path: Path) -> int:
    """Return the bytes of a segment or of the files of a block; 0 when it is gone."""
    try:
        if not path.is_dir():
            return path.stat(follow_symlinks=False).st_size
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


def read_file(path: Path, most: int) -> bytes:
    """Return the bytes of a plain file that is not larger than ``most``; links and pipes are not followed.

    Raises:
        OSError: it cannot be read.
        SessionError: it is no plain file, or too large.

    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SessionError("not a session", f"{path.name} is not a plain file")
        if status.st_size > most:
            raise SessionError("not a session", f"{path.name} is {status.st_size} bytes, more than any session has")
        return file.read(most + 1)


def os_error_text(error: OSError) -> str:
    """Return what an error of the system means, in words."""
    return (error.strerror or str(error)).lower()


def _locked(handle: int, pause_s: float) -> bool:
    # `Lock.held` of another process holds a shared lock for an instant, which must not be taken for a recorder
    time.sleep(pause_s)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
