"""The next step of a verdict names what is known: process, container, code, limit, version, replica, deadline."""

from dataclasses import replace
from string import Formatter

import pytest

from aistack_top.diagnosis.rules import rules, symptoms
from aistack_top.diagnosis.steps import details
from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Fact, Health, Link, ReadingsBuilder
from tests.aistack_top.diagnosis.fake_node import NODE, START, Plant, bent, both, engine, gpu, only, watch
from tests.aistack_top.diagnosis.test_detector import DECODE, QUEUE, SLOW, changed, event

KNOWN = (
    Fact(engine(0), "pid", "4711"),
    Fact(gpu(0), "index", "3"),
    Fact(Entity.of(process="77001"), "command", "python notebook"),
    Fact(Entity.of(process="77001"), "user", "ada"),
)


class Known(Plant):
    """A plant of which facts are known, with readings of its own from a second on."""

    def __init__(self, *args, facts=KNOWN, since=1000, adds=(), **values):
        super().__init__(*args, **values)
        self.facts, self.since, self.adds = facts, since, adds

    def ticks(self, seconds, start=0):
        for tick in super().ticks(seconds, start):
            builder = ReadingsBuilder()
            for signal, entity, value in self.adds if tick.at - START >= self.since else ():
                builder.add(signal, entity, value)
            facts = tuple(one for one in self.facts if isinstance(one, Fact))
            links = tuple(one for one in self.facts if isinstance(one, Link))
            health = Health("more", "host", "compute", "ok")
            batch = Batch(tick.at, tick.at, health, builder.build(), facts=facts, links=links)
            yield replace(tick, batches=(*tick.batches, batch))


def step(plant, cause, seconds=1500):
    found = only(watch(plant, seconds))
    assert found.cause is cause
    return found.verdict.next_step


def held(at, signal, who):
    return 0.9 if at >= 990 and who in ("GPU-0/hw_thermal",) and signal == "gpu.throttle" else 1.0


def capped(at, signal, who):
    return 0.9 if at >= 990 and who == "GPU-0/power_cap" and signal == "gpu.throttle" else 1.0


def test_heat_is_told_with_its_degrees_and_the_host():
    said = step(Known(both(held, bent(990, gpu__clock__sm=0.5, gpu__temperature=1.5), bent(1010, **SLOW))),
                Cause.THERMAL_THROTTLE)  # fmt: skip
    assert said.startswith("gpu 3 is at ")
    assert "C: check its fans and inlet air on n," in said


def test_a_lowered_power_limit_is_told_from_what_to_what():
    low = both(capped, bent(980, gpu__power__limit=0.5), bent(990, gpu__clock__sm=0.5), bent(1010, **SLOW))
    assert step(Known(low), Cause.POWER_CAP).startswith("power limit of gpu 3 700 W -> 350 W: ")
    assert "nvidia-smi -i 3 -q -d POWER" in step(Known(low), Cause.POWER_CAP)


def test_an_xid_is_told_with_its_code_and_the_documented_action():
    text = "XID 79: the GPU has fallen off the bus; reboot the node"
    told = event(1000, "xid", gpu(0), text, "critical", code="79", group="hardware")
    said = step(Known(bent(1010, **SLOW), events=told), Cause.XID)
    assert said == "XID 79, as NVIDIA documents: reboot the node; send the work of gpu 3 elsewhere first"


def test_a_process_that_took_memory_is_named_for_an_engine_too():
    events = changed(900, "kv_blocks", "1000", "400")
    taken = ("gpu.process.memory", Entity.of(gpu="GPU-0", process="77001"), 4e9)
    bend = both(bent(880, gpu__processes=2.0), bent(1000, serving__kv_cache__usage=2.45, **QUEUE))
    said = step(Known(bend, events=events, adds=(taken,), since=890), Cause.KV_PRESSURE)
    assert said.startswith(
        "end or move process 77001 (python notebook, user ada), which holds 3.73 GiB, then restart chat-0"
    )


def test_an_engines_own_new_process_is_never_the_one_to_end():
    events = changed(900, "kv_blocks", "1000", "400")
    own = Link(engine(0), gpu(0), "pid", "pid 77001")
    taken = ("gpu.process.memory", Entity.of(gpu="GPU-0", process="77001"), 4e9)
    bend = both(bent(880, gpu__processes=2.0), bent(1000, serving__kv_cache__usage=2.45, **QUEUE))
    plant = Known(bend, events=events, adds=(taken,), since=890, facts=(*KNOWN, own))
    assert step(plant, Cause.KV_PRESSURE).startswith("find the other process with nvidia-smi")


def test_a_smaller_batch_is_told_with_the_one_before():
    waiting = bent(1000, serving__requests__waiting=30.0, **QUEUE)
    said = step(Known(waiting, events=changed(900, "max_num_seqs", "128", "16")), Cause.BATCH_LIMIT)
    assert said == "start chat-0 with max_num_seqs 128 again (now 16)"


def test_another_model_is_told_with_the_one_before():
    said = step(Known(bent(1000, **DECODE), events=changed(900, "model_root", "/m/a", "/m/b")), Cause.MODEL_VERSION)
    assert said == "roll chat-0 back to /m/a if /m/b is slower for each token at the same load"


def test_a_starved_host_is_named():
    busy = both(bent(985, host__cpu__utilization=3.2, host__cpu__run_queue=4.0), bent(1000, **DECODE))
    assert step(Known(busy), Cause.CPU_STARVATION).startswith("top and systemd-cgtop on n: ")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (KNOWN, "refused: see whether process 4711 still runs, and read the end of the log of chat-0"),
        ((*KNOWN, Fact(engine(0), "container", "a1b2c3d4e5f6" * 6)), "refused: docker logs --tail 100 a1b2c3d4e5f6 "),
        ((), "refused: read the end of the log of chat-0"),
    ],
)  # fmt: skip
def test_an_engine_that_is_gone_is_told_by_its_container_or_process(facts, said):
    assert step(Known(facts=facts, down={"chat-0": (1000, 1200)}), Cause.ENGINE_DOWN).startswith(said)


def test_what_the_kernel_killed_comes_before_all_else():
    killed = event(995, "oom", NODE, "the kernel killed 1 process for lack of memory")
    said = step(Known(events=killed, down={"chat-0": (1000, 1200)}), Cause.ENGINE_DOWN)
    assert said.startswith("the kernel killed 1 process for lack of memory: give chat-0 more memory")


def test_a_slow_replica_is_compared_with_its_peer_by_name():
    slow = lambda at, s, who: (  # noqa: E731
        2.5 if at >= 1000 and who == "chat-1" and s in ("serving.itl", "serving.decode_time") else 1.0
    )
    assert "of chat-1 with those of chat-0, then restart it" in step(Known(slow, engines=2), Cause.SLOW_REPLICA)


def fields(template):
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_step_can_be_filled_and_none_sends_anyone_to_layers_without_data():
    for rule in rules():
        assert fields(rule.next_step) <= {"who"}, rule.next_step
        for one in rule.known_steps:
            assert fields(one) <= details(), one
        for one in (rule.next_step, *rule.known_steps):
            assert "layers" not in one
            assert len(one) <= 170, one
    for row in (row for rows in symptoms().values() for row in rows):
        assert fields(row.next_step) <= {"place", "since"}
