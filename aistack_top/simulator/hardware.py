"""What GPUs and language models can do by public figures: the constants all equations of the model start from."""

from dataclasses import dataclass

GIB = 1024.0**3


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A kind of GPU: memory in bytes, rates per second, power in watts, clocks in hertz, temperatures in Celsius.

    ``nvlink`` is bytes a second in one direction over all links. ``compute_efficiency`` and
    ``memory_efficiency`` are the shares of the peak that serving kernels reach.
    """

    name: str
    memory: float
    bandwidth: float
    flops_16bit: float
    flops_8bit: float
    power_limit: float
    power_idle: float
    clock_max: float
    clock_memory: float
    throttle_at: float
    slowdown_at: float
    shutdown_at: float
    memory_max_at: float
    nvlink: float
    nvlink_links: int
    compute_efficiency: float = 0.55
    memory_efficiency: float = 0.80


H100 = GpuModel(
    name="NVIDIA H100 80GB HBM3",
    memory=81559 * 1024.0**2,  # as NVML reports it on a real board
    bandwidth=3.35e12,  # NVIDIA H100 data sheet, SXM
    flops_16bit=989e12,  # the same, dense
    flops_8bit=1979e12,
    power_limit=700.0,
    power_idle=72.0,  # assumed: idle boards with a loaded context draw 70 to 120 W
    clock_max=1980e6,  # NVML, H100 SXM
    clock_memory=2619e6,
    throttle_at=87.0,  # nvidia-smi -q of an H800 SXM, the same 700 W board family
    slowdown_at=89.0,
    shutdown_at=92.0,
    memory_max_at=95.0,
    nvlink=450e9,  # data sheet: 900 GB/s both ways together
    nvlink_links=18,
)
"""Copies on a real H100 reached 3.0 of 3.35 TB/s; kernels of decoding reach less, 0.80 of the peak is assumed, and
0.55 of the peak for the matrix products of prefill."""

TOY_CPU = GpuModel(
    name="two CPU cores",
    memory=4 * GIB,
    bandwidth=4.0e10,
    flops_16bit=2.8e10,
    flops_8bit=2.8e10,
    power_limit=100.0,
    power_idle=10.0,
    clock_max=2e9,
    clock_memory=1e9,
    throttle_at=95.0,
    slowdown_at=100.0,
    shutdown_at=105.0,
    memory_max_at=95.0,
    nvlink=1e9,
    nvlink_links=1,
    compute_efficiency=1.0,
    memory_efficiency=1.0,
)
"""The machine of the recorded toy server, only for the comparison with reality: rates fitted to its iterations."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model's shape. Bytes are per parameter and per stored key or value element."""

    name: str
    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    weight_bytes: float
    kv_bytes: float

    @property
    def kv_per_token(self) -> float:
        """Bytes one token takes in the KV cache: a key and a value per layer and KV head."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * self.kv_bytes

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations per token without attention: 2 per parameter (Kaplan 2020, section 2.1)."""
        return 2.0 * self.parameters

    @property
    def attention_flops(self) -> float:
        """Operations per token and token of context before it: 4 per layer and hidden unit (the same)."""
        return 4.0 * self.layers * self.hidden


LANGUAGE_MODELS = {
    model.name: model
    for model in (
        # shapes: Llama 3 paper, arXiv 2407.21783, table 3
        LanguageModel("meta-llama/Llama-3.3-70B-Instruct", 70.6e9, 80, 8192, 8, 128, 1.0, 2.0),
        LanguageModel("meta-llama/Llama-3.1-8B-Instruct", 8.03e9, 32, 4096, 8, 128, 2.0, 2.0),
        # Qwen2.5 report, arXiv 2412.15115, table 1
        LanguageModel("Qwen/Qwen2.5-32B-Instruct", 32.5e9, 64, 5120, 8, 128, 1.0, 2.0),
        # the random-weight model of the recorded toy server
        LanguageModel("tiny-llama-lab", 0.85e6, 2, 128, 2, 32, 2.0, 2.0),
    )
}
"""The models of the nodes; the two large ones are served with 8-bit weights and a 16-bit KV cache."""

GPU_MODELS = {model.name: model for model in (H100, TOY_CPU)}
