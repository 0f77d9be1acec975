"""Guardrails by metrics pages: LiteLLM and NeMo Guardrails as real servers said them, hits counted by hand."""

import json

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Quantiles
from collectors.registry import CollectorContext, build
from collectors.registry import kind as kind_named
from tests.fakes.pages import collected, of, page

LITELLM = [page(f"litellm-1.102.0/litellm-metrics-t{moment}.prom.gz") for moment in ("004", "048", "086")]
NEMO = [
    page("nemoguardrails-0.24.1/idle__otel_prom_18092.prom.gz"),
    page("nemoguardrails-0.24.1/iorails__otel_exporter.prom.gz"),
]
FILTER = {"rail": "lab-content-filter"}


def without(body, start):
    return b"\n".join(line for line in body.split(b"\n") if not line.startswith(start))


def counted(batches, step, signal, **keys):
    """How many a rate over one step each adds up to."""
    return sum((of(batch, signal, **keys) or 0.0) * step for batch in batches)


async def test_litellm_blocks_are_19_although_none_was_there_at_first_and_all_are_called_errors():
    # by hand, of status="error", error_type="HTTPException": 2 at 4 s, 15 at 48 s, 19 at 86 s; 274 passed
    pages = [without(LITELLM[0], b"litellm_guardrail"), *LITELLM]
    batches = await collected("litellm", pages, step=60.0)
    assert counted(batches, 60.0, "guardrail.hits", **FILTER) == pytest.approx(19)
    assert counted(batches, 60.0, "guardrail.requests", **FILTER) == pytest.approx(19 + 274)
    assert counted(batches, 60.0, "guardrail.errors", **FILTER) == 0
    assert [batch.health.status for batch in batches] == ["ok"] * 4


async def test_litellm_tells_the_time_that_the_filter_added():
    _, _, last = await collected("litellm", LITELLM, step=60.0)
    took = of(last, "guardrail.latency", **FILTER)
    assert isinstance(took, Quantiles)
    # 76 passed and 4 were blocked; 1.0922 - 0.7129 s and 0.0470 - 0.0398 s
    assert took.count == 80
    assert took.mean == pytest.approx((1.0922127 - 0.7128576 + 0.0469696 - 0.0398288) / 80, rel=1e-4)


async def test_litellm_spend_by_model_and_no_personal_label_goes_further():
    batches = await collected("litellm", LITELLM, step=60.0)
    # USD in a minute: 0.015249 -> 0.029162 of the one, 0.046020 -> 0.091713 of the other
    assert of(batches[2], "spend.proxy.rate", model="sql-lora") == pytest.approx(60 * (0.029162 - 0.015249))
    assert of(batches[2], "spend.proxy.rate", model="tiny-llama-lab") == pytest.approx(60 * (0.091713 - 0.046020))
    told = json.dumps([[str(entity) for entity in batch.readings.entities] for batch in batches])
    for personal in ("127.0.0.1", "default_user_id", "httpx", "master_key", "curl"):
        assert personal in LITELLM[2].decode()
        assert personal not in told


NEWER = b"""\
litellm_guardrail_requests_total{guardrail_name="pii",hook_type="pre_call",status="%s"} %d
litellm_guardrail_latency_seconds_bucket{guardrail_name="pii",status="%s",error_type="%s",le="+Inf"} %d
litellm_guardrail_latency_seconds_count{guardrail_name="pii",hook_type="pre_call",status="%s",error_type="%s"} %d
"""


def newer(status, error_type, count):
    return NEWER % (status, count, status, error_type, count, status, error_type, count)


async def test_a_newer_litellm_calls_a_block_intervened_and_a_check_that_failed_is_no_block():
    # made up of the labels in the source of 1.109
    first = newer(b"success", b"none", 10)
    _, _, last = await collected(
        "litellm", [first, first, first + newer(b"intervened", b"none", 3) + newer(b"error", b"ConnectError", 2)], 60.0
    )
    assert of(last, "guardrail.hits", rail="pii") == pytest.approx(3 / 60)
    assert of(last, "guardrail.errors", rail="pii") == pytest.approx(2 / 60)


async def test_none_blocked_so_far_is_said_as_none():
    first = newer(b"success", b"none", 10)
    opening, second = await collected("litellm", [first, newer(b"success", b"none", 70)], step=60.0)
    assert of(opening, "guardrail.hits", rail="pii") is None
    assert of(second, "guardrail.hits", rail="pii") == 0
    assert of(second, "guardrail.errors", rail="pii") == 0


async def test_nemo_blocks_are_18_of_41():
    # by hand: 41 requests, blocked 12 at the input and 6 at the output, 1 failed; one request before the load
    before, after = without(NEMO[0], b"guardrails_requests_total"), NEMO[1]
    batches = await collected("nemo", [before, NEMO[0], after], step=60.0)
    assert counted(batches, 60.0, "guardrail.hits", rail="Input") == pytest.approx(12)
    assert counted(batches, 60.0, "guardrail.hits", rail="Output") == pytest.approx(6)
    assert counted(batches, 60.0, "guardrail.requests") == pytest.approx(41)
    assert counted(batches, 60.0, "guardrail.errors", reason="LLMCallException") == pytest.approx(1)
    assert of(batches[1], "guardrail.hits") == 0
    assert of(batches[2], "guardrail.hits") is None
    assert of(batches[2], "guardrail.latency") is None


async def test_spend_and_checks_without_the_labels_that_name_them_are_told_of_the_proxy_and_that_is_said():
    page = b"""\
litellm_spend_metric_total{team="red"} %f
litellm_spend_metric_total{team="blue"} %f
litellm_guardrail_requests_total{status="success"} %d
"""
    _, last = await collected("litellm", [page % (1.0, 2.0, 10), page % (1.12, 2.18, 70)], step=60.0)
    assert of(last, "spend.proxy.rate") == pytest.approx(18.0)
    assert of(last, "guardrail.requests") == pytest.approx(1.0)
    assert "2 series have no label model, shown without it: proxy spend" in last.health.reason
    assert "1 series has no label guardrail_name, shown without it: checks" in last.health.reason


async def test_a_block_that_makes_its_counter_is_one_in_the_time_since_the_first_page():
    page = b"guardrails_requests_total %d\n"
    block = b'guardrails_requests_blocked_total{rail_type="Input"} 1\n'
    pages = [page % (10 * turn) + (block if turn > 8 else b"") for turn in range(24)]
    batches = await collected("nemo", pages, step=5.0)
    told = [of(batch, "guardrail.hits", rail="Input") for batch in batches]
    assert max(rate for rate in told if rate is not None) == pytest.approx(1 / 45)
    assert told[-1] == 0


async def test_a_litellm_that_wants_a_key_is_asked_where_it_counts_nothing():
    asked = []

    def handle(request):
        asked.append(request.url.path)
        return httpx.Response(401 if request.url.path == "/metrics" else 200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = build(
            kind_named("litellm").config(url="http://server:4000"),
            CollectorContext(VirtualClock(0.0), client, b"salt", "node"),
        )
        told = [(await collector.collect()).health for _ in range(20)]
    assert {(health.status, health.reason) for health in told} == {
        ("unauthorized", "HTTP 401: the metrics endpoint requires a token")
    }
    assert asked.count("/metrics") == 2
    assert asked.count("/health/liveliness") == 18


async def test_a_litellm_that_refused_and_is_gone_is_down():
    left = [httpx.Response(401)]

    def handle(request):
        if left:
            return left.pop()
        raise httpx.ConnectError("[Errno 111] Connection refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = build(
            kind_named("litellm").config(url="http://server:4000"),
            CollectorContext(VirtualClock(0.0), client, b"salt", "node"),
        )
        told = [(await collector.collect()).health for _ in range(2)]
    assert [health.status for health in told] == ["unauthorized", "down"]
