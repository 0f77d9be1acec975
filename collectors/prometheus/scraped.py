"""Who a Prometheus server scrapes: targets by their full set of labels, and replicas of one scraper as one.

| labels of a target | what they do |
|---|---|
| ``instance`` | the address; a target without one is not read, and counted |
| `replica_labels` (configured) | tell replicas of one scraper apart, which read the same target: one of them is read |
| ``job`` | two jobs with one instance are one target, unless a label that both have differs |
| all others | separate: another cluster has the same private addresses |

The series ``up`` has exactly a target's labels. Pushed series have none: then only `SCOPES` separate.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aistack_top.text.sanitize import sanitize
from collectors.openmetrics.table import Table
from collectors.prometheus import client
from collectors.prometheus.client import Prometheus, number
from collectors.prometheus.queries import readable, scraped_jobs, whose
from collectors.registry import Kind
from collectors.source_names import qualifiers

SCOPES = (
    "cluster",
    "cluster_name",
    "k8s_cluster",
    "k8s_cluster_name",
    "region",
    "datacenter",
    "dc",
    "environment",
    "env",
    "tenant",
    "tenant_id",
    "__tenant_id__",
    "vm_account_id",
    "vm_project_id",
    "prometheus",
)
"""Labels that say where a target is, as Prometheus' operator, Mimir, VictoriaMetrics and most people call them."""

LOOSE_SCOPES = frozenset({"region", "environment", "env", "tenant", "tenant_id"})
"""Those that a page may have of its own: of pushed series they count only where all have them."""

REPLICA_LABELS = ("replica", "prometheus_replica", "__replica__")
"""As kube-prometheus, Thanos' documentation and Mimir's HA tracker call them."""

LOOK_BACK_S = 300.0
"""How far apart the moments are at most at which it is asked who was there."""

MIN_STEP_S = 15.0
MAX_STEPS = 240
"""How often within a window it is looked which of two targets of one address was there."""

Labels = tuple[tuple[str, str], ...]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """A target of one server: ``labels`` are those beyond job and instance, without replica labels.

    Its series have ``told_by``, where another target has the same job and instance. ``replicas`` are the values of
    ``replica_labels`` under which its series stand; both are empty where nothing is replicated. ``own`` are all labels
    that it had over time: they say who it is, and nothing about a series.
    """

    job: str
    instance: str
    labels: Labels = ()
    told_by: Labels = ()
    replica_labels: tuple[str, ...] = ()
    replicas: frozenset[tuple[str, ...]] = frozenset()
    own: frozenset[tuple[str, str]] = frozenset()

    @property
    def pair(self) -> Pair:
        """Job and instance."""
        return self.job, self.instance

    def has(self, series: Mapping[str, str]) -> bool:
        """Whether a series of this job and instance is one of its own."""
        return all(series.get(key, "") == value for key, value in self.told_by)

    def may_follow(self, gone: "Target") -> bool:
        """Whether this may be the same server as one that is gone: one address, and in the same place."""
        mine, theirs = dict(self.labels), dict(gone.labels)
        return self.instance == gone.instance and all(mine.get(key) == theirs.get(key) for key in SCOPES)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A target with series that a kind's table reads; ``qualifier`` tells it from others of the same instance."""

    kind: Kind
    table: Table
    target: Target
    qualifier: str = ""


@dataclass(slots=True)
class Scraped:
    """All targets that can be read, and in words what is left out; ``unread`` counts targets that are not read."""

    found: list[Sighting] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: int = 0


@dataclass(slots=True)
class _Known:
    """What is known of one set of target labels: at which moments it was there, its replicas, and who followed it."""

    labels: Labels
    moments: set[float] = field(default_factory=set)
    replicas: set[tuple[str, ...]] = field(default_factory=set)
    own: set[tuple[str, str]] = field(default_factory=set)

    def is_after(self, other: "_Known") -> bool:
        """Whether it came when another had gone."""
        return min(self.moments) > max(other.moments)


async def scraped(
    server: Prometheus, replica_labels: Collection[str] = REPLICA_LABELS, window: tuple[float, float] | None = None
) -> Scraped:
    """Return every target that this program can read, each once for each kind.

    With a ``window`` those that were scraped between its start and end, in seconds since the epoch of the server.

    Raises:
        SourceError: what went wrong, in words.

    """
    labels = tuple(dict.fromkeys(("job", "instance", *SCOPES, *replica_labels)))
    rows = {kind.name: await _ask(server, read, labels, window) for kind, read in readable()}
    jobs = sorted({row.metric.get("job", "") for found in rows.values() for row in found if row.metric.get("instance")})
    ups = await _ups(server, jobs, window) if jobs else []
    whole = Scraped()
    for kind, read in readable():
        await _add_kind(whole, server, kind, read, rows[kind.name], ups, tuple(replica_labels), window)
    return whole


async def _ask(
    server: Prometheus,
    read: Table,
    labels: Sequence[str],
    window: tuple[float, float] | None,
    pair: Pair | None = None,
) -> list[client.QuerySeries]:
    if window is None:
        return await server.instant(whose(read, labels, pair))
    start, end = window
    step = min(LOOK_BACK_S, max(end - start, 1.0)) * 0.8
    # from the end, so that a window shorter than a step is asked about at all
    first = end - (end - start) // step * step
    return await server.stepped(whose(read, labels, pair, back_s=step), first, end, step)


async def _ups(server: Prometheus, jobs: Iterable[str], window: tuple[float, float] | None) -> list[client.QuerySeries]:
    if window is None:
        return await server.instant(scraped_jobs(jobs))
    start, end = window
    step = max(MIN_STEP_S, (end - start) / MAX_STEPS)
    rows = await server.stepped(f"timestamp({scraped_jobs(jobs)})", start, end, step)
    # a series that ended without a mark stands for minutes more, but its newest sample does not move
    return [
        client.QuerySeries(row.metric, [(at, "1") for _, text in row.values if (at := number(text))]) for row in rows
    ]


async def _add_kind(
    whole: Scraped,
    server: Prometheus,
    kind: Kind,
    read: Table,
    rows: Sequence[client.QuerySeries],
    ups: Sequence[client.QuerySeries],
    replica_labels: tuple[str, ...],
    window: tuple[float, float] | None,
) -> None:
    nameless = [row for row in rows if not row.metric.get("instance")]
    if nameless:
        whole.unread += len(nameless)
        job = sanitize(nameless[0].metric.get("job", "") or "no job", 60)
        many = f"{len(nameless)} targets of {read.title} have" if len(nameless) > 1 else f"1 target of {read.title} has"
        whole.notes.append(f"{many} no instance label and cannot be read ({job})")
    by_instance: dict[str, list[Target]] = defaultdict(list)
    for pair, own in _by_pair(rows).items():
        targets = _targets(pair, own, _by_pair(ups).get(pair, []), replica_labels)
        if len(targets) > 1:
            targets = await _with_series(server, read, targets, window)
        by_instance[pair[1]] += targets
    for instance in sorted(by_instance):
        kept, merged = _without_further_jobs(by_instance[instance])
        if merged:
            jobs = ", ".join(sanitize(job or "no job", 60) for job in merged)
            whole.notes.append(f"{sanitize(instance, 80)} is scraped by more jobs ({jobs}) and read once")
        told = _qualifiers(kept)
        whole.found += [Sighting(kind, read, one, word) for one, word in zip(kept, told, strict=True)]


def _by_pair(rows: Iterable[client.QuerySeries]) -> dict[Pair, list[client.QuerySeries]]:
    found: dict[Pair, list[client.QuerySeries]] = defaultdict(list)
    for row in rows:
        if instance := row.metric.get("instance", ""):
            found[row.metric.get("job", ""), instance].append(row)
    return found


def _targets(
    pair: Pair, rows: Sequence[client.QuerySeries], ups: Sequence[client.QuerySeries], replica_labels: tuple[str, ...]
) -> list[Target]:
    """Return the targets of one job and instance, by what ``up`` says of them, else by the series' own labels."""
    told = ups or rows
    # a label that only some of the pushed series have is their own, and not of who pushes them
    shared = {label for label in (*replica_labels, *LOOSE_SCOPES) if all(row.metric.get(label) for row in told)}
    marks = tuple(label for label in replica_labels if label in shared)
    skipped = {"__name__", "job", "instance", *marks}
    if not ups:
        skipped |= {*replica_labels, *LOOSE_SCOPES} - shared
    known: dict[Labels, _Known] = {}
    for row in told:
        labels = tuple(sorted((key, value) for key, value in row.metric.items() if key not in skipped and value))
        one = known.setdefault(labels, _Known(labels, own=set(labels)))
        one.moments |= {at for at, _ in row.values} or {0.0}
        one.replicas.add(tuple(row.metric.get(label, "") for label in marks))
    sets = _without_followers(list(known.values()))
    told_by = _telling([dict(one.labels) for one in sets])
    return [
        Target(*pair, one.labels, mark, marks, frozenset(one.replicas), frozenset(one.own))
        for one, mark in sorted(zip(sets, told_by, strict=True), key=lambda both: both[0].labels)
    ]


def _without_followers(sets: list[_Known]) -> list[_Known]:
    """Return sets of labels without those that came when another of the same place had gone: a pod of another name."""
    kept: list[_Known] = []
    for one in sorted(sets, key=lambda known: (min(known.moments), known.labels)):
        here = dict(one.labels)
        for other in kept:
            there = dict(other.labels)
            if one.is_after(other) and all(here.get(key) == there.get(key) for key in SCOPES):
                other.moments |= one.moments
                other.replicas |= one.replicas
                other.own |= one.own
                break
        else:
            kept.append(one)
    return kept


def _telling(sets: Sequence[Mapping[str, str]]) -> list[Labels]:
    """Return for each of several sets of labels those by which its series are known: one label where one will do."""
    if len(sets) < 2:
        return [()] * len(sets)
    keys = sorted({key for one in sets for key in one})
    keys.sort(key=lambda key: SCOPES.index(key) if key in SCOPES else len(SCOPES))
    differing = [key for key in keys if len({one.get(key, "") for one in sets}) > 1]
    alone = next((key for key in differing if len({one.get(key, "") for one in sets}) == len(sets)), None)
    return [tuple((key, one.get(key, "")) for key in ([alone] if alone else differing)) for one in sets]


async def _with_series(
    server: Prometheus, read: Table, targets: Sequence[Target], window: tuple[float, float] | None
) -> list[Target]:
    """Return those of several targets of one job and instance that have series of a kind at all."""
    labels = tuple(key for key, _ in targets[0].told_by)
    rows = await _ask(server, read, ("job", "instance", *labels), window, targets[0].pair)
    kept = [target for target in targets if any(target.has(row.metric) for row in rows)]
    return [replace(kept[0], told_by=())] if len(kept) == 1 and len(rows) == 1 else kept


def _without_further_jobs(targets: Sequence[Target]) -> tuple[list[Target], list[str]]:
    """Return the targets of one instance without those that another job scrapes too, and these jobs."""
    kept: list[Target] = []
    merged: list[str] = []
    for target in sorted(targets, key=lambda one: (one.job, one.labels)):
        mine = dict(target.labels)
        if any(
            other.job != target.job and all(mine.get(key, value) == value for key, value in other.labels)
            for other in kept
        ):
            merged.append(target.job)
        else:
            kept.append(target)
    return kept, merged


def _qualifiers(targets: Sequence[Target]) -> list[str]:
    """Return what tells targets of one instance apart on screen: where they are, else the shortest label."""
    if len(targets) < 2:
        return [""] * len(targets)
    places = [{key: value for key, value in one.labels if key in SCOPES} for one in targets]
    if len({tuple(sorted(one.items())) for one in places}) == len(places):
        return qualifiers(places)
    return qualifiers([{**dict(one.labels), "job": one.job} for one in targets])
