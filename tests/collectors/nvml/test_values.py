"""What the NVML collector says of one GPU: numbers in their units, absent values, rates, instances, processes."""

import math
from types import SimpleNamespace

import pytest

from aistack_top.model.entity import Entity
from tests.collectors.nvml.nvml_drive import drive, gpu, values

GIB = 2**30
MIB = 2**20
SLOW_SIGNALS = ("gpu.power.limit", "gpu.ecc.uncorrected", "gpu.rows.remapped", "gpu.nvlink.active", "gpu.processes")


async def last(one, count=3, change=lambda: None):
    found = values(await one.polls(count, change))
    await one.collector.aclose()
    return found


async def test_what_a_gpu_cannot_say_is_absent_and_asked_once():
    one = drive("a100")
    found = await last(one, 40)
    for signal in ("gpu.fan", "gpu.sm.active", "gpu.pcie.bandwidth", "gpu.recovery_action"):
        assert signal not in found, signal
    assert one.fake.asked["nvmlDeviceGetMarginTemperature"] == 1
    assert one.fake.arguments[("field", 197, 0)] <= 1
    assert one.fake.arguments[("field", 230, 0)] == 1


async def test_a_function_that_the_driver_does_not_know_is_an_absent_value():
    one = drive("h100")
    one.fake.errors["nvmlDeviceGetRemappedRows"] = 13
    one.fake.missing.add("nvmlDeviceGetMarginTemperature")
    found = await last(one, 12)
    assert "gpu.rows.remapped" not in found
    assert one.fake.asked["nvmlDeviceGetRemappedRows"] == 1
    assert found["gpu.temperature"][gpu(one.fake)] == 34.0
    assert one.batches[-1].health.status == "ok"
    assert one.batches[-1].health.reason == ""


async def test_an_old_driver_without_the_newer_calls_is_read_by_the_older():
    one = drive("h100")
    one.fake.missing |= {"nvmlDeviceGetCurrentClocksEventReasons"}
    one.fake.gpus[0].values["nvmlDeviceGetCurrentClocksThrottleReasons"] = 4
    one.fake.gpus[0].values["MemoryInfo_v2"] = {"code": 13}
    found = await last(one)
    assert found["gpu.throttle"][gpu(one.fake, reason="power_cap")] == 1.0
    assert found["gpu.memory.total"][gpu(one.fake)] == 85899345920


async def test_a_gpu_that_says_success_and_zero_has_nothing_to_tell():
    one = drive("h100")
    card = one.fake.gpus[0]
    card.values["MemoryInfo_v2"] = {"total": 0, "reserved": 0, "free": 0, "used": 0}
    card.values["nvmlDeviceGetMemoryInfo"] = {"total": 0, "free": 0, "used": 0}
    card.values["TempThreshold_SLOWDOWN"] = card.values["TempThreshold_SHUTDOWN"] = 0
    card.values["nvmlDeviceGetMarginTemperature"] = 0
    card.values["nvmlDeviceGetEnforcedPowerLimit"] = card.values["nvmlDeviceGetPowerManagementLimit"] = 0
    found = await last(one, 12)
    absent = ("gpu.memory.used", "gpu.memory.total", "gpu.memory.usage", "gpu.temperature.slowdown")
    for signal in (*absent, "gpu.temperature.shutdown", "gpu.temperature.margin", "gpu.power.limit"):
        assert signal not in found, signal
    assert found["gpu.temperature"][gpu(one.fake)] == 34.0


async def test_values_read_seldom_are_told_with_every_poll():
    one = drive("h100")
    await one.poll()
    for _ in range(15):
        found = values(await one.poll())
        for signal in SLOW_SIGNALS:
            assert gpu(one.fake) in found[signal], signal
    await one.collector.aclose()
    assert one.fake.asked["nvmlDeviceGetEnforcedPowerLimit"] <= 4


async def test_the_calls_to_the_driver_stay_few():
    one = drive("h100")
    await one.polls(5)
    before = one.fake.asked.total() - one.fake.asked["nvmlEventSetWait_v2"]
    await one.polls(60)
    after = one.fake.asked.total() - one.fake.asked["nvmlEventSetWait_v2"]
    await one.collector.aclose()
    assert (after - before) / 60 <= 18
    assert one.fake.asked["nvmlDeviceGetPcieThroughput"] == 0


async def test_ecc_and_spare_rows_of_a_faulty_gpu():
    one = drive("ecc")
    found = await last(one)
    who = gpu(one.fake)
    assert found["gpu.ecc.uncorrected"][who] == 16
    assert found["gpu.ecc.corrected"][who] == 0
    assert found["gpu.rows.remapped"][who] == 1
    assert found["gpu.rows.remap_failed"][who] == 1
    assert found["gpu.rows.remap_pending"][who] == 0
    assert "gpu.pages.retired" not in found


async def test_retired_pages_are_told_only_of_gpus_without_spare_rows():
    one = drive("h100")
    one.fake.gpus[0].values["nvmlDeviceGetRemappedRows"] = {"code": 3}
    one.fake.gpus[0].field(29, 2)
    one.fake.gpus[0].field(30, 1)
    found = await last(one)
    assert found["gpu.pages.retired"][gpu(one.fake)] == 3
    assert "gpu.rows.remapped" not in found


async def test_energy_is_in_joules_and_memory_temperature_comes_from_its_field():
    one = drive("h100")
    found = await last(one)
    assert found["gpu.energy"][gpu(one.fake)] == 600.0
    assert found["gpu.memory.temperature"][gpu(one.fake)] == 32.0
    assert found["gpu.temperature.margin"][gpu(one.fake)] == 53.0


async def test_a_margin_of_nothing_on_a_cool_gpu_is_not_believed():
    one = drive("h100")
    one.fake.gpus[0].values["nvmlDeviceGetMarginTemperature"] = 0
    found = await last(one)
    assert found["gpu.temperature.margin"][gpu(one.fake)] == 87 - 34


async def test_nvlink_traffic_is_the_rate_of_all_links_together():
    one = drive("h100")
    card = one.fake.gpus[0]
    card.field(138, 1_000_000)
    card.field(139, 2_000_000)

    def flow():
        card.field(138, card.fields[138][1] + 1024)
        card.field(139, card.fields[139][1] + 512)

    found = await last(one, 4, flow)
    assert found["gpu.nvlink.bandwidth"][gpu(one.fake)] == pytest.approx(1536 * 1024)
    assert found["gpu.nvlink.active"][gpu(one.fake)] == 18


async def test_a_counter_that_falls_gives_no_rate():
    one = drive("h100")
    card = one.fake.gpus[0]
    card.gpm = None
    await one.polls(3)
    card.field(138, 5)
    found = values(await one.poll())
    assert "gpu.nvlink.bandwidth" not in found
    card.field(138, 5 + 1024)
    found = values(await one.poll())
    await one.collector.aclose()
    assert found["gpu.nvlink.bandwidth"][gpu(one.fake)] == pytest.approx(MIB)


async def test_a_gpu_without_nvlink_says_nothing_of_it():
    found = await last(drive("l40s"), 12)
    assert "gpu.nvlink.active" not in found
    assert "gpu.nvlink.errors" not in found


async def test_link_errors_are_rates_and_a_link_that_comes_back_is_no_burst():
    one = drive("h100")
    card = one.fake.gpus[0]
    for number in (161, 162, 163):
        card.field(number, 1000)
    await one.polls(21)
    assert values(one.batches[-1])["gpu.nvlink.errors"][gpu(one.fake)] == 0.0
    card.values["NvLinkState_17"] = 0
    down = values(await one.polls(11))
    assert down["gpu.nvlink.active"][gpu(one.fake)] == 17
    assert down["gpu.nvlink.errors"].get(gpu(one.fake), 0.0) == 0.0
    card.values["NvLinkState_17"] = 1
    back = values(await one.polls(11))
    await one.collector.aclose()
    assert back["gpu.nvlink.active"][gpu(one.fake)] == 18
    assert back["gpu.nvlink.errors"].get(gpu(one.fake), 0.0) == 0.0


async def test_pcie_traffic_comes_from_the_profile_or_from_the_byte_counters():
    one = drive("h100")
    card = one.fake.gpus[0]
    card.gpm[20], card.gpm[21] = 100.0, 50.0
    found = await last(one)
    assert found["gpu.pcie.bandwidth"][gpu(one.fake)] == pytest.approx(150 * MIB)
    one = drive("a100")
    card = one.fake.gpus[0]
    card.field(197, 0)
    card.field(198, 0)

    def flow():
        card.field(197, card.fields[197][1] + 300)
        card.field(198, card.fields[198][1] + 700)

    found = await last(one, 4, flow)
    assert found["gpu.pcie.bandwidth"][gpu(one.fake)] == pytest.approx(1000.0)


async def test_profile_metrics_are_ratios_of_two_polls_and_samples_do_not_grow():
    one = drive("h100")
    card = one.fake.gpus[0]
    card.gpm |= {2: 80.0, 3: 25.0, 5: 60.0, 10: math.nan}
    first = values(await one.poll())
    assert "gpu.sm.active" not in first
    found = values(await one.polls(30))
    assert len(one.fake.open_samples) == 2
    await one.collector.aclose()
    who = gpu(one.fake)
    assert found["gpu.sm.active"][who] == pytest.approx(0.8)
    assert found["gpu.sm.occupancy"][who] == pytest.approx(0.25)
    assert found["gpu.tensor.active"][who] == pytest.approx(0.6)
    assert "gpu.dram.active" not in found


async def test_instances_of_a_partitioned_gpu_are_entities_of_their_own():
    one = drive("a100")
    card = one.fake.gpus[0]
    card.partition(0, 3, 5 * GIB, GIB)
    card.partition(2, 5, 10 * GIB, 4 * GIB)
    card.values["nvmlDeviceGetUtilizationRates"] = {"code": 3}
    card.migs[2].processes.append(_process(77, GIB))
    found = values(await one.polls(2))
    who, first, second = gpu(one.fake), gpu(one.fake, mig="3"), gpu(one.fake, mig="5")
    assert found["gpu.memory.used"][first] == GIB
    assert found["gpu.memory.usage"][second] == pytest.approx(0.4)
    assert found["gpu.process.memory"][second.with_(process="77")] == GIB
    assert found["gpu.temperature"][who] == 33.0
    assert "gpu.utilization" not in found
    assert tuple(one.collector.processes()[second]) == (77,)
    del card.migs[0]
    found = values(await one.polls(11))
    await one.collector.aclose()
    assert first not in found["gpu.memory.used"]
    assert second in found["gpu.memory.used"]
    assert one.facts()[(who, "mig_mode")] == "on"


async def test_processes_are_told_largest_first_and_twenty_at_most():
    one = drive("h100")
    card = one.fake.gpus[0]
    for pid in range(100, 130):
        card.process(pid, pid * MIB)
    card.process(99, None)
    found = await last(one)
    who = gpu(one.fake)
    assert found["gpu.processes"][who] == 31
    told = {entity.get("process"): value for entity, value in found["gpu.process.memory"].items()}
    assert len(told) == 20
    assert told["129"] == 129 * MIB
    assert "109" not in told
    assert set(one.collector.processes()[who]) == {99, *range(100, 130)}


async def test_processes_that_the_driver_hides_are_unknown_and_not_none():
    one = drive("h100")
    for kind in ("Compute", "Graphics", "MPSCompute"):
        for version in ("_v3", "_v2"):
            one.fake.errors[f"nvmlDeviceGet{kind}RunningProcesses{version}"] = 4
    found = await last(one)
    assert "gpu.processes" not in found
    assert one.batches[-1].health.reason == "no permission to read: processes"
    assert dict(one.collector.processes()) == {}


async def test_facts_of_the_gpu_and_of_the_node():
    one = drive("h100")
    await last(one, 1)
    facts, who, node = one.facts(), gpu(one.fake), Entity.of(node="node-1")
    assert facts[(who, "name")] == "NVIDIA H100 80GB HBM3"
    assert facts[(who, "index")] == "0"
    assert facts[(who, "pci_bus_id")] == "00000000:1A:00.0"
    assert facts[(who, "power_limit")] == "700 W"
    assert facts[(who, "ecc_mode")] == "on"
    assert facts[(node, "driver_version")] == "550.163.01"
    assert facts[(node, "cuda_version")] == "12.4"
    index = next(fact for fact in one.batches[0].facts if fact.key == "index")
    assert not index.watched


async def test_a_changed_power_limit_is_a_new_fact():
    one = drive("h100")
    await one.polls(2)
    one.fake.gpus[0].values["nvmlDeviceGetEnforcedPowerLimit"] = 450_000
    await one.polls(8)
    await one.collector.aclose()
    told = [fact for batch in one.batches for fact in batch.facts if fact.key == "power_limit"]
    assert [fact.value for fact in told] == ["700 W", "450 W"]
    assert all(fact.watched for fact in told)


async def test_text_from_the_board_is_made_harmless():
    one = drive("h100")
    one.fake.gpus[0].values["nvmlDeviceGetName"] = "H100\x1b[2J\n[red]x"
    await last(one, 1)
    assert one.facts()[(gpu(one.fake), "name")] == "H100 [red]x"


async def test_a_name_that_cannot_be_read_costs_only_the_name():
    one = drive("h100")
    one.fake.gpus[0].values["nvmlDeviceGetSerial"] = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    found = await last(one)
    assert found["gpu.temperature"][gpu(one.fake)] == 34.0
    assert (gpu(one.fake), "serial") not in one.facts()


def _process(pid, memory):
    return SimpleNamespace(pid=pid, usedGpuMemory=memory, gpuInstanceId=0)
