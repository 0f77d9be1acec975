"""Which engine served a call: only where it is proven.

A call belongs to an engine when the application wrote the engine's name into its metadata (the key is configured),
or when its model is served by exactly one engine of the whole service. All other calls are service-wide.
"""

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Call
from aistack_top.store.facts import Facts

MODEL_FACT = "model"
"""The fact of an engine that names a model it serves; further names stand in ``model_alias_1`` and so on."""


def engine_of(call: Call, facts: Facts) -> str | None:
    """Return the name of the engine that served a call, or None where nothing proves it."""
    if call.engine:
        return call.engine
    if not call.model:
        return None
    serving = set(engines_serving(call.model, facts))
    return serving.pop() if len(serving) == 1 else None


def engines_serving(model: str, facts: Facts) -> list[str]:
    """Return the names of the engines that serve a model under this name."""
    names = []
    for entity, key, value in facts.rows():
        engine = entity.get("engine")
        if engine and value == model and (key == MODEL_FACT or key.startswith(MODEL_FACT + "_alias")):
            names.append(engine)
    return names


def gpus_of(engine: Entity, facts: Facts) -> list[Entity]:
    """Return the GPUs that an engine is proven to use; a data-parallel rank shares its server's."""
    links = facts.children(engine)
    name = engine.get("engine") or ""
    if not links and "/" in name:
        links = facts.children(Entity.of(engine=name.rpartition("/")[0]))
    return [link.child for link in links]
