"""MLflow: runs of pipelines and of training, and the model registry, by its REST API.

| asked | how often | for |
|---|---|---|
| ``runs/search`` for those running | every run | signs of life, step time, loss, throughput; decides the health |
| ``runs/search`` for the newest | every `SLOW_S` | what ended, and how |
| ``metrics/get-history`` | every 10 to 600 s | where a run really is whose step stands still |
| ``experiments/search`` | every `RARE_S` | the names of pipelines |
| ``registered-models/search`` | every `RARE_S` | new versions, aliases that moved |

The two searches are POST requests that only read; `collectors.runtime.http.search` lets nothing else through.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import httpx
import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder
from collectors.mlflow import parser as api
from collectors.mlflow.registry import Registry
from collectors.mlflow.runs import RunTracker
from collectors.openmetrics.collector import reason
from collectors.runtime.auth import headers
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import Answer, get, search

if TYPE_CHECKING:
    from collectors.config import MlflowSource
    from collectors.registry import CollectorContext

DEADLINE_S = 10.0
"""The first request to a server that was just started took 7 s."""

MAX_BUSY = 0.05
"""Two searches took 190 ms together on a small server: one run of 10 s keeps it busy for 2 % of the time."""

SLOW_S = 30.0
RARE_S = 60.0
MAX_EXPERIMENTS = 200
MAX_RUNNING = 100
MAX_ENDED = 100
MAX_MODELS = 200
MAX_BYTES = 4 * 1024 * 1024


def build(config: "MlflowSource", tools: "CollectorContext") -> "MlflowCollector":
    """Return the collector of a configured MLflow server.

    Raises:
        ConfigError: a secret is not to be found.

    """
    from collectors.registry import source_of

    source = source_of(config, deadline_s=DEADLINE_S, most_busy=MAX_BUSY)
    keys = headers(source.name, config.token, config.username, config.password)
    return MlflowCollector(source, tools.client, tools.clock, url=config.url, headers=keys)


class MlflowCollector:
    """Reads one MLflow tracking server; ``url`` is its base address, where it is not ``source.address``."""

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        *,
        url: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._clock = clock
        self._base = (url or source.address).rstrip("/") + "/api/2.0/mlflow"
        self._headers = headers
        self._keeper = HealthTracker(source)
        self._names: dict[str, str] = {}
        self._runs = RunTracker(source)
        self._registry = Registry(source)
        self._notes: dict[str, str] = {}
        self._due: dict[str, float] = {}

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        began = self._clock.monotonic()
        try:
            await self._experiments()
            running = await self._search("attributes.status = 'RUNNING'", MAX_RUNNING)
            if self._runs.lost(running[0]):
                self._due.pop("runs", None)
            ended = await self._search("", MAX_ENDED) if self._is_due("runs", SLOW_S) else None
            await self._histories(running[0])
        except SourceError as error:
            now = self._clock.now()
            self._due.clear()
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._clock.now()
        readings, events = ReadingsBuilder(), list(self._runs.observe(running[0], ended and ended[0], now))
        self._runs.read(readings, now)
        if ended is not None:
            self._note("runs", not ended[1], f"of the newest {MAX_ENDED} runs only")
        found, facts = await self._models(now)
        events += found
        self._registry.read(readings, now)
        took = self._clock.monotonic() - began
        health = self._keeper.success(now, took, reason=reason(list(self._notes.values())))
        return Batch(now, now, health, readings.build(), tuple(events), facts=tuple(facts))

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""

    async def _experiments(self) -> None:
        if not self._is_due("experiments", RARE_S):
            return
        answer = await self._search_for("experiments", {"max_results": MAX_EXPERIMENTS})
        self._names, whole = api.experiments(answer.body)
        self._note("experiments", not whole, f"the first {MAX_EXPERIMENTS} experiments only")

    async def _search(self, condition: str, most: int) -> tuple[list[api.RunRow], bool]:
        if not self._names:
            return [], True
        wanted: dict[str, object] = {
            "experiment_ids": list(self._names),
            "max_results": most,
            "order_by": ["attributes.start_time DESC"],
        }
        if condition:
            wanted["filter"] = condition
        return api.runs((await self._search_for("runs", wanted)).body, self._names)

    async def _histories(self, running: list[api.RunRow]) -> None:
        """Ask where the runs are whose step stands still; one whose history cannot be had costs only itself."""
        failed = ""
        for run, key in self._runs.standing(running, self._clock.now()):
            told = None
            try:
                params = {"run_id": run.id, "metric_key": key}
                url = f"{self._base}/metrics/get-history"
                answer = await get(
                    self._client, url, params=params, headers=self._headers, deadline_s=DEADLINE_S, largest=MAX_BYTES
                )
                told = api.newest(_checked(answer).body)
            except SourceError as error:
                failed = f"whether {run.name} has resumed at a lower step is unknown: {error.reason}"
            self._runs.learn(run, told, self._clock.now())
        self._note("history", bool(failed), failed)

    async def _models(self, now: float) -> tuple[list[Event], list[Fact]]:
        """Return what changed in the registry; a registry that does not answer costs only itself."""
        if not self._is_due("models", RARE_S):
            return [], []
        url = f"{self._base}/registered-models/search?max_results={MAX_MODELS}"
        try:
            answer = await get(self._client, url, headers=self._headers, deadline_s=DEADLINE_S, largest=MAX_BYTES)
            models, whole = api.models(_checked(answer).body)
        except SourceError as error:
            self._notes["models"] = f"the model registry could not be read: {error.reason}"
            return [], []
        self._note("models", not whole, f"the first {MAX_MODELS} registered models only")
        return self._registry.observe(models, now)

    async def _search_for(self, what: str, wanted: dict[str, object]) -> Answer:
        body, sent = msgspec.json.encode(wanted), self._clock.now()
        answer = await search(
            self._client,
            f"{self._base}/{what}/search",
            body,
            headers=self._headers,
            deadline_s=DEADLINE_S,
            largest=MAX_BYTES,
        )
        self._keeper.heard(sent, self._clock.now(), answer.date)
        return _checked(answer)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self._clock.now()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _note(self, what: str, holds: bool, text: str) -> None:
        if holds:
            self._notes[what] = text
        else:
            self._notes.pop(what, None)


def _checked(answer: Answer) -> Answer:
    """Return an answer that is one.

    Raises:
        SourceError: a refusal, or something that is no MLflow.

    """
    if answer.status in (401, 403):
        raise SourceError("unauthorized", f"answers {answer.status}: set token, or username and password")
    if answer.status >= 500:
        raise SourceError("down", f"answers {answer.status}")
    if answer.status != 200:
        raise SourceError("misconfigured", f"answers {answer.status}: is this the MLflow server's address?")
    return answer
