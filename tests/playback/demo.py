"""Makes the session that comes with the program, through the real collectors and the real recorder.

    python -m tests.playback.demo aistack_top/session/examples/lab-burst.aistack

In virtual time: a real vLLM 0.32.0 on a CPU (normal load, a burst that fills its KV cache, the drain), a live stream of
calls of a real Langfuse 4.16.0, and NVIDIA's own mock of NVML in place of GPUs.
"""

import asyncio
import sys
from pathlib import Path

import httpx

from aistack_top.clock import VirtualClock
from aistack_top.session.compact import compact
from aistack_top.session.recorder import Recorder, RecordingFeed
from collectors.base import Source
from collectors.compute.nvml import NvmlCollector
from collectors.scheduler import LiveFeed
from collectors.serving.vllm import VllmCollector
from collectors.tracing.langfuse import LangfuseCollector
from collectors.tracing.langfuse_settings import LangfuseSettings
from tests.fakes.nvml import FakeNvml
from tests.playback.langfuse import KEYS, Playback, moment
from tests.playback.vllm import Player, PlayerTransport, Recording

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"
START = "2026-11-23T17:06:40Z"
SECONDS = 170.0
SALT = bytes(32)


async def make(target: Path) -> int:
    """Record the session; return the number of ticks."""
    clock = VirtualClock(moment(START))
    recording = Recording(CAPTURES / "vllm-0.32.0/run1/series.jsonl.gz")
    engine = httpx.AsyncClient(transport=PlayerTransport(Player(recording, clock, "20")))
    calls = Playback(CAPTURES / "langfuse-4.16.0", clock, "live")
    settings = LangfuseSettings(base_url="http://langfuse.test", public_key=KEYS[0], secret_key=KEYS[1], salt=SALT)
    collectors = [
        NvmlCollector(Source("nvml", "nvml", "compute", 1.0), clock, module=FakeNvml("busy", 2), node="lab"),
        VllmCollector(Source("vllm-8000", "vllm", "serving", 2.0, address="http://127.0.0.1:8000"), engine, clock),
        LangfuseCollector(Source("langfuse", "langfuse", "tracing", 5.0, 10.0), calls.client(), clock, settings),
    ]
    recorder = Recorder(target, node="lab", clock=clock)
    feed = RecordingFeed(LiveFeed(collectors, clock, title="lab"), recorder)
    ticks, stream = 0, feed.ticks()
    async for tick in stream:
        ticks += 1
        if tick.at >= moment(START) + SECONDS:
            break
    await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
    await feed.aclose()
    return ticks


if __name__ == "__main__":
    print(asyncio.run(make(Path(sys.argv[1]))))  # noqa: T201  what was made is said
    compact(Path(sys.argv[1]))
