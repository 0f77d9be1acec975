"""``spend.*`` through `State`: from GPUs, engines, calls and prices to dollars, live and again on replay."""

from array import array

import pytest

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Call, Fact, Health, History, Link, ReadingsBuilder, Tick
from aistack_top.spend.prices import ANY_GPU, Prices, TokenPrice, facts_of, from_list
from aistack_top.spend.unknown import why_unknown
from aistack_top.state import State

MIDNIGHT = 1_700_006_400.0
"""15 November 2023, 00:00 UTC; November has 720 hours."""

START = MIDNIGHT + 12 * 3600
GPUS = (Entity.of(gpu="GPU-0"), Entity.of(gpu="GPU-1"))
ENGINE = Entity.of(engine="vllm-8000")
H100 = "NVIDIA H100 80GB HBM3"
LIST = Prices(gpus=from_list("seed-2026-06")[1], title="list")
MODEL = "org/model"
MANAGED = {MODEL: TokenPrice(3.5, 3.5)}


def batch(at, rows=(), *, kind="nvml", layer="compute", **more):
    builder = ReadingsBuilder()
    for signal, entity, value in rows:
        builder.add(signal, entity, value)
    return Batch(at, at, Health(kind, kind, layer, "ok"), builder.build(), **more)


def prices_batch(prices=LIST, managed=MANAGED):
    return batch(START, kind="prices", layer="spend", facts=facts_of(prices, managed))


def names_batch():
    facts = [Fact(gpu, "name", H100) for gpu in GPUS] + [Fact(ENGINE, "model", MODEL)]
    links = tuple(Link(ENGINE, gpu, "pid") for gpu in GPUS)
    return batch(START, kind="link", facts=tuple(facts), links=links)


def gpu_batch(at, busy=(0.9, 0.9)):
    return batch(at, [("gpu.utilization", gpu, share) for gpu, share in zip(GPUS, busy, strict=False)])


def engine_batch(at, generated=1000.0, prompts=3000.0, running=4.0, engine=ENGINE):
    rows = [
        ("serving.generation_tokens.rate", engine, generated),
        ("serving.prompt_tokens.rate", engine, prompts),
        ("serving.requests.running", engine, running),
    ]
    return batch(at, rows, kind="vllm", layer="serving")


def call(number, end, *, model=MODEL, tenant="", tokens=100, cost=None):
    return Call(
        str(number), "t", "", "generation", "n", end - 1, end, end, end,
        model=model, tenant=tenant, output_tokens=tokens, cost=cost,
    )  # fmt: skip


def calls_batch(at, *calls):
    return batch(at, kind="langfuse", layer="tracing", calls=calls, calls_until=at)


def play(state, seconds, *makers, start=START, every=5):
    for at in range(0, seconds + 1, every):
        moment = start + at
        state.apply(Tick(moment, moment, tuple(make(moment) for make in makers)))
    return state


def begun(prices=LIST, managed=MANAGED):
    state = State()
    state.apply(Tick(START, START, (prices_batch(prices, managed), names_batch())))
    return state


def value(state, signal, entity=SERVICE):
    shown = state.frame().read(signal, entity)
    return None if shown is None else shown.sample.value


def test_a_node_of_two_h100_on_the_list():
    state = play(begun(), 120, gpu_batch, engine_batch)
    assert value(state, "spend.node.rate") == pytest.approx(2 * 5.01)
    assert value(state, "spend.rate") == pytest.approx(10.02)
    assert value(state, "spend.rate", GPUS[0]) == pytest.approx(5.01)
    assert value(state, "spend.month_projected") == pytest.approx(10.02 * 720)
    assert value(state, "spend.idle.rate") == 0.0
    # 1000 generated tokens a second are 3.6 million an hour
    assert value(state, "spend.per_million_tokens") == pytest.approx(10.02 / 3.6, rel=1e-6)
    assert value(state, "spend.per_million_tokens", Entity.of(model=MODEL)) == pytest.approx(10.02 / 3.6, rel=1e-6)
    # 4000 tokens a second at $3.50 a million
    assert value(state, "spend.managed_equivalent.rate") == pytest.approx(4000 * 3600 / 1e6 * 3.5)
    assert value(state, "spend.break_even_tokens_per_day") == pytest.approx(10.02 * 24 / 3.5e-6, rel=1e-6)
    assert value(state, "spend.list.rate", Entity.of(reason="on_demand")) == pytest.approx(10.02)
    assert value(state, "spend.list.rate", Entity.of(reason="spot")) == pytest.approx(5.82)
    assert state.source_of("spend.rate", SERVICE) == "derived"


def test_a_model_under_a_name_of_ones_own_has_the_price_of_the_model_behind_it():
    state = begun(managed={"meta/big": TokenPrice(3.5, 3.5)})
    play(state, 60, gpu_batch, engine_batch)
    assert value(state, "spend.managed_equivalent.rate") is None
    state.apply(Tick(START + 65, START + 65, (batch(START + 65, facts=(Fact(ENGINE, "model_root", "meta/big"),)),)))
    play(state, 60, gpu_batch, engine_batch, start=START + 65)
    assert value(state, "spend.managed_equivalent.rate", Entity.of(model=MODEL)) == pytest.approx(50.4)
    assert value(state, "spend.break_even_tokens_per_day") == pytest.approx(10.02 * 24 / 3.5e-6, rel=1e-6)


def test_without_a_price_there_are_no_dollars():
    state = play(begun(Prices(), {}), 60, gpu_batch, engine_batch)
    told = {key[0] for key in state.timeline if key[0].startswith("spend.")}
    assert told == set()


def test_a_gpu_cut_in_mig_instances_is_paid_for_once_and_as_busy_as_the_busiest():
    def cut(shares):
        def make(at):
            builder = ReadingsBuilder()
            builder.add("gpu.utilization", GPUS[0], 0.9)
            for number, share in enumerate(shares, 1):
                builder.add("gpu.sm.active", GPUS[1].with_(mig=str(number)), share)
                builder.add("gpu.utilization", GPUS[1].with_(mig=str(number)), share)
            return Batch(at, at, Health("dcgm", "dcgm", "compute", "ok"), builder.build())

        return make

    for shares, idle in (((0.0, 0.97), 0.0), ((0.0, 0.01), 5.01)):
        state = play(begun(), 60, cut(shares), lambda at: engine_batch(at, running=0.0))
        assert value(state, "spend.node.rate") == pytest.approx(2 * 5.01)
        assert value(state, "spend.rate", GPUS[1]) == pytest.approx(5.01)
        assert value(state, "spend.idle.rate") == pytest.approx(idle)


def test_a_gpu_that_is_not_on_the_list_makes_the_node_unknown_and_not_cheaper():
    state = begun()
    state.apply(Tick(START, START, (batch(START, facts=(Fact(GPUS[1], "name", "NVIDIA Tomorrow"),)),)))
    play(state, 60, gpu_batch, engine_batch)
    assert value(state, "spend.rate", GPUS[0]) == pytest.approx(5.01)
    assert value(state, "spend.rate", GPUS[1]) is None
    assert value(state, "spend.rate") is None
    assert value(state, "spend.per_million_tokens") is None
    assert value(state, "spend.break_even_tokens_per_day") is None


def test_today_is_what_was_seen_and_says_how_much_of_the_day_that_is():
    state = play(begun(), 600, gpu_batch)
    # derived up to five seconds before the last tick, from the first point at which the GPUs had answered
    assert value(state, "spend.today") == pytest.approx(10.02 * 590 / 3600, rel=0.01)
    assert value(state, "spend.today.covered") == pytest.approx(590 / (12 * 3600 + 595), rel=0.02)


def test_idle_burn_is_the_price_of_gpus_on_which_nothing_runs():
    state = play(begun(), 60, lambda at: gpu_batch(at, (0.0, 0.0)), lambda at: engine_batch(at, 0.0, 0.0, 0.0))
    assert value(state, "spend.idle.rate") == pytest.approx(10.02)
    assert value(state, "spend.per_million_tokens") is None
    state = play(begun(), 60, lambda at: gpu_batch(at, (0.5, 0.0)), lambda at: engine_batch(at, 0.0, 0.0, 0.0))
    assert value(state, "spend.idle.rate") == pytest.approx(5.01)


def test_only_gpus_in_use_count_where_only_these_are_paid_for():
    prices = Prices(gpus={ANY_GPU: {"on_demand": 2.0}}, allocated="used")
    state = State()
    one = batch(START, kind="link", links=(Link(ENGINE, GPUS[0], "pid"),))
    state.apply(Tick(START, START, (prices_batch(prices), one)))

    def told(at):
        return batch(at, [("gpu.processes", gpu, 0.0) for gpu in GPUS])

    play(state, 60, gpu_batch, told)
    assert value(state, "spend.rate") == pytest.approx(2.0)
    assert value(state, "spend.rate", GPUS[1]) is None


def test_a_node_with_a_price_of_its_own_needs_no_gpu_but_must_be_there():
    prices = Prices(node_hour=6.0)
    state = play(begun(prices), 60, lambda at: batch(at, [("host.cpu.utilization", SERVICE, 0.1)], kind="host"))
    assert value(state, "spend.rate") == pytest.approx(6.0)
    state = play(begun(prices), 60, engine_batch)
    assert value(state, "spend.rate") is None


def test_tenants_share_what_their_model_holds_by_their_tokens_and_the_rest_is_nobodys():
    state = begun()
    spent = [call(n, START + n, tenant="a" if n % 4 else "b", tokens=200) for n in range(1, 161)]
    play(state, 120, gpu_batch, engine_batch)
    play(state, 20, gpu_batch, engine_batch, lambda now: calls_batch(now, *spent), start=START + 125)
    shares = {e.get("tenant"): value(state, "spend.share.rate", e) for e in state.frame().entities("spend.share.rate")}
    # a minute of 60 calls of 200 tokens is 200 of the 1000 tokens a second that the engine generated
    node = 10.02
    assert shares["a"] == pytest.approx(node * 0.2 * 0.75, rel=0.03)
    assert shares["b"] == pytest.approx(node * 0.2 * 0.25, rel=0.07)
    assert value(state, "spend.held.rate", Entity.of(model=MODEL)) == pytest.approx(node)
    assert value(state, "spend.unattributed.rate") == pytest.approx(node * 0.8, rel=0.03)


def test_who_stops_calling_has_no_share_any_more():
    state = begun()

    def calls(at):
        who = "a" if at < START + 100 else "b"
        return calls_batch(at, call(at, at - 1, model=f"gpt-{who}", tenant=who, cost=0.01))

    play(state, 200, gpu_batch, engine_batch, calls)
    for signal, key in (("spend.managed.rate", "model"), ("spend.share.rate", "tenant")):
        told = [e for e in state.frame().entities(signal) if e.get(key)]
        shares = {e.get(key)[-1]: value(state, signal, e) for e in told}
        assert shares == {"a": 0.0, "b": pytest.approx(7.2)}


def test_managed_calls_come_on_top_and_those_served_here_do_not():
    state = begun()
    makers = [gpu_batch, engine_batch]

    def calls(at):
        n = round(at)
        return calls_batch(
            at,
            call(f"m{n}", at - 1, model="gpt", cost=0.01, tenant="a"),
            call(f"o{n}", at - 1, model=MODEL, cost=0.5, tenant="a"),
            call(f"p{n}", at - 1, model="hosted_vllm/" + MODEL, cost=0.5, tenant="a"),
        )

    play(state, 300, *makers, calls)
    # a cent every five seconds
    assert value(state, "spend.managed.rate") == pytest.approx(7.2)
    assert value(state, "spend.managed.rate", Entity.of(model="gpt")) == pytest.approx(7.2)
    assert value(state, "spend.rate") == pytest.approx(10.02 + 7.2)
    assert value(state, "spend.node.rate") == pytest.approx(10.02)


def test_what_a_proxy_says_goes_before_what_traces_cost_and_is_never_added():
    state = begun()

    def proxy(at):
        rows = [
            ("spend.proxy.rate", Entity.of(model=m), usd) for m, usd in (("gpt", 5.0), ("hosted_vllm/" + MODEL, 9.0))
        ]
        return batch(at, rows, kind="litellm", layer="governance")

    play(
        state, 300, gpu_batch, engine_batch, proxy, lambda at: calls_batch(at, call(at, at - 1, model="gpt", cost=0.01))
    )
    assert value(state, "spend.managed.rate") == pytest.approx(5.0)
    assert value(state, "spend.rate") == pytest.approx(15.02)


def test_two_proxies_without_any_traces_are_added():
    def proxies(at):
        rows = [
            ("spend.proxy.rate", Entity.of(source=f"litellm-{n}", model="gpt"), usd) for n, usd in ((1, 5.0), (2, 2.0))
        ]
        return batch(at, rows, kind="litellm", layer="governance")

    state = play(begun(), 120, gpu_batch, engine_batch, proxies)
    assert value(state, "spend.managed.rate") == pytest.approx(7.0)
    assert value(state, "spend.managed.rate", Entity.of(model="gpt")) == pytest.approx(7.0)
    assert value(state, "spend.rate") == pytest.approx(17.02)


def test_engines_elsewhere_do_not_make_this_nodes_tokens_cheaper():
    far = Entity.of(engine="10.0.0.9:8000")
    state = play(begun(), 60, gpu_batch, engine_batch, lambda at: engine_batch(at, 9000.0, engine=far))
    assert value(state, "spend.per_million_tokens") == pytest.approx(10.02 / 3.6, rel=1e-6)


def test_an_engine_that_falls_silent_makes_the_price_of_tokens_unknown():
    state = play(begun(), 60, gpu_batch, engine_batch)
    play(state, 120, gpu_batch, start=START + 65)
    assert value(state, "spend.per_million_tokens") is None
    assert value(state, "spend.rate") == pytest.approx(10.02)


def test_a_replay_that_jumps_says_the_same_as_one_that_plays():
    played = play(begun(), 300, gpu_batch, engine_batch)
    columns = {
        key: array("f", list(played.timeline.window(key, START, START + 301)))
        for key in played.timeline
        if not key[0].startswith(("spend.", "calls."))
    }
    jumped = State()
    history = History(START, 1.0, columns, batches=(prices_batch(), names_batch()))
    jumped.apply(Tick(START + 300, START + 300, history=history, reset=True))
    for key in played.timeline:
        if key[0].startswith("spend."):
            there = [
                jumped.timeline.window(key, START + 10, START + 296),
                played.timeline.window(key, START + 10, START + 296),
            ]
            now, then = ([round(v, 4) for v in window if v == v] for window in there)
            assert now == then, key


def test_a_watch_for_incidents_spends_nothing_on_dollars():
    state = State(spend=False)
    state.apply(Tick(START, START, (prices_batch(), names_batch())))
    play(state, 60, gpu_batch, engine_batch)
    assert not [key for key in state.timeline if key[0].startswith("spend.")]


def joined(*links, facts=(), at=START):
    return batch(at, kind="link", facts=tuple(facts), links=tuple(links))


def four_gpus(*busy):
    gpus = [Entity.of(gpu=f"GPU-{n}") for n in range(4)]

    def told(at):
        return batch(at, [("gpu.utilization", gpu, share) for gpu, share in zip(gpus, busy, strict=True)])

    return gpus, told


def held(state):
    return {e.pairs[0][1]: value(state, "spend.held.rate", e) for e in state.frame().entities("spend.held.rate")}


def test_a_model_pays_for_the_gpus_its_engines_hold_and_not_for_those_of_others():
    gpus, told = four_gpus(0.9, 0.9, 0.9, 0.0)
    big, small = Entity.of(engine="big-0"), Entity.of(engine="small-0")
    state = State()
    names = [*(Fact(gpu, "name", H100) for gpu in gpus), Fact(big, "model", "big"), Fact(small, "model", "small")]
    links = [Link(big, gpus[0], "pid"), Link(big, gpus[1], "pid"), Link(small, gpus[2], "pid")]
    state.apply(Tick(START, START, (prices_batch(), joined(*links, facts=names))))
    slow = lambda at: engine_batch(at, 100.0, engine=big)  # noqa: E731
    fast = lambda at: engine_batch(at, 10_000.0, engine=small)  # noqa: E731
    one = [call(n, START + n, model="big" if n % 2 else "small", tenant="ab"[n % 2], tokens=100) for n in range(160)]
    play(state, 140, told, slow, fast, lambda at: calls_batch(at, *one))
    assert held(state) == pytest.approx({"big": 10.02, "small": 5.01, "idle": 5.01})
    assert value(state, "spend.per_million_tokens", Entity.of(model="big")) == pytest.approx(10.02 / 0.36, rel=1e-5)
    assert value(state, "spend.per_million_tokens", Entity.of(model="small")) == pytest.approx(5.01 / 36, rel=1e-5)
    shares = {e.get("tenant"): value(state, "spend.share.rate", e) for e in state.frame().entities("spend.share.rate")}
    # 50 tokens a second each: half of what the large model generates, 1/200 of what the small one does
    assert shares == {"a": pytest.approx(5.01 / 200, rel=0.05), "b": pytest.approx(10.02 / 2, rel=0.05)}
    assert value(state, "spend.unattributed.rate") + sum(shares.values()) == pytest.approx(20.04, rel=1e-5)


def test_training_and_gpus_without_a_holder_and_with_several_models_have_rows_of_their_own():
    gpus, told = four_gpus(0.9, 0.9, 0.9, 0.0)
    big, small = Entity.of(engine="big-0"), Entity.of(engine="small-0")

    def jobs(at):
        rows = [("training.gpu.utilization", Entity.of(source="ray", gpu=f"GPU-{n}"), 0.9) for n in (1, 2)]
        processes = [("gpu.processes", gpus[1], 1.0), ("gpu.processes", gpus[2], 0.0)]
        return batch(at, [*rows, *processes, ("training.gpus.used", Entity.of(source="ray"), 1.0)], kind="ray")

    state = State()
    links = [Link(big, gpus[0], "pid"), Link(small, Entity.of(gpu="GPU-0", mig="1"), "pid")]
    names = [*(Fact(gpu, "name", H100) for gpu in gpus), Fact(big, "model", "big"), Fact(small, "model", "small")]
    state.apply(Tick(START, START, (prices_batch(), joined(*links, facts=names))))
    play(state, 60, told, jobs, lambda at: engine_batch(at, engine=big), lambda at: engine_batch(at, engine=small))
    rows = {"several models": 5.01, "training": 5.01, "no known holder": 5.01, "idle": 5.01}
    assert held(state) == pytest.approx(rows)
    # what a model costs that shares a GPU is not known
    assert value(state, "spend.per_million_tokens", Entity.of(model="big")) is None
    assert value(state, "spend.tokens.rate", Entity.of(model="big")) == pytest.approx(1000.0)


def test_idle_gpus_of_a_model_are_charged_to_nobody():
    gpus, told = four_gpus(0.9, 0.0, 0.0, 0.0)
    state = State()
    engines = [Entity.of(engine=f"vllm-{n}") for n in range(2)]
    names = [Fact(gpu, "name", H100) for gpu in gpus] + [Fact(one, "model", MODEL) for one in engines]
    links = [Link(engines[n // 2], gpus[n], "pid") for n in range(4)]
    state.apply(Tick(START, START, (prices_batch(), joined(*links, facts=names))))
    busy = lambda at: engine_batch(at, 100.0, engine=engines[0])  # noqa: E731
    idle = lambda at: engine_batch(at, 0.0, running=0.0, engine=engines[1])  # noqa: E731
    calls = [call(n, START + n, tenant="a", tokens=200) for n in range(160)]
    play(state, 140, told, busy, idle, lambda at: calls_batch(at, *calls))
    # all that is generated is accounted for by calls, and yet two of four GPUs do nothing
    assert value(state, "spend.share.rate", Entity.of(tenant="a")) == pytest.approx(10.02)
    assert value(state, "spend.idle.rate", Entity.of(model=MODEL)) == pytest.approx(10.02)
    assert value(state, "spend.unattributed.rate") == pytest.approx(10.02)
    assert value(state, "spend.held.rate", Entity.of(model=MODEL)) == pytest.approx(20.04)


def test_calls_by_an_alias_or_an_adapter_are_calls_of_the_model_behind_it():
    state = begun()
    state.apply(Tick(START, START, (batch(START, facts=(Fact(ENGINE, "loras", "mobile-v3, email-v1"),)),)))
    spent = [call(n, START + n, model="hosted_vllm/Mobile-v3", tenant="a", tokens=1000) for n in range(160)]
    play(state, 140, gpu_batch, engine_batch, lambda at: calls_batch(at, *spent))
    assert value(state, "spend.share.rate", Entity.of(tenant="a")) == pytest.approx(10.02)


def test_tenants_are_listed_beside_a_proxy_and_what_only_the_proxy_knows_is_of_none():
    def proxy(at):
        rows = [("spend.proxy.rate", Entity.of(model=model), usd) for model, usd in (("gpt", 2.0), (MODEL, 0.0))]
        return batch(at, rows, kind="litellm", layer="governance")

    state = begun()
    spent = [call(n, START + n, tenant="a", tokens=500) for n in range(160)]
    play(state, 140, gpu_batch, engine_batch, proxy, lambda at: calls_batch(at, *spent))
    shares = {e.get("tenant"): value(state, "spend.share.rate", e) for e in state.frame().entities("spend.share.rate")}
    assert shares == {"a": pytest.approx(5.01), "none": pytest.approx(2.0)}


def test_a_priced_node_of_which_no_gpu_answers_is_unknown_and_never_zero():
    def proxy(at):
        return batch(at, [("spend.proxy.rate", Entity.of(model="gpt"), 0.0)], kind="litellm", layer="governance")

    state = play(begun(), 120, engine_batch, proxy, lambda at: calls_batch(at, call(at, at - 1, tenant="a")))
    for signal in ("spend.rate", "spend.node.rate", "spend.today", "spend.month_projected", "spend.idle.rate"):
        assert value(state, signal) is None
    assert not state.frame().entities("spend.held.rate")
    assert not state.frame().entities("spend.share.rate")
    assert value(state, "spend.managed.rate") == 0.0


def test_without_a_price_the_tenants_still_have_their_managed_calls():
    state = begun(Prices(), {})
    play(state, 200, lambda at: calls_batch(at, call(at, at - 1, model="gpt", tenant="a", cost=0.01)))
    assert value(state, "spend.share.rate", Entity.of(tenant="a")) == pytest.approx(7.2)
    assert value(state, "spend.rate") == pytest.approx(7.2)


def test_why_dollars_are_not_known_is_said():
    assert why_unknown(play(begun(Prices(), {}), 60, gpu_batch).frame()) == "$/h not set"
    assert why_unknown(play(begun(), 60, engine_batch).frame()) == "unknown: no GPU source answers"
    died = play(play(begun(), 60, gpu_batch), 90, engine_batch, start=START + 65)
    assert value(died, "spend.rate") is None
    assert why_unknown(died.frame()) == "unknown: no GPU source answers"
    other = begun()
    other.apply(Tick(START, START, (batch(START, facts=(Fact(GPUS[1], "name", "NVIDIA Tomorrow"),)),)))
    assert why_unknown(play(other, 60, gpu_batch).frame()) == "unknown: no price for NVIDIA Tomorrow"
    assert why_unknown(play(begun(Prices(node_hour=6.0)), 60, engine_batch).frame()) == (
        "unknown: nothing tells of this node"
    )
