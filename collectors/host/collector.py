"""The host collector: CPU, steal, run queue, memory, pressure, disks, network, and whose the GPU processes are.

| module | does |
|---|---|
| `host_proc` | bytes of the kernel's files to numbers |
| `host_cgroup` | in a container or not, and the container's limits |
| `host_devices` | which disks, interfaces and file systems count, and their rates |
| `host_owners` | user, command and container of the GPU processes |

Nothing is asked but files of the kernel, no process list is walked, and no privilege is needed. What a kernel or a
container does not show is absent. What can block (a disk that does not answer, a directory server behind a user's
name) is asked on a daemon thread and told one run later.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from aistack_top.measure.clock import Clock
from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, Health, ReadingsBuilder
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from collectors.host.devices import CounterColumn, DeviceRates, file_systems, outer_interfaces, whole_disks
from collectors.procfs.cgroup import (
    CgroupLocation,
    CpuLimit,
    MemoryLimit,
    cpu_limit,
    find_box,
    memory_limit,
    oom_kills,
    pressure,
    read_file,
)
from collectors.procfs.files import (
    CpuTimes,
    cpu_shares,
    parse_disks,
    parse_load,
    parse_network,
    parse_schedstat,
    parse_stat,
    parse_table,
)
from collectors.procfs.owners import owners
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason

if TYPE_CHECKING:
    from collectors.config import HostSource
    from collectors.registry import CollectorContext

USAGE_S = 4.0
"""Between two looks at file systems: as seldom as a number may be seen before it counts as old at a 2 s pace."""

OWNERS_S = 10.0
FACTS_S = 60.0
"""Between two sayings of facts that did not change, for whoever began to listen in between (design: what changed)."""

MAX_GAP_S = 30.0
"""A mean over a longer time than this, or three runs, is a number about a time nobody looked at."""

PAGE = 4096
"""Bytes of a page where the system does not say."""

PRESSURES = {"cpu": "host.cpu.pressure", "memory": "host.memory.pressure", "io": "host.io.pressure"}

DISK = (CounterColumn("host.disk.read"), CounterColumn("host.disk.write"), CounterColumn("host.disk.busy", 0.001, 1.0))
NETWORK = (
    CounterColumn("host.network.receive"),
    CounterColumn("host.network.transmit"),
    CounterColumn("host.network.errors"),
)

MAX_BUSY = 0.05
"""No server is kept from its work by a read of ``/proc``; and where the CPUs are so short that a run takes long, the
numbers are wanted most."""

T = TypeVar("T")


def start_thread(work: Callable[[], None]) -> None:
    """Run work that may block for ever on a thread that nobody waits for, at exit either."""
    threading.Thread(target=work, name="host", daemon=True).start()


class BackgroundQuestion(Generic[T]):
    """One blocking question at a time, asked aside; its answer is picked up by a later run."""

    def __init__(self, start: Callable[[Callable[[], None]], None], every_s: float) -> None:
        self._start = start
        self._every_s = every_s
        self._asked: float | None = None
        self._busy = False
        self._answer: T | None = None
        self._fault = ""

    def ask(self, now: float, question: Callable[[], T]) -> None:
        """Ask, unless the last question is still open or was asked a moment ago."""
        if self._busy or (self._asked is not None and now - self._asked < self._every_s):
            return

        def work() -> None:
            try:
                self._answer, self._fault = question(), ""
            except Exception as fault:  # a traceback of a thread would be painted over the screen
                self._fault = sanitize(f"{type(fault).__name__}: {fault}")
            finally:
                self._busy = False

        self._asked, self._busy = now, True
        self._start(work)

    def answer(self) -> T | None:
        """Return the answer if there is a new one."""
        answer, self._answer = self._answer, None
        return answer

    def problem(self, now: float, what: str) -> str:
        """Return what is wrong with it in words, or nothing."""
        if self._busy and self._asked is not None and now - self._asked > 2 * self._every_s:
            return f"{what} unknown: no answer from the system"
        return f"{what} unknown: {self._fault}" if self._fault else ""


class CpuPart:
    """CPU time, the run queue and the load: the container's against its limit where it has one, else the node's."""

    def __init__(self, window_s: float) -> None:
        self._longest_s = max(3 * window_s, MAX_GAP_S)
        self._last: tuple[float, CpuTimes, int] | None = None
        self._own: tuple[int, int] | None = None
        self._used = RateMeter(window_s)
        self._periods = RateMeter(window_s)
        self._held_back = RateMeter(window_s)
        self.cpus: float | None = None
        self.scope = ""

    def read(self, at: float, proc_root: Path, box: CgroupLocation, node: Entity, out: ReadingsBuilder) -> str:
        """Add the readings of one run; return what is missing, in words."""
        body = read_file(proc_root / "stat") or b""
        stat = parse_stat(body)
        self.cpus = float(stat.cpus) if stat.cpus else None
        limit = cpu_limit(box.folder, stat.cpus) if box.folder is not None else None
        self.scope = "node" if limit is None else f"container: {_cpus(limit.cpus)} ({limit.why})"
        busy = self._node_time(at, stat.times, stat.cpus, node, out)
        if limit is not None:
            self.cpus = limit.cpus
            busy = self._container_time(at, limit, node, out)
        else:
            # runnable tasks are counted for the whole node, and a container's limit is no measure for those
            running = None if stat.running is None else float(max(stat.running - 1, 0))
            out.add("host.cpu.run_queue", node, running)
            out.add("host.cpu.load", node, parse_load(read_file(proc_root / "loadavg") or b""))
        out.add("host.cpu.utilization", node, busy)
        out.add("host.cpu.console_delay", node, self._own_delay(proc_root))
        out.add("host.cpu.cores", node, self.cpus)
        return "" if stat.times is not None else "CPU (stat)"

    def _node_time(
        self, at: float, times: CpuTimes | None, cpus: int, node: Entity, out: ReadingsBuilder
    ) -> float | None:
        last, self._last = self._last, None if times is None else (at, times, cpus)
        if times is None or last is None or last[2] != cpus or not 0 < at - last[0] <= self._longest_s:
            return None
        shares = cpu_shares(last[1], times)
        if shares is None:
            return None
        out.add("host.cpu.steal", node, shares.steal)
        out.add("host.cpu.iowait", node, shares.iowait)
        return shares.busy

    def _own_delay(self, proc_root: Path) -> float | None:
        """Return the share of the time since the last run that this process waited for a CPU, of all it could run."""
        told = parse_schedstat(read_file(proc_root / "self/schedstat") or b"")
        last, self._own = self._own, told
        if told is None or last is None:
            return None
        ran, waited = told[0] - last[0], told[1] - last[1]
        return waited / (ran + waited) if ran >= 0 and waited >= 0 and ran + waited > 0 else None

    def _container_time(self, at: float, limit: CpuLimit, node: Entity, out: ReadingsBuilder) -> float | None:
        if limit.periods is not None and limit.held_back is not None:
            periods = self._periods.observe(at, limit.periods).delta
            held_back = self._held_back.observe(at, limit.held_back).delta
            if periods and held_back is not None:
                out.add("host.cpu.throttled", node, min(held_back / periods, 1.0))
        if limit.used_us is None:
            return None
        rate = self._used.observe(at, limit.used_us).rate
        return None if rate is None else min(rate / 1e6 / limit.cpus, 1.0)


def _cpus(count: float) -> str:
    return "1 CPU" if count == 1 else f"{count:g} CPUs"


class MemoryPart:
    """Memory and swap, and the processes killed for lack of memory."""

    def __init__(self, window_s: float, page: int) -> None:
        self._page = page
        self._swapped = RateMeter(window_s)
        self._killed = RateMeter(window_s)
        self.total: int | None = None
        self.scope = ""

    def read(
        self, at: float, proc_root: Path, box: CgroupLocation, node: Entity, out: ReadingsBuilder
    ) -> tuple[str, int]:
        """Add the readings of one run; return what is missing, in words, and how many processes were killed."""
        table = parse_table(read_file(proc_root / "meminfo") or b"")
        installed, available = table.get("MemTotal"), table.get("MemAvailable")
        limit = memory_limit(box.folder, installed) if box.folder is not None else None
        self.scope = "node" if limit is None else "container (memory.max)"
        if limit is None and installed is not None:
            limit = MemoryLimit(installed, None if available is None else max(installed - available, 0))
        self.total = limit.total if limit else None
        if limit is not None:
            out.add("host.memory.total", node, float(limit.total))
            if limit.used is not None and limit.total > 0:
                out.add("host.memory.used", node, float(limit.used))
                out.add("host.memory.usage", node, min(limit.used / limit.total, 1.0))
        events = parse_table(read_file(proc_root / "vmstat") or b"")
        pages_in, pages_out = events.get("pswpin"), events.get("pswpout")
        if pages_in is not None and pages_out is not None:
            out.add("host.swap.rate", node, self._swapped.observe(at, (pages_in + pages_out) * self._page).rate)
        killed = events.get("oom_kill") if box.folder is None else oom_kills(box.folder)
        step = None if killed is None else self._killed.observe(at, killed)
        return ("" if limit is not None else "memory (meminfo)"), int(step.delta or 0) if step else 0


class DevicePart:
    """One kind of device: which count, and their rates."""

    def __init__(
        self,
        columns: Sequence[CounterColumn],
        window_s: float,
        which: Callable[[Iterable[str], Path], frozenset[str]],
    ) -> None:
        self._rates = DeviceRates(columns, window_s)
        self._which = which
        self._names: frozenset[str] = frozenset()
        self._chosen: frozenset[str] = frozenset()

    def read(
        self, at: float, counters: Mapping[str, Sequence[int]], sys_root: Path, node: Entity, out: ReadingsBuilder
    ) -> None:
        """Add the rates of one run."""
        names = frozenset(counters)
        if names != self._names:
            self._names, self._chosen = names, self._which(names, sys_root)
        chosen = {name: row for name, row in counters.items() if name in self._chosen}
        for name, signal, rate in self._rates.update(at, chosen):
            out.add(signal, node.with_(device=sanitize(name, 60)), rate)


class FactReporter:
    """Says a fact when it is new or differs, and all of them once a minute."""

    def __init__(self) -> None:
        self._said: dict[tuple[Entity, str], str] = {}
        self._due: float | None = None

    def news(self, now: float, facts: Iterable[Fact]) -> tuple[Fact, ...]:
        """Return those of all facts there are that are to be said now."""
        facts = tuple(facts)
        everything = self._due is None or now >= self._due
        if everything:
            self._due = now + FACTS_S
        news = facts if everything else tuple(f for f in facts if self._said.get((f.entity, f.key)) != f.value)
        self._said = {(fact.entity, fact.key): fact.value for fact in facts}
        return news


class HostCollector:
    """Reads the machine, or the container, that the console runs on."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        node: str,
        *,
        proc_root: Path = Path("/proc"),
        sys_root: Path = Path("/sys"),
        gpu_pids: Callable[[], Sequence[int]] = tuple,
        start: Callable[[Callable[[], None]], None] = start_thread,
        page: int = PAGE,
    ) -> None:
        self._source = source
        self._clock = clock
        self._node = Entity.of(node=node)
        self._proc = proc_root
        self._sys = sys_root
        self.gpu_pids = gpu_pids
        """Returns the process ids that the driver counts on the GPUs, without blocking; asked every 10 s."""
        self._keeper = HealthTracker(source)
        self._box: CgroupLocation | None = None
        self._cpu = CpuPart(source.interval_s)
        self._memory = MemoryPart(source.interval_s, page)
        self._disks = DevicePart(DISK, source.interval_s, whole_disks)
        self._network = DevicePart(NETWORK, source.interval_s, outer_interfaces)
        self._usage: BackgroundQuestion[list[tuple[str, float]]] = BackgroundQuestion(start, USAGE_S)
        self._owners: BackgroundQuestion[tuple[list[Fact], int]] = BackgroundQuestion(start, OWNERS_S)
        self._owned: tuple[list[Fact], int] = ([], 0)
        self._book = FactReporter()

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Return what the kernel says now, with one health record."""
        began, at = self._clock.monotonic(), self._clock.now()
        if self._box is None:
            self._box = find_box(self._proc, self._sys)
        out = ReadingsBuilder()
        missing = [self._cpu.read(at, self._proc, self._box, self._node, out)]
        lost, killed = self._memory.read(at, self._proc, self._box, self._node, out)
        missing.append(lost)
        own_pressure = self._pressures(self._box, out)
        missing += self._devices(at, out)
        self._look_aside(at, out)
        readings = out.build()
        facts = self._book.news(at, [*self._facts(self._box, own_pressure), *self._owned[0]])
        health = self._health([what for what in missing if what], began, at)
        if health.status != "ok":
            return Batch(at, at, health)
        return Batch(at, at, health, readings, self._events(at, killed), facts=facts)

    async def aclose(self) -> None:
        """Do nothing: files are closed as they are read, and threads are daemons."""

    def _pressures(self, box: CgroupLocation, out: ReadingsBuilder) -> bool:
        """Add the pressures; return whether they are the container's own."""
        own = False
        for resource, signal in PRESSURES.items():
            share, mine = pressure(self._proc, box, resource)
            out.add(signal, self._node, share)
            own = own or mine
        return own

    def _devices(self, at: float, out: ReadingsBuilder) -> list[str]:
        missing = []
        for part, file, what, parse in (
            (self._disks, "diskstats", "disks", parse_disks),
            (self._network, "net/dev", "network", parse_network),
        ):
            body = read_file(self._proc / file)
            if body is None:
                missing.append(f"{what} ({file})")
            else:
                part.read(at, parse(body), self._sys, self._node, out)
        return missing

    def _look_aside(self, at: float, out: ReadingsBuilder) -> None:
        proc_root = self._proc
        for point, share in self._usage.answer() or ():
            out.add("host.disk.usage", self._node.with_(device=sanitize(point, 60)), share)
        self._usage.ask(at, lambda: file_systems(proc_root))
        self._owned = self._owners.answer() or self._owned
        pids = tuple(self.gpu_pids())
        self._owners.ask(at, lambda: owners(pids, proc_root))

    def _facts(self, box: CgroupLocation, own_pressure: bool) -> list[Fact]:
        """Return what is so of the machine, and whose the numbers are."""
        kernel = (read_file(self._proc / "sys/kernel/osrelease") or b"").decode("utf-8", "replace")
        known = {
            "kernel": sanitize(kernel, 80),
            "cores": "" if self._cpu.cpus is None else f"{self._cpu.cpus:g}",
            "memory_total": "" if self._memory.total is None else numbers.show(float(self._memory.total), "By"),
            "container": "yes" if box.container else "no",
            "cpu_numbers_of": self._cpu.scope,
            "memory_numbers_of": self._memory.scope,
            "pressure_numbers_of": "container" if own_pressure else "node",
            "disk_numbers_of": "node",
            "network_numbers_of": "this network namespace" if box.container else "node",
        }
        return [Fact(self._node, key, value) for key, value in known.items() if value]

    def _events(self, at: float, killed: int) -> tuple[Event, ...]:
        if not killed:
            return ()
        what = "1 process" if killed == 1 else f"{killed} processes"
        text = f"the kernel killed {what} for lack of memory"
        detail = (("killed", str(killed)),)
        return (Event(at, at, "compute", "oom", "warning", self._node, text, self._source.name, detail),)

    def _health(self, missing: Sequence[str], began: float, at: float) -> Health:
        took = self._clock.monotonic() - began
        if len(missing) == 4:
            said = f"nothing to read under {self._proc}: host numbers need Linux with its proc file system"
            return self._keeper.failure(at, SourceError("misconfigured", said), took)
        notes = [f"not shown by this kernel or container: {', '.join(missing)}"] if missing else []
        notes += [self._usage.problem(at, "disk usage"), self._owners.problem(at, "GPU process owners")]
        if self._owned[1]:
            notes.append("owners of some GPU processes are not visible: another namespace, or hidden processes")
        return self._keeper.success(at, took, reason=reason(notes))


def build(config: "HostSource", tools: "CollectorContext") -> HostCollector:
    """Return the collector of a configured source; `HostCollector.gpu_pids` can be set where GPUs are read too."""
    from os import sysconf

    from collectors.registry import source_of

    return HostCollector(source_of(config, most_busy=MAX_BUSY), tools.clock, tools.node, page=sysconf("SC_PAGE_SIZE"))
