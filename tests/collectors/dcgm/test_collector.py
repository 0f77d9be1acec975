"""The dcgm-exporter: an emulator's pages, and lines made of the names, labels and units in its source."""

import pytest

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch, Fact, Health, ReadingsBuilder, Tick
from aistack_top.state import State
from tests.fakes.pages import START, collected, page

MISSING = "GPU-3e2434e3-7af0-47bc-88d6-af57da711448"
SICK = Entity.of(gpu="GPU-96c8da19-64b2-42bc-815a-47c5f0dfb4a5")
ONE = Entity.of(gpu="GPU-1")


def said(batch, signal, entity=ONE):
    return next((value for name, who, value in batch.readings if (name, who) == (signal, entity)), None)


def line(name, value, labels='gpu="0",UUID="GPU-1"'):
    return f"{name}{{{labels}}} {value}\n".encode()


async def dcgm(*pages, step=30.0):
    return await collected("dcgm", list(pages), step=step)


async def test_the_emulated_node_is_read_in_the_units_of_the_table():
    first, second = await dcgm(*[page("simhall-dcgm-healthy.prom")] * 2)
    gpu = Entity.of(gpu="GPU-d8a064df-7fd6-4116-a1ea-24c4f9341c68")
    assert said(first, "gpu.temperature", gpu) == 37
    assert said(first, "gpu.power.draw", gpu) == 119.7
    assert said(first, "gpu.clock.sm", gpu) == 1905e6
    assert said(second, "gpu.pcie.replays", gpu) == 0
    assert {signal for signal, _, _ in second.readings} <= set(signals())
    assert len({entity for _, entity, _ in first.readings}) == 4
    assert Fact(gpu, "name", "NVIDIA GB300", watched=False) in first.facts


async def test_a_gpu_that_is_gone_tells_nothing():
    (batch,) = await dcgm(page("simhall-dcgm-gpu-missing.prom"))
    assert len({entity for _, entity, _ in batch.readings}) == 3


async def test_the_last_xid_is_an_event_when_it_changes_and_not_while_it_stays():
    healthy, sick = page("simhall-dcgm-healthy.prom"), page("simhall-dcgm-xid79.prom")
    batches = await dcgm(healthy, sick, sick, healthy)
    assert [len(batch.events) for batch in batches] == [0, 1, 0, 0]
    (event,) = batches[1].events
    assert (event.kind, event.entity, event.severity) == ("xid", SICK, "critical")
    assert dict(event.detail)["code"] == "79"
    assert event.text.startswith("XID 79 on gpu 1: ")


async def test_an_xid_from_before_the_start_is_no_event():
    (batch,) = await dcgm(page("simhall-dcgm-xid79.prom"))
    assert batch.events == ()
    assert any(fact.key == "last_xid" and fact.value.startswith("79: ") for fact in batch.facts)


async def test_labels_that_change_with_the_code_are_still_the_same_gpu():
    labels = 'gpu="0",UUID="GPU-1",err_code="{0}",err_msg="{1}"'
    before = line("DCGM_FI_DEV_XID_ERRORS", 31, labels.format(31, "page fault"))
    after = line("DCGM_FI_DEV_XID_ERRORS", 48, labels.format(48, "double bit"))
    batches = await dcgm(before, after)
    assert [dict(event.detail)["code"] for event in batches[1].events] == ["48"]


@pytest.mark.parametrize(
    ("signal", "lines", "value"),
    [
        ("gpu.temperature", [("DCGM_FI_DEV_GPU_TEMP_CELSIUS", 55)], 55),
        ("gpu.temperature", [("dcgm_gpu_temp", 55)], 55),
        ("gpu.utilization", [("DCGM_FI_DEV_GPU_UTIL", 87)], 0.87),
        ("gpu.utilization", [("DCGM_FI_DEV_GPU_UTIL_RATIO", 87)], 0.87),
        ("gpu.utilization", [("DCGM_FI_DEV_GPU_UTIL_RATIO", "0.870000")], 0.87),
        ("gpu.power.draw", [("DCGM_FI_DEV_BOARD_POWER_WATTS", 700.5)], 700.5),
        ("gpu.tensor.active", [("DCGM_FI_PROF_TENSOR_UTIL_RATIO", 0.4)], 0.4),
        ("gpu.memory.total", [("DCGM_FI_DEV_FB_USED", 600), ("DCGM_FI_DEV_FB_FREE", 200)], 800 * 2**20),
        ("gpu.memory.usage", [("DCGM_FI_DEV_FB_USED", 600), ("DCGM_FI_DEV_FB_FREE", 200)], 0.75),
        ("gpu.memory.usage", [("DCGM_FI_DEV_FB_USED_RATIO", 0.5), ("DCGM_FI_DEV_FB_USED", 1)], 0.5),
        ("gpu.memory.temperature", [("DCGM_FI_DEV_MEMORY_TEMP", 0)], None),
        ("gpu.memory.temperature", [("DCGM_FI_DEV_MEMORY_TEMP", 9223372036854775794)], None),
        ("gpu.rows.remap_failed", [("DCGM_FI_DEV_ROW_REMAP_FAILED", 1)], 1),
        ("gpu.nvlink.bandwidth", [("DCGM_FI_PROF_NVLINK_TX_BYTES", 5), ("DCGM_FI_PROF_NVLINK_RX_BYTES", 7)], 12),
    ],
)
async def test_names_of_every_version_and_what_is_no_value(signal, lines, value):
    (batch,) = await dcgm(b"".join(line(name, told) for name, told in lines))
    assert said(batch, signal) == (value if value is None else pytest.approx(value))


async def test_throttling_is_a_share_of_the_time_by_counter_and_all_or_nothing_by_bit():
    first = line("DCGM_FI_DEV_THERMAL_VIOLATION", 0) + line("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 0x0)
    second = line("DCGM_FI_DEV_THERMAL_VIOLATION", 15_000_000_000) + line("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 0x80)
    _, batch = await dcgm(first, second)
    assert said(batch, "gpu.throttle", ONE.with_(reason="thermal")) == pytest.approx(0.5)
    assert said(batch, "gpu.throttle", ONE.with_(reason="hw_power_brake")) == 1.0
    assert said(batch, "gpu.throttle", ONE.with_(reason="hw_thermal")) == 0.0


def instances(name, values, uuid="GPU-1"):
    """Return the lines of a GPU's MIG instances, numbered from 1, each lent to a pod."""
    return b"".join(
        line(
            name,
            value,
            f'gpu="0",UUID="{uuid}",modelName="A100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="{number}",'
            f'pod="p{number}",namespace="ml"',
        )
        for number, value in enumerate(values, 1)
    )


async def test_a_mig_instance_is_apart_from_its_gpu():
    (batch,) = await dcgm(instances("DCGM_FI_DEV_FB_USED", [3, 5]) + instances("DCGM_FI_DEV_FB_FREE", [1, 5]))
    assert said(batch, "gpu.memory.used", ONE.with_(mig="1")) == 3 * 2**20
    assert said(batch, "gpu.memory.usage", ONE.with_(mig="1")) == pytest.approx(0.75)
    assert said(batch, "gpu.memory.used") is None
    assert Fact(ONE, "name", "A100", watched=False) in batch.facts
    assert Fact(ONE.with_(mig="2"), "pod", "ml/p2") in batch.facts


@pytest.mark.parametrize(
    ("signal", "name", "told", "value"),
    [
        ("gpu.power.draw", "DCGM_FI_DEV_POWER_USAGE", 250, 250),
        ("gpu.temperature", "DCGM_FI_DEV_GPU_TEMP", 55, 55),
        ("gpu.energy", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 9000, 9),
        ("gpu.clock.sm", "DCGM_FI_DEV_SM_CLOCK", 1410, 1410e6),
        ("gpu.ecc.uncorrected", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", 2, 2),
        ("gpu.fan", "DCGM_FI_DEV_FAN_SPEED", 30, 0.3),
    ],
)
async def test_what_is_the_boards_is_told_once_however_many_instances_and_pods_repeat_it(signal, name, told, value):
    for page_ in (
        instances(name, [told] * 3),
        b"".join(line(name, told, f'gpu="0",UUID="GPU-1",pod="{pod}"') for pod in "abc"),
    ):
        (batch,) = await dcgm(page_)
        assert [(who, number) for one, who, number in batch.readings if one == signal] == [(ONE, pytest.approx(value))]


async def test_board_traffic_is_sent_plus_received_of_one_instance():
    sent, received = instances("DCGM_FI_PROF_PCIE_TX_BYTES", [5, 5]), instances("DCGM_FI_PROF_PCIE_RX_BYTES", [7, 7])
    (batch,) = await dcgm(sent + received)
    assert said(batch, "gpu.pcie.bandwidth") == 12


@pytest.mark.parametrize("util", ["DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO", "dcgm_gpu_utilization"])
async def test_an_instance_is_busy_by_profiling_and_not_by_a_utilization_that_is_always_0(util):
    board = line(util, 0, 'gpu="0",UUID="GPU-1"') if util != "dcgm_gpu_utilization" else b""
    whole = line("DCGM_FI_DEV_GPU_UTIL", 88, 'gpu="1",UUID="GPU-2"') + line(
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.5, 'UUID="GPU-2"'
    )
    active = instances("DCGM_FI_PROF_GR_ENGINE_ACTIVE", [0.97, 0.91])
    (batch,) = await dcgm(board + whole + instances(util, [0, 0]) + active)
    assert {str(who): value for name, who, value in batch.readings if name == "gpu.utilization"} == {
        "gpu=GPU-1 mig=1": 0.97,
        "gpu=GPU-1 mig=2": 0.91,
        "gpu=GPU-2": 0.88,
    }
    (batch,) = await dcgm(board + instances(util, [0, 0]) + instances("DCGM_FI_PROF_SM_ACTIVE", [0.9, 0.8]))
    assert not any(name == "gpu.utilization" for name, _, _ in batch.readings), "unknown, and not 0"


async def test_throttling_of_a_gpu_that_is_lent_to_several_pods_is_its_own():
    def lent(count):
        return b"".join(
            line("DCGM_FI_DEV_THERMAL_VIOLATION", count, f'gpu="0",UUID="GPU-1",GPU_I_ID="{n}",pod="{n}"') for n in "12"
        )

    _, batch = await dcgm(lent(0), lent(15_000_000_000))
    assert said(batch, "gpu.throttle", ONE.with_(reason="thermal")) == pytest.approx(0.5)


async def test_all_pods_of_a_shared_gpu_are_named_and_keep_their_order():
    def shared(order):
        return b"".join(line("DCGM_FI_DEV_GPU_TEMP", 40, f'UUID="GPU-1",pod="{pod}",namespace="ml"') for pod in order)

    first, second = await dcgm(shared("ab"), shared("ba"))
    assert Fact(ONE, "pod", "ml/a, ml/b") in first.facts
    assert not any(fact.key == "pod" and fact.value != "ml/a, ml/b" for fact in second.facts)


async def test_a_gpu_without_a_uuid_is_said_to_be_left_out():
    (batch,) = await dcgm(line("DCGM_FI_DEV_GPU_TEMP", 40) + line("DCGM_FI_DEV_GPU_TEMP", 50, 'gpu="1"'))
    assert "1 series has no label UUID or uuid or gpu_uuid, not shown: GPU temperature" in batch.health.reason


async def test_the_pod_on_a_gpu_is_a_watched_fact_and_the_exporters_own_pod_is_not_it():
    exporter = 'pod="dcgm-exporter-x",namespace="gpu-operator"'
    own = f'gpu="0",UUID="GPU-1",{exporter},exported_pod="llm-0",exported_namespace="prod"'
    free = 'gpu="0",UUID="GPU-1",pod="",namespace=""'
    first, second = await dcgm(line("DCGM_FI_DEV_GPU_TEMP", 40, own), line("DCGM_FI_DEV_GPU_TEMP", 40, free))
    assert Fact(ONE, "pod", "prod/llm-0") in first.facts
    assert Fact(ONE, "pod", "none") in second.facts


async def test_nvml_stands_above_it_on_the_same_gpu():
    state = State()
    for number, (kind, value) in enumerate([("nvml", 60.0), ("dcgm", 55.0), ("nvml", 61.0)]):
        builder = ReadingsBuilder()
        builder.add("gpu.temperature", ONE, value)
        batch = Batch(START + number, START + number, Health(kind, kind, "compute", "ok"), builder.build())
        state.apply(Tick(batch.at, batch.seen, (batch,)))
        shown = state.frame().read("gpu.temperature", ONE)
        assert shown.sample.value == (61.0 if number == 2 else 60.0)


async def test_labels_from_outside_are_made_harmless():
    (batch,) = await dcgm(line("DCGM_FI_DEV_GPU_TEMP", 40, 'gpu="0",UUID="GPU-\x1b[31m",modelName="a\x1b]0;x\x07"'))
    assert "\x1b" not in repr([*batch.readings, *batch.facts]).replace("\\x1b", "\x1b")
