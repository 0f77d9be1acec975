"""What of this node matters for its cost, read from the timeline: the GPUs that are paid for, the engines' tokens."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from aistack_top.measure.quantiles import WINDOW_S
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Link
from aistack_top.spend.holders import given_to_training
from aistack_top.spend.money import GAP_S, Flow, GpuUse
from aistack_top.spend.prices import Prices, TokenPrice, managed_in
from aistack_top.spend.usage import Key
from aistack_top.store.facts import Facts
from aistack_top.store.links import MODEL_FACT
from aistack_top.store.timeline import Timeline

NAME_FACT = "name"
"""The fact of a GPU that says what NVML calls it."""

PROCESS_FACT = "pid"
"""The fact of an engine that says which process of this machine it is."""

HOST = "host.cpu.utilization"
"""A node that tells this is up; it is there for containers without a GPU driver, too."""

ROOT_FACT = "model_root"
"""The fact of an engine that says which model is behind the name it serves: a hub's name, or a folder."""

LORAS_FACT = "loras"
"""The fact of an engine that names its adapters, which clients ask for as models; separated by commas."""

PRESENCE = ("gpu.memory.used", "gpu.utilization", "gpu.temperature", "gpu.power.draw", "gpu.sm.active")
"""A GPU that tells one of these is there; some GPUs do not tell all of them."""

PROXY = "spend.proxy.rate"
PROXY_LOOKBACK_S = 120.0
"""A proxy's metrics are large and asked for seldom."""

JOB_GPU = "training.gpu.utilization"
"""A scheduler of training jobs tells it of each GPU of its machine."""

GIVEN_OUT = "training.gpus.used"
JOBS_LOOKBACK_S = 120.0
"""Schedulers are asked every 15 s, and less often when they answer slowly."""

LOOKBACK_S = 30.0
SILENT_S = 300.0
"""An engine that told its tokens within this time and does not now makes their sum unknown; later it is gone."""

OWN_ROUTES = ("hosted_vllm/", "vllm/")
"""What a LiteLLM proxy writes before the name of a model on a server of one's own."""


@dataclass(frozen=True, slots=True)
class EngineTokens:
    """The tokens of one server over the last minute, a second; None for a server that went silent."""

    name: str
    model: str
    input_s: float | None
    output_s: float | None
    gpus: frozenset[Entity]

    @property
    def holder(self) -> Entity:
        """Return who pays for its GPUs: its model, or itself where it names none."""
        return Entity.of(model=self.model) if self.model else Entity.of(engine=self.name)


class EngineNames:
    """Which engines are this node's and which models they serve, under which names, as facts tell it at one moment.

    This node's are those that the configuration names; else those that are proven to run here, by their process or
    by a GPU; and where nothing proves any of them, all.
    """

    def __init__(self, facts: Facts, prices: Prices) -> None:
        self.model_of: dict[str, str] = {}
        self.root_of: dict[str, str] = {}
        self._means: defaultdict[str, set[str]] = defaultdict(set)
        self._here = frozenset(prices.engines) or _proven(facts)
        self._local = {name.casefold() for name in prices.local_models}
        names: list[tuple[str, str]] = []
        for entity, key, value in facts.rows():
            engine = entity.get("engine")
            if engine is None or not self.here(engine):
                continue
            if key == MODEL_FACT:
                self.model_of[engine] = value
            if key == ROOT_FACT:
                self.root_of[_server(engine)] = value
            if key == MODEL_FACT or key.startswith(MODEL_FACT + "_alias"):
                names.append((engine, value))
            elif key == LORAS_FACT:
                names += [(engine, name.strip()) for name in value.split(",")]
        for engine, name in names:
            self._local.add(name.casefold())
            if engine in self.model_of:
                self._means[name.casefold()].add(self.model_of[engine])

    def holder(self, engine: str) -> Entity:
        """Return who pays for the GPUs of an engine: its model, or itself where it names none."""
        server = _server(engine)
        model = self.model_of.get(engine) or self.model_of.get(server)
        return Entity.of(model=model) if model else Entity.of(engine=server)

    def served_as(self, model: str) -> str | None:
        """Return the served model that a call's model means; None where that is none of them, or one of several."""
        name = _without_route(model.casefold())
        found = self._means.get(name)
        if not found and name in self._local:
            found = set(self.model_of.values())
        return next(iter(found)) if found and len(found) == 1 else None

    def here(self, engine: str) -> bool:
        """Whether an engine is taken to run on this node."""
        return not self._here or engine in self._here

    def local(self, model: str) -> bool:
        """Whether calls of a model are served here: their GPUs are paid already. A call without a model is."""
        name = _without_route(model.casefold())
        return not name or name in self._local


class NodeReader:
    """Reads the node's side of the timeline, moment by moment and in order."""

    def __init__(self, timeline: Timeline, facts: Facts) -> None:
        self._timeline = timeline
        self._facts = facts
        self._known: dict[Entity, None] = {}

    def up(self, at: float) -> bool:
        """Whether the node told anything of itself within `GAP_S`."""
        return any(self._number(HOST, entity, at, GAP_S) is not None for entity in self._timeline.entities(HOST))

    @property
    def has_gpus(self) -> bool:
        """Whether a GPU was ever seen."""
        return bool(self._known)

    def gpus(self, at: float, prices: Prices) -> dict[Entity, GpuUse] | None:
        """Return the GPUs that are paid for; None while nothing tells of any GPU.

        One that fell silent beside others that tell is lost, and still paid for. One of which is not known whether
        it is allocated has no price.
        """
        alive = {gpu: None for signal in PRESENCE for gpu in self._gpus_telling(signal, at)}
        self._known |= alive
        if not alive:
            return None
        found = {}
        for gpu in self._known:
            allocated = prices.allocated == "all" or self._in_use(gpu, at)
            if allocated is not False:
                price = self._price(gpu, prices) if allocated else None
                busy = self._busy(gpu, at)
                found[gpu] = GpuUse(price, busy, self._running(gpu, at))
        return found

    def engines(self, at: float, names: EngineNames) -> list[EngineTokens]:
        """Return the servers that told their tokens within `SILENT_S`."""
        groups: defaultdict[str, list[Entity]] = defaultdict(list)
        for entity in self._timeline.entities("serving.generation_tokens.rate"):
            engine = entity.get("engine")
            if engine and len(entity.pairs) == 1:
                groups[_server(engine)].append(entity)
        found = []
        for name, members in groups.items():
            if not names.here(name):
                continue
            if any(self._number("serving.generation_tokens.rate", one, at, SILENT_S) is not None for one in members):
                found.append(self._engine(name, members, at, names))
        return found

    def flows(self, engines: list[EngineTokens], names: EngineNames) -> dict[str, Flow] | None:
        """Return the tokens a second of each model that is served; None if one server does not tell its own.

        A model's managed price is that of its served name, or else of the model behind it.
        """
        flows: dict[str, Flow] = {}
        for engine in engines:
            if engine.input_s is None or engine.output_s is None:
                return None
            before = flows.get(engine.model, Flow(0.0, 0.0, None))
            price = before.price or self._managed(engine, names)
            flows[engine.model] = Flow(before.input_s + engine.input_s, before.output_s + engine.output_s, price)
        return flows

    def _managed(self, engine: EngineTokens, names: EngineNames) -> TokenPrice | None:
        known = (engine.model, names.root_of.get(engine.name, "")) if engine.model else ()
        return next((price for name in known if name and (price := managed_in(self._facts, name))), None)

    def list_prices(self, gpus: Iterable[Entity], prices: Prices) -> dict[str, list[float | None]]:
        """Return for each basis of the chosen list what the GPUs cost at it, if there is more than one."""
        bases = dict.fromkeys(basis for row in prices.gpus.values() for basis in row)
        if len(bases) < 2:
            return {}
        told = [self._facts.get(gpu, NAME_FACT) for gpu in gpus]
        return {basis: [prices.gpu_hour(name, basis) for name in told] for basis in bases}

    def linked(self, gpus: Iterable[Entity], names: EngineNames) -> dict[Entity, frozenset[Entity]]:
        """Return for each GPU with engines the models that they serve; an engine without a model stands for itself."""
        parents = {gpu: [link.parent.get("engine") or "" for link in self._links_to(gpu)] for gpu in gpus}
        return {gpu: frozenset(map(names.holder, engines)) for gpu, engines in parents.items() if engines}

    def training(self, gpus: Iterable[Entity], at: float) -> frozenset[Entity]:
        """Return the GPUs that a scheduler is known to have given to training jobs."""
        told = {entity.get("gpu") for entity in self._timeline.entities(JOB_GPU)}
        given = [self._number(GIVEN_OUT, one, at, JOBS_LOOKBACK_S) for one in self._timeline.entities(GIVEN_OUT)]
        known = [number for number in given if number is not None]
        candidates = [
            gpu
            for gpu in gpus
            if gpu.get("gpu") in told and not self._links_to(gpu) and self._number("gpu.processes", gpu, at) != 0
        ]
        return given_to_training(candidates, sum(known) if known else None)

    def proxy(self, at: float, names: EngineNames) -> dict[Key, float] | None:
        """Return what proxies say that models not served here cost, USD an hour; None when none tells."""
        found: defaultdict[Key, float] = defaultdict(float)
        for entity in self._timeline.entities(PROXY):
            usd_hour = self._number(PROXY, entity, at, PROXY_LOOKBACK_S)
            if usd_hour is not None:  # there may be several proxies, each with calls of its own
                found[(entity.get("model") or "", "")] += max(usd_hour, 0.0)
        return {key: usd for key, usd in found.items() if not key[0] or not names.local(key[0])} if found else None

    def _price(self, gpu: Entity, prices: Prices) -> float | None:
        if prices.node_hour is not None:
            return prices.node_hour / len(self._known)
        return prices.gpu_hour(self._facts.get(gpu, NAME_FACT))

    def _gpus_telling(self, signal: str, at: float) -> list[Entity]:
        """Return the GPUs of which a number is there, their own or that of one of their MIG instances."""
        return [
            entity.without("mig")
            for entity in self._timeline.entities(signal)
            if entity.get("gpu")
            and len(entity.without("mig").pairs) == 1
            and self._number(signal, entity, at, GAP_S) is not None
        ]

    def _busy(self, gpu: Entity, at: float) -> float | None:
        """Return how busy a GPU is: as busy as the busiest of its MIG instances, where it has any."""
        signal = "gpu.utilization"
        parts = [one for one in self._timeline.entities(signal) if one.get("mig") and one.without("mig") == gpu]
        known = [number for one in parts if (number := self._number(signal, one, at)) is not None]
        return max(known) if known else self._number(signal, gpu, at)

    def _links_to(self, gpu: Entity) -> list[Link]:
        """Return the links from engines to a GPU or to a part of it (MIG)."""
        return [link for link in self._facts.links() if link.child.get("gpu") == gpu.get("gpu")]

    def _in_use(self, gpu: Entity, at: float) -> bool | None:
        if self._links_to(gpu):
            return True
        processes = self._number("gpu.processes", gpu, at)
        return None if processes is None else processes > 0

    def _running(self, gpu: Entity, at: float) -> tuple[float | None, ...]:
        told: list[float | None] = []
        for link in self._links_to(gpu):
            engine = link.parent.get("engine") or ""
            ranks = [
                one
                for one in self._timeline.entities("serving.requests.running")
                if len(one.pairs) == 1 and (one == link.parent or (one.get("engine") or "").startswith(engine + "/"))
            ]
            known = [self._number("serving.requests.running", one, at) for one in ranks]
            told += [number for number in known if number is not None] or [None]
        return tuple(told)

    def _engine(self, name: str, members: list[Entity], at: float, names: EngineNames) -> EngineTokens:
        output = {one: self._mean("serving.generation_tokens.rate", one, at) for one in members}
        telling = [one for one, rate in output.items() if rate is not None]
        ranks = [one for one in telling if "/" in (one.get("engine") or "")]
        counted = ranks or telling
        inputs = [self._mean("serving.prompt_tokens.rate", one, at) for one in counted]
        whole = Entity.of(engine=name)
        links = [link for one in {whole, *members} for link in self._facts.children(one)]
        gpus = frozenset(Entity.of(gpu=link.child.get("gpu") or "") for link in links)
        return EngineTokens(
            name,
            names.model_of.get(name, ""),
            None if not counted or None in inputs else sum(rate for rate in inputs if rate is not None),
            sum(output[one] or 0.0 for one in counted) if counted else None,
            gpus,
        )

    def _number(self, signal: str, entity: Entity, at: float, lookback_s: float = LOOKBACK_S) -> float | None:
        sample = self._timeline.sample((signal, entity, "value"), at, lookback_s)
        return None if sample is None else sample.number

    def _mean(self, signal: str, entity: Entity, at: float) -> float | None:
        step = self._timeline.step_s
        window = self._timeline.window((signal, entity, "value"), at - WINDOW_S + step, at + step)
        known = [value for value in window if value == value]
        return max(sum(known) / len(known), 0.0) if known else None


def _proven(facts: Facts) -> frozenset[str]:
    """Return the engines of which a process was found on this machine, or that are linked to one of its GPUs."""
    found = [entity for entity, key, _ in facts.rows() if key == PROCESS_FACT]
    found += [link.parent for link in facts.links()]
    return frozenset(_server(entity.get("engine") or "") for entity in found if entity.get("engine"))


def _server(engine: str) -> str:
    """Return the name of the server that a data-parallel rank belongs to."""
    name, _, rank = engine.rpartition("/")
    return name if name and rank.isdigit() else engine


def _without_route(model: str) -> str:
    for route in OWN_ROUTES:
        model = model.removeprefix(route)
    return model
