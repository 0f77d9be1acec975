"""Disks, network interfaces and file systems: which of them count, and how fast each goes."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aistack_top.measure.counters import RateMeter
from collectors.procfs.cgroup import read_file
from collectors.procfs.files import parse_mounts

MAX_DEVICES = 8
"""Devices shown by name; the rest is added up under `OTHER`, so that a sum over all stays right."""

OTHER = "other"

FADE = 0.99
"""What a device's traffic still weighs one run later when the busiest are picked: half after 69 runs (140 s at
2 s), so that a device does not come and go with every lull."""


@dataclass(frozen=True, slots=True)
class CounterColumn:
    """One counter of a device: the signal of its rate, the factor to the signal's unit, and the highest there is.

    A column with a ``most`` is a share, so that several devices are as busy as the busiest of them.
    """

    signal: str
    factor: float = 1.0
    most: float | None = None


class DeviceRates:
    """Rates of the counters of many devices: the busiest by name, the rest together."""

    def __init__(self, columns: Sequence[CounterColumn], window_s: float, most: int = MAX_DEVICES) -> None:
        self._columns = tuple(columns)
        self._window_s = window_s
        self._most = most
        self._meters: dict[str, tuple[RateMeter, ...]] = {}
        self._weights: dict[str, float] = {}

    def update(self, at: float, counters: Mapping[str, Sequence[int]]) -> list[tuple[str, str, float]]:
        """Return device, signal and rate of what was counted at a time; the first two counters are its traffic."""
        for gone in self._meters.keys() - counters.keys():
            del self._meters[gone], self._weights[gone]
        rates = {name: self._rates(name, at, row) for name, row in counters.items()}
        shown = sorted(counters, key=lambda name: (-self._weights[name], -sum(counters[name][:2]), name))[: self._most]
        found = [
            (name, column.signal, rate)
            for name in shown
            for column, rate in zip(self._columns, rates[name], strict=True)
            if rate is not None
        ]
        rest = [rates[name] for name in counters if name not in shown]
        return found + self._together(rest)

    def _rates(self, name: str, at: float, row: Sequence[int]) -> tuple[float | None, ...]:
        if name not in self._meters:
            self._meters[name] = tuple(RateMeter(self._window_s) for _ in self._columns)
            self._weights[name] = 0.0
        steps = [meter.observe(at, value) for meter, value in zip(self._meters[name], row, strict=True)]
        self._weights[name] = self._weights[name] * FADE + sum(step.delta or 0.0 for step in steps[:2])
        return tuple(_scaled(step.rate, column) for step, column in zip(steps, self._columns, strict=True))

    def _together(self, rows: Sequence[Sequence[float | None]]) -> list[tuple[str, str, float]]:
        found = []
        for place, column in enumerate(self._columns):
            rates = [rate for row in rows if (rate := row[place]) is not None]
            if rates:
                found.append((OTHER, column.signal, sum(rates) if column.most is None else max(rates)))
        return found


def _scaled(rate: float | None, column: CounterColumn) -> float | None:
    if rate is None:
        return None
    value = rate * column.factor
    return value if column.most is None else min(value, column.most)


_NOT_DISKS = re.compile(r"(?:loop|ram|zram|sr|fd)\d+|nvme\d+c\d+n\d+")
"""Devices in memory, optical and floppy drives, and the single paths of a multipath NVMe disk."""

_WHOLE = re.compile(r"(?:[hsv]d|xvd)[a-z]+|nvme\d+n\d+|mmcblk\d+")


def whole_disks(names: Iterable[str], sys_root: Path) -> frozenset[str]:
    """Return which block devices are whole disks that count.

    Left out are partitions, and devices stacked on others (device mapper, RAID): what goes through a stack goes
    through the disks below it and would count twice. Where ``/sys/block`` is masked, the name decides.
    """
    block = sys_root / "block"
    try:
        listed = {entry.name for entry in block.iterdir()}
    except OSError:
        return frozenset(name for name in names if _WHOLE.fullmatch(name))
    return frozenset(
        name
        for name in names
        if name.replace("/", "!") in listed and not _NOT_DISKS.fullmatch(name) and not _is_stack(block, name)
    )


def _is_stack(block: Path, name: str) -> bool:
    try:
        return any((block / name.replace("/", "!") / "slaves").iterdir())
    except OSError:
        return False


_NOT_LINKS = re.compile(r"(?:lo|veth|docker|br-|virbr|cni|flannel|cali|cilium|lxc|vxlan|tunl|sit|gre|ifb|dummy).*")
"""Interfaces that carry what another one carries as well, or nothing."""


def outer_interfaces(names: Iterable[str], sys_root: Path) -> frozenset[str]:
    """Return which network interfaces lead out of this machine or container; loopback never does.

    Those backed by hardware are counted, and no bond, bridge or VLAN above them. A virtual function under a
    synthetic interface (Azure) is left out: the one above counts it too. In a container there is no hardware to be
    seen, and the name decides.
    """
    net = sys_root / "class/net"
    names = list(names)
    hardware = {name for name in names if (net / name / "device").exists()}
    if not hardware:
        return frozenset(name for name in names if not _NOT_LINKS.fullmatch(name))
    return frozenset(name for name in hardware if _master(net / name) not in hardware)


def _master(interface: Path) -> str:
    try:
        return (interface / "master").readlink().name
    except OSError:
        return ""


_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay"})
"""File systems on disks of this machine. Asking a network file system hangs with its server, so none is asked."""


def file_systems(proc_root: Path, statvfs: Callable[[str], os.statvfs_result] = os.statvfs) -> list[tuple[str, float]]:
    """Return mount point and used share (0 to 1) of the largest local file systems that can be written.

    The share is df's: used blocks over used and available ones, without those reserved for root. May block on a
    disk that does not answer, so it is called on a thread of its own.
    """
    places: dict[str, str] = {}
    for mount in parse_mounts(read_file(proc_root / "self/mountinfo") or b""):
        if mount.kind not in _LOCAL or not mount.writable or (mount.kind == "overlay" and mount.point != "/"):
            continue
        held = places.get(mount.device)
        # one disk is mounted in many places; single files are mounted into containers
        if (held is None or len(mount.point) < len(held)) and _is_folder(mount.point):
            places[mount.device] = mount.point
    found = []
    for point in places.values():
        try:
            told = statvfs(point)
        except OSError:
            continue
        used = told.f_blocks - told.f_bfree
        if used + told.f_bavail > 0:
            found.append((told.f_blocks * told.f_frsize, point, used / (used + told.f_bavail)))
    found.sort(key=lambda row: (-row[0], row[1]))
    return [(point, share) for _, point, share in found[:MAX_DEVICES]]


def _is_folder(point: str) -> bool:
    try:
        return Path(point).is_dir()
    except (OSError, ValueError):
        return False
