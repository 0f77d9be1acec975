"""What the kernel's text files say: pure functions of bytes, for `collectors.host.collector`.

| function | file | description in the kernel's documentation |
|---|---|---|
| `parse_stat` | ``/proc/stat`` | filesystems/proc.rst, 1.7 |
| `parse_table` | ``/proc/meminfo``, ``/proc/vmstat`` | proc.rst |
| `parse_table` | ``cpu.stat``, ``memory.stat``, ``memory.events`` | admin-guide/cgroup-v2.rst |
| `parse_load` | ``/proc/loadavg`` | proc.rst |
| `parse_pressure` | ``/proc/pressure/*``, ``*.pressure`` | accounting/psi.rst |
| `parse_disks` | ``/proc/diskstats`` | admin-guide/iostats.rst |
| `parse_network` | ``/proc/net/dev`` | proc.rst, 1.4 |
| `parse_mounts` | ``/proc/self/mountinfo`` | proc.rst, 3.5 |
| `parse_cpu_max`, `parse_cpu_set` | ``cpu.max``, ``cpuset.cpus.effective`` | admin-guide/cgroup-v2.rst |
| `parse_owner`, `parse_start` | ``/proc/PID/status``, ``/proc/PID/stat`` | proc.rst, 1.1 |

None of them raises, whatever the bytes are: a line that is not understood is left out, a value that is not there
is None. psutil is not used: it reads the same files and leaves out pressure, the run queue, cgroup limits and
stacked devices, can be pointed at another ``/proc`` only for the whole process, and costs an import besides.
"""

import re
from dataclasses import dataclass

SECTOR = 512
"""Bytes of a sector in ``/proc/diskstats``: always this many, whatever the disk's own are (iostats.rst)."""

_MAX_DIGITS = 20
"""Digits of the largest 64-bit number. What is longer comes from no kernel."""


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU time since boot by what it went into, in clock ticks, summed over all CPUs.

    Time of guests is part of ``user`` and ``nice`` already. ``steal`` is None on kernels before 2.6.11.
    """

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int | None

    @property
    def busy(self) -> int:
        """Ticks in which this machine ran something."""
        return self.user + self.nice + self.system + self.irq + self.softirq


@dataclass(frozen=True, slots=True)
class CpuShares:
    """What an interval's CPU time went into, 0 to 1. They and the idle share make 1."""

    busy: float
    iowait: float
    steal: float | None


@dataclass(frozen=True, slots=True)
class Stat:
    """The useful part of ``/proc/stat``.

    ``cpus`` counts those online, ``running`` the tasks that run or wait for a CPU, the reader of the file among
    them; ``boot`` is when the machine started, in seconds since the Unix epoch.
    """

    times: CpuTimes | None
    cpus: int
    running: int | None
    boot: int | None


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its device's numbers, the place, the type, and whether it can be written."""

    device: str
    point: str
    kind: str
    writable: bool


def parse_stat(body: bytes) -> Stat:
    """Return CPU times, CPUs online, runnable tasks and boot time."""
    times: CpuTimes | None = None
    cpus = 0
    single: dict[bytes, int | None] = {}
    for line in body.split(b"\n"):
        if line.startswith(b"cpu"):
            if line[3:4].isdigit():
                cpus += 1
            elif line[3:4] == b" ":
                times = _times(line.split()[1:9])
        elif line.startswith((b"procs_running ", b"btime ")):
            words = line.split()
            single[words[0]] = _count(words[1]) if len(words) == 2 else None
    return Stat(times, cpus, single.get(b"procs_running"), single.get(b"btime"))


def cpu_shares(before: CpuTimes, after: CpuTimes) -> CpuShares | None:
    """Return what the time between two readings went into, or None where they do not follow each other.

    Idle time and iowait can go back by a little (proc.rst); this counts as nothing, as in top. Any other counter
    that went back means another boot or a restored machine.
    """
    user, nice = after.user - before.user, after.nice - before.nice
    system, irq, softirq = after.system - before.system, after.irq - before.irq, after.softirq - before.softirq
    idle, iowait = max(after.idle - before.idle, 0), max(after.iowait - before.iowait, 0)
    steal = None if after.steal is None or before.steal is None else after.steal - before.steal
    if min(user, nice, system, irq, softirq, steal or 0) < 0:
        return None
    busy = user + nice + system + irq + softirq
    total = busy + idle + iowait + (steal or 0)
    if total <= 0:
        return None
    return CpuShares(busy / total, iowait / total, None if steal is None else steal / total)


def parse_table(body: bytes) -> dict[str, int]:
    """Return a table of one name and one number a line. Numbers followed by ``kB`` are returned in bytes."""
    table = {}
    for line in body.split(b"\n"):
        words = line.split()
        if 2 <= len(words) <= 3 and words[0].isascii():
            value = _count(words[1])
            unit = words[2] if len(words) == 3 else b""
            if value is not None and unit in (b"", b"kB"):
                table[words[0].rstrip(b":").decode("ascii")] = value * 1024 if unit else value
    return table


def parse_load(body: bytes) -> float | None:
    """Return the load average of one minute: tasks that run, wait for a CPU, or sleep uninterruptibly."""
    return _decimal(body.split(None, 1)[0]) if body.strip() else None


def parse_schedstat(body: bytes) -> tuple[int, int] | None:
    """Return the nanoseconds that a task ran, and that it could run and waited for a CPU (``/proc/PID/schedstat``)."""
    words = body.split()
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    return int(words[0]), int(words[1])


def parse_pressure(body: bytes) -> float | None:
    """Return the share of the last 10 s in which at least one task waited for the resource (``some avg10``)."""
    for line in body.split(b"\n"):
        words = line.split()
        if words[:1] == [b"some"]:
            told = next((word[6:] for word in words if word.startswith(b"avg10=")), b"")
            percent = _decimal(told)
            return None if percent is None or percent > 100 else percent / 100
    return None


def parse_disks(body: bytes) -> dict[str, tuple[int, int, int]]:
    """Return for each block device bytes read, bytes written and milliseconds in which it had work, since boot.

    Partitions are among them. A device that never did anything is left out.
    """
    disks = {}
    for line in body.split(b"\n"):
        words = line.split()
        if len(words) < 13:
            continue
        read, written, busy = _count(words[5]), _count(words[9]), _count(words[12])
        if read is not None and written is not None and busy is not None and read + written + busy:
            disks[_name(words[2])] = (read * SECTOR, written * SECTOR, busy)
    return disks


def parse_network(body: bytes) -> dict[str, tuple[int, int, int]]:
    """Return for each interface bytes received, bytes sent and errors both ways, since it came up."""
    interfaces = {}
    for line in body.split(b"\n"):
        name, colon, rest = line.rpartition(b":")
        words = rest.split()
        if not colon or len(words) < 16:
            continue
        received, sent = _count(words[0]), _count(words[8])
        lost_in, lost_out = _count(words[2]), _count(words[10])
        if received is not None and sent is not None and lost_in is not None and lost_out is not None:
            interfaces[_name(name.strip())] = (received, sent, lost_in + lost_out)
    return interfaces


def parse_mounts(body: bytes) -> list[Mount]:
    """Return the mounted file systems in the order in which they were mounted."""
    mounts = []
    for line in body.split(b"\n"):
        place, dash, what = line.partition(b" - ")
        left, right = place.split(), what.split()
        if dash and len(left) >= 6 and len(right) >= 3:
            writable = b"ro" not in left[5].split(b",") and b"ro" not in right[2].split(b",")
            mounts.append(Mount(_name(left[2]), _unescaped(left[4]), _name(right[0]), writable))
    return mounts


def parse_cpu_max(body: bytes) -> float | None:
    """Return how many CPUs a cgroup may use at once, or None where it has no limit."""
    words = body.split()
    quota, period = (_count(words[0]), _count(words[1])) if len(words) == 2 else (None, None)
    return quota / period if quota and period else None


def parse_cpu_set(body: bytes) -> int | None:
    """Return how many CPUs a list like ``0-3,8`` names, or None where it names none."""
    cpus = 0
    for part in body.strip().split(b","):
        first, dash, last = part.partition(b"-")
        low, high = _count(first), _count(last if dash else first)
        if low is None or high is None or high < low:
            return None
        cpus += high - low + 1
    return cpus


def parse_owner(body: bytes) -> tuple[str, int | None]:
    """Return the command's name (at most 15 characters, no arguments) and the user id of a ``/proc/PID/status``."""
    name, user = "", None
    for line in body.split(b"\n"):
        if line.startswith(b"Name:"):
            name = _name(line[5:].strip())
        elif line.startswith(b"Uid:"):
            words = line.split()
            user = _count(words[1]) if len(words) > 1 else None
    return name, user


def parse_start(body: bytes) -> int | None:
    """Return when a process started, in clock ticks after boot, from its ``/proc/PID/stat``."""
    # the command's name stands in parentheses and may hold spaces and parentheses itself
    words = body.rpartition(b")")[2].split()
    return _count(words[19]) if len(words) > 19 else None


_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_LXC = re.compile(r"/lxc(?:\.payload)?[./]([^/\n]+)")


def parse_container(body: bytes) -> str | None:
    """Return the container of a ``/proc/PID/cgroup``: the first 12 digits of its id, or its name under LXC.

    Docker, containerd, CRI-O and Podman all name the cgroup after the 64 digits, with or without a prefix. The
    innermost one counts.
    """
    text = body.decode("utf-8", "replace")
    ids = _CONTAINER.findall(text)
    if ids:
        return str(ids[-1][:12])
    named = _LXC.search(text)
    return named.group(1) if named else None


def parse_cgroup(body: bytes) -> str | None:
    """Return the version 2 cgroup of a ``/proc/PID/cgroup``, as a path from the root of its hierarchy."""
    for line in body.split(b"\n"):
        if line.startswith(b"0::/"):
            return line[3:].decode("utf-8", "surrogateescape")
    return None


def _times(words: list[bytes]) -> CpuTimes | None:
    counts = [count for word in words if (count := _count(word)) is not None]
    if len(counts) != len(words) or len(counts) < 7:
        return None
    user, nice, system, idle, iowait, irq, softirq = counts[:7]
    return CpuTimes(user, nice, system, idle, iowait, irq, softirq, counts[7] if len(counts) > 7 else None)


def _count(word: bytes) -> int | None:
    return int(word) if word.isdigit() and len(word) <= _MAX_DIGITS else None


def _decimal(word: bytes) -> float | None:
    whole, _, part = word.partition(b".")
    return float(word) if word[:_MAX_DIGITS] == word and whole.isdigit() and (not part or part.isdigit()) else None


def _name(word: bytes) -> str:
    return word.decode("utf-8", "replace")


_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


def _unescaped(word: bytes) -> str:
    # the kernel writes space, tab, newline and backslash of a path as octal escapes
    raw = _OCTAL.sub(lambda found: bytes([int(found.group(1), 8)]), word)
    return raw.decode("utf-8", "surrogateescape")
