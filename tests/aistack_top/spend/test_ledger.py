"""Today's dollars go on where a restart, or a jump in a recording, leaves them."""

from array import array
from dataclasses import replace

import pytest

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.model.entity import SERVICE
from aistack_top.model.tick import Fact, History, Tick
from aistack_top.spend.ledger import LEDGER_FACT, Ledger, ledger_in
from aistack_top.state import State
from aistack_top.store.facts import Facts
from tests.aistack_top.spend.test_signals import (
    START,
    begun,
    call,
    calls_batch,
    gpu_batch,
    names_batch,
    play,
    prices_batch,
    value,
)
from tests.fakes.feed import FakeFeed

NODE = 10.02
"""Two H100 at the list's price."""


def calls(at):
    """Managed calls of $7.20 an hour."""
    return calls_batch(at, call(f"m{at}", at - 1, model="gpt", cost=0.01))


def laid(played, start, end, *batches):
    """The history that a restart or a jump lays in: readings of some minutes, and the newest facts."""
    columns = {
        key: array("f", list(played.timeline.window(key, start, end)))
        for key in played.timeline
        if not key[0].startswith(("spend.", "calls."))
    }
    return History(start, 1.0, columns, batches=(prices_batch(), names_batch(), *batches))


def ledger_batch(state, at):
    return replace(prices_batch(), at=at, seen=at, facts=(state.ledger(),))


def test_after_a_jump_today_is_what_it_was_when_it_was_recorded():
    played = play(begun(), 900, gpu_batch, calls)
    written = play(begun(), 870, gpu_batch, calls)
    known = played.calls.between(START + 600, START + 900)
    history = laid(
        played, START + 600, START + 901, ledger_batch(written, START + 870), calls_batch(START + 900, *known)
    )
    jumped = State()
    jumped.apply(Tick(START + 900, START + 900, history=history, reset=True))
    assert value(jumped, "spend.today") == pytest.approx(value(played, "spend.today"), rel=0.01)
    assert value(jumped, "spend.today.covered") == pytest.approx(value(played, "spend.today.covered"), rel=0.01)
    # of the time before it was written, the sum is not known
    assert jumped.frame(START + 700).read("spend.today") is None
    for state in (played, jumped):
        play(state, 300, gpu_batch, calls, start=START + 905)
    assert value(jumped, "spend.today") == pytest.approx(value(played, "spend.today"), rel=0.01)


def test_a_restart_goes_on_with_the_day_and_charges_no_silence_between():
    before = play(begun(), 600, gpu_batch)
    ledger = ledger_batch(before, START + 600)
    restarted = State()
    restarted.apply(Tick(START + 1800, START + 1800, history=laid(before, START, START + 601, ledger)))
    play(restarted, 600, gpu_batch, start=START + 1800)
    # ten minutes each, and the minute after the last sign of the GPUs
    assert value(restarted, "spend.today") == pytest.approx(NODE * 1250 / 3600, rel=0.01)
    assert value(restarted, "spend.today.covered") == pytest.approx(1250 / (12 * 3600 + 2395), rel=0.01)


def test_a_new_day_begins_at_nothing_whatever_was_written_yesterday():
    yesterday = Ledger(START - 86_400 - 43_200, START - 60, 100.0, 80_000.0, START - 60, 5.0)
    state = begun()
    state.facts.observe([yesterday.fact()], START, START, "spend", "prices")
    play(state, 600, gpu_batch)
    assert value(state, "spend.today") == pytest.approx(NODE * 590 / 3600, rel=0.01)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nonsense", '{"day":0,"at":0,"usd":-1,"covered_s":0,"calls_at":0,"calls_usd":0}']
)
def test_a_ledger_with_nonsense_is_none(text):
    facts = Facts()
    facts.observe([Fact(SERVICE, LEDGER_FACT, text)], 0.0, 0.0, "spend", "prices")
    assert ledger_in(facts) is None


async def test_the_ledger_is_recorded_with_the_prices_once_a_minute():
    def tick(at, *more):
        return Tick(at, at, (gpu_batch(at), *more))

    ticks = [tick(START, prices_batch(), names_batch())]
    ticks += [tick(START + at) for at in range(5, 60, 5)]
    ticks += [tick(START + 60, replace(prices_batch(), at=START + 60, seen=START + 60))]
    told = []
    feed = DiagnosedFeed(FakeFeed(ticks))
    async for one in feed.ticks():
        told.append([f for batch in one.batches for f in batch.facts if f.key == LEDGER_FACT])
        if len(told) == len(ticks):
            break
    assert [len(facts) for facts in told] == [0] * 12 + [1]
    facts = Facts()
    facts.observe(told[-1], 0.0, 0.0, "spend", "prices")
    assert ledger_in(facts).usd == pytest.approx(NODE * 50 / 3600, rel=0.05)
