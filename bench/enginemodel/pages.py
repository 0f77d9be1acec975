"""Engines, the proxy and the vector store as their own metrics pages, read by the production reader of such pages.

The series are made as objects and not as text, which costs less; names, labels and edges are those of vLLM 0.32,
LiteLLM 1.102 and Milvus. Rates, quantiles, restarts, arrivals, hang-ups and freezes are what production makes of them.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, Health, Link, ReadingsBuilder
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import MetricsPage, PageSeries
from collectors.openmetrics.table import Table, load
from collectors.runtime.base import Source
from collectors.vllm.arrivals import Arrivals
from collectors.vllm.frozen import FrozenEngines
from enginemodel.counting import Histogram
from enginemodel.engine import Engine
from enginemodel.gpu import Gpu
from enginemodel.service import Station

FACTS_S = 60.0


@cache
def table(name: str) -> Table:
    """Return a production table of metric names."""
    return load(files("collectors.tables").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


class Page:
    """The series of one process, the same objects at every scrape; another process has others."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels
        self.epoch = object()
        self._series: dict[tuple[str, str], PageSeries] = {}
        self._edges: dict[tuple[str, str], list[PageSeries]] = {}
        self.values: dict[PageSeries, float] = {}

    def begin(self) -> None:
        """Begin a new answer."""
        self.values = {}

    def add(self, name: str, value: float, **more: str) -> None:
        """Add a gauge or a counter."""
        key = (name, "/".join(more.values()))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = PageSeries(name, {**self.labels, **more})
        self.values[series] = float(value)

    def histogram(self, name: str, histogram: Histogram, **more: str) -> None:
        """Add a histogram."""
        key = (name, "/".join(more.values()))
        rows = self._edges.get(key)
        if rows is None:
            edges = ["+Inf" if edge > 1e30 else str(edge) for edge in histogram.edges]
            rows = [PageSeries(f"{name}_bucket", {**self.labels, **more, "le": edge}) for edge in edges]
            self._edges[key] = rows
        counts = histogram.cumulative()
        self.values.update(zip(rows, map(float, counts), strict=True))
        self.add(f"{name}_count", counts[-1], **more)
        self.add(f"{name}_sum", histogram.total, **more)

    def answer(self) -> MetricsPage:
        """Return the page."""
        return MetricsPage(b"", self.epoch, self.values, declared={b"process_start_time_seconds"})


HISTOGRAMS: Mapping[str, str] = {
    "ttft": "vllm:time_to_first_token_seconds",
    "itl": "vllm:inter_token_latency_seconds",
    "e2e": "vllm:e2e_request_latency_seconds",
    "queue": "vllm:request_queue_time_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
    "decode": "vllm:request_decode_time_seconds",
    "prompt": "vllm:request_prompt_tokens",
    "generation": "vllm:request_generation_tokens",
    "step_tokens": "vllm:iteration_tokens_total",
}


class EnginePages:
    """One engine as the production collector of vLLM sees it."""

    def __init__(self, engine: Engine, gpus: list[Gpu], epoch: float) -> None:
        self.engine, self.gpus, self.epoch = engine, gpus, epoch
        name = engine.settings.label
        self.source = Source(name, "vllm", "serving", 2.0)
        self.about = Entity.of(engine=name)
        self.exposition = Exposition(table("vllm"), self.source)
        self.arrivals = Arrivals(self.source)
        self.frozen = FrozenEngines(self.source)
        self.page = Page(model_name=engine.machine.model.name, engine="0")
        self._facts_due = 0.0
        self._was_dead = False
        self._shown = (0, 0, 0.0)
        self._last_good: float | None = None

    def read(self, at: float, took_s: float) -> Batch:
        """Return what a look at it brings."""
        if not self.engine.up:
            self.frozen.reset()
            self._facts_due = 0.0
            return self._lost(at, "nothing listens at its address: connection refused")
        if not self.engine.alive:
            self.frozen.reset()
            return self._dead(at)
        self._last_good = at
        events: list[Event] = []
        if self._was_dead:
            self._was_dead = False
            events.append(self._event("dead", at, at, "info", "the engine answers again"))
        page = self._page()
        found = self.exposition.read(page, at, at)
        if found.restarted:
            self.arrivals.reset()
            self.frozen.reset()
            self._facts_due = 0.0
        events += found.events
        readings = ReadingsBuilder()
        for signal, entity, value in (*found.readings, *self.arrivals.rates(found, at)):
            readings.add(signal, entity, value)
        readings.add("serving.engine.dead", self.about, 0.0)
        readings.add("serving.scrape.duration", self.about, took_s)
        held = float(self.engine.load)
        readings.add("serving.requests.in_flight", self.about, held)
        seen = self.frozen.observe(at, held, found)
        for entity, is_frozen in seen.flags.items():
            readings.add("serving.engine.frozen", entity, float(is_frozen))
        events += [
            Event(n.at, at, "serving", "frozen", n.severity, n.entity, n.text, self.source.name) for n in seen.news
        ]
        links = tuple(Link(self.about, Entity.of(gpu=gpu.uuid), "pid") for gpu in self.gpus)
        health = Health(self.source.name, "vllm", "serving", "ok", "; ".join(seen.notes), 0.0, took_s, 2.0)
        return Batch(at, at, health, readings.build(), tuple(events), facts=self._facts(page, at), links=links)

    def _event(self, kind: str, at: float, seen: float, severity: str, text: str) -> Event:
        name = self.source.name
        return Event(at, seen, "serving", kind, severity, self.about, f"{name}: {text}", name)  # type: ignore[arg-type]

    def _lost(self, at: float, why: str) -> Batch:
        age = None if self._last_good is None else at - self._last_good
        return Batch(at, at, Health(self.source.name, "vllm", "serving", "down", why, age, 0.0, 2.0))

    def _dead(self, at: float) -> Batch:
        """Return what the API server of a dead engine tells."""
        found = self.exposition.read(self._page(), at, at)
        readings = ReadingsBuilder()
        for signal, entity, value in found.readings:
            if signal.startswith(("serving.http.", "serving.requests.rejected")):
                readings.add(signal, entity, value)
        readings.add("serving.engine.dead", self.about, 1.0)
        events: tuple[Event, ...] = ()
        if not self._was_dead:
            self._was_dead = True
            events = (self._event("dead", at, at, "critical", "the engine is dead: /health answers 503"),)
        lost = self._lost(at, "engine dead: /health answers 503, its API server lives on")
        return Batch(at, at, lost.health, readings.build(), events)

    def _page(self) -> MetricsPage:
        engine, page, counters = self.engine, self.page, self.engine.counters
        page.begin()
        if not engine.frozen:
            self._shown = (engine.in_batch, len(engine.waiting), engine.pool.usage)
        running, waiting, usage = self._shown
        page.add("vllm:num_requests_running", running)
        page.add("vllm:num_requests_waiting", waiting)
        page.add("vllm:kv_cache_usage_perc", usage)
        page.add("vllm:num_preemptions_total", counters.preemptions)
        page.add("vllm:prompt_tokens_total", counters.prompt_tokens)
        page.add("vllm:generation_tokens_total", counters.generation_tokens)
        page.add("vllm:prefix_cache_hits_total", counters.prefix_hits)
        page.add("vllm:prefix_cache_queries_total", counters.prefix_queries)
        page.add("vllm:admission_rejections_total", counters.rejected, reason="queue_full")
        for reason, count in counters.finished.items():
            page.add("vllm:request_success_total", count, finished_reason=reason)
        for status, count in counters.http.items():
            handler = "/v1/chat/completions"
            page.add("http_requests_total", count, handler=handler, method="POST", status=status)
        for field, name in HISTOGRAMS.items():
            page.histogram(name, getattr(counters, field))
        page.add("process_start_time_seconds", self.epoch + engine.started)
        return page.answer()

    def _facts(self, page: MetricsPage, at: float) -> tuple[Fact, ...]:
        if at < self._facts_due:
            return ()
        self._facts_due = at + FACTS_S
        engine, settings = self.engine, self.engine.settings
        known = {
            "version": "0.32.0",
            "model_root": f"{engine.machine.model.name}@{settings.version}",
            "max_model_len": "32768",
            "max_num_seqs": str(settings.max_sequences),
            "max_num_batched_tokens": str(settings.token_budget),
            "kv_blocks": str(engine.pool.total),
            "block_size": "16",
            "gpu_memory_utilization": str(settings.memory_share),
            "enable_prefix_caching": str(engine.caching),
        }
        return (*self.exposition.facts(page), *(Fact(self.about, key, value) for key, value in known.items()))


class StationPages:
    """A proxy's page of its guardrail, or a vector store's own page."""

    def __init__(self, station: Station, kind: str, layer: str, interval_s: float) -> None:
        self.station, self.kind = station, kind
        self.source = Source(kind, kind, layer, interval_s)
        self.exposition = Exposition(table(kind), self.source)
        self.page = Page()

    def read(self, at: float, now: float) -> Batch:
        """Return what a look at it brings."""
        station, page = self.station, self.page
        page.begin()
        if self.kind == "litellm":
            name = {"guardrail_name": station.name}
            page.add("litellm_guardrail_requests_total", station.requests, **name)
            latency = "litellm_guardrail_latency_seconds"
            page.histogram(latency, station.latency, **name, status="success", error_type="none")
            blocked = {"status": "error", "error_type": "HTTPException"}
            page.histogram(latency, station.latency_of_blocked, **name, **blocked)
        else:
            page.histogram("milvus_proxy_sq_latency", station.latency_ms, query_type="search")
            page.add("milvus_querynode_read_task_ready_len", max(station.inside(now) - 8, 0))
            page.add("milvus_querynode_read_task_concurrency", min(station.inside(now), 8))
        found = self.exposition.read(page.answer(), at, at)
        health = Health(self.source.name, self.kind, self.source.layer, "ok", "", 0.0, 0.05, self.source.interval_s)
        return Batch(at, at, health, found.readings, found.events)
