"""Bursts that pass are usual life; pain that lasts is an incident, and so is a burst with another cause than load."""

import random

from aistack_top.diagnosis.anomaly import Anomaly, AnomalyDetector, AnomalyLimits
from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE
from tests.aistack_top.diagnosis.fake_node import START, Plant, bent, both, watch

KEY = ("serving.ttft", SERVICE, "p95")


def bursts(seconds: int, seed: int = 1) -> set[int]:
    """Return the seconds of half a minute to 75 s, every two to three minutes, in which a burst is on."""
    dice, at = random.Random(seed), 60
    on: set[int] = set()
    while at < seconds:
        lasts = dice.randrange(30, 75, 5)
        on.update(range(at, at + lasts, 5))
        at += lasts + dice.randrange(60, 150, 5)
    return on


def opened(detector: AnomalyDetector, values: dict[int, float]) -> list[Anomaly]:
    """Return the excursions that open."""
    found = [detector.step(float(at), value) for at, value in values.items()]
    return [one for one in found if one is not None and one.end is None]


def test_bursts_that_pass_open_nothing_and_what_lasts_does() -> None:
    on, dice = bursts(7200), random.Random(2)
    usual = {at: (5.0 if at in on else 1.0) * dice.uniform(0.9, 1.1) for at in range(0, 7200, 5)}
    detector = AnomalyDetector(KEY, AnomalyLimits())
    assert opened(detector, usual) == []
    assert opened(detector, dict.fromkeys(range(7200, 7350, 5), 1.0)) == []
    (found,) = opened(detector, dict.fromkeys(range(7350, 7950, 5), 5.0))
    assert found.onset == 7350.0
    assert 120.0 <= found.detected - found.onset <= 300.0


def test_what_exceeds_all_bursts_is_out_at_once() -> None:
    on, dice = bursts(3600), random.Random(2)
    detector = AnomalyDetector(KEY, AnomalyLimits())
    assert opened(detector, {at: (5.0 if at in on else 1.0) * dice.uniform(0.9, 1.1) for at in range(0, 3600, 5)}) == []
    (found,) = opened(detector, dict.fromkeys(range(3600, 3900, 5), 60.0))
    assert found.detected - found.onset <= 45.0


def test_without_bursts_a_rise_is_found_as_fast_as_ever() -> None:
    dice = random.Random(2)
    detector = AnomalyDetector(KEY, AnomalyLimits())
    assert opened(detector, {at: dice.uniform(0.9, 1.1) for at in range(0, 3600, 5)}) == []
    (found,) = opened(detector, dict.fromkeys(range(3600, 3900, 5), 5.0))
    assert found.detected - found.onset <= 35.0


def test_a_burst_with_a_cause_that_is_not_the_load_is_told_at_once() -> None:
    on = bursts(2400)
    busy = lambda at, signal, who: 5.0 if at in on and signal == "serving.ttft" else 1.0  # noqa: E731
    hot = lambda at, signal, who: (  # noqa: E731
        0.9 if at >= 2400 and who == "GPU-0/hw_thermal" and signal == "gpu.throttle" else 1.0
    )
    slow = bent(2420, serving__ttft=5.0, serving__prefill_time=5.0)
    trouble = both(busy, hot, bent(2400, gpu__clock__sm=0.5, gpu__temperature=1.4), slow)
    (versions,) = watch(Plant(trouble), 2700).values()
    assert versions[-1].cause is Cause.THERMAL_THROTTLE
    assert versions[0].detected - START - 2420 <= 60.0


def test_more_hits_of_more_requests_are_no_attack() -> None:
    rising = bent(1000, guardrail__hits=20.0, guardrail__requests=20.0)
    assert all(v[-1].cause is not Cause.GUARDRAIL_HITS for v in watch(Plant(rising)).values())
    attack = bent(1000, guardrail__hits=20.0)
    assert [v[-1].cause for v in watch(Plant(attack)).values()] == [Cause.GUARDRAIL_HITS]


def test_requests_no_more_than_in_a_burst_before_are_not_confirmed_as_a_surge() -> None:
    before = set(range(300, 420, 5)) | set(range(700, 900, 5))
    calm = lambda at, signal, who: 2.2 if at in before and signal == "serving.requests.arrived" else 1.0  # noqa: E731
    slow = bent(1600, serving__requests__arrived=2.0, serving__ttft=8.0, serving__queue_time=80.0)
    versions = [one for found in watch(Plant(both(calm, slow)), 1780).values() for one in found]
    assert versions
    assert all(one.confidence != "confirmed" for one in versions)
    unlike = [one for found in watch(Plant(slow), 1780).values() for one in found]
    assert (unlike[-1].cause, unlike[-1].confidence) == (Cause.TRAFFIC_SURGE, "confirmed")


def test_a_surge_in_the_first_quarter_of_an_hour_is_not_confirmed() -> None:
    surge = bent(600, serving__requests__arrived=2.0, serving__ttft=8.0, serving__queue_time=80.0)
    versions = [one for found in watch(Plant(surge), 780).values() for one in found]
    assert (versions[-1].cause, versions[-1].confidence) == (Cause.TRAFFIC_SURGE, "likely")
    assert "only 9 min of baseline" in versions[-1].verdict.why
