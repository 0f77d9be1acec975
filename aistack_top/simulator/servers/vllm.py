"""A vLLM 0.33 server: its metrics page, and what else it answers.

Names, labels, bucket edges and the order of the page are those of a 0.33.0 server's own text; help texts and the HTTP
and process families those of a 0.32.0 that was recorded. What the model does not have (multi-modal cache, KV
transfer) stands at 0, as on a server that does not use it.
"""

from collections.abc import Callable, Mapping, Sequence

from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.enginemetrics import FINISHED_REASONS, EngineMetrics
from aistack_top.simulator.histogram import Histogram
from aistack_top.simulator.servers.text import Labels, PageWriter, labels
from aistack_top.simulator.traffic import Tenant

VERSION = "0.33.0"
CACHE_TIERS = ("device", "host", "p2p", "disk", "external_unspecified")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")

_COUNTERS: tuple[tuple[str, str, Callable[[EngineMetrics], float]], ...] = (
    ("prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens.", lambda m: m.prefix_queries),
    ("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", lambda m: m.prefix_hits),
    (
        "external_prefix_cache_queries",
        "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried "
        "tokens.",
        lambda _: 0,
    ),
    (
        "external_prefix_cache_hits",
        "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached "
        "tokens.",
        lambda _: 0,
    ),
    ("mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items.", lambda _: 0),
    ("mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items.", lambda _: 0),
    ("num_preemptions", "Cumulative number of preemption from the engine.", lambda m: m.preemptions),
    ("prompt_tokens", "Number of prefill tokens processed.", lambda m: m.prompt_tokens),
)

_HISTOGRAMS: tuple[tuple[str, str, Callable[[EngineMetrics], Histogram]], ...] = (
    ("request_prompt_tokens", "Number of prefill tokens processed.", lambda m: m.request_prompt),
    ("request_generation_tokens", "Number of generation tokens processed.", lambda m: m.request_generation),
    ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", lambda m: m.iteration_tokens),
    (
        "request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
        lambda m: m.request_max_tokens,
    ),
    ("request_params_n", "Histogram of the n request parameter.", lambda m: m.params_n),
    ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", lambda m: m.request_max_tokens),
    ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", lambda m: m.ttft),
    ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", lambda m: m.itl),
    (
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        lambda m: m.time_per_output_token,
    ),
    ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", lambda m: m.e2e),
    ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", lambda m: m.queue),
    ("request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", lambda m: m.inference),
    ("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", lambda m: m.prefill),
    ("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", lambda m: m.decode),
    (
        "request_num_preemptions",
        "Histogram of the number of times a request was preempted.",
        lambda m: m.request_preemptions,
    ),
    (
        "request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        lambda m: m.request_computed,
    ),
)

_DRAFTS: tuple[tuple[str, str, Callable[[EngineMetrics], float]], ...] = (
    ("spec_decode_num_drafts", "Number of spec decoding drafts.", lambda m: m.drafts),
    ("spec_decode_num_draft_tokens", "Number of draft tokens.", lambda m: m.draft_tokens),
    ("spec_decode_num_accepted_tokens", "Number of accepted tokens.", lambda m: int(m.accepted_tokens)),
)


class VllmServer:
    """One server, with one engine or several data-parallel ranks; it remembers only what its metrics page would.

    ``adapters`` are the LoRA modules it was started with, ``epoch`` when the simulation's time began.
    """

    def __init__(self, engines: Sequence[SimulatedEngine], adapters: Sequence[str], epoch: float) -> None:
        self._engines = engines
        self._adapters = adapters
        self._epoch = epoch
        self._pid = 0
        self._lora_sets: dict[tuple[str, str], float] = {}

    @property
    def answers(self) -> bool:
        """Whether its process is there, frozen or not: it ends with the first of its engines."""
        return all(engine.up for engine in self._engines)

    @property
    def started(self) -> float:
        """When its process began, in seconds since the Unix epoch: it loads its weights before it answers."""
        first = self._engines[0]
        return self._epoch + first.started - first.config.load_s

    def load(self) -> dict[str, object]:
        """Return ``/load``: the requests that the API server holds, also those a frozen engine knows nothing of."""
        return {"server_load": sum(engine.load for engine in self._engines)}

    def models(self) -> dict[str, object]:
        """Return ``/v1/models``: the model by its served name, then its adapters."""
        config, created = self._engines[0].config, int(self.started)
        name = config.served_name or config.model
        # a new version is served from another place
        root = config.model if config.version == "1" else f"{config.model}@{config.version}"
        rows = [_model(name, root, None, config.max_model_len, created)]
        return {
            "object": "list",
            "data": rows + [_model(lora, f"/adapters/{lora}", name, None, created) for lora in self._adapters],
        }

    def metrics(self, now: float) -> bytes:
        """Return ``/metrics`` at a time in seconds since the Unix epoch."""
        if self._engines[0].pid != self._pid:
            self._pid = self._engines[0].pid
            self._lora_sets.clear()
        page = PageWriter()
        page.family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.")
        page.sample("process_start_time_seconds", (), self.started)
        self._http(page)
        marked = {self._labels(engine): engine for engine in self._engines}
        self._moment(page, marked)
        self._counters(page, marked)
        for name, says, read in _HISTOGRAMS:
            page.histogram(f"vllm:{name}", says, {of: read(e.metrics) for of, e in marked.items()}, self.started)
        self._adapters_in_use(page, now)
        info = {labels(**_cache_config(engine)): 1.0 for engine in self._engines}
        page.samples("vllm:cache_config_info", "gauge", "Information of the LLMEngine CacheConfig", info)
        return page.encode()

    def _labels(self, engine: SimulatedEngine) -> Labels:
        return labels(engine=str(engine.config.rank), model_name=engine.config.served_name or engine.config.model)

    def _http(self, page: PageWriter) -> None:
        done = sum(sum(engine.metrics.finished.values()) for engine in self._engines)
        refused = sum(engine.metrics.admission_rejections for engine in self._engines)
        post = {"handler": "/v1/chat/completions", "method": "POST"}
        counts = {labels(**post, status="2xx"): float(done)}
        if refused:
            counts[labels(**post, status="5xx")] = float(refused)
        page.counter("http_requests", "Total number of requests by method, status and handler.", counts, self.started)

    def _moment(self, page: PageWriter, marked: Mapping[Labels, SimulatedEngine]) -> None:
        gauges = {of: engine.gauges for of, engine in marked.items()}
        running = {of: float(one.running) for of, one in gauges.items()}
        page.samples("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", running)
        waiting = {of: float(one.waiting) for of, one in gauges.items()}
        page.samples("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting)
        why = {
            labels(**dict(of), reason="capacity"): float(one.waiting - one.waiting_deferred)
            for of, one in gauges.items()
        }
        why |= {labels(**dict(of), reason="deferred"): float(one.waiting_deferred) for of, one in gauges.items()}
        page.samples("vllm:num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.", why)
        asleep = {
            labels(**dict(of), sleep_state=state): float(state == "awake") for of in gauges for state in SLEEP_STATES
        }
        page.samples("vllm:engine_sleep_state", "gauge", "SimulatedEngine sleep state.", asleep)
        usage = {of: one.kv_usage for of, one in gauges.items()}
        page.samples("vllm:kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", usage)

    def _counters(self, page: PageWriter, marked: Mapping[Labels, SimulatedEngine]) -> None:
        def count(name: str, says: str, read: Callable[[EngineMetrics], float]) -> None:
            page.counter(f"vllm:{name}", says, {of: float(read(e.metrics)) for of, e in marked.items()}, self.started)

        def split(name: str, says: str, label: str, read: Callable[[EngineMetrics], Mapping[str, float]]) -> None:
            told = {of: read(engine.metrics) for of, engine in marked.items()}
            keys = next(iter(told.values()))
            parts = {labels(**dict(of), **{label: key}): float(one[key]) for key in keys for of, one in told.items()}
            page.counter(f"vllm:{name}", says, parts, self.started)

        for row in _COUNTERS:
            count(*row)
        split("prompt_tokens_by_source", "Number of prompt tokens by source.", "source", _by_source)
        count(
            "prompt_tokens_cached",
            "Number of cached prompt tokens (local + external).",
            lambda m: m.prompt_tokens_cached,
        )
        split("prompt_tokens_cached_by_source", "Prefix-cache hit tokens by the cache tier.", "source", _by_tier)
        count("generation_tokens", "Number of generation tokens processed.", lambda m: m.generation_tokens)
        split("request_success", "Count of successfully processed requests.", "finished_reason", _by_reason)
        refused = sum(engine.metrics.admission_rejections for engine in self._engines)
        name = dict(next(iter(marked)))["model_name"]
        told = {
            labels(model_name=name, reason="max_num_queued_reqs"): float(refused),
            labels(model_name=name, reason="max_num_queued_tokens"): 0.0,
        }
        says = "Number of admission attempts rejected by a queue limit, by reason."
        page.counter("vllm:admission_rejections", says, told, self.started)
        if any(engine.config.num_speculative_tokens for engine in self._engines):
            for row in _DRAFTS:
                count(*row)

    def _adapters_in_use(self, page: PageWriter, now: float) -> None:
        """Write which adapters run and wait; the value is the time, and sets of the past linger, as in vLLM."""
        most = self._engines[0].config.max_loras
        if not most:
            return
        running = sorted({lora for engine in self._engines for lora in engine.gauges.running_loras})
        waiting = sorted({lora for engine in self._engines for lora in engine.gauges.waiting_loras})
        self._lora_sets[",".join(running), ",".join(waiting)] = now
        told = {
            labels(max_lora=str(most), running_lora_adapters=some, waiting_lora_adapters=others): at
            for (some, others), at in self._lora_sets.items()
        }
        page.samples("vllm:lora_requests_info", "gauge", "Running stats on lora requests.", told)


def adapters_of(engines: Sequence[SimulatedEngine], tenants: Sequence[Tenant]) -> tuple[str, ...]:
    """Return the LoRA modules that a server was started with: those its model's tenants ask for."""
    config = engines[0].config
    asked = {tenant.lora for tenant in tenants if tenant.lora and tenant.model == config.served_name}
    return tuple(sorted(asked)) if config.max_loras else ()


def _by_source(metrics: EngineMetrics) -> Mapping[str, float]:
    cached = metrics.prompt_tokens_cached
    return {"local_compute": metrics.prompt_tokens - cached, "local_cache_hit": cached, "external_kv_transfer": 0}


def _by_tier(metrics: EngineMetrics) -> Mapping[str, float]:
    return dict.fromkeys(CACHE_TIERS, 0) | {"device": metrics.prompt_tokens_cached}


def _by_reason(metrics: EngineMetrics) -> Mapping[str, float]:
    return {reason: metrics.finished[reason] for reason in FINISHED_REASONS}


def _cache_config(engine: SimulatedEngine) -> dict[str, str]:
    config = engine.config
    return {
        "block_size": str(config.block_size),
        "cache_dtype": "auto",
        "enable_prefix_caching": str(config.enable_prefix_caching),
        "engine": str(config.rank),
        "gpu_memory_utilization": str(config.gpu_memory_utilization),
        "kv_cache_size_tokens": str(engine.num_gpu_blocks * config.block_size),
        "num_gpu_blocks": str(engine.num_gpu_blocks),
    }


def _model(name: str, root: str, parent: str | None, length: int | None, created: int) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": length,
        "permission": [],
    }
