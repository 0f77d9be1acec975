"""A session made of what is held: each verdict lies in the block of its time, and is told then."""

from dataclasses import replace

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Mark
from aistack_top.session.blocks import recorded_incidents
from aistack_top.session.format import BLOCK_S
from aistack_top.session.from_memory import copy_from_memory, write
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from aistack_top.state import State
from tests.fakes.feed import START, World, seconds
from tests.fakes.incident import incident

LONG = int(BLOCK_S) + 40


async def test_a_verdict_later_than_the_first_block_is_told_at_its_time(tmp_path):
    state, known = State(), START + LONG - 20
    for tick in seconds(LONG, World(gpus=1, engines=1)):
        told = (replace(incident(), revised=known),) if tick.at == known else ()
        state.apply(replace(tick, incidents=told))
    state.note(Mark(START + 10, START + LONG - 5, "the fan was loud", "ann"))
    write(await copy_from_memory(state, START, START + LONG), tmp_path / "session.aistack", "node")
    session = Session.open(tmp_path / "session.aistack")
    assert not session.problems
    assert [block.first for block in session.blocks] == [START, START + BLOCK_S]
    assert [one.revised for one in recorded_incidents(session)] == [known]
    seen: list[float] = []
    async for tick in SessionFeed(session, VirtualClock(session.start), speed=1000.0).ticks():
        seen += [tick.seen for _ in tick.incidents]
    assert seen
    assert min(seen) >= known - 1
