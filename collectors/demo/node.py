"""The collectors of production in front of a simulated node: in this process, without a socket.

What a collector is given is what it is given on a real machine: an HTTP client, an NVML module, the folders of the
kernel's files. Only what stands behind them is made of numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import ModuleType

import httpx
import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.app import Servers
from aistack_top.simulator.servers.gpus import states
from aistack_top.simulator.servers.langfuse import PUBLIC_KEY, SECRET_KEY
from aistack_top.simulator.servers.nvml import SimulatedNvml
from aistack_top.simulator.servers.proc import HostFiles
from aistack_top.simulator.servers.world import World
from collectors.config import (
    AnySource,
    CloudSource,
    HostSource,
    LangfuseSource,
    MlflowSource,
    NvmlSource,
    VllmSource,
    configured,
)
from collectors.gpu_owners.links import GpuLinkCollector
from collectors.gpu_owners.proof import EngineAddress, OwnershipResult
from collectors.host.collector import HostCollector
from collectors.langfuse.collector import DEADLINE_S, MAX_BUSY, LangfuseCollector
from collectors.langfuse.settings import LangfuseSettings
from collectors.nvml.collector import NvmlCollector
from collectors.prices.collector import PriceCollector
from collectors.prices.settings import SpendSettings
from collectors.registry import CollectorContext, build, source_of
from collectors.runtime.base import Collector, HealthTracker, Source, SourceError
from collectors.runtime.http import TOOK_S
from collectors.runtime.scheduler import LiveFeed

SALT = bytes(32)
"""Of the pseudonyms of people who do not exist: the same in every recording."""

ADDRESS = "http://simulated"
NODE = "simulated"

PRICES = SpendSettings(prices="seed-2026-06", provider="a list price", time_zone="UTC")
"""What the simulated node would cost: a dated list that is named beside every dollar."""

ANSWER_S = 0.012
"""What an answer takes in virtual time, at an undisturbed host: 16 ms is the median of a real vLLM's metrics page."""


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Gives an HTTP client the servers of a simulated node; nobody listens where a server's process is gone."""

    def __init__(self, servers: Servers, took_s: Callable[[], float]) -> None:
        self._servers, self._took_s = servers, took_s
        self._inner = httpx.ASGITransport(app=servers.app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport.handle_async_request`."""
        if self._servers.refuses(request.url.path.split("/")[1]):
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        response = await self._inner.handle_async_request(request)
        response.extensions[TOOK_S] = self._took_s()
        return response


class SilencedCollector:
    """A collector whose source answers nothing while the node says that it is down.

    Servers refuse by themselves; this is for what is no server.
    """

    def __init__(self, inner: Collector, world: World, clock: Clock) -> None:
        self._inner, self._world, self._clock = inner, world, clock
        self._keeper = HealthTracker(inner.source)

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._inner.source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        if self.source.kind in self._world.advance().down:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, SourceError("down", "the driver does not answer")))
        batch = await self._inner.collect()
        if batch.health.status == "ok":
            self._keeper.success(batch.seen, 0.0)
        return batch

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        await self._inner.aclose()


class LimitedCollector:
    """A collector that is asked every ``step_s`` seconds at most until a moment."""

    def __init__(self, inner: Collector, clock: Clock, until: float, step_s: float) -> None:
        self._inner, self._clock, self._until = inner, clock, until
        self._slower = replace(inner.source, interval_s=max(inner.source.interval_s, step_s))

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._slower if self._clock.now() < self._until else self._inner.source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        return await self._inner.collect()

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        await self._inner.aclose()


class HookedCollector:
    """A collector before each of whose runs something is done. See `collectors.runtime.base.Collector`."""

    def __init__(self, inner: Collector, act: Callable[[], None]) -> None:
        self._inner, self._act = inner, act

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._inner.source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        self._act()
        return await self._inner.collect()

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        await self._inner.aclose()


def feed(node: SimulatedNode, clock: Clock, folder: Path, *, step_s: float | None = None) -> LiveFeed:
    """Return the feed of a simulated node that lives by a clock.

    ``folder`` is where the kernel's files of its host are written; ``step_s`` the interval of every source, where it
    is not to be the source's own.
    """
    world = World(node, clock.now)
    transport = SimulatedTransport(Servers(world), lambda: ANSWER_S * node.host.slowdown)
    tools = CollectorContext(clock, httpx.AsyncClient(transport=transport), SALT, NODE)
    served = sources(node, ADDRESS, step_s)
    files = HostFiles(folder)
    nvml = SimulatedNvml(lambda: states(world.advance()), clock.now)
    gpus = gpu_collector(nvml, clock, files.proc, step_s)
    host = HookedCollector(
        host_collector(gpus, clock, files.proc, files.sys, step_s), lambda: files.write(world.advance())
    )
    links = link_collector(gpus, served, clock, files.proc)
    servers = [langfuse_collector(ADDRESS, tools, node.seed, step_s), *(build(source, tools) for source in served)]
    silenced = SilencedCollector(gpus, world, clock)
    return LiveFeed([silenced, host, links, *servers, PriceCollector(PRICES, clock)], clock, title=NODE)


def sources(node: SimulatedNode, address: str, step_s: float | None = None) -> list[AnySource]:
    """Return the servers of a simulated node but Langfuse as a configuration would have them, at ``ADDRESS/NAME``."""
    gpus: dict[str, tuple[int, ...]] = {}
    for engine in node.engines:
        gpus[engine.config.name] = (*gpus.get(engine.config.name, ()), *engine.config.gpus)
    found: list[AnySource] = [VllmSource(url=f"{address}/{name}", name=name, gpus=on) for name, on in gpus.items()]
    found.append(configured("litellm", url=f"{address}/litellm", name="litellm"))
    found.append(configured("milvus", url=f"{address}/milvus", name="milvus"))
    found.append(CloudSource(provider="aws", url=f"{address}/cloud"))
    if node.training:
        found.append(configured("ray", url=f"{address}/ray", name="ray"))
        found.append(MlflowSource(url=f"{address}/mlflow", name="mlflow"))
    return [_paced(source, step_s) for source in found]


def langfuse_collector(
    address: str, tools: CollectorContext, seed: int, step_s: float | None = None
) -> LangfuseCollector:
    """Return the collector of the simulated Langfuse, whose keys are no secret."""
    url = f"{address}/langfuse"
    settings = LangfuseSettings(url, PUBLIC_KEY, SECRET_KEY, salt=tools.salt)
    source = source_of(_paced(LangfuseSource(url=url), step_s), deadline_s=DEADLINE_S, most_busy=MAX_BUSY)
    return LangfuseCollector(source, tools.client, tools.clock, settings, rng=Random(seed))


def gpu_collector(nvml: ModuleType, clock: Clock, proc: Path, step_s: float | None = None) -> NvmlCollector:
    """Return the collector of the GPUs behind an NVML-shaped object."""
    source = source_of(_paced(NvmlSource(), step_s), most_busy=1.0)  # no driver to be spared
    return NvmlCollector(source, clock, module=nvml, node=NODE, proc_root=proc, start=_at_once)


def host_collector(
    gpus: NvmlCollector, clock: Clock, proc: Path, sys: Path, step_s: float | None = None
) -> HostCollector:
    """Return the collector of the host whose kernel's files stand in two folders."""
    source = source_of(_paced(HostSource(), step_s))
    return HostCollector(source, clock, NODE, proc_root=proc, sys_root=sys, gpu_pids=gpus.pids, start=_at_once)


def link_collector(gpus: NvmlCollector, served: Sequence[AnySource], clock: Clock, proc: Path) -> GpuLinkCollector:
    """Return the collector of the links from engines to GPUs, which the sources name."""
    on = {source.name: source.gpus for source in served if isinstance(source, VllmSource)}
    engines = [EngineAddress(Entity.of(engine=name), "") for name in on]

    async def at_once(look: Callable[[], OwnershipResult]) -> OwnershipResult:
        return look()

    def by_index() -> dict[str, Entity]:
        return {str(index): gpu for index, gpu in gpus.indices().items()}

    return GpuLinkCollector(
        clock,
        gpus.processes,
        lambda: engines,
        configured=on,
        gpu_index=by_index,
        proc_root=proc,
        node=NODE,
        run=at_once,
        resolve=lambda _: (),
    )


def _paced(source: AnySource, step_s: float | None) -> AnySource:
    return source if step_s is None else msgspec.structs.replace(source, interval=step_s)


def _at_once(work: Callable[[], None]) -> None:
    work()
