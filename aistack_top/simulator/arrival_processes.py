"""Ways in which requests come: the real hour of conversations, and others that differ in burstiness and size.

Every process has the mean rate that is asked of it, and its own sizes. Except for the conversations all are synthetic:
their shapes are those of published traces (bursts of code assistants, long contexts, a working day), their parameters
are assumed. ``python bench/arrivals.py`` prints the rate, Fano factors and autocorrelation of each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import inf
from random import Random
from types import MappingProxyType

from aistack_top.simulator.arrivals import Arrival, day_curve, from_trace, long_prompts, trace_means

Rate = Callable[[float], float]
Factors = Callable[[Random], Iterator[tuple[float, float]]]
"""From a source of chance to (until, factor) pairs for ever: till then, in seconds, the rate is multiplied by it."""

LARGEST_PROMPT = 14000
"""Longer prompts are cut by the gateway (`aistack_top.simulator.traffic.Traffic`): means are of what is left."""

WORKDAY = (
    0.35, 0.30, 0.28, 0.28, 0.30, 0.35, 0.45, 0.70, 1.10, 1.50, 1.60, 1.50,
    1.25, 1.35, 1.60, 1.60, 1.50, 1.30, 1.05, 0.90, 0.80, 0.70, 0.55, 0.45,
)  # fmt: skip
"""Load by hour of an office tool: doubles between 7 and 9, dips at noon. Assumed; straight lines between the hours."""


@dataclass(frozen=True, slots=True)
class ArrivalProcess:
    """One way in which requests come.

    ``size`` draws prompt and output tokens; None takes times and sizes of a trace, the real hour where none is given.
    ``factors`` modulates the rate, with a mean of one. ``day`` is the load by hour as a multiple of the day's mean.
    ``closed`` is false where nobody holds conversations. ``parts`` gives each tenant a process of its own, in turn.
    """

    name: str
    says: str
    size: Callable[[Random], tuple[int, int]] | None = None
    factors: Factors | None = None
    most: float = 1.0
    """The largest factor."""

    day: Callable[[float], float] = day_curve
    closed: bool = True
    parts: tuple[str, ...] = ()
    trace: tuple[Arrival, ...] = ()

    def stream(self, rng: Random, rate: Rate, peak: float) -> Iterator[Arrival]:
        """Yield arrivals for ever at a mean rate a second that depends on the time; ``peak`` is never exceeded."""
        if self.size is None:
            return from_trace(rng, rate, peak, self.trace)
        return _modulated(rng, rate, peak, self.size, self.factors or _level, self.most)

    def means(self) -> tuple[float, float, float]:
        """Return the mean prompt and output tokens, and the mean tokens held while an answer is being made."""
        return trace_means(self.trace) if self.size is None else _means(self.name)

    def of_tenant(self, place: int) -> "ArrivalProcess":
        """Return the process of the tenant at a place of the node's list."""
        return processes()[self.parts[place % len(self.parts)]] if self.parts else self


def _modulated(
    rng: Random, rate: Rate, peak: float, size: Callable[[Random], tuple[int, int]], factors: Factors, most: float
) -> Iterator[Arrival]:
    """Yield a Poisson process whose rate is multiplied by what the factors say, by thinning."""
    states = factors(rng)
    until, factor = next(states)
    at, fastest = 0.0, peak * most
    while True:
        at += rng.expovariate(fastest)
        while at >= until:
            until, factor = next(states)
        if rng.random() * fastest < rate(at) * factor:
            yield Arrival(at, *size(rng))


def _level(_: Random) -> Iterator[tuple[float, float]]:
    yield inf, 1.0


def on_off(on_s: float, off_s: float, high: float) -> Factors:
    """Return bursts: exponential times at ``high`` times the mean, and between them at what keeps the mean at one."""
    low = (on_s + off_s - on_s * high) / off_s

    def factors(rng: Random) -> Iterator[tuple[float, float]]:
        at, on = 0.0, rng.random() < on_s / (on_s + off_s)
        while True:
            at += rng.expovariate(1.0 / (on_s if on else off_s))
            yield at, high if on else low
            on = not on

    return factors


def sessions(count: int, shape: float, shortest_s: float, longest_s: float) -> Factors:
    """Return heavy-tailed bursts: ``count`` sources, each on and off for Pareto times; the factor is how many are on.

    On and off have the same lengths, so that half of the sources are on in the mean.
    """

    def last(rng: Random) -> float:
        return min(shortest_s * rng.paretovariate(shape), longest_s)

    def factors(rng: Random) -> Iterator[tuple[float, float]]:
        ends = [(rng.random() * last(rng), rng.random() < 0.5) for _ in range(count)]
        while True:
            place = min(range(count), key=lambda one: ends[one])
            until, on = ends[place]
            yield until, 2.0 * sum(state for _, state in ends) / count
            ends[place] = (until + last(rng), not on)

    return factors


def lognormal(prompt: float, prompt_sigma: float, output: float, sigma: float) -> Callable[[Random], tuple[int, int]]:
    """Return sizes with so many median tokens and so much spread of their logarithms."""

    def size(rng: Random) -> tuple[int, int]:
        asked = prompt * rng.lognormvariate(0.0, prompt_sigma)
        return min(int(asked) + 1, LARGEST_PROMPT), int(output * rng.lognormvariate(0.0, sigma)) + 1

    return size


def _long_context(rng: Random) -> tuple[int, int]:
    prompt, output = rng.choice(long_prompts())
    return min(prompt, LARGEST_PROMPT), output


def _workday(hour: float) -> float:
    place, part = int(hour) % 24, hour % 1.0
    return WORKDAY[place] * (1.0 - part) + WORKDAY[(place + 1) % 24] * part


CONVERSATION = ArrivalProcess("conversation", "the real hour of conversations")

_ALL = (
    CONVERSATION,
    ArrivalProcess(
        "bursty",
        "a code assistant: long questions, answers of a line, bursts of half a minute at nearly three times the mean",
        size=lognormal(1500.0, 0.8, 14.0, 1.1),
        factors=on_off(25.0, 60.0, 2.8),
        most=2.8,
        closed=False,
    ),
    ArrivalProcess(
        "diurnal",
        "an office tool: independent requests that double in two hours of the morning",
        size=lognormal(700.0, 0.9, 150.0, 0.7),
        day=_workday,
    ),
    ArrivalProcess(
        "heavy_tailed",
        "programs that come and go for seconds to minutes, with sizes over three orders of magnitude",
        size=lognormal(500.0, 1.3, 100.0, 1.1),
        factors=sessions(16, 1.4, 10.0, 400.0),
        most=2.0,
        closed=False,
    ),
    ArrivalProcess(
        "few_long",
        "few requests with long documents, in bursts of half a minute",
        size=_long_context,
        factors=on_off(30.0, 60.0, 1.9),
        most=1.9,
        closed=False,
    ),
    ArrivalProcess(
        "batches",
        "a program that sends what it has gathered: two minutes of every ten at three times the mean",
        size=lognormal(900.0, 0.6, 120.0, 0.6),
        factors=on_off(120.0, 480.0, 3.0),
        most=3.0,
        closed=False,
    ),
    ArrivalProcess(
        "tenants",
        "three tenants, each with its own ways: conversations, a code assistant, batches",
        size=lognormal(900.0, 0.8, 120.0, 0.8),
        parts=("conversation", "bursty", "batches"),
        closed=False,
    ),
)


@cache
def processes() -> Mapping[str, ArrivalProcess]:
    """Return all processes by name."""
    return MappingProxyType({one.name: one for one in _ALL})


@cache
def _means(name: str) -> tuple[float, float, float]:
    size = processes()[name].size
    rng = Random(f"means/{name}")
    rows = [size(rng) for _ in range(20000)] if size is not None else []
    output = sum(row[1] for row in rows)
    held = sum((prompt + made / 2) * made for prompt, made in rows) / output
    return sum(row[0] for row in rows) / len(rows), output / len(rows), held
