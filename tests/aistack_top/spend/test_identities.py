"""What must add up in dollars, at every moment of every recorded drill."""

import math
from contextlib import aclosing
from pathlib import Path

import pytest

from aistack_top.derive.call_signals import GRID_S
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import SERVICE
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from aistack_top.spend.money import month_hours, zone
from aistack_top.spend.node import PRESENCE
from aistack_top.spend.prices import prices_in
from aistack_top.state import State

SESSIONS = Path(__file__).parents[3] / "fixtures/sessions"
KEPT = sorted(SESSIONS.glob("*.aistack"))
CENT = 0.01
SPAN_S = 240.0


async def laid_in(session, at):
    """The state with the minutes before a moment, as a jump in a replay has it."""
    state = State()
    async with aclosing(SessionFeed(session, VirtualClock(session.start), at=at, speed=0.0, span_s=SPAN_S)) as feed:
        async for tick in feed.ticks():
            state.apply(tick)
            break
    return state


class Moment:
    """What is told for one grid point, nothing carried over from another."""

    def __init__(self, state, at):
        self.at, self._timeline = at, state.timeline
        self.priced = prices_in(state.facts)

    def one(self, signal, entity=SERVICE):
        (number,) = self._timeline.window((signal, entity, "value"), self.at, self.at + 1.0)
        return None if math.isnan(number) else number

    def by(self, signal, *keys):
        entities = [e for e in self._timeline.entities(signal) if len(e.pairs) == 1 and any(map(e.get, keys))]
        return {e: v for e in entities if (v := self.one(signal, e)) is not None}

    @property
    def sees_gpus(self):
        return any(
            self._timeline.sample((s, e, "value"), self.at, 70.0) for s in PRESENCE for e in self._timeline.entities(s)
        )


def check_node(moment):
    node = moment.one("spend.node.rate")
    held = moment.by("spend.held.rate", "model", "engine", "reason")
    assert sum(held.values()) == pytest.approx(node, abs=CENT)
    assert sum(moment.by("spend.rate", "gpu").values()) == pytest.approx(node, abs=CENT)
    idle = moment.one("spend.idle.rate")
    if idle is not None:
        assert sum(moment.by("spend.idle.rate", "model", "engine", "reason").values()) == pytest.approx(idle, abs=CENT)
        assert sum(moment.by("spend.idle.rate", "gpu").values()) == pytest.approx(idle, abs=CENT)
        assert idle <= node + CENT
    return node, held


def check_tokens(moment, node, held):
    prices = moment.by("spend.per_million_tokens", "model", "engine")
    tokens = moment.by("spend.tokens.rate", "model", "engine")
    for who, price in prices.items():
        assert price * tokens[who] * 3600 / 1e6 == pytest.approx(held[who], rel=1e-4)
    price = moment.one("spend.per_million_tokens")
    if price is not None:
        assert price * moment.one("spend.tokens.rate") * 3600 / 1e6 == pytest.approx(node, rel=1e-4)
        assert sum(tokens.values()) == pytest.approx(moment.one("spend.tokens.rate"), rel=1e-4)
    return len(prices)


def check_calls(moment, node):
    rest, managed = moment.one("spend.unattributed.rate"), moment.one("spend.managed.rate")
    if managed is not None:
        assert moment.one("spend.rate") == pytest.approx(node + managed, abs=CENT)
        assert sum(moment.by("spend.managed.rate", "model").values()) <= managed + CENT
    if rest is None:
        return 0
    idle = moment.one("spend.idle.rate")
    assert idle is None or rest >= idle - CENT
    tenants = moment.by("spend.share.rate", "tenant")
    assert rest + sum(tenants.values()) == pytest.approx(node + managed, abs=CENT)
    return len(tenants)


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.stem)
async def test_every_dollar_of_a_recorded_drill_adds_up(folder):
    session = Session.open(folder)
    middle, end = (session.start + session.end) / 2, session.end
    known = tenants = models = 0
    for last in (middle, end):
        state = await laid_in(session, last)
        for at in range(int(last - SPAN_S + 20) // 5 * 5, int(last) - 5, round(GRID_S)):
            moment = Moment(state, float(at))
            if moment.one("spend.node.rate") is None:
                # what is not known is not zero
                assert moment.one("spend.rate") is None
                assert moment.one("spend.month_projected") is None
                assert not moment.by("spend.held.rate", "model", "engine", "reason")
                continue
            assert moment.sees_gpus
            known += 1
            node, held = check_node(moment)
            models += check_tokens(moment, node, held)
            tenants += check_calls(moment, node)
            spend = moment.one("spend.rate")
            if spend is not None:
                where = zone(moment.priced.zone)
                assert where is not None
                hours = month_hours(moment.at, where)
                assert moment.one("spend.month_projected") == pytest.approx(spend * hours, rel=1e-4)
    if folder.stem == "unknown_cause":  # a node of which no GPU is seen
        assert known == 0
    else:
        assert min(known, tenants, models) > 0
