"""Whether we are in a container, and what it may use: cgroup version 2, read without any privilege.

In a container ``/proc/stat`` and ``/proc/meminfo`` still speak of the whole node. Where the container has a limit
of its own, its use against that limit is what slows an engine, so that number is shown and a fact says whose it is.
Limits of a cgroup that is no container (a login session, a service, a Slurm step) are ours, not the engines', and
are not looked at.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from collectors.procfs.files import (
    parse_cgroup,
    parse_container,
    parse_cpu_max,
    parse_cpu_set,
    parse_pressure,
    parse_table,
)

MAX_BYTES = 4 * 1024 * 1024
"""Bytes read of one file; ``/proc/stat`` of a machine with 1,024 CPUs and all its interrupts is under 1 MB."""

_PART = 64 * 1024
"""Bytes asked for at once: the kernel refuses a read of 4 MB from ``/proc/sys`` for want of memory."""

HOST_PID_NAMESPACE = "pid:[4026531836]"
"""Name of the namespace that every Linux starts with: PROC_PID_INIT_INO of include/linux/proc_ns.h."""


@dataclass(frozen=True, slots=True)
class CgroupLocation:
    """Where this process lives: in a container or not, and the folder of that container's cgroup if it is shown."""

    container: bool
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """The CPUs a container may use at once, why, and what it has used.

    ``used_us`` is CPU time in microseconds; of ``periods`` the container was held back in ``held_back``.
    """

    cpus: float
    why: str
    used_us: int | None
    periods: int | None
    held_back: int | None


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The bytes a container may use and those that it uses.

    ``used`` leaves out file pages that nobody used lately, as kubelet's working set does: the kernel drops them
    before it kills anything.
    """

    total: int
    used: int | None


def read_file(path: Path) -> bytes | None:
    """Return the content of a file of the kernel, or None where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        body = os.read(handle, _PART)
        while len(body) < MAX_BYTES and (part := os.read(handle, _PART)):
            body += part
        return body
    except OSError:
        return None
    finally:
        os.close(handle)


def in_host_pid_namespace(proc_root: Path) -> bool | None:
    """Whether process ids mean here what they mean to the kernel; None where nothing tells."""
    try:
        return str((proc_root / "self/ns/pid").readlink()) == HOST_PID_NAMESPACE
    except OSError:
        return None


def find_box(proc_root: Path, sys_root: Path) -> CgroupLocation:
    """Return whether this process runs in a container, and the cgroup that holds the container's limits."""
    mounted = sys_root / "fs/cgroup"
    # cgroup.type is missing in the root of the machine alone: seen at the top, what is mounted is a part of it
    if (mounted / "cgroup.type").exists():
        return CgroupLocation(True, mounted)
    own = read_file(proc_root / "self/cgroup") or b""
    if parse_container(own) is None:
        return CgroupLocation(in_host_pid_namespace(proc_root) is False)
    folder = _own_folder(mounted, parse_cgroup(own) or "/")
    return CgroupLocation(True, folder if folder is not None and folder.is_dir() else None)


def _own_folder(mounted: Path, path: str) -> Path | None:
    """Return the folder named after the container itself: a process may sit deeper than its container's limits."""
    wanted = _container_in(path)
    if wanted is None:
        return None
    folder, deeper = "", [part for part in path.split("/") if part]
    while _container_in(folder) != wanted:
        folder += "/" + deeper.pop(0)
    return mounted / folder.lstrip("/")


def _container_in(path: str) -> str | None:
    return parse_container(path.encode("utf-8", "surrogateescape"))


def cpu_limit(folder: Path, online: int) -> CpuLimit | None:
    """Return a container's CPU limit, or None where it may use every CPU that is online."""
    quota = parse_cpu_max(read_file(folder / "cpu.max") or b"")
    pinned = parse_cpu_set(read_file(folder / "cpuset.cpus.effective") or b"")
    limits = [(float(count), why) for count, why in ((quota, "cpu.max"), (pinned, "cpuset")) if count]
    cpus, why = min(limits, default=(0.0, ""))
    if not cpus or (online and cpus >= online):
        return None
    table = parse_table(read_file(folder / "cpu.stat") or b"")
    return CpuLimit(cpus, why, table.get("usage_usec"), table.get("nr_periods"), table.get("nr_throttled"))


def memory_limit(folder: Path, installed: int | None) -> MemoryLimit | None:
    """Return a container's memory limit, or None where it may use all that is installed."""
    told = read_file(folder / "memory.max") or b""
    limit = parse_table(b"max " + told.strip()).get("max")
    if not limit or (installed is not None and limit >= installed):
        return None
    current = parse_table(b"current " + (read_file(folder / "memory.current") or b"").strip()).get("current")
    inactive = parse_table(read_file(folder / "memory.stat") or b"").get("inactive_file")
    used = None if current is None or inactive is None else max(current - inactive, 0)
    return MemoryLimit(limit, used)


def oom_kills(folder: Path) -> int | None:
    """Return how many processes of a container were killed for lack of memory."""
    return parse_table(read_file(folder / "memory.events") or b"").get("oom_kill")


def pressure(proc_root: Path, box: CgroupLocation, resource: str) -> tuple[float | None, bool]:
    """Return the pressure on ``cpu``, ``memory`` or ``io`` (0 to 1), and whether it is the container's own."""
    if box.folder is not None:
        own = parse_pressure(read_file(box.folder / f"{resource}.pressure") or b"")
        if own is not None:
            return own, True
    return parse_pressure(read_file(proc_root / "pressure" / resource) or b""), False
