"""Pages that nobody has ever seen, over every table: `bench/fuzz_pages.py` plays many more of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.fuzzcheck import play

FEW = settings(max_examples=40, derandomize=True, deadline=None)


@FEW
@given(st.integers(0, 2**32))
def test_no_page_raises_or_tells_a_number_that_is_none(seed):
    wrong, _ = play(seed, pages=10)
    assert wrong == []


def test_no_share_is_above_one_and_no_count_below_zero():
    outside = sum((play(seed)[1] for seed in range(120)), start=play(0)[1])
    assert outside == {}
