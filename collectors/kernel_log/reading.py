"""Where lines come from: the kernel's ring, the journal, log files. Only what is new since the first look.

Each look takes a bounded number of bytes and never waits.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final, Protocol

from aistack_top.text.sanitize import sanitize
from collectors.kernel_log.patterns import kernel_text
from collectors.nemo.tail import FileTail

MAX_RECORDS: Final = 2000
"""Records of the ring, or lines of the journal, of one look. What is left is read at the next."""

RECORD: Final = 8192
"""The longest record that the kernel gives (CONSOLE_EXT_LOG_MAX); a smaller buffer would be refused."""

HEAD: Final = 200
"""Bytes of a line of syslog in which time, host and program stand."""

MAX_JOURNAL: Final = 256 * 1024
JOURNAL: Final = ("journalctl", "--dmesg", "--follow", "--lines=0", "--output=cat", "--no-pager", "--quiet")

KERNEL_FILES: Final = ("kern.log", "syslog", "messages")
"""Files in /var/log that the kernel's lines stand in, as Debian, Ubuntu and the Red Hats call them."""

OTHER_FILES: Final = ("fabricmanager.log",)


class Lines(Protocol):
    """A log; ``name`` is for people."""

    name: str

    def is_kernel(self, line: bytes) -> bool:
        """Return whether a line is the kernel's own."""

    def read(self) -> tuple[list[bytes], list[str]]:
        """Return new lines, and sentences about what was not as usual. Raises OSError where it cannot be read."""

    def close(self) -> None:
        """Let go of it."""


class KernelRing:
    """``/dev/kmsg`` from its end on."""

    def __init__(self, path: Path = Path("/dev/kmsg")) -> None:
        self.name = str(path)
        self._path = path
        self._fd: int | None = None

    def is_kernel(self, line: bytes) -> bool:
        """See `Lines.is_kernel`; what programs wrote is left out."""
        return True

    def read(self) -> tuple[list[bytes], list[str]]:
        """See `Lines.read`."""
        if self._fd is None:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.lseek(fd, 0, os.SEEK_END)
            except OSError:
                os.close(fd)
                raise
            self._fd = fd
            return [], []
        found: list[bytes] = []
        lost = False
        for _ in range(MAX_RECORDS):
            try:
                record = os.read(self._fd, RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:  # what was not read in time was written over; the next read goes on after it
                lost = True
                continue
            if not record:
                break
            text = kernel_text(record)
            if text is not None:
                found.append(text)
        return found, [f"{self.name}: lines were written over before they were read"] if lost else []

    def close(self) -> None:
        """See `Lines.close`."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Journal:
    """The kernel's lines of systemd's journal, by one `journalctl` that follows it."""

    name = "journal"

    def __init__(self, start: Callable[[], "subprocess.Popen[bytes]"] | None = None) -> None:
        self._start = start or _follow
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def is_kernel(self, line: bytes) -> bool:
        """See `Lines.is_kernel`; nothing else was asked for."""
        return True

    def read(self) -> tuple[list[bytes], list[str]]:
        """See `Lines.read`."""
        if self._process is None:
            self._process = self._start()
            os.set_blocking(_out(self._process).fileno(), False)
        if self._process.poll() is not None:
            self.close()
            raise PermissionError(1, "journalctl ended: this user may not read the journal, or there is none")
        try:
            data = os.read(_out(self._process).fileno(), MAX_JOURNAL)
        except BlockingIOError:
            return [], []
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:RECORD]
        return lines, []

    def close(self) -> None:
        """See `Lines.close`."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        _out(self._process).close()
        self._process, self._rest = None, b""


class LogFile:
    """A file that lines are appended to."""

    def __init__(self, path: Path, *, kernel: bool) -> None:
        self.name = str(path)
        self._kernel = kernel
        self._tail = FileTail(path)

    def is_kernel(self, line: bytes) -> bool:
        """See `Lines.is_kernel`: syslog puts the name of the program before each line."""
        return self._kernel and b" kernel: " in line[:HEAD]

    def read(self) -> tuple[list[bytes], list[str]]:
        """See `Lines.read`."""
        told = self._tail.read()
        return list(told.lines), [f"{self.name}: {note}" for note in told.notes]

    def close(self) -> None:
        """See `Lines.close`; a file is closed as it is read."""


def logs(paths: Sequence[str], dev: Path = Path("/dev"), var_log: Path = Path("/var/log")) -> tuple[list[Lines], str]:
    """Return what can be read here without root, and why the kernel's own log cannot, empty where it can.

    Of the ways to the kernel's lines the first that is open is taken: two would count a line twice.
    """
    found: list[Lines] = []
    lacks = why_not(dev / "kmsg")
    kernel_file = next((var_log / name for name in KERNEL_FILES if os.access(var_log / name, os.R_OK)), None)
    if not lacks:
        found.append(KernelRing(dev / "kmsg"))
    elif kernel_file is not None:
        found.append(LogFile(kernel_file, kernel=True))
        lacks = ""
    elif _journal_readable(var_log):
        found.append(Journal())
        lacks = ""
    found += [LogFile(var_log / name, kernel=False) for name in OTHER_FILES if os.access(var_log / name, os.R_OK)]
    found += [LogFile(Path(path).expanduser(), kernel=False) for path in paths]
    return found, lacks


def readable_logs() -> list[str]:
    """Return the names of the logs that can be read on this machine without being named."""
    return [log.name for log in logs(())[0]]


def why_not(kmsg: Path) -> str:
    """Return why the kernel's ring cannot be read, empty where it can. It must be tried: its mode does not say."""
    try:
        fd = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"{sanitize(str(kmsg))}: {error.strerror}"
    os.close(fd)
    return ""


def _journal_readable(var_log: Path) -> bool:
    """Whether a persistent journal of the system can be read: by groups systemd-journal and adm."""
    folder = var_log / "journal"
    try:
        machines = [one for one in folder.iterdir() if one.is_dir()]
    except OSError:
        return False
    return any(os.access(one / "system.journal", os.R_OK) for one in machines)


def _out(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    if process.stdout is None:
        raise OSError("it was started without a pipe")
    return process.stdout


def _follow() -> "subprocess.Popen[bytes]":
    quiet = subprocess.DEVNULL
    return subprocess.Popen(JOURNAL, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet)  # noqa: S603  # fixed words
