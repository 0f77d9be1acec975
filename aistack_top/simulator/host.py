"""The host and what else runs on the node: cores shared by engines, trainers and strangers; training jobs."""

from dataclasses import dataclass, field
from math import exp
from random import Random

from aistack_top.simulator.gpu import Load
from aistack_top.simulator.hardware import GIB

CORES_PER_ENGINE = 3.0
"""Cores a busy engine keeps: its core, an API server and workers. Assumed."""

SYSTEM_CORES = 4.0

REPORT_STEPS = 10
CHECKPOINT_STEPS = 100
"""How often a trainer logs and saves. Assumed; 10 is the default ``logging_steps`` of many recipes."""


@dataclass(slots=True)
class Host:
    """The node's cores and memory. Faults write ``stranger_cores`` and ``steal``.

    Cores are shared fairly: when all together want more than there are, everybody runs slower by that factor.
    """

    cores: int
    memory_total: float = 1024 * GIB
    memory_used: float = 180 * GIB
    stranger_cores: float = 0.0
    steal: float = 0.0
    utilization: float = 0.0
    load_average: float = 0.0
    slowdown: float = 1.0
    stolen_s: float = 0.0
    busy_s: float = 0.0

    def advance(self, dt: float, busy_engines: float, trainer_cores: float, rng: Random) -> None:
        """Share the cores out for ``dt`` seconds among engines that were busy for so much of them, and the rest."""
        wanted = SYSTEM_CORES + CORES_PER_ENGINE * busy_engines + trainer_cores + self.stranger_cores
        wanted *= rng.uniform(0.95, 1.05)
        given = self.cores * (1.0 - self.steal)
        self.slowdown = max(1.0, wanted / given)
        self.utilization = min(1.0, wanted / given) * (1.0 - self.steal)
        self.load_average += (wanted - self.load_average) * (1.0 - exp(-dt / 60.0))
        self.stolen_s += self.steal * self.cores * dt
        self.busy_s += self.utilization * self.cores * dt


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a trainer logged last: step, seconds since the start, loss, tokens a second."""

    step: int
    at: float
    loss: float
    tokens_per_s: float


@dataclass(slots=True)
class TrainingJob:
    """A training run on some of the GPUs: steps, loss, tokens, and the cores its data loading takes.

    Loss falls as a power of the steps, as scaling laws have it (Kaplan 2020); the constants are of no importance.
    """

    name: str
    gpus: tuple[int, ...]
    step_s: float
    tokens_per_step: int
    loader_cores: float
    rng: Random
    running: bool = True
    slowdown: float = 1.0
    steps: float = 0.0
    loss: float = 4.0
    tokens: float = 0.0
    checkpoints: list[float] = field(default_factory=list)
    """When each was saved, in seconds since the start of the simulation; negative before it."""

    began: float = 0.0
    """When the job was started, in seconds since the start of the simulation."""

    report: HostReport | None = None
    _lived: float = 0.0

    def live_before(self, seconds: float) -> None:
        """Have trained for so long when the simulation begins."""
        self.began = self._lived = -seconds
        for _ in range(int(seconds)):
            self.advance(1.0, 1.0)

    def advance(self, dt: float, host_slowdown: float) -> None:
        """Train for ``dt`` seconds."""
        self._lived += dt
        if not self.running:
            return
        done = dt / (self.step_s * self.slowdown * (0.7 + 0.3 * host_slowdown))
        before = self.steps
        self.steps += done
        self.tokens += done * self.tokens_per_step
        self.loss = 1.7 + 2.6 * (self.steps + 50.0) ** -0.12 + self.rng.gauss(0.0, 0.01)
        if self.steps // CHECKPOINT_STEPS > before // CHECKPOINT_STEPS:
            self.checkpoints.append(self._lived)
        if self.steps // REPORT_STEPS > before // REPORT_STEPS:
            step = int(self.steps // REPORT_STEPS) * REPORT_STEPS
            self.report = HostReport(step, self._lived, self.loss, done * self.tokens_per_step / dt)

    def load(self, dt: float) -> Load:
        """Return what it does to each of its GPUs."""
        if not self.running:
            return Load()
        wire = 0.25 * 450e9 * dt if len(self.gpus) > 1 else 0.0
        return Load(busy=0.97, tensor=0.72, dram=0.45, nvlink_bytes=wire)
