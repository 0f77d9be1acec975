from math import inf, isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.quantiles import Buckets, HistogramWindow, bucket_quantile, linear_quantile, sample_quantiles
from aistack_top.model.tick import Bound

EDGES = (0.3, 0.5, 1.0, 5.0, inf)


def test_a_quantile_inside_a_bucket_is_linear_between_its_edges():
    assert bucket_quantile(EDGES, (0, 10, 20, 20, 20), 0.5) == pytest.approx(0.5)
    assert bucket_quantile(EDGES, (0, 10, 20, 20, 20), 0.75) == pytest.approx(0.75)


def test_a_quantile_outside_the_edges_is_a_bound_and_not_a_number():
    assert bucket_quantile(EDGES, (20, 20, 20, 20, 20), 0.5) == Bound("below", 0.3)
    assert bucket_quantile(EDGES, (0, 0, 0, 0, 20), 0.5) == Bound("above", 5.0)
    assert bucket_quantile(EDGES, (0, 0, 0, 0, 0), 0.5) is None


def test_a_first_edge_of_zero_holds_zeros():
    edges = (0.0, 5.0, inf)
    assert bucket_quantile(edges, (15, 20, 20), 0.5) == 0.0
    assert bucket_quantile(edges, (0, 20, 20), 0.5) == pytest.approx(2.5)
    assert bucket_quantile((-inf, 5.0, inf), (0, 20, 20), 0.5) == Bound("below", 5.0)
    assert bucket_quantile((-inf, 5.0, inf), (20, 20, 20), 0.5) is None
    assert bucket_quantile((-2.0, 5.0, inf), (20, 20, 20), 0.5) == Bound("below", -2.0)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=6, unique=True),
    st.lists(st.floats(0.0, 1e30), min_size=7, max_size=7),
    st.sampled_from((0.5, 0.95, 0.99)),
)
def test_a_bucket_quantile_is_a_number_whatever_the_edges_are(edges, counts, q):
    ordered = tuple(sorted({*edges, inf}))
    found = bucket_quantile(ordered, sorted(counts)[: len(ordered)], q)
    limit = found.limit if isinstance(found, Bound) else found
    assert limit is None or isfinite(limit) or max(abs(edge) for edge in ordered if edge < inf) > 1e300


def scrape(window, at, counts, total=0.0):
    return window.observe(at, Buckets(EDGES, tuple(float(c) for c in counts), total))


def test_the_first_scrape_of_a_long_lived_server_tells_nothing():
    window = HistogramWindow()
    scrape(window, 0.0, (0, 0, 1000, 1000, 1000), 800.0)
    assert window.quantiles() is None
    scrape(window, 2.0, (0, 0, 1000, 1000, 1000), 800.0)
    found = window.quantiles()
    assert (found.count, found.p50, found.mean) == (0, None, None)


def test_fewer_than_twenty_are_too_few_but_are_counted_and_averaged():
    window = HistogramWindow()
    scrape(window, 0.0, (0, 0, 0, 0, 0))
    scrape(window, 10.0, (0, 0, 19, 19, 19), 19 * 0.8)
    found = window.quantiles()
    assert (found.p50, found.p95, found.count) == (None, None, 19)
    assert found.mean == pytest.approx(0.8)
    scrape(window, 12.0, (0, 0, 20, 20, 20), 16.0)
    assert window.quantiles().p50 == pytest.approx(0.75)
    assert window.quantiles().p99 is None


def test_the_window_is_a_minute_and_widens_to_five_for_a_quiet_server():
    busy, quiet = HistogramWindow(), HistogramWindow()
    for n in range(200):
        scrape(busy, 2.0 * n, (0, 0, n * 10, n * 10, n * 10))
        scrape(quiet, 2.0 * n, (0, 0, n // 10, n // 10, n // 10))
    assert (busy.quantiles().window_s, busy.quantiles().count) == (60.0, 300)
    assert quiet.quantiles().window_s == 300.0
    assert quiet.quantiles().count == 15
    assert quiet.quantiles().p95 is None


def test_a_restart_and_changed_edges_start_anew():
    window = HistogramWindow()
    scrape(window, 0.0, (0, 0, 50, 50, 50))
    assert scrape(window, 2.0, (0, 0, 90, 90, 90)) is False
    assert scrape(window, 4.0, (0, 0, 3, 3, 3)) is True
    assert window.quantiles() is None
    assert window.observe(6.0, Buckets((1.0, inf), (3.0, 3.0), 1.0)) is False
    assert window.quantiles() is None


def test_the_window_forgets_what_was_slow_long_ago():
    window = HistogramWindow()
    for n in range(60):
        slow, fast = min(n, 20) * 10, max(n - 20, 0) * 10
        scrape(window, 2.0 * n, (0, fast, fast, fast + slow, fast + slow))
    assert window.quantiles().p95 < 0.5


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.floats(0.0, 10.0), min_size=20, max_size=200), st.sampled_from((0.5, 0.95, 0.99)))
def test_a_bucket_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    ordered = sorted(values)
    rank = ordered[max(-(-len(ordered) * int(q * 100) // 100) - 1, 0)]
    counts = [float(sum(v <= edge for v in values)) for edge in EDGES]
    found = bucket_quantile(EDGES, counts, q)
    index = next(i for i, edge in enumerate(EDGES) if rank <= edge)
    if isinstance(found, Bound):
        assert index == (0 if found.side == "below" else len(EDGES) - 1)
    else:
        assert EDGES[index - 1] <= found <= EDGES[index]


def test_quantiles_of_raw_values_are_those_of_linear_interpolation():
    assert linear_quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert linear_quantile([], 0.5) is None
    found = sample_quantiles([float(n) for n in range(101)], 60.0)
    assert (found.p50, found.p95, found.p99, found.mean, found.count) == (50.0, 95.0, 99.0, 50.0, 101)
    assert sample_quantiles([1.0] * 5, 60.0).p50 is None
