"""What must hold in any run, held against one healthy run and one that is overloaded and loses an engine."""

from collections import Counter
from itertools import pairwise

import pytest

from aistack_top.simulator.enginemetrics import EngineMetrics
from aistack_top.simulator.histogram import Histogram
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.request import Outcome, Request
from aistack_top.simulator.scenario import nodes

COUNTERS = (
    "preemptions",
    "prompt_tokens",
    "prompt_tokens_cached",
    "generation_tokens",
    "prefix_queries",
    "prefix_hits",
    "admission_rejections",
)


class Watched:
    """A node played to its end, with what was seen on the way."""

    def __init__(self, node, until, happen=None):
        self.node = node
        self.ends: list[Request] = []
        self.sent: list[Request] = []
        ended, send = node.gateway.on_end, node.traffic.send

        def on_end(request, now):
            self.ends.append(request)
            ended(request, now)

        def on_send(request, now):
            self.sent.append(request)
            send(request, now)

        node.gateway.on_end, node.traffic.send = on_end, on_send
        self.counters = []
        self.balance = []
        self.in_flight = []
        while node.now < until:
            node.advance(node.now + 2.0)
            if happen and node.now in happen:
                happen[node.now](node)
            self.look()

    def look(self):
        node = self.node
        for engine in node.engines:
            kv = engine.batch.kv
            held = sum(
                request.blocks if request.number in engine.batch.prefilling else engine.batch._private(request)
                for request in engine.batch.running.values()
            )
            self.balance.append(
                (kv.private + kv.shared + kv.idle + kv.balance(), kv.total, kv.private, held, kv.balance())
            )
        self.counters.append([(engine.restarts, counts(engine.metrics)) for engine in node.engines])
        self.in_flight.append(node.gateway.in_flight)


def counts(metrics: EngineMetrics):
    numbers = [getattr(metrics, name) for name in COUNTERS] + list(metrics.finished.values())
    for name in metrics.__slots__:
        value = getattr(metrics, name)
        if isinstance(value, Histogram):
            numbers += [*value.counts, value.total]
    return numbers


@pytest.fixture(scope="module")
def healthy():
    return Watched(SimulatedNode(nodes()["pair"], seed=7, band=0.5), 600.0)


@pytest.fixture(scope="module")
def overloaded():
    return Watched(
        SimulatedNode(nodes()["pair"], seed=3, band=1.25),
        420.0,
        {200.0: lambda node: node.restart(node.engines[0], after=5.0), 320.0: lambda node: node.kill(node.engines[1])},
    )


@pytest.fixture(params=["healthy", "overloaded"])
def run(request):
    return request.getfixturevalue(request.param)


def test_the_overload_is_one(overloaded):
    metrics = [engine.metrics for engine in overloaded.node.engines]
    assert overloaded.node.engines[0].restarts == 1
    assert sum(one.preemptions for one in metrics) > 10
    assert overloaded.node.gateway.retries > 50


def test_every_request_ends_once_or_is_still_there(run):
    ends = Counter(request.number for request in run.ends)
    assert set(ends.values()) == {1}
    assert len(run.sent) == run.node.gateway.received
    pending = [request for request in run.sent if request.outcome is Outcome.PENDING]
    assert len(pending) == run.node.gateway.in_flight
    assert not {request.number for request in pending} & set(ends)


def test_blocks_are_conserved_and_are_those_of_the_running_requests(run):
    for together, total, private, held, empty in run.balance:
        assert together == total
        assert private == held
        assert empty >= 0


def test_counters_fall_at_a_restart_only(run):
    for before, after in pairwise(run.counters):
        for (restarts, old), (again, new) in zip(before, after, strict=True):
            if restarts == again:
                assert all(b <= a for b, a in zip(old, new, strict=True))


def test_parts_of_a_request_come_in_their_order(run):
    for request in run.ends:
        if request.outcome is not Outcome.OK:
            continue
        times = [request.arrived, request.input_checked]
        times += [request.retrieved] if request.retrieves else []
        times += [request.queued, request.scheduled, request.first_token, request.last_token, request.ended]
        assert times == sorted(times)
        assert request.generated == request.output_tokens


def test_tokens_are_those_of_the_requests(healthy):
    """What the engines count is what finished requests got, and what running ones have so far."""
    node = healthy.node
    counted = sum(engine.metrics.generation_tokens for engine in node.engines)
    given = sum(request.generated for request in healthy.ends)
    running = [request for engine in node.engines for request in engine.batch.requests()]
    assert given <= counted <= given + sum(request.output_tokens for request in running + waiting_for_the_rail(healthy))


def waiting_for_the_rail(run):
    return [request for request in run.sent if request.outcome is Outcome.PENDING and request.generated]


def test_no_more_tokens_than_the_memory_can_read_weights_for(run):
    """An iteration gives a sequence one token and takes at least the time to read the weights."""
    for engine in run.node.engines:
        fastest = engine.pace.weights
        most = engine.config.max_num_seqs * (run.node.now - engine.started) / fastest
        assert 0 < engine.metrics.generation_tokens < most
        assert engine.metrics.itl.mean > fastest


def test_littles_law(healthy):
    """Requests in flight are arrivals a second times the mean stay; the ends of the run blur it a little."""
    stays = [request.ended - request.arrived for request in healthy.ends if request.ended > 120.0]
    level = healthy.in_flight[60:]
    rate = len(stays) / (healthy.node.now - 120.0)
    assert sum(level) / len(level) == pytest.approx(rate * sum(stays) / len(stays), rel=0.10)


def test_clients_in_conversation_wait_for_their_answer(healthy):
    talks: dict[str, list[Request]] = {}
    for request in healthy.sent:
        if request.session_key:
            talks.setdefault(request.user, []).append(request)
    assert max(map(len, talks.values())) >= 6
    for turns in talks.values():
        for before, after in pairwise(turns):
            assert before.ended is not None
            assert before.ended < after.arrived


def test_a_later_turn_finds_the_earlier_ones_cached(healthy):
    later = [request for request in healthy.ends if request.turn > 2 and request.outcome is Outcome.OK]
    assert len(later) > 20
    assert sum(request.cached_tokens > request.prefix_tokens for request in later) > 0.3 * len(later)


def test_time_before_the_engine_is_not_in_its_ttft(healthy):
    calls = [request for request in healthy.ends if request.outcome is Outcome.OK and request.retrieves]
    engines = sum(engine.metrics.ttft.total for engine in healthy.node.engines)
    assert sum(request.first_token - request.arrived for request in calls) > sum(
        request.first_token - request.queued for request in calls
    )
    seen = sum(request.first_token - request.queued for request in healthy.sent if request.first_token)
    assert engines == pytest.approx(seen, rel=0.02)


def test_same_seed_same_run():
    def play(seed):
        node = SimulatedNode(nodes()["pair"], seed=seed, band=0.6)
        node.advance(90.0)
        return (
            [counts(engine.metrics) for engine in node.engines],
            [gpu.energy for gpu in node.gpus],
            node.host.load_average,
        )

    assert play(5) == play(5)
    assert play(5) != play(6)


def test_how_a_run_is_cut_into_steps_does_not_matter():
    once, often = (SimulatedNode(nodes()["pair"], seed=5, band=0.6) for _ in range(2))
    once.advance(60.0)
    for tenth in range(1, 601):
        often.advance(tenth / 10)
    assert counts(once.engines[0].metrics) == counts(often.engines[0].metrics)
