"""What goes wrong, as data that acts: each fault turns knobs of the model at its onset and turns them back.

A fault's ``at`` and ``until`` are seconds since the start of the scenario; ``until`` 0 is never. `scaled` makes a
fault weaker or stronger: a factor is raised to the severity, so that 1 stays without effect, and an amount is
multiplied by it.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Self

import msgspec

from aistack_top.simulator.engine import SimulatedEngine
from aistack_top.simulator.gpu import SimulatedProcess
from aistack_top.simulator.hardware import GIB, H100
from aistack_top.simulator.node import SimulatedNode

Undo = Callable[[], None]
LINK_ERRORS_PER_S = 40.0
"""Replays a second on a failing link. Assumed; a healthy link counts none."""

OFF_THE_BUS = 79
"""The XID of a GPU that the driver cannot reach any more (NVIDIA's XID catalog)."""

MAX_SHARE_TAKEN = 0.9
"""Share of a GPU that a stranger gets at the most, whatever the severity."""


class AbstractStruct(msgspec.StructMeta, ABCMeta):
    """Makes structs that can have abstract methods."""


class BaseFault(msgspec.Struct, metaclass=AbstractStruct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all faults have. ``factors`` and ``amounts`` name the fields that `scaled` changes."""

    at: float = 900.0
    until: float = 0.0
    factors: ClassVar[tuple[str, ...]] = ()
    amounts: ClassVar[tuple[str, ...]] = ()

    def scaled(self, severity: float) -> Self:
        """Return this fault with its factors raised to a power and its amounts multiplied."""
        changes = {name: getattr(self, name) ** severity for name in self.factors}
        changes |= {name: getattr(self, name) * severity for name in self.amounts}
        return msgspec.structs.replace(self, **changes)

    def arm(self, node: SimulatedNode) -> None:
        """Put it on the node's agenda."""
        node.agenda.at(self.at, lambda _: self._happen(node))

    @abstractmethod
    def begin(self, node: SimulatedNode) -> Undo:
        """Act, and return what undoes it."""

    def _happen(self, node: SimulatedNode) -> None:
        kind = str(self.__struct_config__.tag)
        node.log_fault("fault", kind, "begins")
        undo = self.begin(node)

        def end(_: float) -> None:
            undo()
            node.log_fault("fault", kind, "ends")

        if self.until:
            node.agenda.at(self.until, end)


def _nothing() -> None:
    """Undo what cannot be undone."""


class Cooling(BaseFault, frozen=True, tag="cooling"):
    """Less air over some GPUs: thermal resistance by a factor, inlet warmer by so many kelvin."""

    gpus: tuple[int, ...] = (0,)
    resistance: float = 1.0
    inlet: float = 0.0
    factors: ClassVar[tuple[str, ...]] = ("resistance",)
    amounts: ClassVar[tuple[str, ...]] = ("inlet",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""

        def turn(factor: float, kelvin: float) -> None:
            for index in self.gpus:
                node.gpus[index].cooling *= factor
                node.gpus[index].inlet += kelvin

        turn(self.resistance, self.inlet)
        return lambda: turn(1.0 / self.resistance, -self.inlet)


class PowerBrake(BaseFault, frozen=True, tag="power_brake"):
    """The power supply asserts the brake of these GPUs; none named means all of the node."""

    gpus: tuple[int, ...] = ()

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""

        def turn(on: bool) -> None:
            for index in self.gpus or range(len(node.gpus)):
                node.gpus[index].brake = on

        turn(True)
        return lambda: turn(False)


class PowerLimit(BaseFault, frozen=True, tag="power_limit"):
    """An operator lowers the power limit of all GPUs to so many watts."""

    watts: float = 400.0

    def scaled(self, severity: float) -> Self:
        """See `BaseFault.scaled`: the step down from the rated limit is multiplied."""
        rated = H100.power_limit
        return msgspec.structs.replace(self, watts=max(150.0, rated - (rated - self.watts) * severity))

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        before = [gpu.power_limit for gpu in node.gpus]
        for gpu in node.gpus:
            gpu.power_limit = self.watts

        def undo() -> None:
            for gpu, watts in zip(node.gpus, before, strict=True):
                gpu.power_limit = watts

        return undo


class XidFault(BaseFault, frozen=True, tag="xid"):
    """A GPU reports an XID error; a fatal one takes its engines down for ``repair_s`` and the time to load."""

    gpu: int = 0
    code: int = 79
    fatal: bool = True
    repair_s: float = 60.0
    amounts: ClassVar[tuple[str, ...]] = ("repair_s",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        gpu = node.gpus[self.gpu]
        gpu.xids.append((node.now, self.code))
        if self.code == OFF_THE_BUS:
            gpu.lost = True
            node.agenda.at(node.now + self.repair_s, lambda _: setattr(gpu, "lost", False))
        if self.fatal:
            for engine in node.on_gpu(self.gpu):
                node.restart(engine, self.repair_s)
        return _nothing


class Ecc(BaseFault, frozen=True, tag="ecc"):
    """Memory errors. Uncorrected ones remap a row, report XID 63 and 94 and kill the engine; corrected ones count."""

    gpu: int = 0
    uncorrected: int = 1
    corrected: int = 0

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        gpu = node.gpus[self.gpu]
        gpu.ecc_corrected += self.corrected
        if self.uncorrected:
            gpu.ecc_uncorrected += self.uncorrected
            gpu.rows_uncorrected += 1
            gpu.remap_pending = True
            gpu.xids += [(node.now, 63), (node.now, 94)]
            for engine in node.on_gpu(self.gpu):
                node.restart(engine, 20.0)
        return _nothing


class NvLink(BaseFault, frozen=True, tag="nvlink"):
    """Links of a GPU fail: only ``share`` of its bandwidth is left, and errors are counted."""

    gpu: int = 0
    share: float = 0.1
    factors: ClassVar[tuple[str, ...]] = ("share",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        gpu = node.gpus[self.gpu]
        gpu.link_share, gpu.links_down = self.share, round(gpu.model.nvlink_links * (1 - self.share))
        gpu.nvlink_error_rate = LINK_ERRORS_PER_S

        def undo() -> None:
            gpu.link_share, gpu.links_down, gpu.nvlink_error_rate = 1.0, 0, 0.0

        return undo


class Neighbour(BaseFault, frozen=True, tag="neighbour"):
    """Another process on a GPU: it takes memory, and shares of the multiprocessors and of the memory bandwidth.

    With ``restart`` the GPU's engines start anew and find less memory for their cache than before: their start
    script is one that takes what is free.
    """

    gpu: int = 0
    gigabytes: float = 20.0
    sm: float = 0.0
    dram: float = 0.0
    restart: bool = False
    amounts: ClassVar[tuple[str, ...]] = ("gigabytes", "sm", "dram")

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        gpu, pid = node.gpus[self.gpu], 77001
        gpu.processes[pid] = SimulatedProcess(pid, "python notebook.py", self.gigabytes * GIB)
        sm, dram = min(self.sm, MAX_SHARE_TAKEN), min(self.dram, MAX_SHARE_TAKEN)
        gpu.other_sm += sm
        gpu.other_dram += dram
        if self.restart:
            for engine in node.on_gpu(self.gpu):
                node.kill(engine)
                node.restart(engine)

        def undo() -> None:
            gpu.processes.pop(pid, None)
            gpu.other_sm -= sm
            gpu.other_dram -= dram
            if self.restart:
                for engine in node.on_gpu(self.gpu):
                    node.restart(engine)

        return undo


class Reconfigure(BaseFault, frozen=True, tag="reconfigure"):
    """An engine is started again with other settings; undoing it starts it with those it had."""

    engines: tuple[int, ...] = (0,)
    max_num_seqs: int | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    enable_prefix_caching: bool | None = None

    def scaled(self, severity: float) -> Self:
        """See `BaseFault.scaled`: the batch is divided, the cut of the memory from 0.90 multiplied."""
        seqs, memory = self.max_num_seqs, self.gpu_memory_utilization
        return msgspec.structs.replace(
            self,
            max_num_seqs=None if seqs is None else max(2, round(seqs / severity)),
            gpu_memory_utilization=None if memory is None else max(0.55, 0.90 - (0.90 - memory) * severity),
        )

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        names = ("max_num_seqs", "gpu_memory_utilization", "max_num_batched_tokens", "enable_prefix_caching")
        changes = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        engines = [node.engines[place] for place in self.engines]
        before = [{name: getattr(engine.config, name) for name in changes} for engine in engines]
        self._one_by_one(node, [(place, changes) for place in self.engines])
        return lambda: self._one_by_one(node, list(zip(self.engines, before, strict=True)))

    def _one_by_one(self, node: SimulatedNode, work: list[tuple[int, dict[str, object]]]) -> None:
        # one after the other, so that a replica is left to serve
        wait = 0.0
        for place, changes in work:
            engine = node.engines[place]
            node.agenda.at(node.now + wait, _again(node, engine, changes))
            wait += engine.config.load_s + 15.0


def _again(node: SimulatedNode, engine: SimulatedEngine, changes: dict[str, object]) -> Callable[[float], None]:
    return lambda _: node.restart(engine, 0.0, **changes)


class SlowEngine(BaseFault, frozen=True, tag="slow_engine"):
    """One replica is slower than its peers by factors on the parts of an iteration."""

    engine: int = 0
    host: float = 1.0
    compute: float = 1.0
    memory: float = 1.0
    factors: ClassVar[tuple[str, ...]] = ("host", "compute", "memory")

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        return node.slow(node.engines[self.engine], host=self.host, compute=self.compute, memory=self.memory)


class Freeze(BaseFault, frozen=True, tag="freeze"):
    """An engine's process stops in mid-work, and goes on at the end."""

    engine: int = 0

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        engine = node.engines[self.engine]
        engine.freeze()
        return lambda: engine.thaw(node.now)


class Acceptance(BaseFault, frozen=True, tag="acceptance"):
    """Drafted tokens are right less often: the chance falls to this."""

    value: float = 0.15

    def scaled(self, severity: float) -> Self:
        """See `BaseFault.scaled`: the chance is divided."""
        return msgspec.structs.replace(self, value=min(1.0, self.value / severity))

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        before = [engine.acceptance for engine in node.engines]
        for engine in node.engines:
            engine.acceptance = self.value

        def undo() -> None:
            for engine, value in zip(node.engines, before, strict=True):
                engine.acceptance = value

        return undo


class Cores(BaseFault, frozen=True, tag="cores"):
    """Something else wants so many of the host's cores, and the hypervisor steals a share of them."""

    cores: float = 0.0
    """As a multiple of the cores there are."""

    steal: float = 0.0
    amounts: ClassVar[tuple[str, ...]] = ("cores", "steal")

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        wanted = self.cores * node.host.cores

        def turn(sign: float) -> None:
            node.host.stranger_cores += sign * wanted
            node.host.steal += sign * self.steal

        turn(1.0)
        return lambda: turn(-1.0)


class Training(BaseFault, frozen=True, tag="training"):
    """A training job turns noisy: its data loading wants more cores, its traffic slows the engines' links."""

    job: int = 0
    cores: float = 3.0
    """As a multiple of the cores there are."""

    collective: float = 1.0
    factors: ClassVar[tuple[str, ...]] = ("collective",)
    amounts: ClassVar[tuple[str, ...]] = ("cores",)

    def begin(self, node: SimulatedNode) -> Undo:
        """See `BaseFault.begin`."""
        job, wanted = node.training[self.job], self.cores * node.host.cores
        job.loader_cores += wanted
        undos = [node.slow(engine, collective=self.collective) for engine in node.engines]

        def undo() -> None:
            job.loader_cores -= wanted
            for one in undos:
                one()

        return undo
