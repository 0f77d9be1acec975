"""What this node and managed tokens cost, as configured: said as facts, so that a recording carries it.

Asks nobody. A price file that cannot be used is told in the health record; the other prices stand.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from aistack_top.clock import Clock
from aistack_top.plain import plain
from aistack_top.spend.money import zone
from aistack_top.spend.prices import (
    ANY_GPU,
    Basis,
    PriceError,
    Prices,
    TokenPrice,
    TokenRow,
    facts_of,
    from_list,
    read_token_rows,
    token_rows,
)
from aistack_top.tick import Batch
from collectors.base import HealthKeeper, Source, SourceError
from collectors.spend.settings import Spend

INTERVAL_S = 60.0
LARGEST = 1_000_000
"""Bytes of a price file; the largest useful one has some thousand rows."""

SET_IT = "set gpu_hour, node_hour or prices under [spend] of the configuration"

LOCAL_TIME = Path("/etc/localtime")


class PriceCollector:
    """Tells the configured prices. See `collectors.base.Collector`."""

    def __init__(self, config: Spend, clock: Clock) -> None:
        self._source = Source("prices", "prices", "spend", INTERVAL_S)
        self._clock = clock
        self._keeper = HealthKeeper(self._source)
        self._prices = settings(config, local_zone(os.environ))
        self._problem = ""
        try:
            managed = managed_prices(config)
        except PriceError as error:
            self._problem = plain(str(error), 300)
            managed = managed_prices(config, own_file=False)
        self._facts = facts_of(self._prices, managed)

    @property
    def source(self) -> Source:
        """See `collectors.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.base.Collector.collect`."""
        now = self._clock.now()
        said = self._prices.sentence()
        if not self._prices.known:
            said += f": {SET_IT}"
        health = self._keeper.good(now, 0.0, reason=said)
        if self._problem:
            health = self._keeper.bad(now, SourceError("misconfigured", self._problem))
        return Batch(now, now, health, facts=self._facts)

    async def aclose(self) -> None:
        """See `collectors.base.Collector.aclose`; there is nothing to let go of."""


def settings(config: Spend, own_zone: str) -> Prices:
    """Return the prices and rules of a configuration; ``own_zone`` is this machine's time zone."""
    title, date = ("set in the configuration" if config.gpu_hour or config.node_hour else ""), config.date
    gpus: dict[str, dict[Basis, float]] = {}
    if config.prices:
        chosen, gpus = from_list(config.prices)
        title, date = chosen.title, chosen.date
    elif isinstance(config.gpu_hour, dict):
        gpus = {name: {config.basis: usd} for name, usd in config.gpu_hour.items()}
    elif config.gpu_hour is not None:
        gpus = {ANY_GPU: {config.basis: config.gpu_hour}}
    return Prices(
        gpus=gpus,
        node_hour=config.node_hour,
        basis=config.basis,
        title=title,
        date=date.isoformat() if date else "",
        provider=plain(config.provider, 60),
        allocated=config.allocated,
        zone=config.time_zone or own_zone,
        engines=config.engines,
        local_models=config.local_models,
    )


def managed_prices(config: Spend, *, own_file: bool = True) -> dict[str, TokenPrice]:
    """Return the managed price of each model that people host themselves, by the name it is served under.

    The configuration goes before the user's own file, and that before the project's table.

    Raises:
        PriceError: the user's file cannot be used, or a row that is named is nowhere.
    """
    rows: tuple[TokenRow, ...] = token_rows()
    if config.token_prices and own_file:
        rows += _own_rows(Path(config.token_prices).expanduser())
    prices = {served: row.price for row in rows for served in row.serves}
    by_id = {row.id: row.price for row in rows}
    lost = [told for told in config.managed.values() if isinstance(told, str) and told not in by_id]
    if lost and own_file:
        raise PriceError([f"no row {row!r} in the table of token prices" for row in lost])
    for model, told in config.managed.items():
        price = by_id.get(told) if isinstance(told, str) else told
        if price is not None:
            prices[model] = price
    return prices


def local_zone(environ: Mapping[str, str], link: Path = LOCAL_TIME) -> str:
    """Return this machine's time zone by its IANA name; UTC, and stated so, where it has none."""
    named = environ.get("TZ", "").lstrip(":")
    if not named:
        named = str(link.resolve()).rpartition("zoneinfo/")[2]
    return named if named and zone(named) is not None else "UTC"


def _own_rows(path: Path) -> tuple[TokenRow, ...]:
    try:
        if path.stat().st_size > LARGEST:
            raise PriceError([f"{path}: larger than {LARGEST // 10**6} MB; not read"])
        return read_token_rows(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError([f"{path}: cannot be read: {error}"]) from None
