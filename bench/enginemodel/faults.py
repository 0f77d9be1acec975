"""What goes wrong, how, and which causes are right answers to it.

A fault names the causes that an engineer who knows all would accept, the first the one meant. Where two names mean the
same here (a surge of traffic is an overload; a GPU that falls off the bus takes its engine with it), both are accepted.
``unknown`` alone is right where nothing that is read shows the cause: the network between application and engines, an
error of the application, a drag inside all engines.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from enginemodel.service import TrainingJob
from enginemodel.world import World

Act = Callable[[World, float], None]
"""Begins a fault in a world now, at a severity of 0.85 to 1.2."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``layers`` are those in which its cause lies, as the table of signals has them."""

    name: str
    begin: Act
    causes: tuple[str, ...]
    layers: tuple[str, ...]
    fleet: str = ""


def _fan(world: World, severity: float) -> None:
    for gpu in world.gpus[0]:
        gpu.airflow = 0.22 / severity
        gpu.inlet = 15.0 * severity


def _brake(world: World, severity: float) -> None:
    for gpus in world.gpus:
        for gpu in gpus:
            gpu.brake = 0.42 / severity


def _power_limit(world: World, severity: float) -> None:
    for gpus in world.gpus:
        for gpu in gpus:
            gpu.limit = gpu.kind.idle_power + 0.10 * gpu.kind.power / severity


def _link(world: World, severity: float) -> None:
    gpus = world.gpus[0]
    for gpu in gpus:
        gpu.links_down = gpu.kind.links - 1
    gpus[0].link_error_rate = 40.0 * severity
    gpus[0].xids.append((world.now, 74))


def _falls_off(world: World, severity: float) -> None:
    del severity
    gpu = world.gpus[0][0]
    gpu.xids.append((world.now, 79))
    gpu.lost = True
    world.at(world.now + 1.0, world.crash, 0)


def _uncorrected(world: World, severity: float) -> None:
    gpu = world.gpus[0][0]
    gpu.uncorrected += max(int(2 * severity), 1)
    gpu.remap_pending = True
    gpu.xids += [(world.now, 48), (world.now + 0.2, 94)]
    world.at(world.now + 1.5, world.crash, 0)
    world.at(world.now + 260.0, world.restart, 0)


def _long_contexts(world: World, severity: float) -> None:
    # a job of summaries: long prompts with long answers, many of them at once, that fill the pool
    world.demand.long_share, world.demand.long_tokens = 0.45 * severity, 11000
    world.demand.output = 2.0


def _surge(world: World, severity: float) -> None:
    world.demand.rate = 2.1 * severity


def _flood(world: World, severity: float) -> None:
    for engine in world.engines:
        engine.settings = replace(engine.settings, queue_limit=60)
    world.demand.rate = 6.0 * severity


def _long_prompts(world: World, severity: float) -> None:
    world.demand.long_share, world.demand.long_tokens = 0.22 * severity, 9000


def _long_outputs(world: World, severity: float) -> None:
    world.demand.output = 4.0 * severity


def _salt(world: World, severity: float) -> None:
    # a release puts the time of day in front of the system prompt: no prompt begins like another any more
    del severity
    world.salted = True


def _batch_limit(world: World, severity: float) -> None:
    for place in range(len(world.engines)):
        at = world.now + 40.0 * place
        world.at(at, world.crash, place)
        world.at(at + 25.0, _with_limit, world, place, max(int(9 / severity), 4))


def _with_limit(world: World, place: int, limit: int) -> None:
    world.restart(place, max_sequences=limit)


def _skew(world: World, severity: float) -> None:
    world.router.skew = min(0.85 * severity, 0.97)


def _slow_replica(world: World, severity: float) -> None:
    world.engines[0].machine.drag = 2.3 * severity
    world.engines[0].changed(world.now)


def _drag(world: World, severity: float) -> None:
    for engine in world.engines:
        engine.machine.drag = 1.9 * severity
        engine.changed(world.now)


def _rail(world: World, severity: float) -> None:
    world.rail.slower, world.rail.extra_s = 4.0, 1.4 * severity


def _store(world: World, severity: float) -> None:
    world.store.slower, world.store.extra_s = 4.0, 2.2 * severity


def _network(world: World, severity: float) -> None:
    world.network_s, world.network_jitter = 0.55 * severity, 0.6


def _hog(world: World, severity: float) -> None:
    world.host.hog = world.host.cores * 4.5 * severity


def _neighbour(world: World, severity: float) -> None:
    for gpu in world.gpus[0]:
        gpu.neighbours, gpu.neighbour_memory = 1, 5.5e9
        gpu.neighbour_load = min(0.85 * severity, 1.0)


def _training(world: World, severity: float) -> None:
    # a run of fine-tuning on GPUs that serve, with its loaders on the host
    world.training = TrainingJob("finetune", 4.2, started=world.now)
    world.host.hog = world.host.cores * 0.7
    for gpus in world.gpus:
        for gpu in gpus:
            gpu.neighbours, gpu.neighbour_memory = 1, 6.5e9
            gpu.neighbour_load = min(0.9 * severity, 1.0)


def _notice(world: World, severity: float) -> None:
    del severity
    world.notice_at = world.now
    for place in range(len(world.engines) - 1):
        world.at(world.now + 10.0 + 5.0 * place, world.drain, place)


def _freeze(world: World, severity: float) -> None:
    world.freeze(0)
    world.at(world.now + 400.0 * severity, world.thaw, 0)


def _engine_gone(world: World, severity: float) -> None:
    world.crash(0)
    world.at(world.now + 380.0 * severity, world.restart, 0)


def _engine_core_dead(world: World, severity: float) -> None:
    world.crash(0, api_lives=True)
    world.at(world.now + 380.0 * severity, world.restart, 0)


def _restart(world: World, severity: float) -> None:
    world.crash(0)
    world.at(world.now + 75.0 * severity, world.restart, 0)


def _errors(world: World, severity: float) -> None:
    world.error_share = 0.55 * severity


FAULTS = (
    Fault("throttle", _fan, ("thermal_throttle",), ("compute",)),
    Fault("power_brake", _brake, ("power_brake",), ("compute",)),
    Fault("power_cap", _power_limit, ("power_cap",), ("compute",)),
    Fault("nvlink", _link, ("nvlink", "xid"), ("compute",), "linked"),
    Fault("gpu_falls_off", _falls_off, ("xid", "engine_down"), ("compute", "serving")),
    Fault("ecc", _uncorrected, ("ecc", "xid"), ("compute",)),
    Fault("long_contexts", _long_contexts, ("kv_pressure", "long_prompts"), ("serving", "tracing")),
    Fault("surge", _surge, ("traffic_surge", "overload"), ("serving", "tracing")),
    Fault("flood", _flood, ("overload", "traffic_surge"), ("serving", "tracing")),
    Fault("long_prompts", _long_prompts, ("long_prompts", "kv_pressure"), ("serving", "tracing")),
    Fault("long_outputs", _long_outputs, ("long_outputs", "kv_pressure"), ("serving", "tracing")),
    Fault("prefix_lost", _salt, ("prefix_cache",), ("serving",)),
    Fault("batch_limit", _batch_limit, ("batch_limit",), ("serving",)),
    Fault("router_skew", _skew, ("router_imbalance",), ("serving",)),
    Fault("slow_replica", _slow_replica, ("slow_replica",), ("serving", "compute")),
    Fault("guardrail", _rail, ("guardrail_slow",), ("governance",)),
    Fault("retrieval", _store, ("retrieval_slow",), ("data",)),
    Fault("network", _network, ("unknown",), ()),
    Fault("host_starved", _hog, ("cpu_starvation",), ("compute",)),
    Fault("neighbour", _neighbour, ("noisy_neighbour",), ("compute",)),
    Fault("training", _training, ("training_job", "noisy_neighbour"), ("compute", "training")),
    Fault("reclaim", _notice, ("spot_notice",), ("compute",)),
    Fault("frozen", _freeze, ("frozen_engine",), ("serving",)),
    Fault("engine_gone", _engine_gone, ("engine_down", "capacity_changed"), ("serving",)),
    Fault("engine_core_dead", _engine_core_dead, ("engine_down", "capacity_changed"), ("serving",)),
    Fault("restart", _restart, ("engine_down", "capacity_changed"), ("serving",)),
    Fault("errors", _errors, ("unknown",), ()),
    Fault("no_cause", _drag, ("unknown",), ()),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
PAIRS = (
    ("guardrail", "surge"), ("throttle", "retrieval"), ("host_starved", "guardrail"), ("long_prompts", "retrieval"),
    ("frozen", "guardrail"), ("neighbour", "retrieval"), ("prefix_lost", "guardrail"),
)  # fmt: skip
"""The second begins five minutes after the first."""

WITHHELD = {
    "throttle": ("nvml",),
    "power_brake": ("nvml",),
    "host_starved": ("host",),
    "neighbour": ("nvml",),
    "guardrail": ("litellm", "spans"),
    "retrieval": ("milvus", "spans"),
}
"""Kinds of sources that nobody reads; with ``spans`` requests have no parts."""
