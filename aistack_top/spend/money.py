"""The arithmetic of money: what runs, what idles, what a token costs, what a managed API would ask instead.

Pure functions of numbers; `aistack_top.spend.signals` brings the numbers. Each follows ``docs/spend.md``. What one of
the inputs does not tell, the result does not tell either: None, never 0. Money is USD.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TypeVar

from aistack_top.spend.prices import TokenPrice

W = TypeVar("W")

MILLION = 1e6
HOUR_S = 3600.0
DAY_H = 24.0

IDLE_BELOW = 0.05
"""A GPU that is busy for a smaller share of the time does nothing worth its price; a desktop's own use is less."""

GAP_S = 60.0
"""A longer silence of the GPUs is not billed: nobody saw that the node was there."""


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One allocated GPU at a moment.

    ``usd_hour``: its price. ``busy``: share of time in which a kernel ran. ``running``: requests in each engine that
    is linked to it, None for one that does not tell; empty without a link.
    """

    usd_hour: float | None
    busy: float | None
    running: tuple[float | None, ...] = ()

    @property
    def idle(self) -> bool | None:
        """Whether no engine on it runs a request and nothing else keeps it busy; None where that is not known."""
        if any(running for running in self.running) or (self.busy is not None and self.busy >= IDLE_BELOW):
            return False
        if self.busy is None or None in self.running:
            return None
        return True

    @property
    def idle_usd_hour(self) -> float | None:
        """What it costs an hour for nothing: its price, or 0 while it works."""
        idle = self.idle
        return None if idle is None or self.usd_hour is None else self.usd_hour if idle else 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Tokens a second that pass through one model served here, and what a managed API asks for that model."""

    input_s: float
    output_s: float
    price: TokenPrice | None

    @property
    def tokens_s(self) -> float:
        """Prompt and generated tokens together."""
        return self.input_s + self.output_s

    @property
    def managed_usd_hour(self) -> float | None:
        """What the same tokens cost an hour at the managed API."""
        if self.price is None:
            return 0.0 if self.tokens_s == 0 else None
        return (self.input_s * self.price.input + self.output_s * self.price.output) / MILLION * HOUR_S


def total(parts: Iterable[float | None]) -> float | None:
    """Return a sum, or None if one part of it is not known, or there is none."""
    known = list(parts)
    return None if not known or None in known else sum(part for part in known if part is not None)


def per_million_tokens(usd_hour: float | None, tokens_s: float | None) -> float | None:
    """Return what a million tokens cost at this pace: USD/h over tokens an hour; None while there are none."""
    if usd_hour is None or not tokens_s:
        return None
    return usd_hour / (tokens_s * HOUR_S) * MILLION


def managed_usd_hour(flows: Sequence[Flow]) -> float | None:
    """Return what the tokens of all models cost an hour at managed prices; None if one model has no such price."""
    return total(flow.managed_usd_hour for flow in flows)


def blended_per_token(flows: Sequence[Flow]) -> float | None:
    """Return the managed price of one token, USD, at the node's own present mix of models, prompts and answers.

    Without traffic there is no mix: then it is only known where every model asks the same for every token.
    """
    tokens_s = sum(flow.tokens_s for flow in flows)
    if tokens_s > 0:
        asked = managed_usd_hour(flows)
        return None if asked is None else asked / (tokens_s * HOUR_S)
    asked_for = {(flow.price.input, flow.price.output) if flow.price else None for flow in flows}
    one = asked_for.pop() if len(asked_for) == 1 else None
    return one[0] / MILLION if one is not None and one[0] == one[1] else None


def break_even_tokens_per_day(usd_hour: float | None, usd_per_token: float | None) -> float | None:
    """Return the tokens a day (24 h) for which a managed API asks as much as the node costs."""
    if usd_hour is None or not usd_per_token:
        return None
    return usd_hour * DAY_H / usd_per_token


def split(usd_hour: float, finished: Mapping[W, float], generated: float | None) -> tuple[dict[W, float], float]:
    """Divide a cost by the generated tokens of finished calls; return the shares and what nobody can be charged with.

    ``generated`` is what the engines say they generated in the same window. What of it no finished call accounts
    for (calls still running, clients that send no traces, and idling) stays undivided.
    """
    accounted = sum(finished.values())
    whole = max(accounted, generated or 0.0)
    if whole <= 0:
        return {}, usd_hour
    shares = {who: usd_hour * tokens / whole for who, tokens in finished.items() if tokens > 0}
    return shares, max(usd_hour * (whole - accounted) / whole, 0.0)


@lru_cache(64)
def zone(name: str) -> tzinfo | None:
    """Return a time zone by its IANA name; None if this machine does not know it."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return None


def midnight(moment: float, where: tzinfo) -> float:
    """Return when the local day of a moment began, in seconds since the epoch; days of 23 and 25 hours are right."""
    return _local(moment, where).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()


def month_hours(moment: float, where: tzinfo) -> float:
    """Return how many hours the local month of a moment has: 672 to 744, and one more or less where clocks change."""
    first = _local(moment, where).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (first + timedelta(days=32)).replace(day=1)
    return (following.timestamp() - first.timestamp()) / HOUR_S


def _local(moment: float, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, where)


class Meter:
    """Adds up a rate over the local day, from the moments at which it was known.

    Between two known moments the earlier rate is charged; silences longer than `GAP_S` are not charged, and
    `covered_s` tells how much of the day is. At midnight it begins anew.
    """

    def __init__(self) -> None:
        self.usd = 0.0
        self.covered_s = 0.0
        self._day = 0.0
        self._last: tuple[float, float] | None = None

    def add(self, at: float, usd_hour: float | None, day_began: float) -> None:
        """Take the rate at a moment, None where it is not known; moments come in order."""
        if day_began > self._day:
            self._day, self.usd, self.covered_s = day_began, 0.0, 0.0
        if usd_hour is None:
            return
        if self._last is not None and 0 < at - self._last[0] <= GAP_S:
            span = at - max(self._last[0], day_began)
            self.usd += self._last[1] * span / HOUR_S
            self.covered_s += span
        self._last = (at, usd_hour)
