"""The Prometheus text format: bytes of a page to numbers, for the lines that are wanted.

The text of a series up to its value is the same at every scrape, so ``prometheus_client``'s parser reads it once
and a memo knows it from then on; what is left a scrape is a look-up and a float. Lines nobody wants and
``_created`` gauges are passed over by their name.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

MAX_SERIES = 5_000
"""Wanted series read of one page. LiteLLM's pages grow with every key and user; more than this is an accident."""

MAX_PREFIXES = 15_000
"""Entries of a memo, about 10 MB; a source whose labels churn past it is learned anew."""

ASIDE = 256 * 1024
"""Bytes from which a page is parsed on a thread, so that the first sight of a large one never holds the screen."""

_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_COMMENT = ord("#")
_NEW = object()


@dataclass(frozen=True, slots=True, eq=False)
class PageSeries:
    """One series of a source. The same object at every scrape, so that it is compared by identity."""

    name: str
    labels: Mapping[str, str]


class LineMemo:
    """What is known of the lines of one source: prefix to series, or to None where nobody wants it.

    ``epoch`` is another object once everything was forgotten: series from before are not those from after.
    """

    def __init__(self) -> None:
        self.prefixes: dict[bytes, PageSeries | None] = {}
        self.lock = Lock()
        self.epoch = object()
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], PageSeries] = {}

    def make_room(self) -> None:
        """Forget everything once there is too much of it."""
        if len(self.prefixes) >= MAX_PREFIXES:
            self.prefixes.clear()
            self._series.clear()
            self.epoch = object()

    def add(self, prefix: bytes, wanted: frozenset[bytes], room: bool) -> PageSeries | None:
        """Read a prefix that was not seen before; None when nobody wants it.

        Raises:
            ValueError: it is not the beginning of a sample.
            OverflowError: it is wanted, but the page has no ``room`` for another series.

        """
        if prefix in self.prefixes:
            return self.prefixes[prefix]
        match = _NAME.match(prefix)
        if match is None:
            raise ValueError("not the name of a metric")
        if match[0] not in wanted:
            self.pass_over(prefix)
            return None
        if not room:
            raise OverflowError
        name, labels = _parsed(prefix)
        identity = (name, tuple(sorted(labels.items())))
        series = self._series.setdefault(identity, PageSeries(name, labels))
        if len(self.prefixes) < MAX_PREFIXES:
            self.prefixes[prefix] = series
        return series

    def pass_over(self, prefix: bytes) -> None:
        """Remember that nobody wants the lines that begin like this; a prefix is what stands before a value."""
        # lines nobody wants may fill half of it at the most: they must never cost the others their place
        if len(self.prefixes) < MAX_PREFIXES // 2:
            self.prefixes[prefix] = None


@dataclass(slots=True)
class MetricsPage:
    """What a page says of the wanted series. NaN and infinite values are not in it.

    ``bad``: lines that could not be read. ``twice``: series that stood there again; the last one counts.
    ``left_off``: wanted series beyond `MAX_SERIES`. ``cut``: the page ended in mid-line, which was left off.
    ``partial``: whoever keeps the page says that some of it may be missing.
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

    @property
    def clean(self) -> bool:
        """Whether every series that the source has is here."""
        return not (self.bad or self.left_off or self.cut or self.partial)

    def declares(self, name: str) -> bool:
        """Whether the page has a TYPE line for a name: the source knows it, though it may have no series yet."""
        short = name.removesuffix("_total")
        return any(b"# TYPE %s " % known.encode() in self.body for known in {name, short})


def parse(body: bytes, wanted: frozenset[bytes], memo: LineMemo | None = None) -> MetricsPage:
    """Return what a page says of the wanted series; never raises, whatever the bytes are.

    The result is the same with a memo and without; the memo only saves work.
    """
    memo = memo or LineMemo()
    with memo.lock:
        return _parse(body, wanted, memo)


async def parse_aside(body: bytes, wanted: frozenset[bytes], memo: LineMemo) -> MetricsPage:
    """Return `parse` of a page, on a thread when the page is large."""
    if len(body) < ASIDE:
        return parse(body, wanted, memo)
    return await asyncio.to_thread(parse, body, wanted, memo)


def _parse(body: bytes, wanted: frozenset[bytes], memo: LineMemo) -> MetricsPage:
    memo.make_room()
    page = MetricsPage(body, memo.epoch)
    values, get = page.values, memo.prefixes.get
    lines = body.split(b"\n")
    # a line feed ends every line of the format; a number without one may have lost its last digits
    page.cut = bool(lines.pop().strip())
    taken = 0
    for line in lines:
        prefix, _, text = line.rpartition(b" ")
        series = get(prefix, _NEW)
        if series is None:
            continue
        if not isinstance(series, PageSeries):
            series, text = _irregular(line, wanted, memo, page)
            if series is None:
                continue
        try:
            value = float(text)
        except ValueError:
            page.bad += 1
            continue
        if b"_" in text:
            page.bad += 1
            continue
        if value - value != 0.0:
            continue
        values[series] = value
        taken += 1
    page.twice = taken - len(values)
    return page


def _irregular(
    line: bytes, wanted: frozenset[bytes], memo: LineMemo, page: MetricsPage
) -> tuple[PageSeries | None, bytes]:
    """Return series and value of a line whose text up to the last space is not known.

    It is new, or a comment, or it has a timestamp or other spaces than usual.
    """
    prefix = line.rpartition(b" ")[0]
    line = line.replace(b"\t", b" ").strip()
    if not line or line[0] == _COMMENT:
        if prefix.lstrip()[:1] == b"#":
            memo.pass_over(prefix)
        return None, b""
    end = line.rfind(b"}") + 1 or line.find(b" ")
    if end <= 0:
        end = len(line)
    series = None
    try:
        series = memo.add(line[:end], wanted, len(page.values) < MAX_SERIES)
    except OverflowError:
        page.left_off += 1
    except ValueError:
        page.bad += 1
    if series is None:
        return None, b""
    value, _, timestamp = line[end:].strip().partition(b" ")
    return series, value if _is_milliseconds(timestamp) else b"not a number"


def _is_milliseconds(text: bytes) -> bool:
    return not text or text.strip().lstrip(b"-").isdigit()


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
