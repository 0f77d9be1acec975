"""Which engine works on which GPU, on made-up process trees."""

import pytest

from aistack_top.model.entity import Entity
from aistack_top.store.facts import Facts
from collectors.gpu_owners.links import GpuLinkCollector, gpus_wanted
from collectors.gpu_owners.proof import EngineAddress
from tests.collectors.host.host_tree import HandClock
from tests.collectors.procfs.proc_tree import ProcTree

ENGINE = Entity.of(engine="vllm-8000")
GPUS = [Entity.of(gpu=f"GPU-{index}") for index in range(4)]
SERVE = ["/usr/bin/python3", "/usr/bin/vllm", "serve", "llama", "--port", "8000", "--api-key", "sk-verysecret"]
CONTAINER = "ab" * 32


class Bench:
    """A link collector in front of a tree, with GPU processes as a test says."""

    def __init__(self, tmp_path, *, certain=True, url="http://127.0.0.1:8000", configured=None):
        self.tree = ProcTree(tmp_path, certain=certain)
        self.clock = HandClock()
        self.pids: dict[Entity, tuple[int, ...]] = dict.fromkeys(GPUS[:2], ())
        self.facts = Facts()
        self.collector = GpuLinkCollector(
            self.clock,
            lambda: self.pids,
            lambda: [EngineAddress(ENGINE, url)],
            configured=configured,
            gpu_index=lambda: {str(index): gpu for index, gpu in enumerate(GPUS[:2])},
            proc_root=tmp_path,
            run=self.run,
            resolve=lambda host: {"llm": ["172.17.0.2"]}.get(host, []),
        )

    async def run(self, look):
        return look()

    async def look(self, seconds=10.0):
        batch = await self.collector.collect()
        self.clock.time += seconds
        self.facts.observe(batch.facts, batch.at, batch.seen, "compute", "links")
        self.facts.join(batch.links)
        return batch

    def server(self, pid=100, workers=(200,), argv=SERVE, **more):
        """Start a server with workers on the first GPUs, as vLLM does: API server, engine core, workers."""
        self.tree.process(pid, 1, argv, **more)
        for index, worker in enumerate(workers):
            self.tree.process(worker, pid, ["VLLM::Worker_TP" + str(index)], **more)
            self.pids[GPUS[index]] = (worker,)

    def linked(self):
        return {link.child: link.proof for link in self.facts.children(ENGINE)}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


async def test_a_gpu_process_below_the_server_of_the_port_is_the_engines(bench):
    bench.server(workers=(200, 201))
    bench.tree.listen(100, 555, 8000)

    batch = await bench.look()

    assert bench.linked() == {GPUS[0]: "pid", GPUS[1]: "pid"}
    assert batch.health.status == "ok"
    assert batch.health.reason == ""
    assert batch.links[0].detail == "pid 200, a child of pid 100, which listens on port 8000"
    assert bench.facts.get(ENGINE, "pid") == "100"


async def test_another_program_of_the_servers_user_is_not_taken_for_it_where_open_files_are_closed(bench):
    bench.server(argv=SERVE[:4], workers=(200,))
    bench.tree.process(300, 1, ["python3", "train.py"])
    bench.pids[GPUS[1]] = (300,)
    bench.tree.listen(100, 555, 8000)
    for pid in (100, 200, 300):
        bench.tree.namespace(pid, "net:[1]", "127.0.0.1")
    for pid in (100, 200, 300):
        bench.tree.close(pid)

    batch = await bench.look()

    assert bench.linked() == {GPUS[0]: "pid"}
    assert batch.links[0].detail == "pid 200, a child of pid 100, which listens on port 8000"


async def test_a_worker_that_inherited_the_socket_is_not_taken_for_the_server(bench):
    bench.server()
    bench.tree.listen(100, 555, 8000)
    bench.tree.link("200/fd/55", "socket:[555]")
    batch = await bench.look()
    assert batch.links[0].detail == "pid 200, a child of pid 100, which listens on port 8000"
    assert bench.facts.get(ENGINE, "pid") == "100"


async def test_secrets_of_the_command_line_are_not_told(bench):
    bench.server()
    bench.tree.listen(100, 555, 8000)
    await bench.look()
    command = bench.facts.get(ENGINE, "command")
    assert "--port 8000" in command
    assert "verysecret" not in command


@pytest.mark.parametrize(
    ("more", "told"), [((), "default"), (("--max-num-seqs", "64"), "64"), (("--max_num_seqs=16",), "16")]
)
async def test_the_limit_of_a_batch_is_told_from_the_command_line(bench, more, told):
    bench.server(argv=[*SERVE, *more])
    bench.tree.listen(100, 555, 8000)
    await bench.look()
    assert bench.facts.get(ENGINE, "max_num_seqs") == told


async def test_open_files_closed_to_us_leave_the_command_line_and_the_sockets_user(bench):
    bench.server()
    bench.tree.listen(100, 555, 8000)
    bench.tree.write("100/net/tcp", (bench.tree.root / "self/net/tcp").read_bytes())
    for pid in (100, 200):
        bench.tree.close(pid)
    await bench.look()
    assert bench.linked() == {GPUS[0]: "pid"}


async def test_a_socket_of_another_user_on_that_port_proves_nothing(bench):
    bench.server()
    bench.tree.listen(100, 555, 8000, uid=33)
    bench.tree.write("100/net/tcp", (bench.tree.root / "self/net/tcp").read_bytes())
    for pid in (100, 200):
        bench.tree.close(pid)
    batch = await bench.look()
    assert bench.linked() == {}
    assert "engine-GPU link unknown for vllm-8000" in batch.health.reason
    assert list(bench.collector.unknown) == ["vllm-8000"]


async def test_another_process_on_the_gpu_is_not_the_engines(bench):
    bench.server(workers=())
    bench.tree.listen(100, 555, 8000)
    bench.tree.process(300, 1, ["python3", "notebook.py"])
    bench.pids[GPUS[0]] = (300,)
    batch = await bench.look()
    assert bench.linked() == {}
    assert "pid 100, has no child on a GPU" in batch.health.reason


async def test_a_server_in_a_container_is_known_by_its_own_addresses(tmp_path):
    bench = Bench(tmp_path, url="http://llm:8000")
    bench.server(container=CONTAINER, uid=0)
    for pid in (100, 200):
        bench.tree.namespace(pid, "net:[2]", "127.0.0.1", "172.17.0.2")
    bench.tree.listen(100, 555, 8000, namespace="net:[2]", uid=0)
    for pid in (100, 200):
        bench.tree.close(pid)
    await bench.look()
    assert bench.linked() == {GPUS[0]: "pid"}
    assert bench.facts.get(ENGINE, "container") == CONTAINER[:12]


async def test_a_forwarded_port_leads_into_the_container(bench):
    bench.server(container=CONTAINER, uid=0)
    said = "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8000 -container-ip 172.17.0.2"
    bench.tree.process(90, 1, [*said.split(), "-container-port", "8000"])
    bench.tree.listen(90, 554, 8000)
    for pid in (100, 200):
        bench.tree.namespace(pid, "net:[2]", "127.0.0.1", "172.17.0.2")
    bench.tree.listen(100, 555, 8000, namespace="net:[2]", uid=0)
    await bench.look()
    assert bench.linked() == {GPUS[0]: "pid"}


async def test_a_worker_beside_its_server_in_one_container_is_proven_by_it(bench):
    bench.server(workers=(), container=CONTAINER)
    bench.tree.listen(100, 555, 8000)
    bench.tree.process(200, 1, ["ray::worker"], container=CONTAINER)
    bench.pids[GPUS[0]] = (200,)
    await bench.look()
    assert bench.linked() == {GPUS[0]: "container"}


async def test_in_another_process_namespace_the_same_number_is_somebody_else(tmp_path):
    bench = Bench(tmp_path, certain=False)
    bench.server()
    bench.tree.listen(100, 555, 8000)
    batch = await bench.look()
    assert bench.linked() == {}
    assert "not visible from here" in batch.health.reason


async def test_what_a_person_configured_is_a_proof_and_its_mistakes_are_told(tmp_path):
    bench = Bench(tmp_path, configured={"vllm-8000": [1, 7]})
    batch = await bench.look()
    assert bench.linked() == {GPUS[1]: "configuration"}
    assert "gpus of vllm-8000: 7 is not a GPU of this node" in batch.health.reason


async def test_gpus_of_another_node_are_said_to_be_missing(bench):
    bench.server(argv=[*SERVE, "--tensor-parallel-size", "4", "--pipeline-parallel-size=2"])
    bench.tree.listen(100, 555, 8000)
    batch = await bench.look()
    assert "vllm-8000 uses 8 GPUs, 7 of them not visible here" in batch.health.reason


async def test_a_link_ends_when_another_server_takes_its_place(bench):
    bench.server(workers=(200, 201))
    bench.tree.listen(100, 555, 8000)
    await bench.look()
    for pid in (100, 200, 201):
        bench.tree.close(pid)
        for name in ("stat", "status", "cmdline", "cgroup"):
            (bench.tree.root / f"{pid}/{name}").unlink()
    bench.pids[GPUS[1]] = ()
    bench.server(pid=110, workers=(210,), start=5000)
    bench.tree.listen(110, 556, 8000)

    await bench.look()

    assert bench.linked() == {GPUS[0]: "pid"}
    assert bench.facts.get(ENGINE, "pid") == "110"


async def test_what_does_not_change_is_said_again_once_a_minute(bench):
    bench.server()
    bench.tree.listen(100, 555, 8000)
    told = [len((await bench.look()).links) for _ in range(8)]
    assert told == [1, 0, 0, 0, 0, 0, 1, 0]


async def test_a_proc_that_cannot_be_read_is_a_health_record(bench):
    async def fails(look):
        raise OSError(13, "Permission denied")

    bench.collector._run = fails
    batch = await bench.collector.collect()
    assert batch.health.status == "down"
    assert "Permission denied" in batch.health.reason


@pytest.mark.parametrize(
    ("argv", "count"),
    [([], 1), (["-tp", "2"], 2), (["--tensor_parallel_size=2", "-dp", "3"], 6), (["-tp", "x"], 1), (["-tp"], 1)],
)
def test_the_gpus_a_server_wants_are_read_from_its_options(argv, count):
    assert gpus_wanted(argv) == count
