"""What each capability needs, and what it sends where: the table that ``aistack-top doctor --permissions`` prints."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collectors.cloud.providers import found
from collectors.kernel_log.reading import logs
from collectors.plugins import loaded
from collectors.procfs.cgroup import in_host_pid_namespace, read_file
from collectors.registry import kinds
from collectors.runtime.environment import NO_STATE


@dataclass(frozen=True, slots=True)
class ProbeRoots:
    """Where a capability is tried: the roots of the kernel's files, and the user's state folder."""

    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    state: Path | None = None
    sys: Path = Path("/sys")
    log: Path = Path("/var/log")


@dataclass(frozen=True, slots=True)
class Permission:
    """``needs`` and ``sends`` are for a person; ``lacks`` says in words what is missing here, or nothing.

    ``mend`` is how to fix that.
    """

    name: str
    needs: str
    sends: str
    lacks: Callable[[ProbeRoots], str]
    mend: str = ""


def hides_processes(proc: Path) -> bool:
    """Whether ``/proc`` shows us our own processes only (mount option hidepid, proc(5)) and we are not root."""
    hidden = False
    for line in (read_file(proc / "self/mounts") or b"").split(b"\n"):
        words = line.split()
        if len(words) > 3 and words[1] == b"/proc":  # a later mount lies over an earlier one
            told = [one.partition(b"=")[2] for one in words[3].split(b",") if one.startswith(b"hidepid=")]
            hidden = bool(told) and told[-1] not in (b"0", b"off")
    return hidden and os.geteuid() != 0


def _gpu(place: ProbeRoots) -> str:
    device = place.dev / "nvidiactl"
    if not device.exists():
        return "there is no /dev/nvidiactl"
    return "" if os.access(device, os.R_OK | os.W_OK) else "/dev/nvidiactl is closed to this user"


def _others(place: ProbeRoots) -> str:
    if hides_processes(place.proc):
        return "/proc is mounted with hidepid"
    if in_host_pid_namespace(place.proc) is False:
        return "this is a container's process namespace; others are not visible from it"
    return ""


def _state(place: ProbeRoots) -> str:
    return NO_STATE if place.state is None or not os.access(place.state, os.W_OK) else ""


def _cloud(place: ProbeRoots) -> str:
    return "" if found(place.sys) else "no cloud detected in this machine's firmware; only a configured one is queried"


def _kernel_log(place: ProbeRoots) -> str:
    found, lacks = logs((), place.dev, place.log)
    return lacks if not found or lacks else ""


def _nothing(place: ProbeRoots) -> str:
    return ""


USE_GPUS = "install the NVIDIA driver; in a container, start it with --gpus all; else join the group of /dev/nvidia*"

_TRIED: dict[str, tuple[Callable[[ProbeRoots], str], str]] = {
    "nvml": (_gpu, USE_GPUS),
    "kernel-log": (_kernel_log, "join the group adm or systemd-journal; or set kernel.dmesg_restrict = 0"),
    "cloud": (_cloud, 'on a cloud machine, add it: [[source]] kind = "cloud", provider = "aws"'),
}
"""Kinds of source for which it can be told beforehand whether they will work here, and what to do if not."""

_OWN = (
    Permission(
        "discovery",
        "access to other users' processes in /proc; no root, no Docker socket",
        "GET of its metrics page to this machine and its containers, never further",
        _others,
        "add each server as [[source]]; or start the container with --pid=host; or remove hidepid from /proc",
    ),
    Permission(
        "recording",
        "the user's state folder, 300 MB unless set otherwise",
        "nothing",
        _state,
        "set XDG_STATE_HOME to a folder writable by this user",
    ),
)
"""What the program itself does, besides reading sources."""


def capabilities() -> tuple[Permission, ...]:
    """Return what everything needs and sends: the program itself, and each kind of source as its table says."""
    found = [*_OWN]
    for kind in (*kinds(), *loaded()):
        lacks, mend = _TRIED.get(kind.name, (_nothing, ""))
        found.append(Permission(kind.title, kind.needs, kind.sends, lacks, mend))
    return tuple(found)
