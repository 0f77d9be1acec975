"""dcgm-exporter 4: the metrics page of the GPUs; names and units of its default list of fields, and profiling.

DCGM's exporter repeats itself between its own readings, every 30 s by default; this one reads at every scrape. A GPU
that fell off the bus is not on the page.
"""

from collections.abc import Callable, Mapping

from aistack_top.simulator.gpu import Load, ThrottleBit
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.gpus import DRIVER_MEMORY, GpuState, states
from aistack_top.simulator.servers.nvml import DRIVER_VERSION
from aistack_top.simulator.servers.text import PageWriter, labels

MIB = 1024.0**2
HOST = "simulated"

_FIELDS: tuple[tuple[str, str, str, Callable[[GpuState], float]], ...] = (
    ("SM_CLOCK", "gauge", "SM clock frequency (in MHz).", lambda gpu: round(gpu.clock / 1e6)),
    ("MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", lambda gpu: round(gpu.clock_memory / 1e6)),
    ("MEMORY_TEMP", "gauge", "Memory temperature (in C).", lambda gpu: round(gpu.memory_temperature)),
    ("GPU_TEMP", "gauge", "GPU temperature (in C).", lambda gpu: round(gpu.temperature)),
    ("POWER_USAGE", "gauge", "Power draw (in W).", lambda gpu: round(gpu.power, 3)),
    ("TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", lambda gpu: _mj(gpu)),
    ("GPU_UTIL", "gauge", "GPU utilization (in %).", lambda gpu: round(gpu.utilization * 100.0)),
    ("MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", lambda gpu: round(gpu.dram * 100.0)),
    ("XID_ERRORS", "gauge", "Value of the last XID error encountered.", lambda gpu: gpu.xids[-1] if gpu.xids else 0),
    ("FB_FREE", "gauge", "Framebuffer memory free (in MiB).", lambda gpu: _free(gpu)),
    ("FB_USED", "gauge", "Framebuffer memory used (in MiB).", lambda gpu: int(gpu.memory_used / MIB)),
    ("POWER_MGMT_LIMIT", "gauge", "Current power limit (in W).", lambda gpu: gpu.power_limit),
    (
        "CLOCKS_EVENT_REASONS",
        "gauge",
        "Current clock event reasons (bitmask of DCGM_CLOCKS_EVENT_REASON_*)",
        lambda gpu: gpu.reasons,
    ),
    (
        "POWER_VIOLATION",
        "counter",
        "Throttling duration due to power constraints (in ns).",
        lambda gpu: _lost(gpu, ThrottleBit.SW_POWER_CAP),
    ),
    (
        "THERMAL_VIOLATION",
        "counter",
        "Throttling duration due to thermal constraints (in ns).",
        lambda gpu: _lost(gpu, ThrottleBit.SW_THERMAL) + _lost(gpu, ThrottleBit.HW_THERMAL),
    ),
    ("ECC_SBE_VOL_TOTAL", "counter", "Total number of single-bit volatile ECC errors.", lambda gpu: gpu.ecc[0]),
    ("ECC_DBE_VOL_TOTAL", "counter", "Total number of double-bit volatile ECC errors.", lambda gpu: gpu.ecc[1]),
    (
        "UNCORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Number of remapped rows for uncorrectable errors",
        lambda gpu: gpu.rows[1],
    ),
    ("CORRECTABLE_REMAPPED_ROWS", "counter", "Number of remapped rows for correctable errors", lambda gpu: gpu.rows[0]),
    ("ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed", lambda gpu: int(gpu.remap[1])),
    (
        "NVLINK_REPLAY_ERROR_COUNT_TOTAL",
        "counter",
        "Total number of NVLink retries.",
        lambda gpu: int(gpu.nvlink_errors),
    ),
)
"""What of ``DCGM_FI_DEV_`` there is: name, type, help text of dcgm-exporter's own list, value."""

_ACTIVE: Mapping[str, tuple[str, Callable[[Load], float]]] = {
    "SM_ACTIVE": ("The ratio of cycles an SM has at least 1 warp assigned.", lambda load: load.busy),
    "PIPE_TENSOR_ACTIVE": ("Ratio of cycles the tensor (HMMA) pipe is active.", lambda load: load.tensor),
    "DRAM_ACTIVE": (
        "Ratio of cycles the device memory interface is active sending or receiving data.",
        lambda load: load.dram,
    ),
}


def metrics(node: SimulatedNode) -> bytes:
    """Return the page of a node's GPUs now."""
    page = PageWriter(go=True)
    told = {
        labels(
            gpu=str(index),
            UUID=gpu.uuid,
            pci_bus_id=gpu.pci_bus_id,
            device=f"nvidia{index}",
            modelName=gpu.name,
            Hostname=HOST,
            DCGM_FI_DRIVER_VERSION=DRIVER_VERSION,
        ): gpu
        for index, gpu in enumerate(states(node).gpus)
        if not gpu.lost
    }
    for name, kind, says, read in _FIELDS:
        page.samples(f"DCGM_FI_DEV_{name}", kind, says, {of: read(gpu) for of, gpu in told.items()})
    for name, (says, of_load) in _ACTIVE.items():
        page.samples(
            f"DCGM_FI_PROF_{name}",
            "gauge",
            says,
            {of: round(of_load(node.gpus[int(dict(of)["gpu"])].load), 6) for of in told},
        )
    return page.encode()


def _mj(gpu: GpuState) -> float:
    return round(gpu.energy * 1e3)


def _free(gpu: GpuState) -> float:
    return int((gpu.memory - DRIVER_MEMORY - gpu.memory_used) / MIB)


def _lost(gpu: GpuState, reason: ThrottleBit) -> float:
    return round(gpu.lost_s[reason] * 1e9)
