"""The spans that the applications of a simulated node send to their trace store: each request as a small trace.

| span | from, to |
|---|---|
| ``GENERATION`` (the root) | the client's call to the gateway, rails and retrieval in it |
| ``GUARDRAIL`` input, output | what stands before and behind the engine |
| ``RETRIEVER`` | the search for passages |

Times are the clients': their clock is ``skew_s`` ahead of the node's.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from aistack_top.simulator.request import Outcome, Request

ENVIRONMENT = "production"
PROJECT = "simulated"

LEVELS = {Outcome.OK: "DEFAULT", Outcome.BLOCKED_INPUT: "WARNING", Outcome.BLOCKED_OUTPUT: "WARNING"}
"""What the application marks a request with, by how it ended; all other ends are errors."""

GROUPS = {
    "basic": ("name", "level", "statusMessage", "version", "environment", "userId", "sessionId", "isRootObservation"),
    "time": ("completionStartTime", "createdAt", "updatedAt"),
    "model": ("model", "internalModelId", "modelParameters"),
    "usage": ("usageDetails", "costDetails", "inputUsage", "outputUsage", "totalUsage", "totalCost"),
    "prompt": ("promptId", "promptName", "promptVersion"),
    "metrics": (),
    "trace_context": ("traceName", "release", "tags"),
    "metadata": ("metadata",),
    "io": ("input", "output"),
}
"""The fields of each group of the observations API; those outside of all are always sent."""

ALWAYS = frozenset(
    (
        *("id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type", "latency"),
        *("timeToFirstToken", "modelId", "inputPrice", "outputPrice", "totalPrice"),
    )
)


class SimulatedSpan(NamedTuple):
    """One span in the order in which the store lists them: by start, trace and id. Seconds since the Unix epoch."""

    start: float
    trace: str
    id: str
    kind: str
    name: str
    end: float
    visible: float
    request: Request


class Clocks(NamedTuple):
    """When the node's time began, and what the clients' clock is ahead of it."""

    epoch: float
    skew_s: float

    def client(self, moment: float) -> float:
        """Return a moment of the model by the clients' clock."""
        return self.epoch + self.skew_s + moment


def spans(request: Request, visible: float, clocks: Clocks, seed: int) -> Iterator[SimulatedSpan]:
    """Return the spans of a request that ended and became visible at a moment of the model's time."""
    if request.ended is None:
        return
    trace = f"{_run(seed, clocks.epoch)}{request.number:016x}"
    ids = (f"{trace[2:8]}{request.number:08x}{place:02x}" for place in range(1, 5))

    def span(kind: str, name: str, start: float, end: float) -> SimulatedSpan:
        return SimulatedSpan(
            clocks.client(start), trace, next(ids), kind, name, clocks.client(end), clocks.epoch + visible, request
        )

    yield span("GENERATION", "chat", request.arrived, request.ended)
    if request.input_checked is not None:
        yield span("GUARDRAIL", "input", request.arrived, request.input_checked)
    if request.retrieved is not None and request.input_checked is not None:
        yield span("RETRIEVER", "vectors", request.input_checked, request.retrieved)
    if request.generated and request.outcome in LEVELS:
        yield span("GUARDRAIL", "output", request.last_token, request.ended)


def row(span: SimulatedSpan, clocks: Clocks) -> dict[str, object]:
    """Return a span as the store sends it, all groups."""
    request = span.request
    told: dict[str, object] = {
        "id": span.id,
        "traceId": span.trace,
        "startTime": iso(span.start),
        "endTime": iso(span.end),
        "projectId": PROJECT,
        "parentObservationId": None if span.kind == "GENERATION" else f"{span.id[:14]}01",
        "type": span.kind,
        "name": span.name,
        "level": _level(span),
        "statusMessage": "" if request.outcome is Outcome.OK else str(request.outcome),
        "version": request.version or None,
        "environment": ENVIRONMENT,
        "userId": request.tenant,
        "sessionId": request.session_key or None,
        "isRootObservation": span.kind == "GENERATION",
        "createdAt": iso(span.visible),
        "updatedAt": iso(span.visible),
        "latency": round(span.end - span.start, 3),
        "timeToFirstToken": None,
        "traceName": request.tenant,
        "release": None,
        "tags": [request.model],
        "metadata": {"engine": request.engine},
        "input": None,
        "output": None,
        **dict.fromkeys(("modelId", "inputPrice", "outputPrice", "totalPrice")),
    }
    if span.kind == "GENERATION":
        told |= _generation(request, clocks)
    return told


def iso(moment: float) -> str:
    """Return a time as Langfuse writes it: RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=8)
def _run(seed: int, epoch: float) -> str:
    """Return what the traces of one simulation have in common: runs of one seed at different times share no call."""
    return hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=8).hexdigest()


def _generation(request: Request, clocks: Clocks) -> dict[str, object]:
    first, fresh = request.first_token, request.prompt_tokens - request.cached_tokens
    answered = request.generated > 0 and request.outcome in LEVELS
    usage = {"input": fresh, "input_cached_tokens": request.cached_tokens, "output": request.generated}
    return {
        "completionStartTime": None if first is None else iso(clocks.client(first)),
        "timeToFirstToken": None if first is None or not answered else round(first - request.arrived, 3),
        "model": request.model,
        "internalModelId": None,
        "modelParameters": {"max_tokens": request.max_tokens},
        "usageDetails": {**usage, "total": request.prompt_tokens + request.generated} if answered else {},
        "costDetails": {},
        "inputUsage": request.prompt_tokens if answered else 0,
        "outputUsage": request.generated if answered else 0,
        "totalUsage": request.prompt_tokens + request.generated if answered else 0,
        "totalCost": 0,  # what the store writes for a model without a price
        "promptId": f"{request.tenant}-{request.prompt_version}",
        "promptName": request.tenant,
        "promptVersion": request.prompt_version or None,
    }


def _level(span: SimulatedSpan) -> str:
    outcome = span.request.outcome
    if span.kind == "GENERATION":
        return LEVELS.get(outcome, "ERROR")
    stopped = {"input": Outcome.BLOCKED_INPUT, "output": Outcome.BLOCKED_OUTPUT}.get(span.name)
    return "WARNING" if outcome is stopped else "DEFAULT"
