import os
from types import SimpleNamespace
from typing import Any

import pytest

from collectors.host.devices import CounterColumn, DeviceRates, file_systems, outer_interfaces, whole_disks

COLUMNS = (CounterColumn("in"), CounterColumn("out"), CounterColumn("busy", 0.001, 1.0))


def rates(most: int = 8) -> DeviceRates:
    return DeviceRates(COLUMNS, window_s=2.0, most=most)


def by_device(rows: list[tuple[str, str, float]]) -> dict[tuple[str, str], float]:
    return {(device, signal): rate for device, signal, rate in rows}


def test_a_rate_needs_two_looks_and_a_share_is_never_above_one():
    meter = rates()
    assert meter.update(0.0, {"sda": (100, 0, 0)}) == []
    assert meter.update(2.0, {"sda": (300, 50, 2010)}) == [
        ("sda", "in", 100.0),
        ("sda", "out", 25.0),
        ("sda", "busy", 1.0),
    ]


def test_the_busiest_have_names_and_the_sum_over_all_stays_right():
    meter = rates(most=2)
    start = {f"sd{letter}": (0, 0, 0) for letter in "abcd"}
    meter.update(0.0, start)
    found = by_device(
        meter.update(1.0, {"sda": (1, 0, 0), "sdb": (500, 0, 900), "sdc": (20, 0, 300), "sdd": (400, 0, 0)})
    )
    assert {device for device, _ in found} == {"sdb", "sdd", "other"}
    assert found["other", "in"] == 21.0
    assert found["other", "busy"] == 0.3
    assert sum(rate for (_, signal), rate in found.items() if signal == "in") == 921.0


def test_a_device_that_was_busy_keeps_its_name_through_a_lull():
    meter = rates(most=1)
    meter.update(0.0, {"sda": (0, 0, 0), "sdb": (0, 0, 0)})
    meter.update(1.0, {"sda": (1000, 0, 0), "sdb": (0, 0, 0)})
    found = by_device(meter.update(2.0, {"sda": (1000, 0, 0), "sdb": (300, 0, 0)}))
    assert ("sda", "in") in found
    assert ("sdb", "in") not in found


def test_a_counter_that_went_back_drops_its_interval():
    meter = rates()
    meter.update(0.0, {"eth0": (1000, 1000, 0)})
    assert by_device(meter.update(2.0, {"eth0": (10, 1200, 0)})) == {("eth0", "out"): 100.0, ("eth0", "busy"): 0.0}


def test_a_device_that_comes_back_starts_anew():
    meter = rates()
    meter.update(0.0, {"sda": (0, 0, 0)})
    meter.update(2.0, {})
    assert meter.update(4.0, {"sda": (9000, 0, 0)}) == []


def test_whole_disks_count_once(tmp_path):
    for name in ("sda", "nvme0n1", "nvme0c0n1", "loop0", "zram0", "sr0", "cciss!c0d0", "dm-0", "md0"):
        (tmp_path / "block" / name / "slaves").mkdir(parents=True)
    (tmp_path / "block/dm-0/slaves/nvme0n1").mkdir()
    (tmp_path / "block/md0/slaves/sda").mkdir()
    names = ["sda", "sda1", "nvme0n1", "nvme0n1p2", "nvme0c0n1", "loop0", "zram0", "sr0", "cciss/c0d0", "dm-0", "md0"]
    assert whole_disks(names, tmp_path) == {"sda", "nvme0n1", "cciss/c0d0"}


def test_where_sys_is_masked_the_name_decides(tmp_path):
    names = ["sda", "sda1", "nvme0n1", "nvme0n1p2", "xvda", "dm-0", "loop0", "vdb", "mmcblk0", "mmcblk0p1"]
    assert whole_disks(names, tmp_path) == {"sda", "nvme0n1", "xvda", "vdb", "mmcblk0"}


def test_interfaces_with_hardware_count_and_what_stands_above_them_does_not(tmp_path):
    for name in ("eth0", "eth1", "enP1s2"):
        (tmp_path / "class/net" / name / "device").mkdir(parents=True)
    (tmp_path / "class/net/bond0").mkdir()
    for slave in ("eth0", "eth1"):
        (tmp_path / "class/net" / slave / "master").symlink_to("../bond0")
    (tmp_path / "class/net/enP1s2/master").symlink_to("../eth0")
    assert outer_interfaces(["lo", "bond0", "eth0", "eth1", "enP1s2", "veth1"], tmp_path) == {"eth0", "eth1"}


def test_in_a_container_there_is_no_hardware_and_the_name_decides(tmp_path):
    assert outer_interfaces(["lo", "eth0", "docker0", "br-12ab", "veth12"], tmp_path) == {"eth0"}


def asked_of(asked: list[str], sizes: dict[str, tuple[int, int, int]]) -> Any:
    def statvfs(point):
        asked.append(point)
        if point not in sizes:
            raise OSError
        blocks, free, available = sizes[point]
        return SimpleNamespace(f_blocks=blocks, f_bfree=free, f_bavail=available, f_frsize=4096)

    return statvfs


def test_local_file_systems_are_asked_once_each_and_network_ones_never(tmp_path):
    data, deep, broken = tmp_path / "data", tmp_path / "data/deep", tmp_path / "broken"
    for folder in (deep, broken, tmp_path / "self"):
        folder.mkdir(parents=True)
    (tmp_path / "hosts").write_text("a file mounted into a container")
    lines = [
        f"1 0 8:1 / {deep} rw - ext4 /dev/sda1 rw",
        f"2 0 8:1 / {data} rw - ext4 /dev/sda1 rw",
        f"3 0 8:2 / {tmp_path / 'hosts'} rw - xfs /dev/sdb rw",
        f"4 0 8:3 / {broken} rw - xfs /dev/sdc rw",
        f"5 0 0:9 / {data} rw - nfs4 server:/x rw",
        f"6 0 8:5 / {data} ro - ext4 /dev/sdd ro",
        f"7 0 0:7 / {data} rw - overlay overlay rw",
        "8 0 0:8 / / rw - overlay overlay rw",
    ]
    (tmp_path / "self/mountinfo").write_text("\n".join(lines))
    asked: list[str] = []
    sizes = {str(data): (1000, 300, 100), "/": (50, 25, 25)}
    assert file_systems(tmp_path, asked_of(asked, sizes)) == [(str(data), 0.875), ("/", 0.5)]
    assert asked == [str(data), str(broken), "/"]


def test_this_machines_own_answer_is_a_share(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(f"1 0 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n")
    told = os.statvfs(tmp_path)
    ((point, share),) = file_systems(tmp_path)
    assert point == str(tmp_path)
    assert share == pytest.approx(
        (told.f_blocks - told.f_bfree) / (told.f_blocks - told.f_bfree + told.f_bavail), abs=0.01
    )
