"""Looks at processes for who works on a GPU and who answers at an address, and puts the two together.

The server of an engine is the process that holds the engine's listening socket open. Where open files of others are
closed to us, it is the one whose command line names the port, if a socket of its user listens there in its own
network namespace. A process on a GPU is the engine's if the server is itself or one of its parents.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Link
from aistack_top.text.sanitize import sanitize
from collectors.procfs.processes import Listener, Process, ProcTree, canonical, option
from collectors.registry import kind

SAY_AGAIN_S = 60.0
"""How long an answer in which nobody has come or gone is believed."""

WALK_S = 30.0
"""Between two looks at all processes, which are needed only while an engine has no proof."""

NAME_S = 300.0
"""How long the addresses of a host name are believed, as resolvers do."""

MAX_PROCESSES = 20_000
"""Processes looked at in one walk; a node with more is not walked to its end."""

LOOPBACK = frozenset({"127.0.0.1", "::1"})
ANY = frozenset({canonical(bytes(4)), canonical(bytes(16))})
"""The addresses that stand for all of a machine's own."""

NO_PIDS = "the driver lists no process on a GPU"
HIDDEN_PIDS = "the processes on the GPUs are not visible from here (another process namespace, or hidden)"

Place = tuple[str, int]
"""An address and a port."""

Resolve = Callable[[str], Iterable[str]]


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
class OwnershipResult:
    """What one look brought: proofs, the engines' server processes, and why others have none."""

    proofs: tuple[Proof, ...] = ()
    servers: Mapping[Entity, Process] = field(default_factory=dict)
    unknown: Mapping[Entity, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of this machine that is forwarded into a container, as docker-proxy's command line says."""

    address: str
    port: int
    target: Place


@dataclass(frozen=True, slots=True)
class EngineSockets:
    """Where an engine is read: sockets of our own network namespace, places in others, and why nothing was found."""

    entity: Entity
    port: int
    here: tuple[Listener, ...] = ()
    away: frozenset[Place] = frozenset()
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProcessScan:
    """A look at all processes: the ports that are forwarded, and the processes that may be servers."""

    occasion: object
    at: float
    forwards: frozenset[Forward]
    servers: tuple[Process, ...]


class LinkFinder:
    """Reads ``/proc`` for the server behind each engine and for the GPU processes below it. May block."""

    def __init__(self, proc_root: Path, monotonic: Callable[[], float], resolve: Resolve) -> None:
        self._root = proc_root
        self._monotonic = monotonic
        self._resolve = resolve
        self._names: dict[str, tuple[float, frozenset[str]]] = {}
        self._walk: ProcessScan | None = None
        self._last: tuple[float, object, OwnershipResult] | None = None

    def find(self, gpus: Mapping[Entity, Sequence[int]], engines: Sequence[EngineAddress]) -> OwnershipResult:
        """Return what can be proven now; the last answer, if all was proven and nobody has come or gone."""
        tree = ProcTree(self._root)
        pids = sorted({pid for on_gpu in gpus.values() for pid in on_gpu})
        now, last = self._monotonic(), self._last
        alike = (
            tuple((gpu, tuple(on_gpu)) for gpu, on_gpu in gpus.items()),
            engines,
            [tree.start(pid) for pid in pids],
        )
        fresh = last is not None and last[1] == alike and now - last[0] < SAY_AGAIN_S and not last[2].unknown
        if last and fresh and all(tree.start(one.pid) == one.start for one in last[2].servers.values()):
            return last[2]
        wanted = [self._wanted(tree, one, frozenset()) for one in engines]
        sight = OwnershipScan(tree, wanted, self._chains(tree, pids))
        if pids and any(one.entity not in sight.servers for one in wanted):
            walked = self._walked(tree, (pids, engines), now)
            sight = OwnershipScan(tree, [self._wanted(tree, one, walked.forwards) for one in engines], sight.chains)
            sight.widen(walked.servers)
        found = sight.found(gpus)
        self._last = (now, alike, found)
        return found

    def _chains(self, tree: ProcTree, pids: Iterable[int]) -> dict[int, list[Process]]:
        # in another namespace than the driver's, the same number may be somebody else
        certain = tree.sees_every_process()
        chains = {pid: tree.chain(pid) for pid in pids if certain or tree.holds_a_gpu(pid)}
        return {pid: chain for pid, chain in chains.items() if chain}

    def _wanted(self, tree: ProcTree, engine: EngineAddress, forwards: frozenset[Forward]) -> EngineSockets:
        try:
            parts = urlsplit(engine.address)
            host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        except ValueError:
            host, port = "", 0
        if not host or not port:
            return EngineSockets(engine.entity, 0, why="its address is not http://HOST:PORT")
        addresses = self._addresses(host)
        own = LOOPBACK | tree.addresses("self")
        here = [one for one in tree.listening("self") if one.port == port and _reached(one, addresses & own)]
        # the kernel gives a connection to the socket with the very address before it asks one with a wildcard
        exact = [one for one in here if not one.wildcard]
        away = {(address, port) for address in addresses - own}
        away |= {one.target for one in forwards if one.port == port and (one.address in addresses | ANY) and here}
        why = f"no process on a GPU belongs to the server on port {port}"
        if not addresses:
            why = f"the host name {sanitize(host, 60)} cannot be resolved"
        elif not addresses & own:
            why = f"{sanitize(host, 60)} is not an address of this node, nor of a container with a process on its GPUs"
        elif not here:
            why = f"nothing listens on port {port} of this node"
        return EngineSockets(engine.entity, port, tuple(exact or here), frozenset(away), why)

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

    def _walked(self, tree: ProcTree, occasion: object, now: float) -> ProcessScan:
        if self._walk is None or self._walk.occasion != occasion or now - self._walk.at >= WALK_S:
            self._walk = scan_processes(tree, occasion, now)
        return self._walk


class OwnershipScan:
    """One look: which process answers for which engine, and which engine is above which process on a GPU."""

    def __init__(
        self, tree: ProcTree, wanted: Sequence[EngineSockets], chains: Mapping[int, Sequence[Process]]
    ) -> None:
        self.tree = tree
        self.wanted = wanted
        self.chains = chains
        self.servers: dict[Entity, Process] = {}
        self._owner: dict[int, Entity] = {}
        for chain in chains.values():
            self._widen_by(chain)

    def widen(self, servers: Iterable[Process]) -> None:
        """Look among further processes for the servers that are not found yet."""
        self._widen_by([one for one in servers if one.pid not in self._owner])

    def found(self, gpus: Mapping[Entity, Sequence[int]]) -> OwnershipResult:
        """Return the links from engines to GPUs with their proofs, and why engines have none."""
        proofs: dict[tuple[Entity, Entity], Proof] = {}
        for gpu, pids in gpus.items():
            for pid in pids:
                proof = self._proof(pid, gpu)
                if proof is not None:
                    proofs.setdefault((proof.link.parent, proof.link.child), proof)
        linked = {engine for engine, _ in proofs}
        unknown = {one.entity: self._why(one, gpus) for one in self.wanted if one.entity not in linked}
        return OwnershipResult(tuple(proofs.values()), dict(self.servers), unknown)

    def _widen_by(self, processes: Iterable[Process]) -> None:
        # the uppermost first: workers may have inherited the server's socket
        for process in reversed(list(processes)):
            for one in self.wanted:
                if one.entity not in self.servers and self._answers(process, one):
                    self.servers[one.entity] = process
                    self._owner[process.pid] = one.entity

    def _proof(self, pid: int, gpu: Entity) -> Proof | None:
        chain = self.chains.get(pid, ())
        for process in chain:
            engine = self._owner.get(process.pid)
            if engine is not None:
                told = f"pid {pid}" if process.pid == pid else f"pid {pid}, a child of pid {process.pid}"
                return Proof(Link(engine, gpu, "pid", f"{told}, which listens on port {self._port(engine)}"), process)
        container = chain[0].container if chain else None
        inside = [(e, p) for e, p in self.servers.items() if container is not None and p.container == container]
        if len(inside) == 1:
            engine, server = inside[0]
            return Proof(
                Link(engine, gpu, "container", f"pid {pid} in container {sanitize(container or '', 12)}"), server
            )
        return None

    def _port(self, engine: Entity) -> int:
        return next(one.port for one in self.wanted if one.entity == engine)

    def _answers(self, process: Process, wanted: EngineSockets) -> bool:
        """Whether a process is the server at an engine's address."""
        tree = self.tree
        sockets = tree.sockets(process.pid)
        if sockets is not None:
            if any(one.inode in sockets for one in wanted.here):
                return True
            return any(one.inode in sockets for one in self._away(process, wanted))
        if _port_of(process.argv) != wanted.port:
            return False
        theirs = [one for one in tree.listening(process.pid) if one.port == wanted.port and one.uid == process.uid]
        inodes = {one.inode for one in theirs}
        return any(one.inode in inodes for one in (*wanted.here, *self._away(process, wanted)))

    def _away(self, process: Process, wanted: EngineSockets) -> list[Listener]:
        """Return the sockets of another network namespace that take connections to an engine's address."""
        addresses = self.tree.addresses(process.pid) if wanted.away else set()
        ports = {port for address, port in wanted.away if address in addresses}
        reached = {address for address, _ in wanted.away if address in addresses}
        return [
            one for one in self.tree.listening(process.pid) if one.port in ports and _reached(one, frozenset(reached))
        ]

    def _why(self, wanted: EngineSockets, gpus: Mapping[Entity, Sequence[int]]) -> str:
        pids = {pid for on_gpu in gpus.values() for pid in on_gpu}
        if not pids:
            return NO_PIDS
        if not self.chains:
            return HIDDEN_PIDS
        if wanted.entity in self.servers:
            return f"its server, pid {self.servers[wanted.entity].pid}, has no child on a GPU that is visible here"
        return wanted.why


def scan_processes(tree: ProcTree, occasion: object, now: float) -> ProcessScan:
    """Look at all processes for forwarded ports and for possible servers."""
    forwards, servers = set(), []
    for count, pid in enumerate(tree.pids()):
        if count >= MAX_PROCESSES:
            break
        raw = tree.cmdline(pid)
        if b"docker-proxy" in raw:
            forward = _forward(tree.process(pid))
            if forward is not None:
                forwards.add(forward)
        elif b"port" in raw or b"serve" in raw or b"vllm" in raw:
            process = tree.process(pid)
            if process is not None:
                servers.append(process)
    return ProcessScan(occasion, now, frozenset(forwards), tuple(servers))


def same_gpu(one: Entity, other: Entity) -> bool:
    """Whether two name the same GPU, or one of them an instance of the other."""
    return one.covers(other) or other.covers(one)


def _forward(process: Process | None) -> Forward | None:
    if process is None or not process.argv or not process.argv[0].endswith("docker-proxy"):
        return None
    argv = process.argv
    host, port = canonical(option(argv, "-host-ip") or ""), option(argv, "-host-port") or ""
    inner, inner_port = canonical(option(argv, "-container-ip") or ""), option(argv, "-container-port") or ""
    if not (host and inner and _is_port(port) and _is_port(inner_port)):
        return None
    return Forward(host, int(port), (inner, int(inner_port)))


def _port_of(argv: Sequence[str]) -> int | None:
    """Return the port that a command line names; the usual one only of what calls itself such a server."""
    said = option(argv, "--port", "-p")
    if said is None:
        pattern, port = _vllm()
        return port if pattern.search("\0".join((*argv, ""))) else None
    return int(said) if _is_port(said) else None


@cache
def _vllm() -> tuple[re.Pattern[str], int]:
    """Return the pattern of a vLLM server's command line, and the port that it has unless told otherwise."""
    local = kind("vllm").local
    if local is None:
        raise LookupError("the vLLM table has no process pattern")
    return re.compile(local.process), local.ports[0]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536


def _reached(listener: Listener, addresses: frozenset[str]) -> bool:
    """Whether a socket takes connections to one of some addresses."""
    return bool(addresses) and (listener.wildcard or listener.address in addresses)
