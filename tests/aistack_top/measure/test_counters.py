import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.counters import RateMeter


def test_a_rate_is_the_increase_over_the_window():
    meter = RateMeter(window_s=10.0)
    assert meter.observe(0.0, 100.0).rate is None
    assert meter.observe(2.0, 110.0).rate == pytest.approx(5.0)
    rates = [meter.observe(2.0 * n, 110.0 + 10.0 * (n - 1) + (50.0 if n > 8 else 0.0)).rate for n in range(2, 15)]
    assert rates[0] == pytest.approx(5.0)
    assert max(rate for rate in rates if rate is not None) == pytest.approx(10.0)
    assert rates[-1] == pytest.approx(5.0)


def test_a_counter_that_went_backwards_restarted_and_its_interval_is_dropped():
    meter = RateMeter()
    meter.observe(0.0, 1000.0)
    meter.observe(2.0, 1010.0)
    step = meter.observe(4.0, 3.0)
    assert (step.restarted, step.rate, step.delta) == (True, None, None)
    assert meter.observe(6.0, 13.0).rate == pytest.approx(5.0)


def test_a_long_gap_or_a_clock_that_went_back_starts_anew():
    meter = RateMeter(window_s=10.0)
    meter.observe(0.0, 0.0)
    assert meter.observe(100.0, 1000.0).rate is None
    assert meter.observe(102.0, 1002.0).rate == pytest.approx(1.0)
    assert meter.observe(50.0, 1004.0).rate is None


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.floats(0.5, 20.0), st.floats(0.0, 1e6)), min_size=2, max_size=60))
def test_no_rate_is_ever_negative_and_deltas_add_up(steps):
    meter, at, value, total, first = RateMeter(), 0.0, 0.0, 0.0, None
    for pause, increase in steps:
        at, value = at + pause, value + increase
        step = meter.observe(at, value)
        if first is None:
            first = value
        if step.rate is not None:
            assert step.rate >= 0.0
        total += step.delta or 0.0
    assert first is not None
    assert total == pytest.approx(value - first, rel=1e-6, abs=1e-6)


def test_a_source_that_is_read_rarely_has_rates_too():
    often, rarely = RateMeter(10.0), RateMeter(10.0, gap_s=150.0)
    for meter in (often, rarely):
        meter.observe(0.0, 0.0)
    assert often.observe(60.0, 120.0).rate is None
    assert rarely.observe(60.0, 120.0).rate == 2.0
    assert rarely.observe(300.0, 999.0).rate is None
