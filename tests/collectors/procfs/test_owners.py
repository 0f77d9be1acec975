"""Whose the GPU processes are."""

import os

import pytest

from aistack_top.model.entity import Entity
from collectors.host import collector as host
from collectors.procfs import owners as host_owners
from tests.collectors.host.host_tree import CONTAINER, Tree, known, machine


def process(
    tree: Tree, pid: int, *, name: str = "VLLM::EngineCor", uid: int = 0, cgroup: str = "0::/\n", start: int = 1000
) -> None:
    tree.write(f"proc/{pid}/status", f"Name:\t{name}\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    tree.write(f"proc/{pid}/cmdline", "python\0--api-key\0sk-secret\0")
    tree.write(f"proc/{pid}/cgroup", cgroup)
    fields = " ".join(["0"] * 18 + [str(start * os.sysconf("SC_CLK_TCK"))])
    tree.write(f"proc/{pid}/stat", f"{pid} ({name}) S {fields}\n")


async def test_gpu_processes_have_owner_command_container_and_start(tmp_path):
    tree = machine(tmp_path)
    process(tree, 4242, cgroup=f"0::/system.slice/docker-{CONTAINER}.scope\n")
    process(tree, 4243, name="a\x1b[31mb) c", uid=4_000_000_000)
    collector = tree.collector(gpu_pids=lambda: (4243, 4242, 4242))
    assert ("4242", "user") not in known(await tree.run(collector))
    batch = await tree.run(collector, 2.0)
    # the machine started at 1795475340, which is 2026-11-23 23:09:00 UTC; the process 1,000 s later
    assert known(batch) == {
        ("4242", "user"): "root",
        ("4242", "command"): "VLLM::EngineCor",
        ("4242", "container"): CONTAINER[:12],
        ("4242", "started"): "2026-11-23T23:25:40Z",
        ("4243", "user"): "4000000000",
        ("4243", "command"): "ab) c",
        ("4243", "started"): "2026-11-23T23:25:40Z",
    }
    assert not any(fact.watched for fact in batch.facts)
    assert "sk-secret" not in repr(batch)


async def test_owners_are_asked_every_ten_seconds_and_for_the_given_processes_alone(tmp_path, monkeypatch):
    asked = []

    def owners(pids, root):
        asked.append(pids)
        return [], 0

    monkeypatch.setattr(host, "owners", owners)
    tree = machine(tmp_path)
    collector = tree.collector(gpu_pids=lambda: (7,))
    for _ in range(11):
        await tree.run(collector, 2.0)
    assert asked == [(7,)] * 3


async def test_a_hidden_process_has_no_owner_and_the_source_says_so(tmp_path):
    tree = machine(tmp_path)
    collector = tree.collector(gpu_pids=lambda: (4242,))
    await tree.run(collector)
    batch = await tree.run(collector, 2.0)
    assert not [fact for fact in batch.facts if fact.entity.get("process")]
    assert "owners of some GPU processes are not visible" in batch.health.reason
    assert batch.health.status == "ok"


@pytest.mark.parametrize("namespace", ["pid:[4026532999]", None])
def test_in_another_namespace_a_process_counts_only_with_a_gpu_in_its_hands(tmp_path, namespace):
    tree = machine(tmp_path)
    (tree.proc / "self/ns/pid").unlink()
    if namespace:
        tree.link("proc/self/ns/pid", namespace)
    process(tree, 12)
    process(tree, 13)
    tree.link("proc/12/fd/3", "/dev/null")
    tree.link("proc/13/fd/3", "/dev/null")
    tree.link("proc/13/fd/4", "/dev/nvidia0")
    facts, hidden = host_owners.owners([12, 13], tree.proc, user_of=str)
    assert {fact.entity for fact in facts} == {Entity.of(process="13")}
    assert hidden == 1
