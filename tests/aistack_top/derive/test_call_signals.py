import pytest

from aistack_top.derive.call_signals import CallSignals
from aistack_top.model.entity import SERVICE
from aistack_top.model.tick import Batch, Call, Health
from aistack_top.store.calls import CallStore

START = 1_764_000_000.0
TRACES = Health("traces", "langfuse", "tracing", "ok")


def request(number, end, before_model=0.0, ttft=0.4, model_span=True):
    """Return the spans of a request of five seconds that waits so long before its model is asked."""
    start, trace = end - 5.0, f"t{number}"
    yield Call(f"{trace}-0", trace, "", "other", "request", start, end, end, end, root=True)
    if model_span:
        begun = start + before_model
        yield Call(f"{trace}-1", trace, f"{trace}-0", "generation", "answer", begun, end, end, end, ttft=ttft)


def derived(signal, calls, moment=START + 100.0):
    """Return what is derived of a signal of the service at a moment, from calls that are all known by then."""
    book = CallStore()
    told = CallSignals(book)
    fresh = book.add(calls)
    batch = Batch(moment + 10, moment + 10, TRACES, calls=tuple(calls), calls_until=moment + 10.0)
    readings = dict(told.update([batch], fresh))[moment]
    values = [value for name, entity, value in readings if name == signal and entity == SERVICE]
    return values[0] if values else None


def test_what_is_done_before_the_model_is_part_of_a_requests_ttft_and_not_of_the_calls():
    calls = [span for n in range(30) for span in request(n, START + 50 + n, before_model=2.0)]
    assert derived("calls.request.ttft", calls).p50 == pytest.approx(2.4)
    assert derived("calls.ttft", calls).p50 == pytest.approx(0.4)


def test_of_several_calls_of_a_request_the_first_token_counts_and_without_any_there_is_none():
    calls = [span for n in range(30) for span in request(n, START + 50 + n, before_model=1.0)]
    later = [
        Call(f"t{n}-2", f"t{n}", "", "generation", "again", START + 48 + n, START + 49 + n, 0.0, 0.0, ttft=0.1)
        for n in range(30)
    ]
    assert derived("calls.request.ttft", [*calls, *later]).p50 == pytest.approx(1.4)
    none = [span for n in range(30) for span in request(n, START + 50 + n, model_span=False)]
    assert derived("calls.request.ttft", none) is None


def test_calls_whose_clocks_disagree_count_and_leave_the_latency_to_the_others():
    ends = [START + 50 + n / 2 for n in range(60)]
    calls = [
        Call(
            f"c{n}", "", "", "generation", "", at + 0.003 if n % 2 else at - 2.0, at, at, at,
            model="m", input_tokens=10, cost=0.001,
        )
        for n, at in enumerate(ends)
    ]  # fmt: skip
    moment = START + 80.0
    latency = derived("calls.latency", calls, moment)
    assert (latency.count, latency.p50) == (30, pytest.approx(2.0))
    assert derived("calls.rate", calls, moment) == pytest.approx(2 * derived("calls.rate", calls[::2], moment))
    assert derived("calls.cost.rate", calls, moment) == pytest.approx(
        2 * derived("calls.cost.rate", calls[::2], moment)
    )
