"""The command around the checks: an engine that is found late is still looked at."""

from aistack_top.clock import VirtualClock
from aistack_top.entity import Entity
from aistack_top.tick import Batch, Health
from collectors.base import Source
from collectors.identity import LinkCollector
from collectors.proof import EngineAddress
from collectors.scheduler import LiveFeed
from tests.collectors.proc_tree import ProcTree
from tui.commands import doctor

GPU = Entity.of(gpu="GPU-1")
ENGINE = Entity.of(engine="vllm-8000")


class Tells:
    """A collector that is well."""

    def __init__(self, kind, layer):
        self.source = Source(kind, kind, layer, 1.0, address="http://127.0.0.1:8000")

    async def collect(self):
        return Batch(0.0, 0.0, Health(self.source.name, self.source.kind, self.source.layer, "ok"))

    async def aclose(self):
        pass


def feed(root, engines, *others):
    clock = VirtualClock(0.0)

    async def run(look):
        return look()

    links = LinkCollector(clock, lambda: {GPU: (200,)}, engines, proc_root=root, run=run)
    return LiveFeed([links, *others], clock)


async def test_an_engine_that_discovery_finds_after_the_first_look_is_linked_all_the_same(tmp_path):
    tree = ProcTree(tmp_path)
    tree.process(100, 1, ["vllm", "serve", "llama"])
    tree.process(200, 100, ["VLLM::Worker"])
    tree.listen(100, 555, 8000)
    looks = iter([[], [EngineAddress(ENGINE, "http://127.0.0.1:8000")]])
    live = feed(tmp_path, lambda: next(looks), Tells("nvml", "compute"))
    checks = doctor.links(live, await doctor.look(live))
    assert [(check.name, check.outcome) for check in checks] == [("vllm-8000 to GPUs", "ok")]


async def test_where_no_gpu_is_read_no_link_is_missed(tmp_path):
    ProcTree(tmp_path)
    live = feed(tmp_path, lambda: [EngineAddress(ENGINE, "http://127.0.0.1:8000")], Tells("vllm", "serving"))
    state = await doctor.look(live)
    assert doctor.links(live, state) == []
    assert doctor.engines(state) == ["vllm"]
