"""What a vLLM server tells beside its metrics page: whether its engine lives, what it holds, and what may change.

Each request may fail alone, and costs nothing but itself.
"""

import asyncio
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact
from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer, get

T = TypeVar("T")

OPTIONAL_S = 2.0
"""Deadline of the extras: they must not hold back the metrics."""

MAX_EXTRA_BYTES = 1024 * 1024
MAX_ALIASES = 20

LORAS = "loras"
FRONTEND = "frontend"

DEAD_STATUS = 503
"""What ``/health`` answers of an engine whose process is gone (vLLM 0.6 to 0.33, both API servers)."""


class _Load(msgspec.Struct):
    server_load: float


class _Version(msgspec.Struct):
    version: str
    rust_frontend_version: str = ""


class _Model(msgspec.Struct):
    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


@dataclass(frozen=True, slots=True)
class Told:
    """What the server said beside its page. ``alive`` and ``load`` are None where it did not say.

    ``facts`` are None where they were not asked for.
    """

    alive: bool | None
    load: float | None
    facts: tuple[Fact, ...] | None


class Extras:
    """Asks one server. ``version`` is what it said last; ``is_rust``: its API server is vLLM's Rust frontend."""

    def __init__(self, client: httpx.AsyncClient, base: str, engine: Entity) -> None:
        self.version = ""
        self.is_rust = False
        self._client = client
        self._base = base
        self._engine = engine
        self._said: set[str] = set()

    async def ask(self, *, facts: bool) -> Told:
        """Return what the server says now; what may change only where ``facts`` are wanted."""
        alive, load, known = await asyncio.gather(self._alive(), self._load(), self._facts(facts))
        return Told(alive, load, known)

    async def _alive(self) -> bool | None:
        answer = await self._get("/health")
        if answer is None or answer.status not in (200, DEAD_STATUS):
            return None
        return answer.status == 200

    async def _load(self) -> float | None:
        told = await self._read("/load", _Load)
        return None if told is None or told.server_load < 0 else told.server_load

    async def _facts(self, wanted: bool) -> tuple[Fact, ...] | None:
        if not wanted:
            return None
        version, models = await asyncio.gather(self._read("/version", _Version), self._read("/v1/models", _Models))
        facts = []
        if version is not None:
            self.version = sanitize(version.version, 40)
            self.is_rust = bool(version.rust_frontend_version)
            facts.append(Fact(self._engine, "version", self.version))
            rust = f"Rust {sanitize(version.rust_frontend_version, 40)}" if self.is_rust else ""
            facts += self._since(FRONTEND, rust, "Python")
        if models is not None:
            facts += _model_facts(self._engine, models.data)
            adapters = sorted(sanitize(model.id, 60) for model in models.data if model.parent)
            facts += self._since(LORAS, sanitize(", ".join(adapters)), "none")
        return tuple(facts)

    def _since(self, key: str, value: str, without: str) -> list[Fact]:
        """Return a fact that most servers do not have: a server that had it once says ``without`` afterwards."""
        if value:
            self._said.add(key)
        return [Fact(self._engine, key, value or without)] if key in self._said else []

    async def _get(self, path: str) -> Answer | None:
        try:
            return await get(self._client, self._base + path, deadline_s=OPTIONAL_S, largest=MAX_EXTRA_BYTES)
        except SourceError:
            return None

    async def _read(self, path: str, kind: type[T]) -> T | None:
        answer = await self._get(path)
        try:
            return msgspec.json.decode(answer.body, type=kind) if answer and answer.status == 200 else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None


def _model_facts(engine: Entity, models: list[_Model]) -> list[Fact]:
    """Return the served names and the limits; the first name is the model's, the others its aliases."""
    bases = [model for model in models if not model.parent][:MAX_ALIASES]
    facts = [Fact(engine, f"model_alias_{number}", sanitize(model.id)) for number, model in enumerate(bases[1:], 1)]
    if bases:
        facts.append(Fact(engine, "model", sanitize(bases[0].id)))
        if bases[0].root:
            facts.append(Fact(engine, "model_root", sanitize(bases[0].root)))
        if bases[0].max_model_len is not None:
            facts.append(Fact(engine, "max_model_len", str(bases[0].max_model_len)))
    return facts
