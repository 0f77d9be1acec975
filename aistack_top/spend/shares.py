"""What finished calls can be charged with: tenants, managed models, and what of the node stays with nobody.

A call of a model served here pays for the working GPUs of that model, by its generated tokens among all that the
model's engines generated; tokens of different models are never compared. So idle GPUs, training and GPUs without a
known holder are with nobody: what is not attributed is never less than what burns idle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aistack_top.derive.tenants import Names as Tenants
from aistack_top.derive.tenants import shown_as
from aistack_top.model.entity import Entity
from aistack_top.spend.holders import Holding
from aistack_top.spend.money import HOUR_S, split, total
from aistack_top.spend.node import EngineNames, EngineTokens
from aistack_top.spend.usage import Key, UsageSums


@dataclass(frozen=True, slots=True)
class ModelCost:
    """A model served here: USD an hour of its GPUs that are not idle, and the tokens a second that it generates."""

    usd_hour: float
    generated: float


@dataclass(frozen=True, slots=True)
class Shares:
    """USD an hour: of all managed calls, by managed model, by tenant, and what of the node is with nobody.

    ``tenants`` and ``unattributed`` are None where they are not known.
    """

    managed_usd_hour: float
    models: dict[Entity, float]
    tenants: dict[Entity, float] | None
    unattributed: float | None


def model_costs(rows: Mapping[Entity, Holding], engines: Iterable[EngineTokens]) -> dict[str, ModelCost] | None:
    """Return what calls of each model can be charged with; None where an engine does not tell its tokens."""
    generated: defaultdict[str, float] = defaultdict(float)
    for engine in engines:
        if engine.output_s is None:
            return None
        generated[engine.model] += engine.output_s
    found = {}
    for holder, held in rows.items():
        model, usd_hour = holder.get("model"), held.working_usd_hour
        if model and usd_hour is not None:
            found[model] = ModelCost(usd_hour, generated.get(model, 0.0))
    return found


def shares_of(
    usage: tuple[UsageSums, float] | None,
    node_usd_hour: float | None,
    costs: Mapping[str, ModelCost] | None,
    proxy: Mapping[Key, float] | None,
    names: EngineNames,
    named: Tenants,
) -> Shares | None:
    """Return what calls of a minute cost; None where neither calls nor a proxy tell.

    ``usage``: the calls and the seconds that they cover. ``costs``: what calls of each model can be charged with,
    None where that is not known. ``proxy``: managed calls by a proxy's books, which go before the calls' own cost; a
    proxy names no tenant.
    """
    managed = proxy
    if usage is not None and managed is None:
        found, covers = usage
        managed = {key: usd * HOUR_S / covers for key, usd in found.cost.items() if not names.local(key[0])}
    if managed is None:
        return None
    models: defaultdict[Entity, float] = defaultdict(float)
    for (model, _), usd in managed.items():
        if model:
            models[Entity.of(model=model)] += usd
    charged = None if usage is None or costs is None else _charged(usage, costs, names)
    whole = None
    if charged is not None and named:
        tenants: defaultdict[Entity, float] = defaultdict(float)
        for (_, tenant), usd in (*charged.items(), *managed.items()):
            tenants[Entity.of(tenant=shown_as(tenant, named))] += usd
        whole = dict(tenants)
    rest = None
    if charged is not None and node_usd_hour is not None:
        rest = max(node_usd_hour - (total(charged.values()) or 0.0), 0.0)
    return Shares(sum(managed.values()), dict(models), whole, rest)


def _charged(usage: tuple[UsageSums, float], costs: Mapping[str, ModelCost], names: EngineNames) -> dict[Key, float]:
    """Return what the calls of each model and tenant pay of the node."""
    found, covers = usage
    finished: defaultdict[str, dict[Key, float]] = defaultdict(dict)
    for key, tokens in found.tokens.items():
        served = names.served_as(key[0])
        if served is not None and served in costs:
            finished[served][key] = tokens / covers
    charged: dict[Key, float] = {}
    for served, tokens_of in finished.items():
        charged |= split(costs[served].usd_hour, tokens_of, costs[served].generated)[0]
    return charged
