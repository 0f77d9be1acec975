"""A culprit whose own columns do not move, told from the latencies of those who call it.

A service that hangs behind its own metrics is seen by its callers only: all of them are slow, and nothing else that
they call, and none of their own resources, explains it. Who calls whom comes from a file, or from columns that name
both ends (``cart->redis_latency``).
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from aistack_top.rank.table import MetricsTableError
from aistack_top.text.sanitize import sanitize

Graph = Mapping[str, Collection[str]]
"""By caller, whom it calls."""

MAX_GRAPH_BYTES = 4_000_000

QUIET = 0.4
"""A service whose columns all score under this part of its callers' latencies does not show its own trouble."""

EXPLAINED = 0.4
"""A caller with another callee, or a resource of its own, that scores this part of its latency is explained by it."""

FIRST = 0.02
"""An inferred service stands so much before all that it slows down, for each caller that it explains."""

_LATENCY = re.compile(r"lat|duration|response|elapsed|(?<![a-z])rt(?![a-z])|(?<![a-z0-9])p\d\d", re.IGNORECASE)
_EDGE = re.compile(r"^(.+?)(?:->|→|_to_|=>)(.+?)(?=[_:./ -](?:lat|dur|resp|p\d\d|err|rate|count)|$)", re.IGNORECASE)


def read_graph(path: Path) -> dict[str, set[str]]:
    """Read who calls whom: JSON ``{"caller": ["callee"]}``, or CSV with two columns, caller and callee.

    Raises:
        TableError: it cannot be read, or is neither.

    """
    try:
        if path.stat().st_size > MAX_GRAPH_BYTES:
            raise MetricsTableError(
                f"{sanitize(str(path))} is larger than {MAX_GRAPH_BYTES // 10**6} MB; that is no service graph"
            )
        text = path.read_text(encoding="utf-8-sig")
        pairs = _pairs(text)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, csv.Error) as error:
        if isinstance(error, MetricsTableError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no JSON object and no CSV"
        raise MetricsTableError(f"cannot read {sanitize(str(path))} as a service graph: {sanitize(reason)}") from None
    found: defaultdict[str, set[str]] = defaultdict(set)
    for caller, callee in pairs:
        if caller and callee and caller != callee:
            found[caller].add(callee)
    if not found:
        raise MetricsTableError(f"{sanitize(str(path))} names no caller with a callee")
    return dict(found)


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.lstrip().startswith("{"):
        told = json.loads(text)
        return [(str(caller), str(callee)) for caller, of in told.items() if isinstance(of, list) for callee in of]
    rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 2]
    pairs = [(row[0].strip(), row[1].strip()) for row in rows]
    return [
        pair for pair in pairs if [part.casefold() for part in pair] not in (["caller", "callee"], ["source", "target"])
    ]


def graph_in(names: Sequence[str]) -> dict[str, set[str]]:
    """Return who calls whom by the columns that name both ends; empty where none does."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        edge = _EDGE.match(name)
        if edge and edge[1] != edge[2]:
            found[edge[1]].add(edge[2])
    return dict(found)


def inferred(scores: Mapping[str, float], graph: Graph) -> dict[str, float]:
    """Return the new score of one column of each service that only its callers show; nothing for all others.

    ``scores``: what each column has by itself.
    """
    owners = _owners(scores, graph)
    callers: defaultdict[str, set[str]] = defaultdict(set)
    for caller, callees in graph.items():
        for callee in callees:
            callers[callee].add(caller)
    latency = {who: max((scores[c] for c in of if _LATENCY.search(c)), default=None) for who, of in owners.items()}
    resource = {who: max((scores[c] for c in of if not _LATENCY.search(c)), default=0.0) for who, of in owners.items()}
    whole = {who: max((scores[c] for c in of), default=0.0) for who, of in owners.items()}
    found: dict[str, float] = {}
    for service, of in owners.items():
        told = {who: slow for who in callers[service] if (slow := latency.get(who)) is not None}
        if not told or not of:
            continue
        mean = fmean(told.values())
        if whole[service] >= QUIET * mean:
            continue
        unexplained = [
            slow
            for who, slow in told.items()
            if resource[who] < EXPLAINED * slow
            and all(whole.get(other, 0.0) < EXPLAINED * slow for other in graph[who] if other not in (service, who))
        ]
        if len(unexplained) == len(told):
            column = max(of, key=lambda name: (bool(_LATENCY.search(name)), scores[name]))
            slowed = max(latency.get(who) or 0.0 for who in _upstream(service, callers))
            found[column] = slowed * (1 + FIRST * len(told))
    return found


def _upstream(service: str, callers: Mapping[str, Collection[str]]) -> set[str]:
    """Return all who call a service, directly or through others."""
    found: set[str] = set()
    waiting = [service]
    while waiting:
        fresh = set(callers.get(waiting.pop(), ())) - found
        found |= fresh
        waiting += fresh
    return found


def _owners(scores: Mapping[str, float], graph: Graph) -> dict[str, list[str]]:
    """Return the columns of each service; a column belongs to the longest name of a service that it begins with."""
    names = sorted({*graph, *(callee for of in graph.values() for callee in of)}, key=len, reverse=True)
    owners: dict[str, list[str]] = {name: [] for name in names}
    for column in scores:
        for name in names:
            if column.startswith(name) and not column[len(name) : len(name) + 1].isalnum() and not _EDGE.match(column):
                owners[name].append(column)
                break
    return owners
