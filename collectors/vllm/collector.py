"""vLLM 0.6 to 0.33: its metrics page, what it is made of, and whether its engine still works.

| asked | how often | for |
|---|---|---|
| ``/metrics`` | every run | everything `collectors/tables/vllm.toml` lists; decides the health |
| ``/load`` | every run | requests the API server holds, and the frozen engine |
| ``/version``, ``/v1/models`` | at a start and every minute | what may have changed |

The last three are extras: each may fail alone, and costs nothing but itself.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

import httpx
import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder, Severity
from aistack_top.text.numbers import short
from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.collector import FACTS_S, Scrape, Scraper, reason
from collectors.openmetrics.engine import Assembled, Exposition, SignalOf
from collectors.openmetrics.table import Table, load
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import get
from collectors.vllm.arrivals import ARRIVED, RUNNING, WAITING, Arrivals
from collectors.vllm.frozen import EngineLook, FreezeDetector

if TYPE_CHECKING:
    from collectors.config import VllmSource
    from collectors.registry import CollectorContext

T = TypeVar("T")

OPTIONAL_S = 2.0
"""Deadline of the extras: they must not hold back the metrics."""

MAX_EXTRA = 1024 * 1024
MAX_ALIASES = 20

_LORAS = "loras"
_WORK = frozenset(
    {"serving.generation_tokens.rate", "serving.prompt_tokens.rate", "serving.batch.tokens", "serving.preemptions"}
)

_OWN = re.compile(rb"^(?:# TYPE )?vllm:(?:num_requests_running|generation_tokens|cache_config_info)", re.MULTILINE)
_ROUTER = re.compile(rb"^vllm:(?:healthy_pods_total\b|\w+\{[^}\n]*\bserver=\")", re.MULTILINE)


class _Load(msgspec.Struct):
    server_load: float


class _Version(msgspec.Struct):
    version: str


class _Model(msgspec.Struct):
    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


@cache
def table() -> Table:
    """Return the table of vLLM's metrics."""
    return load(files("collectors.tables").joinpath("vllm.toml").read_text(encoding="utf-8"))


def fingerprint(body: bytes) -> bool:
    """Whether a metrics page is an engine's own: its router repeats the names with a label ``server``."""
    return _OWN.search(body) is not None and _ROUTER.search(body) is None


def build(config: "VllmSource", tools: "CollectorContext") -> "VllmCollector":
    """Return the collector of a configured vLLM server."""
    from collectors.registry import source_of

    return VllmCollector(source_of(config), tools.client, tools.clock, url=config.url)


class VllmCollector:
    """Reads one vLLM server. ``url`` is its base address, where it is not ``source.address`` (a login in it)."""

    def __init__(self, source: Source, client: httpx.AsyncClient, clock: Clock, *, url: str = "") -> None:
        self._source = source
        self._client = client
        self._clock = clock
        self._base = (url or source.address).rstrip("/").removesuffix("/metrics")
        self._scraper = Scraper(source, client, clock, table(), self._base + "/metrics")
        self._exposition = Exposition(table(), source)
        self._keeper = HealthTracker(source)
        self._engine = Entity.of(engine=source.name)
        self._arrivals = Arrivals(source)
        self._held = _Held()
        self._frozen = FreezeDetector()
        self._version = ""
        self._facts_due = 0.0
        self._had_loras = False
        self._up = True

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        sent = self._clock.now()
        scraped, load_now, asked = await asyncio.gather(self._scrape(), self._load(), self._ask_facts())
        now = self._clock.now()
        if isinstance(scraped, SourceError):
            self._up, self._facts_due = False, now
            self._frozen.reset()
            return Batch(now, now, self._keeper.failure(now, scraped))
        self._up = True
        # the page's own moment: its parsing and the extras may take longer than it
        self._keeper.heard(sent, scraped.at, scraped.date)
        now, seen = scraped.at, now
        found = self._exposition.read(scraped.page, now, seen)
        events = list(found.events)
        if found.restarted:
            self._arrivals.reset()
            self._held.reset()
        readings = ReadingsBuilder()
        for signal, entity, value in found.readings:
            readings.add(signal, entity, value)
        for entity, rate in self._arrivals.rates(found, now).items():
            readings.add(ARRIVED, entity, rate)
        readings.add("serving.scrape.duration", self._engine, scraped.took_s)
        held = self._held.trusted(load_now)
        # several API servers show no process metrics, and each knows only its own share of the load
        if held is not None and scraped.page.declares("process_start_time_seconds"):
            readings.add("serving.requests.in_flight", self._engine, held)
        told = self._watch(readings, events, found, held, now)
        facts = self._facts(scraped, found, asked, now)
        notes = [told, *scraped.notes, *found.notes, self._exposition.missing(scraped.page, self._version)]
        health = self._keeper.success(seen, scraped.took_s, scraped.status, reason(notes))
        return Batch(now, seen, health, readings.build(), tuple(events), facts=facts)

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""

    async def _scrape(self) -> Scrape | SourceError:
        try:
            return await self._scraper.scrape()
        except SourceError as error:
            return error

    async def _load(self) -> float | None:
        answer = await self._extra("/load", _Load)
        return None if answer is None or answer.server_load < 0 else answer.server_load

    async def _ask_facts(self) -> tuple[Fact, ...] | None:
        """Ask for what may have changed, once it is due; None when it is not."""
        if not self._up or self._clock.now() < self._facts_due:
            return None
        version, models = await asyncio.gather(self._extra("/version", _Version), self._extra("/v1/models", _Models))
        facts = []
        if version is not None:
            self._version = sanitize(version.version, 40)
            facts.append(Fact(self._engine, "version", self._version))
        told = _model_facts(self._engine, models.data) if models else []
        if any(fact.key == _LORAS for fact in told):
            self._had_loras = True
        elif models and self._had_loras:
            told.append(Fact(self._engine, _LORAS, "none"))
        return (*facts, *told)

    async def _extra(self, path: str, kind: type[T]) -> T | None:
        try:
            answer = await get(self._client, self._base + path, deadline_s=OPTIONAL_S, largest=MAX_EXTRA)
            return msgspec.json.decode(answer.body, type=kind) if answer.status == 200 else None
        except (SourceError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _facts(self, scraped: Scrape, found: Assembled, asked: tuple[Fact, ...] | None, now: float) -> tuple[Fact, ...]:
        if found.restarted:
            # what was asked may be the answer of the process before
            self._facts_due = now
        elif asked is not None:
            self._facts_due = now + FACTS_S
        else:
            return ()
        page = self._exposition.facts(scraped.page)
        says_model = any(fact.key == "model" for fact in page)
        return (*page, *(fact for fact in asked or () if not (says_model and fact.key == "model")))

    def _watch(
        self, readings: ReadingsBuilder, events: list[Event], found: Assembled, held: float | None, now: float
    ) -> str:
        """Look whether the engine works on what the server holds; return the sentence for the health record."""
        since = self._frozen.since
        if found.restarted:
            self._frozen.reset()
        if held is None:
            return ""
        work = tuple(value for (signal, _), value in found.totals.items() if signal in _WORK)
        running = _sum(found.gauges, RUNNING)
        frozen = self._frozen.observe(EngineLook(now, held, running + _sum(found.gauges, WAITING), running, work))
        readings.add("serving.engine.frozen", self._engine, float(frozen))
        text = f"frozen: the API server holds {short(held)} requests and the engine works on none of them"
        if frozen and since is None:
            began = now if self._frozen.since is None else self._frozen.since
            events.append(self._event(began, now, "critical", f"{self._source.name} is {text}"))
        elif since is not None and not frozen:
            lasted = f"{self._source.name} is no longer frozen, after {now - since:.0f} s"
            events.append(self._event(now, now, "info", lasted))
        return text if frozen else ""

    def _event(self, at: float, now: float, severity: Severity, text: str) -> Event:
        return Event(at, now, self._source.layer, "frozen", severity, self._engine, text, self._source.name)


class _Held:
    """Tells a load of nothing from a load that nobody counts.

    Without ``--enable-server-load-tracking`` the server says 0 for ever, so 0 is believed only of a server that
    has once said more.
    """

    def __init__(self) -> None:
        self._counts = False

    def trusted(self, load_now: float | None) -> float | None:
        """Return the load if it is one."""
        self._counts = self._counts or bool(load_now)
        return load_now if self._counts else None

    def reset(self) -> None:
        """Forget what a process did that is gone."""
        self._counts = False


def _sum(gauges: Mapping[SignalOf, float], signal: str) -> float:
    return sum(value for (name, _), value in gauges.items() if name == signal)


def _model_facts(engine: Entity, models: list[_Model]) -> list[Fact]:
    """Return the served names, the limits and the adapters; the first name is the model's, the others its aliases."""
    bases = [model for model in models if not model.parent][:MAX_ALIASES]
    facts = [Fact(engine, f"model_alias_{number}", sanitize(model.id)) for number, model in enumerate(bases[1:], 1)]
    if bases:
        facts.append(Fact(engine, "model", sanitize(bases[0].id)))
        if bases[0].root:
            facts.append(Fact(engine, "model_root", sanitize(bases[0].root)))
        if bases[0].max_model_len is not None:
            facts.append(Fact(engine, "max_model_len", str(bases[0].max_model_len)))
    adapters = sorted(sanitize(model.id, 60) for model in models if model.parent)
    if adapters:
        facts.append(Fact(engine, _LORAS, sanitize(", ".join(adapters))))
    return facts
