"""What is so, and what changed: the newest value of every fact, and an event for each difference."""

from collections import Counter
from collections.abc import Iterable, Mapping

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, Fact, Link

MAX_FACTS = 20_000
MAX_PART = 160
"""Characters of one side of a change in a sentence; the event's detail has all of it."""

_WRITTEN = {
    "kv": "KV",
    "gpu": "GPU",
    "gpus": "GPUs",
    "cpu": "CPU",
    "sm": "SM",
    "mig": "MIG",
    "ecc": "ECC",
    "pci": "PCI",
}
_WRITTEN |= {"id": "ID", "cuda": "CUDA", "vbios": "VBIOS", "loras": "LoRAs"}


def title(key: str) -> str:
    """Return what a fact is called on the screen: ``kv_blocks`` is "KV blocks"."""
    return " ".join(_WRITTEN.get(word, word) for word in key.split("_"))


def change(key: str, before: str, after: str) -> str:
    """Return a change in words: "KV blocks 11,200 -> 7,400"; of two command lines, what sets them apart."""
    if key == "command":
        return _changed_words(before.split(), after.split())
    if before.isdecimal() and after.isdecimal():
        before, after = f"{int(before):,}", f"{int(after):,}"
    return f"{title(key)} {_cut(before)} -> {_cut(after)}"


def _changed_words(before: list[str], after: list[str]) -> str:
    """Return which options of a command line are new, gone or different."""
    old, new = Counter(_options(before)), Counter(_options(after))
    gone, come = list((old - new).elements()), list((new - old).elements())
    parts = []
    for option in come:
        name, _, value = option.partition(" ")
        was = next((one for one in gone if one.partition(" ")[0] == name), None) if value else None
        if was is None:
            parts.append(f"now {option}")
        else:
            gone.remove(was)
            parts.append(f"{was} -> {value}")
    parts += [f"no longer {option}" for option in gone]
    return f"command: {_cut('; '.join(parts) or 'the order of its options', 3 * MAX_PART)}"


def _options(words: list[str]) -> list[str]:
    """Return a command line as options with their values, ``--port=1`` written as ``--port 1``, and other words."""
    found: list[str] = []
    for word in words:
        if found and found[-1].startswith("-") and " " not in found[-1] and not word.startswith("-"):
            found[-1] += f" {word}"
        else:
            found.append(word.replace("=", " ", 1) if word.startswith("--") else word)
    return found


def _cut(text: str, most: int = MAX_PART) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


class Facts:
    """The facts and links known so far; beyond `MAX_FACTS`, the oldest are dropped."""

    def __init__(self) -> None:
        self._values: dict[tuple[Entity, str], str] = {}
        self._links: dict[tuple[Entity, Entity], Link] = {}

    def observe(self, facts: Iterable[Fact], at: float, seen: float, layer: str, source: str) -> list[Event]:
        """Take facts and return an event of kind ``changed`` for each watched one that differs from before."""
        events = []
        for fact in facts:
            key = (fact.entity, fact.key)
            before = self._values.get(key)
            self._values[key] = fact.value
            if before is not None and before != fact.value and fact.watched:
                text = change(fact.key, before, fact.value)
                detail = (("key", fact.key), ("before", before), ("after", fact.value))
                events.append(Event(at, seen, layer, "changed", "info", fact.entity, text, source, detail))
        while len(self._values) > MAX_FACTS:
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
