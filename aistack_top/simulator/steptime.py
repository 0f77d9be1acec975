"""How long one iteration of an engine takes, and what load saturates it.

    iteration = host + collective + max(compute, memory)

- compute = (2 P tokens + 4 L H token-contexts) / (n F), F at the slowest clock: Kaplan 2020, arXiv 2001.08361, 2.1.
- memory = (weights + KV bytes of the batch) / (n bandwidth): decoding reads them all once an iteration, Pope 2022,
  arXiv 2211.05102, section 2.
- collective = 2 L all-reduces of hidden x tokens x 2 bytes, each 2 (n - 1) / n over a link, and a latency each: ring
  all-reduce, two a layer, Megatron-LM, arXiv 1909.08053, section 3.
- host = fixed + per sequence, times the slowdown of the host; sizes assumed.

n is the tensor-parallel size, and the slowest GPU sets the pace: all wait for it in every all-reduce.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from aistack_top.simulator.gpu import Gpu
from aistack_top.simulator.hardware import GpuModel, LanguageModel

HOST_STEP_S = 0.0020
"""Host time of an iteration that is not hidden behind the GPU. Assumed; vLLM 0.6's blog of 2024-09-05 puts an
iteration's CPU work on a Llama-8B at several milliseconds, later versions hide a part."""

HOST_SEQUENCE_S = 12e-6
ALL_REDUCE_LATENCY_S = 12e-6
"""A small all-reduce over NVLink, launch included. Assumed; NCCL tests show 10 to 20 microseconds."""

LINK_EFFICIENCY = 0.75
LORA_OVERHEAD = 0.12
"""More time per iteration with adapters in the batch. S-LoRA, arXiv 2311.03285, shows 10 to 20 per cent."""


@dataclass(slots=True)
class FaultFactors:
    """What faults turn on one engine: factors on the parts of an iteration, 1 when all is well."""

    compute: float = 1.0
    memory: float = 1.0
    host: float = 1.0
    collective: float = 1.0
    version_compute: float = 1.0
    version_memory: float = 1.0


@dataclass(frozen=True, slots=True)
class StepCosts:
    """The coefficients of an iteration's time, all in seconds: per iteration, sequence, token, context token."""

    host: float
    host_sequence: float
    collective: float
    collective_token: float
    token: float
    attention: float
    weights: float
    kv_token: float
    nvlink_token_bytes: float
    memory_rate: float

    def memory(self, kv_tokens: float) -> float:
        """Return the time to read the weights and this many tokens of KV cache."""
        return self.weights + self.kv_token * kv_tokens

    def compute(self, tokens: float, token_contexts: float = 0.0) -> float:
        """Return the time of the arithmetic on tokens, and on pairs of a token and one before it."""
        return self.token * tokens + self.attention * token_contexts

    def overhead(self, sequences: int, tokens: float) -> float:
        """Return the host's and the links' part."""
        return self.host + self.host_sequence * sequences + self.collective + self.collective_token * tokens

    def step(self, sequences: int, tokens: float, kv_tokens: float, token_contexts: float = 0.0) -> float:
        """Return the time of one iteration."""
        work = max(self.compute(tokens, token_contexts), self.memory(kv_tokens))
        return self.overhead(sequences, tokens) + work


def flops_of(gpu: GpuModel, model: LanguageModel) -> float:
    """Return the operations a second one GPU reaches on a model's matrices, at full clock."""
    return (gpu.flops_8bit if model.weight_bytes <= 1.0 else gpu.flops_16bit) * gpu.compute_efficiency


def pace(model: LanguageModel, gpus: Sequence[Gpu], knobs: FaultFactors, host_share: float = 1.0) -> StepCosts:
    """Return the coefficients for a model on its GPUs as they are now; ``host_share`` is the slowdown of the host."""
    hardware, n = gpus[0].model, len(gpus)
    compute = n * flops_of(hardware, model) * min(gpu.compute_rate for gpu in gpus)
    compute /= knobs.compute * knobs.version_compute
    memory_rate = min(gpu.memory_rate for gpu in gpus)
    bandwidth = n * hardware.bandwidth * hardware.memory_efficiency * memory_rate
    bandwidth /= knobs.memory * knobs.version_memory
    rounds = 2 * model.layers if n > 1 else 0
    share = min(gpu.link_share for gpu in gpus)
    wire = rounds * model.hidden * 2.0 * 2.0 * (n - 1) / n
    slow = knobs.collective
    return StepCosts(
        host=HOST_STEP_S * knobs.host * host_share,
        host_sequence=HOST_SEQUENCE_S * knobs.host * host_share,
        # fewer lanes also cost latency: the message is cut in fewer parallel pieces
        collective=rounds * ALL_REDUCE_LATENCY_S * slow / max(share, 0.05) ** 0.5,
        collective_token=wire / (hardware.nvlink * LINK_EFFICIENCY * share) * slow,
        token=model.flops_per_token / compute,
        attention=model.attention_flops / compute,
        weights=model.parameters * model.weight_bytes / bandwidth,
        kv_token=model.kv_per_token / bandwidth,
        nvlink_token_bytes=wire,
        memory_rate=memory_rate,
    )


@dataclass(frozen=True, slots=True)
class RequestMix:
    """What requests are like in the mean: tokens of a prompt, an answer, a prompt's cached part.

    ``context`` is the mean of what a sequence in the batch holds; long answers stay longer, so that it is more
    than a prompt and half an answer.
    """

    prompt: float
    output: float
    cached: float
    context: float


KV_FILL = 0.85
"""Share of the KV blocks that full batches keep in use: some are lost to preemption and to prompts just admitted.
Found with the model itself, overloaded (`bench/simulator.py saturation` prints both sides)."""


def saturation(
    pace: StepCosts, mix: RequestMix, sequences: int, kv_tokens: int, speed: float = 1.0, drafts: int = 0
) -> float:
    """Return the requests a second that keep an engine's batch exactly full.

    With B sequences in the batch every iteration decodes B tokens, and B / output prompts follow it in the mean. They
    come one by one: a share q = 1 - exp(-B / output) of the iterations computes prompts and is bound by arithmetic,
    the others only decode and are bound by memory. A request leaves after ``output`` iterations of their mean length,
    or ``speed`` times fewer with drafted tokens.
    """
    batch = max(1.0, min(float(sequences), KV_FILL * kv_tokens / (mix.context - mix.cached)))
    rounds = mix.output / speed
    share = 1.0 - exp(-batch / rounds)
    prefill = batch * (mix.prompt - mix.cached) / rounds / share
    tokens = batch * (1 + drafts)
    decoding = max(pace.compute(tokens), pace.memory(batch * mix.context))
    both = max(pace.compute(tokens + prefill, prefill * mix.prompt / 2), pace.memory(batch * mix.context))
    step = pace.overhead(int(batch), tokens + prefill * share) + share * both + (1.0 - share) * decoding
    return batch / (rounds * step)
