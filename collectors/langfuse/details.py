"""What is asked of Langfuse rarely and is worth typed answers: version, project, metrics and scores.

Langfuse's own SDK reads these, on threads of their own: its import brings OpenTelemetry and pydantic (0.3 to 0.6 s,
46 MB), and its models take 0.3 ms for an observation and 4.5 ms for a score, which would freeze the screen. Only its
API client is made: ``Langfuse()`` would start threads and install a tracer in this process. Its requests come back
to the event loop and go through our transport, so that they share the connections, the budget, the limit of an
answer's size and the words for what went wrong. Its retries are off: they would sleep for up to 60 s.
"""

import asyncio
import json
import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import nan
from typing import TYPE_CHECKING, TypedDict, TypeVar

from aistack_top.measure.quantiles import MIN_COUNT
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.finite import fits
from aistack_top.model.tick import History, SeriesKey
from aistack_top.text.sanitize import sanitize
from collectors.langfuse.api import LangfuseApi
from collectors.langfuse.polling import iso
from collectors.runtime.base import SourceError

if TYPE_CHECKING:
    from langfuse.api import LangfuseAPI, ScoreV3

T = TypeVar("T")

MINUTE_S = 60.0
MAX_METRIC_ROWS = 1000
MAX_SCORES = 50
SDK_DEADLINE_S = 10


class _Options(TypedDict):
    max_retries: int
    timeout_in_seconds: int


OPTIONS: _Options = {"max_retries": 0, "timeout_in_seconds": SDK_DEADLINE_S}


@dataclass(frozen=True, slots=True)
class Score:
    """A score that was given to a trace or an observation; ``value`` is a number or a word."""

    name: str
    value: float | str
    at: float
    comment: str = ""


class DetailReader:
    """Typed, rare reads of one Langfuse server."""

    def __init__(self, api: LangfuseApi) -> None:
        self._api = api
        self._client: LangfuseAPI | None = None
        self._making = threading.Lock()

    async def version(self) -> str:
        """Return the server's version; empty if it does not say.

        Raises:
            SourceError: no usable answer.

        """
        answer = await self._ask(lambda client: client.health.health(request_options=OPTIONS))
        return sanitize(str(answer.version or ""), 40)

    async def project(self) -> str:
        """Return the name of the project that the keys belong to; empty if there is none.

        Raises:
            SourceError: no usable answer.

        """
        answer = await self._ask(lambda client: client.projects.get(request_options=OPTIONS))
        return sanitize(str(answer.data[0].name), 80) if answer.data else ""

    async def scores(self, trace: str) -> list[Score]:
        """Return the newest scores of one trace, at most `MAX_SCORES`.

        Raises:
            SourceError: no usable answer.

        """
        answer = await self._ask(
            lambda client: client.scores.get_many(
                trace_id=trace, limit=MAX_SCORES, fields="details", request_options=OPTIONS
            )
        )
        return [_score(score) for score in answer.data]

    async def history(self, start: float, end: float) -> History:
        """Return calls, tokens, cost and quantiles by model and minute, as the server computed them.

        The server puts a call in the minute in which it *started*, our own signals in that in which it ended: for
        long calls the two differ by the call's length. A sample stands at the end of its minute. Quantiles of
        fewer than 20 calls are left out, as everywhere; those of the whole service cannot be had from those of
        its models. Only generations are counted, no embeddings.

        Raises:
            SourceError: no usable answer.

        """
        first = start // MINUTE_S * MINUTE_S
        query = json.dumps(_metrics_query(first, end))
        answer = await self._ask(lambda client: client.metrics.metrics(query=query, request_options=OPTIONS))
        if len(answer.data) >= MAX_METRIC_ROWS:
            raise SourceError("slow", "too many models for a per-minute history: the server truncates the response")
        return history_of(answer.data, first, int((end - first) // MINUTE_S))

    async def _ask(self, request: Callable[["LangfuseAPI"], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await in_daemon_thread(lambda: request(self._made(loop)))
        except SourceError:
            raise
        except Exception as error:  # the SDK's errors, pydantic's and json's have no base in common
            status = getattr(error, "status_code", None)
            said = f"status {status}" if status else type(error).__name__
            raise SourceError("slow", f"unexpected response from Langfuse: {said}") from None

    def _made(self, loop: asyncio.AbstractEventLoop) -> "LangfuseAPI":
        with self._making:
            if self._client is None:
                self._client = _make_client(self._api, loop)
            return self._client


def in_daemon_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run blocking work on a thread that does not hold up the exit; the result comes to the running loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        if not future.done():
            act()

    def run() -> None:
        act: Callable[[], None]
        try:
            act = partial(future.set_result, work())
        except BaseException as error:  # the thread's end must be told, whatever it was
            act = partial(future.set_exception, error)
        # a closed loop refuses: then nobody waits any more
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, act)

    threading.Thread(target=run, name="langfuse-sdk", daemon=True).start()
    return future


def history_of(rows: Iterable[Mapping[str, object]], first: float, minutes: int) -> History:
    """Return the rows of a by-minute, by-model metrics answer as columns; filler rows (no model) are dropped."""
    columns: dict[SeriesKey, array[float]] = defaultdict(lambda: array("f", [nan]) * minutes)
    sums: dict[tuple[str, int], float] = defaultdict(float)
    for row in rows:
        model, count = row.get("providedModelName"), _number(row.get("count_count"))
        place = _minute(row.get("time_dimension"), first)
        if not isinstance(model, str) or not model or not count or place is None or not 0 <= place < minutes:
            continue
        entity = Entity.of(model=sanitize(model))
        for signal, key, factor in _RATES:
            value = _number(row.get(key))
            if value is not None:
                columns[(signal, entity, "value")][place] = value * factor
                sums[(signal, place)] += value * factor
        for signal, measure in _SPREADS:
            for stat in ("p50", "p95"):
                value = _number(row.get(f"{stat}_{measure}"))
                if value is not None and count >= MIN_COUNT:
                    columns[(signal, entity, stat)][place] = value / 1000.0
                    columns[(signal, entity, "count")][place] = count
                    columns[(signal, entity, "window_s")][place] = MINUTE_S
    for (signal, place), total in sums.items():
        columns[(signal, SERVICE, "value")][place] = total
    return History(first + MINUTE_S, MINUTE_S, dict(columns))


_RATES = (
    ("calls.rate", "count_count", 1 / MINUTE_S),
    ("calls.input_tokens.rate", "sum_inputTokens", 1 / MINUTE_S),
    ("calls.output_tokens.rate", "sum_outputTokens", 1 / MINUTE_S),
    ("calls.cost.rate", "sum_totalCost", 3600 / MINUTE_S),
)
"""Signal, key of the metrics answer, and the factor from a minute's sum to the signal's unit."""

_SPREADS = (("calls.latency", "latency"), ("calls.ttft", "timeToFirstToken"))
"""Signal and measure; the measures are in milliseconds."""


def _metrics_query(start: float, end: float) -> Mapping[str, object]:
    measures = [("count", "count"), ("inputTokens", "sum"), ("outputTokens", "sum"), ("totalCost", "sum")]
    measures += [(measure, quantile) for _, measure in _SPREADS for quantile in ("p50", "p95")]
    return {
        "view": "observations",
        "fromTimestamp": iso(start),
        "toTimestamp": iso(end),
        "dimensions": [{"field": "providedModelName"}],
        "metrics": [{"measure": measure, "aggregation": how} for measure, how in measures],
        "filters": [{"column": "type", "operator": "=", "value": "GENERATION", "type": "string"}],
        "timeDimension": {"granularity": "minute"},
        "config": {"row_limit": MAX_METRIC_ROWS},
    }


def _minute(text: object, first: float) -> int | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return int((at - first) // MINUTE_S)


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else nan
    except (ValueError, OverflowError):
        return None
    return number if fits(number) and number >= 0 else None


def _score(score: "ScoreV3") -> Score:
    value = score.value if isinstance(score.value, int | float) else sanitize(str(score.value))
    comment = getattr(score, "comment", None)
    return Score(sanitize(str(score.name)), value, score.timestamp.timestamp(), sanitize(str(comment or "")))


def _make_client(api: LangfuseApi, loop: asyncio.AbstractEventLoop) -> "LangfuseAPI":
    import httpx
    from langfuse.api import LangfuseAPI

    prefix = httpx.URL(api.base).raw_path.decode("ascii").rstrip("/")

    class Transport(httpx.BaseTransport):
        """Hands the SDK's requests to our own transport, which adds the keys."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode("ascii").removeprefix(prefix)
            answer = _on_loop(api.fetch(path, optional=True, deadline_s=SDK_DEADLINE_S), loop)
            if answer.status in (401, 403) or answer.status >= 500:
                raise api.refusal(answer)
            kind = {"content-type": answer.headers.get("content-type", "")}
            return httpx.Response(answer.status, headers=kind, content=answer.body, request=request)

    return LangfuseAPI(base_url=api.base, httpx_client=httpx.Client(transport=Transport(), trust_env=False))


def _on_loop(work: Coroutine[None, None, T], loop: asyncio.AbstractEventLoop) -> T:
    """Run a coroutine on the loop from another thread and wait for its result."""
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise
    return future.result(SDK_DEADLINE_S + 1)
