"""Makes one block of the many small segments of five minutes: ``python -m aistack_top.session.compact SESSION``.

A process of its own does it, so that the memory it takes goes back when it ends. It may be killed at any moment:
the block gets its name by one rename, readers prefer it over the segments that it replaces, and those that are
left over are removed by the next run.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from aistack_top.session.disk import Disk, Lock, block_names, current, size_of
from aistack_top.session.errors import SessionError
from aistack_top.session.format import COMPACT_LOCK, BlockName


class Compactor:
    """Runs the child process, one at a time and at low priority, for a recorder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self._below: int | None = None

    def start(self, below: int) -> None:
        """Compact the blocks with a lower number, now or when the present child is done."""
        self._below = below
        self.poll()

    def poll(self) -> None:
        """Look after the child, and start the one that waits."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if self._child is None and self._below is not None:
            below, self._below = self._below, None
            if any(name.block < below and name.segment >= 0 for name in block_names(self._folder)):
                self._child = _spawn(self._folder, below)

    def stop(self) -> None:
        """End the child; what it was at is done again by the next recorder."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


def compact(folder: Path, below: int | None = None) -> int:
    """Compact all blocks whose number is below a limit (all, for None); return how many were made.

    Raises:
        OSError: the disk refuses.

    """
    disk = Disk(folder)
    made = 0
    for number, names in current(block_names(folder)).items():
        if below is not None and number >= below:
            break
        if names[0].segment >= 0:
            made += _compact_block(disk, number, names)
        for name in block_names(folder):
            if name.block == number and name.segment >= 0 and (folder / str(BlockName(number))).is_dir():
                disk.remove_block(name)
    return made


def prune(disk: Disk, present: int, keep_s: float | None, most_bytes: int | None, now: float) -> None:
    """Delete the oldest blocks until the rest is younger than ``keep_s`` seconds and smaller than ``most_bytes``.

    The block ``present`` is never deleted. A block that cannot be deleted stays, and the next one is tried.
    """
    from aistack_top.session.reader import read_block_info

    blocks = current(block_names(disk.folder))
    sizes = {number: sum(size_of(disk.folder / str(name)) for name in names) for number, names in blocks.items()}
    total = sum(sizes.values())
    for number in sorted(blocks):
        if number >= present:
            break
        too_much = most_bytes is not None and total > most_bytes
        too_old = False
        if keep_s is not None:
            with contextlib.suppress(OSError, SessionError):
                too_old = read_block_info(disk.folder, blocks[number][-1]).last < now - keep_s
        if not too_much and not too_old:
            break
        for name in blocks[number]:
            with contextlib.suppress(OSError):
                disk.remove_block(name)
        total -= sizes[number]


def main(arguments: list[str]) -> int:
    """Compact the session named by the first argument, below the block number of the second, if there is one."""
    folder = Path(arguments[0])
    if len(arguments) > 1:
        below = int(arguments[1])
    else:
        numbers = [name.block for name in block_names(folder)]
        below = max(numbers, default=0) if Lock(folder).is_held() else max(numbers, default=0) + 1
    lock = Lock(folder, COMPACT_LOCK)
    if lock.acquire():
        compact(folder, below)
        lock.drop()
    return 0


def _compact_block(disk: Disk, number: int, names: list[BlockName]) -> int:
    from aistack_top.session.reader import Table, read_block_info, read_tables
    from aistack_top.session.writer import merged, parquet

    parts: dict[str, list[Table]] = {}
    infos = []
    for name in names:
        try:
            info = read_block_info(disk.folder, name)
            tables = read_tables(disk.folder, name, info)
        except (OSError, SessionError):
            return 0  # what can be read of it must not be thrown away for being tidy
        infos.append(info)
        for table, frame in tables.items():
            parts.setdefault(table, []).append(frame)
    whole = {table: (parquet(frame), len(frame)) for table, frame in merged(parts).items()}
    times = min(i.first for i in infos), max(i.last for i in infos), min(i.oldest for i in infos)
    disk.put_block(BlockName(number), whole, times)
    return 1


def _spawn(folder: Path, below: int) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module, on a folder we made
        [sys.executable, "-m", "aistack_top.session.compact", str(folder), str(below)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main(sys.argv[1:]))
