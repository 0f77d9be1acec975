"""A server that answers as Langfuse did when it was captured: in process by httpx.ASGITransport, or on loopback.

    python -m tests.playback.langfuse --folder fixtures/captures/langfuse-4.16.0 --port 3000

| mode | answers |
|---|---|
| ``v4`` | v2 observations with filter, limit, cursor and field groups; v2 metrics, v3 scores; v1 is 404 |
| ``live`` | the same over the live stream: a row is there from the poll that first brought it |
| ``legacy`` | v1 pages and traces; v2 is the captured 404 |
| ``limits`` | as ``v4``, with the measured number of requests before the captured 429 |
| ``html`` | 404 with a web page for everything |
"""

import argparse
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import httpx

from aistack_top.measure.clock import Clock, WallClock

Mode = Literal["v4", "live", "legacy", "limits", "html"]
Json = dict[str, Any]
Scope = MutableMapping[str, Any]

KEYS = ("pk-lf-lab-0000", "sk-lf-lab-0000")
WEB_PAGE = b"<!DOCTYPE html><html><body>This page could not be found</body></html>"
DEFAULT_LAG_S = 3.0

GROUPS: Mapping[str, tuple[str, ...]] = {
    "basic": (
        *("name", "level", "statusMessage", "version", "environment", "bookmarked", "public"),
        *("userId", "sessionId", "isRootObservation"),
    ),
    "time": ("completionStartTime", "createdAt", "updatedAt"),
    "model": ("model", "internalModelId", "modelParameters"),
    "usage": (
        *("usageDetails", "costDetails", "inputUsage", "outputUsage", "totalUsage", "inputCost", "outputCost"),
        *("totalCost", "usagePricingTierId", "usagePricingTierName"),
    ),
    "prompt": ("promptId", "promptName", "promptVersion"),
    "metrics": (),
    "trace_context": ("traceName", "release", "tags"),
    "metadata": ("metadata",),
    "io": ("input", "output"),
}
CORE = ("id", "traceId", "startTime", "endTime", "projectId", "parentObservationId", "type")
ALWAYS = ("latency", "timeToFirstToken", "modelId", "inputPrice", "outputPrice", "totalPrice")
TIMES = ("startTime", "endTime", "completionStartTime", "createdAt", "updatedAt", "timestamp")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Reply:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json; charset=utf-8"


@dataclass
class Held:
    """A row and when it can be read."""

    row: Json
    start: float
    end: float
    visible: float


def held(row: Json, visible: float | None = None) -> Held:
    end = moment(row["endTime"])
    return Held(row, moment(row["startTime"]), end, end + DEFAULT_LAG_S if visible is None else visible)


@dataclass
class Playback:
    """The server; ``requests`` are those that came, ``override`` what a path answers instead.

    ``shift_s`` moves all captured times, ``skew_s`` is this server's clock minus the injected one.
    """

    folder: Path
    clock: Clock
    mode: Mode = "v4"
    skew_s: float = 0.0
    shift_s: float = 0.0
    keys: tuple[str, str] = KEYS
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    override: dict[str, Callable[[], Reply]] = field(default_factory=dict)
    rows: list[Held] = field(default_factory=list)
    traces: list[Json] = field(default_factory=list)
    _limits: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sibling = self.folder.parent / "langfuse-4.16.0-"
        if self.mode in ("v4", "limits"):
            names = ("obs-v2-generations-1000", "obs-v2-guardrails", "obs-v2-retrievers")
            self.rows = [held(row) for name in names for row in self._json(f"{name}.json")["data"]]
            metadata = {row["id"]: row["metadata"] for row in self._json("obs-v2-group-metadata.json")["data"]}
            for one in self.rows:
                one.row = {**one.row, "metadata": metadata.get(one.row["id"], {})}
        elif self.mode == "live":
            seen: dict[str, Held] = {}
            for poll in self._json("live/index.json")["polls"]:
                for row in self._json(f"live/{poll['file']}")["data"]:
                    seen.setdefault(row["id"], held(row, moment(poll["t"])))
            self.rows = list(seen.values())
        elif self.mode == "legacy":
            dual = Path(f"{sibling}dual-mode") / "observations-v1-generations.json"
            self.rows = [held(row) for row in json.loads(dual.read_bytes())["data"]]
            self.folder = Path(f"{sibling}legacy-mode")
            self.traces = self._json("traces-v1-core.json")["data"]
        self.rows.sort(key=lambda one: (one.start, one.row["traceId"], one.row["id"]), reverse=True)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self), trust_env=False)

    async def __call__(self, scope: Scope, receive: Any, send: Callable[[Scope], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            return
        params = dict(parse_qsl(scope["query_string"].decode("ascii")))
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        self.requests.append((scope["path"], params))
        reply = self.answer(scope["path"], params, headers.get("authorization", ""))
        date = format_datetime(datetime.fromtimestamp(self._now(), UTC), usegmt=True)
        out = {"content-type": reply.kind, "date": date, **reply.headers}
        pairs = [(key.encode(), value.encode("latin-1")) for key, value in out.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await send({"type": "http.response.body", "body": reply.body})

    def answer(self, path: str, params: dict[str, str], authorization: str) -> Reply:
        if path in self.override:
            return self.override[path]()
        if self.mode == "html":
            return Reply(WEB_PAGE, 404, kind="text/html; charset=utf-8")
        if path == "/api/public/health":
            return Reply(b'{"status":"OK","version":"4.16.0"}')
        refused = self._refused(authorization) or self._limited(path)
        if refused is not None:
            return refused
        if path == "/api/public/projects":
            return Reply((self.folder.parent / "langfuse-4.16.0" / "projects.json").read_bytes())
        legacy = self.mode == "legacy"
        if path == "/api/public/v2/observations":
            return self._captured("obs-v2-404.json", 404) if legacy else self._v2(params)
        if path == "/api/public/v2/metrics":
            return self._captured("metrics-v2-404.json", 404) if legacy else self._metrics(params)
        if path == "/api/public/v3/scores":
            return self._captured("scores-v3.json")
        if path == "/api/public/observations":
            return self._v1(params) if legacy else self._captured("legacy-observations-v1.json", 404)
        if path == "/api/public/traces":
            return self._v1_traces(params) if legacy else self._captured("legacy-traces.json", 404)
        return Reply(WEB_PAGE, 404, kind="text/html; charset=utf-8")

    def _now(self) -> float:
        return self.clock.now() + self.skew_s

    def _json(self, name: str) -> Json:
        found: Json = json.loads((self.folder / name).read_bytes())
        return found

    def _captured(self, name: str, status: int = 200) -> Reply:
        return Reply((self.folder / name).read_bytes(), status)

    def _refused(self, authorization: str) -> Reply | None:
        folder = self.folder.parent / "langfuse-4.16.0"
        if not authorization:
            return Reply((folder / "err-401-no-auth.json").read_bytes(), 401)
        expected = "Basic " + base64.b64encode(":".join(self.keys).encode()).decode()
        if authorization != expected:
            return Reply((folder / "err-401-bad-secret.json").read_bytes(), 401)
        return None

    def _limited(self, path: str) -> Reply | None:
        if self.mode != "limits":
            return None
        index = json.loads((self.folder.parent / "langfuse-4.16.0-cloud-limits" / "index.json").read_bytes())
        rule = next((rule for rule in index["results"] if rule["endpoint"] == path), None)
        if rule is None:
            return None
        began, count = self._limits.get(path, (self._now(), 0))
        if self._now() >= began + float(rule["headers"]["retry-after"]):
            began, count = self._now(), 0
        self._limits[path] = (began, count + 1)
        if count < rule["ok_before_429"]:
            return None
        return Reply(rule["body"].encode(), 429, {k: v for k, v in rule["headers"].items() if k != "content-type"})

    def _found(self, conditions: list[Json]) -> list[Held]:
        """The visible rows that meet a filter, newest start first."""
        now = self._now()
        found = [one for one in self.rows if one.visible + self.shift_s <= now]
        for condition in conditions:
            column, value = condition["column"], condition["value"]
            if condition["operator"] == ">=" and column in ("startTime", "endTime"):
                since = moment(value) - self.shift_s
                found = [one for one in found if (one.start if column == "startTime" else one.end) >= since]
            elif condition["operator"] == "<" and column == "endTime":
                found = [one for one in found if one.end < moment(value) - self.shift_s]
            elif condition["operator"] in ("any of", "="):
                wanted = value if isinstance(value, list) else [value]
                found = [one for one in found if one.row.get(column) in wanted]
            else:
                raise KeyError(column)
        return found

    def _conditions(self, params: dict[str, str]) -> list[Json]:
        conditions: list[Json] = json.loads(params.get("filter", "[]"))
        if "fromStartTime" in params:
            conditions.append({"column": "startTime", "operator": ">=", "value": params["fromStartTime"]})
        return conditions

    def _shifted(self, row: Json) -> Json:
        if not self.shift_s:
            return row
        return {**row, **{key: iso(moment(row[key]) + self.shift_s) for key in TIMES if row.get(key)}}

    def _v2(self, params: dict[str, str]) -> Reply:
        limit = int(params.get("limit", "50"))
        errors = self.folder.parent / "langfuse-4.16.0"
        if limit > 1000:
            return Reply((errors / "err-400-limit.json").read_bytes(), 400)
        try:
            found = self._found(self._conditions(params))
        except KeyError:
            return Reply((errors / "err-400-filter-column.json").read_bytes(), 400)
        if "cursor" in params:
            try:
                last = json.loads(base64.b64decode(params["cursor"] + "=="))
            except ValueError:
                return Reply((errors / "err-400-cursor.json").read_bytes(), 400)
            place = (moment(last["lastStartTimeTo"]) - self.shift_s, last["lastTraceId"], last["lastId"])
            found = [one for one in found if (one.start, one.row["traceId"], one.row["id"]) < place]
        groups = params.get("fields", "basic,metrics").split(",")
        names = [*CORE, *(name for group in groups for name in GROUPS.get(group, ())), *ALWAYS]
        rows = [self._shifted({n: one.row[n] for n in names if n in one.row}) for one in found[:limit]]
        meta = {}
        if len(found) > limit:
            last_row = rows[-1]
            told = {"lastStartTimeTo": last_row["startTime"], "lastTraceId": last_row["traceId"]}
            text = json.dumps({**told, "lastId": last_row["id"]}, separators=(",", ":"))
            meta["cursor"] = base64.b64encode(text.encode()).decode().rstrip("=")
        return Reply(json.dumps({"data": rows, "meta": meta}, separators=(",", ":")).encode())

    def _metrics(self, params: dict[str, str]) -> Reply:
        query = json.loads(params["query"])
        if "timeDimension" not in query:
            return self._captured("metrics-v2-by-model.json")
        low, high = (moment(query[key]) - self.shift_s for key in ("fromTimestamp", "toTimestamp"))
        rows = self._json("metrics-v2-by-model-minute.json")["data"]
        kept = [row for row in rows if low <= moment(row["time_dimension"]) < high]
        for row in kept:
            row["time_dimension"] = iso(moment(row["time_dimension"]) + self.shift_s)
        return Reply(json.dumps({"data": kept}).encode())

    def _v1(self, params: dict[str, str]) -> Reply:
        rows = [self._shifted(one.row) for one in self._found(self._conditions(params))]
        return _numbered(rows, params)

    def _v1_traces(self, params: dict[str, str]) -> Reply:
        since = moment(params["fromTimestamp"]) - self.shift_s
        return _numbered([self._shifted(t) for t in self.traces if moment(t["timestamp"]) >= since], params)


def _numbered(rows: list[Json], params: dict[str, str]) -> Reply:
    page, limit = int(params.get("page", "1")), int(params.get("limit", "50"))
    if limit > 100:
        return Reply(b'{"message":"Invalid request data"}', 400)
    meta = {"page": page, "limit": limit, "totalItems": len(rows), "totalPages": -(-len(rows) // limit)}
    return Reply(json.dumps({"data": rows[(page - 1) * limit : page * limit], "meta": meta}).encode())


def main() -> None:
    """Serve on loopback; the captured times are moved so that the middle of the capture is now."""
    import uvicorn

    parser = argparse.ArgumentParser(description="Answers as a captured Langfuse server did.")
    parser.add_argument("--folder", type=Path, default=Path("fixtures/captures/langfuse-4.16.0"))
    parser.add_argument("--mode", choices=("v4", "live", "legacy", "limits", "html"), default="v4")
    parser.add_argument("--port", type=int, default=3000)
    asked = parser.parse_args()
    playback = Playback(asked.folder, WallClock(), asked.mode)
    ends = sorted(one.end for one in playback.rows) or [time.time()]
    playback.shift_s = time.time() - ends[0 if asked.mode == "live" else len(ends) // 2]
    uvicorn.run(playback, host="127.0.0.1", port=asked.port, date_header=False, log_level="warning")


if __name__ == "__main__":
    main()
