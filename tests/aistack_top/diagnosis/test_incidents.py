"""How incidents begin, stay apart and end, and what each says of itself at a moment."""

from dataclasses import replace

import msgspec
import pytest

from aistack_top.derive.incident_figures import at_moment, deadline_words, gone_words, sentence, symptom_words
from aistack_top.diagnosis.change import step_at
from aistack_top.diagnosis.detector import IncidentDetector
from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Event, Health, ReadingsBuilder, Tick
from aistack_top.state import State
from aistack_top.store.facts import Facts
from aistack_top.text.incident_json import decode, incident_data
from aistack_top.text.timestamps import from_rfc3339, rfc3339
from tests.aistack_top.diagnosis.factories import ENGINE, incident
from tests.aistack_top.diagnosis.fake_node import NODE, START, Plant, bent, both, engine, only, watch
from tests.aistack_top.diagnosis.test_detector import DECODE, SLOW, THERMAL, XID_79, event

RAIL = bent(1020, guardrail__latency=40.0)


def last(found):
    return [versions[-1] for versions in found.values()]


def notice(second=600, due=720, **changes):
    stamp = rfc3339(START + due)
    detail = {"action": "terminate", "due": stamp, "state": "given", **changes}
    severity = "info" if detail["state"] == "gone" else "critical"
    return event(second, "notice", NODE, "AWS takes this node back", severity, **detail)


class Twice(Plant):
    """An engine that is away twice, with a minute between."""

    away = ((1000, 1100), (1164, 1300))

    def _source(self, batch, second):
        for span in self.away:
            self.down = {"chat-0": span}
            batch = super()._source(batch, second)
        return batch


def test_two_outages_are_two_incidents_each_with_its_own_onset():
    first, second = last(watch(Twice(), 1500))
    assert [one.cause for one in (first, second)] == [Cause.ENGINE_DOWN] * 2
    assert abs(first.end - START - 1100) <= 10
    assert abs(second.onset - START - 1164) <= 5
    assert second.times == 2


def test_the_id_is_the_time_of_the_first_detection_and_stays_it():
    for versions in watch(both_faults()).values():
        assert {(one.id, one.detected) for one in versions} == {(versions[0].id, versions[0].detected)}
        assert versions[0].id[2:17] == rfc3339(versions[0].detected)[:19].replace("-", "").replace(":", "")


def both_faults():
    return Plant(both(THERMAL, RAIL))


def test_two_faults_of_one_moment_on_two_layers_are_both_named():
    found = last(watch(both_faults()))
    assert {(one.cause, one.layer) for one in found} == {
        (Cause.THERMAL_THROTTLE, "compute"),
        (Cause.GUARDRAIL_SLOW, "governance"),
    }


def test_a_guardrail_is_not_slowed_by_what_slows_a_gpu():
    later = both(THERMAL, bent(1300, guardrail__latency=40.0))
    heat, rail = last(watch(Plant(later), 1600))
    assert (heat.cause, rail.cause) == (Cause.THERMAL_THROTTLE, Cause.GUARDRAIL_SLOW)
    assert Cause.THERMAL_THROTTLE not in [one.cause for one in rail.candidates]


def test_a_burst_does_not_own_the_fault_that_comes_minutes_after_it():
    burst = both(bent(800, 860, serving__requests__arrived=2.0), bent(820, 1600, serving__ttft=3.0))
    fault = both(bent(1100, gpu__nvlink__active=0.5), bent(1100, **DECODE), bent(1100, serving__ttft=4.0))
    found = last(watch(Plant(both(burst, fault)), 1500))
    assert found[-1].cause is Cause.NVLINK
    assert abs(found[-1].onset - START - 1100) <= 30


def test_a_notice_is_an_incident_at_once_with_its_deadline_and_ends_when_it_is_taken_back():
    withdrawn = {**notice(), **notice(900, state="gone")}
    (versions,) = watch(Plant(events=withdrawn), 1200).values()
    first, final = versions[0], versions[-1]
    assert (first.cause, first.confidence, first.layer) == (Cause.SPOT_NOTICE, "confirmed", "compute")
    assert first.detected - START <= 605
    assert first.deadline == START + 720
    assert first.verdict.next_step.startswith("drain this node now, before ")
    assert abs(final.end - START - 900) <= 10


def test_a_notice_that_came_true_ends_some_minutes_after_its_deadline():
    found = only(watch(Plant(events=notice()), 1500))
    assert 720 <= found.end - START <= 1030


def test_what_a_lost_source_told_rules_nothing_out_and_is_no_evidence():
    found = last(watch(Plant(bent(1010, **SLOW), events=XID_79, down={"nvml": (1000, 1500)})))
    said = [text for one in found for text in (*one.verdict.support, *one.verdict.against)]
    assert said
    assert not [text for text in said if "NVLink" in text or "SM clock" in text or "GPU processes" in text]
    blind = [text for one in found for text in one.blind_spots if "nvml" in text]
    assert blind
    assert all("no data since" in text for text in blind)


def test_a_dead_engine_is_not_said_to_be_unfrozen():
    found = only(watch(Plant(down={"chat-0": (1000, 1400)})))
    assert not any("frozen" in out.because for out in found.ruled_out)


def test_confirmed_is_taken_back_when_its_source_is_lost():
    found = watch(Plant(THERMAL, down={"nvml": (1150, 1500)}))
    (versions,) = [rows for rows in found.values() if rows[0].cause is Cause.THERMAL_THROTTLE]
    assert "confirmed" in [one.confidence for one in versions]
    assert versions[-1].confidence == "likely"
    assert "nvml no longer reports" in versions[-1].verdict.why


def test_a_cause_that_is_over_while_its_backlog_is_not_is_said_to_be_gone():
    throttle = lambda at, s, who: 0.9 if 1000 <= at < 1200 and who == "GPU-0/hw_thermal" else 1.0  # noqa: E731
    clock = bent(1000, 1200, gpu__clock__sm=0.5, gpu__temperature=1.4)
    backlog = bent(1020, serving__requests__waiting=225.0, **SLOW)
    found = only(watch(Plant(both(throttle, clock, backlog))))
    assert (found.cause, found.confidence) == (Cause.THERMAL_THROTTLE, "likely")
    assert abs(found.cause_gone - START - 1200) <= 10


def test_an_engine_that_does_less_at_level_inputs_is_unknown_and_its_full_cache_no_cause():
    full = {"serving__kv_cache__usage": 2.48, "serving__requests__waiting": 30.0}
    slower = bent(1000, serving__generation_tokens__rate=0.6, **full, **DECODE, **SLOW)
    found = only(watch(Plant(slower)))
    assert (found.cause, found.confidence) == (Cause.UNKNOWN, "unknown")


def test_a_job_whose_steps_got_longer_after_the_onset_is_a_victim():
    plant = Trained(both(bent(985, host__cpu__utilization=3.2, host__cpu__run_queue=4.0), bent(1000, **DECODE)))
    plant.slow_from = 1045
    assert only(watch(plant)).cause is Cause.CPU_STARVATION
    plant.slow_from = 980
    assert only(watch(plant)).cause is Cause.TRAINING_JOB


class Trained(Plant):
    """A plant with a training job."""

    slow_from = 10_000

    def ticks(self, seconds, start=0):
        for tick in super().ticks(seconds, start):
            builder = ReadingsBuilder()
            builder.add("training.step_time", Entity.of(job="j"), 8.0 if tick.at - START >= self.slow_from else 1.8)
            job = Batch(tick.at, tick.at, Health("mlflow", "mlflow", "training", "ok"), builder.build())
            yield replace(tick, batches=(*tick.batches, job))


class Failing(Plant):
    """An engine of which a share of the answers are errors."""

    since = 1000

    def ticks(self, seconds, start=0):
        for tick in super().ticks(seconds, start):
            builder = ReadingsBuilder()
            bad = tick.at - START >= self.since
            builder.add("serving.http.errors", engine(0), 1.0 if bad else 0.0)
            builder.add("serving.requests.rejected", engine(0), 4.0 if bad else 0.0)
            health = Health("page", "vllm", "serving", "ok", interval_s=2.0)
            yield replace(tick, batches=(*tick.batches, Batch(tick.at, tick.at, health, builder.build())))


def test_errors_are_an_incident_without_any_latency():
    found = only(watch(Failing()))
    assert found.symptom.signal == "serving.http.errors"
    assert (found.symptom.usual, found.symptom.ratio, found.symptom.peak) == (0.0, None, 1.0)
    assert "peak 100 % (baseline 0 %)" in found.verdict.what
    assert found.detected - START <= 1030


def test_without_a_baseline_a_full_batch_with_a_queue_and_refusals_is_possible():
    plant = Failing(bent(0, serving__requests__waiting=40.0, serving__kv_cache__usage=2.3))
    plant.since = 0
    found = only(watch(plant, 150))
    assert (found.cause, found.confidence) == (Cause.OVERLOAD, "possible")


def test_an_engine_that_starts_again_and_again_is_told_and_a_rollout_is_not():
    starts: dict[int, tuple[Event, ...]] = {}
    for second in (400, 650, 900, 1150, 1300):
        starts |= event(second, "restart", engine(0), "chat-0 restarted", "info")
    found = only(watch(Plant(events=starts)))
    assert (found.cause, found.symptom.signal) == (Cause.ENGINE_DOWN, "serving.engine.restarts")
    assert watch(Plant(events=event(1000, "restart", engine(0), "chat-0 restarted", "info"))) == {}


def test_the_step_of_a_series_is_not_the_noise_before_it():
    noise = [-1.0, 0.2, 0.3, -1.0, -1.0, -1.0]
    assert step_at([*noise, 1.0, 1.0, 1.0, 1.0]) == 6
    assert step_at([-1.0, -1.0]) is None
    assert step_at([float("nan")] * 3) is None
    assert step_at([-1.0, float("nan"), 50.0, -1.0, 1.0, 1.0, 1.0]) == 4


def test_an_incident_of_version_one_is_still_read():
    now = incident(START)
    old = incident_data(now)
    old["strength"] = "shown"
    old["symptom"]["usual"] = old["symptom"].pop("baseline")
    old["verdict"]["why"] = "shown by: heat"
    for name in ("confidence", "deadline", "cause_gone"):
        del old[name]
    del old["symptom"]["now"]
    read = decode(msgspec.json.encode(old).decode())
    assert (read.confidence, read.symptom.usual, read.verdict.why) == (
        "confirmed",
        0.5,
        "confirmed: heat",
    )
    del old["strength"]
    with pytest.raises(ValueError, match="how sure"):
        decode(msgspec.json.encode(old).decode())


def shown(seconds, value, **changes):
    state = State()
    one = incident(START + 60, onset=START, **changes)
    for second in range(seconds):
        builder = ReadingsBuilder()
        builder.add("serving.requests.running", ENGINE, value(second))
        builder.add("serving.requests.waiting", ENGINE, 225.0)
        at = START + second
        batch = Batch(at, at, Health("chat-0", "vllm", "serving", "ok"), builder.build())
        state.apply(Tick(at, at, (batch,), incidents=(one,) if second == 60 else ()))
    return state.frame()


def test_a_frame_says_now_and_peak_and_one_duration():
    symptom = replace(incident(START).symptom, signal="serving.requests.running", stat="value", usual=10.0, ratio=4.0)
    frame = shown(100, lambda second: 80.0 if second == 70 else 33.0, symptom=symptom)
    (one,) = frame.incidents
    assert (one.symptom.now, one.symptom.peak, one.symptom.ratio) == (33.0, 80.0, 8.0)
    assert symptom_words(one, frame.facts) == "running of chat-0 now 33, peak 80 (8.0x baseline)"
    assert one.verdict.what == sentence(one, frame.at, frame.facts)
    assert one.verdict.what.endswith("(99 s).")
    over = at_moment(replace(one, end=START + 80), frame)
    assert over.symptom.now is None
    assert "(80 s)" in over.verdict.what


def test_what_a_gone_cause_left_is_counted_at_the_moment_shown():
    frame = shown(100, lambda second: 33.0, cause_gone=START + 50)
    (one,) = frame.incidents
    assert gone_words(one, frame).endswith("; 225 still waiting")
    assert one.verdict.why.endswith(gone_words(one, frame))


def test_a_deadline_counts_down():
    said = deadline_words(from_rfc3339("2025-11-24T16:02:00.000Z"), from_rfc3339("2025-11-24T16:00:02.000Z"))
    assert said.startswith("1:58 (")
    assert deadline_words(START, START + 5).startswith("0:00 (since ")


def test_a_place_is_where_it_is_worst_now():
    moves = lambda at, signal, who: (  # noqa: E731
        (12.0 if who == "chat-1" else 3.0) if at >= 1100 and signal == "serving.ttft"
        else (3.0 if who == "chat-0" else 1.0) if at >= 1000 and signal == "serving.ttft" else 1.0
    )  # fmt: skip
    found = last(watch(Plant(moves, engines=2)))[0]
    assert found.place == engine(1) or found.place == engine(0)
    assert found.symptom.entity == found.place


def test_nothing_is_known_of_facts_that_nobody_told():
    assert symptom_words(incident(START, place=SERVICE), Facts()).startswith("TTFT p95 of chat-0 peak 4.0 s")


def test_a_watch_looks_again_long_after_the_detection():
    reviewed = [one.revised for versions in watch(Plant(THERMAL), 2600).values() for one in versions]
    assert max(reviewed) - min(reviewed) >= 900
    assert IncidentDetector().open_incidents == ()
