import asyncio
import math
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Bound, Call, Event, Fact, Health, Mark, Quantiles, Readings, Tick
from aistack_top.session.disk import Lock
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.replay import SessionFeed
from aistack_top.state import State
from tests.aistack_top.diagnosis.factories import incident
from tests.aistack_top.session.ticks import START, drain, health, played, record, run, take, tick

NUMBERS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 2**31).map(float), st.just(math.nan)
)
FINITE = st.floats(-1e30, 1e30)
NAMES = st.text("abcé-_/:.", min_size=1, max_size=8)
ENTITIES = st.one_of(
    st.just(SERVICE), NAMES.map(lambda n: Entity.of(gpu=n)), NAMES.map(lambda n: Entity.of(engine=n, model="m"))
)
PARTS = st.one_of(st.none(), FINITE, st.builds(Bound, st.sampled_from(["below", "above"]), FINITE))
SPREADS = st.builds(Quantiles, PARTS, PARTS, PARTS, st.one_of(st.none(), FINITE), st.floats(0, 1e6), st.just(60.0))
SIGNALS = st.sampled_from(["gpu.utilization", "serving.ttft", "made.up"])
KEYS = st.tuples(SIGNALS, ENTITIES)
STATUSES = st.sampled_from(["ok", "slow", "stale", "down", "unauthorized", "misconfigured"])


@st.composite
def batches(draw, second, number):
    source = draw(st.sampled_from(["a", "b"])) + str(number)
    at = START + second - draw(st.floats(0, 20))
    seen = START + second
    rows = draw(st.dictionaries(KEYS, st.one_of(NUMBERS, SPREADS), max_size=4))
    record = Health(source, "vllm", "serving", draw(STATUSES), draw(NAMES), draw(st.one_of(st.none(), st.just(2.5))))
    event = Event(at, seen, "serving", "xid", "critical", draw(ENTITIES), draw(NAMES), source, (("code", "79"),))
    call = Call(f"c{second}{number}", "t", "", "tool", "n", at - 1, at, seen, at, cost=draw(st.floats(0, 1)))
    return Batch(
        at,
        seen,
        record,
        Readings(tuple(k[0] for k in rows), tuple(k[1] for k in rows), tuple(rows.values())),
        (event,) * draw(st.integers(0, 1)),
        (call,) * draw(st.integers(0, 1)),
        (Fact(draw(ENTITIES), "version", draw(NAMES)),) * draw(st.integers(0, 1)),
        calls_until=draw(st.one_of(st.none(), st.just(at))),
    )


@st.composite
def recordings(draw):
    seconds = draw(st.lists(st.integers(1, 150), min_size=1, max_size=8, unique=True))
    return [
        Tick(START + s, START + s, tuple(draw(batches(s, n)) for n in range(draw(st.integers(1, 2)))))
        for s in sorted(seconds)
    ]


def single(value):
    """What is left of a number on the disk: 32 bits of it, or nothing where it is none."""
    if value is None or isinstance(value, Bound):
        return value if value is None else Bound(value.side, single(value.limit))
    if isinstance(value, Quantiles):
        return Quantiles(
            *(single(part) for part in (value.p50, value.p95, value.p99, value.mean, value.count, value.window_s))
        )
    return struct.unpack("f", struct.pack("f", value))[0] if math.isfinite(value) else math.nan


def kept(batch):
    """What a recording keeps of a batch: all of it but numbers that are none; facts are looked at elsewhere."""
    rows = {(signal, entity): single(value) for signal, entity, value in batch.readings if value == value}
    return replace(batch, readings=Readings(), facts=(), links=()), rows


@settings(max_examples=25, derandomize=True, deadline=None)
@given(recordings())
def test_what_was_recorded_is_replayed(ticks):
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder) / "s.aistack", ticks)
        replay = [one for one in run(played(Session.open(Path(folder) / "s.aistack"))) if one.batches]

    assert [(one.at, one.seen) for one in replay] == [(one.at, one.seen) for one in ticks]
    for mine, theirs in zip(ticks, replay, strict=True):
        assert [kept(batch) for batch in theirs.batches] == [kept(batch) for batch in mine.batches]
    assert state_of(replay).facts.rows() == state_of(ticks).facts.rows()


def state_of(ticks):
    state = State()
    for one in ticks:
        state.apply(one)
    return state


def looks(state, start, end):
    """Every recorded number of a state, second by second; what is computed from them is tested where it is."""
    columns = {}
    for key in state.timeline:
        if not key[0].startswith(("calls.", "spend.")):
            marks = [state.timeline.sample(key, moment, 0.5) for moment in range(int(start), int(end))]
            columns[key] = marks
    return {key: marks for key, marks in columns.items() if any(marks)}


def make_session(path, seconds=200, **options):
    ticks = [tick(second) for second in range(seconds)]
    record(path, ticks, **options)
    return Session.open(path), ticks


async def first(session, at, **options):
    feed = SessionFeed(session, VirtualClock(START), at, **options)
    return await anext(feed.ticks())


@pytest.mark.parametrize("second", [0, 1, 59, 60, 61, 133, 199])
async def test_seek_is_the_same_as_playing_through(tmp_path, second):
    session, ticks = make_session(tmp_path / "s.aistack")
    at = ticks[second].seen + 0.3

    jumped = state_of([await first(session, at)])
    watched = state_of(one for one in ticks if one.seen <= at)

    assert looks(jumped, START, at + 1) == looks(watched, START, at + 1)
    assert jumped.facts.rows() == watched.facts.rows()
    assert jumped.facts.links() == watched.facts.links()
    assert jumped.health.newest == watched.health.newest
    assert list(jumped.events) == list(watched.events)
    assert jumped.calls.between(START - 10, at) == watched.calls.between(START - 10, at)
    assert jumped.now == min(at, session.end)


async def test_a_seek_with_a_short_span_still_knows_facts_links_and_health(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack")
    one = await first(session, ticks[150].seen, span_s=5.0)

    jumped, watched = state_of([one]), state_of(ticks[:151])
    assert jumped.facts.rows() == watched.facts.rows()
    assert jumped.facts.links() == watched.facts.links()
    assert [event.text for event in jumped.events if event.kind == "changed"] == [
        "version 0.0 -> 0.1",
        "version 0.1 -> 0.2",
    ]
    assert one.history is not None
    assert one.history.start == START + 145


async def test_after_a_seek_it_goes_on_with_the_next_tick(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack")
    feed = SessionFeed(session, VirtualClock(START))
    play = feed.ticks()
    await take(play, 10)
    feed.seek(ticks[130].seen)
    jump, after = await take(play, 2)
    assert jump.reset
    assert after.seen == ticks[131].seen
    feed.seek(ticks[3].seen)
    jump, after = await take(play, 2)
    assert jump.reset
    assert after.seen == ticks[4].seen


async def test_a_seek_outside_goes_to_the_nearest_end(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack", 20)
    assert (await first(session, 0.0)).at == session.start
    assert (await first(session, 4e9)).at == session.end == ticks[-1].seen


async def test_late_calls_are_late_again(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack", 20)
    end, seen = ticks[10].batches[-1].calls[0].end, ticks[10].seen
    assert seen - end == pytest.approx(5.0)

    jumped = state_of([await first(session, seen - 0.5)])
    replay = await played(session)
    brought = [one.seen for one in replay for batch in one.batches for call in batch.calls if call.end == end]

    assert not jumped.calls.between(end - 0.5, end + 0.5)
    assert brought == [seen]


@pytest.mark.parametrize("speed", [30.0, 1000.0])
async def test_a_fast_replay_shows_the_same_in_fewer_ticks(tmp_path, speed):
    session, ticks = make_session(tmp_path / "s.aistack")
    replay = await played(session, speed=speed)

    assert len(replay) < 40
    fast, slow = state_of(replay), state_of(ticks)
    assert looks(fast, START, START + 201) == looks(slow, START, START + 201)
    assert list(fast.events) == list(slow.events)
    assert fast.health.newest == slow.health.newest
    assert fast.facts.rows() == slow.facts.rows()


async def test_it_plays_at_the_speed_asked_for(tmp_path):
    session, _ = make_session(tmp_path / "s.aistack", 60)
    clock = VirtualClock(START)
    feed = SessionFeed(session, clock, speed=2.0)
    play = feed.ticks()
    await take(play, 11)
    assert clock.now() - START == pytest.approx(4.5)
    feed.set_speed(10.0)
    await take(play, 20)
    assert clock.now() - START == pytest.approx(6.5)
    assert feed.bounds().speed == 10.0


async def test_speed_zero_stands_still_until_a_seek_or_a_speed(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack", 60)
    feed = SessionFeed(session, VirtualClock(START))
    play = feed.ticks()
    await take(play, 5)
    feed.set_speed(0.0)
    waiting = asyncio.ensure_future(anext(play))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()

    feed.seek(ticks[30].seen)
    assert (await waiting).reset
    waiting = asyncio.ensure_future(anext(play))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    feed.set_speed(1.0)
    assert (await waiting).seen == ticks[31].seen


async def test_a_held_replay_waits_at_its_end(tmp_path):
    session, ticks = make_session(tmp_path / "s.aistack", 10)
    feed = SessionFeed(session, VirtualClock(START), hold=True)
    play = feed.ticks()
    await take(play, 11)
    waiting = asyncio.ensure_future(anext(play))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    feed.seek(ticks[4].seen)
    assert (await waiting).reset
    waiting = asyncio.ensure_future(anext(play))
    assert (await waiting).seen == ticks[5].seen
    await feed.aclose()


@pytest.mark.parametrize("speed", [-1.0, math.nan, math.inf])
async def test_a_speed_that_is_none_is_refused(tmp_path, speed):
    session, _ = make_session(tmp_path / "s.aistack", 2)
    with pytest.raises(ValueError, match="cannot be played"):
        SessionFeed(session, VirtualClock(START)).set_speed(speed)


async def test_a_gap_in_the_recording_is_played_as_quiet_seconds(tmp_path):
    record(tmp_path / "s.aistack", [tick(0), tick(10)])
    ticks = await played(Session.open(tmp_path / "s.aistack"))
    assert [round(one.seen - START) for one in ticks[1:]] == list(range(11))
    assert [bool(one.batches) for one in ticks[1:]] == [True, *[False] * 9, True]


async def test_the_primary_source_wins_in_a_history_as_it_did_live(tmp_path):
    ticks = []
    for second in range(40):
        both = [("nvml", 10.0, 0.02), ("dcgm", 99.0, 0.01)]
        if 10 <= second < 36:
            both = both[1:]
        at = START + second
        values = ((health(name, name), value, at + shift) for name, value, shift in both)
        row = [Batch(t, t, h, Readings(("gpu.temperature",), (SERVICE,), (v,))) for h, v, t in values]
        ticks.append(Tick(at + 0.5, at + 0.5, tuple(row)))
    record(tmp_path / "s.aistack", ticks)

    jumped = state_of([await first(Session.open(tmp_path / "s.aistack"), START + 39.5)])
    column = jumped.timeline.window(("gpu.temperature", SERVICE, "value"), START, START + 40)
    assert list(column[:10]) == [10.0] * 10
    assert list(column[26:36]) == [99.0] * 10
    assert list(column[36:]) == [10.0] * 4


async def test_a_second_program_follows_what_the_first_one_writes(tmp_path):
    path = tmp_path / "s.aistack"
    clock = VirtualClock(START + 30.0)
    recorder = Recorder(path, node="n", clock=clock, block_s=20.0)
    for second in range(30):
        recorder.record(tick(second))
    drain(recorder)
    feed = SessionFeed(Session.open(path), clock, follow=True)
    play = feed.ticks()
    jump = await anext(play)
    assert jump.at == START + 30.0 - 6.0
    assert "seconds" not in feed.bounds().title
    assert "6 s behind" in feed.bounds().title
    assert feed.bounds().live

    seen = []
    for second in range(30, 60):
        recorder.record(tick(second))
        drain(recorder)
        seen.append(await anext(play))
    recorder.close(10)
    assert [one.seen for one in seen if one.batches] == [tick(second).seen for second in range(24, 24 + len(seen))]
    assert all(abs(clock.now() - one.seen) <= 7.0 for one in seen[-1:])

    rest = [one async for one in play]
    assert rest[-1].seen == tick(59).seen
    assert not Lock(path).is_held()


async def test_incidents_replay_as_they_were(tmp_path):
    versions = {
        60: incident(tick(60).seen, onset=START + 50),
        70: incident(tick(70).seen, onset=START + 50, confidence="confirmed"),
        130: incident(tick(130).seen, onset=START + 50, end=START + 120),
    }
    ticks = [replace(tick(s), incidents=(versions[s],) if s in versions else ()) for s in range(200)]
    record(tmp_path / "s.aistack", ticks)
    session = Session.open(tmp_path / "s.aistack")

    def known(state, at=None):
        return [(one.confidence, one.open) for one in state.frame(at).incidents]

    assert [one.incidents for one in await played(session) if one.incidents] == [(v,) for v in versions.values()]
    for second, found in {59: [], 65: [("likely", True)], 75: [("confirmed", True)], 150: [("likely", False)]}.items():
        at = tick(second).seen
        assert known(state_of([await first(session, at)])) == found
        assert known(state_of(await played(session)), at) == found
    fast = [one async for one in SessionFeed(session, VirtualClock(START), speed=1000.0).ticks()]
    assert [v for one in fast for v in one.incidents] == list(versions.values())
    assert await SessionFeed(session, VirtualClock(START)).incident_times() == [tick(60).seen]


async def test_marks_are_played_when_they_were_set_and_known_after_a_seek(tmp_path):
    note = Mark(START + 1.0, START + 4.5, "fans at 20 %", "lena")
    recorder = record(tmp_path / "s.aistack", [tick(second) for second in range(10)], close=False)
    recorder.mark(note)
    recorder.close(10)
    session = Session.open(tmp_path / "s.aistack")
    given = await played(session)
    assert [(round(one.seen - START), one.marks) for one in given if one.marks] == [(5, (note,))]
    feed = SessionFeed(session, VirtualClock(session.start), at=START + 8)
    assert (await take(feed.ticks(), 1))[0].marks == (note,)
    state = State()
    for one in (*given, *given):
        state.apply(one)
    assert state.frame().marks == (note,)
