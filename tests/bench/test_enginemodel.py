"""The second engine model keeps the laws of its physics, and plays the same run again for the same seed."""

import random
from dataclasses import replace

import pytest
from enginemodel.arrivals import PROCESSES, Arrivals, Demand, autocorrelation, counts, fano
from enginemodel.blocks import Pool
from enginemodel.engine import Engine, EngineSettings
from enginemodel.gpu import SLOW_UNTIL, Gpu
from enginemodel.pain import worst
from enginemodel.physics import A100, H100, LARGE, MEDIUM, Machine, Work, step_time
from enginemodel.readings import EPOCH, Readings
from enginemodel.request import Request
from enginemodel.tables import by_model, false_alarms, wrong_confirmed
from enginemodel.trials import ONSET_S, Trial
from enginemodel.world import Felt, World

ONE = Machine(A100, MEDIUM)


@pytest.mark.parametrize("machine", [ONE, Machine(H100, LARGE, 2)])
def test_a_step_takes_longer_the_more_is_in_it(machine):
    batches = [step_time(machine, Work(count, 1500.0 * count)).seconds for count in (1, 2, 8, 32, 96)]
    contexts = [step_time(machine, Work(16, context)).seconds for context in (1e3, 1e4, 1e5)]
    prompts = [step_time(machine, Work(16, 2e4, size, size * 1e3, 1e3)).seconds for size in (0, 256, 1024, 2048)]
    for times in (batches, contexts, prompts):
        assert times == sorted(times)
        assert times[0] < times[-1]


@pytest.mark.parametrize(
    "worse", [{"clock": 0.3}, {"share": 0.4}, {"host": 8.0}, {"drag": 2.0}, {"parallel": 2, "link": 0.05}]
)
def test_a_step_takes_longer_on_a_worse_machine(worse):
    machine = replace(ONE, parallel=worse.get("parallel", 1))
    work = Work(16, 3e4, 256, 4e5, 1e3)
    assert step_time(replace(machine, **worse), work).seconds > 1.1 * step_time(machine, work).seconds


def test_decoding_alone_is_bound_by_reading_the_weights():
    alone = step_time(ONE, Work(1, 1000.0))
    floor = MEDIUM.weights / (A100.bandwidth * 0.72)
    assert floor < alone.seconds < 1.3 * floor
    assert alone.memory > 0.8 > 0.1 > alone.tensor


def small_engine(total_blocks, **more):
    ended, first = [], []
    settings = EngineSettings("e", replace(ONE), **more)
    engine = Engine(settings, lambda request, _: first.append(request), lambda request, _: ended.append(request))
    engine.pool = Pool(total_blocks)
    return engine, first, ended


def crowd(count, seed=3):
    dice = random.Random(seed)
    for number in range(count):
        prefix = 64 if number % 3 else 0
        prompt = prefix + dice.randrange(20, 900)
        yield Request(
            number, "t", 0.0, prompt, dice.randrange(1, 200), prefix, "p" if prefix else "", 0, f"s{number % 7}"
        )


@pytest.mark.parametrize("blocks", [150, 400, 5000])
def test_tokens_blocks_and_requests_are_conserved(blocks):
    engine, first, ended = small_engine(blocks, max_sequences=12, token_budget=256)
    dice, now, inside, gone = random.Random(9), 0.0, [], 0
    for request in crowd(160):
        now += dice.expovariate(3.0)
        assert engine.submit(request, now)
        inside.append(request)
        if dice.random() < 0.1:
            left = dice.choice([one for one in inside if one.last_token is None] or [request])
            if left.last_token is None:
                engine.abort(left, now)
                inside.remove(left)
                gone += 1
        pool = engine.pool
        assert 0 <= pool.used <= pool.total
        assert pool.free >= 0
        assert pool.kept == sum(one.blocks for one in pool.prefixes.values() if not one.users)
        own = sum(one.own_blocks for one in engine.filling)
        own += sum(one.blocks_at(engine._tick) for one in engine.running.values())
        assert pool.used == own + sum(one.blocks for one in pool.prefixes.values() if one.users)
        assert engine._context == sum(one.context(engine._tick) for one in engine.running.values())
        assert engine.in_batch <= 12
    engine.advance(now + 3600.0)
    assert engine.load == 0
    assert len(ended) == 160 - gone
    assert all(one.generated == one.output for one in ended)
    assert engine.pool.used == 0
    lost = engine.produced - sum(one.generated for one in ended)
    assert lost >= 0
    assert engine.counters.generation_tokens == engine.produced
    if blocks == 150:
        assert engine.counters.preemptions > 0
    if blocks == 5000:
        assert engine.counters.preemptions == 0
    assert engine.counters.prefix_hits > 0
    assert len(first) >= len(ended)


def test_without_hang_ups_tokens_made_are_those_of_the_finished_and_the_running():
    engine, _, ended = small_engine(300, max_sequences=12, token_budget=256)
    for number, request in enumerate(crowd(60)):
        engine.submit(request, 0.2 * number)
    engine.advance(20.0)
    running = sum(one.generated + engine._tick - one.joined for one in engine.running.values())
    thrown_out = sum(one.generated for one in (*engine.waiting, *engine.filling))
    assert engine.produced == sum(one.generated for one in ended) + running + thrown_out
    assert engine.running
    assert ended


def test_looking_often_does_not_change_what_an_engine_does():
    def play(looks):
        engine, _, ended = small_engine(300, max_sequences=12, token_budget=256)
        now = 0.0
        for number, request in enumerate(crowd(60)):
            while looks and now < 0.3 * number:
                engine.advance(now)
                now += 0.07
            engine.submit(request, 0.3 * number)
        engine.advance(500.0)
        return [(one.number, pytest.approx(one.last_token, abs=1e-3)) for one in ended]

    assert play(looks=True) == play(looks=False)


def test_a_frozen_engine_makes_nothing_and_goes_on_afterwards():
    engine, _, ended = small_engine(2000)
    for request in crowd(10):
        engine.submit(request, 0.0)
    engine.advance(1.0)
    engine.freeze(1.0)
    made = engine.produced
    engine.advance(60.0)
    assert engine.produced == made
    engine.thaw(60.0)
    engine.advance(200.0)
    assert len(ended) == 10
    assert min(one.last_token for one in ended if one.last_token > 1.0) > 60.0


def test_a_full_queue_refuses():
    engine, _, _ = small_engine(60, queue_limit=3, max_sequences=1)
    taken = [engine.submit(request, 0.0) for request in crowd(8)]
    assert taken.count(False) == engine.counters.rejected > 0


def hot_gpu(**more):
    gpu = Gpu("GPU-1", 0, A100, random.Random(1), **more)
    gpu.busy, gpu.memory_busy, gpu.tensor_busy = 1.0, 0.6, 0.5
    for _ in range(1200):
        gpu.second()
    return gpu


def test_heat_takes_clock_only_when_the_air_fails():
    cool, hot = hot_gpu(), hot_gpu(airflow=0.22, inlet=15.0)
    assert cool.clock == 1.0
    assert cool.temperature < SLOW_UNTIL
    assert hot.clock < 0.6
    assert hot.reasons & 0x20
    assert not cool.reasons & 0x20


def test_a_power_limit_is_kept():
    gpu = hot_gpu(limit=160.0)
    assert gpu.power <= 160.0 + 1e-6
    assert gpu.clock < 0.9
    assert gpu.reasons & 0x4


def test_arrivals_differ_in_the_figures_that_tell_them_apart():
    found = {}
    for process in PROCESSES:
        arrivals = Arrivals(process, 3.0, random.Random(4), Demand())
        times = [one.at for slot in range(14400) for one in arrivals.slot(slot / 2)]
        numbers = counts(times, 10.0, 0.0, 7200.0)
        found[process] = (len(times) / 7200.0 / 3.0, fano(numbers), autocorrelation(numbers))
    assert all(0.75 < rate < 1.3 for rate, _, _ in found.values()), found
    assert found["poisson"][1] == pytest.approx(1.0, abs=0.25)
    assert abs(found["poisson"][2]) < 0.1
    assert all(found[process][1] > 1.8 for process in PROCESSES if process not in ("poisson", "diurnal"))
    assert found["modulated"][2] > 0.4
    assert found["heavy"][2] < 0.2


def stamp(seed):
    trial = Trial("fault", "guardrail", "bursts", seed, seconds=60.0)
    return [
        (tick.at, tuple((batch.health.source, tuple(batch.readings), batch.calls) for batch in tick.batches))
        for tick in Readings(trial.world()).ticks(60.0)
    ]


def test_the_same_seed_plays_the_same_run():
    assert stamp(11) == stamp(11)
    assert stamp(11) != stamp(12)


def test_runs_of_one_seed_do_not_share_their_arrivals():
    worlds = [Trial("fault", name, "poisson", 11).world() for name in ("guardrail", "retrieval")]
    for world in worlds:
        world.run(30.0)
    assert worlds[0].arrived_at != worlds[1].arrived_at


def test_ticks_go_forward_and_calls_come_late():
    world = World(5, "code", 0.2)
    ticks = list(Readings(world).ticks(120.0))
    times = [tick.at for tick in ticks]
    assert times == sorted(times)
    calls = [call for tick in ticks for batch in tick.batches for call in batch.calls]
    delays = [call.seen - call.end for call in calls]
    assert len(calls) > 200
    assert min(delays) > 2.0
    assert max(delays) > 15.0
    assert {call.kind for call in calls} == {"other", "generation", "guardrail"}
    assert all(call.end - EPOCH < 121.5 for call in calls)


def people(before, after, length=1500):
    return [
        Felt(float(at), before if at < ONSET_S else after, 5.0, False, 0, before, 0.03) for at in range(0, length, 2)
    ]


def test_pain_is_twice_the_usual_for_two_minutes():
    assert worst(people(0.4, 0.7), 1, ONSET_S, 1500.0) is None
    found = worst(people(0.4, 0.9), 1, ONSET_S, 1500.0)
    assert found.what == "ttft"
    assert found.ratio == pytest.approx(2.25)
    assert found.onset == pytest.approx(ONSET_S, abs=15.0)
    short = [one for one in people(0.4, 0.9) if one.arrived < ONSET_S or one.arrived < ONSET_S + 90]
    assert worst(short, 1, ONSET_S, 1500.0) is None


def record(**more):
    said = [[950, "guardrail_slow", "confirmed", "governance", {}]]
    incident = {"onset": 910.0, "detected": 940.0, "end": None, "said": said, "causes": ["guardrail_slow"]}
    known = {
        "kind": "fault", "model": "second", "arrivals": "poisson", "causes": [["guardrail_slow"]], "onset": 900.0,
        "layers": ["governance"], "seconds": 1500.0, "engines": 2, "incidents": [incident], "source_lost": False,
        "felt": {"onset": 905.0}, "organic": [], "fano": 1.0, "autocorrelation": 0.0,
    }  # fmt: skip
    return known | more


def test_a_wrong_cause_that_was_confirmed_counts_and_a_right_one_does_not():
    assert wrong_confirmed(record()) == 0
    assert wrong_confirmed(record(causes=[["retrieval_slow"]])) == 1
    assert wrong_confirmed(record(kind="clean", causes=[])) == 1


def test_a_false_alarm_is_an_incident_of_quiet_time():
    assert false_alarms(record())[0] == 0
    alarms, calm, days = false_alarms(record(kind="clean"))
    assert (alarms, calm) == (1, 1)
    assert days == pytest.approx(2 * 1500 / 86400)
    assert false_alarms(record(kind="clean", organic=[{"onset": 900.0, "s": 120.0}]))[1] == 0


def test_each_model_and_process_has_a_row():
    first = {"kind": "fault", "truth": ["guardrail_slow"], "layer": "governance"}
    other = {name: value for name, value in record().items() if name not in ("model", "arrivals", "causes", "layers")}
    table = by_model([record(), record(arrivals="code"), {**other, **first}])
    rows = [line.split(" | ")[:2] for line in table.splitlines()[2:]]
    assert rows == [["| first", "its own"], ["| second", "poisson"], ["| second", "code"], ["| second", "all"]]
    assert "1.00 (1/1)" in table
