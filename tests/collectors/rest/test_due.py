"""When requests are due, for any times at which a source happens to run."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from collectors.rest.due import EARLY_SHARE, DueTimes

GAPS = st.lists(st.floats(0.01, 50.0), min_size=1, max_size=60)


def sent_at(gaps, every_s):
    due, now, sent = DueTimes(), 1_000_000.0, []
    for gap in gaps:
        now += gap
        if due.is_due("runs", every_s, now):
            due.sent("runs", now)
            sent.append(now)
    return sent


@given(GAPS, st.floats(1.0, 100.0))
def test_a_request_is_never_sent_earlier_than_its_interval_allows(gaps, every_s):
    sent = sent_at(gaps, every_s)
    assert all(b - a >= every_s * (1 - EARLY_SHARE) for a, b in pairwise(sent))


@given(GAPS, st.floats(1.0, 100.0))
def test_a_request_waits_for_no_more_than_one_run_after_its_interval(gaps, every_s):
    sent = sent_at(gaps, every_s)
    assert sent
    assert all(b - a < every_s + max(gaps) + 1e-6 for a, b in pairwise(sent))


def test_a_run_that_begins_a_moment_early_does_not_cost_a_whole_run():
    # what a run every 10 s looked like on a real machine: the third began 2 ms early
    sent = sent_at([0.01, 9.999, 10.001, 9.998, 10.002, 10.0, 9.997], 30.0)
    assert [round(at - sent[0]) for at in sent] == [0, 30, 60]


def test_what_was_reset_is_due_at_once():
    due = DueTimes()
    for name in ("runs", "models"):
        due.sent(name, 5.0)
    due.reset("runs")
    assert (due.is_due("runs", 60.0, 6.0), due.is_due("models", 60.0, 6.0)) == (True, False)
    due.reset()
    assert due.is_due("models", 60.0, 6.0)
