"""What one GPU says: functions that ask, scale to the units of the signal table, and keep nothing.

| function | how often | calls to the driver |
|---|---|---|
| `fast` | every poll | 7, and one more where power or margin has no field |
| `slow` | every 5 s | 9 and a batch of fields |
| `links` | every 10 s | one for each NVLink, and a batch of fields |
| `processes` | every 5 s | 3 |
| `facts`, `modes` | at the start; every 5 s | about 8; 4 |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from collectors.nvml.calls import ALL_LINKS, NO_INSTANCE, Asker, Field, FieldKey
from collectors.nvml.throttle import COUNTERS, THERMAL

Row = tuple[str, Entity, float]

MEGA: Final = 1e6
MILLI: Final = 1e-3
PERCENT: Final = 0.01
KIB: Final = 1024.0

MAX_PROCESSES: Final = 20
"""Processes of one GPU that are told, largest first; the count tells all."""

MAX_LINKS: Final = 36
"""More NVLinks than any GPU has (18 on Hopper and Blackwell)."""

MEMORY_V2: Final = 0x02000028
"""``nvmlMemory_v2``: tells what the driver reserves for itself apart from what is used."""

SM, MEMORY_CLOCK = 1, 2
GPU_SENSOR = 0
SHUTDOWN, SLOWDOWN = 0, 1
VOLATILE = 0
CORRECTED, UNCORRECTED = 0, 1

FAST_FIELDS: Final[tuple[FieldKey, ...]] = (
    (Field.MEMORY_TEMP, 0),
    (Field.TOTAL_ENERGY_CONSUMPTION, 0),
    (Field.POWER_AVERAGE, 0),
    *((counter, 0) for counter in COUNTERS),
    (Field.NVLINK_THROUGHPUT_DATA_TX, ALL_LINKS),
    (Field.NVLINK_THROUGHPUT_DATA_RX, ALL_LINKS),
)
PCIE_FIELDS: Final[tuple[FieldKey, ...]] = ((Field.PCIE_COUNT_TX_BYTES, 0), (Field.PCIE_COUNT_RX_BYTES, 0))

LINK_ERRORS: Final = (
    ((Field.NVLINK_ERROR_DL_REPLAY, Field.NVLINK_ERROR_DL_RECOVERY, Field.NVLINK_ERROR_DL_CRC), ()),
    ((Field.NVLINK_COUNT_RCV_ERRORS, Field.NVLINK_COUNT_LINK_RECOVERY_EVENTS), ()),
    (
        (),
        (
            Field.NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL,
            Field.NVLINK_REPLAY_ERROR_COUNT_TOTAL,
            Field.NVLINK_RECOVERY_ERROR_COUNT_TOTAL,
        ),
    ),
)
"""Error counters by generation (NVLink 3 and 4, 5, older): those of each link, and those of all links. The first
generation that answers is the GPU's own; the counters of two would count the same error twice."""

_COMPUTE_MODES: Final = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}
_PROCESS_LISTS: Final = ("Compute", "Graphics", "MPSCompute")


@dataclass(frozen=True, slots=True)
class FastReadings:
    """One poll: finished readings, and the raw counters that others make rates of. ``mask`` is the reasons' bits."""

    rows: tuple[Row, ...]
    fields: Mapping[FieldKey, float]
    mask: int | None
    temperature: float | None
    margin: float | None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process on a GPU by its id in the driver's eyes; ``memory`` in bytes, None where the driver does not say."""

    pid: int
    memory: float | None
    instance: int | None


def fast(asker: Asker, entity: Entity, pcie: bool) -> FastReadings:
    """Read what changes from second to second; ``pcie`` also asks for the PCIe byte counters."""
    found: list[tuple[str, float | None]] = []
    busy = asker.ask("utilisation", "nvmlDeviceGetUtilizationRates", lambda told: (told.gpu, told.memory))
    if busy is not None:
        found.append(("gpu.utilization", busy[0] * PERCENT))
        found.append(("gpu.memory_controller.utilization", busy[1] * PERCENT))
    found += memory(asker)
    temperature = asker.number("temperature", "nvmlDeviceGetTemperature", GPU_SENSOR)
    margin = asker.number("temperature margin", "nvmlDeviceGetMarginTemperature")
    mask = asker.ask("clock-event reasons", "nvmlDeviceGetCurrentClocksEventReasons", int)
    if mask is None:
        mask = asker.ask("clock-event reasons", "nvmlDeviceGetCurrentClocksThrottleReasons", int)
    fields = asker.fields((*FAST_FIELDS, *PCIE_FIELDS) if pcie else FAST_FIELDS)
    power = fields.get((Field.POWER_AVERAGE, 0))
    if power is None:
        power = asker.number("power", "nvmlDeviceGetPowerUsage")
    energy = fields.get((Field.TOTAL_ENERGY_CONSUMPTION, 0))
    found += [
        ("gpu.temperature", temperature),
        ("gpu.memory.temperature", fields.get((Field.MEMORY_TEMP, 0))),
        ("gpu.clock.sm", asker.number("SM clock", "nvmlDeviceGetClockInfo", SM, scale=MEGA)),
        ("gpu.clock.memory", asker.number("memory clock", "nvmlDeviceGetClockInfo", MEMORY_CLOCK, scale=MEGA)),
        ("gpu.power.draw", None if power is None else power * MILLI),
        ("gpu.energy", None if energy is None else energy * MILLI),
    ]
    return FastReadings(_rows(entity, found), fields, mask, temperature, margin)


def memory(asker: Asker) -> list[tuple[str, float | None]]:
    """Read device memory in bytes.

    ``nvml.h`` words it as if ``used`` held the reserved part, real drivers report total = reserved + used + free;
    so the share is used / (total - reserved). A GPU that shares the machine's memory may say success and zero: a
    total of nothing is not told.
    """
    told = asker.ask(
        "memory", "nvmlDeviceGetMemoryInfo", lambda one: (one.total, one.reserved, one.used), MEMORY_V2
    ) or asker.ask("memory", "nvmlDeviceGetMemoryInfo", lambda one: (one.total, 0, one.used))
    if told is None or told[0] <= told[1]:
        return []
    total, used = float(told[0] - told[1]), float(told[2])
    return [("gpu.memory.used", used), ("gpu.memory.total", total), ("gpu.memory.usage", used / total)]


def degrees_left(told: FastReadings, slowdown: float | None) -> float | None:
    """Return the degrees Celsius until the GPU slows itself down.

    Some GPUs report a margin of 0 or less while nothing is hot; without a thermal reason that is not believed, and
    the slowdown temperature is asked instead.
    """
    believed = told.margin is not None and (told.margin > 0 or bool((told.mask or 0) & THERMAL))
    if believed or slowdown is None or told.temperature is None:
        return told.margin if believed else None
    return slowdown - told.temperature


def slow(asker: Asker, entity: Entity) -> tuple[Row, ...]:
    """Read what changes seldom: limits, errors, spare rows, fan."""
    limit = _above_zero(asker.number("power limit", "nvmlDeviceGetEnforcedPowerLimit", scale=MILLI))
    if limit is None:
        limit = _above_zero(asker.number("power limit", "nvmlDeviceGetPowerManagementLimit", scale=MILLI))
    ecc = {
        kind: asker.number("ECC errors", "nvmlDeviceGetTotalEccErrors", kind, VOLATILE)
        for kind in (CORRECTED, UNCORRECTED)
    }
    fields = asker.fields(((Field.GET_GPU_RECOVERY_ACTION, 0), (Field.RETIRED_SBE, 0), (Field.RETIRED_DBE, 0)))
    fans = asker.number("fan", "nvmlDeviceGetNumFans")
    threshold = "nvmlDeviceGetTemperatureThreshold"
    found = [
        ("gpu.power.limit", limit),
        (
            "gpu.clock.sm.max",
            _above_zero(asker.number("highest SM clock", "nvmlDeviceGetMaxClockInfo", SM, scale=MEGA)),
        ),
        ("gpu.temperature.slowdown", _above_zero(asker.number("slowdown temperature", threshold, SLOWDOWN))),
        ("gpu.temperature.shutdown", _above_zero(asker.number("shutdown temperature", threshold, SHUTDOWN))),
        ("gpu.ecc.corrected", ecc[CORRECTED]),
        ("gpu.ecc.uncorrected", ecc[UNCORRECTED]),
        ("gpu.fan", asker.number("fan", "nvmlDeviceGetFanSpeed", scale=PERCENT) if fans else None),
        ("gpu.recovery_action", fields.get((Field.GET_GPU_RECOVERY_ACTION, 0))),
    ]
    rows = asker.ask("remapped rows", "nvmlDeviceGetRemappedRows", tuple)
    if rows is not None:
        corrected, uncorrected, pending, failed = rows
        found.append(("gpu.rows.remapped", float(corrected + uncorrected)))
        found.append(("gpu.rows.remap_pending", float(bool(pending))))
        found.append(("gpu.rows.remap_failed", float(bool(failed))))
    else:
        # a GPU has spare rows (Ampere and newer) or retires pages (before)
        pages = [fields.get((field, 0)) for field in (Field.RETIRED_SBE, Field.RETIRED_DBE)]
        known = [count for count in pages if count is not None]
        found.append(("gpu.pages.retired", sum(known) if known else None))
    return _rows(entity, found)


def links(asker: Asker) -> tuple[int | None, Mapping[FieldKey, float]]:
    """Return how many NVLinks are up, None where there are none, and their error counters since the driver's start."""
    states = []
    count = asker.fields(((Field.NVLINK_LINK_COUNT, 0),)).get((Field.NVLINK_LINK_COUNT, 0))
    for link in range(MAX_LINKS if count is None else min(int(count), MAX_LINKS)):
        state = asker.ask("NVLink state", "nvmlDeviceGetNvLinkState", int, link)
        if state is None:
            break
        states.append(state)
    if not states:
        return None, {}
    up = [link for link, state in enumerate(states) if state]
    counts = dict(asker.fields(((Field.NVLINK_ECC_DATA_ERROR_COUNT_TOTAL, 0),)))
    for of_each, of_all in LINK_ERRORS:
        keys = [(field, link) for link in up for field in of_each] + [(field, 0) for field in of_all]
        found = asker.fields(keys)
        if found:
            counts.update(found)
            break
    return len(up), counts


def processes(asker: Asker) -> list[GpuProcess] | None:
    """Return who holds memory on the GPU, largest first; None where the driver does not say."""
    found: dict[int, GpuProcess] = {}
    answered = False
    for kind in _PROCESS_LISTS:
        rows = None
        for version in ("_v3", "_v2"):
            function = f"nvmlDeviceGet{kind}RunningProcesses{version}"
            rows = asker.ask("processes", function, lambda told: [_process(one) for one in told])
            if rows is not None:
                break
        answered = answered or rows is not None
        for row in rows or ():
            known = found.get(row.pid)
            if known is None or (row.memory or 0.0) > (known.memory or 0.0):
                found[row.pid] = row
    return sorted(found.values(), key=lambda one: (-(one.memory or 0.0), one.pid)) if answered else None


def facts(asker: Asker, entity: Entity, index: int) -> list[Fact]:
    """Return what does not change while a GPU is there. The index changes with a reboot and is no news."""
    known = {
        "name": asker.text("name", "nvmlDeviceGetName"),
        "serial": asker.text("serial number", "nvmlDeviceGetSerial"),
        "pci_bus_id": asker.ask("PCI address", "nvmlDeviceGetPciInfo", lambda told: str(told.busId)) or "",
        "vbios": asker.text("VBIOS", "nvmlDeviceGetVbiosVersion"),
    }
    for key, kind in (("max_sm_clock", SM), ("max_memory_clock", MEMORY_CLOCK)):
        clock = asker.number(key, "nvmlDeviceGetMaxClockInfo", kind, scale=MEGA)
        known[key] = "" if not clock else numbers.show(clock, "Hz")
    told = [Fact(entity, key, sanitize(value, 80)) for key, value in known.items() if value]
    return [Fact(entity, "index", str(index), watched=False), *told]


def modes(asker: Asker, entity: Entity, limit_w: float | None) -> tuple[list[Fact], bool]:
    """Return the settings an operator can change, as facts, and whether the GPU is partitioned (MIG)."""
    mig = asker.ask("MIG mode", "nvmlDeviceGetMigMode", lambda told: int(told[0]))
    ecc = asker.ask("ECC mode", "nvmlDeviceGetEccMode", lambda told: int(told[0]))
    persistence = asker.ask("persistence mode", "nvmlDeviceGetPersistenceMode", int)
    compute = asker.ask("compute mode", "nvmlDeviceGetComputeMode", int)
    # fixed by an operator on GPUs that have them; newer ones lock clocks instead, which the driver does not tell
    clocks = asker.number("application clocks", "nvmlDeviceGetApplicationsClock", SM, scale=MEGA)
    known = {
        "application_sm_clock": None if not clocks else numbers.show(clocks, "Hz"),
        "power_limit": None if limit_w is None else f"{limit_w:g} W",
        "mig_mode": _switch(mig),
        "ecc_mode": _switch(ecc),
        "persistence_mode": _switch(persistence),
        "compute_mode": None if compute is None else _COMPUTE_MODES.get(compute, str(compute)),
    }
    return [Fact(entity, key, value) for key, value in known.items() if value is not None], mig == 1


def process_rows(entity: Entity, found: Sequence[GpuProcess]) -> tuple[Row, ...]:
    """Return the readings of a GPU's processes."""
    told = [(one.pid, one.memory) for one in found[:MAX_PROCESSES] if one.memory is not None]
    each = [("gpu.process.memory", entity.with_(process=str(pid)), size) for pid, size in told]
    return (("gpu.processes", entity, float(len(found))), *each)


def _rows(entity: Entity, found: Sequence[tuple[str, float | None]]) -> tuple[Row, ...]:
    return tuple((signal, entity, value) for signal, value in found if value is not None)


def _above_zero(limit: float | None) -> float | None:
    """Return a limit; a driver that answers 0 for one has none to tell."""
    return limit if limit is not None and limit > 0 else None


def _process(told: object) -> GpuProcess:
    size = getattr(told, "usedGpuMemory", None)
    instance = getattr(told, "gpuInstanceId", NO_INSTANCE)
    return GpuProcess(
        int(getattr(told, "pid", 0)),
        None if size is None else float(size),
        None if instance in (None, NO_INSTANCE) else int(instance),
    )


def _switch(value: int | None) -> str | None:
    return None if value is None else "on" if value else "off"
