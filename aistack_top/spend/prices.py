"""What a GPU hour and a million tokens cost, with date and source: the tables, and the prices of one session.

| file | what it holds |
|---|---|
| ``gpu_prices.toml`` | named lists of GPU prices; one is used only if the configuration names it |
| ``token_prices.toml`` | what a managed API asks for the models that people also host themselves |

The prices in force travel with the session as facts, so that a replay elsewhere says the same dollars.
"""

import datetime
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Annotated, Literal, TypeVar, get_args

import msgspec

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Fact
from aistack_top.store.facts import Facts

Basis = Literal["on_demand", "spot", "reserved", "owned"]
BASES: tuple[Basis, ...] = get_args(Basis)

MAX_USD = 100_000.0
"""No GPU hour and no million tokens cost more; a larger number is a slip of the keyboard."""

NOT_SET = "$/h not set"
ANY_GPU = ""
PRICES_FACT = "spend_prices"
MANAGED_FACT = "managed_price"

Dollars = Annotated[float, msgspec.Meta(gt=0, le=MAX_USD)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=MAX_USD)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]

T = TypeVar("T")


class PriceError(ValueError):
    """A price table cannot be used; ``problems`` are sentences, each with the name of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class TokenPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a managed API asks for a million tokens of a prompt and of an answer, in USD; no discount for caching."""

    input: Rate
    output: Rate


class TokenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the token table: the price of one model at one provider, and the self-hosted names it stands for."""

    provider: Text
    model: Text
    input: Rate
    output: Rate
    date: datetime.date
    source: Text
    serves: tuple[Text, ...] = ()

    @property
    def id(self) -> str:
        """The row's name in the configuration: ``provider/model``."""
        return f"{self.provider}/{self.model}"

    @property
    def price(self) -> TokenPrice:
        """The price without its history."""
        return TokenPrice(self.input, self.output)


class GpuList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named list of GPU prices, in USD an hour for one GPU."""

    name: Text
    title: Text
    date: datetime.date
    source: Text
    gpu: dict[str, dict[Basis, Dollars]]


class GpuTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All lists of GPU prices, and which GPU of NVML's is which of theirs."""

    names: dict[str, str]
    list: tuple[GpuList, ...]


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The prices and rules of one session; empty where nothing is known, and then no dollars are shown.

    ``gpus``: USD an hour by NVML's name of a GPU and by basis, `ANY_GPU` for every other one. ``node_hour``: USD
    an hour for the whole node, whatever is in it. ``basis`` is the one that is paid. ``allocated``: which GPUs are
    paid for, all of the node or those with a process or an engine. ``zone``: whose midnight ends a day. ``engines``:
    the servers on this node's GPUs, all that are watched if none is named. ``local_models``: names in calls that
    mean a model served here.
    """

    gpus: dict[str, dict[Basis, Dollars]] = {}
    node_hour: Dollars | None = None
    basis: Basis = "on_demand"
    title: str = ""
    date: str = ""
    provider: str = ""
    allocated: Literal["all", "used"] = "all"
    zone: str = "UTC"
    engines: tuple[str, ...] = ()
    local_models: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything is known about what this node costs."""
        return self.node_hour is not None or bool(self.gpus)

    def gpu_hour(self, name: str | None, basis: Basis | None = None) -> float | None:
        """Return USD an hour of a GPU by its NVML name, at the basis that is paid or another; None if not known."""
        row = self.gpus.get(name) if name else None
        return (row or self.gpus.get(ANY_GPU, {})).get(basis or self.basis)

    def sentence(self) -> str:
        """Return what is paid, in words: price, scope, basis, date, provider, and where a day ends."""
        if not self.known:
            return NOT_SET
        one = self.gpus.get(ANY_GPU, {}).get(self.basis)
        if self.node_hour is not None:
            what = f"${self.node_hour:,.2f}/h for the node"
        elif one is not None and len(self.gpus) == 1:
            what = f"${one:,.2f}/h a GPU"
        else:
            what = f"$/h by GPU model ({self.title})"
        since = f"as of {self.date}" if self.date else "date not given"
        parts = [what, self.basis.replace("_", " "), since, self.provider, f"days end in {self.zone}"]
        return ", ".join(part for part in parts if part)


def facts_of(prices: Prices, managed: Mapping[str, TokenPrice]) -> tuple[Fact, ...]:
    """Return the facts that carry prices through a recording; the sentence among them makes a change visible."""
    facts = [
        Fact(SERVICE, PRICES_FACT, msgspec.json.encode(prices).decode(), watched=False),
        Fact(SERVICE, "spend_price", prices.sentence()),
    ]
    for model, price in managed.items():
        told = msgspec.json.encode(price).decode()
        facts.append(Fact(Entity.of(model=model.casefold()), MANAGED_FACT, told, watched=False))
    return tuple(facts)


def prices_in(facts: Facts) -> Prices:
    """Return the prices that facts carry; none at all where they carry none or nonsense."""
    return _decoded(facts.get(SERVICE, PRICES_FACT) or "{}", Prices) or Prices()


def managed_in(facts: Facts, model: str) -> TokenPrice | None:
    """Return what a managed API asks for a model, by the name under which it is served here; None if not known."""
    told = facts.get(Entity.of(model=model.casefold()), MANAGED_FACT)
    return _decoded(told, TokenPrice) if told else None


@cache
def gpu_table() -> GpuTable:
    """Return the project's lists of GPU prices."""
    return read_gpu_table(_shipped("gpu_prices.toml"), "gpu_prices.toml")


@cache
def token_rows() -> tuple[TokenRow, ...]:
    """Return the project's table of managed token prices."""
    return read_token_rows(_shipped("token_prices.toml"), "token_prices.toml")


def read_gpu_table(text: str, name: str) -> GpuTable:
    """Return the lists that a text holds; ``name`` stands before each problem.

    Raises:
        PriceError: it is not TOML, or says prices that are none.
    """
    try:
        return msgspec.convert(_toml(text, name), GpuTable)
    except msgspec.ValidationError as error:
        raise PriceError([f"{name}: {_said(error)}"]) from None


def read_token_rows(text: str, name: str) -> tuple[TokenRow, ...]:
    """Return the rows of a token table; ``name`` stands before each problem.

    Raises:
        PriceError: it is not TOML, a row says no price, or two rows claim the same name.
    """
    raw = _toml(text, name)
    listed = raw.get("row", [])
    problems = [f"{name}: unknown key {key!r}; known: row" for key in raw if key != "row"]
    if not isinstance(listed, list):
        listed, problems = [], [*problems, f"{name}: write [[row]] with two brackets: there can be several"]
    rows: list[TokenRow] = []
    for number, table in enumerate(listed, 1):
        try:
            rows.append(msgspec.convert(table, TokenRow))
        except msgspec.ValidationError as error:
            problems.append(f"{name}: row {number}: {_said(error)}")
    claimed: dict[str, str] = {}
    for row in rows:
        for served in row.serves:
            other = claimed.setdefault(served.casefold(), row.id)
            if other != row.id:
                problems.append(f"{name}: {served!r} is claimed by {other} and by {row.id}")
    if problems:
        raise PriceError(problems)
    return tuple(rows)


def from_list(name: str) -> tuple[GpuList, dict[str, dict[Basis, float]]]:
    """Return a list by its name, and its prices by what NVML calls the GPUs.

    Raises:
        PriceError: there is no such list.
    """
    table = gpu_table()
    found = next((one for one in table.list if one.name == name), None)
    if found is None:
        raise PriceError([f"no such list of prices: {name!r}; known: {', '.join(one.name for one in table.list)}"])
    return found, {told: found.gpu[key] for told, key in table.names.items() if key in found.gpu}


def _shipped(name: str) -> str:
    return files("aistack_top.spend").joinpath(name).read_text(encoding="utf-8")


def _toml(text: str, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PriceError([f"{name}: not valid TOML: {error}"]) from None


def _said(error: msgspec.ValidationError) -> str:
    return str(error).replace("`", "'")


@lru_cache(256)
def _decoded(text: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        return None
