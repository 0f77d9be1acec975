"""Now beside the same hour of yesterday, where a recording has it; where it has not, since when there is one."""

import re
from dataclasses import replace

import pytest

from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Tick
from aistack_top.session.recorder import Recorder
from tests.fakes.feed import START, FakeFeed, World, seconds
from tests.fakes.incident import incident, troubled
from tests.tui.screen_text import press, settle, shown, text
from tui.model.compare_day import DAY_S, NoDataError, same_hour

WORLD = World(gpus=2, history_s=0)


def recorder(tmp_path) -> Recorder:
    return Recorder(tmp_path / "ring.aistack", node="node-1", clock=VirtualClock(START), every_s=5.0, block_s=60.0)


def ticks() -> list[Tick]:
    first, *more = seconds(20, WORLD)
    return [replace(first, incidents=(incident(START - 30),)), *more]


async def compared(app, pilot) -> str:
    await press(app, pilot, "i", "b")
    await app.workers.wait_for_complete()
    await settle(app, pilot)
    return text(app)


async def test_an_incident_is_compared_with_the_same_hour_of_yesterday_and_again_with_before(tmp_path):
    ring = recorder(tmp_path)
    for tick in seconds(40, WORLD, START - DAY_S):
        ring.record(tick)
    async with shown(RecordingFeed(FakeFeed(ticks()), ring), (120, 40)) as (app, pilot):
        assert "b: baseline before 15:59:30 against now" in await press(app, pilot, "i")
        await press(app, pilot, "escape")
        painted = await compared(app, pilot)
        assert "b: yesterday 15:30:19 to 16:30:19 against now" in painted
        assert re.search(r"TTFT p95 vllm-0 +yesterday \d+ ms, now \d+ ms, [\d.]+x", painted)
        assert "b: baseline before 15:59:30 against now" in await press(app, pilot, "b")


async def test_a_recording_that_is_too_young_says_since_when_there_is_one(tmp_path):
    async with shown(RecordingFeed(FakeFeed(ticks()), recorder(tmp_path)), (120, 40)) as (app, pilot):
        await press(app, pilot, "i", "b")
        await app.workers.wait_for_complete()
        await settle(app, pilot)
        assert "no data for yesterday: the recording starts at 16:00 on 2025-11-24" in text(app)
    with pytest.raises(NoDataError, match="the recording starts at 16:00 on 2025-11-24"):
        await same_hour(tmp_path / "ring.aistack", START)


async def test_where_nothing_is_recorded_that_is_said(tmp_path):
    async with shown(FakeFeed(troubled(WORLD)), (120, 40)) as (app, pilot):
        await press(app, pilot, "i", "b")
        await app.workers.wait_for_complete()
        assert "no recording to compare with yesterday" in text(app)
    with pytest.raises(NoDataError, match="yesterday cannot be read"):
        await same_hour(tmp_path / "none.aistack", START)
