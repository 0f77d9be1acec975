import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.diagnosis.affected_calls import before_and_after, compare
from aistack_top.diagnosis.assessment import Assessment
from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.diagnosis.rules import rules, symptoms
from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.incident import Difference, Verdict
from aistack_top.model.signals import signals
from aistack_top.model.tick import Call, Event, Mark, Tick
from aistack_top.state import State
from aistack_top.text.incident_json import decode, encode
from aistack_top.text.numbers import show
from tests.aistack_top.diagnosis.factories import incident
from tests.aistack_top.diagnosis.fake_node import START, Plant, bent, both, engine, gpu, only, watch
from tests.fakes.feed import FakeFeed

SLOW = {"serving__ttft": 6.0, "serving__prefill_time": 6.0}


def throttled(at, signal, who):
    return 0.9 if at >= 1000 and who in ("GPU-0/hw_thermal",) and signal == "gpu.throttle" else 1.0


def event(second, kind, about, text="", severity="warning", **detail):
    at = START + second
    return {second: (Event(at, at, "compute", kind, severity, about, text or kind, "s", tuple(detail.items())),)}


THERMAL = both(throttled, bent(1000, gpu__clock__sm=0.5, gpu__temperature=1.4), bent(1020, **SLOW))


def test_nothing_happens_on_constants_or_noise():
    assert watch(Plant(noise=0.0), 3000) == {}
    assert watch(Plant(noise=0.05, engines=2), 3000) == {}


def test_heat_that_comes_first_and_explains_the_size_is_shown():
    found = only(watch(Plant(THERMAL)))
    assert (found.cause, found.confidence, found.layer) == (Cause.THERMAL_THROTTLE, "confirmed", "compute")
    assert abs(found.onset - START - 1020) <= 10
    assert found.detected - found.onset <= 60
    assert found.symptom.entity == engine(0)
    assert 4.0 < found.symptom.ratio < 8.0
    assert found.verdict.why.startswith("confirmed: thermal throttling")
    assert any("SM clock" in text and "before" in text for text in found.verdict.support)
    assert any(out.cause is Cause.POWER_BRAKE for out in found.ruled_out)
    assert found.candidates[0].cause is Cause.THERMAL_THROTTLE
    assert any("training" in text for text in found.blind_spots)


def test_the_sentence_of_every_version_has_the_number_of_its_symptom():
    grows = lambda at, signal, who: 1.0 + max(at - 1000, 0) / 20 if signal == "serving.ttft" else 1.0  # noqa: E731
    (versions,) = watch(Plant(both(throttled, grows))).values()
    assert versions[-1].symptom.peak > 2 * versions[0].symptom.peak
    for one in versions:
        now, peak = show(one.symptom.now, "s"), show(one.symptom.peak, "s")
        assert f"TTFT p95 of chat-0 now {now}, peak {peak} ({one.symptom.ratio:.1f}x baseline), " in one.verdict.what
        assert one.symptom.now <= one.symptom.peak
        assert one.symptom.ratio == pytest.approx(one.symptom.peak / one.symptom.usual)


def test_without_a_proven_link_a_gpu_is_only_possible():
    found = only(watch(Plant(THERMAL, linked=False)))
    assert (found.cause, found.confidence) == (Cause.THERMAL_THROTTLE, "possible")
    assert any("is unknown" in text for text in found.blind_spots)


def test_with_the_gpus_unseen_the_cause_is_not_seen():
    found = only(watch(Plant(THERMAL, nvml=False)))
    assert (found.cause, found.confidence) == (Cause.UNKNOWN, "unknown")
    assert any("compute" in text or "GPU" in text for text in found.blind_spots)


def test_a_clock_that_fell_after_the_symptom_did_not_cause_it():
    late = both(
        lambda at, signal, who: 0.9 if at >= 1200 and who == "GPU-0/hw_thermal" else 1.0,
        bent(1200, gpu__clock__sm=0.5),
        bent(1000, **SLOW),
    )
    found = only(watch(Plant(late)))
    assert found.cause is not Cause.THERMAL_THROTTLE


def test_a_cause_in_a_part_that_did_not_grow_is_not_first():
    rail_too = both(bent(1000, guardrail__latency=2.5, serving__ttft=10.0, serving__prefill_time=12.0))
    versions = watch(Plant(rail_too))
    assert all(found[-1].confidence != "confirmed" for found in versions.values())


DECODE = {"serving__itl": 3.0, "serving__decode_time": 3.0}
QUEUE = {"serving__ttft": 8.0, "serving__queue_time": 80.0}
BUSY = {"host__cpu__utilization": 3.2, "host__cpu__run_queue": 4.0}
NOTICE = event(985, "notice", Entity.of(node="n"), "gone in 120 s", "critical", action="terminate")
XID_79 = event(1000, "xid", gpu(0), "XID 79", "critical", code="79", group="hardware")
SIGNATURES = {
    Cause.POWER_BRAKE: (both(bent(990, gpu__clock__sm=0.4), bent(1010, **SLOW)), {}),
    Cause.TRAFFIC_SURGE: (both(bent(980, serving__requests__arrived=2.0), bent(1010, **SLOW)), {}),
    Cause.LONG_PROMPTS: (bent(1000, serving__prompt_tokens__per_request=3.0, **SLOW), {}),
    Cause.LONG_OUTPUTS: (bent(1000, serving__generation_tokens__per_request=2.5, **QUEUE), {}),
    Cause.PREFIX_CACHE: (bent(1000, serving__prefix_cache__hit_ratio=0.05, **SLOW), {}),
    Cause.CPU_STARVATION: (both(bent(985, **BUSY), bent(1000, **DECODE)), {}),
    Cause.NVLINK: (both(bent(990, gpu__nvlink__active=0.5), bent(1000, **DECODE)), {}),
    Cause.GUARDRAIL_SLOW: (bent(1000, guardrail__latency=40.0), {}),
    Cause.GUARDRAIL_HITS: (bent(1000, guardrail__hits=30.0), {}),
    Cause.SPOT_NOTICE: (bent(1010, serving__requests__arrived=0.3, **SLOW), NOTICE),
    Cause.XID: (bent(1010, **SLOW), XID_79),
}


@pytest.mark.parametrize("cause", SIGNATURES)
def test_each_cause_is_found_by_its_signature(cause):
    bend, events = SIGNATURES[cause]
    if cause is Cause.POWER_BRAKE:
        bend = both(bend, lambda at, s, who: 0.9 if at >= 990 and who == "GPU-0/hw_power_brake" else 1.0)
    versions = watch(Plant(bend, events=events))
    assert [found[-1].cause for found in versions.values()] == [cause]


def drained(at, signal, who):
    """One of two replicas gets no requests any more; the other has to take them."""
    if at < 990 or signal not in ("serving.requests.arrived", *(name.replace("__", ".") for name in QUEUE)):
        return 1.0
    if signal == "serving.requests.arrived":
        return 0.01 if who == "chat-1" else 2.0
    return QUEUE[signal.replace(".", "__")] if who == "chat-0" and at >= 1000 else 1.0


def test_a_notice_followed_by_a_replica_that_gets_nothing_is_shown_with_order_and_mechanism():
    found = only(watch(Plant(drained, engines=2, events=NOTICE)))
    assert (found.cause, found.confidence, found.layer) == (Cause.SPOT_NOTICE, "confirmed", "compute")
    assert found.candidates[0].cause is Cause.SPOT_NOTICE
    assert any("gone in 120 s" in text for text in found.verdict.support)


@pytest.mark.parametrize(
    ("severity", "action"), [("warning", "rebalance"), ("warning", "system-reboot"), ("info", "terminate")]
)
def test_a_recommendation_or_maintenance_or_a_notice_withdrawn_is_no_cause(severity, action):
    told = event(985, "notice", Entity.of(node="n"), "told", severity, action=action)
    found = only(watch(Plant(drained, engines=2, events=told)))
    assert found.cause is not Cause.SPOT_NOTICE


def test_a_notice_that_took_nothing_is_no_cause():
    surge = both(bent(980, serving__requests__arrived=2.0), bent(1010, **SLOW))
    notice, found = (versions[-1] for versions in watch(Plant(surge, events=NOTICE)).values())
    assert (notice.cause, notice.symptom.signal) == (Cause.SPOT_NOTICE, "cloud.notice")
    assert found.cause is Cause.TRAFFIC_SURGE


def test_an_engine_that_is_gone_after_a_notice_was_likely_called_back():
    found = only(watch(Plant(down={"chat-0": (1000, 1200)}, events=NOTICE)))
    assert (found.cause, found.confidence) == (Cause.SPOT_NOTICE, "likely")


SLOWER = {"serving__generation_tokens__rate": 0.3, **DECODE, **QUEUE}


@pytest.mark.parametrize(
    "effect", [{"serving__prefix_cache__hit_ratio": 0.3}, {"serving__generation_tokens__per_request": 2.0}]
)
def test_what_an_engine_shows_that_works_slower_is_not_taken_for_the_cause(effect):
    # a full cache keeps no prefixes, and of what was in work the long answers end
    found = only(watch(Plant(bent(1000, **SLOWER, **effect), nvml=False)))
    assert (found.cause, found.confidence) == (Cause.UNKNOWN, "unknown")
    assert any(out.because.startswith("output tokens") for out in found.ruled_out), found.ruled_out


def test_a_surge_that_was_told_is_taken_back_when_the_engine_does_less_than_before():
    more = bent(980, 1060, serving__requests__arrived=2.0)
    versions = next(iter(watch(Plant(both(more, bent(1010, **SLOW), bent(1040, **SLOWER)), nvml=False)).values()))
    assert versions[0].cause is Cause.TRAFFIC_SURGE
    assert versions[-1].cause is Cause.UNKNOWN


def test_a_burst_before_does_not_hide_what_makes_the_larger_part_of_an_incident():
    burst = both(bent(920, 980, serving__requests__arrived=2.0), bent(940, 1010, serving__ttft=4.0))
    fault = both(bent(1000, gpu__nvlink__active=0.5), bent(1010, serving__ttft=4.0), bent(1010, **SLOWER))
    found = only(watch(Plant(both(burst, fault))))
    assert found.cause is Cause.NVLINK
    assert found.onset - START < 960


def changed(second, key, before, after):
    text = f"{key} {before} -> {after}"
    return event(second, "changed", engine(0), text, "info", key=key, before=before, after=after)


def test_a_smaller_batch_after_a_start_is_named_with_what_changed():
    waiting = bent(1000, serving__requests__waiting=30.0, **QUEUE)
    found = only(watch(Plant(waiting, events=changed(900, "max_num_seqs", "128", "16"))))
    assert (found.cause, found.layer) == (Cause.BATCH_LIMIT, "serving")
    assert "max_num_seqs 128 -> 16" in found.verdict.why
    larger = only(watch(Plant(waiting, events=changed(900, "max_num_seqs", "16", "128"))))
    assert "max_num_seqs" not in larger.verdict.why


def test_another_model_at_the_same_load_is_named_and_with_more_load_is_not():
    events = changed(900, "model_root", "/models/a", "/models/b")
    found = only(watch(Plant(bent(1000, **DECODE), events=events)))
    assert (found.cause, found.confidence) == (Cause.MODEL_VERSION, "likely")
    assert "/models/a -> /models/b" in found.verdict.why
    more = both(bent(990, serving__requests__arrived=2.0), bent(1000, **DECODE))
    assert only(watch(Plant(more, events=events))).cause is Cause.TRAFFIC_SURGE


def test_a_replica_that_was_away_explains_no_longer_than_that():
    # chat-1 is started with another model: chat-0 carries its load until it is back, and then both are slow
    def bend(at, signal, who):
        if who == "chat-0" and 1000 <= at < 1060 and signal == "serving.requests.arrived":
            return 2.0
        slow = 1000 <= at < 1060 if who == "chat-0" else False
        if slow and signal in ("serving.ttft", "serving.queue_time"):
            return 8.0
        return 3.0 if at >= 1060 and signal in ("serving.itl", "serving.decode_time") else 1.0

    away = event(1000, "source", Entity.of(source="chat-1"), "chat-1 down: refused")
    back = event(1060, "restart", engine(1), "chat-1 restarted", "info")
    new = changed(1065, "model_root", "/models/a", "/models/b")
    events = away | {second: tuple(replace(e, entity=engine(1)) for e in row) for second, row in (back | new).items()}
    away, slow = watch(Plant(bend, engines=2, down={"chat-1": (1000, 1060)}, events=events)).values()
    assert all(one.cause is Cause.CAPACITY_CHANGED for one in away)
    assert "away" in away[0].verdict.why
    assert slow[-1].cause is Cause.MODEL_VERSION
    assert away[-1].end <= slow[-1].onset


def test_arrivals_that_move_to_the_replicas_left_are_no_surge():
    def bend(at, signal, who):
        return 2.0 if at >= 1000 and who == "chat-0" and signal == "serving.requests.arrived" else 1.0

    plant = Plant(both(bend, bent(1000, **SLOW)), engines=2, down={"chat-1": (1000, 1400)})
    for found in watch(plant).values():
        assert found[-1].cause is not Cause.TRAFFIC_SURGE


def test_an_application_xid_is_no_cause():
    applied = event(1000, "xid", gpu(0), "XID 31", "critical", code="31", group="application")
    found = only(watch(Plant(bent(1010, **SLOW), events=applied)))
    assert found.cause is Cause.UNKNOWN


def test_a_frozen_engine_is_trouble_without_a_latency():
    frozen = event(1000, "frozen", engine(0), "chat-0 is frozen", "critical")
    found = only(watch(Plant(bent(1000, 1200, serving__engine__frozen=1.1), events=frozen)))
    assert (found.cause, found.confidence) == (Cause.FROZEN_ENGINE, "confirmed")
    assert found.end is not None
    assert found.end - START < 1260


def test_a_slow_replica_is_seen_beside_its_peer():
    def bend(at, signal, who):
        return 2.5 if at >= 1000 and who == "chat-1" and signal in ("serving.itl", "serving.decode_time") else 1.0

    found = only(watch(Plant(bend, engines=2)))
    assert (found.cause, found.place) == (Cause.SLOW_REPLICA, engine(1))
    assert found.confidence in ("likely", "possible")


def test_a_start_in_the_middle_says_so_and_is_never_shown():
    versions = watch(Plant(both(THERMAL, bent(0, serving__ttft=10.0))), 1400, start=1100)
    for found in versions.values():
        assert all(version.confidence in ("possible", "unknown") for version in found)
        assert found[-1].verdict.blind[0].startswith("no baseline (")
    assert versions


def test_a_later_symptom_does_not_make_a_baseline_of_the_trouble_before_it():
    early = bent(0, serving__ttft=30.0, serving__queue_time=30.0)
    found = only(watch(Plant(both(early, bent(1400, serving__itl=4.0, serving__decode_time=4.0))), 1600, start=1100))
    assert len({one for one in found.verdict.blind if one.startswith("no baseline")}) == 1
    assert found.confidence in ("possible", "unknown")


def test_a_lost_source_is_an_incident_and_ends_with_its_return():
    found = only(watch(Plant(down={"nvml": (600, 900)})))
    assert (found.cause, found.confidence, found.symptom.signal) == (Cause.SOURCE_LOST, "confirmed", "source.up")
    assert abs(found.end - START - 900) <= 10


def test_later_symptoms_join_and_an_incident_ends_when_they_do():
    bend = both(bent(1000, 1300, **SLOW), bent(1060, 1200, serving__itl=3.0))
    found = only(watch(Plant(bend)))
    assert abs(found.end - START - 1300) <= 60
    first, second = watch(Plant(both(bend, bent(1420, 1500, **SLOW))), 1700).values()
    assert first[-1].end < second[0].onset  # a minute was calm between them
    assert abs(second[0].onset - START - 1420) <= 10
    assert [one.times for one in (first[-1], second[-1])] == [1, 2]


def test_a_dismissed_incident_must_rise_further_to_be_told_again():
    plant, watching, names = Plant(both(bent(600, 800, **SLOW), bent(1800, 2000, **SLOW))), IncidentDetector(), []
    for tick in plant.ticks(2400):
        for version in watching.observe(tick):
            if version.id not in names:
                names.append(version.id)
                assert watching.dismiss(version.id)
    assert len(names) == 1
    assert not watching.dismiss("i-nobody")


@settings(max_examples=15, derandomize=True, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*SLOW, *DECODE, *BUSY, "gpu__clock__sm", "serving__requests__arrived"]),
        st.floats(0.0, 1e6),
    ),
    st.floats(0.0, 0.9),
    st.integers(0, 5),
)
def test_it_never_raises_and_never_shows_a_flag_that_was_not_set(factors, missing, seed):
    for found in watch(Plant(bent(400, **factors), missing=missing, seed=seed), 700).values():
        for version in found:
            assert version.cause not in (Cause.THERMAL_THROTTLE, Cause.POWER_BRAKE, Cause.XID, Cause.ECC, Cause.NVLINK)
            assert decode(encode(version)).cause is version.cause


def test_rules_speak_of_signals_that_exist():
    for rule in rules():
        for test in (*rule.required, *rule.supports, *rule.against):
            assert all(name in signals() for name in test.signal.split("|") if name)
        assert rule.required
    assert all(name in signals() for name in symptoms())


async def test_a_watched_feed_tells_what_a_recording_left_open():
    left = incident(START - 30)
    ticks = [Tick(START, START, reset=True, incidents=(left,)), *Plant().ticks(50)]
    feed = DiagnosedFeed(FakeFeed(ticks))
    first = await anext(feed.ticks())
    assert first.incidents == (left, replace(left, end=START, revised=START))
    assert not feed.keep(Mark(START, START, "load test", kind="dismissed", about="i-1"))


async def test_a_mistake_in_the_watch_costs_no_numbers(monkeypatch):
    def broken(self, tick):
        raise ZeroDivisionError("no calls")

    monkeypatch.setattr(IncidentDetector, "observe", broken)
    ticks = list(Plant().ticks(20))
    told = [tick async for tick in take(DiagnosedFeed(FakeFeed(ticks)), 4)]
    assert told[0].batches[:-1] == ticks[0].batches
    assert told[0].batches[-1].health.reason == "diagnosis stopped: ZeroDivisionError: no calls"
    assert told[1:] == ticks[1:]


async def take(feed, count):
    async for tick in feed.ticks():
        yield tick
        count -= 1
        if not count:
            return


def test_the_calls_that_paid_are_set_against_those_before():
    def call(number, version, took, tokens, cached):
        end = START + number * 5.0
        model = ("m", version, "p", "1")
        return Call(
            f"c{number}", f"t{number}", "", "generation", "g", end - took, end, end, end, *model, tokens, 100, cached
        )

    old = [call(n, "1.8.0", 2.0, 1000, 500) for n in range(100)]
    new = [call(100 + n, "1.9.0", 9.0, 6000, 0) if n % 2 else call(100 + n, "1.8.0", 2.0, 1000, 500) for n in range(60)]
    state = State()
    state.calls.add([*old, *new])
    found = compare(before_and_after(state, START + 499, START + 900, {"m"}))
    assert (found.before, found.during) == (100, 60)
    assert found.findings[0] == "only version 1.9.0 is slow; its prompts are 6.0x longer"
    assert Difference("version", "1.9.0", 0.0, 0.5, "1") in found.contrasts
    assert compare(before_and_after(state, START + 499, START + 510, {"m"})) is None


def test_an_engine_that_answers_nothing_any_more_is_trouble_unless_a_replica_serves():
    found = only(watch(Plant(down={"chat-0": (1000, 1200)})))
    assert (found.symptom.signal, found.symptom.entity) == ("source.up", Entity.of(source="chat-0"))
    assert found.verdict.what.startswith("chat-0 did not answer")
    assert (found.cause, found.confidence) == (Cause.ENGINE_DOWN, "confirmed")
    assert found.verdict.next_step.startswith("refused: read the end of the log of chat-0")
    assert abs(found.onset - START - 1000) <= 5
    assert abs(found.end - START - 1200) <= 10
    assert watch(Plant(down={"chat-0": (1000, 1200)}, engines=2)) == {}


def test_soon_after_the_start_only_what_lasts_far_beyond_all_seen_is_trouble():
    found = only(watch(Plant(bent(60, serving__ttft=40.0)), 300))
    assert abs(found.onset - START - 60) <= 15
    assert found.confidence in ("possible", "unknown")
    assert found.verdict.blind[0].startswith("no baseline (")
    assert watch(Plant(bent(60, serving__ttft=3.0)), 200) == {}


FULL = {"serving__kv_cache__usage": 2.48, "serving__requests__waiting": 30.0, **SLOW}


def test_a_full_cache_is_a_cause_only_where_what_could_fill_it_is_read():
    seen = only(watch(Plant(bent(1000, **FULL))))
    assert (seen.cause, seen.confidence) == (Cause.KV_PRESSURE, "likely")
    unread = only(watch(Plant(bent(1000, **FULL), nvml=False)))
    assert unread.cause is Cause.UNKNOWN
    longer = bent(1000, serving__prompt_tokens__per_request=3.0, **FULL)
    assert only(watch(Plant(longer, nvml=False))).cause is Cause.LONG_PROMPTS


def opinion(score, cause=Cause.CAPACITY_CHANGED, passing=False, effect=False):
    verdict = Verdict("what", "why")
    return Assessment("likely", score, "serving", cause, (), (), (), verdict, passing, effect)


@pytest.mark.parametrize(
    ("old", "new", "is_superseded_by"),
    [
        (opinion(0.6), opinion(0.5), True),
        (opinion(0.6), opinion(0.4), False),
        (opinion(0.6), opinion(0.9, effect=True), False),
        (opinion(0.6, passing=True), opinion(0.4), True),
        (opinion(0.6, passing=True), opinion(0.3), False),
        (opinion(0.5), opinion(0.6, passing=True), False),
        (opinion(0.3, effect=True), opinion(0.6, passing=True), True),
        (opinion(0.6, effect=True), opinion(0.4), True),
        (opinion(0.0, Cause.UNKNOWN), opinion(0.1), True),
    ],
)
def test_what_passes_and_what_is_an_effect_gives_way_to_a_cause_and_not_the_other_way(old, new, is_superseded_by):
    assert old.is_superseded_by(new) is is_superseded_by


async def test_it_looks_on_a_thread_and_hears_of_a_dismissal_between_two_ticks(monkeypatch):
    calls = []

    def take(self, tick):
        calls.append(("take", threading.current_thread() is threading.main_thread()))
        return ()

    monkeypatch.setattr(IncidentDetector, "observe", take)
    monkeypatch.setattr(IncidentDetector, "dismiss", lambda self, name: calls.append(("dismiss", name)))
    feed = DiagnosedFeed(FakeFeed(list(Plant().ticks(10))))
    ticks = feed.ticks()
    await anext(ticks)
    feed.keep(Mark(START, START, "load test", kind="dismissed", about="i-1"))
    assert calls == [("take", False)]
    await anext(ticks)
    assert calls[1:] == [("dismiss", "i-1"), ("take", False)]


def test_the_first_requests_after_an_engines_start_are_no_trouble_what_lasts_is():
    started = event(1000, "restart", engine(0), "chat-0 restarted")
    assert watch(Plant(bent(1000, 1070, **SLOW), events=started)) == {}
    lasting = only(watch(Plant(bent(1000, **SLOW), events=started)))
    assert lasting.detected - START <= 1150
    assert only(watch(Plant(bent(1000, 1070, **SLOW)))).detected - START <= 1070
