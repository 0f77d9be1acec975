"""A continuous-batching engine: what it does in each step, and when.

Each step decodes one token of every sequence in the batch and works on prompts in chunks within a budget of tokens. A
prompt is let in when there is a place in the batch and blocks for its first chunk, above a watermark; it takes more
blocks chunk by chunk. When a decode needs a block and none can be had, who came last is thrown out, and its whole
context is computed again.

Runs of steps in which nothing but decoding happens are planned at once and applied as far as time has gone, so that an
hour costs seconds. An arrival or a look at the counters cuts the run at the step that is under way.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from enginemodel.blocks import BLOCK, Pool
from enginemodel.counting import EngineCounters
from enginemodel.physics import Machine, StepTime, Work, kv_tokens, step_time
from enginemodel.request import Request, blocks_for

MAX_RUN = 64
WATERMARK = 0.01


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine was started with."""

    label: str
    machine: Machine
    max_sequences: int = 96
    token_budget: int = 2048
    memory_share: float = 0.9
    queue_limit: int = 400
    version: str = "r1"


@dataclass(slots=True)
class Plan:
    """Steps under way: ``first`` seconds for the first, each ``more`` longer than the one before."""

    start: float
    steps: int
    first: float
    more: float
    time: StepTime
    chunks: tuple[tuple[Request, int], ...] = ()
    applied: int = 0

    def end(self, steps: int) -> float:
        """Return when so many steps will have been done."""
        return self.start + steps * self.first + self.more * steps * (steps - 1) / 2.0

    def done(self, now: float) -> int:
        """Return how many steps end by a time."""
        low, high = self.applied, self.steps
        while low < high:
            middle = (low + high + 1) // 2
            if self.end(middle) <= now + 1e-9:
                low = middle
            else:
                high = middle - 1
        return low


class Engine:
    """One engine. ``on_first`` and ``on_end`` are called with a request when its first token, or its end, comes."""

    def __init__(
        self,
        settings: EngineSettings,
        on_first: Callable[[Request, float], None],
        on_end: Callable[[Request, float], None],
    ) -> None:
        self.settings, self.machine = settings, settings.machine
        self.max_sequences = settings.max_sequences
        self.on_first, self.on_end = on_first, on_end
        self.pool = Pool(kv_tokens(self.machine, settings.memory_share) // BLOCK)
        self.up, self.alive, self.frozen, self.caching = True, True, False, True
        self.started = 0.0
        self.held = 0
        self.produced = 0
        self.busy_s = self.memory_s = self.tensor_s = 0.0
        self.version = 0
        self.counters = EngineCounters()
        self._begin()

    def _begin(self) -> None:
        self.waiting: deque[Request] = deque()
        self.filling: list[Request] = []
        self.running: dict[int, Request] = {}
        self._phases = [0] * BLOCK
        self._ends: list[tuple[int, int, int]] = []
        self._tick = 0
        self._context = 0
        self.plan: Plan | None = None

    @property
    def load(self) -> int:
        """Requests inside."""
        return len(self.waiting) + len(self.filling) + len(self.running)

    @property
    def in_batch(self) -> int:
        """Requests with a place in the batch."""
        return len(self.filling) + len(self.running)

    @property
    def due(self) -> float | None:
        """When the plan ends; None where there is none."""
        return None if self.plan is None else self.plan.end(self.plan.steps)

    def submit(self, request: Request, now: float) -> bool:
        """Take a request; return whether it is admitted."""
        self.advance(now)
        if len(self.waiting) >= self.settings.queue_limit:
            self.counters.rejected += 1
            return False
        request.entered, request.placed, request.first_token = now, None, None
        request.generated = request.cached = 0
        request.to_compute, request.computed = request.prompt, 0
        self.waiting.append(request)
        self._cut(now)
        return True

    def abort(self, request: Request, now: float) -> None:
        """Let a request go whose client hung up; nothing is counted, as vLLM's Python server counts nothing."""
        self.advance(now)
        if request in self.waiting:
            self.waiting.remove(request)
        elif request in self.filling:
            self.filling.remove(request)
            self._release(request, request.own_blocks)
            self._drop_chunk(request)
        elif self.running.pop(request.number, None) is not None:
            self._leave_batch(request)
            self._release(request, request.blocks_at(self._tick))
        request.epoch += 1
        self._cut(now)

    def stop(self, now: float) -> list[Request]:
        """End the engine's process; return the requests that were lost with it. Its API server may live on (``up``)."""
        self.advance(now)
        lost = [*self.waiting, *self.filling, *self.running.values()]
        for request in lost:
            request.epoch += 1
            request.stands_on = ""
        self.pool.clear()
        self._begin()
        self.up = self.alive = False
        return lost

    def start(self, now: float) -> None:
        """Begin a new process with a cold cache."""
        self.up, self.alive, self.started, self.frozen = True, True, now, False
        self.counters = EngineCounters()
        self._begin()

    def freeze(self, now: float) -> None:
        """Take no step from now on."""
        self.advance(now)
        self.frozen, self.plan = True, None
        self.version += 1

    def thaw(self, now: float) -> None:
        """Go on."""
        self.frozen = False
        self.advance(now)

    def advance(self, now: float) -> None:
        """Apply all steps that end by now, and plan the next ones."""
        while self.plan is not None and not self.frozen:
            plan = self.plan
            done = plan.done(now)
            self._apply(plan, done - plan.applied, now)
            plan.applied = done
            if done < plan.steps:
                return
            self.plan = None
            self._plan(plan.end(plan.steps))
        if self.plan is None and not self.frozen and self.up:
            self._plan(now)

    def changed(self, now: float) -> None:
        """Plan anew from the step under way on: the machine is another."""
        self.advance(now)
        self._cut(now)

    def _cut(self, now: float) -> None:
        """End a run of steps with the one under way."""
        plan = self.plan
        if plan is None:
            self.advance(now)
            return
        if plan.steps > plan.applied + 1:
            plan.steps = plan.applied + 1
            self.version += 1

    def _plan(self, now: float) -> None:
        self.version += 1
        self._make_room()
        chunks, pairs, reads = self._chunks(now)
        count = len(self.running)
        if not count and not chunks:
            return
        prompt = sum(size for _, size in chunks)
        time = step_time(self.machine, Work(count, self._context, prompt, pairs, reads))
        if chunks:
            self.plan = Plan(now, 1, time.seconds, 0.0, time, tuple(chunks))
            return
        steps = self._run_length()
        later = step_time(self.machine, Work(count, self._context + count * MAX_RUN)).seconds
        self.plan = Plan(now, steps, time.seconds, (later - time.seconds) / MAX_RUN, time)

    def _run_length(self) -> int:
        """Return how many steps may be run at once: until an end, and while there are blocks for sure."""
        while self._ends and not self._is_current(self._ends[0]):
            heapq.heappop(self._ends)
        steps = min(self._ends[0][0] - self._tick, MAX_RUN) if self._ends else MAX_RUN
        needed, room = 0, self.pool.room
        for step in range(steps):
            needed += self._phases[(-self._tick - step) % BLOCK]
            if needed > room:
                return max(step, 1)
        return max(steps, 1)

    def _is_current(self, end: tuple[int, int, int]) -> bool:
        request = self.running.get(end[1])
        return request is not None and request.epoch == end[2]

    def _make_room(self) -> None:
        """Throw out who came last, until the next step's blocks can be had."""
        while self.running and self._phases[-self._tick % BLOCK] > self.pool.room:
            self._preempt()

    def _preempt(self) -> None:
        """Throw out who came last into the batch: its blocks are given back, and all of it is computed again."""
        if self.filling:
            request = self.filling.pop()
            self._release(request, request.own_blocks)
        else:
            request = self.running.pop(next(reversed(self.running)))
            self._leave_batch(request)
            request.to_compute = request.context(self._tick)
            self._release(request, request.blocks_at(self._tick))
        request.computed, request.epoch = 0, request.epoch + 1
        request.recomputes += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(request)

    def _chunks(self, now: float) -> tuple[list[tuple[Request, int]], float, float]:
        """Return the prompt chunks of the next step, the pairs they attend to, and the KV they read."""
        budget = self.settings.token_budget - len(self.running)
        reserved = self._phases[-self._tick % BLOCK]
        chunks: list[tuple[Request, int]] = []
        for request in self.filling:
            budget = self._add_chunk(request, budget, reserved, chunks)
        while budget > 0 and self.waiting and self.in_batch < self.max_sequences and self._admit(now, budget, reserved):
            budget = self._add_chunk(self.filling[-1], budget, reserved, chunks)
        if not chunks and not self.running and len(self.filling) > 1:
            self._preempt()  # prompts that are half there stand in each other's way
            return self._chunks(now)
        pairs = sum([size * (request.computed + size / 2.0) for request, size in chunks])
        return chunks, pairs, float(sum([request.computed for request, _ in chunks]))

    def _add_chunk(self, request: Request, budget: int, reserved: int, chunks: list[tuple[Request, int]]) -> int:
        """Add as much of a prompt as the budget and the blocks allow; return the budget that is left."""
        fits = (request.own_blocks + self.pool.room - reserved) * BLOCK - (request.computed - request.shared_tokens)
        size = min(request.to_compute - request.computed, budget, fits)
        if size <= 0:
            return budget
        needed = blocks_for(request.computed + size - request.shared_tokens) - request.own_blocks
        if needed > 0:
            self.pool.take(needed)
            request.own_blocks += needed
        chunks.append((request, size))
        return budget - size

    def _admit(self, now: float, budget: int, reserved: int) -> bool:
        """Let the first that waits in, if blocks for its first chunk can be had above the watermark."""
        request, pool = self.waiting[0], self.pool
        spare = reserved + (max(int(pool.total * WATERMARK), 1) if self.in_batch else 0)
        if blocks_for(min(request.to_compute, budget)) > pool.room - spare:
            return False
        self.waiting.popleft()
        hit, request.own_blocks = self._find_prefix(request)
        if request.placed is None:
            request.placed = now
            request.cached = hit
            self.counters.queue.observe(now - (request.entered or now))
        self.counters.prefix_queries += request.to_compute
        self.counters.prefix_hits += hit
        request.computed = hit
        extra = request.own_blocks - blocks_for(request.to_compute - request.shared_tokens)
        if extra > 0:
            pool.give_back(extra)
            request.own_blocks -= extra
        self.filling.append(request)
        return True

    def _find_prefix(self, request: Request) -> tuple[int, int]:
        """Return the tokens found in the cache and the blocks that came along; the last token is always computed."""
        request.stands_on, request.shared_tokens, own = "", 0, 0
        if not self.caching:
            return 0, 0
        hit = 0
        if request.prefix_name and request.prefix < request.to_compute:
            hit = self.pool.share(request.prefix_name)
            request.stands_on = request.prefix_name if hit else ""
            request.shared_tokens = hit
        if request.session and (hit or not request.prefix):
            kept = self.pool.fetch(request.session)
            if kept is not None:
                own = kept.blocks
                hit += min(kept.tokens, request.history)
        return min(hit, request.to_compute - 1), own

    def _apply(self, plan: Plan, steps: int, now: float) -> None:
        if steps <= 0:
            return
        count, first = len(self.running), plan.applied
        begin, end = plan.end(first), plan.end(first + steps)
        for step in range(steps):
            self.pool.take(self._phases[(-self._tick - step) % BLOCK])
        self._tick += steps
        self._context += steps * count
        self.produced += steps * count
        counters = self.counters
        counters.generation_tokens += steps * count
        prompt = sum(size for _, size in plan.chunks)
        if count:
            counters.itl.observe((end - begin) / steps, steps * count)
        counters.step_tokens.observe(count + prompt, steps)
        self.busy_s += (end - begin) * plan.time.gpu
        self.memory_s += (end - begin) * plan.time.memory
        self.tensor_s += (end - begin) * plan.time.tensor
        self._finish(end)
        for request, size in plan.chunks:
            request.computed += size
            if request.computed >= request.to_compute:
                self._filled(request, end)

    def _filled(self, request: Request, at: float) -> None:
        """Take a request into decoding: its prompt is computed, and one token came with it."""
        self.filling.remove(request)
        counters = self.counters
        self._keep_prefix(request)
        if request.first_token is None:
            request.first_token = at
            counters.prompt_tokens += request.prompt
            counters.ttft.observe(at - (request.entered or at))
            self.on_first(request, at)
        request.generated += 1
        counters.generation_tokens += 1
        self.produced += 1
        request.joined, request.tokens_at_join = self._tick, request.to_compute
        left = request.output - request.generated
        if left <= 0:
            self._end(request, at, request.own_blocks)
            return
        self.running[request.number] = request
        self._phases[self._phase(request)] += 1
        self._context += request.to_compute
        heapq.heappush(self._ends, (self._tick + left, request.number, request.epoch))

    def _keep_prefix(self, request: Request) -> None:
        """Let others stand on the tenant's prefix that this one has computed."""
        if not (self.caching and request.prefix_name) or request.stands_on or request.prefix >= request.to_compute:
            return
        if request.prefix_name in self.pool.prefixes:
            return
        blocks = request.prefix // BLOCK
        if not blocks or blocks >= request.own_blocks:
            return
        self.pool.keep(request.prefix_name, blocks, blocks * BLOCK)
        request.stands_on = request.prefix_name
        request.shared_tokens = self.pool.share(request.prefix_name)
        request.own_blocks = blocks_for(request.to_compute - request.shared_tokens)

    def _phase(self, request: Request) -> int:
        return (request.tokens_at_join - request.shared_tokens - request.joined) % BLOCK

    def _finish(self, at: float) -> None:
        while self._ends and self._ends[0][0] <= self._tick:
            end = heapq.heappop(self._ends)
            if self._is_current(end):
                request = self.running.pop(end[1])
                self._leave_batch(request)
                self._end(request, at, request.blocks_at(self._tick))

    def _leave_batch(self, request: Request) -> None:
        self._phases[self._phase(request)] -= 1
        self._context -= request.context(self._tick)
        request.generated += self._tick - request.joined

    def _end(self, request: Request, at: float, blocks: int) -> None:
        request.last_token = at
        counters, entered = self.counters, request.entered or at
        placed, first = request.placed or at, request.first_token or at
        counters.e2e.observe(at - entered)
        counters.prefill.observe(first - placed)
        counters.decode.observe(at - first)
        counters.prompt.observe(request.prompt)
        counters.generation.observe(request.generated)
        counters.finished["stop"] += 1
        counters.http["2xx"] += 1
        request.epoch += 1
        self._release(request, blocks, keep=True)
        self.on_end(request, at)

    def _release(self, request: Request, blocks: int, keep: bool = False) -> None:
        if keep and self.caching and request.session:
            self.pool.keep(request.session, blocks, request.prompt + request.generated - request.shared_tokens)
        else:
            self.pool.give_back(blocks)
        if request.stands_on:
            self.pool.leave(request.stands_on)
            request.stands_on = ""

    def _drop_chunk(self, request: Request) -> None:
        if self.plan is not None and self.plan.chunks:
            self.plan.chunks = tuple(pair for pair in self.plan.chunks if pair[0] is not request)
