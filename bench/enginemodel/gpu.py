"""A GPU's heat and clocks, second by second.

Heat is one resistance and one capacity to the air. The driver takes clock away in steps while the die is above its
limit and gives it back only some degrees below (hysteresis); at a second limit the hardware halves the clock. A power
limit picks the highest clock whose power fits.
"""

import random
from dataclasses import dataclass, field

from enginemodel.physics import GpuKind

AMBIENT = 29.0
HEAT_S = 40.0
SLOW_AT, SLOW_UNTIL = 84.0, 80.0
HARD_AT, HARD_UNTIL = 91.0, 86.0
STEP = 0.045
FLOOR = 0.28
POWER_EXPONENT = 2.4
"""Dynamic power over clock; voltage falls with it."""


@dataclass(slots=True)
class Gpu:
    """One GPU. ``airflow`` below 1 is a fan that fails; ``brake`` a share of the clock that hardware enforces."""

    uuid: str
    index: int
    kind: GpuKind
    chance: random.Random
    airflow: float = 1.0
    inlet: float = 0.0
    limit: float = 0.0
    brake: float = 1.0
    links_down: int = 0
    link_error_rate: float = 0.0
    link_errors: float = 0.0
    corrected: int = 0
    uncorrected: int = 0
    remap_pending: bool = False
    lost: bool = False
    xids: list[tuple[float, int]] = field(default_factory=list)
    neighbours: int = 0
    neighbour_memory: float = 0.0
    neighbour_load: float = 0.0
    engine_memory: float = 0.0
    temperature: float = 45.0
    power: float = 60.0
    clock: float = 1.0
    thermal: float = 1.0
    busy: float = 0.0
    memory_busy: float = 0.0
    tensor_busy: float = 0.0
    soft_hot: bool = False
    hard_hot: bool = False
    capped: bool = False

    def __post_init__(self) -> None:
        self.limit = self.limit or self.kind.power
        self.temperature = AMBIENT + 0.6 * self.kind.power * self.kind.degrees_per_watt

    @property
    def highest_power(self) -> float:
        """Watts that the load of now would draw at the top clock."""
        load = min(0.12 + 0.5 * self.memory_busy + 0.6 * self.tensor_busy + 0.35 * self.neighbour_load, 1.0)
        idle = not self.busy and not self.neighbour_load
        return 0.0 if idle else (self.kind.power - self.kind.idle_power) * load

    def second(self) -> None:
        """Go on by a second under the load that was set."""
        wanted = min(self.thermal, self.brake)
        dynamic = self.highest_power
        room = max(self.limit - self.kind.idle_power, 1.0)
        fits = min((room / dynamic) ** (1.0 / POWER_EXPONENT), 1.0) if dynamic > 0 else 1.0
        self.capped = fits < wanted
        self.clock = max(min(wanted, fits), 0.1)
        self.power = self.kind.idle_power + dynamic * self.clock**POWER_EXPONENT
        resistance = self.kind.degrees_per_watt / self.airflow
        settled = AMBIENT + self.inlet + self.power * resistance
        self.temperature += (settled - self.temperature) / (HEAT_S / self.airflow) + self.chance.gauss(0.0, 0.12)
        self._throttle()
        self.link_errors += self.link_error_rate * self.chance.uniform(0.5, 1.5)
        if self.chance.random() < 1 / 40000:
            self.corrected += 1

    def _throttle(self) -> None:
        self.hard_hot = self.temperature >= (HARD_UNTIL if self.hard_hot else HARD_AT)
        self.soft_hot = self.temperature >= (SLOW_UNTIL if self.soft_hot else SLOW_AT)
        if self.hard_hot:
            self.thermal = min(self.thermal, 0.5)
        if self.soft_hot:
            self.thermal = max(self.thermal - STEP, FLOOR)
        elif self.temperature < SLOW_UNTIL:
            self.thermal = min(self.thermal + STEP / 3, 1.0)

    @property
    def reasons(self) -> int:
        """The clock-event reasons of now, as bits of ``nvml.h``."""
        bits = 0x1 if not self.busy and not self.neighbour_load else 0
        bits |= 0x4 if self.capped else 0
        bits |= 0x20 if self.thermal < 0.999 else 0
        bits |= 0x48 if self.hard_hot else 0
        bits |= 0x88 if self.brake < 0.999 else 0
        return bits
