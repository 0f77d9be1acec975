"""The arithmetic of money, against a table worked out by hand."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from aistack_top.spend.money import (
    Flow,
    GpuUse,
    Meter,
    blended_per_token,
    break_even_tokens_per_day,
    managed_usd_hour,
    midnight,
    month_hours,
    per_million_tokens,
    split,
    total,
    zone,
)
from aistack_top.spend.prices import TokenPrice, from_list

FLAT = Flow(0.0, 0.0, TokenPrice(3.5, 3.5))
"""A managed API that asks $3.50 for a million tokens, of prompts as of answers."""


# dollars a day on demand, and millions of tokens a day that cost the same at $3.50 a million
WORKED = {
    "NVIDIA H100 80GB HBM3": (120.24, 34.4, 20.0),
    "NVIDIA H200": (117.12, 33.5, 22.7),
    "NVIDIA B200": (177.84, 50.8, 18.4),
    "NVIDIA A100-SXM4-80GB": (40.56, 11.6, 5.5),
    "NVIDIA L40S": (23.04, 6.6, None),
    "NVIDIA GeForce RTX 4090": (12.72, 3.6, None),
}


def test_the_worked_table_of_the_list():
    _, prices = from_list("seed-2026-06")
    assert set(prices) == set(WORKED)
    per_token = blended_per_token([FLAT])
    for name, (day, millions, millions_spot) in WORKED.items():
        on_demand, spot = prices[name]["on_demand"], prices[name].get("spot")
        assert on_demand * 24 == pytest.approx(day)
        assert round(break_even_tokens_per_day(on_demand, per_token) / 1e6, 1) == millions
        even = break_even_tokens_per_day(spot, per_token)
        assert (even and round(even / 1e6, 1)) == millions_spot


def test_eight_h100_need_275_million_tokens_a_day_and_a_million_tokens_pay_for_no_gpu():
    per_token = blended_per_token([FLAT])
    assert break_even_tokens_per_day(8 * 5.01, per_token) == pytest.approx(274.8e6, rel=1e-3)
    assert break_even_tokens_per_day(8 * 2.91, per_token) == pytest.approx(159.6e6, rel=1e-3)
    assert pytest.approx(0.146, abs=5e-4) == 3.5 / 24
    assert break_even_tokens_per_day(3.5 / 24, per_token) == pytest.approx(1e6)


def test_a_million_tokens_cost_more_the_fewer_there_are():
    assert per_million_tokens(3.6, 1000.0) == pytest.approx(1.0)
    assert per_million_tokens(3.6, 10.0) == pytest.approx(100.0)
    assert per_million_tokens(3.6, 0.0) is None
    assert per_million_tokens(None, 10.0) is None


def test_a_managed_api_asks_for_prompts_and_answers_apart():
    flows = [Flow(900.0, 100.0, TokenPrice(0.15, 0.6)), Flow(0.0, 0.0, None)]
    # an hour: 3.24 M prompt tokens at 0.15, 0.36 M generated at 0.60
    assert managed_usd_hour(flows) == pytest.approx(0.486 + 0.216)
    assert blended_per_token(flows) == pytest.approx((900 * 0.15 + 100 * 0.6) / 1000 / 1e6)
    assert managed_usd_hour([*flows, Flow(1.0, 0.0, None)]) is None
    assert managed_usd_hour([]) is None


def test_without_traffic_only_a_flat_price_is_known():
    assert blended_per_token([FLAT]) == pytest.approx(3.5e-6)
    assert blended_per_token([Flow(0.0, 0.0, TokenPrice(0.15, 0.6))]) is None
    assert blended_per_token([FLAT, Flow(0.0, 0.0, TokenPrice(1.0, 1.0))]) is None
    assert blended_per_token([]) is None


@pytest.mark.parametrize(
    ("busy", "running", "idle"),
    [
        (0.0, (0.0,), True),
        (0.0, (), True),
        (0.0, (0.0, 3.0), False),
        (0.9, (), False),
        (0.9, (None,), False),
        (None, (2.0,), False),
        (None, (0.0,), None),
        (0.0, (None,), None),
    ],
)
def test_a_gpu_idles_only_where_that_is_known(busy, running, idle):
    use = GpuUse(2.0, busy, running)
    assert use.idle is idle
    assert use.idle_usd_hour == (None if idle is None else 2.0 if idle else 0.0)
    assert GpuUse(None, busy, running).idle_usd_hour is None


def test_a_sum_with_an_unknown_part_is_unknown():
    assert total([1.0, 2.0]) == 3.0
    assert total([1.0, None]) is None
    assert total([]) is None


def test_a_cost_is_divided_by_what_finished_and_the_rest_is_nobodys():
    assert split(10.0, {"a": 30.0, "b": 10.0}, 80.0) == ({"a": 3.75, "b": 1.25}, 5.0)
    assert split(10.0, {"a": 30.0, "b": 10.0}, 20.0) == ({"a": 7.5, "b": 2.5}, 0.0)
    assert split(10.0, {}, 80.0) == ({}, 10.0)
    assert split(10.0, {}, None) == ({}, 10.0)


def test_days_end_where_the_node_lives_and_some_have_23_hours():
    berlin = zone("Europe/Berlin")
    assert berlin is not None
    noon = datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert noon - midnight(noon, berlin) == 11 * 3600  # the clocks went forward that night
    assert month_hours(noon, berlin) == 31 * 24 - 1
    february = datetime(2026, 2, 10, tzinfo=UTC).timestamp()
    assert month_hours(february, UTC) == 28 * 24
    assert zone("Mars/Olympus") is None
    assert zone("../../etc/passwd") is None


def test_a_meter_charges_what_was_seen_and_begins_anew_at_midnight():
    meter = Meter()
    for at in range(0, 3601, 5):
        meter.add(float(at), 4.0, 0.0)
    assert (meter.usd, meter.covered_s) == pytest.approx((4.0, 3600.0))
    meter.add(7200.0, 4.0, 0.0)  # an hour in which nobody saw the node is not charged
    assert (meter.usd, meter.covered_s) == pytest.approx((4.0, 3600.0))
    meter.add(7205.0, None, 0.0)
    meter.add(7230.0, 8.0, 0.0)  # the price that stood is charged until the new one is known
    assert (meter.usd, meter.covered_s) == pytest.approx((4.0 + 4.0 * 30 / 3600, 3630.0))
    meter.add(7240.0, 8.0, 7236.0)
    assert (meter.usd, meter.covered_s) == pytest.approx((8.0 * 4 / 3600, 4.0))
