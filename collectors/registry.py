"""Every kind of system that can be read.

| kinds | written down in |
|---|---|
| read from one metrics page | their table, bundled or the user's own: `collectors.source_tables` |
| read by code | a line of `CODED` here, and a struct in `collectors.config` |
| of other packages | their entry point: `collectors.plugins` |

The modules behind the lines are imported only when a source of their kind is built: the command line starts
without an HTTP client.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.signals import LAYERS
from aistack_top.user_files import reads_user_files
from collectors import config, plugins
from collectors.kind import Kind as Kind
from collectors.kind import kind_name
from collectors.runtime.addresses import without_login
from collectors.runtime.base import Collector, Source
from collectors.source_names import name_of
from collectors.source_names import source_name as source_name
from collectors.source_tables import TableFile, bundled

if TYPE_CHECKING:
    import httpx

    from collectors.openmetrics.table import Table


PAGE = "collectors.openmetrics.build:build"
"""Builds the collector of a kind that needs no module: its table says everything."""


CODED: tuple[Kind, ...] = (
    Kind(
        "compute",
        config.NvmlSource,
        "collectors.nvml.collector:build",
        "NVIDIA GPUs of this node, by NVML",
        title="GPUs",
        needs="libnvidia-ml.so.1, /dev/nvidiactl and /dev/nvidia*",
        sends="nothing",
        fills={"compute": ("an NVIDIA driver (NVML) on this node", "NVML")},
        fixes={
            "down": "install the NVIDIA driver; in a container, start it with --gpus all",
            "unauthorized": "add this user to the group that owns /dev/nvidia*",
            "misconfigured": "pip install nvidia-ml-py",
        },
    ),
    Kind(
        "compute",
        config.HostSource,
        "collectors.host.collector:build",
        "CPU, memory, disks, network of this node",
        title="host",
        needs="read access to /proc and /sys",
        sends="nothing",
        fills={},
    ),
    Kind(
        "compute",
        config.KernelLogSource,
        "collectors.kernel_log.collector:build",
        "lines of the kernel's log, and of log files, by pattern: XID, out of memory, NCCL, Fabric Manager",
        title="kernel log",
        needs="one of: /dev/kmsg (with kernel.dmesg_restrict = 0), a readable /var/log/kern.log, syslog or messages, "
        "the journal (group systemd-journal or adm)",
        sends="nothing; a line's text is recorded only with texts = true",
        fills={},
        fixes={
            "unauthorized": "join the group adm or systemd-journal, or set kernel.dmesg_restrict = 0",
            "slow": "see that the file system of the named files answers",
        },
    ),
    Kind(
        "compute",
        config.CloudSource,
        "collectors.cloud.collector:build",
        "AWS, GCP, Azure: spot interruption and maintenance notices",
        title="termination notices",
        needs="metadata of AWS, GCP or Azure at 169.254.169.254, where the firmware or a [[source]] names the cloud",
        sends="GET to that address; to AWS, if it requires a session token, a PUT without a body for one",
        fills={},
        fixes={
            "slow": "check that 169.254.169.254 is reachable from here; in a container, run the console on the host",
            "unauthorized": "on AWS, allow metadata and raise HttpPutResponseHopLimit to 2 for containers",
            "misconfigured": "set provider (and url, if another server is in front of it) in its [[source]]",
        },
    ),
    Kind(
        "pipelines",
        config.MlflowSource,
        "collectors.mlflow.collector:build",
        "MLflow: runs, training, registry",
        title="MLflow",
        needs="the address of a tracking server (url, or MLFLOW_TRACKING_URI), and its token or password, if any",
        sends="POST searches for experiments and runs and GET of the registered models to that address, "
        "with the token, or username and password, if set",
        fills={"training": ("a run in MLflow", "MLflow"), "pipelines": ("MLflow",)},
        fixes={
            "unauthorized": "set token, or username and password, in its [[source]]",
            "misconfigured": "set MLFLOW_TRACKING_URI, or url = in the configuration, to the MLflow server's address",
        },
    ),
    Kind(
        "tracing",
        config.PrometheusSource,
        "collectors.prometheus.targets:build",
        "Prometheus: every supported target it scrapes, with the last two hours",
        title="Prometheus",
        needs="the address of a Prometheus server (url, --prometheus or PROMETHEUS_URL), "
        "and its token or password if required",
        sends="GET of queries to that address, with the token, or username and password, if set",
        fills={},
        fixes={"unauthorized": "set token, or username and password, in its [[source]]"},
    ),
    Kind(
        "tracing",
        config.LangfuseSource,
        "collectors.langfuse.collector:build",
        "Langfuse calls, v2 API or v1",
        title="Langfuse",
        needs="the keys of a Langfuse project (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, or a [[source]])",
        sends="GET with these keys to the Langfuse address; the text of a call only on request",
        fills={
            "tracing": ("Langfuse (LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY)", "Langfuse"),
            "governance": ("Langfuse GUARDRAIL spans", "guardrail spans", "guardrails"),
        },
        fixes={
            "unauthorized": "set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY of this project, and its address",
            "misconfigured": "set LANGFUSE_BASE_URL, or url = in the configuration, to the Langfuse address",
        },
    ),
    Kind(
        "governance",
        config.NemoTraceSource,
        "collectors.nemo.trace_file:build",
        "NeMo Guardrails by rail, from its trace file",
        title="NeMo Guardrails traces",
        needs="read access to the file given as path",
        sends="nothing",
        fills={},
    ),
)
"""The kinds that are read by code."""


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


@cache
def bundled_kinds() -> tuple[Kind, ...]:
    """Return the kinds that come with the program, by layer; in a layer those with code come first."""
    return _by_layer((*CODED, *(_of_table(one) for one in bundled())))


@reads_user_files
def kinds() -> tuple[Kind, ...]:
    """Return the kinds of the program and of the user's tables, by layer. Plug-ins are not among them."""
    own = tuple(_of_table(one) for one in config.own_tables()[0])
    return _by_layer((*bundled_kinds(), *own)) if own else bundled_kinds()


def kind(name: str) -> Kind:
    """Return a kind by its name, a plug-in's too if it has been configured.

    Raises:
        KeyError: there is none.

    """
    for one in (*kinds(), *plugins.loaded()):
        if one.name == name:
            return one
    raise KeyError(name)


def findable() -> Iterator[Kind]:
    """Yield the kinds that are found on a node, the user's own first: they may know a page better than ours."""
    yield from sorted((one for one in kinds() if one.local), key=lambda one: not one.own)


def page_kind(text: str, build: str = PAGE, adder: str = "") -> Kind:
    """Return the kind that a table's text describes, for a plug-in that brings its table along.

    Raises:
        StrictError: there is a mistake in it.

    """
    from collectors.source_tables import Text, checked

    return _of_table(checked(Text(text), own=False), build, adder)


def build(source: msgspec.Struct, tools: CollectorContext) -> Collector:
    """Return the collector that a configured source asks for.

    Raises:
        ConfigError: a secret that it needs is not to be found.
    """
    maker: Callable[[Any, CollectorContext], Collector] = import_object(kind_of(source).build)
    return maker(source, tools)


def kind_of(source: msgspec.Struct) -> Kind:
    """Return the kind of a configured source."""
    return kind(kind_name(source))


def page_matcher(one: Kind) -> Callable[[bytes], bool] | None:
    """Return what tells a kind's metrics page from others; None for a kind that has none of its own."""
    if one.local is None or one.table is None:
        return None
    known: Callable[[bytes], bool] = import_object("collectors.openmetrics.build:page_matcher")(one.table)
    return known


def table_of(one: Kind) -> "Table | None":
    """Return the table by which a kind's pages are read; None for a kind without pages."""
    if one.table is None:
        return None
    found: Table = import_object("collectors.openmetrics.build:table_of")(one.table)
    return found


def import_object(place: str) -> Any:  # noqa: ANN401 - whatever the registry's line says stands there
    """Return what ``MODULE:NAME`` stands for."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def source_of(source: msgspec.Struct, *, deadline_s: float = 5.0, most_busy: float = 0.01) -> Source:
    """Return the `Source` of a configured source, with its kind's layer and its own name and pace."""
    kind = kind_of(source)
    fields: Any = source  # every struct of a kind has an interval, a plug-in's too: see `Kind.config`
    url = getattr(source, "url", "")
    return Source(name_of(source), kind.name, kind.layer, fields.interval, deadline_s, without_login(url), most_busy)


def _of_table(one: TableFile, build: str = PAGE, adder: str = "") -> Kind:
    known, head = one.known, one.known.source
    return Kind(
        head.layer,
        config.type_of(one),
        head.build or build,
        head.reads,
        known.title,
        head.needs,
        head.sends,
        head.local,
        head.adder or adder,
        head.fixes,
        head.fills,
        one,
    )


def _by_layer(found: tuple[Kind, ...]) -> tuple[Kind, ...]:
    return tuple(sorted(found, key=lambda one: LAYERS.index(one.layer)))
