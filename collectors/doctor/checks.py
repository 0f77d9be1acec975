"""What was looked for, found and missing, with the one-line mend of each: the checks of ``aistack-top doctor``.

A check is *ok*, *missing* (nobody asked for it, and it is not there), or *failed*. The document's form is
``aistack-top/doctor/1``; its JSON Schema is ``docs/schema/doctor.json``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from aistack_top.model.tick import Health
from aistack_top.spend.prices import NOT_SET
from aistack_top.store.facts import Facts
from aistack_top.store.labels import label
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import rfc3339
from collectors.config import AnySource, Config, ConfigError, LangfuseSource, Secret, examine
from collectors.discovery.collector import DiscoveryCollector
from collectors.doctor.permissions import ProbeRoots, capabilities
from collectors.gpu_owners.proof import HIDDEN_PIDS, NO_PIDS
from collectors.prices.collector import SET_IT
from collectors.procfs.cgroup import read_file
from collectors.registry import findable, kind, source_of
from collectors.runtime.base import Source

SCHEMA = "aistack-top/doctor/1"
MAX_TEXT = 400
NVIDIA = b"0x10de"
"""NVIDIA's number among the makers of PCI devices (pci.ids)."""

_EXPECTED = re.compile(r"Expected '(\w+)[^']*'(?: (>=?) ([\d.]+))?")
_WRITTEN = {
    "array": "a list in brackets, such as [0]",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table in braces",
    "str": "text in quotes",
}
"""How the types that msgspec names are written in TOML."""

Outcome = Literal["ok", "missing", "failed"]

OWN_FIXES: Mapping[tuple[str, str], str] = {
    ("prices", "misconfigured"): "fix the [spend] entry named; the other prices still apply",
    ("discovery", "slow"): "add the servers as [[source]], and set discovery = false under [console]",
}
"""Of collectors that are no kind of source, by name and status; those of a kind stand in its table or registry line."""

COMMON: Mapping[str, str] = {
    "down": "start it, or correct its url in the configuration",
    "slow": "check its load: it responds too late",
    "partial": "check what is left out; some of its data could not be read",
    "stale": "check the server: its data does not change",
    "unauthorized": "use an address that requires no token, behind the gateway",
    "misconfigured": "correct its url in the configuration",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; ``mend`` is the line that would put it right, where something is to be done."""

    area: str
    name: str
    outcome: Outcome
    said: str
    mend: str = ""


def configuration(path: Path, *, named: bool) -> tuple[Config, list[Check]]:
    """Return what can be used of a configuration file, and a check for each problem in it.

    A file that nobody ``named`` may be absent.
    """
    try:
        config, problems = examine(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        if not named and isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
            said = f"no file at {path}: using defaults, this node and its environment"
            return Config(), [Check("configuration", "file", "ok", said)]
        why = (isinstance(error, OSError) and error.strerror) or error
        mend = "correct the path, or make the file readable UTF-8"
        return Config(), [Check("configuration", "file", "failed", f"{path} cannot be read: {why}", mend)]
    problems += [problem for source in config.source for problem in unreadable_secrets(source)]
    if not problems:
        said = f"{path}: {len(config.source)} source{'' if len(config.source) == 1 else 's'}"
        return config, [Check("configuration", "file", "ok", said)]
    return config, [_problem(problem) for problem in problems]


def unreadable_secrets(source: AnySource) -> list[str]:
    """Return why secrets of a source cannot be had, one sentence each."""
    problems = []
    for field in msgspec.structs.fields(type(source)):
        value = getattr(source, field.name)
        for secret in value.values() if isinstance(value, dict) else [value]:
            if isinstance(secret, Secret):
                try:
                    secret.read(f"{source_of(source).name}: {field.name}")
                except ConfigError as error:
                    problems += error.problems
    return problems


def _problem(text: str) -> Check:
    said, _, hint = text.partition("; ")
    mend = hint or "see 'aistack-top sources' for the keys of each kind"
    if "environment variable" in said:
        mend = 'export it before the start, or name a file: { file = "PATH" }'
    elif "cannot read" in said:
        mend = "create the file, readable for this user only"
    elif expected := _EXPECTED.search(said):
        mend = f"write {_WRITTEN.get(expected[1], expected[1])}"
        mend += f", {'at least' if expected[2] == '>=' else 'more than'} {float(expected[3]):g}" if expected[2] else ""
    elif "not valid TOML" in said:
        mend = "fix the line named; nothing else in the file could be read"
    return Check("configuration", "file", "failed", said, mend)


def environment(environ: Mapping[str, str]) -> list[Check]:
    """Return what the environment asks for, and what it could."""
    known = [name for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY") if environ.get(name)]
    lacking = [name for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY") if name not in known]
    if not lacking:
        checks = [Check("environment", "LANGFUSE_*", "ok", "both keys are set")]
    else:
        outcome: Outcome = "failed" if known else "missing"
        said = f"{' and '.join(lacking)} not set: no calls from the environment"
        checks = [Check("environment", "LANGFUSE_*", outcome, said, f"export {'=... '.join(lacking)}=...")]
    return checks


def sources(records: Sequence[Health], asked: frozenset[str], sys_root: Path = Path("/sys")) -> list[Check]:
    """Return how each source is. One that nobody ``asked`` for by name and that is not here is missing, not failed."""
    checks = []
    for health in records:
        if health.kind == "prices" and health.reason.startswith(NOT_SET):
            said = f"{NOT_SET}: no dollars are shown for this node"
            checks.append(Check("sources", health.source, "missing", said, SET_IT))
        elif health.status == "ok" or (health.status == "slow" and health.age_s is not None):
            checks.append(Check("sources", health.source, "ok", sanitize(health.reason, MAX_TEXT) or "read"))
        else:
            # a machine may be kept from its cloud's metadata on purpose, as Kubernetes keeps its pods
            absent = health.kind == "cloud" or (health.kind == "nvml" and not has_gpu(sys_root))
            absent = absent and health.source not in asked
            mend = fix(health.kind, health.status)
            said = sanitize(f"{health.status}: {health.reason}", MAX_TEXT)
            checks.append(Check("sources", health.source, "missing" if absent else "failed", said, mend))
    return checks


def fix(name: str, status: str) -> str:
    """Return how to fix a source of a kind that has a status."""
    try:
        own = kind(name).fixes.get(status)
    except KeyError:
        own = OWN_FIXES.get((name, status))
    return own or COMMON[status]


def user_files(problems: Sequence[str], files: int) -> list[Check]:
    """Return a check for each problem in the user's own sources, signals and screens, of which there are ``files``."""
    if not problems:
        said = f"{files} {'file' if files == 1 else 'files'} of your own"
        return [Check("configuration", "own files", "ok", said)] if files else []
    checks = []
    for problem in problems:
        said, _, hint = problem.partition("; ")
        fallback = "fix the line named; until then this part of the file is not used"
        checks.append(Check("configuration", "own files", "failed", said, hint or fallback))
    return checks


def cloud(records: Sequence[Health], named: str) -> list[Check]:
    """Return why no cloud is read, where none is; ``named`` is the one that the firmware names."""
    if any(health.kind == "cloud" for health in records):
        return []
    mend = f'[[source]] kind = "cloud", provider = "{named or "aws"}"'
    if named:
        said = f"{named} is not queried for termination notices: discovery is off"
        return [Check("sources", "cloud", "missing", said, f"add it: {mend}")]
    said = "no cloud detected in this machine's firmware: no termination notices"
    return [Check("sources", "cloud", "missing", said, f"on a cloud machine, add it: {mend}")]


def has_gpu(sys_root: Path) -> bool:
    """Whether a PCI device of this machine was made by NVIDIA."""
    try:
        return any(
            (read_file(one / "vendor") or b"").strip() == NVIDIA for one in (sys_root / "bus/pci/devices").iterdir()
        )
    except OSError:
        return False


def discovered(collector: DiscoveryCollector | None) -> list[Check]:
    """Return what discovery found, and what it found and cannot read."""
    if collector is None:
        return [Check("discovery", "servers", "missing", "switched off", "set discovery = true under [console]")]
    checks = []
    for url, asked in collector.asked.items():
        if asked.collector:
            checks.append(Check("discovery", asked.collector.source.name, "ok", f"{asked.kind} at {url}"))
        elif asked.key:
            mend = "wait until it has loaded, or add its metrics address as [[source]]"
            checks.append(Check("discovery", url, "missing", sanitize(asked.said, MAX_TEXT), mend))
    for one in collector.sight.unreached:
        said, _, mend = one.why.partition(": ")
        mend = mend or "run as that user, or add its address as [[source]]"
        checks.append(Check("discovery", f"{one.kind}, process {one.pid}", "missing", sanitize(said, MAX_TEXT), mend))
    if not any(check.outcome == "ok" for check in checks):
        kinds = ", ".join(sorted(one.name for one in findable()))
        said = f"none found among {collector.sight.processes} processes; looked for: {kinds}"
        mend = 'start one, or add it: [[source]] kind = "vllm", url = "http://HOST:PORT"'
        checks.append(Check("discovery", "servers", "missing", said, mend))
    return checks


def calls_to_engines(asked: Sequence[AnySource], engines: Sequence[str]) -> list[Check]:
    """Return whether calls can be laid beside the engine that answered them, and the metadata key that is lacking."""
    langfuse = [source for source in asked if isinstance(source, LangfuseSource)]
    if not langfuse:
        return []
    lacking = [source.name for source in langfuse if not source.engine_key]
    if not lacking:
        keys = ", ".join(source.engine_key for source in langfuse)
        return [Check("links", "calls to engines", "ok", f"by the metadata key {sanitize(keys, 80)}")]
    names = ", ".join(f'"{sanitize(name, 60)}"' for name in engines) or "the name of the engine's source"
    said = f"{', '.join(lacking)} has no engine_key: calls are shown for the whole service only"
    mend = f'set engine_key = "vllm_instance" there, and metadata.vllm_instance of each call to its engine: {names}'
    return [Check("links", "calls to engines", "missing", said, sanitize(mend, MAX_TEXT))]


def engines_to_gpus(facts: Facts, unknown: Mapping[str, str], engines: Mapping[str, Source]) -> list[Check]:
    """Return which GPUs each engine is proven to work on, and by what; where nothing proves it, why, and what would.

    ``unknown`` holds the reasons, and ``engines`` the sources, both by the engine's name.
    """
    checks = []
    for link in sorted(facts.links(), key=lambda one: (str(one.parent), label(one.child, facts))):
        said = f"{label(link.child, facts)}, by {link.proof}" + (f": {link.detail}" if link.detail else "")
        checks.append(Check("links", f"{link.parent.get('engine')} to GPUs", "ok", sanitize(said, MAX_TEXT)))
    for name, why in sorted(unknown.items()):
        source = engines.get(name)
        where = f'kind = "{source.kind}", url = "{source.address}"' if source else 'url = "http://HOST:PORT"'
        mend = f'add: [[source]] {where}, name = "{name}", gpus = [0]'
        if HIDDEN_PIDS in why or NO_PIDS in why:
            mend += "; or start the console where these processes are visible (in a container: --pid=host)"
        elif "not an address of this node" in why:
            mend = f"nothing, if it runs on another node; else {mend}"
        said = f"engine-GPU link unknown: {why}; GPU evidence counts as possible at most"
        checks.append(Check("links", f"{name} to GPUs", "missing", sanitize(said, MAX_TEXT), sanitize(mend, MAX_TEXT)))
    return checks


def permissions(place: ProbeRoots) -> list[Check]:
    """Return what each capability lacks here."""
    checks = []
    for one in capabilities():
        lacks = one.lacks(place)
        said = lacks or "nothing is missing"
        mend = one.mend if lacks else ""
        checks.append(Check("permissions", one.name, "missing" if lacks else "ok", said, mend))
    return checks


def exit_code(checks: Sequence[Check], records: Sequence[Health], asked: frozenset[str]) -> int:
    """Return 2 for an unusable configuration, 3 when no asked source answers, 1 when a check failed, else 0."""
    if any(check.area == "configuration" and check.outcome == "failed" for check in checks):
        return 2
    said = [health for health in records if health.source in asked]
    if asked and not any(health.status in ("ok", "slow", "partial", "stale") for health in said):
        return 3
    return 1 if any(check.outcome == "failed" for check in checks) else 0


def document(checks: Sequence[Check], code: int, at: float, node: str) -> dict[str, Any]:
    """Return the findings as JSON-ready data."""
    return {
        "schema": SCHEMA,
        "time": rfc3339(at),
        "node": node,
        "exit_code": code,
        "checks": [
            {"area": one.area, "name": one.name, "outcome": one.outcome, "said": one.said, "mend": one.mend or None}
            for one in checks
        ],
        "capabilities": [{"name": one.name, "needs": one.needs, "sends": one.sends} for one in capabilities()],
    }


def text(checks: Sequence[Check], *, permissions: bool) -> str:
    """Return the findings for a person: a line each, and below it what would put it right."""
    lines: list[str] = []
    area = ""
    for one in checks:
        if one.area != area:
            area = one.area
            lines += ["", area] if lines else [area]
        lines.append(f"  {one.outcome:8}{sanitize(one.name, 80)}: {sanitize(one.said, MAX_TEXT)}")
        lines += [f"          fix: {sanitize(one.mend, MAX_TEXT)}"] if one.mend else []
    if permissions:
        lines += ["", "what each source needs and sends; nothing else leaves this machine"]
        for capability in capabilities():
            lines += [f"  {capability.name}", f"    needs: {capability.needs}", f"    sends: {capability.sends}"]
    return "\n".join(lines) + "\n"
