"""The command around the checks: an engine that is found late is still looked at."""

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Health
from collectors.gpu_owners.links import GpuLinkCollector
from collectors.gpu_owners.proof import EngineAddress
from collectors.runtime.base import Source
from collectors.runtime.proxies import Proxies
from collectors.runtime.scheduler import LiveFeed
from tests.collectors.procfs.proc_tree import ProcTree
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

    links = GpuLinkCollector(clock, lambda: {GPU: (200,)}, engines, proc_root=root, run=run)
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


def test_every_layout_of_the_users_folder_is_looked_at(tmp_path):
    (tmp_path / "mine.toml").write_text('title = "mine"\nbase = "overview"\n')
    (tmp_path / "bad.toml").write_text('title = "bad"\nbase = "overview"\nsiez = 3\n')
    checks = doctor.layouts("overview", tmp_path)
    assert [(one.outcome, one.name) for one in checks] == [("failed", "layout"), ("ok", "layout")]
    assert "bad.toml:3:" in checks[0].said
    assert "did you mean 'size'" in checks[0].mend
    assert "mine" in checks[1].said


def test_a_layout_that_is_asked_for_and_that_there_is_none_of_is_a_failure(tmp_path):
    (check,) = doctor.layouts("overveiw", tmp_path / "none")
    assert "no such layout: 'overveiw'" in check.said
    assert "did you mean 'overview'" in check.mend
    assert doctor.layouts("wall", tmp_path / "none") == []


def test_a_key_that_cannot_be_bound_is_a_failure():
    (check,) = doctor.keys({"pauze": "p", "filter": "f"})
    assert "no such action: 'pauze'" in check.said
    assert "did you mean 'pause'" in check.mend
    assert doctor.keys({}) == []


def test_a_theme_that_there_is_none_of_is_a_failure():
    (check,) = doctor.colours("nihgt")
    assert (check.said, check.mend) == ("[console] no such theme: 'nihgt'", "did you mean 'night'?")
    assert doctor.colours("night") == doctor.colours("textual-light") == doctor.colours("") == []


async def test_where_no_gpu_is_read_no_link_is_missed(tmp_path):
    ProcTree(tmp_path)
    live = feed(tmp_path, lambda: [EngineAddress(ENGINE, "http://127.0.0.1:8000")], Tells("vllm", "serving"))
    state = await doctor.look(live)
    assert doctor.links(live, state) == []
    assert doctor.engines(state) == ["vllm"]


def test_a_proxy_that_cannot_be_used_is_a_check_with_its_mend():
    (check,) = doctor.proxies(Proxies({"ALL_PROXY": "socks://me:s3cret@p:1", "http_proxy": "http://p:1"}))
    assert (check.name, check.outcome) == ("ALL_PROXY", "missing")
    assert "unknown type (socks://p:1): servers behind it are not read" in check.said
    assert "socks5://" in check.mend
    assert "s3cret" not in check.said
