"""Windows, budgets, clocks and memory, each told the time."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from collectors.langfuse.polling import (
    ClockOffset,
    ClockSkew,
    KnownRows,
    PollWindows,
    RateLimiter,
    http_date,
    iso,
    observations_filter,
    retry_after,
)
from collectors.langfuse.settings import PACES, Limit, bare_address
from collectors.runtime.base import SourceError
from tests.collectors.langfuse.langfuse_helpers import CAPTURES

NOW = 1_000_000.0


def test_the_filter_is_the_one_that_was_measured():
    told = json.loads(observations_filter(NOW, NOW - 3600, ("staging",)))
    assert [condition["column"] for condition in told] == ["type", "startTime", "endTime", "environment"]
    assert told[0]["operator"] == "any of"
    assert told[2] == {"type": "datetime", "column": "endTime", "operator": ">=", "value": "1970-01-12T13:46:40.000Z"}
    assert json.loads(observations_filter(NOW, NOW, types=("GENERATION",)))[0]["operator"] == "="


def test_the_first_window_is_the_backfill_and_the_next_overlap():
    windows = PollWindows(60.0)
    assert windows.hot(NOW) == (NOW - 900, NOW - 3600)
    windows.answered(NOW)
    assert windows.hot(NOW + 5) == (NOW - 45, NOW + 5 - 3600)
    assert not windows.sweep_due(NOW + 59)
    assert windows.sweep_due(NOW + 60)
    assert windows.sweep(NOW + 60) == (NOW + 60 - 900, NOW + 60 - 3600)


def test_after_an_outage_the_window_reaches_back_to_the_last_answer_but_not_for_ever():
    windows = PollWindows(60.0)
    windows.answered(NOW)
    assert windows.hot(NOW + 1800)[0] == NOW - 45
    assert windows.hot(NOW + 9000)[0] == NOW + 9000 - 3600
    assert windows.needed_since(NOW + 1800) < NOW - 45


def test_busy_narrows_twice_at_the_most_and_a_minute_widens():
    windows = PollWindows(60.0)
    windows.answered(NOW)
    for _ in range(5):
        windows.busy(NOW)
    assert windows.hot(NOW)[1] == NOW - 225
    assert not windows.sweep_due(NOW + 600)
    windows.answered(NOW + 30)
    assert windows.level == 2
    windows.answered(NOW + 61)
    assert windows.level == 1


def test_our_own_count_stays_a_tenth_below_the_limit():
    budgets = RateLimiter({"general": Limit(30, 60.0)})
    for _ in range(27):
        budgets.spend("general", NOW)
    with pytest.raises(SourceError, match=r"own budget of the general bucket .* again in 60 s"):
        budgets.spend("general", NOW)
    budgets.spend("metrics", NOW)
    budgets.spend("general", NOW + 60)


def test_optional_requests_leave_room_for_the_calls():
    budgets = RateLimiter({"general": Limit(30, 60.0)})
    for _ in range(16):
        budgets.spend("general", NOW, optional=True)
    with pytest.raises(SourceError, match="own budget"):
        budgets.spend("general", NOW, optional=True)
    budgets.spend("general", NOW)


def test_a_429_pauses_only_its_bucket():
    budgets = RateLimiter({})
    budgets.pause("general", NOW, 56)
    with pytest.raises(SourceError, match="rate limited: general bucket again in 41 s"):
        budgets.spend("general", NOW + 15)
    budgets.spend("metrics", NOW)
    assert budgets.paused(NOW + 15) == "rate limited: general bucket again in 41 s"
    assert budgets.paused(NOW + 57) == ""
    budgets.pause("general", NOW, 1e12)
    budgets.spend("general", NOW + 86_400)


@pytest.mark.parametrize("name", ["observations-v2-429", "legacy-traces-429", "metrics-v2-429"])
def test_the_wait_of_a_captured_429_is_read_from_header_and_body(name):
    body = (CAPTURES / "langfuse-4.16.0-cloud-limits" / f"{name}.json").read_bytes()
    told = json.loads(body)["details"]["retryAfterSeconds"]
    assert retry_after(None, body, NOW) == told
    assert retry_after("12", body, NOW) == 12
    assert retry_after("Mon, 12 Jan 1970 13:47:00 GMT", body, NOW) == 20
    assert retry_after("soon", body, NOW) == told


@given(header=st.none() | st.text(max_size=20), body=st.binary(max_size=40))
@examples(max_examples=100, derandomize=True, deadline=None)
def test_any_429_gives_a_wait(header, body):
    assert retry_after(header, body, NOW) >= 0


@given(st.text(max_size=40))
@examples(max_examples=100, derandomize=True, deadline=None)
def test_any_date_header_is_a_time_or_none(text):
    assert http_date(text) is None or isinstance(http_date(text), float)


def test_dates_narrow_the_offset_to_what_all_agree_on():
    offset = ClockOffset()
    assert (offset.value, offset.uncertainty) == (None, None)
    offset.observe(NOW, NOW + 0.1, "Mon, 12 Jan 1970 13:47:00 GMT")
    assert offset.uncertainty == pytest.approx(0.55)
    assert offset.value == pytest.approx(20, abs=0.5)
    # the same server, whose clock is 20.3 s ahead, asked at other fractions of a second
    for step in range(1, 12):
        sent = NOW + step * 5.13
        cut = iso(int(sent + 20.3))
        offset.observe(sent, sent, f"Mon, 12 Jan 1970 {cut[11:19]} GMT")
    assert offset.value == pytest.approx(20.3, abs=offset.uncertainty)
    assert offset.uncertainty == pytest.approx(0.1, abs=0.1)


def test_a_clock_that_was_set_starts_the_estimate_anew():
    offset = ClockOffset()
    offset.observe(NOW, NOW, "Mon, 12 Jan 1970 13:47:00 GMT")
    offset.observe(NOW + 5, NOW + 5, "Mon, 12 Jan 1970 13:46:46 GMT")
    assert offset.value == pytest.approx(1.5)
    offset.observe(NOW + 10, NOW + 10, None)
    offset.observe(NOW + 10, NOW + 10, "never")
    assert offset.value == pytest.approx(1.5)


def test_only_a_negative_delay_means_a_clock_ahead():
    ahead = ClockSkew()
    ahead.observe(4.0, NOW)
    ahead.observe(-0.6, NOW)
    assert ahead.sentence() == ""
    ahead.observe(-3.2, NOW)
    assert "by 3.2 s or more" in ahead.sentence()
    ahead.observe(4.0, NOW + 1000)
    assert "3.2 s" in ahead.sentence()
    ahead.observe(4.0, NOW + 2000)
    assert ahead.sentence() == ""


def test_memory_forgets_what_no_query_can_bring_again():
    seen = KnownRows(most=3)
    for number in range(5):
        assert seen.is_news(str(number), 1.0)
        seen.remember(str(number), 1.0, float(number))
    assert not seen.is_news("4", 1.0)
    assert seen.is_news("4", 2.0)
    seen.forget(1.0)
    assert len(seen) == 3
    assert seen.is_news("1", 1.0)
    assert not seen.is_news("2", 1.0)


def test_every_plan_leaves_room_for_its_own_pace():
    for pace in PACES.values():
        limit = pace.limits.get("general")
        if limit is not None:
            hot = 60 / pace.hot_s + 60 / pace.sweep_s + 1
            assert hot <= int(limit.requests * 0.9)


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("https://cloud.langfuse.com/", "https://cloud.langfuse.com"),
        ("https://me:pw@host:3000/base/?a=b#c", "https://host:3000/base"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_address_is_shown_without_its_log_in(url, bare):
    assert bare_address(url) == bare
