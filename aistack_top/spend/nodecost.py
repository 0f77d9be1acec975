"""The node's own numbers: what it costs, who holds its GPUs, what of it idles, what a million tokens cost on it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import ReadingsBuilder
from aistack_top.spend.holders import OTHER, Holding, own_gpus_only
from aistack_top.spend.money import GpuUse, per_million_tokens, total
from aistack_top.spend.node import EngineTokens
from aistack_top.spend.prices import Prices


def node_rate(gpus: Mapping[Entity, GpuUse], prices: Prices) -> float | None:
    """Return USD an hour of the node; None where a price, or whether a GPU is paid for, is not known."""
    if not prices.known:
        return None
    if prices.node_hour is not None:
        return prices.node_hour
    return total(use.usd_hour for use in gpus.values()) if gpus else 0.0


def write_gpu_costs(out: ReadingsBuilder, gpus: Mapping[Entity, GpuUse], usd_hour: float | None) -> None:
    """Tell what the node and each GPU cost, and what of it burns idle."""
    for gpu, use in gpus.items():
        out.add("spend.rate", gpu, use.usd_hour)
        out.add("spend.idle.rate", gpu, use.idle_usd_hour)
    out.add("spend.node.rate", SERVICE, usd_hour)
    out.add("spend.idle.rate", SERVICE, total(use.idle_usd_hour for use in gpus.values()) if gpus else 0.0)


def add_holdings(out: ReadingsBuilder, rows: Mapping[Entity, Holding], usd_hour: float | None) -> None:
    """Add what each holder of GPUs costs and what of that burns idle; the rows add up to the node."""
    for holder, held in rows.items():
        out.add("spend.held.rate", holder, held.usd_hour)
        out.add("spend.idle.rate", holder, held.idle_usd_hour)
    if not rows and usd_hour:  # a node with a price of its own, of which no GPU is seen
        out.add("spend.held.rate", OTHER, usd_hour)


def add_tokens(
    out: ReadingsBuilder,
    rows: Mapping[Entity, Holding],
    linked: Mapping[Entity, Collection[Entity]],
    usd_hour: float | None,
    engines: Iterable[EngineTokens],
) -> None:
    """Add the generated tokens a second, and what a million of them cost: on the node, and by model.

    A model has a price of its own where all its engines are linked to GPUs, and these to no other model: then what it
    holds divided by its tokens is what they cost.
    """
    members: defaultdict[Entity, list[EngineTokens]] = defaultdict(list)
    for engine in engines:
        members[engine.holder].append(engine)
    _add_row(out, SERVICE, usd_hour, total(engine.output_s for of in members.values() for engine in of))
    for holder, of in members.items():
        whole = holder in rows and own_gpus_only(holder, linked) and all(engine.gpus for engine in of)
        _add_row(out, holder, rows[holder].usd_hour if whole else None, total(engine.output_s for engine in of))


def _add_row(out: ReadingsBuilder, whose: Entity, usd_hour: float | None, tokens_s: float | None) -> None:
    out.add("spend.tokens.rate", whose, tokens_s)
    out.add("spend.per_million_tokens", whose, per_million_tokens(usd_hour, tokens_s))
