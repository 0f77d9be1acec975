"""The Prometheus and OpenMetrics text formats: bytes of a page to numbers, for the lines that are wanted.

The text of a series up to its value is the same at every scrape, so ``prometheus_client``'s parser reads it once
and a memo knows it from then on; what is left a scrape is a look-up and a float. Lines nobody wants and
``_created`` gauges are passed over by their name.

| behind the labels | text format | OpenMetrics |
|---|---|---|
| value | a number | a number |
| time | whole milliseconds | seconds, with decimals |
| exemplar (``# {...} value time``) | not read | not read |
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from threading import Lock

from aistack_top.measure.counters import fell
from aistack_top.model.finite import PLAIN_LIMIT, usable

MAX_SERIES = 5_000
"""Wanted series read of one page, each by itself. LiteLLM's pages grow with every key and user."""

MAX_PREFIXES = 30_000
"""Entries of a memo, about 10 MB; a source whose labels churn past it is read again from the start."""

MAX_UNWANTED = 7_500
"""Entries for lines nobody wants: they must never cost the others their place."""

MAX_ADDED = 15_000
"""Series beyond `MAX_SERIES` that are added up. With all others they leave `MAX_PREFIXES` some room for new ones."""

ASIDE = 256 * 1024
"""Bytes from which a page is parsed on a thread, so that the first sight of a large one never holds the screen."""

FIRST_ASIDE = 32 * 1024
"""The same while the memo is empty: then every line goes through the reference parser, 25 us each."""

BLOCK = 256 * 1024
"""Bytes that are split into lines at once: a page of nothing but line feeds must not become 16 million objects."""

_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED_NAME = re.compile(rb'\{\s*"((?:[^"\\]|\\.)*+)"\s*[,}]')
_LABELS = re.compile(rb'\s*\{(?:[^"{}]|"(?:[^"\\]|\\.)*+")*+\}')
_EXEMPLAR = re.compile(rb"\s#\s*\{.*")
_COMMENT = ord("#")
_TYPE = b"# TYPE "
_NEW = object()

Identity = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True, eq=False)
class PageSeries:
    """One series of a source. The same object at every scrape, so that it is compared by identity.

    ``added``: it stands for the sum of all series with these labels that are beyond `MAX_SERIES`.
    """

    name: str
    labels: Mapping[str, str]
    added: bool = False


class LineMemo:
    """What is known of the lines of one source: prefix to series, or to None where nobody wants it.

    ``epoch`` is another object once everything was forgotten: series from before are not those from after.
    ``sums`` says of which names the series beyond `MAX_SERIES` may be added up, and by which labels.
    """

    def __init__(self, sums: Mapping[bytes, frozenset[str]] | None = None) -> None:
        self.prefixes: dict[bytes, PageSeries | None] = {}
        self.lock = Lock()
        self.epoch = object()
        self.sums = sums or {}
        self._series: dict[Identity, PageSeries] = {}
        self._sums: dict[Identity, PageSeries] = {}
        self._added: dict[bytes, float] = {}
        self._unwanted = self._adding = 0

    def make_room(self) -> None:
        """Forget everything once there is too much of it."""
        if len(self.prefixes) >= MAX_PREFIXES:
            for known in (self.prefixes, self._series, self._sums, self._added):
                known.clear()
            self._unwanted = self._adding = 0
            self.epoch = object()

    def add(self, prefix: bytes, wanted: frozenset[bytes], room: bool) -> PageSeries | None:
        """Read a prefix that was not seen before; None when nobody wants it.

        Raises:
            ValueError: it is not the beginning of a sample.
            OverflowError: it is wanted, but the page has no ``room`` for another series, nor may it be added up.

        """
        if prefix in self.prefixes:
            return self.prefixes[prefix]
        start = name_of(prefix)
        if start is None:
            raise ValueError("not the name of a metric")
        if start not in wanted:
            self.pass_over(prefix)
            return None
        full = len(self.prefixes) >= MAX_PREFIXES
        if not room and (start not in self.sums or full or self._adding >= MAX_ADDED):
            raise OverflowError
        name, labels = _parsed(prefix)
        self._adding += not room
        if room:
            identity = (name, tuple(sorted(labels.items())))
            series = self._series.setdefault(identity, PageSeries(name, labels))
        else:
            kept = {key: value for key, value in labels.items() if key in self.sums[start]}
            identity = (name, tuple(sorted(kept.items())))
            series = self._sums.setdefault(identity, PageSeries(name, kept, added=True))
        if not full:
            self.prefixes[prefix] = series
        return series

    def pass_over(self, prefix: bytes) -> None:
        """Remember that nobody wants the lines that begin like this; a prefix is what stands before a value."""
        if self._unwanted < min(MAX_UNWANTED, MAX_PREFIXES // 2):
            self._unwanted += prefix not in self.prefixes
            self.prefixes[prefix] = None

    def add_up(self, found: Mapping[bytes, float]) -> dict[PageSeries, float]:
        """Return the sums of the series beyond `MAX_SERIES`, of which a page brought these values by their prefixes.

        A series that is no longer on the page keeps its last value, as every counter does, until one of them falls:
        then the source was restarted.
        """
        if any(fell(self._added.get(prefix, value), value) for prefix, value in found.items()):
            self._added.clear()
        self._added.update(found)
        sums: dict[PageSeries, float] = {}
        for prefix, value in self._added.items():
            series = self.prefixes.get(prefix)
            if series is not None:
                sums[series] = sums.get(series, 0.0) + value
        return sums


@dataclass(slots=True)
class MetricsPage:
    """What a page says of the wanted series. NaN, infinity and what stands for it are not among the values.

    ``bad``: lines that could not be read. ``twice``: series that stood there again; the last one counts.
    ``left_off``: wanted series beyond `MAX_SERIES` that could not be added up. ``cut``: the page ended in mid-line,
    which was left off. ``partial``: whoever keeps the page says that some of it may be missing.
    ``unread``: series whose value could not be read or is none, and ``unread_names``: names of which lines were not
    read at all. What is made of several lines and of one of these is not known.
    ``times``: seconds since the epoch, of the samples that carry their own. ``declared``: names with a TYPE line.
    ``epoch``: that of the memo, whose series these are.
    """

    body: bytes
    epoch: object
    values: dict[PageSeries, float] = field(default_factory=dict)
    bad: int = 0
    twice: int = 0
    left_off: int = 0
    cut: bool = False
    partial: bool = False
    unread: set[PageSeries] = field(default_factory=set)
    unread_names: set[str] = field(default_factory=set)
    times: dict[PageSeries, float] = field(default_factory=dict)
    declared: set[bytes] = field(default_factory=set)

    @property
    def clean(self) -> bool:
        """Whether every series that the source has is here."""
        return not (self.bad or self.left_off or self.cut or self.partial)

    def declares(self, name: str) -> bool:
        """Whether the page has a TYPE line for a name: the source knows it, though it may have no series yet."""
        return name.encode() in self.declared or name.removesuffix("_total").encode() in self.declared


def parse(
    body: bytes, wanted: frozenset[bytes], memo: LineMemo | None = None, *, openmetrics: bool = False
) -> MetricsPage:
    """Return what a page says of the wanted series; never raises, whatever the bytes are.

    The result is the same with a memo and without; the memo only saves work.
    """
    memo = memo or LineMemo()
    with memo.lock:
        memo.make_room()
        return _Reading(body, wanted, memo, openmetrics).read()


async def parse_aside(
    body: bytes, wanted: frozenset[bytes], memo: LineMemo, *, openmetrics: bool = False
) -> MetricsPage:
    """Return `parse` of a page, on a thread when the page is large."""
    if len(body) < (ASIDE if memo.prefixes else FIRST_ASIDE):
        return parse(body, wanted, memo, openmetrics=openmetrics)
    return await asyncio.to_thread(parse, body, wanted, memo, openmetrics=openmetrics)


def name_of(line: bytes) -> bytes | None:
    """Return the name that a line begins with, bare or in quotes; None where there is none."""
    match = _NAME.match(line)
    if match is not None:
        return match[0]
    quoted = _QUOTED_NAME.match(line)
    return quoted[1] if quoted else None


class _Reading:
    """The reading of one page."""

    def __init__(self, body: bytes, wanted: frozenset[bytes], memo: LineMemo, openmetrics: bool) -> None:
        self._wanted = wanted
        self._memo = memo
        self._openmetrics = openmetrics
        self._page = MetricsPage(body, memo.epoch)
        self._added: dict[bytes, float] = {}
        self._read = 0
        self._time: float | None = None

    def read(self) -> MetricsPage:
        page, values, get = self._page, self._page.values, self._memo.prefixes.get
        for line in self._lines():
            prefix, _, text = line.rpartition(b" ")
            series = get(prefix, _NEW)
            if series is None:
                continue
            if not isinstance(series, PageSeries):
                series, prefix, text = self._irregular(line)
                if series is None:
                    continue
            try:
                value = float(text)
            except ValueError:
                self._bad(series)
                continue
            if b"_" in text:
                self._bad(series)
                continue
            if not -PLAIN_LIMIT < value < PLAIN_LIMIT and not usable(value):
                page.unread.add(series)
                continue
            if self._time is not None:
                page.times[series], self._time = self._time, None
            if series.added:
                self._added[prefix] = value
                continue
            values[series] = value
            self._read += 1
        page.twice = self._read - len(values)
        if self._added:
            values.update(self._memo.add_up(self._added))
        return page

    def _lines(self) -> Iterator[bytes]:
        """Give the lines of the page, of some hundred kB at a time."""
        body, start = self._page.body, 0
        while start < len(body):
            end = body.rfind(b"\n", start, start + BLOCK) + 1 or body.find(b"\n", start + BLOCK) + 1
            if not end:
                # a line feed ends every line of the format; a number without one may have lost its last digits
                self._end(body[start:])
                return
            yield from body[start : end - 1].split(b"\n")
            start = end

    def _end(self, rest: bytes) -> None:
        """Take what stands behind the last line feed: a line that may be cut off."""
        rest = rest.strip()
        if not rest or rest == b"# EOF":
            return
        self._page.cut = True
        self._unread(rest)

    def _unread(self, line: bytes) -> None:
        """Remember the name of a line that was not read."""
        name = name_of(line)
        if name is not None and name in self._wanted:
            self._page.unread_names.add(name.decode())

    def _bad(self, series: PageSeries) -> None:
        self._page.bad += 1
        self._page.unread.add(series)
        self._time = None

    def _irregular(self, line: bytes) -> tuple[PageSeries | None, bytes, bytes]:
        """Return series, prefix and value of a line whose text up to the last space is not known.

        It is new, or a comment, or it has a time, an exemplar or other spaces than usual.
        """
        memo, page = self._memo, self._page
        known = line.rpartition(b" ")[0]
        line = line.replace(b"\t", b" ").strip()
        if not line or line[0] == _COMMENT:
            self._comment(line, known)
            return None, b"", b""
        end = _end_of_series(line)
        prefix = line[:end]
        try:
            series = memo.add(prefix, self._wanted, len(page.values) < MAX_SERIES)
        except OverflowError:
            page.left_off += 1
            self._unread(prefix)
            return None, b"", b""
        except ValueError:
            page.bad += 1
            self._unread(prefix)
            return None, b"", b""
        value, time, whole = _value_and_time(line[end:], self._openmetrics)
        self._time = time if series is not None else None
        return series, prefix, value if whole else b"not a number"

    def _comment(self, line: bytes, known: bytes) -> None:
        if line.startswith(_TYPE):
            name, _, kind = line[len(_TYPE) :].partition(b" ")
            if self._declares_wanted(name, kind.strip()):
                self._page.declared.add(name)
                return
        if known.lstrip()[:1] == b"#":
            self._memo.pass_over(known)

    def _declares_wanted(self, name: bytes, kind: bytes) -> bool:
        """Whether a TYPE line is of a wanted name. In OpenMetrics it has no ``_total``, in the text format it does.

        Quantiles that a source took itself, as a summary, are none of a histogram's buckets.
        """
        wanted = self._wanted
        if name in wanted or (name + b"_bucket" in wanted and kind != b"summary"):
            return True
        return self._openmetrics and name + b"_total" in wanted


def _end_of_series(line: bytes) -> int:
    """Return where name and labels end: behind the brace that no quotes hold, or before the first space."""
    name = _NAME.match(line)
    labels = _LABELS.match(line, name.end() if name else 0)
    if labels is not None:
        return labels.end()
    space = line.find(b" ")
    return space if space > 0 else len(line)


def _value_and_time(text: bytes, openmetrics: bool) -> tuple[bytes, float | None, bool]:
    """Return the value and the time (s) that stand behind the labels, and whether nothing else does."""
    value, _, rest = _EXEMPLAR.sub(b"", text).strip().partition(b" ")
    rest = rest.strip()
    if not rest:
        return value, None, True
    if not openmetrics:
        whole = rest.lstrip(b"-").isdigit() and len(rest) < 20
        return value, int(rest) / 1000.0 if whole else None, whole
    try:
        time = float(rest)
    except ValueError:
        return value, None, False
    return value, time, isfinite(time) and b"_" not in rest


def _parsed(prefix: bytes) -> tuple[str, dict[str, str]]:
    """Return name and labels of a prefix by the reference parser.

    Raises:
        ValueError: the parser does not take it.

    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(prefix.decode() + " 0\n"))
        samples = [sample for family in families for sample in family.samples]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    if len(samples) != 1:
        raise ValueError("not one sample")
    return samples[0].name, dict(samples[0].labels)
