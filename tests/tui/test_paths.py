"""Seven troubles, from the first paint to the cause in at most five keys: the paths of ``docs/tour.md``, played.

The numbers are a plant's, the verdicts those of the watch that runs live; nothing here is written into a verdict.
"""

import re
from dataclasses import replace
from typing import Any

import pytest

from aistack_top.feeds.diagnosed import DiagnosedFeed
from aistack_top.model.tick import Batch, Call, Event, Health
from tests.aistack_top.diagnosis.fake_node import START, Plant, bent, both, engine
from tests.fakes.feed import FakeFeed
from tests.tui.screen_text import press, shown, text

SLOW = {"serving__ttft": 6.0, "serving__prefill_time": 6.0}
BEGINS, LASTS = 1000, 1150


def throttled(at, signal, who):
    return 0.9 if at >= BEGINS - 10 and who == "GPU-0/hw_thermal" and signal == "gpu.throttle" else 1.0


def slower(at, signal, who):
    return 2.5 if at >= BEGINS and who == "chat-1" and signal in ("serving.itl", "serving.decode_time") else 1.0


def at(second, kind, about, text_, severity="info", **detail):
    moment = START + second
    return {second: (Event(moment, moment, "serving", kind, severity, about, text_, "chat-0", tuple(detail.items())),)}


FEWER_BLOCKS = at(900, "changed", engine(0), "KV blocks 11,200 -> 7,400", key="kv_blocks", before="11200", after="7400")
FULL = {"serving__kv_cache__usage": 2.45, "serving__requests__waiting": 12.0, "serving__preemptions": 0.5, **SLOW}
FROZEN = at(BEGINS, "frozen", engine(0), "chat-0 is frozen: 20 requests in it and no token", "critical")


class Versions(Plant):
    """A plant whose calls are known, and that serves a new version of its model from a time on."""

    def ticks(self, seconds, start=0):
        for tick in super().ticks(seconds, start):
            new = tick.at >= START + BEGINS
            calls = tuple(self._call(f"{tick.at}-{n}", tick.at, 9.0 if new else 2.0, new) for n in range(6))
            health = Health("langfuse", "langfuse", "tracing", "ok", interval_s=5.0)
            batch = Batch(tick.at, tick.at, health, calls=calls, calls_until=tick.at)
            yield replace(tick, batches=(*tick.batches, batch))

    def _call(self, name, seen, long, new):
        times: dict[str, Any] = {
            "start": seen - 1 - long,
            "end": seen - 1,
            "seen": seen,
            "updated": seen,
            "ttft": long / 4,
        }
        told: dict[str, Any] = {
            "model": "llama",
            "version": "2.0" if new else "1.0",
            "input_tokens": 900,
            "output_tokens": 200,
        }
        return Call(name, name, "", "generation", "chat", **times, **told)


PLANTS = {
    "version": Versions(
        bent(BEGINS, serving__itl=3.0, serving__decode_time=3.0),
        events=at(BEGINS - 5, "restart", engine(0), "chat-0 restarted", "warning"),
    ),
    "heat": Plant(both(throttled, bent(BEGINS - 10, gpu__clock__sm=0.5, gpu__temperature=1.4), bent(BEGINS, **SLOW))),
    "long prompts": Plant(bent(BEGINS, serving__prompt_tokens__per_request=3.0, **SLOW)),
    "slow rail": Plant(bent(BEGINS, guardrail__latency=40.0)),
    "KV blocks": Plant(both(bent(BEGINS, **FULL)), events=FEWER_BLOCKS),
    "slow replica": Plant(slower, engines=2),
    "frozen": Plant(bent(BEGINS, serving__engine__frozen=1.1), events=FROZEN),
}
PATHS = {
    "version": (("enter", "6", "tab", "tab"), "model version", r"2\.0"),
    "heat": (("enter", "1"), "thermal throttle", r"hw.thermal"),
    "long prompts": (("enter", "2"), "long prompts", r"prompt p95|prompt length"),
    "slow rail": (("enter", "7"), "guardrail slow", r"input"),
    "KV blocks": (("enter", "c"), "capacity changed", r"KV blocks 11,200 -> 7,400"),
    "slow replica": (("enter", "2"), "slow replica", r"chat-1 .*▲"),
    "frozen": (("enter", "2"), "frozen engine", r"chat-0 is frozen"),
}


@pytest.mark.parametrize("trouble", PATHS)
async def test_a_cause_is_at_most_five_keys_away(trouble):
    keys, cause, evidence = PATHS[trouble]
    assert len(keys) <= 5
    ticks = list(PLANTS[trouble].ticks(LASTS, BEGINS - 400))
    async with shown(DiagnosedFeed(FakeFeed(ticks)), until=ticks[-1].at) as (app, pilot):
        first = text(app)
        assert re.search(r"^! ", first, re.MULTILINE), first
        incident = await press(app, pilot, keys[0])
        assert cause in incident, incident
        seen = await press(app, pilot, *keys[1:])
        assert re.search(evidence, seen), seen
