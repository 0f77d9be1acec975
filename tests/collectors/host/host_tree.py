"""A /proc and a /sys to read from: the captured files of a real machine, and what a test adds to them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aistack_top.model.tick import Batch
from collectors.host.collector import HostCollector
from collectors.runtime.base import Source

CAPTURE = Path(__file__).parents[3] / "fixtures" / "captures" / "host-linux-6"
BETWEEN_S = 2.0006212410003172
CONTAINER = "3f" * 32
HOST_NAMESPACE = "pid:[4026531836]"


class HandClock:
    """A clock that a test sets."""

    def __init__(self, start: float = 1_795_480_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def stepped_s(self) -> float:
        return 0.0

    async def sleep_until(self, moment: float) -> None:
        self.time = max(self.time, moment)


@dataclass
class Tree:
    """The files, and the collector that reads them."""

    root: Path
    clock: HandClock

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def sys(self) -> Path:
        return self.root / "sys"

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def link(self, path: str, target: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def show(self, capture: str) -> None:
        """Put the captured files of a moment in place."""
        shutil.copytree(CAPTURE / capture, self.proc, dirs_exist_ok=True)

    def collector(self, **more: Any) -> HostCollector:
        source = Source("host", "host", "compute", 2.0)
        told: dict[str, Any] = {"proc_root": self.proc, "sys_root": self.sys, "start": lambda work: work(), **more}
        return HostCollector(source, self.clock, "node-1", **told)

    async def run(self, collector: HostCollector, after: float = 0.0) -> Batch:
        self.clock.time += after
        return await collector.collect()

    def container(self, **files: str) -> None:
        """Make this the tree of a container that sees its own cgroup alone."""
        self.write("sys/fs/cgroup/cgroup.type", "domain\n")
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{name.replace('_', '.', 1)}", text)


def machine(root: Path) -> Tree:
    """Return the captured machine at its first moment, outside of any container."""
    tree = Tree(root, HandClock())
    tree.show("t0")
    tree.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
    tree.write("proc/self/schedstat", "2000000 500000 8\n")
    tree.write("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-3.scope\n")
    tree.link("proc/self/ns/pid", HOST_NAMESPACE)
    (tree.sys / "block/vda").mkdir(parents=True)
    tree.write("sys/class/net/eth0/device/vendor", "0x1af4\n")
    return tree


def told(batch: Batch) -> dict[str, Any]:
    """Return the readings of a batch by signal, and by device where there is one."""
    found = {}
    for signal, entity, value in batch.readings:
        device = entity.get("device")
        found[f"{signal} {device}" if device else signal] = value
    return found


def known(batch: Batch) -> dict[tuple[str, str], str]:
    """Return the facts of a batch by entity's name and key."""
    return {(fact.entity.get("process") or "", fact.key): fact.value for fact in batch.facts}
