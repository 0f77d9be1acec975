"""The NVML collector in front of a fake that the captures drive. No GPU was at hand: what NVIDIA's mock said counts."""

import pynvml
import pytest

from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch
from tests.collectors.nvml.nvml_drive import drive, gpu, values


@pytest.mark.parametrize("name", ["h100", "a100", "b200", "l40s", "busy", "ecc"])
async def test_every_capture_fills_the_panel_and_every_signal_is_declared(name):
    one = drive(name, gpus=2)
    batch = await one.polls(3)
    await one.collector.aclose()
    found = values(batch)
    assert batch.health.status == "ok"
    for signal in ("gpu.utilization", "gpu.memory.used", "gpu.temperature", "gpu.power.draw", "gpu.clock.sm"):
        assert len(found[signal]) == 2, signal
    assert set(found) <= set(signals())


async def test_memory_is_counted_without_what_the_driver_reserves():
    one = drive("h100")
    found = values(await one.poll())
    await one.collector.aclose()
    assert found["gpu.memory.total"][gpu(one.fake)] == 85899345920 - 1073741824
    assert found["gpu.power.limit"][gpu(one.fake)] == 700.0
    assert found["gpu.clock.sm"][gpu(one.fake)] == 345e6
    assert found["gpu.temperature"][gpu(one.fake)] == 34.0


async def test_an_xid_is_an_event_with_its_code():
    one = drive("h100")
    await one.poll()
    await one.listening()
    await one.xid(0, 79)
    await one.polls(2)
    await one.collector.aclose()
    (event,) = one.events("xid")
    assert ("code", "79") in event.detail
    assert event.severity == "critical"


async def test_no_driver_is_said_with_what_to_do():
    class NoLibrary:
        def __getattr__(self, name):
            return getattr(pynvml, name)

        def nvmlInit(self):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    one = drive("h100")
    one.collector = type(one.collector)(one.collector.source, one.clock, module=NoLibrary(), node="n")
    batch = await one.poll()
    await one.collector.aclose()
    assert isinstance(batch, Batch)
    assert batch.health.status == "down"
    assert "libnvidia-ml" in batch.health.reason


def test_the_fake_offers_only_what_the_library_has():
    one = drive("h100")
    names = [name.removeprefix("_") for name in dir(type(one.fake)) if name.startswith("_nvml")]
    assert names
    assert [name for name in names if not hasattr(pynvml, name)] == []
