"""Whose GPU processes are: user, command, container and start, read for the given process ids and no others."""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact
from aistack_top.text.sanitize import sanitize
from collectors.procfs.cgroup import in_host_pid_namespace, read_file
from collectors.procfs.files import parse_container, parse_owner, parse_start, parse_stat

MAX_PROCESSES = 64
"""Processes looked at in one go: eight GPUs with eight each."""

_TICKS = os.sysconf("SC_CLK_TCK")


def user_name(user: int) -> str:
    """Return a user's name, or the number where this machine knows none. May ask a directory server, and block."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OverflowError):
        return str(user)


def owners(pids: Iterable[int], proc_root: Path, user_of: Callable[[int], str] = user_name) -> tuple[list[Fact], int]:
    """Return facts about processes, and how many of them could not be seen.

    Facts are ``user``, ``command`` (its name alone: arguments may hold secrets), ``container`` and ``started``
    (RFC 3339, UTC). The driver may count processes in another namespace than ours, where the same number is
    somebody else. So outside the machine's own namespace, a process is believed to be the one meant only when it
    holds a GPU's device file open.
    """
    certain = in_host_pid_namespace(proc_root) is True
    boot = parse_stat(read_file(proc_root / "stat") or b"").boot
    facts: list[Fact] = []
    hidden = 0
    for pid in sorted(set(pids))[:MAX_PROCESSES]:
        folder = proc_root / str(pid)
        told = _facts(pid, folder, boot, user_of) if certain or _holds_a_gpu(folder) else []
        facts += told
        hidden += not told
    return facts, hidden


def _facts(pid: int, folder: Path, boot: int | None, user_of: Callable[[int], str]) -> list[Fact]:
    command, user = parse_owner(read_file(folder / "status") or b"")
    if not command or user is None:
        return []
    known = {"user": user_of(user), "command": command}
    container = parse_container(read_file(folder / "cgroup") or b"")
    if container:
        known["container"] = container
    started = _started(boot, parse_start(read_file(folder / "stat") or b""))
    if started:
        known["started"] = started
    entity = Entity.of(process=str(pid))
    # a process id that is used again is another process and no change of this one
    return [Fact(entity, key, sanitize(value, 80), watched=False) for key, value in known.items()]


def _started(boot: int | None, ticks: int | None) -> str | None:
    if boot is None or ticks is None:
        return None
    try:
        return datetime.fromtimestamp(boot + ticks // _TICKS, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _holds_a_gpu(folder: Path) -> bool:
    try:
        files = list((folder / "fd").iterdir())
    except OSError:
        return False
    for file in files:
        try:
            if str(file.readlink()).startswith("/dev/nvidia"):
                return True
        except OSError:
            continue
    return False
