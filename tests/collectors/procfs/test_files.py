import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.procfs import files as host_proc
from collectors.procfs.files import (
    CpuShares,
    CpuTimes,
    cpu_shares,
    parse_cgroup,
    parse_container,
    parse_cpu_max,
    parse_cpu_set,
    parse_disks,
    parse_load,
    parse_mounts,
    parse_network,
    parse_owner,
    parse_pressure,
    parse_start,
    parse_stat,
    parse_table,
)
from tests.collectors.host.host_tree import CAPTURE, CONTAINER

PARSERS = [getattr(host_proc, name) for name in sorted(vars(host_proc)) if name.startswith("parse_")]
CAPTURED = [file.read_bytes() for file in sorted((CAPTURE / "t0").rglob("*")) if file.is_file()]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.binary(max_size=400))
@example(b"cpu " + b"9" * 5000)
@example(b"cpu  1 1 1 1 1 1 1 \xd9\xa3\nprocs_running\nbtime x y")
@example(b"some avg10=nan\nsome avg10=1e400")
@example(b"0::/\xff\xfe\x00")
@example(b"a b c ( d) S 1")
def test_no_parser_raises_whatever_the_bytes_are(body):
    for parse in PARSERS:
        parse(body)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.sampled_from(CAPTURED), st.integers(0, 4000), st.integers(0, 4000), st.binary(max_size=6))
def test_a_torn_or_spoilt_real_file_gives_no_error_and_no_negative_number(body, start, end, junk):
    spoilt = body[:start] + junk + body[end:]
    for parse in PARSERS:
        parse(spoilt)
    assert all(value >= 0 for value in parse_table(spoilt).values())
    assert all(min(row) >= 0 for row in (*parse_disks(spoilt).values(), *parse_network(spoilt).values()))
    share = parse_pressure(spoilt)
    assert share is None or 0 <= share <= 1


def test_the_captured_stat_is_read():
    stat = parse_stat((CAPTURE / "t0/stat").read_bytes())
    assert stat.times == CpuTimes(24707, 11190, 8811, 643126, 1688, 0, 168, 1312)
    assert (stat.cpus, stat.running, stat.boot) == (2, 2, 1795475340)


def test_an_old_kernel_without_steal_tells_none():
    before, after = (parse_stat(f"cpu  {n} 0 0 {n} 0 0 0\ncpu0 1\n".encode()).times for n in (10, 60))
    assert before is not None
    assert after is not None
    assert cpu_shares(before, after) == CpuShares(busy=0.5, iowait=0.0, steal=None)


def times(**changed: int) -> CpuTimes:
    start = {"user": 100, "nice": 0, "system": 50, "idle": 1000, "iowait": 20, "irq": 1, "softirq": 2, "steal": 5}
    return CpuTimes(**{**start, **changed})


def test_busy_idle_iowait_and_steal_make_one():
    shares = cpu_shares(times(), times(user=130, system=60, idle=1040, iowait=30, steal=15))
    assert shares == CpuShares(busy=0.4, iowait=0.1, steal=0.1)


def test_idle_and_iowait_may_go_back_a_little_and_nothing_else():
    assert cpu_shares(times(), times(user=110, iowait=15)) == CpuShares(busy=1.0, iowait=0.0, steal=0.0)
    assert cpu_shares(times(), times(user=90, idle=2000)) is None
    assert cpu_shares(times(), times(steal=0, idle=2000)) is None
    assert cpu_shares(times(), times()) is None


@pytest.mark.parametrize(
    ("body", "share"),
    [
        (b"some avg10=12.50 avg60=0.25 avg300=0.50 total=13900958\nfull avg10=99.00 avg60=0 avg300=0 total=0\n", 0.125),
        (b"full avg10=5.00 avg60=0.00 avg300=0.00 total=0\n", None),
        (b"some avg10=101.00 total=1", None),
        (b"some avg60=1.00", None),
        (b"", None),
    ],
)
def test_pressure_is_the_some_line_as_a_ratio(body, share):
    assert parse_pressure(body) == share


def test_the_load_is_the_first_number():
    assert parse_load((CAPTURE / "t0/loadavg").read_bytes()) == 0.20
    assert parse_load(b" ") is None
    assert parse_load(b"nan 1 1") is None


@pytest.mark.parametrize(
    ("body", "cpus"),
    [(b"150000 100000\n", 1.5), (b"max 100000\n", None), (b"100000", None), (b"1 0", None), (b"", None)],
)
def test_the_cpu_limit_is_quota_over_period(body, cpus):
    assert parse_cpu_max(body) == cpus


@pytest.mark.parametrize(
    ("body", "cpus"),
    [(b"0-3,8\n", 5), (b"7", 1), (b"\n", None), (b"3-1", None), (b"0-", None), (b"a-b", None)],
)
def test_a_cpu_set_is_counted(body, cpus):
    assert parse_cpu_set(body) == cpus


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"0::/system.slice/docker-{CONTAINER}.scope", CONTAINER[:12]),
        (f"5:devices:/docker/{CONTAINER}\n0::/", CONTAINER[:12]),
        (f"0::/kubepods.slice/kubepods-pod1234.slice/cri-containerd-{CONTAINER}.scope", CONTAINER[:12]),
        (f"0::/kubepods/burstable/podabc/{CONTAINER}", CONTAINER[:12]),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container", CONTAINER[:12]),
        (f"0::/docker/{'ab' * 32}/docker/{CONTAINER}", CONTAINER[:12]),
        ("0::/lxc.payload.web-1/init.scope", "web-1"),
        ("0::/lxc/web-2", "web-2"),
        ("0::/user.slice/user-1000.slice/session-3.scope", None),
        (f"0::/{CONTAINER}0", None),
    ],
)
def test_a_container_is_known_by_its_cgroup(path, name):
    assert parse_container(path.encode()) == name


def test_the_version_2_cgroup_is_found_among_others():
    assert parse_cgroup(b"4:memory:/old\n0::/a/b\n") == "/a/b"
    assert parse_cgroup(b"4:memory:/old\n") is None


def test_a_command_with_parentheses_and_spaces_does_not_shift_the_start_time():
    fields = " ".join(str(number) for number in range(4, 40))
    assert parse_start(f"42 (a) b (c) S {fields}".encode()) == 22
    assert parse_start(b"42 (a) S 1 2") is None


def test_the_owner_is_the_real_user():
    assert parse_owner(b"Name:\tVLLM::EngineCor\nUid:\t1000\t0\t0\t0\n") == ("VLLM::EngineCor", 1000)
    assert parse_owner(b"Uid:\n") == ("", None)


def test_mount_points_are_unescaped_and_read_only_ones_marked():
    body = (
        b"27 1 254:0 / /my\\040disk rw,relatime shared:1 - ext4 /dev/vda rw\n28 1 7:0 / /s ro - squashfs x ro\nx - y\n"
    )
    first, second = parse_mounts(body)
    assert (first.device, first.point, first.kind, first.writable) == ("254:0", "/my disk", "ext4", True)
    assert not second.writable
