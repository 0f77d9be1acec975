"""What is so, and what changed: the newest value of every fact, and an event for each difference."""

from collections.abc import Iterable, Mapping

from aistack_top.entity import Entity
from aistack_top.tick import Event, Fact, Link

MOST_FACTS = 20_000


class Facts:
    """The facts and links known so far; of more than `MOST_FACTS`, those that were learned first are forgotten."""

    def __init__(self) -> None:
        self._values: dict[tuple[Entity, str], str] = {}
        self._links: dict[tuple[Entity, Entity], Link] = {}

    def learn(self, facts: Iterable[Fact], at: float, seen: float, layer: str, source: str) -> list[Event]:
        """Take facts and return an event of kind ``changed`` for each watched one that differs from before."""
        events = []
        for fact in facts:
            key = (fact.entity, fact.key)
            before = self._values.get(key)
            self._values[key] = fact.value
            if before is not None and before != fact.value and fact.watched:
                text = f"{fact.key.replace('_', ' ')} {before} -> {fact.value}"
                detail = (("key", fact.key), ("before", before), ("after", fact.value))
                events.append(Event(at, seen, layer, "changed", "info", fact.entity, text, source, detail))
        while len(self._values) > MOST_FACTS:
            del self._values[next(iter(self._values))]
        return events

    def join(self, links: Iterable[Link]) -> None:
        """Take links; a newer proof for the same pair replaces the older, and one without a proof ends the link."""
        for link in links:
            if link.proof:
                self._links[(link.parent, link.child)] = link
            else:
                self._links.pop((link.parent, link.child), None)

    def get(self, entity: Entity, key: str) -> str | None:
        """Return what is known, or None."""
        return self._values.get((entity, key))

    def of(self, entity: Entity) -> Mapping[str, str]:
        """Return all facts of one entity."""
        return {key: value for (about, key), value in self._values.items() if about == entity}

    def having(self, key: str, value: str | None = None) -> list[Entity]:
        """Return the entities that have a fact, with a given value if one is given."""
        return [e for (e, k), v in self._values.items() if k == key and value in (None, v)]

    def rows(self) -> list[tuple[Entity, str, str]]:
        """Return every entity, key and value."""
        return [(entity, key, value) for (entity, key), value in self._values.items()]

    def all(self) -> list[Fact]:
        """Return every fact, as needed to begin a recording in the middle."""
        return [Fact(entity, key, value) for (entity, key), value in self._values.items()]

    def links(self) -> list[Link]:
        """Return every link."""
        return list(self._links.values())

    def children(self, parent: Entity) -> list[Link]:
        """Return the links from an engine to its GPUs."""
        return [link for (owner, _), link in self._links.items() if owner == parent]

    def parents(self, child: Entity) -> list[Link]:
        """Return the links from a GPU to the engines on it."""
        return [link for (_, owned), link in self._links.items() if owned == child]

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._links.clear()
