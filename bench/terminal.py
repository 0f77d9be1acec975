"""Runs a terminal program under a pseudo-terminal of our own and measures it from outside.

Nothing of the program is touched: it sees an xterm of a given size that answers the questions terminals are asked.
CPU is that of the whole process tree, by the kernel's own accounting; bytes are those written to the terminal.
"""

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import statistics
import struct
import termios
import time
from dataclasses import asdict, dataclass, field

import psutil

ANSWERS = (
    (re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), b"\x1b[?2048;0$y"),
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[\?u"), b"\x1b[?0u"),
    (re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"),
)
DRAWN = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\)|\x1b.|[\s\x00-\x1f]", re.DOTALL)
QUIET_S = 0.06
"""A terminal that got nothing for so long has got all of what it was sent."""

PAINTED = 60
"""So many visible characters are a first paint."""


@dataclass
class Figures:
    """What was measured; seconds, bytes, megabytes. None where it was not asked for or did not happen."""

    first_paint_s: float | None = None
    marker_s: float | None = None
    cpu_s_per_min: float | None = None
    bytes_per_min: float | None = None
    rss_mb: float | None = None
    key_ms: float | None = None
    key_done_ms: float | None = None
    quit_s: float | None = None
    restored: bool | None = None
    starts: list[float] = field(default_factory=list)


class Terminal:
    """A program under a pseudo-terminal."""

    def __init__(self, command: str, rows: int, columns: int, env: dict[str, str]) -> None:
        self.began = time.perf_counter()
        self.pid, self.master = os.forkpty()
        if self.pid == 0:
            words = shlex.split(command)
            os.execvpe(words[0], words, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **env})
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.written = bytearray()
        self.total = 0
        self.process = psutil.Process(self.pid)
        self.ended = False

    def pump(self, seconds: float, until: "re.Pattern[bytes] | None" = None, visible: int = 0) -> float | None:
        """Read for a time, or until something shows; return when, in seconds since the start."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0 and not self.ended:
            if not select.select([self.master], [], [], left)[0]:
                break
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self.written += data
            self.total += len(data)
            for question, answer in ANSWERS:
                for _ in question.findall(data):
                    os.write(self.master, answer)
            if until is not None and until.search(self.written):
                return time.perf_counter() - self.began
            if visible and len(DRAWN.sub(b"", bytes(self.written))) >= visible:
                return time.perf_counter() - self.began
        return None

    def press(self, key: str) -> tuple[float, float] | None:
        """Send a key in a quiet moment; return milliseconds to the first and to the last byte that answers it."""
        self.pump(0.05)
        while select.select([self.master], [], [], QUIET_S)[0] and not self.ended:
            self.pump(0.01)
        sent = time.perf_counter()
        os.write(self.master, key.encode())
        if not select.select([self.master], [], [], 1.5)[0]:
            return None
        first = done = time.perf_counter()
        while select.select([self.master], [], [], QUIET_S)[0] and not self.ended:
            self.pump(0.0005)
            done = time.perf_counter()
        return (first - sent) * 1000, (done - sent) * 1000

    def cpu_s(self) -> float:
        """Return user and system seconds of the tree, ended children included."""
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mb(self) -> float:
        """Return the resident memory of the tree."""
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total / 1e6

    def leave(self, key: str) -> tuple[float | None, bool]:
        """Quit by key; return the seconds until the process was gone, and whether the screen was given back."""
        sent = time.perf_counter()
        with contextlib.suppress(OSError):
            os.write(self.master, key.encode())
        while time.perf_counter() - sent < 5:
            self.pump(0.005)
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pump(0.05)
                took = time.perf_counter() - sent
                os.close(self.master)
                tail = bytes(self.written)
                left = tail.rfind(b"\x1b[?1049l") > tail.rfind(b"\x1b[?1049h")
                return took, left and tail.rfind(b"\x1b[?25h") > tail.rfind(b"\x1b[?25l")
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)
        return None, False


def measure(
    command: str,
    *,
    seconds: float = 30.0,
    warmup: float = 6.0,
    rows: int = 40,
    columns: int = 120,
    marker: str | None = None,
    starts: int = 3,
    keys: str = "jk",
    leave: str = "q",
    env: dict[str, str] | None = None,
) -> Figures:
    """Start a program several times, watch it once for a while, press keys, and quit."""
    figures, sought = Figures(), re.compile(marker.encode()) if marker else None
    markers = []
    for index in range(starts):
        terminal = Terminal(command, rows, columns, env or {})
        painted = terminal.pump(10.0, visible=PAINTED)
        figures.starts.append(round(painted or float("nan"), 3))
        if sought is not None:
            found = terminal.pump(15.0, until=sought) if not sought.search(terminal.written) else painted
            markers.append(found if found is not None else float("nan"))
        if index < starts - 1:
            terminal.pump(0.5)
            terminal.leave(leave)
    figures.first_paint_s = statistics.median(figures.starts)
    figures.marker_s = statistics.median(markers) if markers else None
    terminal.pump(warmup)
    cpu, sent, began = terminal.cpu_s(), terminal.total, time.perf_counter()
    peak = 0.0
    while time.perf_counter() - began < seconds:
        terminal.pump(1.0)
        peak = max(peak, terminal.rss_mb())
    elapsed = time.perf_counter() - began
    figures.cpu_s_per_min = (terminal.cpu_s() - cpu) * 60 / elapsed
    figures.bytes_per_min = (terminal.total - sent) * 60 / elapsed
    figures.rss_mb = peak
    answered = [took for key in keys * 6 if (took := terminal.press(key)) is not None]
    figures.key_ms = statistics.median(first for first, _ in answered) if answered else None
    figures.key_done_ms = statistics.median(done for _, done in answered) if answered else None
    figures.quit_s, figures.restored = terminal.leave(leave)
    return figures


def rounded(figures: Figures) -> dict[str, object]:
    """Return the figures for printing."""
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(figures).items()}
