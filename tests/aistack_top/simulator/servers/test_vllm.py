"""The vLLM face against the text of a 0.33 server, and against the model it speaks of."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aistack_top.simulator.scenario import scenarios
from aistack_top.simulator.servers.vllm import VllmServer, adapters_of
from aistack_top.simulator.servers.world import World

CAPTURE = Path(__file__).parents[4] / "fixtures" / "captures" / "vllm-0.33.0-metrics.prom"
OWN = {"process_start_time_seconds", "http_requests", "http_requests_created"}


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def server(name="healthy_day", which="chat-0", until=90.0, **more):
    node = scenarios()[name].start(node="standard", **more)
    node.advance(until)
    engines = World(node, lambda: node.epoch + node.now).servers()[which]
    return node, VllmServer(engines, adapters_of(engines, node.config.tenant), node.epoch)


def shape(family):
    labels = {tuple(sorted(sample.labels)) for sample in family.samples}
    edges = [sample.labels["le"] for sample in family.samples if "le" in sample.labels]
    return family.type, labels, edges


def test_its_page_has_the_families_labels_and_buckets_of_a_real_server():
    node, one = server()
    told, real = families(one.metrics(node.epoch).decode()), families(CAPTURE.read_text(encoding="utf-8"))
    assert set(told) - OWN == set(real)
    config = "vllm:cache_config_info"
    for name in set(real) - {config}:
        kind, labels, edges = shape(real[name])
        mine = shape(told[name])
        assert mine[:2] == (kind, labels), name
        # the edges of token counts end with the longest request that a server allows
        assert mine[2][: len(edges) - 1][:12] == edges[:-1][:12], name
    assert set(real[config].samples[0].labels) <= set(told[config].samples[0].labels)


def test_its_numbers_are_the_models():
    node, one = server()
    engine = node.engines[0]
    values = {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in families(one.metrics(node.epoch).decode()).values()
        for sample in family.samples
    }
    assert values["vllm:num_requests_running", ""] == engine.gauges.running > 0
    assert values["vllm:kv_cache_usage_perc", ""] == engine.gauges.kv_usage > 0
    assert values["vllm:generation_tokens_total", ""] == engine.metrics.generation_tokens
    assert values["vllm:time_to_first_token_seconds_count", ""] == engine.metrics.ttft.count > 50
    assert values["vllm:time_to_first_token_seconds_sum", ""] == engine.metrics.ttft.total
    assert values["vllm:time_to_first_token_seconds_bucket", "+Inf"] == engine.metrics.ttft.count
    assert one.load() == {"server_load": engine.load}


def test_adapters_are_listed_and_those_at_work_are_told_with_the_time():
    _node, one = server(which="fast-0")
    assert [(row["id"], row["parent"]) for row in one.models()["data"]] == [
        ("fast-8b", None),
        ("email-v1", "fast-8b"),
        ("mobile-v3", "fast-8b"),
    ]
    (sample,) = families(one.metrics(123.0).decode())["vllm:lora_requests_info"].samples
    assert sample.value == 123.0
    assert set(sample.labels["running_lora_adapters"].split(",")) <= {"email-v1", "mobile-v3"}
    json.dumps(one.models())


@pytest.mark.parametrize(("up", "frozen", "answers"), [(True, False, True), (True, True, True), (False, False, False)])
def test_a_frozen_server_answers_and_a_dead_one_does_not(up, frozen, answers):
    node, one = server()
    engine = node.engines[0]
    if frozen:
        engine.freeze()
    if not up:
        node.kill(engine)
    assert one.answers is answers
