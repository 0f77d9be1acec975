"""The runs on the second model: faults under several processes of arrivals, pairs, withheld sources, quiet hours."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from enginemodel.arrivals import PROCESSES
from enginemodel.faults import BY_NAME, FAULTS, PAIRS, WITHHELD, Fault
from enginemodel.world import World

ONSET_S = 900.0
SECOND_S = 300.0
SEVERITIES = (0.85, 1.0, 1.2)
LOADS = {
    "poisson": 0.60, "modulated": 0.42, "bursts": 0.45, "diurnal": 0.50, "heavy": 0.55, "tenants": 0.50, "code": 0.25,
}  # fmt: skip
"""Load as a share of saturation, on the average: what a service of that burstiness can be run at."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run. ``kind`` is fault, two, withheld or clean."""

    kind: str
    name: str
    process: str
    seed: int
    severity: float = 1.0
    second: str = ""
    fleet: str = "pair"
    seconds: float = 1500.0
    reset_s: float = 0.0

    @property
    def id(self) -> str:
        """Its name in the cache."""
        tail = f"+{self.second}" if self.second else "+resets" if self.reset_s else ""
        return f"second/{self.kind}/{self.name}{tail}/{self.process}/{self.fleet}/{self.seed}"

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What goes wrong, the first first."""
        return tuple(BY_NAME[name] for name in (self.name, self.second) if name in BY_NAME)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Kinds of sources that are not read."""
        return WITHHELD[self.name] if self.kind == "withheld" else ()

    def world(self) -> World:
        """Return the world in which it will happen."""
        chance = random.Random(self.id).randrange(1 << 16)  # no two runs have the same arrivals before their faults
        world = World(chance, self.process, LOADS[self.process], self.fleet)
        for number, fault in enumerate(self.faults):
            world.at(ONSET_S + SECOND_S * number, fault.begin, world, self.severity)
        return world


def trials(seeds: tuple[int, ...], processes: tuple[str, ...] = PROCESSES, each: int = 2) -> Iterator[Trial]:
    """Yield the runs with a beginning: each fault under ``each`` processes in turn, then pairs and withheld ones."""
    for seed in seeds:
        for turn in range(each):
            for place, fault in enumerate(FAULTS):
                process = processes[(place + turn * 3 + seed) % len(processes)]
                dice = random.Random(f"trials/{seed}/{fault.name}/{process}")
                fleet = fault.fleet or dice.choice(("pair", "pair", "linked"))
                yield Trial("fault", fault.name, process, seed, dice.choice(SEVERITIES), fleet=fleet)
        for place, (first, second) in enumerate(PAIRS):
            yield Trial("two", first, processes[(place + seed) % len(processes)], seed, 1.1, second)
        for place, name in enumerate(WITHHELD):
            yield Trial("withheld", name, processes[(place + seed) % len(processes)], seed, 1.2)


def quiet(seed: int, hours: int, processes: tuple[str, ...] = PROCESSES) -> Iterator[Trial]:
    """Yield quiet runs of two hours under each process, every other one with counters that begin anew every 10 min."""
    for number in range(hours // 2):
        for place, process in enumerate(processes):
            resets = 600.0 if (number + place) % 2 else 0.0
            fleet = ("pair", "linked")[(number + place) // 2 % 2]
            yield Trial("clean", "quiet", process, seed + number, fleet=fleet, seconds=7200.0, reset_s=resets)
