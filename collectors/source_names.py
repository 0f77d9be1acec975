"""What sources are called, and how two that would have one name are told apart.

A name holds no path while no other source has it. Sources of one name get the shortest part of their addresses that
differs, behind an ``@``: ``vllm-8000@a`` and ``vllm-8000@b`` behind one gateway. There is no ``/`` in it: that parts
an engine's name from its rank.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from aistack_top.text.sanitize import sanitize

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

RESERVED = frozenset({"nvml", "host", "cloud", "links", "prices", "discovery", "clock"})
"""Names of what is read without being configured; a source of another kind cannot have them."""

NAME_LENGTH = 120

WEAK = frozenset({"scheme", "kind"})
"""Parts that tell two sources apart only where nothing else does."""

AnySource = TypeVar("AnySource", bound=msgspec.Struct)


def source_name(kind: str, url: str) -> str:
    """Return a short name for a server without one: the kind and port on this machine, else host and port."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    return f"{kind}-{_port(url)}" if host in LOOPBACK else f"{host}:{_port(url)}"


def name_of(source: msgspec.Struct) -> str:
    """Return the name of a configured source: its own, else that of its address."""
    return str(getattr(source, "name", "")) or source_name(_kind(source), str(getattr(source, "url", "")))


def with_unique_names(sources: Sequence[AnySource]) -> list[AnySource]:
    """Return sources of which no two have one name; those whose name is theirs alone are unchanged.

    Sources of one kind, name and address cannot be told apart, see `duplicates`; they are numbered.
    """
    names = [name_of(source) for source in sources]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[name].append(index)
    taken = set(groups)
    found = list(sources)
    for name, members in groups.items():
        is_taken = name in RESERVED and any(_kind(sources[index]) != name for index in members)
        if len(members) == 1 and not is_taken:
            continue
        own = [index for index in members if is_taken and _kind(sources[index]) == name][:1]
        others = [index for index in members if index not in own]
        told = qualifiers([_parts(sources[index]) for index in others], needed=is_taken)
        for index, qualifier in zip(others, told, strict=True):
            if qualifier or is_taken:
                new = _free(qualified(name, qualifier) if qualifier else name, taken)
                found[index] = msgspec.structs.replace(sources[index], name=new)
    return found


def duplicates(sources: Sequence[msgspec.Struct]) -> list[tuple[int, int]]:
    """Return the places of sources that have kind, name and address of an earlier one, each with that one's place."""
    first: dict[Hashable, int] = {}
    found = []
    for index, source in enumerate(sources):
        key = (_kind(source), name_of(source), *_parts(source).items())
        if first.setdefault(key, index) != index:
            found.append((index, first[key]))
    return found


def repeated(urls: Iterable[str]) -> dict[str, str]:
    """Return the addresses that are another spelling of an earlier one, each with that one."""
    first: dict[Hashable, str] = {}
    found = {}
    for url in urls:
        key = (*_address(url).items(), _port(url))
        known = first.setdefault(key, url)
        if known != url:
            found[url] = known
    return found


def qualified(name: str, qualifier: str) -> str:
    """Return a name with what tells it from others of the same name."""
    return sanitize(f"{name}@{qualifier.replace('/', '-')}", NAME_LENGTH)


def qualifiers(things: Sequence[Mapping[str, str]], *, needed: bool = False) -> list[str]:
    """Return the shortest text for each thing that tells it from the others, out of its parts.

    At most one is empty, and none where they are ``needed``. Things with the same parts are numbered from the second.
    """
    keys = list(dict.fromkeys(key for one in things for key in one))
    differing = [key for key in keys if len({one.get(key, "") for one in things}) > 1]
    for these in ([key for key in keys if key not in WEAK], keys):
        columns = [[one.get(key, "") for one in things] for key in these if needed or key in differing]
        alone = [row for row in columns if _tell_apart(row) and not (needed and "" in row)]
        if alone:
            return min(alone, key=lambda row: sum(map(len, row)))
        texts = [":".join(one[key] for key in these if key in differing and one.get(key)) for one in things]
        if _tell_apart(texts) and not (needed and "" in texts):
            return texts
    return _numbered(texts)


def _tell_apart(row: Sequence[str]) -> bool:
    return len(set(row)) == len(row)


def _numbered(texts: Sequence[str]) -> list[str]:
    seen: dict[str, int] = defaultdict(int)
    found = []
    for text in texts:
        seen[text] += 1
        found.append(text if seen[text] == 1 else f"{text}:{seen[text]}".lstrip(":"))
    return found


def _free(name: str, taken: set[str]) -> str:
    """Return a name that nobody has, and take it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}:{number}"
    taken.add(free)
    return free


def _kind(source: msgspec.Struct) -> str:
    tag: Any = type(source).__struct_config__.tag
    return str(tag)


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _parts(source: msgspec.Struct) -> dict[str, str]:
    """Return what may tell a source from others: the parts of its address, its tenant, and at last its kind."""
    url = str(getattr(source, "url", ""))
    found = _address(url) if url else {"path": str(getattr(source, "path", ""))}
    return {**found, "tenant": str(getattr(source, "tenant", "")), "kind": _kind(source) if any(found.values()) else ""}


def _address(url: str) -> dict[str, str]:
    """Return the parts of an address that say which server it is; all spellings of 127.0.0.1 are one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", str(parts.port or "")
    except ValueError:
        return {"host": url}
    host = "127.0.0.1" if host == "localhost" else host
    path = parts.path.rstrip("/").removesuffix("/metrics").strip("/")
    steps = {f"step {number}": step for number, step in enumerate(path.split("/")) if step}
    return {"port": port, "host": host, **steps, "query": parts.query, "scheme": parts.scheme}
