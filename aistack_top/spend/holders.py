"""Who holds each GPU that is paid for, so that every dollar of the node stands in exactly one row.

| row | pays for |
|---|---|
| ``model`` | the GPUs that only engines of this model are linked to, busy or not |
| ``engine`` | the same for an engine that names no model |
| `TRAINING` | GPUs without an engine that a scheduler of training jobs has given out |
| `SHARED` | GPUs with engines of several models: tokens of different models do not compare |
| `FREE` | GPUs that nobody holds and on which nothing runs |
| `OTHER` | all others: busy, or not known to be idle, without a known holder |
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from aistack_top.model.entity import Entity
from aistack_top.spend.money import GpuUse, total

TRAINING = Entity.of(reason="training")
SHARED = Entity.of(reason="several models")
FREE = Entity.of(reason="idle")
OTHER = Entity.of(reason="no known holder")


@dataclass(frozen=True, slots=True)
class Holding:
    """The GPUs of one row, and what they cost."""

    gpus: tuple[GpuUse, ...]

    @property
    def usd_hour(self) -> float | None:
        """USD an hour of all of them; None where one price is not known."""
        return total(use.usd_hour for use in self.gpus)

    @property
    def idle_usd_hour(self) -> float | None:
        """USD an hour of those that are idle; None where that is not known of one."""
        return total(use.idle_usd_hour for use in self.gpus)

    @property
    def working_usd_hour(self) -> float | None:
        """USD an hour of those that are not known to be idle: all that calls can be charged with."""
        return total(0.0 if use.idle else use.usd_hour for use in self.gpus)


def holdings(
    gpus: Mapping[Entity, GpuUse], linked: Mapping[Entity, Collection[Entity]], training: Collection[Entity]
) -> dict[Entity, Holding]:
    """Return the rows of a node, each GPU in one of them.

    ``linked``: the holders (a model, or an engine without one) whose engines are linked to a GPU. ``training``: the
    GPUs that are known to be given to training jobs.
    """
    rows: defaultdict[Entity, list[GpuUse]] = defaultdict(list)
    for gpu, use in gpus.items():
        rows[_row(use, linked.get(gpu, ()), gpu in training)].append(use)
    return {row: Holding(tuple(uses)) for row, uses in rows.items()}


def _row(use: GpuUse, holders: Collection[Entity], trains: bool) -> Entity:
    if len(holders) > 1:
        return SHARED
    if holders:
        return next(iter(holders))
    if trains:
        return TRAINING
    return FREE if use.idle else OTHER


def own_gpus_only(holder: Entity, linked: Mapping[Entity, Collection[Entity]]) -> bool:
    """Whether no GPU of a holder is shared with another one; only then is its row all that it costs."""
    return all(len(holders) == 1 for holders in linked.values() if holder in holders)


def given_to_training(candidates: Iterable[Entity], given_out: float | None) -> frozenset[Entity]:
    """Return the GPUs that are known to be given to training jobs.

    ``candidates``: GPUs of a scheduler's machine with a process and without an engine. ``given_out``: how many GPUs
    the scheduler says that it has given out. If there are more candidates than that, it is not known which.
    """
    found = frozenset(candidates)
    return found if given_out is not None and len(found) <= round(given_out) else frozenset()
