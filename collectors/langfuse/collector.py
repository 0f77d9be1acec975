"""The Langfuse collector: calls with model, version, tokens, TTFT, cost and level; never a prompt or an answer.

| module | does |
|---|---|
| `langfuse_settings` | what is configured, what a plan allows, pseudonyms |
| `langfuse_api` | one GET: keys, budget, errors in words |
| `langfuse_poll` | windows, budgets, clocks, memory of what was seen |
| `langfuse_reader` | hot query, late sweep, v1 fallback |
| `langfuse_rows` | bytes to calls |
| `langfuse_versions` | models and versions that came into use |
| `langfuse_drill` | version, project, metrics, scores, by Langfuse's own client |
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, Fact, Health, History, Status
from collectors.langfuse.api import REFUSED_S, LangfuseApi
from collectors.langfuse.details import DetailReader
from collectors.langfuse.reader import JITTER, FetchResult, LangfuseReader, Mode
from collectors.langfuse.settings import LangfuseSettings, bare_address, key_name
from collectors.langfuse.versions import VersionWatch
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason

if TYPE_CHECKING:
    import httpx

    from collectors.config import LangfuseSource
    from collectors.registry import CollectorContext

DEADLINE_S = 10.0
WINDOW_S = 300.0
"""Of one query for calls of the past."""

STEP_S = 5.0
"""Of a past: how often a console would have asked."""

MAX_BUSY = 0.05
"""The hot query took 63 to 182 ms on a small server, so that one of 5 s keeps it busy for 1 to 4 % of the time."""


class LangfuseCollector:
    """Reads the calls of one Langfuse project."""

    def __init__(
        self,
        source: Source,
        client: "httpx.AsyncClient",
        clock: Clock,
        settings: LangfuseSettings,
        *,
        rng: Random | None = None,
        drill: DetailReader | None = None,
    ) -> None:
        # without jitter the consoles of one organization would ask all at the same moment
        rng = rng or SystemRandom()
        pace = max(source.interval_s, settings.pace.hot_s) * (1 + rng.uniform(0, JITTER))
        self._source = replace(source, interval_s=pace, address=bare_address(source.address or settings.base_url))
        self._clock = clock
        self._settings = settings
        self._rng = rng
        self._api = LangfuseApi(client, settings, clock)
        self._reader = LangfuseReader(self._api, settings, clock, rng)
        self._drill = drill or DetailReader(self._api)
        self._keeper = HealthTracker(self._source)
        self._versions = VersionWatch(source.name)
        self._mode: Mode | None = None
        self._refused: tuple[float, SourceError] | None = None
        self._v1_due = 0.0
        self._drill_due: float | None = None
        self._version = ""
        self._project = ""

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`; its pace carries up to 20 % of jitter."""
        return self._source

    @property
    def drill(self) -> DetailReader:
        """Typed reads for a drill-down: scores of a trace, metrics."""
        return self._drill

    def __repr__(self) -> str:
        return f"LangfuseCollector({self._source.name!r}, {self._source.address!r})"

    async def collect(self) -> Batch:
        """Return the calls that are new since the last run, with one health record."""
        began, asked = self._clock.monotonic(), self._clock.now()
        deadline = began + self._source.deadline_s
        self._api.busy_s = 0.0
        try:
            mode = await self._connect(deadline)
            news = await self._read(mode, deadline)
        except SourceError as error:
            news = FetchResult(error=error)
        if news.error is not None:
            self._record_failure(news.error)
        notes = [*news.notes]
        facts = await self._learn(deadline, notes) if news.error is None else ()
        seen = self._clock.now()
        batch = Batch(
            at=asked,
            seen=seen,
            health=self._health(news, notes, seen),
            events=self._versions.observe(news.calls),
            calls=tuple(news.calls),
            facts=facts,
            calls_until=news.until,
        )
        self._reader.delivered()
        return batch

    async def history(self, start: float, end: float) -> History | None:
        """Return the server's own numbers by minute and model, for a time before the first poll.

        None where they cannot be had: a v1 server, or no usable answer. See `DetailReader.history` for what they mean.
        """
        if self._mode == "v1":
            return None
        try:
            return await self._drill.history(start, end)
        except SourceError:
            return None

    async def between(self, start: float, end: float) -> list[Batch]:
        """Return the calls that ended from start to end, each known when it ended, in batches of some seconds.

        Whatever cannot be had is said in the health of a batch, and what can be is there.
        """
        batches: list[Batch] = []
        at = start
        while at < end:
            until, deadline = min(at + WINDOW_S, end), self._clock.monotonic() + self._source.deadline_s
            try:
                news = await self._reader.between(await self._connect(deadline), at, until, deadline)
            except SourceError as error:
                batches.append(Batch(at, at, self._keeper.failure(at, error)))
                return batches
            said = self._reason(replace(news, notes=[]), [], until)
            status: Status = "partial" if news.mostly_bad else "slow" if news.sampled else "ok"
            health = self._keeper.success(at, 0.0, status, said)
            steps: dict[int, list[Call]] = {}
            for call in news.calls:
                steps.setdefault(int((call.end - at) // STEP_S), []).append(replace(call, seen=call.end))
            for number in range(ceil((until - at) / STEP_S)):
                known = min(at + (number + 1) * STEP_S, until)
                calls = tuple(steps.get(number, ()))
                batches.append(Batch(known, known, health, calls=calls, calls_until=known))
            at = until
        return batches

    async def aclose(self) -> None:
        """Do nothing: the HTTP client belongs to whoever made it."""

    async def _connect(self, deadline: float) -> Mode:
        """Return which API is read, asked once; again only after the server was away or has another version."""
        if self._refused is not None:
            until, error = self._refused
            if self._clock.monotonic() < until:
                raise error
            self._refused = None
        if not (self._settings.public_key and self._settings.secret_key):
            raise SourceError("misconfigured", "no keys: set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
        if self._mode is None:
            self._mode = await self._reader.probe(deadline)
        return self._mode

    async def _read(self, mode: Mode, deadline: float) -> FetchResult:
        if mode == "v2":
            return await self._reader.read(mode, deadline)
        now = self._clock.monotonic()
        if now < self._v1_due:
            return FetchResult(notes=[f"read every {self._settings.pace.v1_s:.0f} s"])
        news = await self._reader.read(mode, deadline)
        if news.error is None:
            self._v1_due = now + self._settings.pace.v1_s * 0.95
        return news

    def _record_failure(self, error: SourceError) -> None:
        if error.status in ("down", "unauthorized", "misconfigured"):
            self._mode = None
        if error.status in ("unauthorized", "misconfigured") and self._refused is None:
            wait = error.retry_after_s or REFUSED_S
            self._refused = (self._clock.monotonic() + wait, error)

    async def _learn(self, deadline: float, notes: list[str]) -> tuple[Fact, ...]:
        """Return version and project of the server, from the second run on: the first one's rows must not wait."""
        now = self._clock.monotonic()
        if self._drill_due is None:
            self._drill_due = now
            return ()
        left = deadline - now
        if now < self._drill_due or left <= 0:
            return ()
        self._drill_due = now + self._settings.pace.health_s * (1 + self._rng.uniform(0, JITTER))
        try:
            async with asyncio.timeout(left):
                version = await self._drill.version()
                if self._version not in ("", version):
                    self._mode, self._project = None, ""
                self._version = version
                self._project = self._project or await self._drill.project()
        except TimeoutError:
            notes.append("version and project unknown: no answer in time")
        except SourceError as error:
            if error.retry_after_s is None:
                notes.append(f"version and project unknown: {error.reason}")
        return tuple(self._facts())

    def _facts(self) -> Iterable[Fact]:
        entity = Entity.of(source=self._source.name)
        known = {"version": self._version, "project": self._project, "api": self._mode or ""}
        return (Fact(entity, key, value) for key, value in known.items() if value)

    def _health(self, news: FetchResult, notes: list[str], seen: float) -> Health:
        """Return the one health record of a run."""
        if news.error is not None and not news.calls:
            health = self._keeper.failure(seen, news.error, self._api.busy_s)
        elif news.until is None and news.error is None:
            health = self._keeper.failure(seen, SourceError("ok", self._reason(news, notes, seen)), self._api.busy_s)
        else:
            late = news.error or "the newest calls" in news.sampled
            status: Status = "slow" if late else "partial" if news.mostly_bad else "ok"
            health = self._keeper.success(seen, self._api.busy_s, status, self._reason(news, notes, seen))
        offset = self._api.offset
        return replace(health, clock_offset_s=offset.value, clock_uncertainty_s=offset.uncertainty)

    def _reason(self, news: FetchResult, notes: list[str], seen: float) -> str:
        said = [news.error.reason] if news.error else []
        if self._mode == "v1":
            said.append("v1 API (this server has no v2 API)")
        said += [f"sampled: {what} fill more than 5 pages" for what in news.sampled]
        if news.bad_rows:
            rows = "1 row" if news.bad_rows == 1 else f"{news.bad_rows} rows"
            said.append(f"{rows} left out: invalid times or types")
        said += [self._reader.ahead.sentence(), *notes]
        paused = self._api.budgets.paused(seen)
        if paused and not any("rate limited" in part for part in said):
            said.append(paused)
        return reason(said)


def build(config: "LangfuseSource", tools: "CollectorContext") -> LangfuseCollector:
    """Return the collector of a configured source.

    Raises:
        ConfigError: a key is not to be found.

    """
    from collectors.registry import source_of

    settings = LangfuseSettings(
        base_url=config.url,
        public_key=config.public_key.read("public_key"),
        secret_key=config.secret_key.read("secret_key"),
        key_names=(key_name(config.public_key), key_name(config.secret_key)),
        plan=config.plan,
        engine_key=config.engine_key or None,
        tenant_from=config.tenant_from,
        tenant_key=config.tenant_key,
        pseudonyms=tools.pseudonyms,
        salt=tools.salt,
        environments=(config.environment,) if config.environment else (),
    )
    source = source_of(config, deadline_s=DEADLINE_S, most_busy=MAX_BUSY)
    return LangfuseCollector(source, tools.client, tools.clock, settings)
