"""Entities, signals, plain text, numbers, labels, facts and links: the small things everything stands on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import LAYERS, signal, signals
from aistack_top.model.tick import Bound, Call, Fact, Link
from aistack_top.store.facts import Facts, change
from aistack_top.store.labels import label
from aistack_top.store.links import engine_of, gpus_of
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize

GPU = Entity.of(gpu="GPU-0a1b2c3d-0000")


def call(**more):
    return Call("i", "t", "", "generation", "n", 0.0, 1.0, 2.0, 2.0, **more)


def test_an_entity_is_equal_and_the_same_whatever_the_order_of_its_keys():
    assert Entity.of(engine="a", model="m") is Entity.of(model="m", engine="a")
    assert str(Entity.of(model="m", engine="a")) == "engine=a model=m"
    assert Entity.of(engine="a").covers(Entity.of(engine="a", reason="stop"))
    assert not Entity.of(engine="b").covers(Entity.of(engine="a", reason="stop"))
    assert Entity.of(engine="a").with_(reason="x").without("reason") is Entity.of(engine="a")


def test_an_unknown_key_is_no_identity():
    with pytest.raises(ValueError, match="gpu_index"):
        Entity.of(gpu_index="0")


def test_every_signal_is_whole():
    for name, row in signals().items():
        assert row.layer in LAYERS, name
        assert row.form in ("gauge", "rate", "ratio", "quantiles", "count"), name
        assert row.kind in ("flag", "input", "state", "symptom", "other"), name
        assert row.hurts in ("up", "down", "both"), name
        assert row.recorded in ("sample", "arrival", "first_token", "finish"), name
        assert row.floor > 0, name
        assert row.help.endswith("."), name
        assert len(row.title) <= 24, name
    assert signal("serving.ttft").otel == "gen_ai.server.time_to_first_token"


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("llama\x1b[31m-8b\x1b[0m", "llama-8b"),
        ("a\x1b]0;title\x07b", "ab"),
        ("line\r\nbreak\tand tab", "line break and tab"),
        ("[bold]not markup here[/]", "[bold]not markup here[/]"),
        ("abc\u202edef\u200b", "abcdef"),
        ("\x9b31mcsi", "31mcsi"),
        ("\x00\x07\x08", ""),
    ],
)
def test_text_from_outside_is_made_harmless(hostile, harmless):
    assert sanitize(hostile) == harmless


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(max_size=300))
def test_plain_text_never_holds_a_control_character_or_exceeds_its_limit(text):
    out = sanitize(text, 50)
    assert len(out) <= 50
    assert all(char.isprintable() for char in out)
    assert sanitize(out, 50) == out


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "–"),
        (float("nan"), "W", "–"),
        (Bound("below", 0.3), "s", "< 0.3 s"),
        (Bound("above", 80.0), "s", "> 80 s"),
        (0.0, "s", "0 s"),
        (0.0424, "s", "42 ms"),
        (0.0057, "s", "5.7 ms"),
        (4.125, "s", "4.12 s"),
        (39.4, "s", "39.4 s"),
        (125.0, "s", "2.1 min"),
        (0.0, "1", "0 %"),
        (0.0004, "1", "< 0.1 %"),
        (0.034, "1", "3.4 %"),
        (0.999, "1", "100 %"),
        (81559 * 1024 * 1024, "By", "79.6 GiB"),
        (26.5e9, "By/s", "26.5 GB/s"),
        (1.98e9, "Hz", "1980 MHz"),
        (699.6, "W", "700 W"),
        (61.0, "Cel", "61 °C"),
        (1.0, "{flag}", "yes"),
        (0.0, "{flag}", "no"),
        (12.0, "{request}", "12"),
        (0.25, "{request}/s", "0.25/s"),
        (12345.0, "{token}/s", "12.3k/s"),
        (2.5, "USD/h", "$2.50/h"),
        (0.0123, "USD/h", "$0.0123/h"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, unit, text):
    assert numbers.show(value, unit) == text


def test_a_difference_between_two_sayings_is_an_event_once():
    facts, engine = Facts(), Entity.of(engine="a")

    def learn(value):
        return facts.observe([Fact(engine, "kv_blocks", value)], 5.0, 6.0, "serving", "a")

    assert learn("11200") == []
    assert learn("11200") == []
    (event,) = learn("7400")
    assert event.text == "KV blocks 11,200 -> 7,400"
    assert (event.kind, event.at, event.seen, event.entity) == ("changed", 5.0, 6.0, engine)
    assert facts.observe([Fact(GPU, "index", "0", watched=False)], 0, 0, "compute", "n") == []
    assert facts.observe([Fact(GPU, "index", "1", watched=False)], 0, 0, "compute", "n") == []
    assert facts.get(GPU, "index") == "1"


@pytest.mark.parametrize(
    ("key", "before", "after", "said"),
    [
        ("version", "0.32.0", "0.33.0", "version 0.32.0 -> 0.33.0"),
        ("power_limit", "700 W", "500 W", "power limit 700 W -> 500 W"),
        ("loras", "a", "none", "LoRAs a -> none"),
        ("command", "v serve m --port 1 --x 24", "v serve m --x=12 --port=1", "command: --x 24 -> 12"),
        (
            "command",
            "v serve m --eager",
            "v serve m2 --tp 2",
            "command: now m2; now --tp 2; no longer m; no longer --eager",
        ),
        ("command", "a b", "b a", "command: the order of its options"),
        ("model", "x" * 300, "y", f"model {'x' * 160}... -> y"),
    ],
)
def test_a_change_is_said_in_words_that_can_be_read(key, before, after, said):
    assert change(key, before, after) == said


def test_a_gpu_is_called_by_its_index_and_a_model_by_its_last_part():
    facts = Facts()
    assert label(GPU, facts) == "gpu 0a1b2c3d"
    facts.observe([Fact(GPU, "index", "3")], 0, 0, "compute", "n")
    assert label(GPU, facts) == "gpu 3"
    assert label(Entity.of(model="meta-llama/Llama-3.3-70B"), facts) == "Llama-3.3-70B"
    assert label(SERVICE, facts) == "all"
    assert "\x1b" not in label(Entity.of(engine="a\x1b[2J"), facts)


def test_a_call_belongs_to_an_engine_only_where_it_is_proven():
    facts = Facts()
    assert engine_of(call(model="m"), facts) is None
    facts.observe([Fact(Entity.of(engine="one"), "model", "m")], 0, 0, "serving", "one")
    assert engine_of(call(model="m"), facts) == "one"
    assert engine_of(call(model="other"), facts) is None
    assert engine_of(call(), facts) is None
    facts.observe([Fact(Entity.of(engine="two"), "model_alias_1", "m")], 0, 0, "serving", "two")
    assert engine_of(call(model="m"), facts) is None
    assert engine_of(call(model="m", engine="two"), facts) == "two"


def test_a_data_parallel_rank_shares_the_gpus_of_its_server():
    facts, server = Facts(), Entity.of(engine="vllm-8000")
    facts.join([Link(server, GPU, "pid", "pid 4711")])
    assert gpus_of(server, facts) == [GPU]
    assert gpus_of(Entity.of(engine="vllm-8000/1"), facts) == [GPU]
    assert gpus_of(Entity.of(engine="vllm-8001"), facts) == []
