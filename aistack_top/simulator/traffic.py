"""Who asks what: tenants with their prompts, open arrivals from the trace, clients that wait before they ask again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import log
from random import Random

import msgspec

from aistack_top.simulator.arrival_processes import CONVERSATION, ArrivalProcess
from aistack_top.simulator.arrivals import Arrival, long_prompts
from aistack_top.simulator.event_queue import EventQueue
from aistack_top.simulator.request import Request
from aistack_top.simulator.steptime import RequestMix

RETRIEVED_TOKENS = 1400
"""Tokens of the passages put before a question: four of 350. Assumed."""

TURNS = 6
THINK_S = 25.0
QUESTION_TOKENS = 60
"""A conversation: turns, mean seconds a person thinks between two, median tokens of a question. Assumed."""


class Tenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A team that uses the service: its model, its share of that model's traffic, and how it asks."""

    name: str
    model: str
    share: float
    prefix_tokens: int = 600
    """Tokens of its system prompt, the same for all its requests."""

    retrieves: float = 0.0
    """Share of its questions for which passages are looked up."""

    lora: str = ""
    max_tokens: int = 1024


@dataclass(slots=True)
class Shape:
    """What faults change about what is asked: factors on sizes, tokens put before, the version of the prompt."""

    prompt_factor: float = 1.0
    output_factor: float = 1.0
    added_tokens: int = 0
    prompt_version: str = "1"
    salted: bool = False
    long_share: float = 0.0


@dataclass(slots=True)
class Traffic:
    """Makes requests and hands them to ``send``. Faults write ``shapes`` (by tenant) and ``factor``.

    ``process`` says how requests come.
    """

    agenda: EventQueue
    tenants: tuple[Tenant, ...]
    rng: Random
    send: Callable[[Request, float], None]
    hour: float
    process: ArrivalProcess = CONVERSATION
    shapes: dict[str, Shape] = field(init=False)
    model_output: dict[str, float] = field(default_factory=dict)
    factor: Callable[[float], float] = lambda _: 1.0
    max_prompt: int = 14000
    made: int = 0
    _sessions: dict[str, tuple[Tenant, int]] = field(default_factory=dict)
    _at_start: float = field(init=False)

    def __post_init__(self) -> None:
        self._at_start = self.process.day(self.hour)
        self.shapes = {tenant.name: Shape() for tenant in self.tenants}

    def level(self, now: float) -> float:
        """Return the load at a time as a multiple of that at the start."""
        return self.factor(now) * self.process.day(self.hour + now / 3600.0) / self._at_start

    def open(self, model: str, rate: float) -> None:
        """Begin arrivals for a model, at ``rate`` a second now and following the day from here."""
        tenants = [tenant for tenant in self.tenants if tenant.model == model]
        if not self.process.parts:
            self._open(model, tenants, self.process, rate)
            return
        total = sum(tenant.share for tenant in tenants)
        for place, tenant in enumerate(tenants):
            self._open(tenant.name, [tenant], self.process.of_tenant(place), rate * tenant.share / total)

    def _open(self, name: str, tenants: list[Tenant], process: ArrivalProcess, rate: float) -> None:
        """Begin the arrivals of tenants, at ``rate`` a second now."""
        rng = Random(f"{self.rng.random()}/{name}")
        peak = rate * 3.0
        weights = list(accumulate(tenant.share for tenant in tenants))

        def come(stream: Iterator[Arrival], arrival: Arrival, now: float) -> None:
            tenant = rng.choices(tenants, cum_weights=weights)[0]
            self.send(self._make(tenant, arrival.prompt, arrival.output, now, rng), now)
            following = next(stream)
            self.agenda.at(following.at, lambda then: come(stream, following, then))

        stream = process.stream(rng, lambda at: rate * self.level(at), peak)
        first = next(stream)
        self.agenda.at(first.at, lambda then: come(stream, first, then))

    def surge(self, tenant_name: str, rate: float, until: float) -> None:
        """Add a tenant's requests at ``rate`` a second until a time: sizes of the trace, times at random."""
        rng = Random(f"{self.rng.random()}/{tenant_name}")
        tenant = self._tenant(tenant_name)
        sizes = self._process_of(tenant).stream(rng, lambda _: 5.0, 5.0)

        def come(now: float) -> None:
            size = next(sizes)
            self.send(self._make(tenant, size.prompt, size.output, now, rng), now)
            book(now)

        def book(now: float) -> None:
            moment = now + rng.expovariate(rate)
            if moment < until:
                self.agenda.at(moment, come)

        book(self.agenda.now)

    def converse(self, tenant_name: str, clients: int) -> None:
        """Let so many people hold conversations for ever: each asks again only after the answer and some thought."""
        tenant = self._tenant(tenant_name)
        for client in range(clients):
            self._later(tenant, f"{tenant_name}-u{client:03d}/c0", 1, 0, self.rng.uniform(0.0, THINK_S))

    def ended(self, request: Request, now: float) -> None:
        """Learn that a request has ended, so that its client may go on."""
        if not request.session_key:
            return
        tenant, _ = self._sessions[request.session_key]
        user, _, talk = request.session_key.rpartition("/c")
        key, turn, history = request.session_key, request.turn + 1, request.prompt_tokens + request.generated
        if request.turn >= TURNS or request.generated == 0:
            del self._sessions[key]
            key, turn, history = f"{user}/c{int(talk) + 1}", 1, 0
        self._later(tenant, key, turn, history, now + self.rng.expovariate(1.0 / THINK_S))

    def mix(self, model: str) -> RequestMix:
        """Return what a model's requests are like in the mean, undisturbed."""
        tenants = [tenant for tenant in self.tenants if tenant.model == model]
        total = sum(tenant.share for tenant in tenants)
        prompt, output, held = self.process.means()
        if self.process.parts:
            prompt = output = held = 0.0
        for tenant in tenants if self.process.parts else ():
            part, means = tenant.share / total, self._process_of(tenant).means()
            prompt, output, held = (a + part * b for a, b in zip((prompt, output, held), means, strict=True))
        prefix = sum(tenant.prefix_tokens * tenant.share for tenant in tenants) / total
        passages = sum(tenant.retrieves * RETRIEVED_TOKENS * tenant.share for tenant in tenants) / total
        return RequestMix(prompt + prefix + passages, output, prefix, held + prefix + passages)

    def _process_of(self, tenant: Tenant) -> ArrivalProcess:
        alike = [one.name for one in self.tenants if one.model == tenant.model]
        return self.process.of_tenant(alike.index(tenant.name))

    def _tenant(self, name: str) -> Tenant:
        return next(tenant for tenant in self.tenants if tenant.name == name)

    def _later(self, tenant: Tenant, key: str, turn: int, history: int, moment: float) -> None:
        self._sessions[key] = (tenant, turn)

        def ask(now: float) -> None:
            rng = self.rng
            question = int(QUESTION_TOKENS * rng.lognormvariate(0.0, 0.8)) + 4
            answer = int(rng.lognormvariate(log(180.0), 0.6)) + 1
            request = self._make(tenant, question + max(0, history - tenant.prefix_tokens), answer, now, rng)
            request.session_key, request.turn = f"{key}", turn
            request.user, request.retrieves = key.rpartition("/")[0], False
            self.send(request, now)

        self.agenda.at(moment, ask)

    def _make(self, tenant: Tenant, prompt: int, output: int, now: float, rng: Random) -> Request:
        shape = self.shapes[tenant.name]
        self.made += 1
        retrieves = rng.random() < tenant.retrieves
        if shape.long_share and rng.random() < shape.long_share:
            prompt, output = rng.choice(long_prompts())
        prefix = tenant.prefix_tokens + shape.added_tokens
        total = int(prompt * shape.prompt_factor) + prefix + (RETRIEVED_TOKENS if retrieves else 0)
        output = int(output * shape.output_factor * self.model_output.get(tenant.model, 1.0))
        output = max(1, min(output, tenant.max_tokens))
        key = f"{tenant.name}/{shape.prompt_version}/{tenant.lora}"
        if shape.salted:  # something that changes with each request stands at the head of the prompt
            key = f"{key}/{self.made}"
        return Request(
            number=self.made,
            model=tenant.model,
            prompt_tokens=max(1, min(total, self.max_prompt)),
            output_tokens=output,
            arrived=now,
            tenant=tenant.name,
            user=f"{tenant.name}-u{rng.randrange(400):03d}",
            prompt_version=shape.prompt_version,
            prefix_key=key,
            prefix_tokens=prefix,
            lora=tenant.lora,
            max_tokens=tenant.max_tokens,
            retrieves=retrieves,
        )
