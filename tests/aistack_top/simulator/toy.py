"""The recorded toy server again, in the model: the same limits, fed the same requests."""

import gzip
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from aistack_top.simulator.engine import EngineConfig, SimulatedEngine
from aistack_top.simulator.event_queue import EventQueue
from aistack_top.simulator.gpu import Gpu
from aistack_top.simulator.hardware import TOY_CPU
from aistack_top.simulator.request import Request

REQUESTS = Path(__file__).parents[3] / "fixtures/captures/vllm-0.32.0/run1/requests.jsonl.gz"
PHASES = (("normal", 20.0, 65.0), ("burst", 65.0, 115.0), ("drain", 115.0, 145.0), ("recovery", 145.0, 185.0))
CONFIG = EngineConfig(
    name="toy",
    model="tiny-llama-lab",
    gpus=(0,),
    max_num_seqs=8,
    max_model_len=2048,
    block_size=128,
    num_gpu_blocks=24,
    enable_prefix_caching=False,
)
HOST = 2.45
"""Factor on the model's host time: 4.9 ms an iteration, which makes the tokens a second of the recording."""


@dataclass
class Phase:
    """What a scraper would have written down of one phase."""

    running: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    usage: list[float] = field(default_factory=list)
    ttft: list[float] = field(default_factory=list)
    preemptions: int = 0
    tokens: int = 0
    finished: int = 0

    @property
    def median_ttft(self):
        return sorted(self.ttft)[len(self.ttft) // 2] if self.ttft else None


def asked():
    """Return (time, prompt tokens, output tokens, seconds until the client gave up or None)."""
    with gzip.open(REQUESTS, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    for row in sorted(rows, key=lambda row: row["t"]):
        if row["status"] == 200:
            yield row["t"], row["pt"], row["ct"], None
        elif row["status"] == "aborted":  # its sizes were never told: the burst's mean prompt, all it asked for
            yield row["t"], 498, row["max_tokens"], row["e2e"]


def _submit(engine: SimulatedEngine, request: Request, now: float) -> None:
    engine.submit(request, now)


def _give_up(engine: SimulatedEngine, request: Request, _: float) -> None:
    engine.cancel(request)


def replay() -> dict[str, Phase]:
    """Return the phases by name."""
    agenda, requests = EventQueue(), []
    engine = SimulatedEngine(CONFIG, [Gpu(0, TOY_CPU, "toy")], agenda, Random("toy"), 1, lambda *_: None)
    engine.knobs.host = HOST
    engine.refresh(1.0)
    for number, (at, prompt, output, min_duration) in enumerate(asked()):
        request = Request(number, "tiny", prompt, output, at, queued=at)
        requests.append(request)
        agenda.at(at, partial(_submit, engine, request))
        if min_duration is not None:
            agenda.at(at + min_duration, partial(_give_up, engine, request))
    phases: dict[str, Phase] = {}
    for name, start, end in PHASES:
        agenda.advance(start)
        before = (engine.metrics.preemptions, engine.metrics.generation_tokens, engine.metrics.e2e.count)
        phase = phases[name] = Phase()
        for second in range(int(start) + 1, int(end) + 1):
            agenda.advance(float(second))
            gauges = engine.gauges
            phase.running.append(gauges.running)
            phase.waiting.append(gauges.waiting)
            phase.usage.append(gauges.kv_usage)
        phase.preemptions = engine.metrics.preemptions - before[0]
        phase.tokens = engine.metrics.generation_tokens - before[1]
        phase.finished = engine.metrics.e2e.count - before[2]
    for name, start, end in PHASES:
        begun = [request for request in requests if start < (request.first_token or 0.0) <= end]
        phases[name].ttft = [(request.first_token or 0.0) - request.queued for request in begun]
    return phases
