"""Entities as people call them: ``gpu 0`` instead of a UUID, the last part of a model's path."""

from aistack_top.model.entity import Entity
from aistack_top.store.facts import Facts
from aistack_top.text.sanitize import sanitize


def label(entity: Entity, facts: Facts, limit: int = 40) -> str:
    """Return a short name, safe to print; what it leaves out stands in the drill-down."""
    parts = []
    for key, value in entity.pairs:
        if key == "gpu":
            index = facts.get(Entity.of(gpu=value), "index")
            parts.append(f"gpu {index}" if index is not None else f"gpu {value[4:12]}")
        elif key == "model":
            parts.append(value.rsplit("/", 1)[-1])
        elif key == "link":
            parts.append(f"link {value}")
        else:
            parts.append(value)
    return sanitize(" ".join(parts), limit) or "all"
