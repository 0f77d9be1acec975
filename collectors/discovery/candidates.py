"""Servers of this node: found by process, by listening port and by what a container's network tables say. No root.

Only files of ``/proc`` and ``/sys`` are read here; what is found is asked by `collectors.discovery.collector`. An
address in another network namespace counts only if this machine reaches it directly through a virtual interface (a
bridge, a veth pair): the same private address may exist elsewhere, behind a router, and nothing remote is ever asked.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from collectors.procfs.cgroup import read_file
from collectors.procfs.processes import Listener, Process, ProcTree, option

LOOKS = 4
"""How often a new process is looked at: it has its parent's command line until it executes its own program."""

MAX_PORTS = 8
"""Ports of one process that are worth asking; engines listen on many more for their workers."""

WHOLE_S = 60.0
"""Between two readings of the socket tables while no server has come, gone or is still starting: the kernel takes
milliseconds for each table, however few sockets there are."""

STARTING = "it does not listen yet, or its port is hidden from this user"
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ProcessPattern:
    """How a kind of server looks from outside: its command line, and the ports that it has unless told otherwise."""

    kind: str
    process: re.Pattern[str] | None
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServerCandidate:
    """An address worth asking. ``pid`` and ``start`` name the process behind it; None where nobody can tell.

    ``otherwise`` is asked where nothing listens at ``url``.
    """

    url: str
    kind: str = ""
    process: Process | None = None
    otherwise: str = ""

    @property
    def key(self) -> tuple[int, int] | None:
        """What tells the process behind it from a later one."""
        return self.process.key if self.process else None


@dataclass(frozen=True, slots=True)
class UnreachableServer:
    """A server's process that cannot be asked, with the reason and what to do; ``waits`` if that may pass by itself."""

    kind: str
    pid: int
    why: str
    waits: bool = False


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one look brought. ``processes`` is how many there are to be seen."""

    candidates: tuple[ServerCandidate, ...] = ()
    unreached: tuple[UnreachableServer, ...] = ()
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """One way that packets go. ``direct`` if no router stands between and the interface is a virtual one."""

    network: ipaddress.IPv4Network
    direct: bool


def parse_routes(body: bytes, virtual: Iterable[str]) -> list[Route]:
    """Return the routes of a ``/proc/net/route`` (fib_trie.c: fib_route_seq_show), the narrowest first."""
    found, inside = [], frozenset(virtual)
    for line in body.split(b"\n")[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        try:
            target, gateway, mask = (int(words[i], 16).to_bytes(4, "little") for i in (1, 2, 7))
            network = ipaddress.IPv4Network((target, str(ipaddress.IPv4Address(mask))))
        except (ValueError, OverflowError):
            continue
        direct = not any(gateway) and words[0].decode("ascii", "replace") in inside
        found.append(Route(network, direct))
    return sorted(found, key=lambda route: -route.network.prefixlen)


class LocalServers:
    """Looks for servers, cheaply when done again: only process numbers that are new are read. May block."""

    def __init__(
        self, proc_root: Path, sys_root: Path, traits: Sequence[ProcessPattern], monotonic: Callable[[], float]
    ) -> None:
        self._monotonic = monotonic
        self._last: tuple[float, set[tuple[int, int]], ScanResult] | None = None
        self._proc = proc_root
        self._sys = sys_root
        self._traits = tuple(traits)
        self._looks: dict[int, int] = {}
        self._servers: dict[int, tuple[Process, ProcessPattern]] = {}
        self._proxies: dict[int, tuple[int, str]] = {}

    def scan(self) -> ScanResult:
        """Return the servers that can be asked now, and those that cannot."""
        tree = ProcTree(self._proc)
        pids = set(tree.pids())
        replaced = {pid for pid, held in self._servers.items() if tree.start(pid) != held[0].start}
        self._servers = {pid: held for pid, held in self._servers.items() if pid not in replaced}
        self._looks = {pid: count for pid, count in self._looks.items() if pid in pids and pid not in replaced}
        self._proxies = {pid: forward for pid, forward in self._proxies.items() if pid in pids}
        for pid in pids:
            if self._looks.get(pid, 0) < LOOKS:
                self._looks[pid] = self._looks.get(pid, 0) + 1
                self._recognise(tree, pid)
        keys = {process.key for process, _ in self._servers.values()}
        now, last = self._monotonic(), self._last
        if last and last[1] == keys and not any(one.waits for one in last[2].unreached) and now - last[0] < WHOLE_S:
            return replace(last[2], processes=len(pids))
        sight = self._listened(tree, len(pids))
        self._last = (now, keys, sight)
        return sight

    def _listened(self, tree: ProcTree, processes: int) -> ScanResult:
        """Return where the servers listen, and what else listens on a usual port."""
        own = tree.listening("self")
        found: dict[str, ServerCandidate] = {}
        unreached = []
        for process, trait in sorted(self._servers.values(), key=lambda held: held[0].start):
            urls, why = self._urls(tree, process, trait, own)
            for url in urls:
                found[url] = ServerCandidate(url, trait.kind, process, _otherwise(url, own))
            if why:
                unreached.append(UnreachableServer(trait.kind, process.pid, why, waits=why == STARTING))
        usual = {port for trait in self._traits for port in trait.ports}
        taken = {_port(url) for url in found if _is_own(url)} | {
            host for host, url in self._proxies.values() if url in found
        }
        for one in own:
            if one.port in usual and one.port not in taken:
                url = _url(_reachable(one), one.port)
                found.setdefault(url, ServerCandidate(url, otherwise=_otherwise(url, own)))
        ours = {one.process.pid for one in found.values() if one.process}
        unreached = [one for one in unreached if not self._is_relative(tree, one.pid, ours)]
        return ScanResult(tuple(found.values()), tuple(unreached), processes)

    def _recognise(self, tree: ProcTree, pid: int) -> None:
        line = tree.cmdline(pid).decode("utf-8", "replace")
        trait = next((one for one in self._traits if one.process and one.process.search(line)), None)
        process = tree.process(pid) if trait else None
        if trait and process:
            self._servers[pid] = (process, trait)
        else:
            self._servers.pop(pid, None)
        if "docker-proxy" in line and (forward := _forward(line.split("\0"))):
            self._proxies[pid] = forward

    def _urls(
        self, tree: ProcTree, process: Process, trait: ProcessPattern, own: Sequence[Listener]
    ) -> tuple[list[str], str]:
        """Return where a server can be asked, or why it cannot."""
        mine = _chosen(tree, process, trait)
        if not mine:
            return [], STARTING
        here = {one.inode for one in own}
        urls: dict[int, str] = {}
        shut = []
        for one in mine[:MAX_PORTS]:
            if one.inode in here:
                urls.setdefault(one.port, _url(_reachable(one), one.port))
            elif address := self._from_here(tree, process, one):
                urls.setdefault(one.port, _url(address, one.port))
            else:
                shut.append(one)
        if urls or not shut:
            return list(urls.values()), ""
        if all(_is_loopback(one.address) for one in shut):
            return (
                [],
                f"port {shut[0].port} listens only on its container's loopback: start it with --host 0.0.0.0",
            )
        return [], (
            f"port {shut[0].port} is in a network that this machine does not reach directly: publish the port, "
            "and name its address as [[source]]"
        )

    def _from_here(self, tree: ProcTree, process: Process, one: Listener) -> str:
        """Return an address at which this machine reaches a socket of another network namespace, or nothing."""
        if _is_loopback(one.address):
            return ""
        routes = self._routes()
        theirs = tree.addresses(process.pid) if one.wildcard else {one.address}
        for address in sorted(theirs - tree.addresses("self")):
            parsed = ipaddress.ip_address(address)
            if isinstance(parsed, ipaddress.IPv4Address) and not parsed.is_loopback:
                route = next((route for route in routes if parsed in route.network), None)
                if route and route.direct:
                    return address
        return ""

    def _routes(self) -> list[Route]:
        folder = self._sys / "class/net"
        try:
            virtual = [one.name for one in folder.iterdir() if not (one / "device").exists()]
        except OSError:
            virtual = []
        return parse_routes(read_file(self._proc / "self/net/route") or b"", virtual)

    @staticmethod
    def _is_relative(tree: ProcTree, pid: int, servers: set[int]) -> bool:
        """Whether a process is a wrapper around a server that was found, or a worker below it."""
        above = {one.pid for one in tree.chain(pid)}
        return bool(above & servers) or any(pid in {one.pid for one in tree.chain(server)} for server in servers)


def _chosen(tree: ProcTree, process: Process, trait: ProcessPattern) -> list[Listener]:
    """Return the sockets of a server: those it holds open; where that is hidden, those that fit it."""
    there = tree.listening(process.pid)
    said = option(process.argv, "--port", "-p")
    port = int(said) if said and said.isascii() and said.isdigit() and len(said) < 6 else None
    held = tree.sockets(process.pid)
    mine = [one for one in there if (one.uid == process.uid if held is None else one.inode in held)]
    named = [one for one in mine if one.port in ((port,) if port else trait.ports)]
    if named or held is not None:
        return named or mine
    own = {one.inode for one in tree.listening("self")}
    # in a namespace of its own whatever listens there is likely the server's; in ours it may be anybody's
    return [one for one in mine if port is None and one.inode not in own]


def _forward(argv: Sequence[str]) -> tuple[int, str] | None:
    """Return the port of this machine that a docker-proxy forwards, and the address in the container."""
    host, target, port = (option(argv, f"-{name}") for name in ("host-port", "container-ip", "container-port"))
    return (int(host), f"http://{target}:{port}") if host and host.isdigit() and target and port else None


def _reachable(one: Listener) -> str:
    if one.wildcard:
        return LOOPBACK[0]
    return one.address


def _otherwise(url: str, own: Sequence[Listener]) -> str:
    """Return the IPv6 loopback's address where a socket of ``::`` may take IPv6 only, which ``/proc`` does not say."""
    port = _port(url)
    open_to_six = any(one.port == port and one.address == "::" for one in own)
    return _url(LOOPBACK[1], port) if open_to_six and url == _url(LOOPBACK[0], port) else ""


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _is_own(url: str) -> bool:
    return url.startswith(("http://127.", "http://[::1]"))
