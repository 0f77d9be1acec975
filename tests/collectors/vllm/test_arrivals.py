"""Arrivals and hang-ups of an engine, by counts that pages said one after the other."""

import pytest

from collectors.vllm.arrivals import SETTLING_S, Counts, Ledger


def ledger(*pages: Counts, step_s: float = 2.0) -> Ledger:
    """Return the ledger after an engine was idle long enough, and then said these counts."""
    found = Ledger()
    start = Counts(100, 0, 0, 0, first_tokens=130)
    for number in range(int(SETTLING_S / step_s) + 2):
        found.observe(number * step_s, start)
    settled = number
    for number, page in enumerate(pages, settled + 1):
        found.observe(number * step_s, page)
    return found


def test_requests_that_come_and_finish_are_arrivals():
    assert ledger(Counts(100, 0, 3, 2, first_tokens=132), Counts(103, 0, 0, 0, first_tokens=133)).arrived == 3


def test_a_client_that_hangs_up_after_its_first_token_arrived_and_hung_up():
    # three came and had their first token; one of them finished, two hung up
    found = ledger(
        Counts(100, 0, 3, 3, first_tokens=133),
        Counts(101, 0, 0, 0, first_tokens=133),
        Counts(101, 0, 0, 0, first_tokens=133),
    )
    assert (found.arrived, found.hung_up) == (3, 2)


def test_hang_ups_between_two_looks_are_arrivals_too():
    # between two pages ten came: six finished, four hung up
    found = ledger(Counts(106, 0, 0, 0, first_tokens=140), Counts(106, 0, 0, 0, first_tokens=140))
    assert (found.arrived, found.hung_up) == (10, 4)


def test_a_hang_up_that_new_arrivals_hide_is_counted_once():
    found = ledger(
        Counts(100, 0, 4, 4, first_tokens=134),
        Counts(100, 0, 6, 6, first_tokens=137),  # one of the four hung up, three came
        Counts(100, 0, 6, 6, first_tokens=137),
        Counts(106, 0, 0, 0, first_tokens=137),
        Counts(106, 0, 0, 0, first_tokens=137),
    )
    assert (found.arrived, found.hung_up) == (7, 1)


def test_a_request_in_prefill_is_no_hang_up_and_one_page_ahead_of_itself_is_none():
    found = ledger(
        Counts(100, 0, 2, 2, first_tokens=130),  # two in prefill
        Counts(100, 0, 2, 0, first_tokens=132),  # another API server's gauge: they seem gone
        Counts(100, 0, 2, 2, first_tokens=132),
        Counts(102, 0, 0, 0, first_tokens=132),
        Counts(102, 0, 0, 0, first_tokens=132),
    )
    assert (found.arrived, found.hung_up) == (2, 0)


def test_a_request_that_was_in_prefill_when_the_console_began_is_no_hang_up():
    found = Ledger()
    found.observe(0.0, Counts(100, 0, 5, 5, first_tokens=130))
    for number in range(1, 8):
        found.observe(number * 2.0, Counts(100, 0, 5, 5, first_tokens=135))
    assert (found.arrived, found.hung_up) == (0, 0)


def test_a_client_that_leaves_the_queue_was_counted_when_it_came_and_hides_no_other():
    found = ledger(
        Counts(100, 0, 10, 2, first_tokens=132),
        Counts(100, 0, 7, 2, first_tokens=132),  # three left the queue
        Counts(102, 0, 5, 2, first_tokens=134),
        Counts(107, 0, 0, 0, first_tokens=139),
    )
    assert (found.arrived, found.hung_up) == (10, 0)


def test_the_rust_frontend_counts_hang_ups_itself():
    # twelve came: nine finished, three were aborted, one of these before its first token
    found = ledger(Counts(112, 3, 0, 0, first_tokens=141), Counts(112, 3, 0, 0, first_tokens=141))
    assert (found.arrived, found.hung_up) == (12, 3)


def test_a_refused_request_arrived():
    assert ledger(Counts(100, 0, 0, 0, rejected=7, first_tokens=130)).arrived == 7


@pytest.mark.parametrize("first_tokens", [None, 0.0])
def test_without_first_tokens_conservation_is_all_there_is(first_tokens):
    found = Ledger()
    found.observe(0.0, Counts(10, 0, 0, 0, first_tokens=first_tokens))
    found.observe(2.0, Counts(13, 0, 1, 1, first_tokens=first_tokens))
    assert (found.arrived, found.hung_up) == (4, 0)
