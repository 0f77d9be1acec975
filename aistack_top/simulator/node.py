"""The whole node: everything of the model on one agenda, from one seed, advanced to any time and read from outside.

    node = Node(config, seed=1, band=0.65)
    node.advance(60.0)
    node.engines[0].gauges, node.engines[0].metrics, node.gpus[0].temperature, node.sink.since(50.0)

Nothing here knows a format or a clock: times are seconds since the start, renderers add `epoch`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import msgspec

from aistack_top.simulator.arrival_processes import CONVERSATION, ArrivalProcess
from aistack_top.simulator.calls import TraceStore
from aistack_top.simulator.engine import EngineConfig, SimulatedEngine
from aistack_top.simulator.event_queue import EventQueue
from aistack_top.simulator.gateway import Gateway
from aistack_top.simulator.gpu import Gpu, Load, SimulatedProcess
from aistack_top.simulator.hardware import GIB, GPU_MODELS
from aistack_top.simulator.histogram import SEARCH_TIME_EDGES, Histogram
from aistack_top.simulator.host import Host, TrainingJob
from aistack_top.simulator.request import Request
from aistack_top.simulator.services import QueuedService, Rail, VectorStore
from aistack_top.simulator.steptime import saturation
from aistack_top.simulator.traffic import Tenant, Traffic

TICK_S = 1.0
"""How often GPUs, host and services take stock; engines feel a changed clock with the next tick."""

TRAINER_PID = 52000

EPOCH = 1_767_261_600.0
"""2026-01-01 10:00 UTC: the start of a simulation nobody gave a date."""


class TrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training job: seconds and tokens of a step, cores of its data loading."""

    name: str
    gpus: tuple[int, ...]
    step_s: float = 1.8
    tokens_per_step: int = 65536
    loader_cores: float = 12.0
    gigabytes: float = 62.0
    """What its process holds of each GPU. Assumed: weights, gradients and optimizer fill most of one."""

    running: bool = True


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node as data: its GPUs, engines, tenants, and what stands around them (median seconds and places)."""

    gpu: str = "NVIDIA H100 80GB HBM3"
    gpus: int
    cores: int
    engine: tuple[EngineConfig, ...]
    tenant: tuple[Tenant, ...]
    training: tuple[TrainingConfig, ...] = ()
    rail_s: float = 0.045
    rail_places: int = 24
    input_hits: float = 0.010
    output_hits: float = 0.004
    search_s: float = 0.035
    search_places: int = 24
    skew_s: float = 0.25
    """What the clients' clock, by which calls are stamped, is ahead of the node's."""

    gpu_usd_hour: float = 5.01
    price_basis: str = "on demand"
    price_date: str = "2026-06-10"
    """Price of one GPU, for the demonstration only: a list price of that day for an H100 SXM."""

    closed_share: float = 0.15
    """Share of the load that comes from people in conversation, who wait for an answer before they ask again."""


@dataclass(frozen=True, slots=True)
class AppliedFault:
    """Something that was done to the node, for the answer sheet: never shown to what is being tested."""

    at: float
    kind: str
    subject: str
    text: str


class SimulatedNode:
    """A simulated node.

    ``band`` is the load at the start as a share of what saturates the engines, ``hour`` the time of day then,
    ``lived_s`` how long servers and training jobs had been up by then. ``arrivals`` is how
    requests come.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        seed: int = 1,
        band: float = 0.65,
        hour: float = 10.0,
        epoch: float = EPOCH,
        lived_s: float = 0.0,
        arrivals: ArrivalProcess = CONVERSATION,
    ) -> None:
        self.config, self.seed, self.epoch, self.lived_s = config, seed, epoch, lived_s
        self.agenda = EventQueue()
        self.gpus = [Gpu(index, GPU_MODELS[config.gpu], f"{seed}") for index in range(config.gpus)]
        self.host = Host(config.cores)
        self.engines = [
            SimulatedEngine(
                setting,
                [self.gpus[index] for index in setting.gpus],
                self.agenda,
                self.stream(f"engine/{setting.name}/{setting.rank}"),
                41000 + 10 * place,
                lambda request, now: self.gateway.finished(request, now),
            )
            for place, setting in enumerate(config.engine)
        ]
        self.training = [self._job(setting) for setting in config.training]
        self.sink = TraceStore(self.stream("sink"), skew_s=config.skew_s)
        self.gateway = self._gateway()
        self.traffic = Traffic(self.agenda, config.tenant, self.stream("traffic"), self.gateway.receive, hour, arrivals)
        self.down: set[str] = set()
        self.gone_at: float | None = None
        """When capacity goes that the provider has called back, in seconds since the start."""

        self.happenings: list[AppliedFault] = []
        self.rates = {model: band * self.saturation(model) for model in self.models}
        for model, rate in self.rates.items():
            closed = config.closed_share if arrivals.closed else 0.0
            self.traffic.open(model, rate * (1.0 - closed))
            self._fill_with_clients(model, rate * closed)
        self._noise = self.stream("host")
        self._live_before(lived_s)
        self.agenda.at(TICK_S, self._tick)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.agenda.now

    @property
    def models(self) -> list[str]:
        """The served models, in the order of the engines."""
        return list(dict.fromkeys(engine.config.served_name for engine in self.engines))

    def advance(self, until: float) -> None:
        """Let everything happen up to a time in seconds since the start."""
        self.agenda.advance(until)

    def stream(self, name: str) -> Random:
        """Return a component's own source of chance, so that one component's draws never move another's."""
        return Random(f"{self.seed}/{name}")

    def saturation(self, model: str) -> float:
        """Return the requests a second that would fill a model's engines, undisturbed and at full clock."""
        mix = self.traffic.mix(model)
        return sum(
            saturation(
                engine.pace,
                mix if engine.config.enable_prefix_caching else replace(mix, cached=0.0),
                engine.config.max_num_seqs,
                (engine.num_gpu_blocks - 1) * engine.config.block_size,
                engine.tokens_per_step,
                engine.config.num_speculative_tokens,
            )
            for engine in self.engines
            if engine.config.served_name == model
        )

    def on_gpu(self, index: int) -> list[SimulatedEngine]:
        """Return the engines that use a GPU."""
        return [engine for engine in self.engines if index in engine.config.gpus]

    def log_fault(self, kind: str, subject: str, text: str) -> None:
        """Write on the answer sheet what is done now."""
        self.happenings.append(AppliedFault(self.now, kind, subject, text))

    def kill(self, engine: SimulatedEngine) -> None:
        """End an engine's process; the gateway learns of the requests it had."""
        if engine.up:
            self.gateway.lost(engine.stop(self.now), self.now)

    def restart(self, engine: SimulatedEngine, after: float = 0.0, **changes: object) -> None:
        """End an engine's process and start it again with changed settings; it is ready ``load_s`` after that."""
        self.kill(engine)
        self.log_fault("restart", engine.label, ", ".join(f"{key}={value}" for key, value in changes.items()))
        ready = self.now + after + engine.config.load_s
        self.agenda.at(ready, lambda now: None if engine.up else engine.restart(now, **changes))

    def slow(self, engine: SimulatedEngine, **factors: float) -> Callable[[], None]:
        """Multiply an engine's knobs by factors, and return what takes them back."""
        for name, factor in factors.items():
            setattr(engine.knobs, name, getattr(engine.knobs, name) * factor)

        def undo() -> None:
            for name, factor in factors.items():
                setattr(engine.knobs, name, getattr(engine.knobs, name) / factor)

        return undo

    def _live_before(self, seconds: float) -> None:
        for engine in self.engines:
            engine.started = -seconds
        for job in self.training:
            job.live_before(seconds)
        self.gateway.store.advance(seconds)

    def _job(self, setting: TrainingConfig) -> TrainingJob:
        rng = self.stream(f"training/{setting.name}")
        if setting.running:
            pid = TRAINER_PID + self.config.training.index(setting)
            for index in setting.gpus:
                self.gpus[index].processes[pid] = SimulatedProcess(pid, "python", setting.gigabytes * GIB)
        return TrainingJob(
            setting.name,
            setting.gpus,
            setting.step_s,
            setting.tokens_per_step,
            setting.loader_cores,
            rng,
            setting.running,
        )

    def _gateway(self) -> Gateway:
        config = self.config

        def rail(name: str, hit_rate: float) -> Rail:
            return Rail(
                QueuedService(name, config.rail_places, config.rail_s, 0.35, self.stream(f"rail/{name}")), hit_rate
            )

        search = QueuedService("vectors", config.search_places, config.search_s, 0.45, self.stream("search"))
        search.latency = Histogram(SEARCH_TIME_EDGES)
        return Gateway(
            self.agenda,
            self.engines,
            rail("input", config.input_hits),
            rail("output", config.output_hits),
            VectorStore(search),
            self.stream("gateway"),
            self._ended,
        )

    def _fill_with_clients(self, model: str, rate: float) -> None:
        tenants = [tenant for tenant in self.config.tenant if tenant.model == model]
        total = sum(tenant.share for tenant in tenants)
        for tenant in tenants:
            # one person asks about every 25 s of thought and 10 s of waiting
            self.traffic.converse(tenant.name, round(rate * tenant.share / total * 35.0))

    def _ended(self, request: Request, now: float) -> None:
        self.sink.accept(request, now)
        self.traffic.ended(request, now)

    def _tick(self, now: float) -> None:
        loads = [Load() for _ in self.gpus]
        busy = 0.0
        for engine in self.engines:
            load = engine.drain_usage(TICK_S)
            busy += load.busy
            for gpu in engine.gpus:
                _add(loads[gpu.index], load)
        for job in self.training:
            for index in job.gpus:
                _add(loads[index], job.load(TICK_S))
            job.advance(TICK_S, self.host.slowdown)
        for gpu, load in zip(self.gpus, loads, strict=True):
            gpu.advance(TICK_S, load)
        cores = sum(job.loader_cores for job in self.training if job.running)
        self.host.advance(TICK_S, busy, cores, self._noise)
        for engine in self.engines:
            if engine.up:
                engine.refresh(self.host.slowdown)
        self.gateway.store.advance(TICK_S)
        self.gateway.advance(now)
        self.sink.advance(now)
        self.agenda.at(now + TICK_S, self._tick)


def _add(total: Load, load: Load) -> None:
    total.busy = min(1.0, total.busy + load.busy)
    total.tensor = min(1.0, total.tensor + load.tensor)
    total.dram = min(1.0, total.dram + load.dram)
    total.nvlink_bytes += load.nvlink_bytes
    total.pcie_bytes += load.pcie_bytes
