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

from functools import partial
from typing import TYPE_CHECKING

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Status
from collectors.mlflow import parser as api
from collectors.mlflow.registry import Registry
from collectors.mlflow.runs import RunTracker
from collectors.rest.client import RestClient
from collectors.rest.collector import Findings, RestCollector
from collectors.rest.login import Login, bearer_or_basic
from collectors.rest.paging import Paged, TokenPaging
from collectors.rest.requests import RestRequest
from collectors.runtime.base import Source, SourceError

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

_API = "/api/2.0/mlflow"
EXPERIMENTS = RestRequest("experiments", f"{_API}/experiments/search", RARE_S, "POST")
RUNNING = RestRequest("running", f"{_API}/runs/search", 0.0, "POST")
ENDED = RestRequest("ended", f"{_API}/runs/search", SLOW_S, "POST")
HISTORY = RestRequest("history", f"{_API}/metrics/get-history")
MODELS = RestRequest("models", f"{_API}/registered-models/search", RARE_S)
REQUESTS = (EXPERIMENTS, RUNNING, ENDED, HISTORY, MODELS)


def build(config: "MlflowSource", tools: "CollectorContext") -> "MlflowCollector":
    """Return the collector of a configured MLflow server.

    Raises:
        ConfigError: a secret is not to be found.

    """
    from collectors.registry import source_of

    source = source_of(config, deadline_s=DEADLINE_S, most_busy=MAX_BUSY)
    login = bearer_or_basic(source.name, config.token, config.username, config.password)
    return MlflowCollector(source, tools.client, tools.clock, url=config.url, login=login)


class MlflowCollector(RestCollector):
    """Reads one MLflow tracking server; ``url`` is its base address, where it is not ``source.address``."""

    def __init__(
        self, source: Source, client: httpx.AsyncClient, clock: Clock, *, url: str = "", login: Login | None = None
    ) -> None:
        rest = RestClient(source, client, clock, REQUESTS, api.REFUSALS, login=login, url=url, deadline_s=DEADLINE_S)
        super().__init__(source, rest, clock)
        self._names: dict[str, str] = {}
        self._status: Status = "ok"
        self._runs = RunTracker(source)
        self._registry = Registry(source)

    async def read(self) -> Findings:
        """See `collectors.rest.collector.RestCollector.read`."""
        await self._read_experiments()
        running = (await self._search(RUNNING, "attributes.status = 'RUNNING'", MAX_RUNNING)).rows
        if self._runs.lost(running):
            self.rest.due.reset(ENDED.name)
        ended = await self._search(ENDED, "", MAX_ENDED) if self.rest.is_due(ENDED) else None
        await self._read_histories(running)
        found, now = Findings(status=self._status), self.clock.now()
        found.events += self._runs.observe(running, None if ended is None else ended.rows, now)
        self._runs.read(found.readings, now)
        if ended is not None:
            self.notes.set("runs", "" if ended.is_whole else f"of the newest {MAX_ENDED} runs only")
        await self._read_models(found, now)
        self._registry.read(found.readings, now)
        return found

    async def _read_experiments(self) -> None:
        if not self.rest.is_due(EXPERIMENTS):
            return
        query = {"max_results": MAX_EXPERIMENTS}
        found = await self.rest.pages(EXPERIMENTS, api.experiments, _FIRST, max_pages=1, query=query)
        self._names, self._status = dict(found.rows), found.status
        self.notes.set("experiments", "" if found.is_whole else f"the first {MAX_EXPERIMENTS} experiments only")

    async def _search(self, request: RestRequest, condition: str, most: int) -> Paged[api.RunRow]:
        if not self._names:
            return Paged(is_whole=True)
        query: dict[str, object] = {
            "experiment_ids": list(self._names),
            "max_results": most,
            "order_by": ["attributes.start_time DESC"],
        }
        if condition:
            query["filter"] = condition
        return await self.rest.pages(request, partial(api.runs, names=self._names), _FIRST, max_pages=1, query=query)

    async def _read_histories(self, running: list[api.RunRow]) -> None:
        """Ask where the runs are whose step stands still; one whose history cannot be had costs only itself."""
        failed = ""
        for run, key in self._runs.standing(running, self.clock.now()):
            told = None
            try:
                told = api.newest((await self.rest.ask(HISTORY, params={"run_id": run.id, "metric_key": key})).body)
            except SourceError as error:
                failed = f"whether {run.name} has resumed at a lower step is unknown: {error.reason}"
            self._runs.learn(run, told, self.clock.now())
        self.notes.set("history", failed)

    async def _read_models(self, found: Findings, now: float) -> None:
        """Add what changed in the registry; a registry that does not answer costs only itself."""
        if not self.rest.is_due(MODELS):
            return
        with self.notes.optional("models", "the model registry could not be read"):
            paged = await self.rest.pages(MODELS, api.models, _FIRST, max_pages=1, query={"max_results": MAX_MODELS})
            self.notes.set("models", "" if paged.is_whole else f"the first {MAX_MODELS} registered models only")
            events, facts = self._registry.observe(paged.rows, now)
            found.events += events
            found.facts += facts


_FIRST = TokenPaging("page_token")
