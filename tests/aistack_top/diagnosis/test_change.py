"""How a series moved around an onset."""

from typing import Any

import pytest

from aistack_top.diagnosis.change import measure
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import ReadingsBuilder, SeriesKey
from aistack_top.store.timeline import Timeline

ENGINE = Entity.of(engine="chat")
START = 1_000_000.0


def timeline(signal, values):
    made = Timeline(3600.0, 5.0)
    for number, value in enumerate(values):
        builder = ReadingsBuilder()
        builder.add(signal, ENGINE, value)
        made.add(START + number * 5.0, builder.build())
    return made


@pytest.mark.parametrize("values", [[0, 0, 1], [0, 0, 0, 0, 1], [1, 1, 1]])
def test_a_flag_that_was_just_raised_is_raised_and_not_half(values):
    name = "serving.engine.frozen"
    until = START + 5.0 * len(values)
    found = measure(timeline(name, values), (name, ENGINE, "value"), signals()[name], START, until)
    assert found.top == found.now == 1


def test_the_newest_value_of_what_is_no_flag_is_one_among_others():
    name = "serving.requests.waiting"
    found = measure(timeline(name, [0, 0, 9]), (name, ENGINE, "value"), signals()[name], START, START + 15.0)
    assert found.top == 4.5


def test_what_was_before_is_remembered_for_the_next_look_and_changes_nothing():
    name = "serving.requests.waiting"
    pasts: dict[SeriesKey, Any] = {}
    known, key = timeline(name, [n % 3 for n in range(200)] + [40] * 20), (name, ENGINE, "value")
    onset = START + 1000.0
    alone = measure(known, key, signals()[name], onset, onset + 95.0)
    assert measure(known, key, signals()[name], onset, onset + 95.0, pasts) == alone
    assert pasts[key].usual == alone.usual == 1.0
    assert measure(known, key, signals()[name], onset, onset + 95.0, pasts) == alone
    assert (alone.low, alone.high, alone.novelty, alone.top) == (0.0, 2.0, 20 / 21, 40.0)
