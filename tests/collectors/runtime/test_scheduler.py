import asyncio
from dataclasses import replace

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Batch, Health
from collectors.runtime.base import Source
from collectors.runtime.scheduler import LiveFeed

START = 1_000_000.0


class Scripted:
    """A collector that does what its script says, run by run."""

    def __init__(self, clock, name="one", interval=1.0, script=(), took=0.0, deadline=5.0):
        self.source = Source(name, "vllm", "serving", interval, deadline)
        self.clock, self.script, self.took, self.runs, self.closed = clock, list(script), took, [], False

    async def collect(self):
        now = self.clock.now()
        self.runs.append(now - START)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        if step == "hang":
            await asyncio.sleep(3600)
        health = Health(self.source.name, "vllm", "serving", "ok", took_s=self.took, interval_s=self.source.interval_s)
        return Batch(now, now, health)

    async def aclose(self):
        self.closed = True


async def play(clock, collectors, until):
    feed, ticks = LiveFeed(collectors, clock), []
    stream = feed.ticks()
    async for tick in stream:
        ticks.append(tick)
        if tick.at >= START + until:
            break
    await stream.aclose()
    await feed.aclose()
    return ticks


async def test_each_collector_has_its_own_pace_and_news_comes_early():
    clock = VirtualClock(START)
    fast, slow = Scripted(clock, "fast", 1.0), Scripted(clock, "slow", 5.0)
    ticks = await play(clock, [fast, slow], 11.0)
    assert fast.runs[:11] == [float(n) for n in range(11)]
    assert slow.runs == [0.0, 5.0, 10.0]
    assert ticks[0].at < START + 0.2
    assert {batch.health.source for batch in ticks[0].batches} == {"fast", "slow"}
    assert [round(tick.at - START, 3) for tick in ticks[1:]] == [float(n) for n in range(1, 12)]
    assert fast.closed
    assert slow.closed


async def test_a_collector_that_fails_costs_only_itself():
    clock = VirtualClock(START)
    broken = Scripted(clock, "broken", script=[None, RuntimeError("boom\x1b[2J"), None])
    sound = Scripted(clock, "sound")
    ticks = await play(clock, [broken, sound], 4.0)
    told = [b.health for t in ticks for b in t.batches if b.health.source == "broken"]
    assert [h.status for h in told[:3]] == ["ok", "down", "ok"]
    assert told[1].reason == "this collector failed: RuntimeError: boom"
    assert told[1].age_s == 1.0
    assert all(b.health.status == "ok" for t in ticks for b in t.batches if b.health.source == "sound")


async def test_a_collector_that_hangs_past_its_deadline_is_slow_and_goes_on():
    clock = VirtualClock(START)
    hung = Scripted(clock, "hung", script=["hang"], deadline=-0.49)
    ticks = await play(clock, [hung], 3.0)
    told = [b.health for t in ticks for b in t.batches]
    assert told[0].status == "slow"
    assert "no answer within" in told[0].reason
    assert told[1].status == "ok"


async def test_a_source_is_kept_busy_for_no_more_than_a_hundredth_of_the_time():
    clock = VirtualClock(START)
    slow = Scripted(clock, "slow", 2.0, took=0.2)
    ticks = await play(clock, [slow], 100.0)
    assert slow.runs[:5] == [0.0, 20.0, 40.0, 60.0, 80.0]
    health = ticks[0].batches[0].health
    assert (health.status, health.interval_s) == ("ok", 20.0)
    assert health.reason == "polled every 20 s: a response takes 0.2 s"


async def test_a_slow_source_is_asked_at_least_every_max_interval():
    clock = VirtualClock(START)
    slow = Scripted(clock, "slow", 2.0, took=3.0)
    slow.source = replace(slow.source, max_interval_s=5.0)
    await play(clock, [slow], 20.0)
    assert slow.runs[:4] == [0.0, 5.0, 10.0, 15.0]


async def test_while_an_incident_is_open_a_slow_source_is_asked_at_its_interval():
    clock = VirtualClock(START)
    slow = Scripted(clock, "slow", 2.0, took=0.2)
    feed = LiveFeed([slow], clock)
    stream = feed.ticks()
    async for tick in stream:
        feed.set_incident_open(10.0 <= tick.at - START < 27.0)
        if tick.at >= START + 60.0:
            break
    await stream.aclose()
    await feed.aclose()
    assert slow.runs == [0.0, 20.0, 22.0, 24.0, 26.0, 28.0, 48.0]


async def test_a_collector_is_told_the_pace_in_force():
    paces: list[float] = []

    class Meter(Scripted):
        def set_pace(self, pace_s):
            paces.append(pace_s)

    clock = VirtualClock(START)
    one = Meter(clock, "one", 2.0, took=0.1)
    await play(clock, [one], 25.0)
    assert paces == [10.0, 10.0, 10.0]


async def test_a_clock_that_was_set_is_said_once_and_tears_no_axis():
    class Stepped(VirtualClock):
        def stepped_s(self):
            return -3600.0 if self.now() > START + 2.5 else 0.0

    clock = Stepped(START)
    ticks = await play(clock, [Scripted(clock)], 6.0)
    events = [event for tick in ticks for batch in tick.batches for event in batch.events]
    assert [event.kind for event in events] == ["clock"]
    assert "set back by 3600 s" in events[0].text
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)
