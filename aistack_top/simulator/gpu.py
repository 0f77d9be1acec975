"""One GPU: clocks, power, heat, throttling, memory errors and links, in steps of about a second.

- power = idle + limit (A busy x^2 + T tensor x^2.4 + D dram), x = clock / max clock. Dynamic power is f V^2; prompts
  draw nearly the limit and decoding far less: Splitwise, arXiv 2311.18677, section III. The shares are assumed.
- temperature goes to inlet + R power with one time constant: a first-order lag; R and the constant assumed for air.
- over ``throttle_at`` the driver walks the clock down, from ``slowdown_at`` the hardware halves it: nvml.h.
- memory's rate falls with x only below x = 0.7; assumed, since decoding hardly feels a small power cap (Splitwise).
"""

import hashlib
from dataclasses import dataclass
from enum import IntFlag
from math import exp

from aistack_top.simulator.hardware import GpuModel

POWER_BUSY, POWER_DRAM, POWER_TENSOR = 0.19, 0.27, 0.47
"""Shares of the power limit; all at full clock together make 1.03 of an H100's, so that prefill just touches it."""

THERMAL_RESISTANCE = 0.060
"""Kelvin per watt to the inlet air: 700 W end 42 K above it. Assumed."""

TIME_CONSTANT_S = 40.0
MEMORY_TIME_CONSTANT_S = 60.0
BRAKE_CLOCK = 0.40
"""Share of the clock left under a power brake, and under hardware slowdown one half at the most (nvml.h)."""

KNEE = 0.70
IDLE_CLOCK = 345e6


class ThrottleBit(IntFlag):
    """Why clocks are lower than they could be: the bits of ``nvmlClocksEventReasons`` (nvml.h)."""

    IDLE = 0x1
    SW_POWER_CAP = 0x4
    HW_SLOWDOWN = 0x8
    SW_THERMAL = 0x20
    HW_THERMAL = 0x40
    HW_POWER_BRAKE = 0x80


VIOLATIONS = (ThrottleBit.SW_POWER_CAP, ThrottleBit.SW_THERMAL, ThrottleBit.HW_THERMAL, ThrottleBit.HW_POWER_BRAKE)
"""The reasons for which NVML counts the time lost."""


@dataclass(slots=True)
class Load:
    """What ran on a GPU in one step, as shares of the step, and bytes it sent."""

    busy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    nvlink_bytes: float = 0.0
    pcie_bytes: float = 0.0


@dataclass(slots=True)
class SimulatedProcess:
    """A process on a GPU as NVML lists it, its memory in bytes."""

    pid: int
    name: str
    memory: float


class Gpu:
    """A GPU's state.

    Faults write ``cooling``, ``inlet``, ``power_limit``, ``brake``, ``link_share``, ``links_down``,
    ``nvlink_error_rate`` (replays a second) and ``other_*``.
    """

    def __init__(self, index: int, model: GpuModel, node: str) -> None:
        digest = hashlib.sha256(f"{node}/gpu{index}".encode()).hexdigest()
        self.index, self.model = index, model
        self.uuid = f"GPU-{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        self.pci_bus_id = f"00000000:{0x0F + 0x11 * index:02X}:00.0"
        self.cooling, self.inlet, self.brake = 1.0, 27.0 + 0.4 * (index % 4), False
        self.power_limit = model.power_limit
        self.link_share, self.links_down = 1.0, 0
        self.other_sm = self.other_dram = 0.0
        self.processes: dict[int, SimulatedProcess] = {}
        self.load = Load()
        self.utilization = 0.0
        self.clock = IDLE_CLOCK
        self.power = model.power_idle
        self.temperature = self.inlet + THERMAL_RESISTANCE * model.power_idle
        self.memory_temperature = self.temperature + 4.0
        self.reasons = ThrottleBit.IDLE
        self.violation_s = dict.fromkeys(VIOLATIONS, 0.0)
        self.energy = 0.0
        self.nvlink_bytes = self.nvlink_errors = self.pcie_bytes = 0.0
        self.nvlink_error_rate = 0.0
        self.ecc_corrected = self.ecc_uncorrected = 0
        self.rows_corrected = self.rows_uncorrected = 0
        self.remap_pending = self.remap_failed = False
        self.xids: list[tuple[float, int]] = []
        self.lost = False
        self.active_s = (0.0, 0.0, 0.0)
        """Seconds of busy multiprocessors, of busy tensor pipes and of busy memory since the start."""

        self._speed = self._heat_speed = 1.0
        self._hot = False

    @property
    def compute_rate(self) -> float:
        """Operations a second that kernels get, as a share of an undisturbed GPU's at full clock."""
        return self._speed * (1.0 - self.other_sm)

    @property
    def memory_rate(self) -> float:
        """Memory bytes a second that kernels get, as a share of an undisturbed GPU's."""
        return min(1.0, self._speed / KNEE) * (1.0 - self.other_dram)

    @property
    def memory_used(self) -> float:
        """Bytes in use, the driver's own included."""
        return 560 * 1024.0**2 + sum(process.memory for process in self.processes.values())

    def advance(self, dt: float, load: Load) -> None:
        """Live through ``dt`` seconds of a load: settle the clock, draw the power, take the heat."""
        busy = min(1.0, load.busy + self.other_sm)
        tensor = min(1.0, load.tensor + 0.5 * self.other_sm)
        dram = min(1.0, load.dram + self.other_dram)
        self.load = Load(busy, tensor, dram, load.nvlink_bytes / dt, load.pcie_bytes / dt)
        sm, tensor_s, dram_s = self.active_s
        self.active_s = (sm + busy * dt, tensor_s + tensor * dt, dram_s + dram * dt)
        self.utilization = min(1.0, busy * 1.05)
        self.reasons = self._settle(dt, busy, tensor, dram)
        for reason in VIOLATIONS:
            if reason in self.reasons:
                self.violation_s[reason] += dt
        self.clock = IDLE_CLOCK if busy == 0.0 else self._speed * self.model.clock_max
        self.power = self._power(self._speed, busy, tensor, dram)
        self.energy += self.power * dt
        self.nvlink_bytes += load.nvlink_bytes
        self.pcie_bytes += load.pcie_bytes
        self.nvlink_errors += self.nvlink_error_rate * dt
        self._heat(dt, dram)

    def _settle(self, dt: float, busy: float, tensor: float, dram: float) -> ThrottleBit:
        model, reasons, speed = self.model, ThrottleBit(0), 1.0
        if busy == 0.0:
            reasons |= ThrottleBit.IDLE
        over = self.temperature - model.throttle_at
        # walked down fast, given back slowly, as drivers do to avoid swinging
        self._heat_speed = min(1.0, max(0.2, self._heat_speed - (0.02 if over > 0 else 0.004) * over * dt))
        if self._heat_speed < 0.999:
            reasons |= ThrottleBit.SW_THERMAL
            speed = self._heat_speed
        self._hot = self.temperature >= model.slowdown_at or (self._hot and self.temperature > model.throttle_at)
        if self._hot:
            reasons |= ThrottleBit.HW_THERMAL | ThrottleBit.HW_SLOWDOWN
            speed = min(speed, 0.5)
        if self.brake:
            reasons |= ThrottleBit.HW_POWER_BRAKE | ThrottleBit.HW_SLOWDOWN
            speed = min(speed, BRAKE_CLOCK)
        if self._power(speed, busy, tensor, dram) > self.power_limit:
            reasons |= ThrottleBit.SW_POWER_CAP
            speed = self._capped(speed, busy, tensor, dram)
        self._speed = speed
        return reasons

    def _capped(self, speed: float, busy: float, tensor: float, dram: float) -> float:
        low, high = 0.2, speed
        for _ in range(12):
            middle = (low + high) / 2
            if self._power(middle, busy, tensor, dram) > self.power_limit:
                high = middle
            else:
                low = middle
        return low

    def _power(self, speed: float, busy: float, tensor: float, dram: float) -> float:
        clocked: float = POWER_BUSY * busy * speed**2 + POWER_TENSOR * tensor * speed**2.4
        return self.model.power_idle + self.model.power_limit * (clocked + POWER_DRAM * dram)

    def _heat(self, dt: float, dram: float) -> None:
        goal = self.inlet + THERMAL_RESISTANCE * self.cooling * self.power
        self.temperature += (goal - self.temperature) * (1.0 - exp(-dt / TIME_CONSTANT_S))
        goal = self.temperature + 4.0 + 10.0 * dram
        self.memory_temperature += (goal - self.memory_temperature) * (1.0 - exp(-dt / MEMORY_TIME_CONSTANT_S))
