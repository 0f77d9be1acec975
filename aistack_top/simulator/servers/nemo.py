"""NeMo Guardrails 0.24 by the Prometheus exporter of its OpenTelemetry metrics: the rails of the gateway.

A request is one check of one side: the gateway asks for each by itself. Which rail stopped a request is not told, only
on which side.
"""

from collections.abc import Iterable

from aistack_top.simulator.histogram import SERVICE_TIME_EDGES, Histogram
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.text import Labels, PageWriter, labels
from aistack_top.simulator.services import Rail

_SCOPE = {
    "otel_scope_name": "nemo-guardrails",
    "otel_scope_schema_url": "https://opentelemetry.io/schemas/1.26.0",
    "otel_scope_version": "0.24.1",
}


def metrics(node: SimulatedNode) -> bytes:
    """Return the page of a node's guardrail server now."""
    gateway, page = node.gateway, PageWriter(created=False)
    rails = {"Input": gateway.input_rail, "Output": gateway.output_rail}
    page.samples(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        {(): node.epoch - node.lived_s},
    )
    of = labels(**_SCOPE)
    asked = sum(rail.service.requests for rail in rails.values())
    page.samples("guardrails_requests_total", "counter", "Total guardrails requests handled", {of: asked})
    active = sum(rail.service.queue(node.now) for rail in rails.values())
    page.samples("guardrails_requests_active", "gauge", "Guardrails requests currently in flight", {of: active})
    page.histogram(
        "guardrails_request_duration_seconds",
        "End-to-end guardrails request duration",
        {of: _together(rails.values())},
        0.0,
    )
    blocked: dict[Labels, float] = {
        labels(**_SCOPE, rail_type=side): rail.hits for side, rail in rails.items() if rail.hits
    }
    says = "Guardrails requests blocked by an input or output rail"
    page.samples("guardrails_requests_blocked_total", "counter", says, blocked)
    errors = sum(rail.service.errors for rail in rails.values())
    says = "Guardrails requests that ended in an unhandled error"
    failed = {labels(**_SCOPE, error_type="LLMCallException"): float(errors)} if errors else {}
    page.samples("guardrails_requests_errors_total", "counter", says, failed)
    return page.encode()


def _together(rails: Iterable[Rail]) -> Histogram:
    whole = Histogram(SERVICE_TIME_EDGES)
    for rail in rails:
        whole.counts = [a + b for a, b in zip(whole.counts, rail.service.latency.counts, strict=True)]
        whole.total += rail.service.latency.total
    return whole
