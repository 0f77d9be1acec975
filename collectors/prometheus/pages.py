"""From answers back to pages: the samples of one scrape carry one time, so that together they are the page it read."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from collectors.openmetrics.identity import bare_name
from collectors.openmetrics.parser import MAX_SERIES, MetricsPage, PageSeries
from collectors.prometheus import client
from collectors.prometheus.client import number
from collectors.prometheus.queries import UP
from collectors.prometheus.scraped import Pair, Target

DEFAULT_INTERVAL_S = 15.0
"""Prometheus scrapes every minute unless told otherwise, most installations every 15 s; learned from the samples."""

PATIENCE = 2.0
"""Intervals without a sample after which the samples of another replica are read instead."""

MOMENTS = 9
"""Of the newest samples, whose gaps are the pace of a target."""

_TARGET = frozenset({"__name__", "job", "instance"})

Replica = tuple[str, ...]
"""The values of the replica labels; empty where there are none, or for a series that is of all."""

Times = Mapping[Replica, Mapping[float, float]]


@dataclass(slots=True)
class _Rows:
    """An answer's samples by replica and moment.

    ``empty`` are the names of series that hold no number, ``unread`` those of series beyond the limit.
    """

    pages: dict[Replica, dict[float, dict[PageSeries, float]]] = field(default_factory=lambda: defaultdict(dict))
    ups: dict[Replica, dict[float, float]] = field(default_factory=lambda: defaultdict(dict))
    left_off: int = 0
    empty: set[str] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)

    def moments(self) -> list[tuple[float, Replica]]:
        """Return when each replica scraped, oldest first."""
        found = {(at, one) for kept in (self.pages, self.ups) for one, rows in kept.items() for at in rows}
        return sorted(found)


class Pages:
    """The pages of one target, newest samples last. Series are the same objects from one page to the next.

    Of several replicas one is read, and another as soon as that one has no more samples. ``newest`` is the time of the
    last scrape that is known, ``up`` whether it brought a page, ``every_s`` how often the target is scraped, or how
    often it pushes; 0 while that is unknown. ``away`` are the scrapes of the newest answer that brought no page.
    """

    def __init__(self, target: Target | None = None, prefixes: tuple[str, ...] = ()) -> None:
        self.target = target or Target("", "")
        self._prefixes = prefixes
        self._series: dict[tuple[tuple[str, str], ...], PageSeries] = {}
        self._epoch = object()
        self._replica: Replica | None = None
        self._moments: list[float] = []
        self._paced_by: Replica | None = None
        self.newest = 0.0
        self.up = True
        self.every_s = 0.0
        self.away: list[float] = []

    def of(
        self,
        rows: Iterable[client.QuerySeries],
        times: Times | None = None,
        *,
        whole: bool = True,
        pace_s: float = 0.0,
    ) -> list[tuple[float, MetricsPage]]:
        """Return the pages in an answer's rows that are newer than those before, oldest first, with their times.

        ``times`` are those of the scrapes, where the rows have the steps of a range, which are ``pace_s`` apart;
        ``whole`` is False where the server warns that something may be missing.
        """
        if len(self._series) > 2 * MAX_SERIES:
            self._series, self._epoch = {}, object()
        sorted_rows = self._sorted(rows, times)
        if times is None:
            self._learn_pace(sorted_rows)
        found, self.away = [], []
        # a series without a number stands on the page all the same, as a declaration does
        declared = "".join(f"# TYPE {name} untyped\n" for name in sorted(sorted_rows.empty)).encode()
        patience_s = PATIENCE * max(self.every_s or DEFAULT_INTERVAL_S, pace_s)
        for at, replica in sorted_rows.moments():
            if not self._is_next(at, replica, patience_s):
                continue
            self.newest, up = at, sorted_rows.ups.get(replica, {}).get(at)
            self.up = self.up if up is None else up > 0
            values = sorted_rows.pages.get(replica, {}).get(at)
            if up == 0.0:
                self.away.append(at)
            elif values:
                if replica:
                    values |= sorted_rows.pages.get((), {}).get(at, {})
                left_off, unread = sorted_rows.left_off, sorted_rows.unread
                page = MetricsPage(
                    declared, self._epoch, values, left_off=left_off, partial=not whole, unread_names=unread
                )
                found.append((at, page))
        return found

    def body(self) -> bytes:
        """Return the known series as lines of a page, for what tells a kind of server by its page."""
        lines = []
        for known in self._series.values():
            labels = ",".join(f'{key}="{value}"' for key, value in known.labels.items())
            lines.append(f"{known.name}{{{labels}}} 0\n")
        return "".join(lines).encode()

    def _sorted(self, rows: Iterable[client.QuerySeries], times: Times | None) -> _Rows:
        found, taken = _Rows(), 0
        for row in rows:
            is_up = row.metric.get("__name__") == UP
            taken += not is_up
            if taken > MAX_SERIES and not is_up:
                found.unread.add(row.metric.get("__name__", ""))
                continue
            replica, series = self._replica_of(row.metric), self._known(row.metric)
            scrapes = None if times is None else times.get(replica) or times.get((), {})
            if not any(number(text) is not None for _, text in row.values):
                found.empty.add(series.name)
            for step, text in row.values:
                moment = step if scrapes is None else scrapes.get(step, 0.0)
                value = number(text)
                if value is None:
                    continue
                if is_up:
                    found.ups[replica][moment] = value
                elif moment > self.newest:
                    found.pages[replica].setdefault(moment, {})[series] = value
        found.left_off = max(taken - MAX_SERIES, 0)
        return found

    def _replica_of(self, labels: Mapping[str, str]) -> Replica:
        if not self.target.replica_labels:
            return ()
        values = tuple(labels.get(label, "") for label in self.target.replica_labels)
        return values if values in self.target.replicas else ()

    def _is_next(self, at: float, replica: Replica, patience_s: float) -> bool:
        """Whether a moment is one of the replica that is read, or that one has had none for too long."""
        if at <= self.newest or (not replica and self.target.replica_labels):
            return False
        if self._replica not in (None, replica) and at - self.newest <= patience_s:
            return False
        self._replica = replica
        return True

    def _learn_pace(self, rows: _Rows) -> None:
        """Learn the pace from the newest ``up``, or from the gaps between what is pushed."""
        told: Mapping[Replica, Mapping[float, object]] = rows.ups or rows.pages
        replica = self._replica if self._replica in told else max(told, key=lambda one: len(told[one]), default=None)
        if replica is None:
            return
        # few may be left in an answer, and one of them missed, when samples no longer come
        before = self._moments if replica == self._paced_by else []
        self._paced_by, self._moments = replica, sorted({*before, *told[replica]})[-MOMENTS:]
        self.every_s = interval(self._moments) or self.every_s

    def _known(self, labels: Mapping[str, str]) -> PageSeries:
        # the page has none of its target's labels, and goes on when another replica or pod has its place
        skipped = _TARGET | set(self.target.replica_labels) if self._replica_of(labels) else _TARGET
        own = self.target.own
        rest = {name: value for name, value in labels.items() if name not in skipped and (name, value) not in own}
        key = (("__name__", labels.get("__name__", "")), *sorted(rest.items()))
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = PageSeries(bare_name(labels.get("__name__", ""), self._prefixes), rest)
        return series


def by_target(
    rows: Iterable[client.QuerySeries], targets: Collection[Target]
) -> tuple[dict[Target, list[client.QuerySeries]], dict[Pair, int]]:
    """Return the rows of an answer by whom they are about, and how many of each job and instance are of none."""
    known: dict[Pair, list[Target]] = defaultdict(list)
    for target in targets:
        known[target.pair].append(target)
    found: dict[Target, list[client.QuerySeries]] = defaultdict(list)
    unplaced: dict[Pair, int] = defaultdict(int)
    for row in rows:
        pair = row.metric.get("job", ""), row.metric.get("instance", "")
        owner = next((one for one in known.get(pair, ()) if one.has(row.metric)), None)
        if owner is not None:
            found[owner].append(row)
        elif pair in known:
            unplaced[pair] += 1
    return found, unplaced


def interval(moments: Iterable[float]) -> float | None:
    """Return the usual seconds between scrapes; None for fewer than two."""
    gaps = sorted(later - earlier for earlier, later in pairwise(sorted(moments)))
    return gaps[len(gaps) // 2] if gaps else None
