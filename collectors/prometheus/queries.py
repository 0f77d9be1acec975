"""A table as PromQL: which series of which targets.

The series are asked for raw, and not as ``rate()`` or ``histogram_quantile()``: the engine that reads a page then
reads them too, with the same aliases, filters, windows and restarts, so that both ways give the same numbers.
"""

from collections.abc import Iterable
from math import ceil

from aistack_top.user_files import reads_user_files
from collectors.openmetrics.identity import starts_of
from collectors.openmetrics.table import Table
from collectors.registry import Kind, kinds, table_of

UP = "up"
"""Prometheus's own series about a target: 1 when its page could be read, else 0."""

_SPECIAL = frozenset("\\.+*?()|[]{}^$")


@reads_user_files
def readable() -> tuple[tuple[Kind, Table], ...]:
    """Return the kinds whose page a table describes, each with its table."""
    found = []
    for kind in kinds():
        one = table_of(kind)
        if one is not None and any(own_names(one)):
            found.append((kind, one))
    return tuple(found)


def own_names(read: Table) -> tuple[str, ...]:
    """Return the names that only this kind of server has: all but those that any process may have, and no buckets."""
    names = {name for row in read.metric if row.type != "histogram" for name in row.raw_names()}
    names |= {name for row in read.fact for name in row.names}
    return tuple(sorted(name for name in names if name.startswith(starts_of(read.identity))))


def whose(
    read: Table, labels: Iterable[str], pair: tuple[str, str] | None = None, *, back_s: float | None = None
) -> str:
    """Return the query for the targets of a kind by some labels, of one job and instance or of all.

    With ``back_s`` also those that were there within so many seconds and have gone.
    """
    more = f",{_one_of('job', pair[:1])},{_one_of('instance', pair[1:])}" if pair else ""

    def count(names: Iterable[str]) -> str:
        selector = f"{{{_names(names, read.prefixes)}{more}}}"
        told = selector if back_s is None else f"last_over_time({selector}[{max(ceil(back_s), 1)}s])"
        return f"count by ({', '.join(labels)}) ({told})"

    starts = tuple(one for one in read.identity if isinstance(one, str))
    single = [name for name in own_names(read) if name.startswith(starts)]
    ways = [count(single)] if single else []
    ways += [" and ".join(count([name]) for name in one) for one in read.identity if not isinstance(one, str)]
    return " or ".join(ways)


def scraped_jobs(jobs: Iterable[str]) -> str:
    """Return the selector of what the server says of its own reading of all targets of some jobs."""
    return f'{{__name__="{UP}",{_one_of("job", jobs)}}}'


def up_of(target: tuple[str, str]) -> str:
    """Return the selector of what the server says of its own reading of a job's instance."""
    return f'{{__name__="{UP}",{_one_of("job", target[:1])},{_one_of("instance", target[1:])}}}'


def series_of(read: Table, targets: Iterable[tuple[str, str]]) -> str:
    """Return the selector of everything that is read of some targets, each a job and an instance."""
    jobs, instances = (sorted(set(column)) for column in zip(*targets, strict=True))
    # a page is checked again for what it is known by, so that this has to be there
    listed = {name for one in read.identity if not isinstance(one, str) for name in one}
    names = _names(sorted({UP, *listed, *(name.decode() for name in read.wanted())}), read.prefixes)
    return f"{{{names},{_one_of('job', jobs)},{_one_of('instance', instances)}}}"


def _names(names: Iterable[str], prefixes: Iterable[str] = ()) -> str:
    """Return a matcher for names; the three of a histogram are written as one, and so are those with a prefix."""
    listed = set(names)
    whole = {name.removesuffix("_bucket") for name in listed if name.endswith("_bucket")}
    parts = {f"{name}_{part}" for name in whole for part in ("bucket", "count", "sum")}
    shown = [*sorted(listed - parts), *(f"{name}_(?:bucket|count|sum)" for name in sorted(whole))]
    told = "|".join(shown)
    before = "|".join(map(_quoted, prefixes))
    return f'__name__=~"(?:{before})?(?:{told})"' if before else f'__name__=~"{told}"'


def _one_of(label: str, values: Iterable[str]) -> str:
    return f'{label}=~"{"|".join(map(_quoted, values))}"'


def _quoted(text: str) -> str:
    """Return a label's value as a regular expression for itself, within a quoted string."""
    escaped = "".join(f"\\{char}" if char in _SPECIAL else char for char in text)
    return escaped.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
