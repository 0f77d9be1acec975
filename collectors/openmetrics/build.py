"""Sources that are a metrics page and a table: nothing of theirs is code.

The table of a kind is ``collectors/LAYER/NAME.toml``; it makes the collector, the fingerprint by which the page is
known on a node, and the queries to a Prometheus server that scrapes the same page.
"""

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING

from collectors.openmetrics.collector import ExpositionCollector, Extractor, identified
from collectors.openmetrics.table import Table, load
from collectors.runtime.auth import headers

if TYPE_CHECKING:
    from collectors.config import AnyPage
    from collectors.registry import CollectorContext


@cache
def table(layer: str, name: str) -> Table:
    """Return the table of a kind; each is read once."""
    return load(files("collectors.tables").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def build(config: "AnyPage", tools: "CollectorContext", add: Extractor | None = None) -> ExpositionCollector:
    """Return the collector of a configured page. Its address may be the server's or the page's own.

    ``add`` reads what the table cannot say.

    Raises:
        ConfigError: a secret is not to be found.

    """
    from collectors.registry import kind_of, source_of

    source, kind = source_of(config, deadline_s=config.timeout), kind_of(config)
    url = config.url.rstrip("/")
    page = url if url.endswith("/metrics") else f"{url}/metrics"
    keys = headers(source.name, config.token)
    return ExpositionCollector(
        source, tools.client, tools.clock, table(kind.layer, kind.name), page, headers=keys, add=add
    )


def page_matcher(layer: str, name: str) -> Callable[[bytes], bool]:
    """Return what tells the pages of a kind from others: what its table is known by."""
    return partial(identified, table=table(layer, name))
