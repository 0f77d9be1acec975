"""From a configuration to a running feed: which sources, with which client, under which clock."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.text.sanitize import sanitize
from collectors.config import (
    AnySource,
    CloudSource,
    Config,
    ConfigError,
    HostSource,
    KernelLogSource,
    LangfuseSource,
    MlflowSource,
    NvmlSource,
    PrometheusSource,
    Secret,
    VllmSource,
)
from collectors.registry import CollectorContext, build, findable, kinds, page_matcher, source_of
from collectors.runtime.addresses import server_url, without_login
from collectors.runtime.base import Collector, DiscoversCollectors
from collectors.runtime.environment import is_address, salt, wrong_addresses
from collectors.runtime.scheduler import LiveFeed
from collectors.source_names import name_of, repeated, source_name, with_unique_names

if TYPE_CHECKING:
    from collectors.discovery.collector import DiscoveryCollector

CONNECTIONS_S = 30.0
"""How long an idle connection is kept."""


def sources(
    config: Config,
    endpoints: Sequence[str],
    environ: Mapping[str, str],
    prometheus: str = "",
    cloud: str = "",
    *,
    kernel_log: bool = False,
) -> list[AnySource]:
    """Return what is to be read: the addresses given, or this node and its environment, and what is configured.

    Addresses of servers on the command line switch everything off that was not asked for by name; a Prometheus server
    comes on top, and takes the place of that of the environment. ``cloud`` is the one that this machine says it is in;
    ``kernel_log``: a log of the kernel can be read here.

    Raises:
        ConfigError: an address is none.
    """
    if problems := wrong_addresses(endpoints, prometheus):
        raise ConfigError(problems)
    named = prometheus_of(config, prometheus) if prometheus else None
    if endpoints:
        urls = dict.fromkeys(map(server_url, endpoints))
        spellings = repeated(urls)
        servers = [VllmSource(url=url) for url in urls if url not in spellings]
        return with_unique_names([*servers, *([named] if named else [])])
    found: list[AnySource] = [source for source in addressed(config).source if source != named]
    found += [named] if named else []
    present = {type(source) for source in found}
    if HostSource not in present:
        found.insert(0, HostSource())
    if NvmlSource not in present:
        found.insert(0, NvmlSource())
    if CloudSource not in present and cloud and config.console.discovery:
        found.append(CloudSource())
    if KernelLogSource not in present and kernel_log and config.console.discovery:
        found.append(KernelLogSource())
    if LangfuseSource not in present and environ.get("LANGFUSE_PUBLIC_KEY") and environ.get("LANGFUSE_SECRET_KEY"):
        url = environ.get("LANGFUSE_BASE_URL") or environ.get("LANGFUSE_HOST") or LangfuseSource().url
        found.append(LangfuseSource(url=url))
    if MlflowSource not in present and is_address(tracking := environ.get("MLFLOW_TRACKING_URI", "")):
        found.append(mlflow(tracking, environ))
    if PrometheusSource not in present and not named and is_address(url := environ.get("PROMETHEUS_URL", "")):
        found.append(PrometheusSource(url=url))
    return with_unique_names([_addressed(source) for source in found])


def prometheus_of(config: Config, url: str) -> PrometheusSource:
    """Return a Prometheus server named on the command line, with the keys that are configured for its address."""
    url = server_url(url)
    known = (source for source in addressed(config).source if isinstance(source, PrometheusSource))
    return next((source for source in known if source.url == url), None) or PrometheusSource(url=url)


def mlflow(url: str, environ: Mapping[str, str]) -> MlflowSource:
    """Return the MLflow server that the environment names, by MLflow's own variables."""
    token, password = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"
    return MlflowSource(
        url=url,
        token=Secret(env=token) if environ.get(token) else None,
        username=environ.get("MLFLOW_TRACKING_USERNAME", ""),
        password=Secret(env=password) if environ.get(password) else None,
    )


def feed(
    config: Config, endpoints: Sequence[str], clock: Clock, state: Path | None, node: str, prometheus: str = ""
) -> LiveFeed:
    """Return the live feed of a configuration. Imports the clients, so call it after the first paint.

    Raises:
        ConfigError: a secret is missing, or an address is none.
    """
    from collectors.cloud import providers as cloud_clouds
    from collectors.kernel_log.reading import readable_logs
    from collectors.prices.collector import PriceCollector
    from collectors.runtime.client import client, routed
    from collectors.runtime.engine_names import EngineNames
    from collectors.runtime.proxies import Proxies

    config = addressed(config)
    kernel_log = bool(readable_logs())
    wanted = sources(config, endpoints, os.environ, prometheus, cloud_clouds.found(), kernel_log=kernel_log)
    # the environment's proxy must not answer in the place of this machine's own cloud
    transport = routed(Proxies(direct=clouds(wanted, cloud_clouds.ADDRESS)), keepalive_s=CONNECTIONS_S)
    tools = CollectorContext(clock, client(transport), salt(state), node, config.console.pseudonyms)
    collectors: list[Collector] = []
    problems: list[str] = []
    for source in wanted:
        try:
            is_named = bool(endpoints) and isinstance(source, VllmSource)
            collectors.append(_recognised(source, tools, endpoints) if is_named else build(source, tools))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    live = LiveFeed(collectors, clock, title=node)
    live.collectors.extend(_links(config, live, clock, node))
    live.collectors.append(PriceCollector(config.spend, clock))
    inviting = [collector for collector in collectors if isinstance(collector, DiscoversCollectors)]
    names = EngineNames(given(config), (one.source.name for one in collectors if isinstance(one, DiscoversCollectors)))
    for collector in inviting:
        collector.start_discovery(live.join, live.leave, names)
    if not endpoints and config.console.discovery:
        # what discovery finds is this machine or a container on it: never asked through a proxy
        live.collectors.append(discovery(config, replace(tools, client=client(transport.direct)), live))
    return live


def addressed(config: Config) -> Config:
    """Return a configuration with every server's address in the one form that is used, however it was written."""
    return msgspec.structs.replace(config, source=tuple(_addressed(source) for source in config.source))


def _addressed(source: AnySource) -> AnySource:
    url = getattr(source, "url", "")
    return (
        source if isinstance(source, CloudSource) or not url else msgspec.structs.replace(source, url=server_url(url))
    )


def clouds(wanted: Iterable[AnySource], address: str) -> set[str]:
    """Return the hosts of metadata services among sources; ``address`` is the one that all clouds have."""
    urls = [source.url or address for source in wanted if isinstance(source, CloudSource)]
    return {urlsplit(url).hostname or "" for url in urls if is_address(url)}


def given(config: Config) -> dict[tuple[str, int], str]:
    """Return the names of configured servers by host and port; none where several stand behind one."""
    from collectors.discovery.collector import place

    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for source in config.source:
        if url := getattr(source, "url", ""):
            found[place(url)].add(source_of(source).name)
    return {one: names.pop() for one, names in found.items() if len(names) == 1}


def _links(config: Config, live: LiveFeed, clock: Clock, node: str) -> list[Collector]:
    """Return the collector of engine-to-GPU links, if there are GPUs; it also links engines that join later."""
    from collectors.nvml.collector import NvmlCollector

    gpus = next((one for one in live.collectors if isinstance(one, NvmlCollector)), None)
    if gpus is None:
        return []
    from collectors.gpu_owners.links import GpuLinkCollector
    from collectors.gpu_owners.proof import EngineAddress

    configured = {
        source_of(one).name: list(one.gpus) for one in config.source if isinstance(one, VllmSource) and one.gpus
    }

    def engines() -> list[EngineAddress]:
        read = [one.source for one in live.collectors if one.source.kind == "vllm"]
        return [EngineAddress(Entity.of(engine=source.name), source.address) for source in read]

    def by_name() -> dict[str, Entity]:
        told = {gpu.get("mig") or gpu.get("gpu") or "": gpu for gpu in gpus.processes()}
        return told | {str(index): gpu for index, gpu in gpus.indices().items()}

    return [GpuLinkCollector(clock, gpus.processes, engines, configured=configured, gpu_index=by_name, node=node)]


def discovery(config: Config, tools: CollectorContext, live: LiveFeed) -> "DiscoveryCollector":
    """Return the collector that lets the servers of this node join a feed; those configured are in it already."""
    from collectors.discovery.candidates import LocalServers, ProcessPattern
    from collectors.discovery.collector import DiscoveryCollector, FeedMembership, Matcher, place_of

    kinds, traits = [], []
    for kind in findable():
        local, known = kind.local, page_matcher(kind)
        if local is None or known is None:
            continue

        def make(url: str, of: type[msgspec.Struct] = kind.config) -> Collector:
            return _built(of, url, tools)

        kinds.append(Matcher(kind.name, local.path, known, make))
        traits.append(ProcessPattern(kind.name, re.compile(local.process) if local.process else None, local.ports))
    look = LocalServers(Path("/proc"), Path("/sys"), traits, tools.clock.monotonic).scan
    taken = place_of(getattr(source, "url", "") for source in config.source)
    return DiscoveryCollector(tools.clock, tools.client, look, kinds, FeedMembership(live.join, live.leave, taken))


def _recognised(source: AnySource, tools: CollectorContext, endpoints: Sequence[str]) -> Collector:
    from collectors.discovery.endpoint import EndpointCollector, Make, Recognise

    url = getattr(source, "url", "")
    # what tells it from another of the command line tells it whatever its kind turns out to be
    qualifier = name_of(source).removeprefix(source_name("vllm", url))
    readers: list[tuple[Recognise, Make]] = [
        (known, partial(_built, kind.config, url, tools, source_name(kind.name, url) + qualifier if qualifier else ""))
        for kind in findable()
        if (known := page_matcher(kind)) is not None
    ]
    same = [without_login(one) for one in _other_spellings(endpoints, url)]
    note = f"{sanitize(', '.join(same), 200)} is the same server and is read once" if same else ""
    names = [kind.name for kind in kinds() if hasattr(kind.config, "url")]
    return EndpointCollector(source_of(source), tools.client, tools.clock, readers, url=url, names=names, note=note)


def _other_spellings(endpoints: Sequence[str], url: str) -> list[str]:
    """Return the addresses of the command line that are another spelling of the server at ``url``."""
    same = repeated(map(server_url, endpoints))
    return [one for one in dict.fromkeys(endpoints) if same.get(server_url(one), server_url(one)) == url][1:]


def _built(kind: type[msgspec.Struct], url: str, tools: CollectorContext, name: str = "") -> Collector:
    told = {"url": url, **({"name": name} if name else {})}
    source: AnySource = msgspec.convert(told, kind)  # type: ignore[assignment]  # every kind's struct is one
    return build(source, tools)
