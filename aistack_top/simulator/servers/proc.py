"""The kernel's files of a simulated machine, written to a folder: what a host collector is pointed at.

Only what the model knows is there: CPU time, load, memory, CPU pressure, and the processes on the GPUs. It has no
disks and no network; their files are empty, as in a machine without any.
"""

import os
from pathlib import Path

from aistack_top.simulator.host import Host
from aistack_top.simulator.node import SimulatedNode

HERTZ = os.sysconf("SC_CLK_TCK")
"""Clock ticks a second in the kernel's files."""

USER_SHARE = 0.85
"""Share of the busy time that is the programs' own; the rest is the kernel's. Assumed."""

HOST_PID_NAMESPACE = "pid:[4026531836]"
"""The namespace that every Linux starts with: PROC_PID_INIT_INO of include/linux/proc_ns.h."""


class HostFiles:
    """Writes ``proc`` and ``sys`` below a folder; each `write` replaces what the last one wrote."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        self._processes: dict[int, str] = {}
        for path in (self.proc / "pressure", self.proc / "net", self.proc / "self" / "ns", self.sys / "block"):
            path.mkdir(parents=True, exist_ok=True)
        namespace = self.proc / "self" / "ns" / "pid"
        if not namespace.is_symlink():
            namespace.symlink_to(HOST_PID_NAMESPACE)
        self._put("self/cgroup", "0::/system.slice/aistack-top.service\n")
        self._put("diskstats", "")
        self._put("net/dev", "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes packets errs\n")
        self._put("vmstat", "pswpin 0\npswpout 0\noom_kill 0\n")

    def write(self, node: SimulatedNode) -> None:
        """Write what the kernel says of a node now."""
        host = node.host
        self._put("stat", _stat(host, node.now, int(node.epoch - node.lived_s)))
        self._put("loadavg", f"{host.load_average:.2f} {host.load_average:.2f} {host.load_average:.2f} 4/900 4242\n")
        total, available = int(host.memory_total / 1024), int((host.memory_total - host.memory_used) / 1024)
        self._put("meminfo", f"MemTotal: {total} kB\nMemFree: {available} kB\nMemAvailable: {available} kB\n")
        self._put("pressure/cpu", _pressure(100.0 * (1.0 - 1.0 / host.slowdown)))
        for quiet in ("memory", "io"):
            self._put(f"pressure/{quiet}", _pressure(0.0))
        self._owners(node)

    def _owners(self, node: SimulatedNode) -> None:
        now = {process.pid: process.name for gpu in node.gpus for process in gpu.processes.values()}
        for pid in self._processes.keys() - now.keys():
            for name in ("status", "stat", "cgroup"):
                (self.proc / str(pid) / name).unlink(missing_ok=True)
        for pid in now.keys() - self._processes.keys():
            (self.proc / str(pid)).mkdir(exist_ok=True)
            self._put(f"{pid}/status", f"Name:\t{now[pid][:15]}\nUid:\t0\t0\t0\t0\n")
            # what is there at the first look has been there since the machine was started
            ticks = int((node.lived_s + node.now) * HERTZ) if self._processes else 0
            self._put(f"{pid}/stat", f"{pid} ({now[pid][:15]}) S 1 {'0 ' * 17}{ticks} 0\n")
            self._put(f"{pid}/cgroup", "0::/system.slice/serving.service\n")
        self._processes = now

    def _put(self, name: str, text: str) -> None:
        # replaced as a whole: a reader in another process must not see half of it
        target = self.proc / name
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)


def _stat(host: Host, now: float, boot: int) -> str:
    busy, stolen = host.busy_s * HERTZ, host.stolen_s * HERTZ
    idle = max(0.0, host.cores * now * HERTZ - busy - stolen)
    user = busy * USER_SHARE
    total = f"cpu  {user:.0f} 0 {busy - user:.0f} {idle:.0f} 0 0 0 {stolen:.0f} 0 0\n"
    cores = "".join(f"cpu{core} 0 0 0 0 0 0 0 0 0 0\n" for core in range(host.cores))
    # whoever reads the file runs too
    return f"{total}{cores}btime {boot}\nprocs_running {1 + round(host.utilization * host.cores * host.slowdown)}\n"


def _pressure(percent: float) -> str:
    """Return a pressure file.

    Some task waits for a CPU for the share of the time by which all together want more than there is; no task of the
    model's stops all others, so that the second line is nothing. An approximation of what the kernel measures.
    """
    return (
        f"some avg10={percent:.2f} avg60={percent:.2f} avg300={percent:.2f} total=0\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
