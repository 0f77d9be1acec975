"""Which kind of server a metrics page is from, and the prefix that its operator has put before its names."""

import re
from functools import lru_cache

from collectors.openmetrics.table import Table
from collectors.source_head import Identity


def identified(body: bytes, table: Table) -> bool:
    """Whether a page holds what a table's source is known by."""
    return has_one(body, table.identity)


def recognised(body: bytes, table: Table) -> bool:
    """Whether a page found on this node is from a table's kind of server and no other that repeats its names."""
    local = table.source.local if table.source else None
    body = without_prefix(body, table)
    if local is None:
        return identified(body, table)
    if not has_one(body, local.names or table.identity) or any(_stands(body, name) for name in local.without):
        return False
    return not (local.without_labels and _labelled(starts_of(table.identity), local.without_labels).search(body))


def has_one(body: bytes, identity: Identity) -> bool:
    """Whether one of the names stands on a page, or all names of one of the lists."""
    return any(
        _begins(body, one) if isinstance(one, str) else bool(one) and all(_stands(body, name) for name in one)
        for one in identity
    )


def starts_of(identity: Identity) -> tuple[str, ...]:
    """Return every beginning of a name that an identity holds, by itself or in a list."""
    return tuple(name for one in identity for name in ([one] if isinstance(one, str) else one))


def without_prefix(body: bytes, table: Table) -> bytes:
    """Return a page without the prefix before its names, if it has one of those that the table knows."""
    if not table.prefixes or identified(body, table):
        return body
    for prefix in table.prefixes:
        bare = _prefixed(prefix).sub(rb"\1", body)
        if identified(bare, table):
            return bare
    return body


def bare_name(name: str, prefixes: tuple[str, ...]) -> str:
    """Return a name of a series without the prefix before it."""
    return next((name.removeprefix(one) for one in prefixes if name.startswith(one)), name)


def _begins(body: bytes, start: str) -> bool:
    prefix = start.encode()
    return body.startswith(prefix) or b"\n" + prefix in body or b"# TYPE " + prefix in body


def _stands(body: bytes, name: str) -> bool:
    return _whole(name).search(body) is not None


@lru_cache(maxsize=256)
def _whole(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"^(?:# TYPE )?" + re.escape(name.encode()) + rb"[ {]", re.MULTILINE)


@lru_cache(maxsize=64)
def _prefixed(prefix: str) -> re.Pattern[bytes]:
    return re.compile(rb"^(# (?:HELP|TYPE|UNIT) )?" + re.escape(prefix.encode()), re.MULTILINE)


@lru_cache(maxsize=64)
def _labelled(starts: tuple[str, ...], labels: tuple[str, ...]) -> re.Pattern[bytes]:
    names = b"|".join(re.escape(one.encode()) for one in starts)
    keys = b"|".join(re.escape(one.encode()) for one in labels)
    return re.compile(rb"^(?:" + names + rb")[\w:]*\{[^}\n]*\b(?:" + keys + rb')="', re.MULTILINE)
