"""How long one step of an engine takes: a roofline with soft corners, collectives, and the host's own part.

A step reads all weights and the KV of everything it attends to, multiplies the new tokens by the weights, and attends.
Reading and multiplying overlap, so that the longer of both decides; near the corner both cost a little. Launching and
sampling are done by the host between steps and do not overlap with the GPU.
"""

from dataclasses import dataclass

MEMORY_EFFICIENCY = 0.72
COMPUTE_EFFICIENCY = 0.52
"""Shares of data-sheet peaks that kernels of serving engines get, of the order that vendors' own benchmarks show."""

CORNER = 4.0
"""Exponent of the roofline's corner: at equal times of memory and compute a step takes 2^(1/4) of either."""

BANDWIDTH_KNEE = 0.6
"""Below this share of the top clock the multiprocessors issue too few loads to fill the memory bus."""

HOST_BASE_S = 0.0016
HOST_PER_SEQUENCE_S = 0.00003
COLLECTIVE_LATENCY_S = 0.000012


@dataclass(frozen=True, slots=True)
class GpuKind:
    """A kind of GPU by its data sheet. ``link_bandwidth`` is one direction of all its links; powers in watts."""

    name: str
    memory: float
    bandwidth: float
    flops: float
    clock: float
    power: float
    idle_power: float
    links: int
    link_bandwidth: float
    degrees_per_watt: float


A100 = GpuKind("A100-SXM4-80GB", 80e9, 2.04e12, 312e12, 1.41e9, 400.0, 58.0, 12, 300e9, 0.100)
H100 = GpuKind("H100-SXM5-80GB", 80e9, 3.35e12, 989e12, 1.98e9, 700.0, 72.0, 18, 450e9, 0.060)


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A dense transformer with grouped KV heads, of 16-bit weights and KV unless ``weight_bytes`` says otherwise."""

    name: str
    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    weight_bytes: float = 2.0

    @property
    def weights(self) -> float:
        """Bytes of all weights."""
        return self.parameters * self.weight_bytes

    @property
    def kv_per_token(self) -> float:
        """Bytes of keys and values of one token."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * 2.0


SMALL = LanguageModel("orion-8b", 8.0e9, 32, 4096, 8, 128)
MEDIUM = LanguageModel("orion-14b", 14.0e9, 40, 5120, 8, 128)
LARGE = LanguageModel("orion-70b", 70.0e9, 80, 8192, 8, 128, 1.0)


@dataclass(slots=True)
class Machine:
    """What an engine runs on: GPUs in tensor parallel, and how much of each resource it gets now.

    ``clock`` is the slowest GPU's share of the top clock; ``share`` what a neighbour on the GPU leaves; ``link`` the
    share of NVLink bandwidth that is left; ``host`` how many times longer the host's part takes; ``drag`` stretches
    the whole step for no visible reason.
    """

    kind: GpuKind
    model: LanguageModel
    parallel: int = 1
    clock: float = 1.0
    share: float = 1.0
    link: float = 1.0
    host: float = 1.0
    drag: float = 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does: sequences that decode, tokens of their context, prompt tokens, pairs attended in prefill."""

    sequences: int
    context: float
    prompt_tokens: int = 0
    prompt_pairs: float = 0.0
    prompt_context: float = 0.0


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step, and the shares of it in which memory and tensor cores were busy."""

    seconds: float
    memory: float
    tensor: float
    gpu: float


def step_time(machine: Machine, work: Work) -> StepTime:
    """Return how long a step takes."""
    kind, model, parallel = machine.kind, machine.model, machine.parallel
    tokens = work.sequences + work.prompt_tokens
    read = model.weights + model.kv_per_token * (work.context + work.prompt_context + tokens)
    operations = 2.0 * model.parameters * tokens
    operations += 4.0 * model.layers * model.hidden * (work.context + work.prompt_pairs)
    bandwidth = kind.bandwidth * MEMORY_EFFICIENCY * min(machine.clock / BANDWIDTH_KNEE, 1.0) * machine.share
    memory = read / (parallel * bandwidth)
    tensor = operations / (parallel * kind.flops * COMPUTE_EFFICIENCY * machine.clock * machine.share)
    gpu = (memory**CORNER + tensor**CORNER) ** (1.0 / CORNER) + collectives(machine, tokens)
    host = (HOST_BASE_S + HOST_PER_SEQUENCE_S * work.sequences) * machine.host
    seconds = (gpu + host) * machine.drag
    return StepTime(seconds, min(memory * machine.share / seconds, 1.0), min(tensor / seconds, 1.0), gpu / seconds)


def collectives(machine: Machine, tokens: int) -> float:
    """Return the seconds of two all-reduces a layer over NVLink; none on one GPU."""
    ways = machine.parallel
    if ways == 1:
        return 0.0
    payload = tokens * machine.model.hidden * 2.0 * 2.0 * (ways - 1) / ways
    wire = payload / (machine.kind.link_bandwidth * 0.7 * max(machine.link, 0.002))
    return 2.0 * machine.model.layers * (COLLECTIVE_LATENCY_S / max(machine.link, 0.05) + wire)


def kv_tokens(machine: Machine, memory_share: float) -> int:
    """Return how many tokens of KV fit beside weights and activations."""
    usable = machine.parallel * machine.kind.memory * memory_share
    return int((usable - machine.model.weights - 4e9 * machine.parallel) / machine.model.kv_per_token)
