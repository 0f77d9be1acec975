from array import array
from math import isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Bound, History, Quantiles, Readings
from aistack_top.store.timeline import Timeline

A = Entity.of(engine="a")
KEY = ("serving.requests.waiting", A, "value")


def put(timeline, at, value, signal="serving.requests.waiting", entity=A):
    timeline.add(at, Readings((signal,), (entity,), (value,)))


def test_a_sample_is_the_newest_at_or_before_the_moment_and_carries_its_own_time():
    timeline = Timeline()
    put(timeline, 100.4, 1.0)
    put(timeline, 104.0, 2.0)
    assert timeline.sample(KEY, 99.0, 30.0) is None
    assert timeline.sample(KEY, 103.9, 30.0).value == 1.0
    assert timeline.sample(KEY, 103.9, 30.0).at == 100.0
    assert timeline.sample(KEY, 104.0, 30.0).value == 2.0
    assert timeline.sample(KEY, 200.0, 30.0) is None


def test_a_gap_stays_a_gap():
    timeline = Timeline()
    put(timeline, 100.0, 1.0)
    put(timeline, 105.0, 2.0)
    window = timeline.window(KEY, 99.0, 107.0)
    assert [None if isnan(v) else v for v in window] == [None, 1.0, None, None, None, None, 2.0, None]
    assert isnan(timeline.columns(KEY, 51, 1, 2)[0])


def test_the_ring_forgets_what_is_older_than_its_span():
    timeline = Timeline(span_s=10.0)
    for at in range(100, 125):
        put(timeline, float(at), float(at))
    assert timeline.sample(KEY, 114.0, 30.0) is None
    assert timeline.sample(KEY, 115.0, 30.0).value == 115.0
    put(timeline, 50.0, 1.0)
    assert timeline.sample(KEY, 124.0, 30.0).value == 124.0
    put(timeline, 500.0, 3.0)
    assert timeline.sample(KEY, 499.0, 300.0) is None


def test_a_late_value_is_laid_where_it_belongs_and_redraws_its_column():
    timeline = Timeline()
    for at in range(100, 130):
        put(timeline, float(at), 1.0)
    assert timeline.columns(KEY, 12, 2, 10) == [1.0, 1.0]
    put(timeline, 112.0, 9.0)
    assert timeline.columns(KEY, 12, 2, 10) == [9.0, 1.0]


def test_quantiles_are_kept_part_by_part_with_their_bounds():
    timeline = Timeline()
    value = Quantiles(Bound("below", 0.3), 2.0, None, 1.0, 40, 60.0)
    put(timeline, 100.0, value, "serving.ttft")
    bound = timeline.sample(("serving.ttft", A, "p50"), 100.0, 5.0).value
    assert (bound.side, bound.limit) == ("below", pytest.approx(0.3))
    assert timeline.sample(("serving.ttft", A, "p95"), 100.0, 5.0).value == 2.0
    assert timeline.sample(("serving.ttft", A, "p99"), 100.0, 5.0) is None
    put(timeline, 101.0, Quantiles(0.4, 2.0, None, 1.0, 40, 60.0), "serving.ttft")
    assert timeline.sample(("serving.ttft", A, "p50"), 101.0, 5.0).value == pytest.approx(0.4)


def test_bulk_columns_are_the_same_as_single_readings():
    one, many = Timeline(), Timeline()
    values = [1.0, nan, 3.0, 4.0]
    for index, value in enumerate(values):
        if value == value:
            put(one, 100.0 + 2 * index, value)
    many.backfill(History(100.0, 2.0, {KEY: array("f", values)}, {KEY: array("b", [0, 0, 1, 0])}))
    assert str(one.window(KEY, 98.0, 110.0)) == str(many.window(KEY, 98.0, 110.0))
    assert many.sample(KEY, 104.0, 1.0).value == Bound("above", 3.0)
    many.backfill(History(107.0, 1.0, {KEY: array("f", [7.0, 8.0])}))
    assert many.sample(KEY, 108.0, 1.0).value == 8.0
    assert many.sample(KEY, 106.0, 1.0).value == 4.0


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 120), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=80),
    st.integers(5, 60),
)
def test_whatever_the_order_a_timeline_holds_what_a_dictionary_would(writes, span):
    timeline, truth, newest = Timeline(span_s=float(span)), {}, -1
    for at, value in writes:
        if at > newest - span or newest < 0:
            truth[at] = value
        newest = max(newest, at)
        put(timeline, float(at), value)
    for at in range(121):
        held = timeline.window(KEY, float(at), at + 1.0)[0]
        if newest - span < at <= newest and at in truth:
            assert held == truth[at]
        else:
            assert isnan(held)


def test_dense_columns_lay_over_the_end_of_the_ring():
    timeline = Timeline(span_s=8.0)
    timeline.backfill(History(5.0, 1.0, {KEY: array("f", [float(n) for n in range(20)])}))
    assert list(timeline.window(KEY, 17.0, 25.0)) == [float(n) for n in range(12, 20)]


def test_it_knows_whom_a_signal_is_about():
    timeline = Timeline()
    put(timeline, 1.0, 1.0)
    put(timeline, 1.0, 1.0, entity=Entity.of(engine="b"))
    assert timeline.entities("serving.requests.waiting") == [A, Entity.of(engine="b")]
    assert timeline.entities("serving.requests.waiting", A) == [A]
    assert timeline.entities("calls.rate", SERVICE) == []


def test_labels_that_are_invented_cost_no_memory_and_ended_processes_make_room():
    timeline = Timeline(span_s=10.0, most=3)
    for number in range(5):
        put(timeline, 100.0, 1.0, entity=Entity.of(process=str(number)))
    assert (len(timeline), timeline.refused) == (3, 2)
    put(timeline, 120.0, 1.0, entity=Entity.of(process="0"))
    put(timeline, 120.0, 1.0, entity=Entity.of(process="new"))
    assert (len(timeline), timeline.refused) == (2, 2)
    assert timeline.entities("serving.requests.waiting") == [Entity.of(process="0"), Entity.of(process="new")]


def test_a_history_that_only_fills_leaves_what_is_known_and_its_surroundings():
    timeline = Timeline()
    for at in range(1000, 1100, 5):
        put(timeline, float(at), 1.0)
    timeline.backfill(History(900.0, 5.0, {KEY: array("f", [7.0] * 80)}, fills=True))
    assert timeline.sample(KEY, 960.0, 1.0).value == 7.0
    assert timeline.sample(KEY, 1050.0, 1.0).value == 1.0
    assert timeline.sample(KEY, 1052.0, 1.0) is None, "nothing is laid between what is known"
    assert timeline.sample(KEY, 1200.0, 1.0).value == 7.0
    other = ("serving.requests.running", A, "value")
    timeline.backfill(History(1000.0, 5.0, {other: array("f", [2.0, nan, 3.0])}, fills=True))
    assert [timeline.sample(other, at, 1.0) is None for at in (1000.0, 1005.0, 1010.0)] == [False, True, False]
