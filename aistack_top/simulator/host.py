"""The host and what else runs on the node: cores shared by engines, trainers and strangers; training jobs."""

from dataclasses import dataclass
from math import exp
from random import Random

from aistack_top.simulator.gpu import Load
from aistack_top.simulator.hardware import GIB

CORES_PER_ENGINE = 3.0
"""Cores a busy engine keeps: its core, an API server and workers. Assumed."""

SYSTEM_CORES = 4.0


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
    checkpoints: int = 0

    def advance(self, dt: float, host_slowdown: float) -> None:
        """Train for ``dt`` seconds."""
        if not self.running:
            return
        done = dt / (self.step_s * self.slowdown * (0.7 + 0.3 * host_slowdown))
        if int((self.steps + done) / 500) > int(self.steps / 500):
            self.checkpoints += 1
        self.steps += done
        self.tokens += done * self.tokens_per_step
        self.loss = 1.7 + 2.6 * (self.steps + 50.0) ** -0.12 + self.rng.gauss(0.0, 0.01)

    def load(self, dt: float) -> Load:
        """Return what it does to each of its GPUs."""
        if not self.running:
            return Load()
        wire = 0.25 * 450e9 * dt if len(self.gpus) > 1 else 0.0
        return Load(busy=0.97, tensor=0.72, dram=0.45, nvlink_bytes=wire)
