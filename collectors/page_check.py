"""What the tables make of a saved page: whose it is, and which signals come out. For whoever writes a table."""

from collections import Counter
from dataclasses import dataclass

from collectors.openmetrics.identity import without_prefix
from collectors.openmetrics.matching import SeriesMatcher
from collectors.openmetrics.parser import LineMemo, parse
from collectors.registry import Kind, findable, kinds, page_matcher, table_of


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: its signal and names, and how many series of the page go into it."""

    signal: str
    names: tuple[str, ...]
    series: int


@dataclass(frozen=True, slots=True)
class PageReport:
    """What a kind's table makes of a page: its rows, lines that could not be read, and names that it passes over."""

    kind: Kind
    rows: tuple[Row, ...]
    bad_lines: int
    passed_over: tuple[str, ...]


def recognised_by(body: bytes) -> list[Kind]:
    """Return the kinds that know a page for their own, in the order in which discovery asks them."""
    return [kind for kind in findable() if (knows := page_matcher(kind)) is not None and knows(body)]


def report(body: bytes, kind: Kind) -> PageReport:
    """Return what a kind's table makes of a page.

    Raises:
        TypeError: the kind is not read from pages.

    """
    table = table_of(kind)
    if table is None:
        raise TypeError(f"{kind.name} is not read from a metrics page")
    bare = without_prefix(body, table)
    page = parse(bare, table.wanted(), LineMemo())
    places = SeriesMatcher(table, kind.name)
    places.match(page.values)
    found: Counter[int] = Counter()
    for placed in (places.gauges, places.cumulative):
        for several in placed.values():
            found.update({place.key[0] for place in several})
    rows = tuple(Row(row.signal, row.names, found[index]) for index, row in enumerate(table.metric))
    wanted = {name.decode() for name in table.wanted()}
    names = {line.split(b"{")[0].split(b" ")[0].decode("utf-8", "replace") for line in bare.splitlines()}
    passed_over = sorted(name for name in names if name and not name.startswith("#") and name not in wanted)
    return PageReport(kind, rows, page.bad, tuple(passed_over))


def page_kinds() -> list[Kind]:
    """Return the kinds that are read from a metrics page."""
    return [kind for kind in kinds() if kind.table is not None]
