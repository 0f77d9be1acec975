"""From answers back to pages: the samples of one scrape carry one time, so that together they are the page it read."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from aistack_top.finite import usable
from collectors.openmetrics.parser import MAX_SERIES, MetricsPage, PageSeries
from collectors.prometheus import client
from collectors.prometheus.queries import UP

Target = tuple[str, str]
"""Job and instance: who is scraped, as Prometheus calls it."""

_TARGET = frozenset({"__name__", "job", "instance"})


class Pages:
    """The pages of one target, newest samples last. Series are the same objects from one page to the next.

    ``newest`` is the time of the last scrape that is known, ``up`` whether it brought a page, ``every_s`` how often
    the target is scraped, 0 while that is unknown.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[tuple[str, str], ...], PageSeries] = {}
        self._epoch = object()
        self.newest = 0.0
        self.up = True
        self.every_s = 0.0

    def of(
        self, rows: Iterable[client.QuerySeries], times: Mapping[float, float] | None = None, *, whole: bool = True
    ) -> list[tuple[float, MetricsPage]]:
        """Return the pages in an answer's rows that are newer than those before, oldest first, with their times.

        ``times`` are those of the scrapes, where the rows have the steps of a range; ``whole`` is False where the
        server warns that something may be missing.
        """
        if len(self._series) > 2 * MAX_SERIES:
            self._series, self._epoch = {}, object()
        at: dict[float, dict[PageSeries, float]] = defaultdict(dict)
        ups: dict[float, float] = {}
        taken, unread = 0, set[str]()
        for row in rows:
            is_up = row.metric.get("__name__") == UP
            taken += not is_up
            if taken > MAX_SERIES and not is_up:
                unread.add(row.metric.get("__name__", ""))
                continue
            series = self._known(row.metric)
            for step, text in row.values:
                moment = step if times is None else times.get(step, 0.0)
                value = number(text)
                if value is None:
                    continue
                if is_up:
                    ups[moment] = value
                elif moment > self.newest:
                    at[moment][series] = value
        if times is None:
            self.every_s = interval(ups) or self.every_s
        if ups:
            self.up = ups[max(ups)] > 0
        self.newest = max([self.newest, *at, *ups])
        left_off = max(taken - MAX_SERIES, 0)
        return [
            (
                moment,
                MetricsPage(b"", self._epoch, at[moment], left_off=left_off, partial=not whole, unread_names=unread),
            )
            for moment in sorted(at)
        ]

    def body(self) -> bytes:
        """Return the known series as lines of a page, for what tells a kind of server by its page."""
        lines = []
        for known in self._series.values():
            labels = ",".join(f'{key}="{value}"' for key, value in known.labels.items())
            lines.append(f"{known.name}{{{labels}}} 0\n")
        return "".join(lines).encode()

    def _known(self, labels: Mapping[str, str]) -> PageSeries:
        key = tuple(sorted(labels.items()))
        series = self._series.get(key)
        if series is None:
            rest = {name: value for name, value in labels.items() if name not in _TARGET}
            series = self._series[key] = PageSeries(labels.get("__name__", ""), rest)
        return series


def by_target(rows: Iterable[client.QuerySeries]) -> dict[Target, list[client.QuerySeries]]:
    """Return the rows of an answer, sorted by whom they are about."""
    found: dict[Target, list[client.QuerySeries]] = defaultdict(list)
    for row in rows:
        found[row.metric.get("job", ""), row.metric.get("instance", "")].append(row)
    return found


def interval(moments: Iterable[float]) -> float | None:
    """Return the usual seconds between scrapes; None for fewer than two."""
    gaps = sorted(later - earlier for earlier, later in pairwise(sorted(moments)))
    return gaps[len(gaps) // 2] if gaps else None


def number(text: str) -> float | None:
    """Return a sample's value; None for what is no number, or stands for infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if usable(value) else None
