"""Prices of some two thousand managed models by ``genai-prices``, where it is installed: the extra ``prices``.

It holds its table itself and is asked nothing that goes over the network. Its import takes half a second, so it is
asked only for rows that no table of ours has.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec

import msgspec

from aistack_top.spend.prices import TokenPrice

EXTRA = "pip install 'aistack-top[prices]'"


def installed() -> bool:
    """Whether it is there, without the price of importing it."""
    return find_spec("genai_prices") is not None


def title() -> str:
    """Return its name with its version: where a price comes from, and how old it can be."""
    from importlib.metadata import version  # 20 ms of a start that hardly anybody needs it for

    return f"genai-prices {version('genai-prices')}"


def prices_of(rows: Iterable[str], now: float) -> tuple[dict[str, TokenPrice], list[str]]:
    """Return the price of each row (``provider/model``, by its own names) for short prompts, and problems.

    ``now``: seconds since the epoch; some providers ask less at night.
    """
    if not installed():
        return {}, [f"no row {row!r} in the table of token prices; more come with: {EXTRA}" for row in rows]
    wanted = tuple(rows)
    known = {
        name: model
        for provider in import_module("genai_prices.data").providers
        for model in provider.models
        if (name := f"{provider.id}/{model.id}") in wanted
    }
    found: dict[str, TokenPrice] = {}
    problems = []
    for row in wanted:
        if row not in known:
            problems.append(f"no row {row!r} in the table of token prices, nor in {title()}")
            continue
        told = known[row].get_prices(datetime.fromtimestamp(now, UTC))
        try:
            found[row] = msgspec.convert(
                {"input": _usd(told, "input_mtok"), "output": _usd(told, "output_mtok")}, TokenPrice
            )
        except (TypeError, ValueError):
            problems.append(f"{title()} has no price a token for {row!r}")
    return found, problems


def _usd(told: object, key: str) -> float:
    asked = getattr(told, key)
    # one that asks more for long prompts says both; what is compared here are usual ones
    return float(getattr(asked, "base", asked))
