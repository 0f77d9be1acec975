"""Scenarios as data: what goes wrong, when, on which node, and what the right answer is."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

from aistack_top.model.causes import Cause
from aistack_top.model.signals import Layer
from aistack_top.simulator.arrival_processes import CONVERSATION, ArrivalProcess
from aistack_top.simulator.fault_catalog import Fault
from aistack_top.simulator.node import EPOCH, NodeConfig, SimulatedNode, TrainingConfig


class ExpectedSymptom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people notice: a signal of ``signals.toml`` and whose."""

    signal: str
    entity: dict[str, str] = {}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A drill. Times are seconds since its start; 0 means that there is no such moment.

    ``onset`` is when the fault begins to work, ``fault_end`` when it stops, ``backlog_end`` when calls take as long
    as usual again (measured on the scenario's own node, band and seed): an overload outlives its cause. ``withheld``
    names source kinds that answer nothing at all.
    """

    name: str
    says: str
    layer: Layer | None = None
    cause: Cause
    also: tuple[Cause, ...] = ()
    """Further causes, when more than one fault plays."""

    onset: float = 0.0
    fault_end: float = 0.0
    backlog_end: float = 0.0
    symptom: ExpectedSymptom | None = None
    node: str = "standard"
    light: str = "pair"
    """A node of two or three GPUs, where one can play it, for recordings and tests: what it does is the same."""

    minutes: float = 40.0
    hour: float = 10.0
    band: float = 0.65
    severity: float = 1.0
    seed: int = 1
    withheld: tuple[str, ...] = ()
    fault: tuple[Fault, ...] = ()

    def start(
        self,
        *,
        seed: int | None = None,
        band: float | None = None,
        severity: float | None = None,
        node: str | None = None,
        epoch: float = EPOCH,
        lived_s: float = 0.0,
        trains: bool = False,
        arrivals: ArrivalProcess = CONVERSATION,
    ) -> SimulatedNode:
        """Return a node on which it will happen; what is not given is the scenario's own.

        With ``trains`` a node on which nothing is trained gets a GPU more, and a job on it.
        """
        config = nodes()[node or self.node]
        running = SimulatedNode(
            trained(config) if trains else config,
            seed=self.seed if seed is None else seed,
            band=self.band if band is None else band,
            hour=self.hour,
            epoch=epoch,
            lived_s=lived_s,
            arrivals=arrivals,
        )
        running.down.update(self.withheld)
        for fault in self.fault:
            fault.scaled(self.severity if severity is None else severity).arm(running)
        return running


def trained(config: NodeConfig) -> NodeConfig:
    """Return a node that also trains, on a GPU and cores of its own, unless it does already."""
    if config.training:
        return config
    job = TrainingConfig(name="finetune", gpus=(config.gpus,))
    cores = config.cores + int(job.loader_cores)
    return msgspec.structs.replace(config, gpus=config.gpus + 1, cores=cores, training=(job,))


@cache
def nodes() -> Mapping[str, NodeConfig]:
    """Return the nodes by name."""
    return MappingProxyType(msgspec.convert(_table("nodes.toml"), dict[str, NodeConfig]))


@cache
def scenarios() -> Mapping[str, Scenario]:
    """Return the scenarios by name, in the order of the file."""
    rows = msgspec.convert(_table("scenarios.toml"), dict[str, list[Scenario]])["scenario"]
    return MappingProxyType({row.name: row for row in rows})


def _table(name: str) -> dict[str, object]:
    return tomllib.loads(files("aistack_top.simulator").joinpath(name).read_text(encoding="utf-8"))
