"""What a source says, and when: the values that travel from a collector to the screen and to the disk.

| type | one of these is |
|---|---|
| `Readings` | the values of one collector run, column by column |
| `Quantiles` | a latency distribution over a window, honest about its edges |
| `Event` | something that happened: an XID, a restart, a throttle that began |
| `Fact` | something that is so until it changes: a version, a number of KV blocks |
| `Link` | who works for whom, with the proof |
| `Call` | one generation, retrieval, tool or guardrail span |
| `Mark` | a note that a person set on the time axis |
| `Health` | how the source itself is |
| `Batch` | all of these from one run of one collector |
| `History` | many runs at once, for time travel and backfill |
| `Tick` | what was learned at one moment |

All are immutable, and none knows what a screen is. ``at`` is when a thing happened by its own clock, ``seen``
when we learned it; both are seconds since the Unix epoch.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aistack_top.model.entity import Entity
from aistack_top.model.finite import fits
from aistack_top.model.incident import Incident

Status = Literal["ok", "slow", "partial", "stale", "down", "unauthorized", "misconfigured"]
Severity = Literal["info", "warning", "critical"]
CallKind = Literal["generation", "embedding", "retrieval", "tool", "guardrail", "other"]

STATS = ("p50", "p95", "p99", "mean", "count", "window_s")
"""The parts of a `Quantiles`, as they are named on disk and in exports; a plain reading has the stat ``value``."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A quantile that lies outside what the histogram can tell: below its first edge, or above its last."""

    side: Literal["below", "above"]
    limit: float


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution over a window that ends at the reading's time.

    ``count`` observations fell into ``window_s`` seconds. A quantile is None where they were too few to say.
    """

    p50: float | Bound | None
    p95: float | Bound | None
    p99: float | Bound | None
    mean: float | None
    count: float
    window_s: float


Value = float | Quantiles


@dataclass(frozen=True, slots=True)
class Readings:
    """Values of one run, column by column: ``signals[i]`` of ``entities[i]`` is ``values[i]``."""

    signals: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    values: tuple[Value, ...] = ()

    def __len__(self) -> int:
        return len(self.signals)

    def __iter__(self) -> Iterator[tuple[str, Entity, Value]]:
        return zip(self.signals, self.entities, self.values, strict=True)


class ReadingsBuilder:
    """Collects readings one by one and hands them out as columns."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, Entity, Value]] = []

    def add(self, signal: str, entity: Entity, value: Value | None) -> None:
        """Add a reading; None means that the source cannot tell, and adds nothing.

        The same holds for NaN, infinity and what a 32-bit float cannot hold, wherever in a computation it arose.
        """
        if isinstance(value, Quantiles):
            value = finite_parts(value)
        elif value is not None and not fits(value):
            return
        if value is not None:
            self._rows.append((signal, entity, value))

    def build(self) -> Readings:
        """Return what was added."""
        if not self._rows:
            return Readings()
        signals, entities, values = zip(*self._rows, strict=True)
        return Readings(signals, entities, values)


def finite_parts(value: Quantiles) -> Quantiles | None:
    """Return a distribution without the parts that are no finite 32-bit floats; None when its count is none."""
    if not (fits(value.count) and fits(value.window_s)):
        return None
    told = (value.p50, value.p95, value.p99, value.mean)
    limits = [part.limit if isinstance(part, Bound) else part for part in told]
    if all(limit is None or fits(limit) for limit in limits):
        return value
    kept = [part if limit is not None and fits(limit) else None for part, limit in zip(told, limits, strict=True)]
    mean = kept[3]
    return Quantiles(kept[0], kept[1], kept[2], None if isinstance(mean, Bound) else mean, value.count, value.window_s)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one moment.

    ``kind`` is a short slug (``xid``, ``throttle``, ``restart``, ``changed``, ``frozen``, ``clock``, ``source``,
    ``oom``); ``text`` is the sentence shown. ``detail`` carries what a rule may want to read, such as the XID code.
    """

    at: float
    seen: float
    layer: str
    kind: str
    severity: Severity
    entity: Entity
    text: str
    source: str = ""
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds until it is said anew: ``key`` of ``entity`` is ``value``.

    A difference between two sayings is an Event of kind ``changed`` unless ``watched`` is False.
    """

    entity: Entity
    key: str
    value: str
    watched: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """``parent`` (an engine) uses ``child`` (a GPU), and how we know.

    ``proof`` is one of ``pid``, ``container``, ``pod``, ``configuration``. An empty one says that the link has ended;
    without a proof there is no link.
    """

    parent: Entity
    child: Entity
    proof: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One span of work that a user paid for. Never holds a prompt or an answer.

    Times are seconds; ``ttft`` and ``cost`` (USD) are None where the source does not say. ``tenant`` is a
    pseudonym unless configured otherwise. ``engine`` is set only where it is proven (design: call to engine).
    """

    id: str
    trace: str
    parent: str
    kind: CallKind
    name: str
    start: float
    end: float
    seen: float
    updated: float
    model: str = ""
    version: str = ""
    prompt: str = ""
    prompt_version: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    ttft: float | None = None
    cost: float | None = None
    level: str = "DEFAULT"
    tenant: str = ""
    session: str = ""
    route: str = ""
    environment: str = ""
    engine: str = ""
    root: bool = False

    @property
    def latency(self) -> float | None:
        """Seconds from start to end, by the application's clock; None where two clocks let it end before it began."""
        return self.end - self.start if self.end >= self.start else None

    @property
    def failed(self) -> bool:
        """Whether the application marked the call as an error."""
        return self.level == "ERROR"


@dataclass(frozen=True, slots=True)
class Health:
    """How a source is, in one record a run.

    ``reason`` is a sentence for a person. ``age_s`` is the age of the last good data. ``clock_offset_s`` is the
    source's clock minus ours, known to within ``clock_uncertainty_s``; None where nothing tells.
    """

    source: str
    kind: str
    layer: str
    status: Status
    reason: str = ""
    age_s: float | None = 0.0
    took_s: float = 0.0
    interval_s: float = 1.0
    clock_offset_s: float | None = None
    clock_uncertainty_s: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that a person set on the time axis, with a note.

    ``at`` is the moment it is about, ``seen`` when it was set. ``kind`` is ``note``, or ``dismissed`` for an incident
    that is none; ``about`` is then the incident's id.
    """

    at: float
    seen: float
    text: str
    author: str = ""
    kind: str = "note"
    about: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run of one collector brought: data of the moment ``at``, and always one health record.

    ``calls_until``: calls that ended before this time have been asked for; None for a source without calls.
    """

    at: float
    seen: float
    health: Health
    readings: Readings = field(default_factory=Readings)
    events: tuple[Event, ...] = ()
    calls: tuple[Call, ...] = ()
    facts: tuple[Fact, ...] = ()
    links: tuple[Link, ...] = ()
    calls_until: float | None = None


SeriesKey = tuple[str, Entity, str]
"""Signal, entity and stat: ``value``, or one of `STATS`."""


@dataclass(frozen=True, slots=True)
class History:
    """Past readings in bulk: dense columns on one grid, so that an hour can be laid in without a loop over it.

    Sample ``i`` of each column belongs to ``start + i * step``; NaN where there was none. ``marks`` holds, for
    columns that have any, -1 where the value is an upper bound ("below") and +1 where it is a lower one.
    ``fills``: of what is known already, only the gaps are filled. The rest is as in `Batch`, in the order of ``seen``.
    """

    start: float
    step: float
    columns: Mapping[SeriesKey, "array[float]"]
    marks: Mapping[SeriesKey, "array[int]"] = field(default_factory=dict)
    batches: tuple[Batch, ...] = ()
    fills: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """What was learned at one moment.

    ``reset`` says that what came before no longer stands (a seek): forget it and start from ``history``.
    ``incidents`` are versions of incidents that became known with it, in the order of ``revised``; ``marks`` are those
    that people had set by then and that were not told yet. ``notices`` are sentences about the feed itself, such as
    that it is not recorded; each tick carries all that hold, and one that is no longer carried no longer holds.
    A tick at 0 comes before any time is known and brings notices only.
    """

    at: float
    seen: float
    batches: tuple[Batch, ...] = ()
    history: History | None = None
    reset: bool = False
    incidents: tuple[Incident, ...] = ()
    marks: tuple[Mark, ...] = ()
    notices: tuple[str, ...] = ()
