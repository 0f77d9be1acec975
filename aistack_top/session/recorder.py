"""Records ticks to a session, on a thread of its own: what is on the screen is never held up by a disk.

`Recorder.take` puts a tick into a queue and returns. The thread makes columns of it and writes a segment every few
seconds. A disk that is full or slow costs memory first (up to `MAX_READINGS`), and only then data; both are
said in `Recorder.problem`, and what was lost is counted.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from aistack_top.measure.clock import Clock, VirtualClock
from aistack_top.model.tick import Mark, Tick
from aistack_top.session.compact import Compactor, prune
from aistack_top.session.disk import Disk, Lock, block_names, os_error_text, read_file
from aistack_top.session.errors import SessionError
from aistack_top.session.format import (
    BLOCK_S,
    INFO_FILE,
    SCHEMA,
    BlockName,
    SessionInfo,
    program,
    signal_table,
)
from aistack_top.session.info import decode_info
from aistack_top.session.writer import BlockWriter, Row
from aistack_top.text import incident_json as document
from aistack_top.text.sanitize import sanitize

EVERY_S = 5.0
MAX_TICKS = 120
"""Ticks that may wait for the thread; it falls behind by two minutes only when the disk does not answer."""

MAX_READINGS = 1_000_000
"""Readings kept in memory while the disk is full: 25 MB, half an hour of 500 series every second."""

MAX_RETRY_S = 30.0
"""A full disk is tried again less and less often: each try makes a segment of all that waits."""

HUNG_S = 15.0
"""A write that takes longer than this is said to the user."""

SYNC_S = 10.0
"""How long who wants all of it on the disk waits for a disk that does not answer."""

_Item = Tick | tuple[str, float, Row] | threading.Event


class Recorder:
    """Writes a session. Made on the caller's thread, it does all else on its own.

    A session that exists is continued. ``keep_s`` and ``most_bytes`` bound it by deleting its oldest blocks.

    Raises:
        SessionError: the folder cannot be written, is of another node or version, or somebody records there.

    """

    def __init__(
        self,
        path: Path,
        *,
        node: str,
        clock: Clock,
        every_s: float = EVERY_S,
        keep_s: float | None = None,
        most_bytes: int | None = None,
        make_disk: Callable[[Path], Disk] = Disk,
        block_s: float = BLOCK_S,
    ) -> None:
        self.path = path
        self._clock, self._every_s, self._block_s = clock, every_s, block_s
        self._keep_s, self._most_bytes = keep_s, most_bytes
        self._lock = _locked(path)
        try:
            self._disk = make_disk(path)
            self._info = _begin(self._disk, node, clock.now(), every_s)
            self._number = max((name.block for name in block_names(path)), default=-1) + 1
        except OSError as error:
            self._lock.drop()
            raise SessionError("cannot record", f"{path}: {os_error_text(error)}") from error
        except SessionError:
            self._lock.drop()
            raise
        self._segment = 0
        self._writer = BlockWriter()
        self._compactor = Compactor(path)
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._failing = self._fault = ""
        self._pause_s = every_s
        self._due: float | None = None
        self._busy_since: float | None = None
        self._last_seen = self._on_disk = self._info.start
        self._lost_s = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """What is wrong with the recording, in a sentence for the screen; None while all is well."""
        if self._fault:
            return f"recording stopped: {self._fault}"
        waiting = max(self._last_seen - self._on_disk, 0.0) + self._lost_s
        busy = self._busy_since
        if self._failing:
            return f"recording paused: {self._failing}; {waiting:.0f} s not recorded"
        if busy is not None and self._clock.monotonic() - busy > HUNG_S:
            return f"recording paused: the disk does not answer; {waiting:.0f} s not recorded"
        if self._lost_s:
            return f"recording goes on; {self._lost_s:.0f} s are missing"
        return None

    @property
    def backlog(self) -> int:
        """Ticks that wait for the thread."""
        return self._queue.qsize()

    @property
    def is_behind(self) -> bool:
        """Whether to wait for the thread: under virtual time only, where a day may come in a minute."""
        return isinstance(self._clock, VirtualClock) and self.backlog > MAX_TICKS // 2

    def catch_up(self) -> None:
        """Wait until the thread is no longer behind, or has ended."""
        while self.is_behind and self._thread.is_alive():
            time.sleep(0.001)

    def record(self, tick: Tick) -> None:
        """Record a tick; returns at once. History and resets are no news and are left out."""
        if tick.reset or tick.history is not None or self._closed:
            return
        if self._queue.qsize() >= MAX_TICKS:
            self._lost_s += max(tick.seen - self._last_seen, 0.0)
        else:
            self._queue.put(tick)
        self._last_seen = tick.seen

    def mark(self, mark: Mark) -> None:
        """Record a mark that a person set."""
        row = (mark.at, mark.seen, mark.kind, sanitize(mark.text), sanitize(mark.author), mark.about)
        self._queue.put(("marks", mark.at, row))

    def sync(self) -> bool:
        """Wait until all that was taken is on the disk; return whether it is."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(SYNC_S) and self.problem is None

    def close(self, timeout_s: float = 2.0) -> bool:
        """Write what waits and let go; returns whether all of it is on the disk.

        Gives up on a disk that does not answer within ``timeout_s`` seconds. A screen must not hang for its
        recording, so the default is short. Whoever has nothing but the recording waits longer: the first segment
        imports Polars, which takes several seconds on a busy host.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._lock.drop()
        return self.problem is None

    def _run(self) -> None:
        try:
            self._disk.sweep()
            self._tidy()
            while (item := self._next()) is not None:
                if isinstance(item, Tick):
                    self._add(item)
                elif isinstance(item, tuple):
                    self._writer.add_row(*item)
                elif isinstance(item, threading.Event):
                    self._flush()
                    item.set()
                self._compactor.poll()
                self._flush_if_due()
            self._finish()
        except Exception as error:  # a bug here must reach the screen as a sentence, not end as a silent thread
            self._fault = sanitize(f"{type(error).__name__}: {error}")
        finally:
            self._compactor.stop()

    def _next(self) -> _Item | bool | None:
        """Return the next item, True when it is only time to look around, None at the end."""
        min_duration = 1.0
        if self._due is not None and not isinstance(self._clock, VirtualClock):
            min_duration = min(max(self._due - self._now(), 0.0), min_duration)
        try:
            return self._queue.get(timeout=min_duration)
        except queue.Empty:
            return True

    def _add(self, tick: Tick) -> None:
        writer = self._writer
        begun = writer.block_first
        complete = begun is not None and not begun <= tick.seen < begun + self._block_s
        if complete and not self._failing and self._flush():
            self._next_block()
        if writer.waiting > MAX_READINGS and writer.first is not None:
            self._lost_s += tick.seen - writer.first
            self._on_disk = tick.seen
            self._next_block()
        writer.add(tick)
        for incident in tick.incidents:
            writer.add_row("incidents", tick.seen, (incident.id, incident.revised, document.encode(incident)))
        if writer.first is None:
            self._on_disk = tick.seen
        elif self._due is None:
            self._due = self._now() + self._every_s

    def _now(self) -> float:
        # under virtual time only the ticks tell the time, or segments would depend on how fast this thread is
        return self._writer.last if isinstance(self._clock, VirtualClock) else self._clock.monotonic()

    def _flush_if_due(self) -> None:
        if self._due is not None and self._now() >= self._due:
            self._flush()

    def _flush(self) -> bool:
        """Write a segment of what waits; return whether nothing waits any more."""
        writer = self._writer
        self._due = None
        if writer.first is None:
            return True
        self._busy_since = self._clock.monotonic()
        try:
            files, times = writer.encode()
            self._disk.put_block(BlockName(self._number, self._segment), files, times)
            self._update_info()
        except OSError as error:
            self._failing = os_error_text(error)
            self._pause_s = min(2 * self._pause_s, MAX_RETRY_S)
            self._due = self._now() + self._pause_s
            return False
        finally:
            self._busy_since = None
        self._failing, self._pause_s = "", self._every_s
        self._segment += 1
        self._on_disk = max(writer.last, self._on_disk)
        writer.written()
        return True

    def _update_info(self) -> None:
        sources = tuple(sorted({*self._info.sources, *self._writer.sources}))
        if sources != self._info.sources:
            info = msgspec.structs.replace(self._info, sources=sources)
            self._disk.put_file(INFO_FILE, msgspec.json.encode(info))
            self._info = info

    def _next_block(self) -> None:
        self._writer.written()
        self._writer.begin()
        self._number += 1
        self._segment = 0
        self._due = None
        self._tidy()

    def _tidy(self) -> None:
        """Compact what is complete, delete what is too old."""
        self._compactor.start(self._number)
        prune(self._disk, self._number, self._keep_s, self._most_bytes, self._last_seen)

    def _finish(self) -> None:
        if not self._flush():
            self._lost_s += self._last_seen - self._on_disk
        try:
            info = msgspec.structs.replace(self._info, closed=True, end=self._on_disk)
            self._disk.put_file(INFO_FILE, msgspec.json.encode(info))
        except OSError as error:
            self._failing = os_error_text(error)


def _locked(path: Path) -> Lock:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = Lock(path)
        taken = lock.acquire()
    except OSError as error:
        raise SessionError("cannot record", f"{path}: {os_error_text(error)}") from error
    if not taken:
        raise SessionError("cannot record", f"somebody records to {path} already")
    return lock


def _begin(disk: Disk, node: str, now: float, every_s: float) -> SessionInfo:
    """Write ``session.json``: a new one, or that of the session which is continued."""
    start = now
    sources: tuple[str, ...] = ()
    try:
        known = decode_info(read_file(disk.folder / INFO_FILE, 2**20))
    except FileNotFoundError:
        known = None
        if any(not path.name.startswith((".", "tmp.", "writer.")) for path in disk.folder.iterdir()):
            raise SessionError("cannot record", f"{disk.folder} is not empty and not a session") from None
    if known is not None:
        if known.node != node:
            raise SessionError("cannot record", f"{disk.folder} is a session of {known.node}, and this is {node}")
        start, sources = known.start, known.sources
    info = SessionInfo(SCHEMA, node, program(), start, sources, signal_table(), os.getpid(), every_s)
    disk.put_file(INFO_FILE, msgspec.json.encode(info))
    return info
