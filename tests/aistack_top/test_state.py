"""From ticks to frames: precedence, health, derived calls, late arrivals, events, snapshots."""

import json
from pathlib import Path

import jsonschema
import pytest

from aistack_top import snapshot
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Call, Event, Fact, Health, Quantiles, ReadingsBuilder, Tick
from aistack_top.state import State
from tests.fakes.feed import World
from tests.fakes.incident import troubled

GPU = Entity.of(gpu="GPU-1")
ENGINE = Entity.of(engine="vllm-8000")
START = 1_000_000.0


def batch(at, rows=(), *, source="nvml", kind="nvml", layer="compute", status="ok", reason="", **more):
    builder = ReadingsBuilder()
    for signal, entity, value in rows:
        builder.add(signal, entity, value)
    return Batch(at, at, Health(source, kind, layer, status, reason), builder.build(), **more)


def tick(at, *batches):
    return Tick(at, at, batches)


def call(number, end, *, seen=None, latency=1.0, model="m", **more):
    seen = end + 5.0 if seen is None else seen
    return Call(str(number), "t", "", "generation", "n", end - latency, end, seen, seen, model=model, **more)


def traces(at, *calls):
    return batch(at, source="langfuse", kind="langfuse", layer="tracing", calls=calls, calls_until=at)


def test_a_number_says_its_age_and_source_and_when_it_is_stale():
    state = State()
    state.apply(tick(START, batch(START, [("gpu.temperature", GPU, 61.0)])))
    shown = state.frame().read("gpu.temperature", GPU)
    assert (shown.sample.value, shown.age_s, shown.stale, shown.source) == (61.0, 0.0, False, "nvml")
    state.apply(tick(START + 10))
    assert state.frame().read("gpu.temperature", GPU).stale
    assert state.frame(START).read("gpu.temperature", GPU).stale is False
    state.apply(tick(START + 100))
    assert state.frame().read("gpu.temperature", GPU) is None


def test_the_number_of_a_source_that_is_asked_rarely_stands_until_it_is_asked_again():
    state = State()
    said = ReadingsBuilder()
    said.add("training.loss", SERVICE, 2.0)
    seldom = Batch(START, START, Health("ray", "ray", "training", "ok", interval_s=50.0), said.build())
    state.apply(tick(START, seldom))
    for at, told in ((START + 50, (2.0, False)), (START + 149, (2.0, False)), (START + 200, None)):
        state.apply(tick(at))
        shown = state.frame().read("training.loss")
        assert (shown and (shown.sample.value, shown.stale)) == told


def test_the_primary_source_wins_and_the_other_fills_its_gap():
    state = State()

    def at(moment):
        return state.frame(moment).read("gpu.temperature", GPU).sample.value

    dcgm = {"source": "dcgm", "kind": "dcgm"}
    state.apply(tick(START, batch(START, [("gpu.temperature", GPU, 60.0)], **dcgm)))
    assert at(START) == 60.0
    state.apply(tick(START + 1, batch(START + 1, [("gpu.temperature", GPU, 61.0)])))
    state.apply(tick(START + 2, batch(START + 2, [("gpu.temperature", GPU, 99.0)], **dcgm)))
    assert at(START + 2) == 61.0
    state.apply(tick(START + 60, batch(START + 60, [("gpu.temperature", GPU, 70.0)], **dcgm)))
    assert at(START + 60) == 70.0
    assert state.source_of("gpu.temperature", GPU) == "dcgm"


def test_what_is_read_directly_stands_above_the_same_through_a_prometheus_server():
    state, row = State(), "serving.requests.waiting"
    through = {"source": "prometheus/vllm-8000", "kind": "prometheus", "layer": "serving"}
    direct = {"source": "vllm-8000", "kind": "vllm", "layer": "serving"}
    state.apply(tick(START, batch(START, [(row, ENGINE, 1.0)], **through)))
    assert state.frame(START).read(row, ENGINE).sample.value == 1.0
    state.apply(tick(START + 1, batch(START + 1, [(row, ENGINE, 2.0)], **direct)))
    state.apply(tick(START + 2, batch(START + 2, [(row, ENGINE, 9.0)], **through)))
    assert state.frame(START + 2).read(row, ENGINE).sample.value == 2.0


def test_health_is_told_as_it_stood_at_the_moment_and_its_change_is_an_event():
    state = State()
    state.apply(tick(START, batch(START)))
    state.apply(tick(START + 5, batch(START + 5, status="down", reason="GPU lost")))
    assert [h.status for _, h in state.frame().health] == ["down"]
    assert [h.status for _, h in state.frame(START + 1).health] == ["ok"]
    (event,) = state.frame().events(START)
    assert (event.kind, event.severity, event.text) == ("source", "warning", "nvml down: GPU lost")


def test_calls_are_derived_once_they_can_be_in_and_again_when_one_is_late():
    state = State()
    calls = [call(n, START + n) for n in range(60)]
    state.apply(tick(START, traces(START)))
    for second in range(5, 95, 5):
        now = START + second
        state.apply(tick(now, traces(now, *[c for c in calls if now - 5 <= c.end + 5 < now])))
    rate = state.frame(START + 60).read("calls.rate", SERVICE)
    assert rate.sample.value == pytest.approx(1.0, abs=0.02)
    assert rate.source == "derived"
    assert state.frame(START + 60).read("calls.latency", SERVICE, "p95").sample.value == pytest.approx(1.0)
    before = state.frame(START + 40).read("calls.rate", SERVICE).sample.value
    late = [call(f"late{n}", START + 39.5, seen=START + 95) for n in range(40)]
    state.apply(tick(START + 95, traces(START + 95, *late)))
    assert state.frame(START + 40).read("calls.rate", SERVICE).sample.value == pytest.approx(before + 1.0, abs=0.05)
    assert state.frame(START + 35).read("calls.rate", SERVICE).sample.value == pytest.approx(1.0, abs=0.05)


def test_a_late_call_is_taken_in_steps_and_the_time_seen_moves_on_with_the_last():
    state = State()
    for second in range(0, 400, 5):
        state.apply(tick(START + second, traces(START + second)))
    late = traces(START + 400, call("late", START + 100, seen=START + 400))
    steps = state.apply_in_steps(tick(START + 400, late))
    seen = [state.now for _ in steps]
    assert len(seen) > 50
    assert set(seen) == {START + 395}
    assert state.now == START + 400


def test_a_call_told_twice_counts_once_and_its_newer_telling_stands():
    state = State()
    first, again = call(1, START), call(1, START, cost=2.0, seen=START + 9)
    state.apply(tick(START + 1, traces(START + 1, first)))
    state.apply(tick(START + 9, traces(START + 9, again)))
    state.apply(tick(START + 10, traces(START + 10, first)))
    (known,) = state.frame().calls(START - 10)
    assert (known.cost, known.seen) == (2.0, first.seen)


def test_without_a_source_of_calls_there_are_no_call_signals():
    state = State()
    for second in range(30):
        state.apply(tick(START + second, batch(START + second)))
    assert state.frame().read("calls.rate", SERVICE) is None


def test_a_quiet_source_of_calls_is_a_true_zero_and_a_dead_one_a_gap():
    state = State()
    for second in range(0, 60, 5):
        state.apply(tick(START + second, traces(START + second)))
    assert state.frame(START + 40).read("calls.rate", SERVICE).sample.value == 0.0
    assert state.frame(START + 40).read("calls.errors", SERVICE) is None
    state.apply(tick(START + 400))
    assert state.frame().read("calls.rate", SERVICE) is None


def test_cost_that_nobody_knows_is_not_zero():
    state = State()
    calls = [call(n, START + 1) for n in range(3)]
    state.apply(tick(START, traces(START)))
    state.apply(tick(START + 30, traces(START + 30, *calls)))
    assert state.frame(START + 10).read("calls.cost.rate", SERVICE) is None
    priced = [call("p", START + 2, cost=0.5)]
    state.apply(tick(START + 31, traces(START + 31, *priced)))
    assert state.frame(START + 10).read("calls.cost.rate", SERVICE).sample.value == pytest.approx(0.5 * 3600 / 10)


def test_a_reset_forgets_what_came_before():
    state = State()
    state.apply(tick(START, batch(START, [("gpu.temperature", GPU, 61.0)], facts=(Fact(GPU, "index", "0"),))))
    state.apply(Tick(START - 500, START - 500, (), None, reset=True))
    assert state.frame().now == START - 500
    assert state.frame().entities("gpu.temperature") == []
    assert state.facts.get(GPU, "index") is None


def test_more_series_than_are_kept_is_said_once():
    state = State()
    state.timeline.most = 1
    for second in range(3):
        rows = [("gpu.temperature", Entity.of(gpu=str(n)), 1.0) for n in range(3)]
        state.apply(tick(START + second, batch(START + second, rows)))
    (event,) = state.frame().events(START)
    assert event.text == "nvml tells more series than the 1 that are kept; new ones are not shown"


def test_an_event_that_is_told_again_is_none_and_all_stand_in_the_order_of_their_times():
    state = State()

    def told(at, text, seen):
        return Event(at, seen, "pipelines", "run", "info", GPU, text, "mlflow")

    past = [told(START - 60, "began", START), told(START - 30, "ended", START)]
    state.apply(tick(START, batch(START, events=(told(START - 1, "b", START), *past))))
    again = [told(one.at, one.text, START + 9) for one in past]
    state.apply(tick(START + 9, batch(START + 9, events=(*again, told(START + 8, "c", START + 9)))))
    assert [event.text for event in state.frame().events(START - 100)] == ["began", "ended", "b", "c"]


def build_frame():
    state = State()
    rows = [
        ("gpu.temperature", GPU, 61.0),
        ("serving.requests.waiting", ENGINE, 118.0),
        ("serving.ttft", ENGINE, Quantiles(20.0, 39.0, None, 21.0, 87, 48.0)),
    ]
    event = Event(START, START, "compute", "xid", "critical", GPU, "XID 79 on gpu 0\x1b[2J", "nvml")
    facts = (Fact(GPU, "index", "0", watched=False),)
    state.apply(tick(START, batch(START, rows, events=(event,), facts=facts)))
    return state.frame()


SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/snapshot.json").read_text())


def test_a_snapshot_is_honest_json_and_keeps_to_its_schema():
    said = json.loads(json.dumps(snapshot.document(build_frame(), "node-1"), allow_nan=False))
    jsonschema.validate(said, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**said, "surprise": 1}, SCHEMA)
    assert said["schema"] == "aistack-top/snapshot/2"
    assert said["time"] == "1970-01-12T13:46:40.000Z"
    ttft = next(row for row in said["readings"] if row["signal"] == "serving.ttft")
    assert ttft["value"] == {"p50": 20.0, "p95": 39.0, "p99": None, "mean": 21.0, "count": 87.0, "window_s": 48.0}
    assert ttft["entity"] == {"engine": "vllm-8000"}
    assert (ttft["unit"], ttft["layer"], ttft["source"]) == ("s", "serving", "nvml")
    assert said["spend"]["spend.rate"] is None
    assert said["events"][0]["kind"] == "xid"
    assert said["incidents"] == []


def test_a_snapshot_as_text_names_every_layer_and_hides_no_control_character():
    said = snapshot.text(build_frame(), "node-1")
    assert "GPU temperature [gpu 0]: 61 °C" in said
    assert "TTFT [vllm-8000]: p50 20.0 s, p95 39.0 s, 87 in 48.0 s" in said
    assert "7 governance" in said
    assert "8 spend\n  spend: $/h not set" in said
    assert "\x1b" not in said


def test_a_snapshot_as_text_can_be_read_out_line_by_line():
    state = State()
    for one in troubled(World(gpus=4, engines=2)):
        state.apply(one)
    said = snapshot.text(state.frame(), "node-1")
    drawn = {sign for sign in said if not sign.isascii()} - set("°µ–")
    assert drawn == set()  # no frame, no bar, no sign whose name a screen reader would spell
    assert "source nvml ok, last data 0 s ago" in said
    assert "incident i-1: TTFT p95 of vllm-0 now " in said
    assert all(": " in line for line in said.splitlines() if line.startswith("  "))


def test_exit_codes_tell_healthy_failing_and_unreachable():
    healthy, failing, lost = State(), State(), State()
    healthy.apply(tick(START, batch(START)))
    failing.apply(tick(START, batch(START), traces(START), batch(START, source="x", status="down", reason="refused")))
    lost.apply(tick(START, batch(START, status="down", reason="refused")))
    assert [snapshot.exit_code(state.frame()) for state in (healthy, failing, lost)] == [0, 1, 3]
    assert snapshot.exit_code(build_frame()) == 1
