"""The GPUs of a node as plain data: what an NVML-shaped object answers from, in this process or across a socket."""

import msgspec

from aistack_top.simulator.gpu import Gpu
from aistack_top.simulator.node import SimulatedNode

DRIVER_MEMORY = 560.0 * 1024**2
"""Bytes that the driver keeps for itself (`Gpu.memory_used` counts them too)."""


class GpuState(msgspec.Struct, frozen=True):
    """One GPU at one moment, in the model's units: bytes, seconds, watts, hertz, Celsius, shares.

    ``xids`` are the codes since the start, in their order; ``lost`` says that it fell off the bus.
    """

    uuid: str
    name: str
    pci_bus_id: str
    lost: bool
    memory: float
    processes: tuple[tuple[int, float], ...]
    utilization: float
    sm_s: float
    tensor_s: float
    dram_s: float
    dram: float
    clock: float
    clock_max: float
    clock_memory: float
    power: float
    power_limit: float
    energy: float
    temperature: float
    memory_temperature: float
    slowdown_at: float
    shutdown_at: float
    reasons: int
    lost_s: dict[int, float]
    nvlink_bytes: float
    nvlink_links: int
    nvlink_up: int
    nvlink_errors: float
    ecc: tuple[int, int]
    rows: tuple[int, int]
    remap: tuple[bool, bool]
    xids: tuple[int, ...]

    @property
    def memory_used(self) -> float:
        """Bytes held by processes."""
        return sum(size for _, size in self.processes)


class GpuStates(msgspec.Struct, frozen=True):
    """All GPUs at a moment, in seconds since the Unix epoch."""

    at: float
    gpus: tuple[GpuState, ...]


def states(node: SimulatedNode) -> GpuStates:
    """Return the GPUs of a node as they are now."""
    return GpuStates(node.epoch + node.now, tuple(_state(gpu) for gpu in node.gpus))


def _state(gpu: Gpu) -> GpuState:
    model = gpu.model
    return GpuState(
        uuid=gpu.uuid,
        name=model.name,
        pci_bus_id=gpu.pci_bus_id,
        lost=gpu.lost,
        memory=model.memory,
        processes=tuple((process.pid, process.memory) for process in gpu.processes.values()),
        utilization=gpu.utilization,
        sm_s=gpu.active_s[0],
        tensor_s=gpu.active_s[1],
        dram_s=gpu.active_s[2],
        dram=gpu.load.dram,
        clock=gpu.clock,
        clock_max=model.clock_max,
        clock_memory=model.clock_memory,
        power=gpu.power,
        power_limit=gpu.power_limit,
        energy=gpu.energy,
        temperature=gpu.temperature,
        memory_temperature=gpu.memory_temperature,
        slowdown_at=model.slowdown_at,
        shutdown_at=model.shutdown_at,
        reasons=int(gpu.reasons),
        lost_s={int(reason): seconds for reason, seconds in gpu.violation_s.items()},
        nvlink_bytes=gpu.nvlink_bytes,
        nvlink_links=model.nvlink_links,
        nvlink_up=model.nvlink_links - gpu.links_down,
        nvlink_errors=gpu.nvlink_errors,
        ecc=(gpu.ecc_corrected, gpu.ecc_uncorrected),
        rows=(gpu.rows_corrected, gpu.rows_uncorrected),
        remap=(gpu.remap_pending, gpu.remap_failed),
        xids=tuple(code for _, code in gpu.xids),
    )
