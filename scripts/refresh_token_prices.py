"""Brings ``aistack_top/spend/token_prices.toml`` up to date from a table that is already on this machine.

    python scripts/refresh_token_prices.py                      # from an installed genai-prices
    python scripts/refresh_token_prices.py --litellm FILE       # from litellm's model_prices_and_context_window.json
    python scripts/refresh_token_prices.py --write              # and write what changed

Asks no network and is no part of the console. Rows are never added or dropped here: which models stand in the table,
and which self-hosted names they stand for, is decided by a person. A row that the source does not know is left as
it is and said. Without ``--write`` it exits 1 when there is something to change.
"""

import argparse
import difflib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from math import isclose
from pathlib import Path

import msgspec

from aistack_top.spend.prices import TokenPrice, TokenRow, read_token_rows
from collectors.prices.genai import EXTRA, installed, prices_of, title

TABLE = Path(__file__).parent.parent / "aistack_top" / "spend" / "token_prices.toml"

LITELLM_PROVIDERS = {"together": "together_ai", "fireworks": "fireworks_ai"}
"""Where litellm's name for a provider is not ours, which is genai-prices'."""

Lookup = Callable[[TokenRow], TokenPrice | None]


def main(arguments: list[str] | None = None) -> int:
    """Print the difference; write it if asked to. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Refresh the table of managed token prices, offline.")
    parser.add_argument("--litellm", type=Path, metavar="FILE", help="litellm's JSON table instead of genai-prices")
    parser.add_argument("--table", type=Path, default=TABLE, help="the table to refresh")
    parser.add_argument("--write", action="store_true", help="write the refreshed table")
    options = parser.parse_args(arguments)
    try:
        before = options.table.read_text(encoding="utf-8")
        rows = read_token_rows(before, options.table.name)
        lookup, source = from_litellm(options.litellm) if options.litellm else from_genai_prices()
        after = head(before) + "".join(written(row) for row in refreshed(rows, lookup, source, _today()))
        read_token_rows(after, "refreshed table")
    except (ValueError, OSError, ImportError) as error:
        print(f"not refreshed: {error}", file=sys.stderr)
        return 2
    if after == before:
        print(f"nothing to change: {len(rows)} rows as in {source}", file=sys.stderr)
        return 0
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "now", "refreshed", lineterm="", n=2)
    print("\n".join(lines))
    if options.write:
        options.table.write_text(after, encoding="utf-8")
    return 0 if options.write else 1


def refreshed(rows: tuple[TokenRow, ...], lookup: Lookup, source: str, today: date) -> list[TokenRow]:
    """Return the rows with the prices that the source tells; only a changed price gets a new date."""
    fresh = []
    for row in rows:
        price = lookup(row)
        if price is None:
            print(f"{row.id}: not in {source}; left as of {row.date}", file=sys.stderr)
        elif not (isclose(price.input, row.input) and isclose(price.output, row.output)):
            row = msgspec.structs.replace(row, input=price.input, output=price.output, date=today, source=source)
        fresh.append(row)
    return fresh


def from_litellm(path: Path) -> tuple[Lookup, str]:
    """Return a lookup in litellm's table, whose prices are USD a token, and its name.

    Raises:
        ValueError: the file is not such a table.
    """
    table = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(table, dict):
        raise ValueError(f"{path.name} is not litellm's table of prices")

    def lookup(row: TokenRow) -> TokenPrice | None:
        entry = table.get(f"{LITELLM_PROVIDERS.get(row.provider, row.provider)}/{row.model}")
        if not isinstance(entry, dict):
            return None
        per_token = [entry.get("input_cost_per_token"), entry.get("output_cost_per_token")]
        return _price(row, [round(p * 1e6, 9) if isinstance(p, int | float) else p for p in per_token])

    return lookup, f"litellm {path.name}"


def from_genai_prices() -> tuple[Lookup, str]:
    """Return a lookup in the installed genai-prices, and its name with its version.

    Raises:
        ImportError: it is not installed.
    """
    if not installed():
        raise ImportError(f"genai-prices is not installed: {EXTRA}")

    def lookup(row: TokenRow) -> TokenPrice | None:
        return prices_of([row.id], time.time())[0].get(row.id)

    return lookup, title()


def head(text: str) -> str:
    """Return what stands in a table before its first row."""
    return text.partition("[[row]]")[0]


def written(row: TokenRow) -> str:
    """Return a row as TOML."""
    serves = "".join(f"  {json.dumps(name)},\n" for name in row.serves)
    return (
        f"[[row]]\nprovider = {json.dumps(row.provider)}\nmodel = {json.dumps(row.model)}\n"
        f"input = {row.input!r}\noutput = {row.output!r}\ndate = {row.date.isoformat()}\n"
        f"source = {json.dumps(row.source)}\nserves = [\n{serves}]\n\n"
    )


def _price(row: TokenRow, told: list[object]) -> TokenPrice | None:
    try:
        return msgspec.convert({"input": told[0], "output": told[1]}, TokenPrice)
    except msgspec.ValidationError as error:
        print(f"{row.id}: the source says no price: {error}", file=sys.stderr)
        return None


def _today() -> date:
    return datetime.now(UTC).date()


if __name__ == "__main__":
    sys.exit(main())
