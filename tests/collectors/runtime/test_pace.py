"""How often a source is asked, by what its answers were."""

import pytest

from aistack_top.model.tick import Batch, Health
from collectors.runtime.base import Source
from collectors.runtime.pace import RECENT, Pacer

ENGINE = Source("v", "vllm", "serving", 2.0, max_interval_s=5.0, page_bytes=60_000)
AT = 1_000_000.0


def run(took_s=0.0, status="ok", reason="", age_s=0.0, interval_s=2.0):
    return Batch(AT, AT, Health("v", "vllm", "serving", status, reason, age_s, took_s, interval_s))


def after(source, batches, **urgency):
    pacer = Pacer()
    for batch in batches:
        told = pacer.paced(batch, source, **urgency)
    return pacer.pace_s, told.health


def test_one_quick_answer_among_slow_ones_tells_the_cost():
    pace, health = after(ENGINE, [run(0.4), run(0.015), *[run(0.4)] * (RECENT - 2)])
    assert (pace, health.reason) == (2.0, "")


def test_a_proxy_that_delays_a_small_page_costs_the_engine_nothing():
    pace, health = after(ENGINE, [run(0.4)] * RECENT)
    assert pace == 5.0, "60 kB are no more than 60 ms of work, and an engine is asked every 5 s at least"
    assert (health.status, health.interval_s) == ("ok", 5.0)
    assert health.reason == "polled every 5 s: a response takes 0.4 s"


def test_while_an_incident_is_open_an_engine_is_asked_at_its_interval():
    assert after(ENGINE, [run(0.4)] * RECENT, urgent=True)[0] == 2.0


def test_a_page_that_really_costs_much_is_spared_in_an_incident_too():
    large = Source("v", "vllm", "serving", 2.0, max_interval_s=10.0, page_bytes=4_000_000)
    assert after(large, [run(0.7)], urgent=True)[0] == pytest.approx(7.0)


def test_without_a_known_size_the_quickest_answer_counts():
    litellm = Source("l", "litellm", "governance", 5.0)
    pace, health = after(litellm, [run(0.25, interval_s=5.0), run(3.0, interval_s=5.0)])
    assert pace == 25.0
    assert health.reason == "polled every 25 s: a response takes 0.25 s"


def test_a_source_that_never_answers_in_time_is_not_asked_without_a_pause():
    silent = Source("s", "ray", "training", 5.0)
    pace, health = after(silent, [run(5.0, "slow", "no complete response within 5 s", None)] * 2)
    assert pace == 30.0
    assert health.reason == "no complete response within 5 s; polled every 30 s: it does not respond in time"


def test_a_source_that_is_down_is_asked_at_its_interval_and_nothing_is_said_of_answers():
    slow = [run(0.4)] * RECENT
    pace, health = after(ENGINE, [*slow, run(0.0, "down", "connection refused", 2.0)])
    assert (pace, health.reason) == (2.0, "connection refused")


def test_a_source_that_refuses_is_asked_once_a_minute():
    pace, health = after(ENGINE, [run(0.01, "unauthorized", "HTTP 401: the metrics endpoint requires a token", None)])
    assert pace == 60.0
    assert health.reason == "HTTP 401: the metrics endpoint requires a token; polled every 60 s: it refuses access"


def test_the_interval_that_a_source_names_itself_is_kept_when_it_is_longer():
    scraped = Source("p", "vllm", "serving", 5.0)
    assert after(scraped, [run(0.1, interval_s=15.0)])[1].interval_s == 15.0
