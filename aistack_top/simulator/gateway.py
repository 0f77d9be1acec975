"""The gateway: checks, retrieves, routes, retries, and keeps the count of how each request ended.

    client -> input rail -> retrieval -> engine -> output rail -> client

Only the engine's part is in the engine's own TTFT. Every request that is received ends exactly once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.event_queue import EventQueue
from aistack_top.simulator.histogram import REQUEST_TIME_EDGES, TTFT_EDGES, Histogram
from aistack_top.simulator.request import Outcome, Request
from aistack_top.simulator.services import Rail, VectorStore

OVERHEAD_S = 0.004
"""The gateway's own time per request. Assumed; LiteLLM's documents give single-digit milliseconds."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient a gateway is: attempts at the most, seconds an attempt may take, first pause between two."""

    attempts: int = 3
    timeout_s: float = 120.0
    backoff_s: float = 0.5
    reasks: int = 1
    """Times an answer that the output rail refuses is asked for again, as `reask` of Guardrails AI does."""


@dataclass(slots=True)
class TenantAccount:
    """What was counted for one tenant and model."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True, eq=False)
class Gateway:
    """Takes requests from clients and gives each back through ``on_end``. Faults write ``favourite`` and ``bias``."""

    agenda: EventQueue
    engines: Sequence[SimulatedEngine]
    input_rail: Rail
    output_rail: Rail
    store: VectorStore
    rng: Random
    on_end: Callable[[Request, float], None]
    policy: Policy = field(default_factory=Policy)
    favourite: SimulatedEngine | None = None
    bias: float = 0.0
    draining: list[SimulatedEngine] = field(default_factory=list)
    received: int = 0
    retries: int = 0
    accounts: dict[tuple[str, str], TenantAccount] = field(default_factory=dict)
    latency: Histogram = field(default_factory=lambda: Histogram(REQUEST_TIME_EDGES))
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT_EDGES))
    _at: dict[int, SimulatedEngine] = field(default_factory=dict)
    _asked: deque[tuple[float, int, Request]] = field(default_factory=deque)

    @property
    def in_flight(self) -> int:
        """Requests received and not yet ended."""
        return self.received - sum(sum(account.outcomes.values()) for account in self.accounts.values())

    def receive(self, request: Request, now: float) -> None:
        """Take a client's request."""
        self.received += 1
        self.agenda.at(self.input_rail.service.ask(now), lambda then: self._checked(request, then))

    def finished(self, request: Request, now: float) -> None:
        """Take an engine's complete answer."""
        del self._at[request.number]
        self.agenda.at(self.output_rail.service.ask(now), lambda then: self._judged(request, then, then - now))

    def lost(self, requests: Sequence[Request], now: float) -> None:
        """Learn that an engine died with these requests in it."""
        for request in requests:
            del self._at[request.number]
            self._again(request, now, Outcome.ERROR)

    def advance(self, now: float) -> None:
        """Give up on attempts that took too long."""
        asked = self._asked
        while asked and asked[0][0] + self.policy.timeout_s < now:
            _, attempt, request = asked.popleft()
            engine = self._at.get(request.number)
            if engine is not None and request.attempts == attempt:
                engine.cancel(request)
                del self._at[request.number]
                self._again(request, now, Outcome.TIMEOUT)

    def _checked(self, request: Request, now: float) -> None:
        request.input_checked = now
        if self.input_rail.judge(now - request.arrived):
            self._end(request, Outcome.BLOCKED_INPUT, now)
        elif request.retrieves:
            self.agenda.at(self.store.search.ask(now), lambda then: self._retrieved(request, then))
        else:
            self.agenda.at(now + OVERHEAD_S, lambda then: self._submit(request, then))

    def _retrieved(self, request: Request, now: float) -> None:
        request.retrieved = now
        self.agenda.at(now + OVERHEAD_S, lambda then: self._submit(request, then))

    def _submit(self, request: Request, now: float) -> None:
        request.restart(now)
        engine = self._route(request)
        if engine is None or not engine.submit(request, now):
            self._again(request, now, Outcome.ERROR)
            return
        request.engine, request.version = engine.label, engine.config.version
        self._at[request.number] = engine
        self._asked.append((now, request.attempts, request))

    def _route(self, request: Request) -> SimulatedEngine | None:
        choices = [
            engine
            for engine in self.engines
            if engine.up and engine.config.served_name == request.model and engine not in self.draining
        ]
        if not choices:
            return None
        if self.favourite in choices and self.rng.random() < self.bias:
            return self.favourite
        # ties go to a random one, as in a router that keeps no state between requests
        return min(choices, key=lambda engine: (engine.load, self.rng.random()))

    def _again(self, request: Request, now: float, why: Outcome) -> None:
        if request.attempts >= self.policy.attempts:
            self._end(request, why, now)
            return
        self.retries += 1
        pause = self.policy.backoff_s * 2.0 ** (request.attempts - 1) * self.rng.uniform(0.5, 1.5)
        self.agenda.at(now + pause, lambda then: self._submit(request, then))

    def _judged(self, request: Request, now: float, took_s: float) -> None:
        refused = self.output_rail.judge(took_s)
        if refused and request.reasks < self.policy.reasks:
            request.reasks += 1
            self._submit(request, now)
            return
        self._end(request, Outcome.BLOCKED_OUTPUT if refused else Outcome.OK, now)

    def _end(self, request: Request, outcome: Outcome, now: float) -> None:
        if request.outcome is not Outcome.PENDING:
            raise ValueError(f"request {request.number} ended as {request.outcome} and again as {outcome}")
        request.outcome, request.ended = outcome, now
        account = self.accounts.setdefault((request.tenant, request.model), TenantAccount())
        account.outcomes[outcome] += 1
        if outcome in (Outcome.OK, Outcome.BLOCKED_OUTPUT):
            account.prompt_tokens += request.prompt_tokens
            account.output_tokens += request.generated
            self.latency.observe(now - request.arrived)
            if request.first_token is not None:
                self.ttft.observe(request.first_token - request.arrived)
        self.on_end(request, now)
