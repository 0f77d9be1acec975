"""When requests come and how large they are: a real hour of conversations, thinned or laid over itself.

The hour is Azure's public trace of 2023 (see ``traces/README.md``). A rate below its own is had by leaving
requests out at random, a higher one by laying shifted copies over each other: both keep the bursts.
"""

import csv
import gzip
import heapq
import io
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from math import ceil, cos, pi
from random import Random
from typing import NamedTuple

DAY_SWING = 0.35
BUSIEST_HOUR = 14.0
"""A working day's curve: 1.35 at 14 h, 0.65 at 2 h. Shape assumed; Azure's public week of 2024 swings more."""


class Arrival(NamedTuple):
    """A request of the trace: seconds, prompt tokens, output tokens."""

    at: float
    prompt: int
    output: int


@cache
def conversation_trace() -> tuple[Arrival, ...]:
    """Return the real hour, in order of time."""
    return tuple(Arrival(float(row[0]), int(row[1]), int(row[2])) for row in _rows("azure2023_conv.csv.gz"))


@cache
def long_prompts() -> tuple[tuple[int, int], ...]:
    """Return prompt and output tokens of a real service that reads long documents."""
    return tuple((int(row[0]), int(row[1])) for row in _rows("mooncake_sizes.csv.gz"))


def _rows(name: str) -> list[list[str]]:
    body = gzip.decompress(files("aistack_top.simulator").joinpath("traces", name).read_bytes())
    return list(csv.reader(io.StringIO(body.decode())))[1:]


@cache
def trace_means(trace: tuple[Arrival, ...] = ()) -> tuple[float, float, float]:
    """Return a trace's mean prompt and output tokens, and mean tokens held while an answer is being made."""
    trace = trace or conversation_trace()
    prompt = sum(row.prompt for row in trace) / len(trace)
    output = sum(row.output for row in trace)
    held = sum((row.prompt + row.output / 2) * row.output for row in trace) / output
    return prompt, output / len(trace), held


def day_curve(hour: float) -> float:
    """Return the load at an hour of the day, as a multiple of the day's mean."""
    return 1.0 + DAY_SWING * cos(2 * pi * (hour - BUSIEST_HOUR) / 24)


def from_trace(
    rng: Random, rate: Callable[[float], float], peak: float, trace: tuple[Arrival, ...] = ()
) -> Iterator[Arrival]:
    """Yield arrivals of a trace (none given: the real hour) for ever at a rate a second that depends on the time.

    ``peak`` is never exceeded.
    """
    trace = trace or conversation_trace()
    lasts = trace[-1].at + 1.0
    own = len(trace) / lasts
    copies = max(1, ceil(peak / own))
    streams = [_looped(trace, lasts, rng.uniform(0.0, lasts)) for _ in range(copies)]
    draw, most = rng.random, copies * own
    for at, prompt, output in heapq.merge(*streams):
        if draw() * most < rate(at):
            yield Arrival(at, prompt, output)


def _looped(trace: tuple[Arrival, ...], lasts: float, offset: float) -> Iterator[tuple[float, int, int]]:
    shift = -offset
    while True:
        for at, prompt, output in trace:
            if at + shift >= 0.0:
                yield at + shift, prompt, output
        shift += lasts
