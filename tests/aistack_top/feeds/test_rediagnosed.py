"""A recording without verdicts is given those that are computed anew, each at its time."""

from contextlib import aclosing

from aistack_top.feeds.rediagnosed import RediagnosedFeed, lacks_verdicts
from aistack_top.measure.clock import VirtualClock
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from tests.aistack_top.diagnosis.test_sessions import SESSIONS


async def test_verdicts_of_a_recording_without_any_are_told_at_their_times():
    session = Session.open(SESSIONS / "frozen_engine.aistack")
    assert lacks_verdicts(session)
    feed = RediagnosedFeed(SessionFeed(session, VirtualClock(session.start), at=session.start, speed=0.0))
    async with aclosing(feed.ticks()) as ticks:
        first = await anext(ticks)
        told = await feed.incident_times()
        resting = await anext(ticks)
        assert (resting.at, len(told)) == (first.at, 1)
        feed.seek(told[0] - 1.0)
        before = await anext(ticks)
        feed.seek(told[0])
        then = await anext(ticks)
        await feed.aclose()
    assert not first.incidents
    assert not first.notices
    said = "no verdict was recorded: 1 recomputed from the recording, } goes to the next"
    assert [one.notices for one in (resting, before, then)] == [(said,)] * 3
    assert "frozen_engine" not in [one.cause.value for one in before.incidents]
    assert [one.cause.value for one in then.incidents][-1:] == ["frozen_engine"]
