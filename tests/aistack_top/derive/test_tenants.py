"""Tenants: the twenty that call most and the others, moment by moment, and what a sum over them leaves out."""

from collections import Counter

import pytest

from aistack_top import snapshot
from aistack_top.derive.tenants import GONE_S, MAX_TENANTS, TopTenants, shown_as
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Call, Health, ReadingsBuilder, Tick
from aistack_top.state import State
from aistack_top.store.frame import finished_only

START = 1_000_000.0


def call(number, end, tenant="", **more):
    told = {"model": "m", "tenant": tenant, "input_tokens": 100, "output_tokens": 10, **more}
    return Call(str(number), "t", "", "generation", "n", end - 1, end, end + 5, end + 5, **told)


def crowd(at, **counts):
    return [call(f"{name}-{n}", at, name) for name, count in counts.items() for n in range(count)]


def batch(at, rows=(), *, kind="vllm", layer="serving", **more):
    builder = ReadingsBuilder()
    for signal, entity, value in rows:
        builder.add(signal, entity, value)
    return Batch(at, at, Health(kind, kind, layer, "ok"), builder.build(), **more)


def traced(at, *calls):
    return batch(at, kind="langfuse", layer="tracing", calls=calls, calls_until=at)


def played(calls, seconds=120):
    """A state that learned of each call five seconds after its end."""
    state = State()
    for at in range(0, seconds + 1, 5):
        now = START + at
        new = [one for one in calls if now - 5 <= one.end + 5 < now]
        state.apply(Tick(now, now, (traced(now, *new),)))
    return state


def tenants(state, signal="calls.rate"):
    frame = state.frame()
    whose = [one for one in frame.entities(signal) if one.get("tenant")]
    return {one.get("tenant"): shown.sample.number for one in whose if (shown := frame.read(signal, one))}


def test_each_tenant_has_its_rate_latency_errors_tokens_and_cost():
    calls = [
        call(n, START + n / 2, "ab"[n % 4 == 0], cost=0.01, level="ERROR" if n % 8 == 0 else "") for n in range(240)
    ]
    state = played(calls)
    frame = state.frame()
    a, b = Entity.of(tenant="a"), Entity.of(tenant="b")
    assert tenants(state) == {"a": pytest.approx(1.5), "b": pytest.approx(0.5)}
    assert frame.read("calls.output_tokens.rate", b).sample.number == pytest.approx(5.0)
    assert frame.read("calls.input_tokens.rate", a).sample.number == pytest.approx(150.0)
    assert frame.read("calls.cost.rate", a).sample.number == pytest.approx(1.5 * 0.01 * 3600)
    assert frame.read("calls.latency", a, "p95").sample.number == pytest.approx(1.0)
    assert [frame.read("calls.errors", one).sample.number for one in (a, b)] == [0.0, pytest.approx(0.5)]


def test_of_a_crowd_twenty_are_named_and_their_sum_is_the_services():
    calls = [call(f"{n}-{m}", START + 1 + m * 5, f"u-{n:02}") for n in range(60) for m in range(24)]
    calls += [call(f"nobody-{m}", START + 1 + m * 5) for m in range(24)]
    state = played(calls)
    rates = tenants(state)
    assert len(rates) == MAX_TENANTS + 2
    assert rates["other"] == pytest.approx(40 * 12 / 60)
    assert rates["none"] == pytest.approx(12 / 60)
    assert sum(rates.values()) == pytest.approx(state.frame().read("calls.rate").sample.number)


def test_where_no_call_names_a_tenant_there_is_no_line_called_none():
    assert tenants(played([call(n, START + n) for n in range(100)])) == {}


def test_a_name_is_kept_while_its_tenant_calls_and_given_away_when_it_is_gone():
    roster = TopTenants()
    first = {f"t{n:02}": 1 for n in range(MAX_TENANTS)}
    roster.update(START, crowd(START, **first))
    # 1 of 30 calls is not much, so the newcomer waits, however often the order of the others changes
    named = roster.update(START + 5, crowd(START, **{name: 1 + n % 3 for n, name in enumerate(first)}, late=1))
    assert named == frozenset(first)
    named = roster.update(START + GONE_S + 10, crowd(START, **dict(list(first.items())[1:]), late=1))
    assert "late" in named
    assert "t00" not in named


def test_a_newcomer_with_much_of_the_calls_gets_the_name_of_the_least():
    roster = TopTenants()
    many = {f"t{n:02}": 10 for n in range(1, MAX_TENANTS)}
    roster.update(START, crowd(START, t00=4, **many))
    named = roster.update(START + 5, crowd(START, t00=4, big=40, **many))
    assert named == frozenset([*many, "big"])
    assert roster.names_at(START) == frozenset([*many, "t00"])
    assert shown_as("t00", named) == "other"


def test_a_call_that_comes_late_is_counted_under_its_name_where_it_belongs():
    state = played([call(n, START + n, "a") for n in range(100)])
    late = [call(f"late-{n}", START + 50, "b") for n in range(6)]
    state.apply(Tick(START + 125, START + 125, (traced(START + 125, *late),)))
    there = state.frame(START + 60)
    assert there.read("calls.rate", Entity.of(tenant="b")).sample.number == pytest.approx(0.1)
    assert there.read("calls.rate", SERVICE).sample.number == pytest.approx(1.1)
    names = Counter(one.get("tenant") for one in there.entities("calls.rate"))
    assert "other" not in names


def test_what_waits_belongs_to_nobody_and_is_said():
    state = played([call(n, START + n, "a") for n in range(120)])
    assert finished_only(state.frame()) == "finished calls only"
    waiting = [("serving.requests.waiting", Entity.of(engine=f"vllm-{n}"), number) for n, number in ((0, 100), (1, 17))]
    state.apply(Tick(START + 121, START + 121, (batch(START + 121, waiting),)))
    assert finished_only(state.frame()) == "finished calls only; 117 waiting not attributed"
    assert "by tenant: finished calls only; 117 waiting not attributed" in snapshot.text(state.frame(), "node")
