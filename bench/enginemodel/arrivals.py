"""Arrivals and sizes of requests: seven processes that differ in burstiness, correlation and tails.

| process | arrivals | sizes |
|---|---|---|
| poisson | independent | chat: prompts about 900 tokens, answers 220 |
| modulated | two states, 0.55 and 1.9 times the mean, for 60 s and 24 s on the average | chat |
| bursts | half-minute bursts at 2.4 times the rate between them, some minutes apart | chat |
| diurnal | a day of two hours, half the load between ebb and flood, and slow wandering | chat |
| heavy | several at once (geometric, three on the average) | few prompts (Pareto, up to 16,000) are most of the work |
| tenants | five tenants, each on and off for Pareto times | each tenant its own sizes and prefix |
| code | keystrokes: series of requests, a rate that wanders | short: prompts about 150, answers about 28 |

`fano` and `autocorrelation` are the figures that tell them apart, measured on what arrived.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SLOT_S = 0.5
PROCESSES = ("poisson", "modulated", "bursts", "diurnal", "heavy", "tenants", "code")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Log-normal sizes in tokens: medians and spreads; a share ``tail`` of prompts is Pareto (index 1.3) beyond."""

    prompt: float
    prompt_spread: float
    output: float
    output_spread: float
    prefix: int
    tail: float = 0.0
    turns: float = 0.35
    looks_up: float = 0.5

    def means(self) -> tuple[float, float]:
        """Return mean prompt and output tokens, about, without a tail's excess."""
        tail = 1.0 + self.tail * 6.0
        return (
            self.prompt * math.exp(self.prompt_spread**2 / 2) * tail,
            self.output * math.exp(self.output_spread**2 / 2),
        )


CHAT = Sizes(900.0, 0.7, 220.0, 0.6, 512)
LONG_TAILED = Sizes(700.0, 0.9, 180.0, 0.8, 512, tail=0.06)
CODE = Sizes(150.0, 0.5, 28.0, 0.5, 64, turns=0.75, looks_up=0.0)
TENANTS = {
    "acme": CHAT,
    "birch": Sizes(1800.0, 0.5, 90.0, 0.4, 1280, looks_up=0.9),
    "cobalt": Sizes(400.0, 0.6, 420.0, 0.5, 256, looks_up=0.1),
    "delta": Sizes(250.0, 0.4, 40.0, 0.4, 192, turns=0.0, looks_up=0.0),
    "ember": Sizes(3200.0, 0.6, 260.0, 0.6, 768, tail=0.02),
}
LARGEST_PROMPT = 16000


def sizes_of(process: str) -> dict[str, Sizes]:
    """Return the tenants of a process and the sizes of each."""
    if process == "tenants":
        return TENANTS
    sizes = {"heavy": LONG_TAILED, "code": CODE}.get(process, CHAT)
    return dict.fromkeys(("acme", "birch", "cobalt"), sizes)


class Intensity:
    """The rate of a process over its mean, slot by slot, and who asks."""

    def __init__(self, process: str, chance: random.Random) -> None:
        self.process, self.chance = process, chance
        self.tenants = list(sizes_of(process))
        self._level = 0.0
        self._until = 0.0
        self._on = False
        self._phase = chance.uniform(0.0, 2.0 * math.pi)
        self._switch = {name: (chance.random() < 0.5, 0.0) for name in self.tenants}

    def at(self, now: float) -> float:
        """Return the rate at a time, as a multiple of the mean."""
        step = {
            "modulated": self._modulated, "bursts": self._bursts, "diurnal": self._diurnal, "tenants": self._tenants,
            "code": self._wandering,
        }.get(self.process)  # fmt: skip
        return 1.0 if step is None else step(now)

    def tenant(self) -> str:
        """Return who asks."""
        if self.process == "tenants":
            on = [name for name, (is_on, _) in self._switch.items() if is_on]
            return self.chance.choice(on) if on else "acme"
        return self.chance.choices(self.tenants, (5, 3, 2))[0]

    def _modulated(self, now: float) -> float:
        if now >= self._until:
            self._on = not self._on
            self._until = now + self.chance.expovariate(1.0 / (24.0 if self._on else 60.0))
        return (1.9 if self._on else 0.55) / 0.936

    def _bursts(self, now: float) -> float:
        if now >= self._until:
            self._on = not self._on
            self._until = now + (self.chance.uniform(22, 38) if self._on else self.chance.expovariate(1 / 170.0) + 45)
        return (2.4 if self._on else 1.0) / 1.17

    def _diurnal(self, now: float) -> float:
        return (1.0 + 0.33 * math.sin(2.0 * math.pi * now / 7200.0 + self._phase)) * self._wander(0.10, 300.0)

    def _wandering(self, now: float) -> float:
        return self._wander(0.15, 90.0)

    def _wander(self, spread: float, time_s: float) -> float:
        keep = math.exp(-SLOT_S / time_s)
        self._level = self._level * keep + self.chance.gauss(0.0, spread * math.sqrt(1.0 - keep * keep))
        return math.exp(self._level - spread * spread / 2.0)

    def _tenants(self, now: float) -> float:
        for name, (is_on, until) in self._switch.items():
            if now >= until:
                # Pareto, index 1.5: the sum over tenants is correlated over long times
                lasts = min(20.0 * self.chance.paretovariate(1.5), 600.0)
                self._switch[name] = (not is_on, now + lasts)
        return 0.35 + 1.3 * sum(is_on for is_on, _ in self._switch.values()) / len(self._switch)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it arrives. ``history`` tokens of it are its conversation's."""

    at: float
    tenant: str
    prompt: int
    output: int
    prefix: int
    history: int
    session: str
    looks_up: bool


@dataclass(slots=True)
class Demand:
    """What a fault may change of the demand, read at each slot."""

    rate: float = 1.0
    prompt: float = 1.0
    output: float = 1.0
    long_share: float = 0.0
    long_tokens: int = 12000


class Arrivals:
    """All arrivals of a run, slot by slot, at ``rate`` a second on the average."""

    def __init__(self, process: str, rate: float, chance: random.Random, demand: Demand) -> None:
        self.rate, self.chance, self.demand = rate, chance, demand
        self.batch = 3.0 if process == "heavy" else 4.0 if process == "code" else 1.0
        self.spread_s = 0.02 if process == "heavy" else 1.6
        self.intensity = Intensity(process, chance)
        self.sizes = sizes_of(process)
        self._talks: dict[str, list[tuple[str, int]]] = {}
        self._number = 0

    def slot(self, start: float) -> Iterator[Arrival]:
        """Yield what arrives in the half second from ``start`` on; members of a batch may come a little later."""
        rate = self.rate * self.intensity.at(start) * self.demand.rate / self.batch
        at = start
        while rate > 0:
            at += self.chance.expovariate(rate)
            if at >= start + SLOT_S:
                return
            tenant, moment = self.intensity.tenant(), at
            for _ in range(self._members()):
                yield self._one(moment, tenant)
                moment += self.chance.expovariate(1.0 / self.spread_s)

    def _members(self) -> int:
        if self.batch == 1.0:
            return 1
        return 1 + int(math.log(1.0 - self.chance.random()) / math.log(1.0 - 1.0 / self.batch))

    def _one(self, at: float, tenant: str) -> Arrival:
        chance, sizes, demand = self.chance, self.sizes[tenant], self.demand
        prompt = chance.lognormvariate(math.log(sizes.prompt), sizes.prompt_spread)
        if chance.random() < sizes.tail:
            prompt = sizes.prompt * 4.0 * chance.paretovariate(1.3)
        if chance.random() < demand.long_share:
            prompt = demand.long_tokens * chance.uniform(0.7, 1.3)
        output = max(int(chance.lognormvariate(math.log(sizes.output), sizes.output_spread) * demand.output), 2)
        fresh = max(int(min(prompt * demand.prompt, LARGEST_PROMPT)), 8)
        session, history = self._talk(tenant, sizes)
        known = min(history, LARGEST_PROMPT)
        size = sizes.prefix + known + fresh
        self._talks[tenant].append((session, known + fresh + output))
        return Arrival(
            at, tenant, size, min(output, 4096), sizes.prefix, known, session, chance.random() < sizes.looks_up
        )

    def _talk(self, tenant: str, sizes: Sizes) -> tuple[str, int]:
        """Return a conversation that goes on, or a new one."""
        talks = self._talks.setdefault(tenant, [])
        if len(talks) > 60:
            del talks[:20]
        if talks and self.chance.random() < sizes.turns:
            session, history = talks.pop(self.chance.randrange(len(talks)))
            if history < 5000:
                return session, history
        self._number += 1
        return f"{tenant}-{self._number}", 0


def counts(times: Sequence[float], width_s: float, start: float, end: float) -> list[int]:
    """Return how many times fall into each window."""
    found = [0] * max(int((end - start) / width_s), 0)
    for at in times:
        place = int((at - start) / width_s)
        if at >= start and place < len(found):
            found[place] += 1
    return found


def fano(numbers: Sequence[int]) -> float:
    """Return variance over mean of counts: 1 for Poisson, more for bursts; NaN of nothing."""
    mean = sum(numbers) / len(numbers) if numbers else 0.0
    return sum((n - mean) ** 2 for n in numbers) / len(numbers) / mean if mean else math.nan


def autocorrelation(numbers: Sequence[int], lag: int = 1) -> float:
    """Return the correlation of counts with those some windows later; NaN where they do not vary."""
    mean = sum(numbers) / len(numbers) if numbers else 0.0
    spread = sum((n - mean) ** 2 for n in numbers)
    if not spread:
        return math.nan
    return sum((a - mean) * (b - mean) for a, b in zip(numbers, numbers[lag:], strict=False)) / spread
