"""Sources that are a metrics page and a table: nothing of theirs is code.

A kind's table makes the collector, what the page is known by on a node, and the queries to a Prometheus server that
scrapes the same page.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import msgspec

from collectors.openmetrics.collector import ExpositionCollector, Extractor
from collectors.openmetrics.identity import recognised
from collectors.openmetrics.table import Table, load
from collectors.runtime.auth import headers
from collectors.source_tables import TableFile, bundled

if TYPE_CHECKING:
    from collectors.config import PageSource
    from collectors.registry import CollectorContext


@lru_cache(maxsize=256)
def table_of(one: TableFile) -> Table:
    """Return a table whole; each is read once."""
    return load(one.text())


def table(layer: str, name: str) -> Table:
    """Return the bundled table of a kind of a layer.

    Raises:
        KeyError: there is none.

    """
    for one in bundled():
        if (one.known.source.layer, one.kind) == (layer, name):
            return table_of(one)
    raise KeyError(name)


def build(config: "PageSource", tools: "CollectorContext", add: Extractor | None = None) -> ExpositionCollector:
    """Return the collector of a configured page. Its address may be the server's or the page's own.

    ``add`` reads what the table cannot say, where it is not the kind's own adder.

    Raises:
        ConfigError: a secret is not to be found.

    """
    from collectors.registry import import_object, kind_of, source_of

    source, kind = source_of(config, deadline_s=config.timeout), kind_of(config)
    if kind.table is None:
        raise TypeError(f"{kind.name} has no table: it needs a build function of its own")
    if add is None and kind.adder:
        add = import_object(kind.adder)(source)
    read = table_of(kind.table)
    if prefix := getattr(config, "prefix", ""):
        read = msgspec.structs.replace(read, prefixes=(prefix,))
    url = config.url.rstrip("/")
    path = kind.local.path if kind.local else "/metrics"
    page = url if url.endswith(path) else f"{url}{path}"
    keys = headers(source.name, config.token)
    return ExpositionCollector(source, tools.client, tools.clock, read, page, headers=keys, add=add)


def page_matcher(one: TableFile) -> Callable[[bytes], bool]:
    """Return what tells the pages of a kind from others: what its table is known by."""
    return partial(recognised, table=table_of(one))
