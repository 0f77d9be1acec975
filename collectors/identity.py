"""Which engine works on which GPU, and how we know: links from engines to GPUs, each with its proof.

| proof | what was seen |
|---|---|
| ``pid`` | a process on the GPU, or one of its parents, is the server that listens on the engine's address |
| ``container`` | it is not, but shares a container with the only server in it, and that one listens there |
| ``configuration`` | a person wrote ``gpus = [...]`` |

That a process is the server behind a port is seen by the socket among its open files; where those of others are
closed to us, by the port in its command line, if a socket of its user listens there in its network namespace.
Without a proof there is no link, and the health record says what was missing. No root is needed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aistack_top.clock import Clock
from aistack_top.entity import Entity
from aistack_top.plain import plain
from aistack_top.tick import Batch, Fact, Link
from collectors.base import HealthKeeper, Source, SourceError
from collectors.procfs import Process, ProcTree, canonical
from collectors.threads import DaemonCaller

SAY_AGAIN_S = 60.0
"""Between two sayings of what did not change, for whoever began to listen in between (design: what changed)."""

WALK_S = 30.0
"""Between two looks at all processes, which are needed only while an engine has no proof."""

NAME_S = 300.0
"""How long the addresses of a host name are believed, as resolvers do."""

LONGEST_COMMAND = 1000
LOOPBACK = frozenset({"127.0.0.1", "::1"})
ANY = frozenset({canonical(bytes(4)), canonical(bytes(16))})
"""The addresses that stand for all of a machine's own."""

Place = tuple[str, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine, and the URL at which it is read."""

    entity: Entity
    address: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One link, and the server process behind it; None where a person said it."""

    link: Link
    server: Process | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What one look brought: proofs, the engines' server processes, and why others have none."""

    proofs: tuple[Proof, ...] = ()
    servers: Mapping[Entity, Process] = field(default_factory=dict)
    unknown: Mapping[Entity, str] = field(default_factory=dict)


Runner = Callable[[Callable[[], Found]], Awaitable[Found]]
Resolve = Callable[[str], Iterable[str]]


class LinkCollector:
    """Says every 10 s which engines work on which GPUs.

    ``gpu_processes`` gives the process ids on each GPU as the driver counts them. ``configured`` holds the GPUs of
    an engine by its name, as index or UUID; ``gpu_index`` turns both into entities. ``run`` runs what may block.
    """

    def __init__(
        self,
        clock: Clock,
        gpu_processes: Callable[[], Mapping[Entity, Sequence[int]]],
        engines: Callable[[], Sequence[EngineAddress]],
        *,
        configured: Mapping[str, Sequence[int | str]] | None = None,
        gpu_index: Callable[[], Mapping[str, Entity]] | None = None,
        proc_root: Path = Path("/proc"),
        node: str = "",
        run: Runner | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._source = Source("links", "identity", "compute", 10.0, address=node)
        self._clock = clock
        self._gpu_processes = gpu_processes
        self._engines = engines
        self._configured = dict(configured or {})
        self._gpu_index = gpu_index
        self._caller = DaemonCaller("links")
        self._run = run or self._on_thread
        self._finder = LinkFinder(proc_root, clock.monotonic, resolve or _addresses_of)
        self._keeper = HealthKeeper(self._source)
        self._standing: dict[tuple[Entity, Entity], Proof] = {}
        self._said: dict[Fact | Link, float] = {}

    @property
    def source(self) -> Source:
        """See `collectors.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.base.Collector.collect`."""
        began = self._clock.monotonic()
        gpus = {gpu: tuple(pids) for gpu, pids in self._gpu_processes().items()}
        engines = tuple(self._engines())
        try:
            found = await self._run(lambda: self._finder.look(gpus, engines))
        except TimeoutError:
            return self._failed(SourceError("slow", f"/proc did not answer within {self._source.deadline_s:g} s"))
        except OSError as error:
            return self._failed(SourceError("down", plain(f"/proc cannot be read: {error}")))
        now = self._clock.now()
        proofs, notes = self._with_configured(found, gpus, engines)
        links = [*self._ended(proofs, found, gpus), *(proof.link for proof in proofs)]
        spans = _spans(found.servers, self._standing.values())
        health = self._keeper.good(now, self._clock.monotonic() - began, reason=plain("; ".join([*notes, *spans]), 400))
        facts = [fact for engine, server in found.servers.items() for fact in _facts(engine, server)]
        told = self._news([*links, *facts], now)
        return Batch(
            now,
            now,
            health,
            facts=tuple(one for one in told if isinstance(one, Fact)),
            links=tuple(one for one in told if isinstance(one, Link)),
        )

    async def aclose(self) -> None:
        """See `collectors.base.Collector.aclose`."""
        self._caller.close()

    async def _on_thread(self, look: Callable[[], Found]) -> Found:
        return await self._caller.call(look, self._source.deadline_s)

    def _failed(self, error: SourceError) -> Batch:
        now = self._clock.now()
        return Batch(now, now, self._keeper.bad(now, error))

    def _with_configured(
        self, found: Found, gpus: Mapping[Entity, Sequence[int]], engines: Sequence[EngineAddress]
    ) -> tuple[list[Proof], list[str]]:
        """Return the proofs together with what a person said, and what is to be told about both."""
        proofs, notes = list(found.proofs), []
        by_name = self._gpu_index() if self._gpu_index else {gpu.get("gpu") or "": gpu for gpu in gpus}
        for one in engines:
            name = one.entity.get("engine") or ""
            proven = {proof.link.child for proof in found.proofs if proof.link.parent == one.entity}
            wanted = self._configured.get(name, ())
            chosen = [by_name[str(gpu)] for gpu in wanted if str(gpu) in by_name]
            missing = ", ".join(str(gpu) for gpu in wanted if str(gpu) not in by_name)
            if missing:
                notes.append(f"gpus of {name}: {missing} is no GPU of this node")
            if chosen and any(not any(_same(gpu, other) for other in chosen) for gpu in proven):
                notes.append(f"{name} also works on a GPU that its gpus = [...] does not name")
            for gpu in chosen:
                if not any(_same(gpu, other) for other in proven):
                    proofs.append(Proof(Link(one.entity, gpu, "configuration", "gpus = [...]")))
            if not proven and not chosen and one.entity in found.unknown:
                notes.append(f"engine-GPU link unknown for {name}: {found.unknown[one.entity]}")
        return proofs, notes

    def _ended(self, proofs: Sequence[Proof], found: Found, gpus: Mapping[Entity, Sequence[int]]) -> list[Link]:
        """Take the proofs of now; return the links that they put an end to, as links without a proof.

        An engine that died keeps its GPUs until something else is known: who looks for the cause needs to know
        which they were. So does a GPU that fell off the bus.
        """
        new = {(proof.link.parent, proof.link.child): proof for proof in proofs}
        served = {engine for engine, _ in new}
        newly_taken = {gpu for engine, gpu in new if (engine, gpu) not in self._standing}
        ended = []
        for (engine, gpu), old in [item for item in self._standing.items() if item[0] not in new]:
            server = found.servers.get(engine)
            same = server is not None and old.server is not None and server.key == old.server.key
            if (not same or gpus.get(gpu)) if engine in served else gpu in newly_taken:
                ended.append(Link(engine, gpu, "", "no longer seen"))
                del self._standing[engine, gpu]
        self._standing.update(new)
        return ended

    def _news(self, all_known: Sequence[Fact | Link], now: float) -> list[Fact | Link]:
        """Return what is new, and what was not said for a while."""
        self._said = {one: when for one, when in self._said.items() if now - when < SAY_AGAIN_S and one in all_known}
        news = [one for one in all_known if one not in self._said]
        self._said.update(dict.fromkeys(news, now))
        return news


class LinkFinder:
    """Reads ``/proc`` for the server behind each engine and for the GPU processes below it. May block."""

    def __init__(self, proc_root: Path, monotonic: Callable[[], float], resolve: Resolve) -> None:
        self._root = proc_root
        self._monotonic = monotonic
        self._resolve = resolve
        self._names: dict[str, tuple[float, frozenset[str]]] = {}
        self._walk: _Walk | None = None
        self._last: tuple[float, object, Found] | None = None

    def look(self, gpus: Mapping[Entity, Sequence[int]], engines: Sequence[EngineAddress]) -> Found:
        """Return what can be proven now; the last answer, if all was proven and nobody has come or gone."""
        tree = ProcTree(self._root)
        pids = sorted({pid for on_gpu in gpus.values() for pid in on_gpu})
        now, last = self._monotonic(), self._last
        alike = (
            tuple((gpu, tuple(on_gpu)) for gpu, on_gpu in gpus.items()),
            engines,
            [tree.start(pid) for pid in pids],
        )
        if last is not None and last[1] == alike and now - last[0] < SAY_AGAIN_S and not last[2].unknown:
            if all(tree.start(server.pid) == server.start for server in last[2].servers.values()):
                return last[2]
        wanted = [self._wanted(tree, one, frozenset()) for one in engines]
        sight = _Sight(tree, wanted, self._chains(tree, pids))
        if pids and any(one.entity not in sight.servers for one in wanted):
            walk = self._walked(tree, (pids, engines), now)
            sight = _Sight(tree, [self._wanted(tree, one, walk.forwards) for one in engines], sight.chains)
            sight.widen(walk.servers)
        found = sight.found(gpus)
        self._last = (now, alike, found)
        return found

    def _chains(self, tree: ProcTree, pids: Iterable[int]) -> dict[int, list[Process]]:
        # in another namespace than the driver's, the same number may be somebody else
        certain = tree.sees_every_process()
        chains = {pid: tree.chain(pid) for pid in pids if certain or tree.holds_a_gpu(pid)}
        return {pid: chain for pid, chain in chains.items() if chain}

    def _wanted(self, tree: ProcTree, engine: EngineAddress, forwards: "frozenset[_Forward]") -> "_Wanted":
        try:
            parts = urlsplit(engine.address)
            host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        except ValueError:
            host, port = "", 0
        if not host or not port:
            return _Wanted(engine.entity, 0, why="its address is not http://HOST:PORT")
        addresses = self._addresses(host)
        own = LOOPBACK | tree.addresses("self")
        here = [one for one in tree.listening("self") if one.port == port and _reached(one, addresses & own)]
        # the kernel gives a connection to the socket with the very address before it asks one with a wildcard
        exact = [one for one in here if not one.wildcard]
        away = {(address, port) for address in addresses - own}
        away |= {one.target for one in forwards if one.port == port and (one.address in addresses | ANY) and here}
        why = f"no process on a GPU belongs to the server on port {port}"
        if not addresses:
            why = f"the host name {plain(host, 60)} cannot be resolved"
        elif not addresses & own:
            why = f"{plain(host, 60)} is no address of this node, nor of a container with a process on its GPUs"
        elif not here:
            why = f"nothing listens on port {port} of this node"
        return _Wanted(engine.entity, port, tuple(exact or here), frozenset(away), why)

    def _addresses(self, host: str) -> frozenset[str]:
        literal = canonical(host)
        if literal in ANY or host == "localhost":
            return LOOPBACK
        if literal:
            return frozenset({literal})
        now = self._monotonic()
        when, known = self._names.get(host, (0.0, None))
        if known is None or now - when > NAME_S:
            known = frozenset(self._resolve(host))
            self._names[host] = (now, known)
        return known

    def _walked(self, tree: ProcTree, occasion: object, now: float) -> "_Walk":
        if self._walk is None or self._walk.occasion != occasion or now - self._walk.at >= WALK_S:
            self._walk = _walk(tree, occasion, now)
        return self._walk
