"""The table ``[spend]`` of the configuration: what this node costs, and whom to compare it with."""

import datetime
import difflib
from typing import Literal

import msgspec

from aistack_top.spend.money import zone
from aistack_top.spend.prices import ANY_GPU, Basis, Dollars, PriceError, TokenPrice, from_list, token_rows
from collectors.prices.genai import EXTRA, installed


class SpendSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices of this node. Without one no dollars are shown: a list price is used only if you choose one."""

    prices: str = ""
    """A named list of GPU prices, such as ``seed-2026-06``."""

    gpu_hour: Dollars | dict[str, Dollars] | None = None
    """USD an hour for one GPU, or by NVML's name of a GPU, when one knows better than a list."""

    node_hour: Dollars | None = None
    """USD an hour for the whole node, whatever is in it."""

    basis: Basis = "on_demand"
    """What kind of price is paid: ``on_demand``, ``spot``, ``reserved``, ``owned``."""

    provider: str = ""
    """Whom it is paid to; shown beside the price."""

    date: datetime.date | None = None
    """As of when the price is right; shown beside it."""

    allocated: Literal["all", "used"] = "all"
    """Which GPUs are paid for: all that are seen, or those with a process or an engine."""

    time_zone: str = ""
    """Whose midnight ends a day, such as ``Europe/Berlin``; this machine's own if empty."""

    engines: tuple[str, ...] = ()
    """The servers that run on this node's GPUs; all that are watched if empty."""

    local_models: tuple[str, ...] = ()
    """Names that calls use for models served here, where the engines use other names."""

    managed: dict[str, str | TokenPrice] = {}
    """By name of a model served here: a row of the token table (``provider/model``), or its own price.

    With the extra ``prices`` also a row of genai-prices."""

    token_prices: str = ""
    """A file with more rows for the token table, in the form of ``token_prices.toml``."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself or names what does not exist."""
        given = [key for key in ("prices", "gpu_hour", "node_hour") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"[spend] says {' and '.join(given)}; keep one of them")
        if self.node_hour is not None and self.allocated == "used":
            raise ValueError("allocated = 'used' has no effect with node_hour; set gpu_hour, or leave allocated out")
        if self.time_zone and zone(self.time_zone) is None:
            raise ValueError(f"time_zone: {self.time_zone!r} is not a known time zone; write it as 'Europe/Berlin'")
        if self.prices:
            _check_list(self.prices, self.basis)
        if isinstance(self.gpu_hour, dict) and ANY_GPU in self.gpu_hour:
            raise ValueError("gpu_hour: a GPU without a name; write gpu_hour = 2.5 for all of them")
        if not self.token_prices:
            _check_rows(self.managed)


def _check_list(name: str, basis: Basis) -> None:
    try:
        _, known = from_list(name)
    except PriceError as error:
        raise ValueError(f"prices: {error}") from None
    if not any(basis in row for row in known.values()):
        raise ValueError(f"basis: {name} has no prices for {basis!r}; choose one of those it has")


def _check_rows(managed: dict[str, str | TokenPrice]) -> None:
    known = [row.id for row in token_rows()]
    for model, row in managed.items():
        if isinstance(row, str) and row not in known and not installed():
            near = difflib.get_close_matches(row, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}; more with: {EXTRA}"
            raise ValueError(f"managed: no such row for {model!r}: {row!r}{hint}")
