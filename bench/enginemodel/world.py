"""Everything on one event queue: arrivals, the way of each request, GPUs and host second by second, and faults."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from enginemodel.arrivals import SLOT_S, Arrival, Arrivals, Demand, sizes_of
from enginemodel.engine import Engine, EngineSettings
from enginemodel.gpu import Gpu
from enginemodel.physics import A100, H100, LARGE, MEDIUM, Machine, Work, kv_tokens, step_time
from enginemodel.request import Request
from enginemodel.service import Host, Router, Station, TrainingJob

RACK_S = 0.0004
"""From the gateway to the vector store beside it; the network that a fault slows is that to people and to engines."""

NOTICED_S = 4.0
"""How long a router takes to notice that an engine is gone, or back."""

FLEETS: dict[str, tuple[Machine, int, int]] = {
    "pair": (Machine(A100, MEDIUM), 2, 48),
    "linked": (Machine(H100, LARGE, 2), 2, 48),
    "four": (Machine(A100, MEDIUM), 4, 24),
}
"""Machine of an engine, number of engines, and places in a batch."""


@dataclass(frozen=True, slots=True)
class Felt:
    """What one person felt: seconds to the first token and to the end (or until giving up), or that it failed."""

    arrived: float
    ttft: float
    latency: float
    failed: bool
    engine: int
    engine_ttft: float
    itl: float


@dataclass(frozen=True, slots=True)
class Done:
    """A request that has ended, for whoever traces it."""

    request: Request
    at: float


def saturation(settings: EngineSettings, process: str) -> float:
    """Return how many requests a second an engine can take of a process, by the time that each costs it."""
    sizes = list(sizes_of(process).values())
    prompt = sum(one.means()[0] for one in sizes) / len(sizes)
    output = sum(one.means()[1] for one in sizes) / len(sizes)
    history = sum(one.turns * 1.5 * one.means()[0] for one in sizes) / len(sizes)
    prefix = sum(one.prefix for one in sizes) / len(sizes)
    context = prefix + history + prompt + output / 2
    batch = min(settings.max_sequences, kv_tokens(settings.machine, settings.memory_share) / context)
    fill = step_time(settings.machine, Work(int(batch), batch * context, 1024, 1024 * context / 2, context))
    decode = step_time(settings.machine, Work(int(batch), batch * context)).seconds
    chunk = max(fill.seconds - decode, 1e-4) / 1024.0
    return 1.0 / ((prompt + 0.15 * history) * chunk + output * decode / batch)


class World:
    """A run of the model. ``load`` is the share of saturation; times are seconds since its beginning."""

    def __init__(self, seed: int, process: str, load: float, fleet: str = "pair") -> None:
        self.seed, self.process, self.fleet = seed, process, fleet
        self.chance = random.Random(f"{seed}/{process}/{fleet}/world")
        self.now = 0.0
        self.demand = Demand()
        self.host = Host(random.Random(f"{seed}/host"))
        self.rail = Station("input-check", 6, 0.035, 0.35, random.Random(f"{seed}/rail"))
        self.store = Station("vectors", 8, 0.045, 0.5, random.Random(f"{seed}/store"))
        self.network_s, self.network_jitter = 0.004, 0.5
        self.error_share, self.blocked_share = 0.0, 0.01
        self.salted = False
        self.training: TrainingJob | None = None
        self.notice_at: float | None = None
        self.felt: list[Felt] = []
        self.done: list[Done] = []
        self.spans: list[tuple[Request, str, str, float, float]] = []
        self.arrived_at: list[float] = []
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0
        self._requests = 0
        self._open: dict[int, Request] = {}
        self.engines, self.gpus = self._build(*FLEETS[fleet])
        self.router = Router(random.Random(f"{seed}/router"), self.engines)
        self.rate = load * sum(saturation(one.settings, process) for one in self.engines)
        self.arrivals = Arrivals(process, self.rate, random.Random(f"{seed}/{process}/arrivals"), self.demand)
        self._last_busy = [(0.0, 0.0, 0.0)] * len(self.engines)
        self.at(0.0, self._slot)
        self.at(1.0, self._second)

    def _build(self, machine: Machine, count: int, places: int) -> tuple[list[Engine], list[list[Gpu]]]:
        engines: list[Engine] = []
        gpus: list[list[Gpu]] = []
        for number in range(count):
            settings = EngineSettings(f"vllm-{chr(97 + number)}", replace(machine), places)
            engines.append(Engine(settings, self._first_token, self._last_token))
            own: list[Gpu] = []
            for _ in range(machine.parallel):
                index = sum(len(some) for some in gpus) + len(own)
                uuid = f"GPU-{self.seed:04x}{index:04x}-7e5d-4c1b-9a60-3f2b8e{index:06x}"
                gpu = Gpu(uuid, index, machine.kind, random.Random(f"{self.seed}/gpu{index}"))
                gpu.engine_memory = settings.memory_share * machine.kind.memory
                own.append(gpu)
            gpus.append(own)
        return engines, gpus

    def at(self, when: float, act: Callable[..., None], *arguments: object) -> None:
        """Let something happen at a time."""
        self._order += 1
        heapq.heappush(self._events, (when, self._order, act, arguments))

    def run(self, until: float) -> None:
        """Go on to a time."""
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, act, arguments = heapq.heappop(events)
            act(*arguments)
        self.now = until
        for engine in self.engines:
            engine.advance(until)

    # the way of a request

    def _slot(self) -> None:
        for arrival in self.arrivals.slot(self.now):
            self.at(arrival.at, self._arrive, arrival)
        self.at(self.now + SLOT_S, self._slot)

    def _arrive(self, arrival: Arrival) -> None:
        self._requests += 1
        self.arrived_at.append(self.now)
        patience = self.chance.lognormvariate(math.log(25.0 if self.process == "code" else 75.0), 0.4)
        name = f"prefix/{arrival.tenant}" + (f"/{self._requests}" if self.salted else "")
        request = Request(
            self._requests, arrival.tenant, self.now, arrival.prompt, arrival.output, arrival.prefix, name,
            arrival.history, arrival.session, arrival.looks_up, patience,
        )  # fmt: skip
        self._open[request.number] = request
        self.at(self.now + patience, self._give_up, request)
        self.at(self.now + self._hop(), self._check, request)

    def _hop(self) -> float:
        return self.network_s * (1.0 + self.chance.expovariate(1.0 / self.network_jitter))

    def _check(self, request: Request) -> None:
        self.at(self.rail.serve(self.now), self._checked, request, self.now)

    def _checked(self, request: Request, began: float) -> None:
        blocked = self.chance.random() < self.blocked_share
        self.rail.done(began, self.now, blocked=blocked)
        if request.ended is not None:
            return
        self.spans.append((request, "guardrail", "input-check", began, self.now))
        request.checked = self.now
        if blocked:
            self._close(request, "blocked", self.now)
        elif request.looks_up:
            self.at(self.store.serve(self.now + RACK_S), self._looked_up, request, self.now)
        else:
            self._send(request)

    def _looked_up(self, request: Request, began: float) -> None:
        self.store.done(began, self.now)
        if request.ended is None:
            self.spans.append((request, "retrieval", "vectors", began, self.now))
            request.looked_up = self.now
            self._send(request)

    def _send(self, request: Request) -> None:
        if request.ended is not None:
            return
        request.sent = request.sent or self.now
        place = self.router.choose(request.session, request.engine if request.tries else -1)
        if place < 0:
            self._close(request, "error", self.now)
            return
        request.engine = place
        # tokenizing and the hop to the engine are on the host's CPUs
        delay = self._hop() + (0.002 + request.prompt * 2e-6) * self.host.slowdown**1.5
        self.at(self.now + delay, self._submit, request, place)

    def _submit(self, request: Request, place: int) -> None:
        if request.ended is not None:
            return
        engine = self.engines[place]
        if not (engine.up and engine.alive):
            if engine.up:
                engine.counters.http["5xx"] += 1
            self._failed(request)
        elif self.chance.random() < self.error_share or not engine.submit(request, self.now):
            engine.counters.http["5xx"] += 1
            self._failed(request)
        else:
            self.watch(engine)

    def _failed(self, request: Request) -> None:
        """Try once more, elsewhere if there is an elsewhere."""
        request.tries += 1
        if request.tries > 1:
            self._close(request, "error", self.now)
        else:
            self.at(self.now + self.chance.uniform(0.3, 1.0), self._send, request)

    def _first_token(self, request: Request, at: float) -> None:
        """Nothing is known to people before the network has brought it."""

    def _last_token(self, request: Request, at: float) -> None:
        self.at(max(at + self._hop(), self.now), self._close, request, "ok", at)

    def _give_up(self, request: Request) -> None:
        """Let a client hang up that has waited too long for the first token, or for a third longer for all of it."""
        if request.ended is not None:
            return
        if request.first_token is not None and request.first_token <= self.now and not request.outcome:
            request.outcome = "streaming"
            self.at(self.now + request.patience * 1.5, self._give_up, request)
            return
        engine = self.engines[request.engine] if request.entered is not None else None
        if engine is not None and engine.up:
            engine.abort(request, self.now)
            self.watch(engine)
        self._close(request, "hung_up", self.now)

    def _close(self, request: Request, outcome: str, at: float) -> None:
        if request.ended is not None:
            return
        request.ended, request.outcome = self.now, outcome
        self._open.pop(request.number, None)
        self.done.append(Done(request, self.now))
        if outcome == "blocked":
            return
        first = request.first_token
        waited = self.now - request.arrived
        decoded = (request.last_token or at) - first if first is not None else 0.0
        own = first - request.entered if first is not None and request.entered is not None else waited
        itl = decoded / (request.generated - 1) if request.generated > 4 and outcome == "ok" else math.nan
        ttft = first + self.network_s - request.arrived if first is not None else waited
        failed = outcome != "ok"
        self.felt.append(Felt(request.arrived, ttft, waited, failed, request.engine, own, itl))

    # engines and machines

    def watch(self, engine: Engine) -> None:
        """Look again when what an engine does now is done."""
        due = engine.due
        if due is not None:
            self.at(max(due, self.now), self._step, engine, engine.version)

    def _step(self, engine: Engine, version: int) -> None:
        if engine.version == version and not engine.frozen:
            engine.advance(self.now)
            self.watch(engine)

    def _second(self) -> None:
        serving = 0.0
        for place, engine in enumerate(self.engines):
            engine.advance(self.now)
            serving += (2.0 if engine.up else 0.1) + 0.02 * engine.in_batch
            before = self._last_busy[place]
            self._last_busy[place] = (engine.busy_s, engine.memory_s, engine.tensor_s)
            grew = [now - then for now, then in zip(self._last_busy[place], before, strict=True)]
            for gpu in self.gpus[place]:
                gpu.busy, gpu.memory_busy, gpu.tensor_busy = (min(max(one, 0.0), 1.0) for one in grew)
                gpu.second()
        self.host.second(self.now, serving)
        for place, engine in enumerate(self.engines):
            self._machine(place, engine)
        if self.training is not None:
            self.training.step = int((self.now - self.training.started) / self.training.step_s)
        self.at(self.now + 1.0, self._second)

    def _machine(self, place: int, engine: Engine) -> None:
        """Give an engine what its machine is now; a run of steps planned on another is cut."""
        machine, gpus = engine.machine, self.gpus[place]
        load = max(gpu.neighbour_load for gpu in gpus)
        new = (
            min(gpu.clock for gpu in gpus),
            1.0 - 0.72 * load,
            min(1.0 - gpu.links_down / gpu.kind.links for gpu in gpus) * (0.6 if self._replays(gpus) else 1.0),
            self.host.slowdown,
        )
        old = (machine.clock, machine.share, machine.link, machine.host)
        machine.clock, machine.share, machine.link, machine.host = new
        if any(abs(a - b) > 0.01 for a, b in zip(old, new, strict=True)):
            engine.changed(self.now)
            self.watch(engine)

    @staticmethod
    def _replays(gpus: list[Gpu]) -> bool:
        return any(gpu.link_error_rate > 5.0 for gpu in gpus)

    # what faults do to engines

    def crash(self, place: int, *, api_lives: bool = False) -> None:
        """Let an engine's process end, and fail what was in it."""
        engine = self.engines[place]
        lost = engine.stop(self.now)
        engine.up = api_lives
        for request in lost:
            if api_lives:
                engine.counters.http["5xx"] += 1
            request.tries = max(request.tries, 1 if request.first_token is not None else request.tries)
            self._failed(request)
        self.at(self.now + NOTICED_S, self._list, place, False)

    def restart(self, place: int, max_sequences: int = 0) -> None:
        """Start an engine anew, with a cold cache."""
        engine = self.engines[place]
        if engine.up and engine.alive:
            self.crash(place)
        engine.max_sequences = max_sequences or engine.max_sequences
        engine.settings = replace(engine.settings, max_sequences=engine.max_sequences)
        engine.start(self.now)
        self.at(self.now + NOTICED_S, self._list, place, True)
        self.watch(engine)

    def freeze(self, place: int) -> None:
        """Let an engine take no step any more while its API server goes on."""
        self.engines[place].freeze(self.now)

    def thaw(self, place: int) -> None:
        """Let a frozen engine go on."""
        engine = self.engines[place]
        if engine.frozen:
            engine.thaw(self.now)
            self.watch(engine)

    def _list(self, place: int, up: bool) -> None:
        engine = self.engines[place]
        if (engine.up and engine.alive) == up:
            self.router.lists[place] = up

    def drain(self, place: int) -> None:
        """Take an engine off the router's list; what is in it goes on."""
        self.router.lists[place] = False
