"""A recording without verdicts is given those that are computed anew, each at its time."""

from contextlib import aclosing

from aistack_top.clock import VirtualClock
from aistack_top.diagnosis.told import ToldFeed, lacks_verdicts
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from tests.aistack_top.diagnosis.test_sessions import SESSIONS


async def test_verdicts_of_a_recording_without_any_are_told_at_their_times():
    session = Session.open(SESSIONS / "frozen_engine.aistack")
    assert lacks_verdicts(session)
    found = []
    feed = ToldFeed(SessionFeed(session, VirtualClock(session.start), at=session.start, speed=0.0), found.append)
    async with aclosing(feed.ticks()) as ticks:
        first = await anext(ticks)
        noticed = await feed.noticed()
        assert found == [len(noticed)] == [1]
        feed.seek(noticed[0] - 1.0)
        before = await anext(ticks)
        feed.seek(noticed[0])
        then = await anext(ticks)
        await feed.aclose()
    assert not first.incidents
    assert not before.incidents
    assert [(one.revised, one.open) for one in then.incidents] == [(noticed[0], True)]
