"""What fails instead of being slow: errors, refusals, hang-ups, engines that are dead or called back."""

from dataclasses import replace

import pytest

from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Health, ReadingsBuilder
from tests.aistack_top.diagnosis.fake_node import START, Plant, bent, engine, only, watch
from tests.aistack_top.diagnosis.test_detector import event

PAGE = Health("page", "vllm", "serving", "ok", interval_s=2.0)


class Failing(Plant):
    """An engine whose page says more than usual of some signals from ``since`` on, and 0 before."""

    def __init__(self, since, *args, until=10_000, **values):
        super().__init__(*args)
        self.since, self.until = since, until
        self.values = {name.replace("__", "."): value for name, value in values.items()}

    def ticks(self, seconds, start=0):
        for tick in super().ticks(seconds, start):
            builder = ReadingsBuilder()
            bad = self.since <= tick.at - START < self.until
            for signal, value in self.values.items():
                builder.add(signal, engine(0), value if bad else 0.0)
            yield replace(tick, batches=(*tick.batches, Batch(tick.at, tick.at, PAGE, builder.build())))


def test_failed_requests_are_an_incident_at_a_rate_that_is_small_beside_the_traffic():
    found = only(watch(Failing(1000, serving__http__failed=0.3, serving__http__server_errors=0.01)))
    assert found.symptom.signal == "serving.http.failed"
    assert found.detected - START <= 1090
    assert found.verdict.next_step.startswith("read the log of chat-0")
    assert "5xx" in found.verdict.next_step


def test_one_failed_request_a_minute_is_none():
    assert watch(Failing(1000, serving__http__failed=1 / 60, serving__http__server_errors=0.3)) == {}


def test_a_share_of_server_errors_is_an_incident_and_names_the_share():
    found = only(watch(Failing(1000, serving__http__failed=0.4, serving__http__server_errors=0.2)))
    assert found.symptom.signal == "serving.http.server_errors"
    assert "server errors of chat-0 now 20 %" in found.verdict.what


def test_clients_that_hang_up_are_an_incident_and_the_step_is_their_time_out():
    found = only(watch(Failing(1000, serving__requests__hung_up=1.0)))
    assert found.symptom.signal == "serving.requests.hung_up"
    assert "time-out" in found.verdict.next_step


def test_one_client_that_hangs_up_now_and_then_is_none():
    assert watch(Failing(1000, serving__requests__hung_up=0.1)) == {}


@pytest.mark.parametrize("signal", ["serving__requests__rejected", "serving__http__failed"])
def test_a_queue_and_refusals_are_possible_overload_even_without_a_baseline(signal):
    busy = bent(0, serving__requests__waiting=40.0, serving__kv_cache__usage=2.3)
    found = only(watch(Failing(0, busy, **{signal: 3.0}), 150))
    assert (found.cause, found.confidence) == (Cause.OVERLOAD, "possible")


def dead(second=1000, severity="critical"):
    text = "the engine of chat-0 is dead: /health answers 503, its API server lives on"
    return event(second, "dead", engine(0), text, severity)


def test_a_dead_engine_is_told_at_once_in_its_own_words():
    plant = Failing(1000, until=1300, serving__engine__dead=1.0)
    plant.events = {**dead(), **dead(1300, "info")}
    (versions,) = watch(plant).values()
    first, last = versions[0], versions[-1]
    assert (first.cause, first.confidence, first.layer) == (Cause.ENGINE_DOWN, "confirmed", "serving")
    assert first.detected - START <= 1005
    assert first.verdict.what.startswith("chat-0: engine dead, since ")
    assert first.verdict.next_step.startswith("restart chat-0")
    assert abs(last.end - START - 1300) <= 30


def test_a_dead_engine_whose_server_dies_too_stays_one_incident_until_it_is_back():
    plant = Failing(1000, until=1100, serving__engine__dead=1.0)
    plant.down = {"chat-0": (1000, 1400)}
    plant.events = dead()
    found = only(watch(plant, 1600))
    assert found.cause is Cause.ENGINE_DOWN
    assert abs(found.end - START - 1400) <= 30


def test_a_dead_engine_beside_a_replica_ends_when_its_engine_is_back():
    plant = Failing(1000, until=1060, serving__engine__dead=1.0)
    plant.engines, plant.events = 2, dead()
    found = only(watch(plant))
    assert found.symptom.entity == Entity.of(engine="chat-0")
    assert found.end - START <= 1100
