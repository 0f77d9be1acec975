"""Every system that can be read: one line each. What it costs to add one is this line, a module and a fixture.

The modules behind the lines are imported only when a source of their kind is built: the command line starts
without an HTTP client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aistack_top.measure.clock import Clock
from aistack_top.model.signals import Layer
from collectors.config import (
    AnySource,
    CloudSource,
    DcgmSource,
    HostSource,
    LangfuseSource,
    LitellmSource,
    MilvusSource,
    MlflowSource,
    NemoSource,
    NemoTraceSource,
    NvmlSource,
    PrometheusSource,
    RaySource,
    VllmSource,
)
from collectors.runtime.base import Collector, Source

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class DiscoveryHints:
    r"""How a server of a kind is found on this node.

    ``fingerprint`` names the function that knows its metrics page, ``MODULE:FUNCTION`` from bytes to bool; without
    one its table's identity tells. ``ports`` are those it has unless told otherwise; ``process`` is a pattern of its
    command line, words parted by ``\0``.
    """

    fingerprint: str = ""
    ports: tuple[int, ...] = ()
    process: str = ""
    path: str = "/metrics"


PAGE = "collectors.openmetrics.build:build"
"""Builds the collector of a kind that needs no module: its table ``collectors/LAYER/NAME.toml`` says everything."""

VLLM = DiscoveryHints(
    "collectors.vllm.collector:fingerprint", (8000,), r"(?:^|[/\0])vllm\0serve\0|\0vllm\.entrypoints\."
)

DCGM = DiscoveryHints("collectors.dcgm.collector:fingerprint", (9400,), r"(?:^|[/\0])dcgm-exporter(?:\0|$)")
RAY = DiscoveryHints(ports=(8085,), process=r"/ray/dashboard/agent\.py\0|^ray::DashboardAgent")
LITELLM = DiscoveryHints(ports=(4000,), process=r"(?:^|[/\0])litellm\0")
NEMO = DiscoveryHints()
MILVUS = DiscoveryHints(ports=(9091,), process=r"(?:^|[/\0])milvus\0run\0")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: its layer, its configuration, where its collector lives, and what one needs to know.

    ``adder`` names the function that makes an `exposition_source.Add` of a `Source`: what its pages tell beyond their
    table.
    """

    name: str
    layer: Layer
    config: type[AnySource]
    build: str
    reads: str
    local: DiscoveryHints | None = None
    adder: str = ""


KINDS: tuple[Kind, ...] = (
    Kind("nvml", "compute", NvmlSource, "collectors.nvml.collector:build", "NVIDIA GPUs of this node, by NVML"),
    Kind("host", "compute", HostSource, "collectors.host.collector:build", "CPU, memory, disks, network of this node"),
    Kind(
        "cloud",
        "compute",
        CloudSource,
        "collectors.cloud.collector:build",
        "AWS, GCP, Azure: notices that this machine is taken back or worked on",
    ),
    Kind(
        "dcgm",
        "compute",
        DcgmSource,
        "collectors.dcgm.collector:build",
        "dcgm-exporter: GPUs of any node",
        DCGM,
        "collectors.dcgm.collector:extractor",
    ),
    Kind(
        "vllm",
        "serving",
        VllmSource,
        "collectors.vllm.collector:build",
        "vLLM 0.6 to 0.33: /metrics, /load, /version",
        VLLM,
        "collectors.vllm.arrivals:extractor",
    ),
    Kind("ray", "training", RaySource, PAGE, "Ray: tasks, workers, GPUs given out, object store", RAY),
    Kind("milvus", "data", MilvusSource, PAGE, "Milvus: searches, queues, segments, index builds", MILVUS),
    Kind("mlflow", "pipelines", MlflowSource, "collectors.mlflow.collector:build", "MLflow: runs, training, registry"),
    Kind(
        "litellm",
        "governance",
        LitellmSource,
        PAGE,
        "LiteLLM proxy: guardrails and spend, by its metrics page",
        LITELLM,
    ),
    Kind("nemo", "governance", NemoSource, PAGE, "NeMo Guardrails, by its Prometheus exporter", NEMO),
    Kind(
        "nemo-trace",
        "governance",
        NemoTraceSource,
        "collectors.nemo.trace_file:build",
        "NeMo Guardrails by rail, from the file of its tracing",
    ),
    Kind(
        "prometheus",
        "tracing",
        PrometheusSource,
        "collectors.prometheus.targets:build",
        "Prometheus: all of these pages that it scrapes, and their last two hours",
    ),
    Kind("langfuse", "tracing", LangfuseSource, "collectors.langfuse.collector:build", "Langfuse calls, v2 API or v1"),
)


@dataclass(frozen=True, slots=True)
class CollectorContext:
    """What collectors are built with: one clock, one HTTP client for all, and the salt of the pseudonyms.

    Without ``pseudonyms`` tenants and sessions are shown and recorded by their names.
    """

    clock: Clock
    client: "httpx.AsyncClient"
    salt: bytes
    node: str
    pseudonyms: bool = True


def build(config: AnySource, tools: CollectorContext) -> Collector:
    """Return the collector that a configured source asks for.

    Raises:
        ConfigError: a secret that it needs is not to be found.
    """
    kind = kind_of(config)
    maker: Callable[[Any, CollectorContext], Collector] = import_object(kind.build)
    return maker(config, tools)


def kind_of(config: AnySource) -> Kind:
    """Return the kind of a configured source."""
    return next(kind for kind in KINDS if kind.config is type(config))


def page_matcher(kind: Kind) -> Callable[[bytes], bool] | None:
    """Return what tells a kind's metrics page from others; None for a kind that has none of its own."""
    if kind.local is None:
        return None
    own = kind.local.fingerprint
    known: Callable[[bytes], bool] = (
        import_object(own) if own else import_object("collectors.openmetrics.build:page_matcher")(kind.layer, kind.name)
    )
    return known


def import_object(place: str) -> Any:  # noqa: ANN401 - whatever the registry's line says stands there
    """Return what ``MODULE:NAME`` stands for."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def source_name(kind: str, url: str) -> str:
    """Return a short name for a server without one: the kind and port on this machine, else host and port."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{kind}-{port}" if host in ("127.0.0.1", "localhost", "::1") else f"{host}:{port}"


def source_of(config: AnySource, *, deadline_s: float = 5.0, most_busy: float = 0.01) -> Source:
    """Return the `Source` of a configured source, with its kind's layer and its own name and pace."""
    kind = kind_of(config)
    url = getattr(config, "url", "")
    name = config.name or source_name(kind.name, url)
    return Source(name, kind.name, kind.layer, config.interval, deadline_s, _without_login(url), most_busy)


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
