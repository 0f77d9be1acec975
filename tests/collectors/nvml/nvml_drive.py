"""What the NVML tests share: a clock set by hand, and polls at its seconds."""

import asyncio
from collections import defaultdict
from typing import Any

from aistack_top.model.entity import Entity
from collectors.nvml.collector import NvmlCollector
from collectors.runtime.base import Source
from tests.fakes.nvml import FakeNvml

START = 1_790_000_000.0


class HandClock:
    """A clock that a test moves."""

    def __init__(self, start=START):
        self.time = start

    def now(self):
        return self.time

    def monotonic(self):
        return self.time

    def stepped_s(self):
        return 0.0

    async def sleep_until(self, moment):
        raise AssertionError("collectors do not sleep")


class Drive:
    """A collector in front of a fake, polled second by second."""

    def __init__(self, fake, *, deadline_s=5.0, interval_s=1.0):
        self.fake = fake
        self.clock = HandClock()
        source = Source("nvml", "nvml", "compute", interval_s, deadline_s)
        self.collector = NvmlCollector(source, self.clock, module=fake, node="node-1")
        self.batches = []

    async def poll(self, seconds=1.0):
        batch = await self.collector.collect()
        self.batches.append(batch)
        self.clock.time += seconds
        return batch

    async def polls(self, count, change=lambda: None):
        for _ in range(count):
            change()
            batch = await self.poll()
        return batch

    async def listening(self):
        await asyncio.to_thread(self.fake.listening.wait, 5.0)

    async def xid(self, index, code):
        heard = self.fake.xid(index, code)
        assert await asyncio.to_thread(heard.wait, 5.0)

    def facts(self):
        return {(fact.entity, fact.key): fact.value for batch in self.batches for fact in batch.facts}

    def events(self, kind=None):
        return [e for batch in self.batches for e in batch.events if kind in (None, e.kind)]


def drive(name="h100", gpus=1, **more):
    return Drive(FakeNvml(name, gpus), **more)


def gpu(fake, index=0, **more):
    return Entity.of(gpu=fake.gpus[index].uuid, **more)


def values(batch):
    """Return the readings by signal and entity."""
    found: defaultdict[str, dict[Entity, Any]] = defaultdict(dict)
    for signal, entity, value in batch.readings:
        assert entity not in found[signal], f"{signal} of {entity} is told twice"
        found[signal][entity] = value
    return found
