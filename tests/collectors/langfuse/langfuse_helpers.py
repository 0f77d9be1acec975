"""What the Langfuse tests share: where the captures are, and a collector before a playback of them."""

from pathlib import Path
from random import Random
from typing import Any

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Batch, Call
from collectors.langfuse.collector import LangfuseCollector
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import Source
from tests.playback.langfuse import KEYS, Mode, Playback, moment

CAPTURES = Path(__file__).parents[3] / "fixtures" / "captures"
V4 = CAPTURES / "langfuse-4.16.0"
SALT = bytes(range(32))
OBSERVATIONS = "/api/public/v2/observations"


def settings(**more: Any) -> LangfuseSettings:
    told = {"base_url": "http://langfuse.test", "public_key": KEYS[0], "secret_key": KEYS[1], "salt": SALT}
    return LangfuseSettings(**{**told, **more})


def collector(play: Playback, **more: Any) -> LangfuseCollector:
    source = Source("langfuse", "langfuse", "tracing", more.pop("interval", 5.0), deadline_s=10.0)
    return LangfuseCollector(source, play.client(), play.clock, settings(**more), rng=Random(1))


def playback(mode: Mode, start: str) -> Playback:
    return Playback(V4, VirtualClock(moment(start)), mode)


def virtual(play: Playback) -> VirtualClock:
    assert isinstance(play.clock, VirtualClock)
    return play.clock


async def polls(reader: LangfuseCollector, play: Playback, seconds: float, every: float) -> list[Batch]:
    """Let the collector run at its pace for so long."""
    batches, clock = [], virtual(play)
    with clock.participant():
        end = clock.now() + seconds
        while clock.now() < end:
            batches.append(await reader.collect())
            await clock.sleep_until(clock.monotonic() + every)
    return batches


def calls_of(batches: list[Batch]) -> list[Call]:
    return [call for batch in batches for call in batch.calls]


async def after(reader: LangfuseCollector, play: Playback, seconds: float) -> Batch:
    """Run once, so many seconds later."""
    clock = virtual(play)
    with clock.participant():
        await clock.sleep_until(clock.monotonic() + seconds)
    return await reader.collect()


def asked(play: Playback) -> int:
    return sum(path == OBSERVATIONS for path, _ in play.requests)
