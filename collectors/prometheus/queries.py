"""A table as PromQL: which series of which targets.

The series are asked for raw, and not as ``rate()`` or ``histogram_quantile()``: the engine that reads a page then
reads them too, with the same aliases, filters, windows and restarts, so that both ways give the same numbers.
"""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from math import ceil

from collectors.openmetrics.build import table
from collectors.openmetrics.table import Table
from collectors.registry import KINDS, Kind

UP = "up"
"""Prometheus's own series about a target: 1 when its page could be read, else 0."""

_SPECIAL = frozenset("\\.+*?()|[]{}^$")


@cache
def readable() -> tuple[tuple[Kind, Table], ...]:
    """Return the kinds whose page a table describes, each with its table."""
    found = []
    for kind in KINDS:
        if files("collectors.tables").joinpath(f"{kind.name}.toml").is_file():
            one = table(kind.layer, kind.name)
            if any(own_names(one)):
                found.append((kind, one))
    return tuple(found)


def own_names(read: Table) -> tuple[str, ...]:
    """Return the names that only this kind of server has: all but those that any process may have, and no buckets."""
    names = {name for row in read.metric if row.type != "histogram" for name in row.raw_names()}
    names |= {name for row in read.fact for name in row.names}
    return tuple(sorted(name for name in names if name.startswith(read.identity)))


def whose(
    read: Table, labels: Iterable[str], pair: tuple[str, str] | None = None, *, back_s: float | None = None
) -> str:
    """Return the query for the targets of a kind by some labels, of one job and instance or of all.

    With ``back_s`` also those that were there within so many seconds and have gone.
    """
    more = f",{_one_of('job', pair[:1])},{_one_of('instance', pair[1:])}" if pair else ""
    return _count(f"{{{_names(own_names(read))}{more}}}", labels, back_s)


def _count(selector: str, labels: Iterable[str], back_s: float | None) -> str:
    told = selector if back_s is None else f"last_over_time({selector}[{max(ceil(back_s), 1)}s])"
    return f"count by ({', '.join(labels)}) ({told})"


def scraped_jobs(jobs: Iterable[str]) -> str:
    """Return the selector of what the server says of its own reading of all targets of some jobs."""
    return f'{{__name__="{UP}",{_one_of("job", jobs)}}}'


def up_of(target: tuple[str, str]) -> str:
    """Return the selector of what the server says of its own reading of a job's instance."""
    return f'{{__name__="{UP}",{_one_of("job", target[:1])},{_one_of("instance", target[1:])}}}'


def series_of(read: Table, targets: Iterable[tuple[str, str]]) -> str:
    """Return the selector of everything that is read of some targets, each a job and an instance."""
    jobs, instances = (sorted(set(column)) for column in zip(*targets, strict=True))
    names = _names(sorted({UP, *(name.decode() for name in read.wanted())}))
    return f"{{{names},{_one_of('job', jobs)},{_one_of('instance', instances)}}}"


def _names(names: Iterable[str]) -> str:
    """Return a matcher for names; the three of a histogram are written as one."""
    listed = set(names)
    whole = {name.removesuffix("_bucket") for name in listed if name.endswith("_bucket")}
    parts = {f"{name}_{part}" for name in whole for part in ("bucket", "count", "sum")}
    shown = [*sorted(listed - parts), *(f"{name}_(?:bucket|count|sum)" for name in sorted(whole))]
    return f'__name__=~"{"|".join(shown)}"'


def _one_of(label: str, values: Iterable[str]) -> str:
    return f'{label}=~"{"|".join(map(_quoted, values))}"'


def _quoted(text: str) -> str:
    """Return a label's value as a regular expression for itself, within a quoted string."""
    escaped = "".join(f"\\{char}" if char in _SPECIAL else char for char in text)
    return escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
