"""The node's own numbers: what it costs, what of it idles, what a million tokens cost on it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import ReadingsBuilder
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


def write_token_costs(
    out: ReadingsBuilder, gpus: Mapping[Entity, GpuUse], usd_hour: float | None, engines: Iterable[EngineTokens]
) -> None:
    """Tell what a million generated tokens cost: on the whole node, and by model where its GPUs are its own."""
    users: defaultdict[Entity, set[str]] = defaultdict(set)
    by_model: defaultdict[str, list[EngineTokens]] = defaultdict(list)
    for engine in engines:
        by_model[engine.model].append(engine)
        for gpu in engine.gpus:
            users[gpu].add(engine.model)
    generated = total(engine.output_s for members in by_model.values() for engine in members)
    out.add("spend.per_million_tokens", SERVICE, per_million_tokens(usd_hour, generated))
    for model, members in by_model.items():
        used = {gpu for engine in members for gpu in engine.gpus}
        alone = all(users[gpu] == {model} and gpu in gpus for gpu in used)
        if model and alone and all(engine.gpus for engine in members):
            cost = total(gpus[gpu].usd_hour for gpu in used)
            tokens = total(engine.output_s for engine in members)
            out.add("spend.per_million_tokens", Entity.of(model=model), per_million_tokens(cost, tokens))
