"""Arrival processes: they keep the rate that is asked of them, and differ in how bursty they are."""

from dataclasses import replace
from itertools import takewhile
from random import Random
from statistics import fmean, pvariance

import pytest

from aistack_top.simulator.arrival_processes import CONVERSATION, LARGEST_PROMPT, processes
from aistack_top.simulator.arrivals import Arrival
from aistack_top.simulator.scenario import scenarios

SYNTHETIC = [name for name, one in processes().items() if one.size is not None and not one.parts]


def come(name: str, seconds: float, rate: float = 4.0) -> list[Arrival]:
    """Return what comes in so many seconds."""
    stream = processes()[name].stream(Random("test"), lambda _: rate, rate)
    return list(takewhile(lambda one: one.at < seconds, stream))


def fano(name: str, width: float) -> float:
    """Return the variance over the mean of counts in windows."""
    seconds = 7200.0
    counts = [0] * int(seconds // width)
    for one in come(name, seconds):
        counts[int(one.at // width)] += 1
    return pvariance(counts) / fmean(counts)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_mean_rate_is_the_one_asked_for(name: str) -> None:
    seconds = 40000.0
    assert len(come(name, seconds)) / seconds == pytest.approx(4.0, rel=0.12)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_sizes_have_the_means_that_load_is_computed_with(name: str) -> None:
    found, (prompt, output, held) = come(name, 4000.0), processes()[name].means()
    assert fmean(one.prompt for one in found) == pytest.approx(prompt, rel=0.1)
    assert fmean(one.output for one in found) == pytest.approx(output, rel=0.2)
    assert held > prompt / 2
    assert max(one.prompt for one in found) <= LARGEST_PROMPT


def test_bursts_are_bursts_and_an_office_has_none() -> None:
    assert fano("bursty", 10.0) > 10.0
    assert fano("few_long", 10.0) > 5.0
    assert fano("heavy_tailed", 60.0) > 3.0
    assert fano("diurnal", 10.0) < 1.5


def test_an_office_tool_doubles_in_the_morning() -> None:
    day = processes()["diurnal"].day
    assert day(9.0) / day(7.0) > 2.0
    assert day(9.5) == pytest.approx((day(9.0) + day(10.0)) / 2)


def test_each_tenant_may_come_in_its_own_way() -> None:
    node = scenarios()["healthy_day"].start(node="pair", seed=1, arrivals=processes()["tenants"])
    asked: dict[str, list[int]] = {}
    send = node.traffic.send

    def watched(request, now: float) -> None:
        asked.setdefault(request.tenant, []).append(request.output_tokens)
        send(request, now)

    node.traffic.send = watched
    node.advance(600.0)
    assert set(asked) == {"support", "analytics", "legal"}
    # the second tenant is the code assistant: answers of a line
    assert fmean(asked["analytics"]) < fmean(asked["support"]) / 3


def test_conversations_come_as_they_always_did() -> None:
    ours = scenarios()["healthy_day"].start(node="pair", seed=1)
    same = scenarios()["healthy_day"].start(node="pair", seed=1, arrivals=CONVERSATION)
    for node in (ours, same):
        node.advance(120.0)
    assert ours.traffic.made == same.traffic.made > 100


def test_a_trace_of_ones_own_is_played_with_its_sizes() -> None:
    trace = tuple(Arrival(float(second), 100, 7) for second in range(60))
    process = replace(CONVERSATION, trace=trace, closed=False)
    found = list(takewhile(lambda one: one.at < 300.0, process.stream(Random(1), lambda _: 1.0, 1.0)))
    assert {(one.prompt, one.output) for one in found} == {(100, 7)}
    assert process.means() == (100.0, 7.0, 103.5)
