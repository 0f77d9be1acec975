"""Langfuse 4 as its API answers: observations by filter and cursor (v2), metrics by minute, health, project, scores.

What is listed is what the sink has made visible by now; calls are late, and those sent while the store was down are
missing. Forms are those of a recorded Langfuse 4.16; what is asked in another way than the recorded one is refused.
"""

import base64
import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from statistics import quantiles
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from aistack_top.simulator import request as simulated
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.spans import ALWAYS, ENVIRONMENT, GROUPS, PROJECT, Clocks, SimulatedSpan, row, spans
from aistack_top.simulator.servers.world import World

VERSION = "4.16.0"
PUBLIC_KEY, SECRET_KEY = "pk-lf-simulated", "sk-lf-simulated"
"""They open nothing but made-up numbers."""

MAX_ROWS = 1000
USUAL_ROWS = 50
MAX_KEPT = 30_000
"""Rows and traces that are kept ready: more than a console asks for in a minute."""

Key = TypeVar("Key")
Kept = TypeVar("Kept")

_AUTHORIZATION = "Basic " + base64.b64encode(f"{PUBLIC_KEY}:{SECRET_KEY}".encode()).decode()
_READ: Mapping[str, Callable[[SimulatedSpan], float | None]] = {
    "latency": lambda one: (one.end - one.start) * 1e3,
    "timeToFirstToken": lambda one: _ttft_ms(one),
}
_SUMS: Mapping[str, Callable[[SimulatedSpan], float]] = {
    "inputTokens": lambda one: one.request.prompt_tokens if one.request.generated else 0,
    "outputTokens": lambda one: one.request.generated,
    "totalCost": lambda _: 0.0,
}


class Langfuse:
    """One Langfuse project in front of a world's sink."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._seed = world, seed
        self._listed: tuple[str, float, list[SimulatedSpan]] = ("", 0.0, [])
        self._spans: dict[int, tuple[SimulatedSpan, ...]] = {}
        self._rows: dict[tuple[str, str], bytes] = {}

    @property
    def paths(self) -> Mapping[str, Callable[[Request], Response]]:
        """What it answers, by path."""
        guarded: dict[str, Callable[[Request], Response]] = {
            "/api/public/projects": lambda _: self._answer(_PROJECTS),
            "/api/public/v2/observations": self._observations,
            "/api/public/v2/metrics": self._metrics,
            "/api/public/v3/scores": lambda _: self._answer(
                {"data": [], "meta": {"limit": USUAL_ROWS, "cursor": None}}
            ),
        }
        paths = {path: self._keyed(answer) for path, answer in guarded.items()}
        return {**paths, "/api/public/health": lambda _: self._answer({"status": "OK", "version": VERSION})}

    def _keyed(self, answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def keyed(request: Request) -> Response:
            if request.headers.get("authorization") != _AUTHORIZATION:
                return self._answer({"message": "Invalid credentials. Confirm that you've configured the keys."}, 401)
            return answer(request)

        return keyed

    def _answer(self, told: object, status: int = 200) -> Response:
        return self._respond(msgspec.json.encode(told), status)

    def _respond(self, body: bytes, status: int = 200) -> Response:
        node = self._world.advance()
        date = format_datetime(datetime.fromtimestamp(node.epoch + node.now, UTC), usegmt=True)
        return Response(body, status, {"date": date}, "application/json; charset=utf-8")

    def _observations(self, request: Request) -> Response:
        asked = request.query_params
        try:
            limit = int(asked.get("limit", str(USUAL_ROWS)))
            conditions = _conditions(asked)
            after = _place(asked["cursor"]) if "cursor" in asked else None
        except (ValueError, KeyError, TypeError) as fault:
            return self._answer({"message": f"Invalid request data: {fault}", "error": "InvalidRequestError"}, 400)
        if not 0 < limit <= MAX_ROWS:
            return self._answer({"message": "Invalid request data", "error": "limit"}, 400)
        clocks = self._clocks(self._world.advance())
        found = self._list(json.dumps(conditions), conditions, follows=after is not None)
        # newest first: what comes after a place is what stands before it in the order of the list
        end = len(found) if after is None else bisect_left(found, after)
        page = found[max(0, end - limit) : end][::-1]
        fields = asked.get("fields", "core,basic")
        rows = b",".join(self._row(one, fields, clocks) for one in page)
        meta = json.dumps({"cursor": _cursor(page[-1])} if end > limit else {}).encode()
        return self._respond(b'{"data":[' + rows + b'],"meta":' + meta + b"}")

    def _row(self, span: SimulatedSpan, fields: str, clocks: Clocks) -> bytes:
        """Return a row as JSON; a console asks again and again for those of the last minute."""
        known = self._rows.get((span.id, fields))
        if known is None:
            names = ALWAYS.union(*(GROUPS.get(group, ()) for group in fields.split(",")))
            told = {key: value for key, value in row(span, clocks).items() if key in names}
            known = self._rows[span.id, fields] = msgspec.json.encode(told)
            _forget(self._rows, MAX_KEPT)
        return known

    def _spans_of(self, request: simulated.Request, visible: float, clocks: Clocks) -> tuple[SimulatedSpan, ...]:
        known = self._spans.get(request.number)
        if known is None:
            known = self._spans[request.number] = tuple(spans(request, visible, clocks, self._seed))
            _forget(self._spans, MAX_KEPT)
        return known

    def _list(self, asked: str, conditions: list[dict[str, Any]], *, follows: bool) -> list[SimulatedSpan]:
        """Return the spans that meet the conditions, oldest start first; a cursor's next page is of the same list."""
        node = self._world.advance()
        known, at, found = self._listed
        if known == asked and (follows or at == node.now):
            return found
        clocks = self._clocks(node)
        tests = [_test(condition) for condition in conditions]
        ends = [_moment(c["value"]) for c in conditions if c["column"] == "endTime" and c["operator"] == ">="]
        # nothing is visible before it has ended, by whichever clock
        since = max(ends, default=0.0) - clocks.epoch - abs(clocks.skew_s) - 1.0
        every = (one for seen, request in node.sink.since(since) for one in self._spans_of(request, seen, clocks))
        found = sorted(one for one in every if all(test(one) for test in tests))
        self._listed = (asked, node.now, found)
        return found

    def _clocks(self, node: SimulatedNode) -> Clocks:
        return Clocks(node.epoch, node.sink.skew_s)

    def _metrics(self, request: Request) -> Response:
        try:
            query = json.loads(request.query_params["query"])
            low, high = _moment(query["fromTimestamp"]), _moment(query["toTimestamp"])
            wanted = [(one["measure"], one["aggregation"]) for one in query["metrics"]]
            by_minute = "timeDimension" in query
            if by_minute and query["timeDimension"]["granularity"] != "minute":
                raise ValueError("granularity other than minute")
            node = self._world.advance()
            clocks = self._clocks(node)
            groups: dict[tuple[str, float], list[SimulatedSpan]] = {}
            for seen, one in node.sink.since(low - clocks.epoch - 1.0):
                generation = self._spans_of(one, seen, clocks)[0]
                if low <= generation.start < high:
                    minute = generation.start // 60 * 60 if by_minute else 0.0
                    groups.setdefault((one.model, minute), []).append(generation)
            rows = [
                _measured(model, minute if by_minute else None, found, wanted)
                for (model, minute), found in groups.items()
            ]
        except (ValueError, KeyError, TypeError) as fault:
            return self._answer({"message": f"Invalid request data: {fault}", "error": "InvalidRequestError"}, 400)
        return self._answer({"data": rows})


_PROJECTS = {
    "data": [{"id": PROJECT, "name": PROJECT, "organization": {"id": PROJECT, "name": PROJECT}, "metadata": {}}]
}


def _forget(kept: dict[Key, Kept], most: int) -> None:
    if len(kept) > most:
        for oldest in list(kept)[: most // 4]:
            del kept[oldest]


def _conditions(asked: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(asked.get("filter", "[]"))
    for key, column, operator in (
        ("fromStartTime", "startTime", ">="),
        ("toStartTime", "startTime", "<"),
        ("traceId", "traceId", "="),
        ("type", "type", "="),
    ):
        if key in asked:
            found.append({"column": column, "operator": operator, "value": asked[key]})
    return found


_COLUMNS: Mapping[str, Callable[[SimulatedSpan], str]] = {
    "type": lambda one: one.kind,
    "traceId": lambda one: one.trace,
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "environment": lambda _: ENVIRONMENT,
    "userId": lambda one: one.request.tenant,
}
_TIMES: Mapping[str, Callable[[SimulatedSpan], float]] = {
    "startTime": lambda one: one.start,
    "endTime": lambda one: one.end,
}


def _test(condition: Mapping[str, Any]) -> Callable[[SimulatedSpan], bool]:
    column, operator, value = condition["column"], condition["operator"], condition["value"]
    if column in _TIMES:
        time, moment = _TIMES[column], _moment(value)
        if operator == ">=":
            return lambda one: time(one) >= moment
        if operator == "<":
            return lambda one: time(one) < moment
        raise ValueError(f"operator {operator}")
    read = _COLUMNS[column]
    if operator not in ("=", "any of"):
        raise ValueError(f"operator {operator}")
    wanted = frozenset(value if isinstance(value, list) else [value])
    return lambda one: read(one) in wanted


def _measured(
    model: str, minute: float | None, found: list[SimulatedSpan], wanted: Iterable[tuple[str, str]]
) -> dict[str, object]:
    told: dict[str, object] = {"providedModelName": model}
    if minute is not None:
        told["time_dimension"] = datetime.fromtimestamp(minute, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for measure, how in wanted:
        if measure == "count":
            told["count_count"] = len(found)
        elif how == "sum":
            told[f"sum_{measure}"] = sum(map(_SUMS[measure], found))
        else:
            values = sorted(value for one in found if (value := _READ[measure](one)) is not None)
            told[f"{how}_{measure}"] = _percentile(values, int(how.removeprefix("p")))
    return told


def _percentile(values: list[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0]) if values else None
    return round(quantiles(values, n=100, method="inclusive")[percent - 1])


def _ttft_ms(one: SimulatedSpan) -> float | None:
    first = one.request.first_token
    return None if first is None else (first - one.request.arrived) * 1e3


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _cursor(last: SimulatedSpan) -> str:
    told = {"start": last.start, "trace": last.trace, "id": last.id}
    return base64.b64encode(json.dumps(told).encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[float, str, str]:
    told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4)))
    return (float(told["start"]), str(told["trace"]), str(told["id"]))
