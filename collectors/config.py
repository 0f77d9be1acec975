"""The configuration file: TOML, strict, and every problem in it said at once.

| table | what it sets |
|---|---|
| ``[console]`` | node name, layout, low bandwidth, pseudonyms, discovery |
| ``[recording]`` | the ring of the last hours: on or off, hours, megabytes |
| ``[spend]`` | what this node costs; nothing set is "$/h not set" |
| ``[[source]]`` | one system to read; ``kind`` decides which further keys there are |

Kinds with code of their own have a struct here. The keys of all others are those of `PageSource`, with the defaults
that the kind's table says.

Secrets are never written here: a key that holds one takes ``{ env = "NAME" }`` or ``{ file = "PATH" }``.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Union, get_args

import msgspec

from aistack_top.user_files import reads_user_files
from collectors import plugins
from collectors.kind import kind_name
from collectors.prices.settings import SpendSettings
from collectors.source_names import duplicates, name_of, with_unique_names
from collectors.source_tables import TableFile, bundled, of_user

Positive = Annotated[float, msgspec.Meta(gt=0)]


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` are sentences, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is to be found; never the secret itself."""

    env: str = ""
    file: str = ""

    def read(self, what: str) -> str:
        """Return the secret.

        Raises:
            ConfigError: the variable is not set, the file cannot be read, or neither is named.
        """
        if self.env:
            value = os.environ.get(self.env, "")
            if not value:
                raise ConfigError([f"{what}: the environment variable {self.env} is not set"])
            return value
        if self.file:
            try:
                return Path(self.file).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError([f"{what}: cannot read {self.file}: {error}"]) from None
        raise ConfigError([f'{what}: say where it is: {{ env = "NAME" }} or {{ file = "PATH" }}'])


class NvmlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="nvml"):
    """The NVIDIA GPUs of this node, by the driver's own library."""

    name: str = "nvml"
    interval: Positive = 1.0


class HostSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="host"):
    """The machine itself: CPU, memory, disks, network, by the kernel's own files."""

    name: str = "host"
    interval: Positive = 2.0


class KernelLogSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="kernel-log"):
    """The kernel's log, and log files that ``files`` names (an engine's, NCCL's): lines counted by pattern.

    Texts are not kept; with ``texts`` the events of a line carry it, and recordings too.
    """

    files: tuple[str, ...] = ()
    texts: bool = False
    name: str = "kernel-log"
    interval: Positive = 5.0


class CloudSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cloud"):
    """The cloud of this node, by its metadata service: spot interruption and maintenance notices.

    Without ``provider`` the cloud is detected from the machine's firmware. ``url`` replaces the cloud's own address,
    for a proxy or a test; ``timeout`` is per request.
    """

    provider: Literal["", "aws", "gcp", "azure"] = ""
    url: str = ""
    name: str = "cloud"
    interval: Positive = 5.0
    timeout: Positive = 1.0

    def __post_init__(self) -> None:
        """Refuse an address of nobody knows whom."""
        if self.url and not self.provider:
            raise ValueError("url needs a provider; set provider = 'aws', 'gcp' or 'azure'")


class VllmSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="vllm"):
    """A vLLM server, 0.6 to 0.33."""

    url: str
    name: str = ""
    interval: Positive = 2.0
    gpus: tuple[int | str, ...] = ()


class PageSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A server of which everything worth knowing stands on one metrics page; ``token`` is a bearer token.

    It is given up on after ``timeout`` seconds.
    """

    url: str
    name: str = ""
    interval: Positive = 5.0
    timeout: Positive = 5.0
    token: Secret | None = None


class NemoTraceSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="nemo-trace"):
    """The trace file of NeMo Guardrails: the only record of which rail stopped a request."""

    path: str
    name: str = "nemo-trace"
    interval: Positive = 5.0


class MlflowSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mlflow"):
    """An MLflow tracking server: runs and the model registry. Parameters, tags and artifacts are not kept."""

    url: str
    name: str = ""
    interval: Positive = 10.0
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None


class PrometheusSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="prometheus"):
    """A Prometheus server (or a compatible API): every supported server it scrapes.

    ``interval`` is the polling interval, ``timeout`` is per query, ``ca`` is a private certificate authority's file.
    ``tenant`` is sent as X-Scope-OrgID, ``headers`` are sent as well; secrets in them are given as for ``token``.
    ``replica_labels`` distinguish replicas of one scraper, which are read as one.
    """

    url: str
    name: str = "prometheus"
    interval: Positive = 5.0
    timeout: Positive = 10.0
    token: Secret | None = None
    username: str = ""
    password: Secret | None = None
    ca: str = ""
    tenant: str = ""
    headers: dict[str, str | Secret] = {}
    replica_labels: tuple[str, ...] = ("replica", "prometheus_replica", "__replica__")


class LangfuseSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="langfuse"):
    """A Langfuse project: calls with model, version, tokens, cost. Prompts and answers are not fetched."""

    url: str = "https://cloud.langfuse.com"
    public_key: Secret = Secret(env="LANGFUSE_PUBLIC_KEY")
    secret_key: Secret = Secret(env="LANGFUSE_SECRET_KEY")
    name: str = "langfuse"
    interval: Positive = 5.0
    plan: Literal["self-hosted", "pro", "core", "hobby"] = "self-hosted"
    engine_key: str = ""
    environment: str = ""
    tenant_from: Literal["user", "metadata", "tag"] = "user"
    tenant_key: str = ""

    def __post_init__(self) -> None:
        """Refuse a tenant that is to be found nowhere."""
        if self.tenant_from != "user" and not self.tenant_key:
            example = {"metadata": "user_api_key_alias", "tag": "team:"}[self.tenant_from]
            raise ValueError(f"tenant_from = '{self.tenant_from}' needs tenant_key; set tenant_key = '{example}'")
        if self.tenant_from == "user" and self.tenant_key:
            raise ValueError("tenant_key alone has no effect; set tenant_from = 'metadata' or 'tag'")


AnySource = (
    NvmlSource
    | HostSource
    | KernelLogSource
    | CloudSource
    | VllmSource
    | PageSource
    | NemoTraceSource
    | MlflowSource
    | PrometheusSource
    | LangfuseSource
)


CODED: dict[str, type[AnySource]] = {kind_name(one): one for one in get_args(AnySource) if one is not PageSource}
"""The structs of the kinds that have one here, by their names."""


@cache
def page_type(
    kind: str, defaults: tuple[tuple[str, float], ...] = (), *, prefixed: bool = False, about: str = ""
) -> type[PageSource]:
    """Return the struct of a kind that is read from one metrics page, with the defaults of its table.

    ``prefixed`` kinds have the key ``prefix``: what their operator has put before all names of metrics.
    """
    keys: list[tuple[str, object, object]] = [(key, Positive, value) for key, value in defaults]
    if prefixed:
        keys.append(("prefix", str, ""))
    name = "".join(word.capitalize() for word in kind.split("-")) + "Source"
    made: type[PageSource] = msgspec.defstruct(  # type: ignore[assignment]  # it is one, by its base
        name,
        keys,
        bases=(PageSource,),
        frozen=True,
        forbid_unknown_fields=True,
        tag_field="kind",
        tag=kind,
        namespace={"__doc__": about or PageSource.__doc__},
    )
    return made


def type_of(table: TableFile) -> type[AnySource]:
    """Return the struct that configures the kind of a table."""
    head = table.known.source
    coded = None if table.own else CODED.get(head.kind)
    defaults = tuple(head.defaults.items())
    return coded or page_type(head.kind, defaults, prefixed=bool(table.known.prefixes), about=head.about)


@cache
def _bundled_types() -> dict[str, type[AnySource]]:
    return {**CODED, **{one.kind: type_of(one) for one in bundled()}}


def own_tables() -> tuple[tuple[TableFile, ...], list[str]]:
    """Return the user's sound tables, and what is wrong in the others, with file and line."""
    return of_user(frozenset(_bundled_types()))


@reads_user_files
def types() -> dict[str, type[AnySource]]:
    """Return the structs of all kinds by their names, those of the user's tables too; without plug-ins."""
    return _bundled_types() | {one.kind: type_of(one) for one in own_tables()[0]}


def configured(kind: str, **keys: object) -> AnySource:
    """Return the configuration of a source of a kind, as if these keys stood in the file.

    Raises:
        KeyError: there is no such kind.
    """
    make: Callable[..., AnySource] = types()[kind]
    return make(**keys)


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Appearance of the console and the name of this node; ``runbooks`` maps causes to your runbook links.

    ``evidence`` is the folder that the key ``e`` writes to; default: the working folder. ``keys`` rebinds actions, such
    as ``pause = "p"``; ``docs/layouts.md`` lists the action names and the themes.
    """

    node: str = ""
    layout: str = "overview"
    theme: str = ""
    low_bandwidth: bool = False
    pseudonyms: bool = True
    discovery: bool = True
    evidence: str = ""
    keys: dict[str, str] = {}
    runbooks: dict[str, str] = {}


class RecordingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ring of the last hours in the state folder."""

    ring: bool = True
    hours: Positive = 6.0
    megabytes: Positive = 300.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    console: ConsoleSettings = ConsoleSettings()
    recording: RecordingSettings = RecordingSettings()
    spend: SpendSettings = SpendSettings()
    source: tuple[AnySource, ...] = ()


def default_path() -> Path:
    """Return where the configuration is looked for: ``AISTACK_TOP_CONFIG``, or the user's configuration folder."""
    named = os.environ.get("AISTACK_TOP_CONFIG")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_config_dir("aistack-top", appauthor=False)) / "config.toml"


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or says things that are not known; all problems are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    return parse(text, str(path))


def parse(text: str, name: str = "configuration") -> Config:
    """Return the configuration that a text holds; ``name`` stands before each problem. See `load` for errors."""
    config, problems = examine(text, name)
    if problems:
        raise ConfigError(problems)
    return config


def examine(text: str, name: str = "configuration") -> tuple[Config, list[str]]:
    """Return what of a text can be used, and every problem in the rest; ``name`` stands before each problem."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Config(), [f"{name}: not valid TOML: {error}"]
    tables = {"console": ConsoleSettings, "recording": RecordingSettings, "spend": SpendSettings}
    known = (*tables, "source")
    problems = [_unknown(name, text, key, known, 0) for key in raw if key not in known]
    good: dict[str, object] = {}
    for key, kind in tables.items():
        if key in raw and (table := _convert(name, text, raw[key], kind, _table_line(text, key, 0), problems)):
            good[key] = table
    listed = raw.get("source", [])
    if not isinstance(listed, list):
        problems.append(
            f"{name}:{_table_line(text, 'source', 0)}: write [[source]] with two brackets: there can be several"
        )
        listed = []
    sources: list[AnySource] = []
    lines: list[int] = []
    for index, table in enumerate(listed):
        line = _table_line(text, "source", index)
        told = str(table.get("kind")) if isinstance(table, dict) else str(table)
        named, said = _type_named(told)
        if named is not None:
            source = _convert(name, text, table, named, line, problems)
            if source:
                sources.append(source)  # type: ignore[arg-type]  # it was converted to its type
                lines.append(line)
        else:
            problems.append(f"{name}:{line}: {said}")
    for index, first in duplicates(sources):
        both = (
            f"this source and that of line {lines[first]} have the same address and name,  {name_of(sources[index])!r}"
        )
        problems.append(f"{name}:{lines[index]}: {both}; give each a name of its own, or delete one")
    config = Config(**good, source=tuple(with_unique_names(sources)))  # type: ignore[arg-type]  # each value was converted to its type
    return config, problems


def _type_named(kind: str) -> tuple[type | None, str]:
    """Return the struct of a kind, if need be that of a plug-in, which is imported then; else what is wrong with it."""
    if kind in CODED:
        return CODED[kind], ""
    known = types()
    if kind in known:
        return known[kind], ""
    if kind in plugins.names():
        try:
            return plugins.load(kind, known).config, ""
        except plugins.PluginError as error:
            return None, str(error)
    names = [*known, *plugins.names()]
    broken = next((said for said in own_tables()[1] if f"/{kind}.toml:" in said), "")
    near = difflib.get_close_matches(kind, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(names)}"
    hint = f"; its table has an error: {broken}" if broken else hint
    return None, f"no such kind of source: {kind!r}{hint}"


def whole() -> type[msgspec.Struct]:
    """Return the struct of a whole file with every bundled kind in it: `Config`, for schemas and references."""
    any_kind: object = Union[tuple(_bundled_types().values())]  # noqa: UP007 - made at run time
    return msgspec.defstruct(
        "Config",
        [
            ("console", ConsoleSettings, ConsoleSettings()),
            ("recording", RecordingSettings, RecordingSettings()),
            ("spend", SpendSettings, SpendSettings()),
            ("source", tuple[any_kind, ...], ()),  # type: ignore[valid-type]
        ],
        frozen=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": Config.__doc__},
    )


def schema() -> dict[str, object]:
    """Return the JSON Schema of the configuration file, for the kinds that come with the program."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "aistack-top/config/1"}
    return {**head, "title": "aistack-top configuration", **msgspec.json.schema(whole())}


def _convert(name: str, text: str, table: object, kind: type, line: int, problems: list[str]) -> object:
    if not isinstance(table, dict):
        problems.append(f"{name}:{line}: expected a table")
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    known = {**table}
    for key in table:
        if key not in fields and key != "kind":
            problems.append(_unknown(name, text, key, tuple(fields), line))
            del known[key]
    for key, value in known.items():
        if key == "kind":
            continue
        try:
            msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as error:
            said = str(error).replace("`", "'")
            if fields[key].type in (Secret, Secret | None) and isinstance(value, str):
                said = 'do not write a secret here; use { env = "NAME" } or { file = "PATH" }'
            problems.append(f"{name}:{_key_line(text, key, line)}: {key}: {said}")
    for key, field in fields.items():
        if field.required and key not in known:
            problems.append(f"{name}:{line}: {key} is missing")
    if len(problems) > before:
        return None
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:  # each key is right, and together they are not
        problems.append(f"{name}:{line}: {error}")
        return None


def _unknown(name: str, text: str, key: str, known: tuple[str, ...], line: int) -> str:
    near = difflib.get_close_matches(key, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    return f"{name}:{_key_line(text, key, line)}: unknown key {key!r}{hint}"


def _table_line(text: str, table: str, index: int) -> int:
    heads = [n for n, row in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[\[?\s*{re.escape(table)}\s*\]", row)]
    return heads[index] if index < len(heads) else 1


def _key_line(text: str, key: str, after: int) -> int:
    pattern = re.compile(rf"\s*(\[\[?\s*)?[\"']?{re.escape(key)}[\"']?\s*(=|\])")
    for number, row in enumerate(text.splitlines(), 1):
        if number >= after and pattern.match(row):
            return number
    return max(after, 1)
