"""The tables that say how a Prometheus text source is read: raw names to signals, labels to entities.

| part of a table | what it says |
|---|---|
| ``title``, ``identity``, ``hint`` | what the source is called, what its page must hold, what to say if it does not |
| ``alive`` | a path that needs no key, asked in the place of the page while that is refused |
| ``prefixes`` | what an operator may have put before all names; they are read without it |
| ``[source]`` | everything else about the kind of source: `collectors.source_head` |
| ``start_time`` | names of the gauge that tells a restart |
| ``sentinel_ranges`` | ranges of values that mean "no value" (DCGM) |
| ``device`` | the label that numbers a device, where counters are the devices' own |
| ``extra_names`` | names that the source's own module reads from the page |
| ``[entity]`` | which labels name whom a series is about |
| ``[[metric]]`` | one signal: its raw names over the versions, type, filter, unit factor |
| ``[[fact]]`` | labels or values that hold until they change |

A table holds no code, so that the same table can be read from a page and, later, written as PromQL.
"""

import re
import tomllib
from typing import Literal

import msgspec

from aistack_top.model.entity import KEYS
from aistack_top.model.signals import signals
from aistack_top.strict_toml import Problem, nearest
from collectors.source_head import Head, Identity

Type = Literal["gauge", "counter", "histogram", "ratio", "names"]
Combine = Literal["one", "sum", "max", "min", "mean", "newest"]
Join = Literal["", "any", "all"]


ZERO_WITH = "{}: 'zero_with' names another row's signal, and only a counter can have it"


class TableError(ValueError):
    """A table cannot be used; the message says which row and why."""


class LabelMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the value of an entity key comes from. In TOML a string is short for ``labels``, split at ``|``.

    ``labels``: the first of them that is there and not empty. ``rank``: likewise, but the value is the source's
    name, with ``/rank`` behind it once there are several. ``constant``: always this. ``own``: the source's name.
    A series without the label is left out, and that is said, unless ``optional``: then it only lacks the key. With
    ``coarse`` it lacks the key too, and that is said.
    """

    labels: tuple[str, ...] = ()
    rank: tuple[str, ...] = ()
    constant: str = ""
    own: bool = False
    optional: bool = False
    coarse: bool = False


Names = dict[str, str | LabelMapping]


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one signal is read.

    ``names`` are the raw names over the versions, without ``_bucket``; the first one present wins. Rows of one
    signal stand in order of preference, for each entity. ``type`` is ours, whatever the page's TYPE says. ``where``
    filters by label, each a regular expression for the whole value.

    ``combine`` says what several series of one entity are, which differ in labels that the table does not name:

    - ``one``: the same value, repeated for each pod, job or MIG instance; where they differ, the largest is taken.
    - ``sum``: parts of a whole. With ``adds_over`` only what differs in these labels adds; the rest is repeated.
    - ``max``, ``min``, ``mean``: values of their own, of which one number is made.
    - ``newest``: of type ``names``, the series with the highest value.

    Other fields:

    - ``ratio``: increase of ``names`` (with ``where``) over that of ``over`` (with ``over_where``).
    - ``names``: number of comma-separated names in ``label`` of the series with the highest value.
    - ``join``: the names are parts and not aliases: within one set of labels, what ``any`` or ``all`` say is added up.
    - ``part_of``: left out where the signal of that name, in a row above, is told to be no value.
    - ``unless_parts``: left out of an entity of which the page tells parts by this key.

    A value below ``least`` or above ``most`` is how the source says "no value"; it is compared once the series are
    combined, and what is left is multiplied by ``factor``. What the signal itself rules out is left out too, and
    that is said. A rate or ratio looks back ``window_s`` seconds. ``whole``: the source cuts the observations of a
    histogram off to whole units of its own, so that what it calls 2 lies between 2 and 3. A counter with labels is
    born at its first count:
    until then a row with ``zero_with`` says none of whomever that signal is told of. ``expected`` is told when
    missing, with ``since`` and ``until``, the versions between which the source has it.
    """

    signal: str
    names: tuple[str, ...]
    combine: Combine
    type: Type = "gauge"
    where: dict[str, str] = {}
    over: tuple[str, ...] = ()
    over_where: dict[str, str] = {}
    label: str = ""
    adds_over: tuple[str, ...] = ()
    part_of: str = ""
    unless_parts: str = ""
    join: Join = ""
    factor: float = 1.0
    least: float | None = None
    most: float | None = None
    window_s: float = 10.0
    whole: bool = False
    zero_with: str = ""
    entity: Names = {}
    expected: bool = False
    since: str = ""
    until: str = ""

    def raw_names(self) -> tuple[str, ...]:
        """Return the names that stand at the beginning of a line."""
        if self.type == "histogram":
            return tuple(name + part for name in self.names for part in ("_bucket", "_count", "_sum"))
        return (*self.names, *self.over)


class FactRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds of an entity until it changes.

    ``labels`` maps a fact's key to the label that holds it; ``time`` names a fact whose value is the sample, in
    seconds since the epoch. The first of ``names`` that the page has is read. Facts in ``summed`` are sums over all
    ranks of a page, repeated for each: they are told of a page with one rank only.
    """

    names: tuple[str, ...]
    labels: dict[str, str] = {}
    summed: tuple[str, ...] = ()
    time: str = ""
    watched: bool = True


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of source is read. The module's table explains the parts."""

    title: str
    identity: Identity
    entity: Names
    metric: tuple[Metric, ...]
    fact: tuple[FactRow, ...] = ()
    start_time: tuple[str, ...] = ("process_start_time_seconds",)
    sentinel_ranges: tuple[tuple[float, float], ...] = ()
    device: str = ""
    extra_names: tuple[str, ...] = ()
    hint: str = ""
    alive: str = ""
    prefixes: tuple[str, ...] = ()
    source: Head | None = None

    def wanted(self) -> frozenset[bytes]:
        """Return the names of the series that are read; all others are passed over."""
        rows = [name for row in self.metric for name in row.raw_names()]
        facts = [name for row in self.fact for name in row.names]
        return frozenset(name.encode() for name in (*rows, *facts, *self.start_time, *self.extra_names))

    def is_blank(self, value: float) -> bool:
        """Whether the source means "no value" by this one."""
        return any(low <= value <= high for low, high in self.sentinel_ranges)


def load(text: str) -> Table:
    """Return the table of a TOML text.

    Raises:
        TableError: it is not TOML, a key is unknown, a signal is not declared, or a row contradicts itself.

    """
    try:
        table = msgspec.convert(tomllib.loads(text), Table)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TableError(str(error)) from None
    _check_names(table.entity, "[entity]")
    told = {row.signal for row in table.metric}
    for row in table.metric:
        _check(row)
        if row.zero_with and (row.type != "counter" or row.zero_with not in told):
            raise TableError(ZERO_WITH.format(row.signal))
    return table


def problems(table: Table) -> list[Problem]:
    """Return everything that is wrong in a well-formed table, each with its place in the file."""
    found = table.source.problems() if table.source else []
    try:
        _check_names(table.entity, "[entity]")
    except TableError as error:
        found.append((("entity",), str(error)))
    told = {row.signal for row in table.metric}
    for index, row in enumerate(table.metric):
        place = ("metric", index)
        if row.signal not in signals():
            found.append(((*place, "signal"), f"no such signal: {row.signal!r}{nearest(row.signal, signals())}"))
            continue
        try:
            _check(row)
        except TableError as error:
            found.append((place, str(error)))
        if row.zero_with and (row.type != "counter" or row.zero_with not in told):
            found.append(((*place, "zero_with"), ZERO_WITH.format(row.signal)))
    return found


def naming(given: str | LabelMapping) -> LabelMapping:
    """Return the long form of a naming."""
    return given if isinstance(given, LabelMapping) else LabelMapping(labels=tuple(given.split("|")))


def _check(row: Metric) -> None:
    if row.signal not in signals():
        raise TableError(f"{row.signal}: no such signal in signals.toml")
    if not row.names:
        raise TableError(f"{row.signal}: without names")
    for wrong, why in _contradictions(row):
        if wrong:
            raise TableError(f"{row.signal}: {why}")
    for pattern in (*row.where.values(), *row.over_where.values()):
        try:
            re.compile(pattern)
        except re.error as error:
            raise TableError(f"{row.signal}: '{pattern}' is no regular expression: {error}") from None
    _check_names(row.entity, row.signal)


def _contradictions(row: Metric) -> tuple[tuple[bool, str], ...]:
    """Return what must not be true of a row, each with what to say then."""
    newest, histogram = row.combine == "newest", row.type == "histogram"
    return (
        ((row.type == "ratio") != bool(row.over), "a ratio needs 'over', and nothing else may have it"),
        (row.whole and not histogram, "only a histogram can have whole observations"),
        (row.join == "all" and row.type != "gauge", "only a gauge can need all its parts"),
        ((row.type == "names") != bool(row.label), "type 'names' needs 'label', and nothing else may have it"),
        ((row.type == "names") != newest, "type 'names' needs combine = 'newest', and nothing else may have it"),
        (histogram and row.combine != "sum", "a histogram needs combine = 'sum': its buckets are counters"),
        (bool(row.adds_over) and (row.combine != "sum" or histogram), "'adds_over' needs combine = 'sum'"),
        (bool(row.part_of) and row.part_of not in signals(), f"part_of: no such signal: {row.part_of}"),
        (bool(row.part_of) and row.type != "gauge", "only a gauge can be a part of another"),
        (bool(row.unless_parts) and row.unless_parts not in KEYS, f"no such entity key: {row.unless_parts}"),
    )


def _check_names(names: Names, where: str) -> None:
    unknown = [key for key in names if key not in KEYS]
    if unknown:
        raise TableError(f"{where}: no such entity key: {', '.join(unknown)}; known: {', '.join(KEYS)}")
    for key, given in names.items():
        way = naming(given)
        if sum(map(bool, (way.labels, way.rank, way.constant, way.own))) != 1:
            raise TableError(f"{where}: {key}: say one of labels, rank, constant, own")
