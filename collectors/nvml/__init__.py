"""NVIDIA GPUs of this node, by NVML."""
