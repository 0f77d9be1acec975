"""What one engine counts about itself: the counters and histograms behind vLLM 0.33's ``/metrics``."""

from dataclasses import dataclass, field

from aistack_top.simulator.histogram import (
    ITERATION_TOKEN_EDGES,
    PARAM_N_EDGES,
    PREEMPTION_EDGES,
    REQUEST_TIME_EDGES,
    TOKEN_TIME_EDGES,
    TTFT_EDGES,
    Histogram,
    token_edges,
)
from aistack_top.simulator.request import Request

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")
"""The values of ``finished_reason`` in vLLM 0.33."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What an engine says of the moment. Frozen engines go on saying the last of it."""

    running: int = 0
    waiting: int = 0
    waiting_deferred: int = 0
    kv_usage: float = 0.0
    running_loras: tuple[str, ...] = ()
    waiting_loras: tuple[str, ...] = ()


def _times() -> Histogram:
    return Histogram(REQUEST_TIME_EDGES)


@dataclass(slots=True)
class EngineMetrics:
    """Counters and histograms since the engine's start; a restart makes a new object."""

    max_model_len: int
    preemptions: int = 0
    prompt_tokens: int = 0
    prompt_tokens_cached: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    recomputed_tokens: int = 0
    admission_rejections: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: float = 0.0
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISHED_REASONS, 0))
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_EDGES))
    itl: Histogram = field(default_factory=lambda: Histogram(TOKEN_TIME_EDGES))
    time_per_output_token: Histogram = field(default_factory=lambda: Histogram(TOKEN_TIME_EDGES))
    e2e: Histogram = field(default_factory=_times)
    queue: Histogram = field(default_factory=_times)
    inference: Histogram = field(default_factory=_times)
    prefill: Histogram = field(default_factory=_times)
    decode: Histogram = field(default_factory=_times)
    iteration_tokens: Histogram = field(default_factory=lambda: Histogram(ITERATION_TOKEN_EDGES))
    request_preemptions: Histogram = field(default_factory=lambda: Histogram(PREEMPTION_EDGES))
    params_n: Histogram = field(default_factory=lambda: Histogram(PARAM_N_EDGES))
    request_prompt: Histogram = field(init=False)
    request_generation: Histogram = field(init=False)
    request_computed: Histogram = field(init=False)
    request_max_tokens: Histogram = field(init=False)

    def __post_init__(self) -> None:
        edges = token_edges(self.max_model_len)
        self.request_prompt, self.request_generation = Histogram(edges), Histogram(edges)
        self.request_computed, self.request_max_tokens = Histogram(edges), Histogram(edges)

    def first_token(self, request: Request, now: float) -> None:
        """Count a first token: vLLM counts a prompt's tokens here, and never again after a preemption."""
        self.ttft.observe(now - request.queued)
        self.prompt_tokens += request.prompt_tokens
        self.prompt_tokens_cached += request.cached_tokens

    def finish(self, request: Request, now: float) -> None:
        """Count a finished request: everything vLLM learns only now.

        Raises:
            ValueError: the request never had a first token.

        """
        if request.scheduled is None or request.first_token is None:
            raise ValueError(f"request {request.number} ends before it began")
        decode = now - request.first_token
        self.finished[request.finish_reason] += 1
        self.e2e.observe(now - request.queued)
        self.queue.observe(request.scheduled - request.queued)
        self.inference.observe(now - request.scheduled)
        self.prefill.observe(request.first_token - request.scheduled)
        self.decode.observe(decode)
        if request.generated > 1:
            self.time_per_output_token.observe(decode / (request.generated - 1))
        self.request_prompt.observe(request.prompt_tokens)
        self.request_generation.observe(request.generated)
        self.request_computed.observe(request.prompt_tokens - request.cached_tokens)
        self.request_max_tokens.observe(request.max_tokens)
        self.request_preemptions.observe(request.preemptions)
        self.params_n.observe(1.0)
