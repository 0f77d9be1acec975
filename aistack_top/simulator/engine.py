"""One vLLM engine: a batch on its GPUs, one iteration after the other, as discrete events.

Iterations in which nothing can change (no prompt is computed, nobody ends, no block runs out) are run as one
event of up to half a second; a request that arrives meanwhile cuts it at the end of the iteration under way.
Counters read in between are therefore at most that old.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, sqrt
from random import Random

import msgspec

from aistack_top.simulator.batch import BatchLimits, Chunk, EngineBatch
from aistack_top.simulator.enginemetrics import EngineMetrics, Gauges
from aistack_top.simulator.event_queue import EventQueue
from aistack_top.simulator.gpu import Gpu, Load, SimulatedProcess
from aistack_top.simulator.hardware import GIB, LANGUAGE_MODELS
from aistack_top.simulator.kvcache import KvCache
from aistack_top.simulator.request import Request
from aistack_top.simulator.steptime import LORA_OVERHEAD, FaultFactors, StepCosts, pace

MAX_RUN_S = 0.5
ACTIVATIONS = 4.0 * GIB
"""Memory beside weights and KV cache on each GPU: activations, CUDA graphs, buffers. Assumed."""

JITTER = 0.03
"""Spread of an iteration's time. Assumed."""


class EngineConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An engine as it is started: the settings vLLM has under the same names, and where it runs."""

    name: str
    model: str
    gpus: tuple[int, ...]
    port: int = 8000
    rank: int = 0
    served_name: str = ""
    version: str = "1"
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 16384
    block_size: int = 16
    num_gpu_blocks: int = 0
    """Number of blocks; 0 takes what ``gpu_memory_utilization`` leaves."""

    gpu_memory_utilization: float = 0.90
    enable_prefix_caching: bool = True
    max_loras: int = 0
    num_speculative_tokens: int = 0
    acceptance: float = 0.7
    """Chance that a drafted token is right. 0.6 to 0.8: EAGLE, arXiv 2401.15077, table 3."""

    max_num_queued_reqs: int = 0
    load_s: float = 75.0
    """Seconds from start to ready; 64 to 87 s on a small real server, minutes for large weights."""


@dataclass(slots=True)
class IterationRun:
    """Iterations under way: their number, the first one's time, by how much each next one is longer."""

    start: float
    steps: int
    first: float
    growth: float
    chunks: list[Chunk]
    prompt: int
    busy: float
    tensor: float
    dram: float
    wire_bytes: float

    def lasts(self, steps: int) -> float:
        """Return the time of the first so many iterations."""
        return steps * self.first + self.growth * steps * (steps - 1) / 2

    def steps_by(self, moment: float) -> int:
        """Return the number of iterations, begun ones included, up to a moment."""
        gone = moment - self.start
        if self.growth <= 0.0:
            return max(1, ceil(gone / self.first))
        half = self.first - self.growth / 2
        return max(1, ceil((sqrt(half * half + 2 * self.growth * gone) - half) / self.growth))


@dataclass(slots=True)
class EngineUsage:
    """What an engine did since it was last asked: seconds of kernels, of arithmetic, of memory; bytes on links."""

    busy: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    wire_bytes: float = 0.0


@dataclass(slots=True, eq=False)
class SimulatedEngine:
    """An engine's life: started, serving, frozen, gone. It tells ``on_finished`` of each answer it completes."""

    config: EngineConfig
    gpus: list[Gpu]
    agenda: EventQueue
    rng: Random
    pid: int
    on_finished: Callable[[Request, float], None]
    knobs: FaultFactors = field(default_factory=FaultFactors)
    up: bool = False
    frozen: bool = False
    started: float = 0.0
    restarts: int = 0
    num_gpu_blocks: int = 0
    acceptance: float = 0.0
    batch: EngineBatch = field(init=False)
    metrics: EngineMetrics = field(init=False)
    _pace: StepCosts = field(init=False)
    _run: IterationRun | None = None
    _version: int = 0
    _carry: float = 0.0
    _said: Gauges = field(default_factory=Gauges)
    _usage: EngineUsage = field(default_factory=EngineUsage)

    def __post_init__(self) -> None:
        self.acceptance = self.config.acceptance
        self.start(0.0)

    @property
    def label(self) -> str:
        """The engine's name, with ``/rank`` if its server has several."""
        return self.config.name if self.config.rank == 0 else f"{self.config.name}/{self.config.rank}"

    @property
    def pace(self) -> StepCosts:
        """How fast it is now."""
        return self._pace

    @property
    def load(self) -> int:
        """Requests in flight as the API server's ``/load`` counts them, frozen engine or not."""
        return len(self.batch.running) + len(self.batch.waiting)

    @property
    def tokens_per_step(self) -> float:
        """1 + a + a^2 ... + a^k: the mean tokens of a step with k drafts (Leviathan 2022, arXiv 2211.17192)."""
        drafts = self.config.num_speculative_tokens
        return sum(self.acceptance**power for power in range(drafts + 1)) if drafts else 1.0

    @property
    def gauges(self) -> Gauges:
        """What its metrics say of the moment; a frozen engine repeats its last words."""
        return self._said if self.frozen else self._now()

    def start(self, now: float) -> None:
        """Start the server: memory is taken, blocks are counted, everything it knew is gone."""
        config = self.config
        self.num_gpu_blocks = config.num_gpu_blocks or self._blocks_that_fit()
        needed = -(-config.max_model_len // config.block_size) + 1
        if self.num_gpu_blocks < needed:
            raise ValueError(f"{config.name}: {self.num_gpu_blocks} KV blocks; one full request needs {needed}")
        limits = BatchLimits(
            config.max_num_seqs,
            config.max_num_batched_tokens,
            config.max_loras,
            config.num_speculative_tokens,
            config.enable_prefix_caching,
        )
        self.metrics = EngineMetrics(config.max_model_len)
        self.batch = EngineBatch(KvCache(self.num_gpu_blocks, config.block_size), limits, self.metrics)
        self.up, self.frozen, self.started = True, False, now
        self._run, self._carry = None, 0.0
        self._take_memory()
        self.refresh(1.0)

    def stop(self, now: float) -> list[Request]:
        """End the process, and return the requests it had."""
        lost = self.batch.requests()
        self._version += 1
        self._run = None
        self.up = self.frozen = False
        for gpu in self.gpus:
            gpu.processes.pop(self.pid, None)
        self.batch = EngineBatch(KvCache(self.num_gpu_blocks, self.config.block_size), self.batch.limits, self.metrics)
        return lost

    def restart(self, now: float, **changes: object) -> None:
        """Start again after `stop`, with changed settings if given; the pid is a new one."""
        self.config = msgspec.structs.replace(self.config, **changes)
        self.restarts += 1
        self.pid += 100
        self.start(now)

    def freeze(self) -> None:
        """Stop in mid-work, as a process under SIGSTOP does: its metrics page goes on saying what was last so."""
        self._said = self._now()
        self.frozen = True
        self._version += 1
        self._run = None

    def thaw(self, now: float) -> None:
        """Go on after `freeze`; the iteration under way then is computed again."""
        self.frozen = False
        self._plan(now)

    def submit(self, request: Request, now: float) -> bool:
        """Take a request; False if the queue is at its limit."""
        limit = self.config.max_num_queued_reqs
        if limit and len(self.batch.waiting) >= limit:
            self.metrics.admission_rejections += 1
            return False
        idle = self._run is None
        alone = not self.batch.waiting
        self.batch.waiting.append(request)
        if self.frozen:
            return True
        if idle:
            self._plan(now)
        elif alone:
            self._cut(now)
        return True

    def cancel(self, request: Request) -> bool:
        """Drop a request its client no longer waits for; False if it is not here."""
        return self.batch.drop(request)

    def refresh(self, host_share: float) -> None:
        """Look at the GPUs and the host again: their speed counts from the next iteration on."""
        self._pace = pace(LANGUAGE_MODELS[self.config.model], self.gpus, self.knobs, host_share)

    def drain_usage(self, dt: float) -> Load:
        """Return what each of its GPUs did in the last ``dt`` seconds; what does not fit is left for the next."""
        usage = self._usage
        share = min(1.0, dt / usage.busy) if usage.busy > 0.0 else 0.0
        load = Load(usage.busy * share / dt, usage.tensor * share / dt, usage.dram * share / dt)
        load.nvlink_bytes = usage.wire_bytes * share
        rest = 1.0 - share
        self._usage = EngineUsage(usage.busy * rest, usage.tensor * rest, usage.dram * rest, usage.wire_bytes * rest)
        return load

    def _now(self) -> Gauges:
        batch = self.batch
        waiting_loras = {request.lora for request in batch.waiting if request.lora} if self.config.max_loras else ()
        return Gauges(
            running=len(batch.running),
            waiting=len(batch.waiting),
            kv_usage=batch.kv.usage,
            running_loras=tuple(sorted(batch.loras)),
            waiting_loras=tuple(sorted(waiting_loras)),
        )

    def _blocks_that_fit(self) -> int:
        config, model = self.config, LANGUAGE_MODELS[self.config.model]
        n = len(self.gpus)
        budgets = []
        for gpu in self.gpus:
            free = gpu.model.memory - gpu.memory_used
            wanted = gpu.model.memory * config.gpu_memory_utilization
            budgets.append(min(wanted, free * 0.97) - model.parameters * model.weight_bytes / n - ACTIVATIONS)
        return int(max(0.0, min(budgets)) * n / (model.kv_per_token * config.block_size))

    def _take_memory(self) -> None:
        model, n = LANGUAGE_MODELS[self.config.model], len(self.gpus)
        cache = self.num_gpu_blocks * self.config.block_size * model.kv_per_token
        each = (cache + model.parameters * model.weight_bytes) / n + ACTIVATIONS
        for gpu in self.gpus:
            gpu.processes[self.pid] = SimulatedProcess(self.pid, "VLLM::EngineCore", each)

    def _plan(self, now: float) -> None:
        if not self.up or self.frozen:
            return
        batch, speed = self.batch, self.tokens_per_step
        next_gain = int(self._carry + speed)
        preempted = self.metrics.preemptions
        chunks = batch.compose(next_gain, now)
        decoding = batch.decoding
        if not chunks and not decoding:
            self._run = None
            return
        run = self._iterations(now, chunks, decoding, speed)
        # after a preemption nobody was admitted; the next iteration must look again
        if not chunks and preempted == self.metrics.preemptions:
            run.steps = self._steps_ahead(run, speed, next_gain)
        self._run = run
        self._book(now)

    def _iterations(self, now: float, chunks: list[Chunk], decoding: int, speed: float) -> IterationRun:
        rates, batch = self._pace, self.batch
        prompt, pairs = 0, 0.0
        for chunk in chunks:
            prompt += chunk.tokens
            pairs += chunk.tokens * (chunk.context + chunk.tokens / 2)
        tokens = decoding * (1 + self.config.num_speculative_tokens) + prompt
        compute = rates.compute(tokens, pairs)
        memory = rates.memory(batch.kv_tokens)
        factor = max(0.5, self.rng.gauss(1.0, JITTER)) * (1.0 + LORA_OVERHEAD if batch.loras else 1.0)
        overhead = rates.overhead(len(batch.running), tokens)
        work = max(compute, memory)
        growth = rates.kv_token * decoding * speed * factor if memory > compute else 0.0
        links = rates.collective + rates.collective_token * tokens
        return IterationRun(
            start=now,
            steps=1,
            first=(overhead + work) * factor,
            growth=growth,
            chunks=chunks,
            prompt=prompt,
            busy=(work + links) * factor,
            tensor=min(compute, work) * factor,
            dram=min(memory, work) * factor * rates.memory_rate,
            wire_bytes=rates.nvlink_token_bytes * tokens,
        )

    def _steps_ahead(self, run: IterationRun, speed: float, next_gain: int) -> int:
        to_end = self.batch.until_next_end()
        steps = max(1, ceil((to_end - self._carry) / speed - 1e-9))
        steps = min(steps, max(1, int(MAX_RUN_S / run.first)))
        while steps > 1:
            gain = int(self._carry + steps * speed)
            room = self.batch.room(gain)
            if room >= gain:
                break
            steps = max(1, min(steps - 1, int((room - self._carry) / speed))) if room > next_gain else 1
        return steps

    def _book(self, now: float) -> None:
        run = self._run
        if run is None:
            return
        self._version += 1
        version = self._version
        self.agenda.at(run.start + run.lasts(run.steps), lambda moment: self._commit(version, moment))

    def _cut(self, now: float) -> None:
        run = self._run
        if run is not None and run.steps > 1:
            steps = run.steps_by(now)
            if steps < run.steps:
                run.steps = steps
                self._book(now)

    def _commit(self, version: int, now: float) -> None:
        run = self._run
        if version != self._version or run is None:
            return
        batch, metrics, steps = self.batch, self.metrics, run.steps
        decoding = batch.decoding
        gain = self._carry + steps * self.tokens_per_step
        self._carry = gain % 1.0
        lasted = run.lasts(steps)
        if decoding:
            metrics.itl.observe(lasted / steps, decoding * steps)
        ended, useful = batch.decode(int(gain))
        done, first = batch.prefilled(run.chunks, now)
        metrics.generation_tokens += useful + first
        metrics.iteration_tokens.observe((useful + first) / steps + run.prompt, steps)
        self._count_drafts(decoding * steps, useful)
        usage = self._usage
        usage.busy += run.busy * steps + (lasted - steps * run.first)
        usage.tensor += run.tensor * steps
        usage.dram += run.dram * steps + (lasted - steps * run.first)
        usage.wire_bytes += run.wire_bytes * steps
        for request in ended + done:
            request.finish_reason = "length" if request.generated >= request.max_tokens else "stop"
            request.last_token = now
            metrics.finish(request, now)
            self.on_finished(request, now)
        self._plan(now)

    def _count_drafts(self, sequences: int, useful: int) -> None:
        drafts = self.config.num_speculative_tokens
        if drafts and sequences:
            self.metrics.drafts += sequences
            self.metrics.draft_tokens += sequences * drafts
            self.metrics.accepted_tokens += max(0, min(useful - sequences, sequences * drafts))
