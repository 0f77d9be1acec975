"""A second engine model for the diagnosis benchmark, by another hand than the simulator's and the rules'.

It was written from first principles of continuous batching and from real servers' metric pages, without reading the
simulator of the package or the rules of diagnosis. Neither may be tuned on it: a rule that is right on one model only
is right about that model, not about engines. ``python bench/second_model.py`` plays it.

| module | models |
|---|---|
| `physics` | time of an engine step: bytes over bandwidth, operations over peak, collectives, the host's part |
| `gpu` | heat (one RC), clocks, power cap and brake, thermal throttle with hysteresis, memory and link errors |
| `engine` | continuous batching: chunked prefill, KV blocks with a watermark, recompute, prefix cache, refusals |
| `blocks` | the pool of KV blocks and the prefixes kept in it |
| `arrivals` | seven processes of arrivals and of sizes, and the figures that tell them apart |
| `service` | the way of a request: network, guardrail, look-up, router, engine, and clients that hang up |
| `world` | all of it on one event queue |
| `faults` | what can go wrong, and which causes are right answers |
| `pages` | an engine as its own metrics page, read by the production reader of vLLM's pages |
| `readings` | every source as production collectors send it: jitter, lost runs, late traces, clocks that differ |
| `pain` | what people felt, from the model's own record of each request |
| `trials`, `play`, `tables` | the runs, one run in front of the detection, and the rows of the report |

Nothing here is scaled to a measured server; the sizes are those of data sheets. So absolute latencies mean little and
ratios of before and after are what is looked at.
"""
