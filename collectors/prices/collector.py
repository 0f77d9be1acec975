"""What this node and managed tokens cost, as configured: said as facts, so that a recording carries it.

Asks nobody over the network. A price file that cannot be used is told in the health record; the other prices stand.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch
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
from aistack_top.text.sanitize import sanitize
from collectors.prices.genai import prices_of
from collectors.prices.settings import SpendSettings
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.threads import DaemonCaller

INTERVAL_S = 60.0
LOOKUP_DEADLINE_S = 20.0
"""genai-prices takes half a second to import, and some more on a busy node."""

MAX_BYTES = 1_000_000
"""Bytes of a price file; the largest useful one has some thousand rows."""

SET_IT = "set gpu_hour, node_hour or prices under [spend] of the configuration"

LOCAL_TIME = Path("/etc/localtime")


class PriceCollector:
    """Tells the configured prices. See `collectors.runtime.base.Collector`."""

    def __init__(self, config: SpendSettings, clock: Clock) -> None:
        self._source = Source("prices", "prices", "spend", INTERVAL_S)
        self._clock = clock
        self._keeper = HealthTracker(self._source)
        self._prices = settings(config, local_zone(os.environ))
        self._problems: list[str] = []
        self._late = ""
        try:
            rows = (*token_rows(), *own_rows(config.token_prices))
        except PriceError as error:
            rows = token_rows()
            self._problems += error.problems
        self._managed, self._lost = managed_prices(config, rows)
        self._dated = dates(rows)
        self._caller = DaemonCaller("prices")

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        if self._lost:
            await self._look_further()
        now = self._clock.now()
        said = self._prices.sentence()
        if not self._prices.known:
            said += f": {SET_IT}"
        said += f"; {self._dated}"
        health = self._keeper.success(now, 0.0, reason=said)
        problems = [*self._problems, *([self._late] if self._late else [])]
        if problems:
            health = self._keeper.failure(now, SourceError("misconfigured", sanitize("; ".join(problems), 300)))
        return Batch(now, now, health, facts=facts_of(self._prices, self._managed))

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        self._caller.close()

    async def _look_further(self) -> None:
        """Ask genai-prices for rows that no table here has; each time, since some prices change with the hour."""
        now, wanted = self._clock.now(), dict.fromkeys(self._lost.values())
        try:
            found, problems = await self._caller.call(lambda: prices_of(wanted, now), LOOKUP_DEADLINE_S)
        except TimeoutError:  # a busy node: what was known stands until the next time
            self._late = f"genai-prices did not answer within {LOOKUP_DEADLINE_S:.0f} s"
        except (ImportError, AttributeError, TypeError) as error:  # another version of it, or half of one
            self._lost = {}
            self._problems.append(f"genai-prices is unusable: {error}")
        else:
            self._late = ""
            self._problems += problems
            self._lost = {model: row for model, row in self._lost.items() if row in found}
            self._managed |= {model: found[row] for model, row in self._lost.items()}


def settings(config: SpendSettings, own_zone: str) -> Prices:
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
        provider=sanitize(config.provider, 60),
        allocated=config.allocated,
        zone=config.time_zone or own_zone,
        engines=config.engines,
        local_models=config.local_models,
    )


def managed_prices(config: SpendSettings, rows: tuple[TokenRow, ...]) -> tuple[dict[str, TokenPrice], dict[str, str]]:
    """Return the managed price of each model that people host themselves, by the name it is served under.

    The configuration goes before the rows, and a later row before an earlier one. Also returns which model is told to
    cost what a row says that is not among them.
    """
    prices = {served: row.price for row in rows for served in row.serves}
    by_id = {row.id: row.price for row in rows}
    lost = {}
    for model, told in config.managed.items():
        price = by_id.get(told) if isinstance(told, str) else told
        if price is not None:
            prices[model] = price
        elif isinstance(told, str):
            lost[model] = told
    return prices, lost


def dates(rows: tuple[TokenRow, ...]) -> str:
    """Return as of when the prices of tokens are right, in words."""
    known = sorted({row.date.isoformat() for row in rows})
    return f"token prices as of {known[0]}" + (f" to {known[-1]}" if len(known) > 1 else "")


def local_zone(environ: Mapping[str, str], link: Path = LOCAL_TIME) -> str:
    """Return this machine's time zone by its IANA name; UTC, and stated so, where it has none."""
    named = environ.get("TZ", "").lstrip(":")
    if not named:
        named = str(link.resolve()).rpartition("zoneinfo/")[2]
    return named if named and zone(named) is not None else "UTC"


def own_rows(file: str) -> tuple[TokenRow, ...]:
    """Return the rows of the user's own file of token prices; none where none is named.

    Raises:
        PriceError: it cannot be used.
    """
    if not file:
        return ()
    path = Path(file).expanduser()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PriceError([f"{path}: larger than {MAX_BYTES // 10**6} MB; not read"])
        return read_token_rows(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PriceError([f"{path}: cannot be read: {error}"]) from None
