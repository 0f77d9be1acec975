"""Who a reading is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

KEYS = (
    "node",
    "gpu",
    "mig",
    "link",
    "device",
    "engine",
    "lora",
    "model",
    "version",
    "prompt",
    "job",
    "tenant",
    "rail",
    "reason",
    "source",
    "process",
)
"""The kinds of identity there are, in the order in which a name is spoken.

``gpu`` is a UUID and ``mig`` an instance of it, never an index: indices change with a reboot. ``device`` is a
disk, a mount point or a network interface of the node. ``engine`` is the source's name, with ``/rank`` for
data-parallel ranks. ``job`` is a training job, a pipeline or an experiment, with ``/run`` for one run of it.
``tenant`` is a pseudonym unless configured otherwise.
"""


@dataclass(frozen=True, slots=False)
class Entity:
    """An identity: pairs of a key of `KEYS` and a value, sorted by key, so that equal things are equal."""

    pairs: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(**keys: str) -> "Entity":
        """Return the entity with these keys; the same object for the same keys.

        Raises:
            ValueError: a key is not one of `KEYS`.

        """
        return _intern(tuple(sorted(keys.items())))

    @staticmethod
    def from_mapping(keys: Mapping[str, str]) -> "Entity":
        """Return the entity of a mapping, as read from a session or a JSON document."""
        return _intern(tuple(sorted(keys.items())))

    def get(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        return self._mapping.get(key)

    def with_(self, **keys: str) -> "Entity":
        """Return this entity with more keys."""
        return Entity.of(**{**self._mapping, **keys})

    def without(self, *keys: str) -> "Entity":
        """Return this entity with fewer keys."""
        return Entity.from_mapping({k: v for k, v in self.pairs if k not in keys})

    def covers(self, other: "Entity") -> bool:
        """Whether every key of this entity stands with the same value in the other."""
        return set(self.pairs) <= set(other.pairs)

    def as_dict(self) -> dict[str, str]:
        """Return the pairs as a new dictionary."""
        return dict(self.pairs)

    @cached_property
    def _mapping(self) -> dict[str, str]:
        return dict(self.pairs)

    @cached_property
    def _hash(self) -> int:
        return hash(self.pairs)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in sorted(self.pairs, key=lambda pair: KEYS.index(pair[0])))


@lru_cache(maxsize=65536)
def _intern(pairs: tuple[tuple[str, str], ...]) -> Entity:
    unknown = [key for key, _ in pairs if key not in KEYS]
    if unknown:
        raise ValueError(f"no such entity key: {', '.join(unknown)}; known: {', '.join(KEYS)}")
    return Entity(pairs)


SERVICE = Entity.of()
"""The whole service: what is said of nobody in particular."""
