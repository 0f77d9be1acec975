"""What a signal says of its own numbers: their bounds, and whether they add."""

import pytest

from aistack_top.model.signals import signal, signals


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("gpu.utilization", 1.0, 1.0),
        ("gpu.utilization", 1.004, 1.0),
        ("gpu.utilization", 1.03, None),
        ("gpu.utilization", -0.004, 0.0),
        ("serving.requests.waiting", -1.0, None),
        ("serving.requests.waiting", -1e-12, 0.0),
        ("data.memory.used", 5e9, 5e9),
        ("gpu.temperature.margin", -7.0, -7.0),
        ("training.loss", -0.3, -0.3),
        ("gpu.memory.used", float("nan"), None),
        ("data.quota.exhausted", 1.7, None),
        ("data.quota.exhausted", 1.0, 1.0),
        ("serving.engine.asleep", 2.0, None),
    ],
)
def test_what_cannot_be_is_none_and_what_rounding_did_is_undone(name, value, wanted):
    assert signal(name).possible(value) == wanted


def test_no_share_temperature_clock_age_or_distribution_adds_up():
    for one in signals().values():
        if one.adds:
            assert one.form not in ("ratio", "quantiles"), one.name
            assert one.unit not in ("1", "Cel", "Hz", "s", "{flag}"), one.name
