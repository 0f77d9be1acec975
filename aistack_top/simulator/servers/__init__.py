"""What the simulated servers answer: the real formats, from the model's state and nothing else.

| module | stands for |
|---|---|
| `world` | the node under a clock: it lives up to now whenever somebody looks |
| `text` | Prometheus text, as the Python client writes it |
| `vllm` | a vLLM 0.33 server: metrics, load, version, models |
| `langfuse`, `spans` | Langfuse 4: the spans of requests, by its API |
| `milvus`, `ray`, `mlflow` | vector store, training jobs, tracking server |
| `gpus`, `nvml` | the GPUs as data, and an object of the shape of `pynvml` |
| `proc` | the kernel's files of the host |
| `cloud` | AWS's instance metadata: spot notices |
| `app` | all HTTP servers of the node behind one ASGI application |
"""
