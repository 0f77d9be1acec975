"""One GPU from poll to poll: what is asked when, which counters become rates, and what is held between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signal
from aistack_top.model.tick import Fact
from collectors.nvml import read
from collectors.nvml.calls import ALL_LINKS, Asker, Field, FieldKey
from collectors.nvml.gpm import MIB, GpmMetric, GpmSampler
from collectors.nvml.throttle import ThrottleChange, ThrottleWatch

SLOW_S: Final = 5.0
"""Between two looks at limits, errors, processes and modes. In between their values are said again, so that none is
older than this, nor looks old beside those read every second."""

LINKS_S: Final = 10.0

_SHARES: Final = {
    GpmMetric.SM_UTIL: "gpu.sm.active",
    GpmMetric.SM_OCCUPANCY: "gpu.sm.occupancy",
    GpmMetric.ANY_TENSOR_UTIL: "gpu.tensor.active",
    GpmMetric.DRAM_BW_UTIL: "gpu.dram.active",
}


@dataclass(frozen=True, slots=True)
class GpuPoll:
    """What one poll of one GPU brought. ``pids`` holds the process ids by whom they are on: GPU or MIG instance."""

    rows: Sequence[read.Row]
    turns: Sequence[ThrottleChange]
    facts: Sequence[Fact]
    pids: Mapping[Entity, tuple[int, ...]]


@dataclass(slots=True)
class _Held:
    rows: tuple[read.Row, ...] = ()
    facts: list[Fact] = field(default_factory=list)
    pids: dict[Entity, tuple[int, ...]] = field(default_factory=dict)
    slowdown: float | None = None


class MigReader:
    """One MIG instance: a GPU instance, and within it a compute instance."""

    def __init__(self, asker: Asker, whole: Asker, entity: Entity, instance: int) -> None:
        self.asker = asker
        self.entity = entity
        self._gpm = GpmSampler(whole, instance)

    def slow(self, held: _Held) -> tuple[read.Row, ...]:
        """Return memory and processes of the instance, and note its process ids."""
        rows = [(signal, self.entity, value) for signal, value in read.memory(self.asker) if value is not None]
        found = read.processes(self.asker)
        if found is not None:
            held.pids[self.entity] = tuple(one.pid for one in found)
            rows += read.process_rows(self.entity, found)
        return tuple(rows)

    def profile(self, at: float) -> list[read.Row]:
        """Return how busy the instance was since the last poll."""
        return _profiled(self.entity, self._gpm.read(at))

    def close(self) -> None:
        """Give back what the library allocated."""
        self._gpm.close()


class GpuReader:
    """Reads one GPU; keeps its meters, and what it need not be asked every second.

    Its methods raise `GpuLostError` and `DriverGoneError` of `collectors.nvml.calls`.
    """

    def __init__(self, nvml: ModuleType, handle: object, uuid: str, index: int, interval_s: float) -> None:
        self.uuid = uuid
        self.index = index
        self.entity = Entity.of(gpu=uuid)
        self.asker = Asker(nvml, handle)
        self._throttle = ThrottleWatch(interval_s)
        self._gpm = GpmSampler(self.asker)
        self._nvlink = RateMeter(interval_s)
        self._pcie = RateMeter(interval_s)
        self._pcie_told = True
        self._replays = RateMeter(2 * SLOW_S)
        self._link_errors = RateMeter(2 * LINKS_S)
        self._link_counters: frozenset[FieldKey] = frozenset()
        self._mig: dict[str, MigReader] = {}
        self._mig_on = False
        self._held = _Held()
        self._links: tuple[read.Row, ...] = ()
        self._identity: list[Fact] = []
        self._slow_at = self._links_at = float("-inf")

    @property
    def calls(self) -> int:
        """Calls to the driver since the start."""
        return self.asker.calls + sum(one.asker.calls for one in self._mig.values())

    def poll(self, at: float) -> GpuPoll:
        """Read the GPU at a time in seconds since the epoch."""
        self.asker.failed.clear()
        told = read.fast(self.asker, self.entity, self._pcie_told)
        rows = list(told.rows)
        shares = self._throttle.read(at, told.mask, told.fields)
        rows += [("gpu.throttle", self.entity.with_(reason=name), share) for name, share in shares.items()]
        if at >= self._slow_at:
            # GPUs are read in turn, so that not all are slow in the same second
            self._slow_at = at + SLOW_S + (self.index % 5 if self._held.rows == () else 0)
            self._look(at)
        rows += self._held.rows
        rows += self._links
        margin = read.degrees_left(told, self._held.slowdown)
        if margin is not None:
            rows.append(("gpu.temperature.margin", self.entity, margin))
        rows += self._busy(at, told)
        return GpuPoll(rows, list(self._throttle.turns(at, shares)), self._held.facts, self._held.pids)

    def close(self) -> None:
        """Give back what the library allocated."""
        for one in self._mig.values():
            one.close()
        self._gpm.close()

    def _look(self, at: float) -> None:
        """Read what changes seldom, into what is held."""
        held = _Held(read.slow(self.asker, self.entity))
        known = {signal: value for signal, _, value in held.rows}
        held.slowdown = known.get("gpu.temperature.slowdown")
        if not self._identity:
            self._identity = read.facts(self.asker, self.entity, self.index)
        modes, mig_on = read.modes(self.asker, self.entity, known.get("gpu.power.limit"))
        held.facts = self._identity + modes
        if mig_on != self._mig_on:
            self._mig_on = mig_on
            self.asker.forget()
        rows = list(held.rows)
        self._find_instances()
        if mig_on:
            for one in self._mig.values():
                rows += one.slow(held)
        else:
            found = read.processes(self.asker)
            if found is not None:
                held.pids[self.entity] = tuple(one.pid for one in found)
                rows += read.process_rows(self.entity, found)
        replays = self.asker.number("PCIe replays", "nvmlDeviceGetPcieReplayCounter")
        rate = None if replays is None else self._replays.observe(at, replays).rate
        if rate is not None:
            rows.append(("gpu.pcie.replays", self.entity, rate))
        held.rows = tuple(rows)
        self._held = held
        if at >= self._links_at:
            self._links_at = at + LINKS_S
            self._look_at_links(at)

    def _look_at_links(self, at: float) -> None:
        up, errors = read.links(self.asker)
        rows: list[read.Row] = [] if up is None else [("gpu.nvlink.active", self.entity, float(up))]
        counters = frozenset(errors)
        if counters != self._link_counters:
            # a link that comes back brings its old errors with it
            self._link_counters = counters
            self._link_errors.reset()
        if errors:
            rate = self._link_errors.observe(at, sum(errors.values())).rate
            if rate is not None:
                rows.append(("gpu.nvlink.errors", self.entity, rate))
        self._links = tuple(rows)

    def _busy(self, at: float, told: read.FastReadings) -> list[read.Row]:
        """Return activity and traffic since the last poll."""
        if self._mig_on:
            return [row for one in self._mig.values() for row in one.profile(at)]
        metrics = self._gpm.read(at)
        rows = _profiled(self.entity, metrics)
        sent = told.fields.get((Field.NVLINK_THROUGHPUT_DATA_TX, ALL_LINKS))
        received = told.fields.get((Field.NVLINK_THROUGHPUT_DATA_RX, ALL_LINKS))
        if sent is not None and received is not None:
            nvlink = self._nvlink.observe(at, (sent + received) * read.KIB).rate
        else:
            nvlink = _traffic(metrics, GpmMetric.NVLINK_TOTAL_TX_PER_SEC, GpmMetric.NVLINK_TOTAL_RX_PER_SEC)
        if nvlink is not None:
            rows.append(("gpu.nvlink.bandwidth", self.entity, nvlink))
        pcie = self._pcie_rate(at, told, metrics)
        if pcie is not None:
            rows.append(("gpu.pcie.bandwidth", self.entity, pcie))
        return rows

    def _pcie_rate(self, at: float, told: read.FastReadings, metrics: Mapping[int, float]) -> float | None:
        """Return bytes a second over PCIe: by GPM where there is it, else by the byte counters.

        The counters may wrap at 32 bits (``nvml.h``), at full speed many times a second. One that went backwards
        has, and no rate of it can be trusted.
        """
        profiled = _traffic(metrics, GpmMetric.PCIE_TX_PER_SEC, GpmMetric.PCIE_RX_PER_SEC)
        if profiled is not None:
            self._pcie_told = False
            return profiled
        counts = [told.fields.get(key) for key in read.PCIE_FIELDS]
        known = [count for count in counts if count is not None]
        if not self._pcie_told or len(known) < len(counts):
            return None
        step = self._pcie.observe(at, sum(known))
        self._pcie_told = not step.restarted
        return step.rate

    def _find_instances(self) -> None:
        """Learn which MIG instances there are now; an instance keeps its reader while it lives."""
        found: dict[str, MigReader] = {}
        if self._mig_on:
            count = int(self.asker.number("MIG instances", "nvmlDeviceGetMaxMigDeviceCount") or 0)
            for place in range(count):
                self._find_instance(place, found)
        for uuid, one in self._mig.items():
            if uuid not in found:
                one.close()
        self._mig = found

    def _find_instance(self, place: int, found: dict[str, MigReader]) -> None:
        handle = self.asker.ask("MIG instances", "nvmlDeviceGetMigDeviceHandleByIndex", _boxed, place)
        if handle is None:
            return
        asker = Asker(self.asker.nvml, handle[0])
        uuid = asker.text("MIG instance", "nvmlDeviceGetUUID")
        group = asker.ask("MIG instance", "nvmlDeviceGetGpuInstanceId", int)
        if not uuid or group is None:
            return
        if uuid in self._mig:
            found[uuid] = self._mig[uuid]
            return
        part = asker.ask("MIG instance", "nvmlDeviceGetComputeInstanceId", int) or 0
        name = f"{group}/{part}" if part else str(group)
        found[uuid] = MigReader(asker, self.asker, self.entity.with_(mig=name), group)


def _profiled(entity: Entity, metrics: Mapping[int, float]) -> list[read.Row]:
    """Return the shares of time that profiling tells; one that no rounding explains is left out."""
    told = [(name, metrics[m] * read.PERCENT) for m, name in _SHARES.items() if m in metrics]
    return [(name, entity, share) for name, value in told if (share := signal(name).possible(value)) is not None]


def _traffic(metrics: Mapping[int, float], one: GpmMetric, other: GpmMetric) -> float | None:
    if one not in metrics or other not in metrics:
        return None
    return (metrics[one] + metrics[other]) * MIB


def _boxed(handle: object) -> list[object]:
    return [handle]
