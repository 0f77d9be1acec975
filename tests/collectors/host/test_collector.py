"""The host collector on the files of a real machine, in containers of every make, and where files are missing."""

import asyncio
import threading
from collections.abc import Callable

import httpx
import pytest

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch
from collectors.config import HostSource, parse
from collectors.host import collector as host
from collectors.host.collector import BackgroundQuestion, build
from collectors.registry import CollectorContext
from tests.collectors.host.host_tree import BETWEEN_S, CAPTURE, CONTAINER, HandClock, Tree, known, machine, told

NODE = Entity.of(node="node-1")


async def two_looks(tree: Tree) -> tuple[Batch, Batch]:
    """Return the batches of the two captured moments."""
    collector = tree.collector()
    first = await tree.run(collector)
    tree.show("t1")
    return first, await tree.run(collector, BETWEEN_S)


async def test_the_first_look_has_levels_and_no_rates(tmp_path):
    first, _ = await two_looks(machine(tmp_path))
    assert first.health.status == "ok"
    assert first.health.reason == ""
    assert set(told(first)) == {
        "host.cpu.run_queue",
        "host.cpu.load",
        "host.cpu.cores",
        "host.cpu.pressure",
        "host.memory.used",
        "host.memory.total",
        "host.memory.usage",
        "host.memory.pressure",
        "host.io.pressure",
    }


async def test_the_numbers_are_those_counted_by_hand_from_the_two_captures(tmp_path):
    _, second = await two_looks(machine(tmp_path))
    values = told(second)
    # ticks from t0 to t1: user 202, system 11, softirq 2, idle 174, iowait 10, steal 0; 399 together
    assert values["host.cpu.utilization"] == pytest.approx(215 / 399)
    assert values["host.cpu.iowait"] == pytest.approx(10 / 399)
    assert values["host.cpu.steal"] == 0.0
    # procs_running 2, of which one is whoever read the file
    assert values["host.cpu.run_queue"] == 1.0
    assert values["host.cpu.load"] == 0.27
    assert values["host.cpu.cores"] == 2.0
    assert values["host.memory.total"] == 24684084 * 1024
    assert values["host.memory.used"] == (24684084 - 24193560) * 1024
    assert values["host.memory.usage"] == pytest.approx(490524 / 24684084)
    assert values["host.io.pressure"] == pytest.approx(0.0011)
    # sectors of 512 bytes: read 9563362 - 9420002, written 11235360 - 10948360; 132 ms with work
    assert values["host.disk.read vda"] == pytest.approx(143360 * 512 / BETWEEN_S)
    assert values["host.disk.write vda"] == pytest.approx(287000 * 512 / BETWEEN_S)
    assert values["host.disk.busy vda"] == pytest.approx(0.132 / BETWEEN_S)
    assert values["host.network.receive eth0"] == 0.0
    assert values["host.swap.rate"] == 0.0
    assert not [name for name in values if name.endswith((" lo", " loop0", " ifb0"))]


async def test_facts_say_what_the_machine_is_and_whose_the_numbers_are(tmp_path):
    first, second = await two_looks(machine(tmp_path))
    assert known(first) == {
        ("", "kernel"): "6.1.0-18-amd64",
        ("", "cores"): "2",
        ("", "memory_total"): "23.5 GiB",
        ("", "container"): "no",
        ("", "cpu_numbers_of"): "node",
        ("", "memory_numbers_of"): "node",
        ("", "pressure_numbers_of"): "node",
        ("", "disk_numbers_of"): "node",
        ("", "network_numbers_of"): "node",
    }
    assert {fact.entity for fact in first.facts} == {NODE}
    assert second.facts == ()


async def test_facts_are_said_again_once_a_minute(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector()
    counts = [len((await tree.run(collector, 2.0)).facts) for _ in range(61)]
    assert [place for place, count in enumerate(counts) if count] == [0, 30, 60]


def box(tree: Tree, usage: int, periods: int, throttled: int, **more: str) -> None:
    files = {
        "cpu_max": "150000 100000\n",
        "cpu_stat": f"usage_usec {usage}\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 9\n",
        "cpu_pressure": "some avg10=40.00 avg60=0 avg300=0 total=0\n",
        "memory_max": "8589934592\n",
        "memory_current": "6442450944\n",
        "memory_stat": "anon 1\ninactive_file 2147483648\n",
        "memory_events": "oom 0\noom_kill 0\n",
    }
    tree.container(**{**files, **more})


async def test_a_container_with_limits_is_measured_against_them(tmp_path):
    tree = machine(tmp_path)
    tree.write("proc/self/cgroup", "0::/\n")
    box(tree, usage=5_000_000, periods=100, throttled=10)
    collector = tree.collector()
    first = await tree.run(collector)
    box(tree, usage=7_400_000, periods=120, throttled=15)
    tree.show("t1")
    values = told(await tree.run(collector, 2.0))
    # 2.4 s of CPU time in 2 s of 1.5 CPUs
    assert values["host.cpu.utilization"] == pytest.approx(0.8)
    assert values["host.cpu.throttled"] == pytest.approx(5 / 20)
    assert values["host.cpu.cores"] == 1.5
    assert values["host.cpu.pressure"] == 0.4
    assert values["host.io.pressure"] == pytest.approx(0.0011)
    assert values["host.memory.total"] == 8 * 2**30
    assert values["host.memory.used"] == 4 * 2**30
    assert values["host.memory.usage"] == 0.5
    # the node's own runnable tasks say nothing against this container's 1.5 CPUs
    assert "host.cpu.run_queue" not in values
    assert "host.cpu.load" not in values
    assert values["host.cpu.steal"] == 0.0
    facts = known(first)
    assert facts["", "container"] == "yes"
    assert facts["", "cpu_numbers_of"] == "container: 1.5 CPUs (cpu.max)"
    assert facts["", "memory_numbers_of"] == "container (memory.max)"
    assert facts["", "pressure_numbers_of"] == "container"
    assert facts["", "network_numbers_of"] == "this network namespace"
    assert facts["", "cores"] == "1.5"


async def test_a_container_without_limits_shows_the_nodes_numbers_and_says_so(tmp_path):
    tree = machine(tmp_path)
    tree.container(cpu_max="max 100000\n", memory_max="max\n", cpuset_cpus_effective="0-1\n")
    first, second = await two_looks(tree)
    assert told(second)["host.cpu.utilization"] == pytest.approx(215 / 399)
    assert told(second)["host.memory.total"] == 24684084 * 1024
    facts = known(first)
    assert (facts["", "container"], facts["", "cpu_numbers_of"]) == ("yes", "node")
    assert facts["", "memory_numbers_of"] == "node"


async def test_a_pinned_container_has_the_cpus_it_is_pinned_to(tmp_path):
    tree = machine(tmp_path)
    tree.container(**{"cpuset_cpus.effective": "1\n", "cpu_stat": "usage_usec 1000000\n"})
    collector = tree.collector()
    first = await tree.run(collector)
    tree.container(cpu_stat="usage_usec 2000000\n")
    values = told(await tree.run(collector, 2.0))
    assert known(first)["", "cpu_numbers_of"] == "container: 1 CPU (cpuset)"
    assert values["host.cpu.utilization"] == pytest.approx(0.5)
    assert "host.cpu.throttled" not in values


async def test_a_container_that_sees_the_whole_hierarchy_finds_its_own_part(tmp_path):
    tree = machine(tmp_path)
    scope = f"system.slice/docker-{CONTAINER}.scope"
    tree.write("proc/self/cgroup", f"0::/{scope}/app/worker\n")
    tree.write(f"sys/fs/cgroup/{scope}/app/worker/memory.max", "max\n")
    tree.write(f"sys/fs/cgroup/{scope}/memory.max", "1073741824\n")
    first, _ = await two_looks(tree)
    assert told(first)["host.memory.total"] == 2**30
    assert "host.memory.used" not in told(first)


@pytest.mark.parametrize("own", [f"4:memory:/docker/{CONTAINER}\n", f"0::/docker/{CONTAINER}\n", "1:cpu:/lxc/web\n"])
async def test_a_container_whose_limits_are_not_shown_says_that_the_numbers_are_the_nodes(tmp_path, own):
    tree = machine(tmp_path)
    tree.write("proc/self/cgroup", own)
    facts = known((await two_looks(tree))[0])
    assert (facts["", "container"], facts["", "cpu_numbers_of"]) == ("yes", "node")


async def test_another_pid_namespace_is_a_container(tmp_path):
    tree = machine(tmp_path)
    (tree.proc / "self/ns/pid").unlink()
    tree.link("proc/self/ns/pid", "pid:[4026532999]")
    assert known((await two_looks(tree))[0])["", "container"] == "yes"


@pytest.mark.parametrize(
    ("file", "gone", "reason"),
    [
        ("stat", ("host.cpu.utilization", "host.cpu.steal", "host.cpu.cores", "host.cpu.run_queue"), "CPU (stat)"),
        ("meminfo", ("host.memory.used", "host.memory.total", "host.memory.usage"), "memory (meminfo)"),
        ("diskstats", ("host.disk.read vda", "host.disk.busy vda"), "disks (diskstats)"),
        ("net/dev", ("host.network.receive eth0",), "network (net/dev)"),
        ("loadavg", ("host.cpu.load",), ""),
        ("vmstat", ("host.swap.rate",), ""),
        ("pressure/io", ("host.io.pressure",), ""),
    ],
)
async def test_what_is_not_shown_is_absent_and_the_rest_stays(tmp_path, file, gone, reason):
    whole = told((await two_looks(machine(tmp_path / "whole")))[1])
    tree = machine(tmp_path / "part")
    collector = tree.collector()
    (tree.proc / file).unlink()
    await tree.run(collector)
    tree.show("t1")
    (tree.proc / file).unlink()
    batch = await tree.run(collector, BETWEEN_S)
    left = told(batch)
    assert set(gone) <= set(whole) - set(left)
    assert all(left[name] == whole[name] for name in left)
    assert set(whole) - set(left) <= {name for name in whole if name.split(".")[1] == gone[0].split(".")[1]}
    assert batch.health.status == "ok"
    assert batch.health.reason == (f"not shown by this kernel or container: {reason}" if reason else "")


async def test_an_old_kernel_without_available_memory_gets_no_guess(tmp_path):
    tree = machine(tmp_path)
    tree.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 900 kB\n")
    values = told(await tree.run(tree.collector()))
    assert values["host.memory.total"] == 1_024_000
    assert "host.memory.used" not in values


async def test_a_system_without_proc_is_said_in_one_sentence(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector(proc_root=tmp_path / "nowhere")
    batch = await tree.run(collector)
    assert batch.health.status == "misconfigured"
    assert "host numbers need Linux" in batch.health.reason
    assert (len(batch.readings), batch.facts, batch.health.age_s) == (0, (), None)


async def test_another_number_of_cpus_drops_the_interval(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector()
    await tree.run(collector)
    tree.write("proc/stat", (CAPTURE / "t1/stat").read_bytes().replace(b"\ncpu1 ", b"\ngone "))
    values = told(await tree.run(collector, 2.0))
    assert "host.cpu.utilization" not in values
    assert values["host.cpu.cores"] == 1.0


async def test_a_pause_longer_than_anyone_looked_gives_no_mean(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector()
    await tree.run(collector)
    tree.show("t1")
    values = told(await tree.run(collector, 300.0))
    assert not {"host.cpu.utilization", "host.cpu.steal", "host.disk.read vda", "host.swap.rate"} & set(values)


async def test_swapping_is_bytes_a_second(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector()
    await tree.run(collector)
    tree.write("proc/vmstat", "pswpin 10\npswpout 30\noom_kill 0\n")
    assert told(await tree.run(collector, 2.0))["host.swap.rate"] == 40 * 4096 / 2


@pytest.mark.parametrize("inside", [False, True])
async def test_a_process_killed_for_memory_is_an_event_once(tmp_path, inside):
    tree = machine(tmp_path)
    if inside:
        box(tree, 0, 0, 0)
    collector = tree.collector()
    quiet = await tree.run(collector)
    if inside:
        box(tree, 0, 0, 0, memory_events="oom 2\noom_kill 2\n")
    # in a container the node's count is about others as well, so it is not asked
    tree.write("proc/vmstat", f"oom_kill {5 if inside else 2}\n")
    (event,) = (await tree.run(collector, 2.0)).events
    assert quiet.events == ()
    assert event.text == "the kernel killed 2 processes for lack of memory"
    assert (event.kind, event.severity, event.entity) == ("oom", "warning", NODE)
    assert (await tree.run(collector, 2.0)).events == ()


async def test_disk_space_is_told_one_look_later_with_its_mount_point(tmp_path):
    tree = machine(tmp_path)
    tree.write("proc/self/mountinfo", f"1 0 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n")
    collector = tree.collector()
    assert not [name for name in told(await tree.run(collector)) if name.startswith("host.disk.usage")]
    found = [name for name in told(await tree.run(collector, 2.0)) if name.startswith("host.disk.usage")]
    assert len(found) == 1


async def test_a_disk_that_does_not_answer_holds_nothing_up_and_is_named(tmp_path):
    tree = machine(tmp_path)
    held: list[Callable[[], None]] = []
    collector = tree.collector(start=held.append)
    for _ in range(4):
        batch = await tree.run(collector, 4.0)
    assert len(held) == 2
    assert batch.health.status == "ok"
    assert batch.health.reason == "disk usage unknown: no answer from the system"
    assert told(batch)["host.memory.total"]


def test_a_question_that_fails_is_a_note_and_no_traceback():
    aside: BackgroundQuestion[int] = BackgroundQuestion(lambda work: work(), 4.0)
    aside.ask(0.0, lambda: 1 // 0)
    assert aside.answer() is None
    assert aside.problem(0.0, "disk usage").startswith("disk usage unknown: ZeroDivisionError")
    aside.ask(5.0, lambda: 7)
    assert (aside.answer(), aside.answer(), aside.problem(5.0, "disk usage")) == (7, None, "")


def test_the_thread_does_not_keep_the_program_from_ending():
    seen = []
    done = threading.Event()

    def work():
        seen.append(threading.current_thread().daemon)
        done.set()

    host.start_thread(work)
    assert done.wait(5)
    assert seen == [True]


async def test_the_console_waits_for_a_cpu_by_its_own_account(tmp_path):
    node = machine(tmp_path)
    node.write("proc/self/schedstat", "8000000000 1000000000 712\n")
    collector = node.collector()
    first = told(await node.run(collector))
    assert "host.cpu.console_delay" not in first
    node.write("proc/self/schedstat", "8030000000 1090000000 740\n")  # ran 30 ms, waited 90 ms
    assert told(await node.run(collector, 2.0))["host.cpu.console_delay"] == pytest.approx(0.75)
    idle = told(await node.run(collector, 2.0))
    assert "host.cpu.console_delay" not in idle
    for broken in ("", "8040000000\n", "x y z\n", "1 1 1\n"):  # the last: another process, or a counter that wrapped
        node.write("proc/self/schedstat", broken)
        assert "host.cpu.console_delay" not in told(await node.run(collector, 2.0)), broken


async def test_every_signal_emitted_is_declared_and_every_one_declared_is_emitted(tmp_path):
    node = machine(tmp_path / "node")
    node.write("proc/self/mountinfo", f"1 0 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n")
    inside = machine(tmp_path / "box")
    box(inside, 0, 0, 0)
    collector = inside.collector()
    await inside.run(collector)
    box(inside, 1_000_000, 10, 1)
    inside.write("proc/self/schedstat", "3000000 1000000 9\n")
    batches = [*await two_looks(node), await inside.run(collector, 2.0)]
    emitted = {signal for batch in batches for signal in batch.readings.signals}
    assert emitted == {name for name in signals() if name.startswith("host.") and not name.startswith("host.log.")}
    for batch in batches:
        for signal, entity, value in batch.readings:
            assert isinstance(value, float), signal
            assert signals()[signal].form != "ratio" or 0 <= value <= 1, signal
            assert entity.get("node") == "node-1"


async def test_it_is_built_from_a_configuration_and_reads_this_machine():
    (source,) = parse('[[source]]\nkind = "host"').source
    assert source == HostSource(name="host", interval=2.0)
    async with httpx.AsyncClient() as client:
        collector = build(source, CollectorContext(HandClock(), client, b"", "node-1"))
        batch = await collector.collect()
        await asyncio.wait_for(collector.aclose(), 1.0)
    assert batch.health.status in ("ok", "misconfigured")
    assert (collector.source.kind, collector.source.layer, collector.source.interval_s) == ("host", "compute", 2.0)
