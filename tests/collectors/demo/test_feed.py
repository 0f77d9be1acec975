"""Scenarios as live feeds: what lies behind them, when they begin, and that they are repeatable."""

from itertools import pairwise
from math import inf

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.state import State
from collectors.demo.feed import HISTORY_S, LEAD_S, default_scenario, rehearsal, whole_scenario


async def played(feed, seconds, watched=False):
    ticks = []
    async for tick in (DiagnosedFeed(feed) if watched else feed).ticks():
        ticks.append(tick)
        if tick.at >= feed.live_from + seconds:
            break
    await feed.aclose()
    return ticks


async def test_the_story_has_half_an_hour_behind_it_and_its_trouble_is_told_within_two_minutes():
    feed = default_scenario(speed=inf)
    past, *live = await played(feed, 75.0, watched=True)
    assert past.reset
    assert past.at - past.history.start >= HISTORY_S - 10.0
    assert not past.incidents
    assert live[0].at - past.at < 1.0
    told = [incident for tick in live for incident in tick.incidents]
    # it is not a minute old: nothing but an error is shown so soon
    assert {(one.cause, one.confidence) for one in told} == {("thermal_throttle", "likely")}
    assert told[0].onset - feed.live_from < 60.0


async def test_the_storys_live_part_goes_on_where_its_past_ended():
    feed = default_scenario(speed=inf)
    ticks = await played(feed, LEAD_S)
    state = State()
    state.apply(ticks[0])
    before = {(key[0], key[1]): state.timeline.sample(key, state.now, 30.0) for key in list(state.timeline.keys())}
    facts = {(fact.entity, fact.key): fact.value for b in ticks[0].history.batches for fact in b.facts}
    for tick in ticks[1:]:
        state.apply(tick)
        for batch in tick.batches:
            assert batch.health.status == "ok"
            assert {facts[one.entity, one.key] for one in batch.facts} == {one.value for one in batch.facts}
    for signal in ("training.step", "data.vectors"):
        (old,) = [sample for (name, _), sample in before.items() if name == signal]
        (entity,) = state.timeline.entities(signal)
        new = state.timeline.sample((signal, entity, "value"), state.now, 60.0)
        assert 0.0 <= new.number - old.number <= 0.02 * old.number
    assert not [event for event in state.events if event.kind in ("restart", "changed") and event.at >= feed.live_from]


async def test_a_scenario_shows_minutes_before_its_trouble_in_coarse_steps_and_then_goes_on_as_fast_as_live(
    monkeypatch,
):
    monkeypatch.setattr("collectors.demo.feed.BASELINE_S", 60.0)
    ticks = await played(rehearsal("ecc"), 15.0)
    feed = rehearsal("ecc")
    asked = [b.at - feed.live_from for tick in ticks for b in tick.batches if b.health.source == "nvml"]
    assert asked[0] == -60.0
    assert {round(b - a) for a, b in pairwise(asked) if b < 0.0} == {5}
    assert {round(b - a) for a, b in pairwise(asked) if a > 1.0} == {1}
    xids = [
        event.at - feed.live_from for tick in ticks for b in tick.batches for event in b.events if event.kind == "xid"
    ]
    assert {round(at) for at in xids} == {LEAD_S}


async def test_the_same_seed_is_the_same_play():
    assert repr(await played(whole_scenario("spot_notice"), 20.0)) == repr(
        await played(whole_scenario("spot_notice"), 20.0)
    )
    assert repr(await played(whole_scenario("spot_notice", 2), 20.0)) != repr(
        await played(whole_scenario("spot_notice"), 20.0)
    )


async def test_no_layer_that_a_simulated_node_can_fill_is_without_a_source():
    ticks = await played(whole_scenario("ecc"), 5.0)
    layers = {batch.health.layer for tick in ticks for batch in tick.batches}
    assert layers >= {"compute", "serving", "training", "data", "pipelines", "tracing", "governance", "spend"}


async def test_a_feed_that_is_let_go_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    feed = whole_scenario("ecc")
    stream = feed.ticks()
    await anext(stream)
    assert list(tmp_path.iterdir())
    await stream.aclose()
    await feed.aclose()
    assert not list(tmp_path.iterdir())
