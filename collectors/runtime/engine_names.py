"""What the servers are called that Prometheus servers tell of, so that no two of one feed have one name."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress

from collectors.source_names import qualified

MAX_WAIT_S = 5.0
"""How long the names of one Prometheus server's targets wait at the start for what another tells."""


class EngineNames:
    """The names of what Prometheus servers tell of in one feed: two that tell of one address tell of two engines.

    ``given`` are the names of configured servers by host and port: a target may be one of them. ``servers`` are the
    names of all Prometheus servers, so that each can wait for what the others tell at first: else the names would
    depend on who answers first.
    """

    def __init__(self, given: Mapping[tuple[str, int], str] | None = None, servers: Iterable[str] = ()) -> None:
        self.given: Mapping[tuple[str, int], str] = given or {}
        self._awaited = set(servers)
        self._all_here = asyncio.Event()
        self._told: dict[str, set[str]] = defaultdict(set)
        self._owners: dict[str, tuple[str, set[str]]] = {}

    async def looked(self, server: str, names: Iterable[str]) -> None:
        """Say what a server tells of, by the names that these would have alone; waits for the others at first."""
        for name in names:
            self._told[name].add(server)
        self._awaited.discard(server)
        if self._awaited:
            with suppress(TimeoutError):
                async with asyncio.timeout(MAX_WAIT_S):
                    await self._all_here.wait()
        self._awaited.clear()
        self._all_here.set()

    def others(self, server: str, name: str) -> list[str]:
        """Return which other servers tell of something with this name."""
        return sorted(self._told[name] - {server})

    def claim(self, server: str, kind: str, name: str, qualifier: str = "") -> str:
        """Return the name of something that a server tells of, which nothing else of its kind has; it keeps it."""
        words = [server.rpartition("@")[2]] if self.others(server, name) else []
        words += [qualifier] if qualifier else []
        wanted = free = qualified(name, ":".join(words)) if words else name
        number = 1
        while (owner := self._owners.get(free)) is not None and (owner[0] != server or kind in owner[1]):
            number += 1
            free = qualified(wanted, str(number))
        self._owners.setdefault(free, (server, set()))[1].add(kind)
        return free

    def release(self, kind: str, name: str) -> None:
        """Let go of a name: what had it is no longer told of."""
        owner = self._owners.get(name)
        if owner is not None:
            owner[1].discard(kind)
            if not owner[1]:
                del self._owners[name]
