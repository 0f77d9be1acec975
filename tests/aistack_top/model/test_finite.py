"""Numbers that are none: infinity, NaN, what a 32-bit float cannot hold, and what stands for infinity."""

import json
from array import array
from math import inf, isnan, nan

import pytest

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.finite import MAX_FLOAT32, fits, usable
from aistack_top.model.signals import signal
from aistack_top.model.tick import Batch, Bound, Health, History, Quantiles, Readings, ReadingsBuilder, Tick
from aistack_top.snapshot import document
from aistack_top.state import State
from aistack_top.store.timeline import Timeline
from aistack_top.text import numbers

BEYOND = (inf, -inf, nan, 1e39, -1e39, 1.797e308, 1.7976931348623157e308)
ENGINE = Entity.of(engine="a")
KEY = ("serving.requests.waiting", ENGINE, "value")


@pytest.mark.parametrize("value", [*BEYOND, 9223372036854775807.0, 9223372036854771712.0, 18446744073709551615.0])
def test_what_stands_for_no_number_is_not_usable(value):
    assert not usable(value)


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324, 1.7e18, 9.2e18, 1e19, -3.0, 1e21, MAX_FLOAT32, -MAX_FLOAT32])
def test_large_numbers_that_are_quantities_stay(value):
    assert usable(value)
    assert fits(value)


@pytest.mark.parametrize("value", BEYOND)
def test_a_reading_that_is_no_number_is_not_added(value):
    builder = ReadingsBuilder()
    builder.add("serving.requests.waiting", ENGINE, value)
    assert list(builder.build()) == []


@pytest.mark.parametrize("value", BEYOND)
def test_of_a_distribution_only_the_parts_that_are_numbers_stay(value):
    builder = ReadingsBuilder()
    builder.add("serving.ttft", ENGINE, Quantiles(0.5, Bound("above", value), 2.0, value, 30.0, 60.0))
    builder.add("serving.ttft", ENGINE, Quantiles(0.5, 1.0, 2.0, 1.0, value, 60.0))
    assert list(builder.build()) == [("serving.ttft", ENGINE, Quantiles(0.5, None, 2.0, None, 30.0, 60.0))]


@pytest.mark.parametrize("value", BEYOND)
def test_the_timeline_keeps_a_gap_for_what_is_no_number(value):
    timeline = Timeline()
    timeline.add(100.0, Readings((KEY[0],), (ENGINE,), (3.0,)))
    timeline.add(101.0, Readings((KEY[0],), (ENGINE,), (value,)))
    timeline.add(102.0, Readings(("serving.ttft",), (ENGINE,), (Quantiles(Bound("above", value), value, 1, 1, 9, 9),)))
    assert [one for one in timeline.window(KEY, 100.0, 102.0) if not isnan(one)] == [3.0]
    assert timeline.sample(("serving.ttft", ENGINE, "p50"), 102.0, 30.0) is None
    assert timeline.sample(("serving.ttft", ENGINE, "p95"), 102.0, 30.0) is None


@pytest.mark.parametrize(("step", "fills"), [(1.0, False), (1.0, True), (10.0, False)])
def test_columns_with_infinity_are_laid_in_with_gaps(step, fills):
    timeline = Timeline()
    column = array("f", [1.0, inf, 1e39, -inf, 2.0])
    timeline.backfill(History(100.0, step, {KEY: column}, fills=fills))
    found = [one for one in timeline.window(KEY, 100.0, 200.0) if not isnan(one)]
    assert found == [1.0, 2.0]


@pytest.mark.parametrize("value", [inf, -inf, nan, Bound("above", inf)])
@pytest.mark.parametrize("unit", ["1", "s", "By", "By/s", "Hz", "USD", "Cel", "{token}/s", "{flag}"])
def test_what_is_not_finite_is_shown_as_unknown(value, unit):
    assert numbers.show(value, unit) == numbers.UNKNOWN


def test_a_flag_that_is_infinite_is_unknown():
    assert numbers.of_signal(inf, signal("gpu.throttle")) == numbers.UNKNOWN


@pytest.mark.parametrize("value", BEYOND)
def test_a_snapshot_is_json_whatever_a_source_said(value):
    state = State()
    health = Health("a", "vllm", "serving", "ok")
    readings = Readings((KEY[0], "spend.rate"), (ENGINE, SERVICE), (value, value))
    state.apply(Tick(10.0, 10.0, (Batch(10.0, 10.0, health, readings),)))
    told = json.dumps(document(state.frame(), "node"), allow_nan=False)
    assert "serving.requests.waiting" not in told
