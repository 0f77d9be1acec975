"""Continuous batching: who runs, who waits, which blocks they hold, as vLLM's V1 scheduler decides it.

All decoding sequences gain the same number of tokens in an iteration, so one ``position`` counts for them all: a
sequence that joins at position p with r tokens to go ends at p + r, and needs a new block whenever the position
has a certain remainder. That makes many iterations as cheap as one, however large the batch.

The order is vLLM's (v1/core/sched/scheduler.py): running sequences first, then waiting ones in the order of their
arrival while the token budget, ``max_num_seqs`` and the blocks allow; when a running sequence lacks a block, the
one admitted last is preempted, loses all its blocks and waits at the head, to be computed again from its start.
A prompt is admitted only if all of it fits.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from aistack_top.simulator.enginemetrics import EngineMetrics
from aistack_top.simulator.kvcache import KvCache
from aistack_top.simulator.request import Request


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one engine takes on: sequences, tokens an iteration, adapters, drafted tokens a step."""

    max_num_seqs: int
    max_num_batched_tokens: int
    max_loras: int = 0
    drafts: int = 0
    prefix_caching: bool = True


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a prompt computed in one iteration; ``context`` tokens of it are there already."""

    request: Request
    tokens: int
    context: int


class EngineBatch:
    """The scheduler's state. Every request in it is either in ``waiting`` or in ``running``.

    ``decoding`` is how many sequences gain tokens in each iteration: those running that are not ``prefilling``.
    """

    def __init__(self, kv: KvCache, limits: BatchLimits, metrics: EngineMetrics) -> None:
        self.kv, self.limits, self.metrics = kv, limits, metrics
        self.waiting: deque[Request] = deque()
        self.running: dict[int, Request] = {}
        self.prefilling: dict[int, Request] = {}
        self.decoding = 0
        self.position = 0
        self.kv_tokens = 0
        self._reserved = 0
        self.loras: dict[str, int] = {}
        self._ends: list[tuple[int, int, int, Request]] = []
        self._boundaries = [0] * kv.block_size

    def requests(self) -> list[Request]:
        """Return everybody in it, running first."""
        return [*self.running.values(), *self.waiting]

    def compose(self, tokens: int, now: float) -> list[Chunk]:
        """Prepare the next iteration, in which each decoding sequence gains ``tokens``; return its prompt chunks."""
        preempted = self._preempt_until_it_fits(tokens, now)
        budget = self.limits.max_num_batched_tokens - self.decoding * (1 + self.limits.drafts)
        chunks: list[Chunk] = []
        # running sequences come first: what they need next is not for those that wait
        self._reserved = self._allocations(tokens)
        for request in self.prefilling.values():
            budget -= self._chunk(request, budget, chunks)
        while self.waiting and budget > 0 and not preempted and len(self.running) < self.limits.max_num_seqs:
            place = self._next_waiting()
            if place is None or not self._admit(self.waiting[place], now):
                break
            request = self.waiting[place]
            del self.waiting[place]
            budget -= self._chunk(request, budget, chunks)
        return chunks

    def room(self, wanted: int) -> int:
        """Return how many tokens each decoding sequence can gain, at most ``wanted``, before blocks run out."""
        decoding, free, size = self.decoding, self.kv.available, self.kv.block_size
        tokens = free // decoding * size if decoding else wanted
        if tokens >= wanted:
            return wanted
        free %= decoding
        while tokens < wanted and free >= self._boundaries[(self.position + tokens) % size]:
            free -= self._boundaries[(self.position + tokens) % size]
            tokens += 1
        return tokens

    def until_next_end(self) -> int:
        """Return how many tokens the sequence that ends first has to go; 0 if nobody decodes."""
        ends = self._ends
        while ends and ends[0][2] != ends[0][3].epoch:
            heapq.heappop(ends)
        return ends[0][0] - self.position if ends else 0

    def decode(self, tokens: int) -> tuple[list[Request], int]:
        """Let each decoding sequence gain tokens; return those that have ended and how many tokens were useful."""
        decoding = self.decoding
        if not decoding:
            return [], 0
        self.kv.allocate(self._allocations(tokens))
        self.position += tokens
        self.kv_tokens += tokens * decoding
        useful, ended = tokens * decoding, []
        while self._ends and self.until_next_end() <= 0 and self._ends:
            mark, _, _, request = heapq.heappop(self._ends)
            useful -= self.position - mark
            request.generated += mark - request.joined
            self._leave(request)
            ended.append(request)
        return ended, useful

    def prefilled(self, chunks: Iterable[Chunk], now: float) -> tuple[list[Request], int]:
        """Take computed prompt chunks; return requests that end with this token, and how many tokens came out."""
        ended, tokens = [], 0
        for chunk in chunks:
            request = chunk.request
            if request.number not in self.running:
                continue
            request.to_prefill -= chunk.tokens
            if request.to_prefill:
                continue
            del self.prefilling[request.number]
            tokens += 1
            request.stored = request.prompt_tokens + request.generated
            request.generated += 1
            if request.first_token is None:
                request.first_token = now
                self.metrics.first_token(request, now)
            else:
                self.metrics.itl.observe(now - request.last_token)
            if self._join(request):
                ended.append(request)
        return ended, tokens

    def drop(self, request: Request) -> bool:
        """Take a request out, wherever it stands; False if it is not here."""
        if request.number in self.running:
            self._stop(request)
            return True
        if request in self.waiting:
            self.waiting.remove(request)
            return True
        return False

    def _chunk(self, request: Request, budget: int, chunks: list[Chunk]) -> int:
        tokens = min(budget, request.to_prefill)
        if tokens <= 0:
            return 0
        context = request.prompt_tokens + request.generated - request.to_prefill
        chunks.append(Chunk(request, tokens, context))
        return tokens

    def _next_waiting(self) -> int | None:
        # a request whose adapter has no slot is passed over, as vLLM does, not waited for
        if not self.limits.max_loras or len(self.loras) < self.limits.max_loras:
            return 0
        for place, request in enumerate(self.waiting):
            if not request.lora or request.lora in self.loras:
                return place
        return None

    def _admit(self, request: Request, now: float) -> bool:
        kv, tokens = self.kv, request.prompt_tokens + request.generated
        hits, held = self._cached(request, tokens)
        cost = sum(kv.cost_of(key, blocks) for key, blocks in held)
        private = kv.blocks_for(tokens) - sum(blocks for _, blocks in held)
        if private + cost > kv.available - self._reserved:
            return False
        for key, blocks in held:
            kv.pin(key, blocks)
            request.held.append(key)
        kv.allocate(private)
        request.blocks, request.to_prefill = private, tokens - hits
        if request.scheduled is None:
            request.scheduled, request.cached_tokens = now, hits
            self.metrics.prefix_queries += tokens
            self.metrics.prefix_hits += hits
        else:
            self.metrics.recomputed_tokens += request.to_prefill
        self.running[request.number] = self.prefilling[request.number] = request
        if request.lora:
            self.loras[request.lora] = self.loras.get(request.lora, 0) + 1
        return True

    def _cached(self, request: Request, tokens: int) -> tuple[int, list[tuple[str, int]]]:
        """Return the tokens that need not be computed, and the prefixes to hold with their blocks."""
        kv, size = self.kv, self.kv.block_size
        held: list[tuple[str, int]] = []
        if not self.limits.prefix_caching:
            return 0, held
        hits = blocks = 0
        if request.prefix_key:
            cached = kv.blocks_of(request.prefix_key)
            blocks = cached or request.prefix_tokens // size
            if blocks and blocks * size < tokens:
                held.append((request.prefix_key, blocks))
                hits = cached * size
            if not cached:
                return hits, held
        turns = kv.blocks_of(request.session_key) if request.session_key else 0
        if turns and (blocks + turns) * size < tokens:
            held.append((request.session_key, turns))
            hits += turns * size
        return hits, held

    def _preempt_until_it_fits(self, tokens: int, now: float) -> bool:
        preempted = False
        while self.decoding and self.room(tokens) < tokens:
            number = next(reversed(self.running))
            request = self.running[number]
            if number not in self.prefilling:
                request.generated += self.position - request.joined
            request.last_token = now
            request.preemptions += 1
            self._stop(request)
            self.waiting.appendleft(request)
            self.metrics.preemptions += 1
            preempted = True
        return preempted

    def _join(self, request: Request) -> bool:
        """Begin to decode; True if there is nothing left to decode."""
        request.joined = self.position
        self.decoding += 1
        self.kv_tokens += request.stored
        self._boundaries[self._remainder(request)] += 1
        if request.generated >= request.output_tokens:
            self._leave(request)
            return True
        mark = self.position + request.output_tokens - request.generated
        heapq.heappush(self._ends, (mark, request.number, request.epoch, request))
        return False

    def _leave(self, request: Request) -> None:
        """End a request that is complete; the blocks of a conversation stay cached for its next turn."""
        full = (request.stored + self.position - request.joined) // self.kv.block_size
        private = self._private(request)
        keep = 0
        if self.limits.prefix_caching and request.session_key:
            known = request.session_key in request.held
            others = sum(self.kv.blocks_of(key) for key in request.held)
            if known or not self.kv.has(request.session_key):
                keep = max(0, min(private, full - others))
        self._forget(request)
        self.kv.give(private - keep)
        if keep > 0:
            self.kv.keep(request.session_key, keep)

    def _stop(self, request: Request) -> None:
        private = request.blocks if request.number in self.prefilling else self._private(request)
        self._forget(request)
        self.kv.give(private)

    def _forget(self, request: Request) -> None:
        del self.running[request.number]
        if request.number in self.prefilling:
            del self.prefilling[request.number]
        else:
            self.decoding -= 1
            self.kv_tokens -= request.stored + self.position - request.joined
            self._boundaries[self._remainder(request)] -= 1
        for key in request.held:
            self.kv.release(key)
        request.held.clear()
        request.epoch += 1
        if request.lora:
            self.loras[request.lora] -= 1
            if not self.loras[request.lora]:
                del self.loras[request.lora]

    def _private(self, request: Request) -> int:
        grown = self.kv.blocks_for(request.stored + self.position - request.joined)
        return request.blocks + grown - self.kv.blocks_for(request.stored)

    def _remainder(self, request: Request) -> int:
        return (request.joined - request.stored) % self.kv.block_size

    def _allocations(self, tokens: int) -> int:
        size, start = self.kv.block_size, self.position % self.kv.block_size
        if tokens == 1:
            return self._boundaries[start]
        whole, rest = divmod(tokens, size)
        counts = self._boundaries
        return whole * self.decoding + sum(counts[start : start + rest]) + sum(counts[: max(0, start + rest - size)])
