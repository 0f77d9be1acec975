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
from pathlib import Path

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Fact, Link
from aistack_top.text.sanitize import sanitize
from collectors.gpu_owners.proof import EngineAddress, LinkFinder, OwnershipResult, Proof, Resolve, same_gpu
from collectors.procfs.processes import MAX_COMMAND, Process, option, redacted
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason
from collectors.runtime.threads import DaemonCaller

SAY_AGAIN_S = 60.0
"""Between two sayings of what did not change, for whoever began to listen in between (design: what changed)."""

Runner = Callable[[Callable[[], OwnershipResult]], Awaitable[OwnershipResult]]


class GpuLinkCollector:
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
        self._keeper = HealthTracker(self._source)
        self._standing: dict[tuple[Entity, Entity], Proof] = {}
        self.unknown: dict[str, str] = {}
        """Why nothing proves which GPUs an engine works on, by the engine's name, as of the last run."""
        self._said: dict[Fact | Link, float] = {}

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        began = self._clock.monotonic()
        gpus = {gpu: tuple(pids) for gpu, pids in self._gpu_processes().items()}
        engines = tuple(self._engines())
        try:
            found = await self._run(lambda: self._finder.find(gpus, engines))
        except TimeoutError:
            return self._failed(SourceError("slow", f"/proc did not answer within {self._source.deadline_s:g} s"))
        except OSError as error:
            return self._failed(SourceError("down", sanitize(f"/proc cannot be read: {error}")))
        now = self._clock.now()
        proofs, notes = self._with_configured(found, gpus, engines)
        links = [*self._ended(proofs, found, gpus), *(proof.link for proof in proofs)]
        spans = _spans(found.servers, self._standing.values())
        health = self._keeper.success(now, self._clock.monotonic() - began, reason=reason([*notes, *spans]))
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
        """Close the connections and clients of this collector."""
        self._caller.close()

    async def _on_thread(self, look: Callable[[], OwnershipResult]) -> OwnershipResult:
        return await self._caller.call(look, self._source.deadline_s)

    def _failed(self, error: SourceError) -> Batch:
        now = self._clock.now()
        return Batch(now, now, self._keeper.failure(now, error))

    def _with_configured(
        self, found: OwnershipResult, gpus: Mapping[Entity, Sequence[int]], engines: Sequence[EngineAddress]
    ) -> tuple[list[Proof], list[str]]:
        """Return the proofs together with what a person said, and what is to be told about both."""
        proofs, notes = list(found.proofs), []
        self.unknown = {}
        by_name = self._gpu_index() if self._gpu_index else {gpu.get("gpu") or "": gpu for gpu in gpus}
        for one in engines:
            name = one.entity.get("engine") or ""
            proven = {proof.link.child for proof in found.proofs if proof.link.parent == one.entity}
            wanted = self._configured.get(name, ())
            chosen = [by_name[str(gpu)] for gpu in wanted if str(gpu) in by_name]
            missing = ", ".join(str(gpu) for gpu in wanted if str(gpu) not in by_name)
            if missing and by_name:  # before the driver's first answer nothing is known to be missing
                notes.append(f"gpus of {name}: {missing} is not a GPU of this node")
            if chosen and any(not any(same_gpu(gpu, other) for other in chosen) for gpu in proven):
                notes.append(f"{name} also uses a GPU that is not in its gpus = [...]")
            said = [gpu for gpu in chosen if not any(same_gpu(gpu, other) for other in proven)]
            proofs += [Proof(Link(one.entity, gpu, "configuration", "gpus = [...]")) for gpu in said]
            if not proven and not chosen and one.entity in found.unknown:
                self.unknown[name] = found.unknown[one.entity]
                notes.append(f"engine-GPU link unknown for {name}: {self.unknown[name]}")
        return proofs, notes

    def _ended(
        self, proofs: Sequence[Proof], found: OwnershipResult, gpus: Mapping[Entity, Sequence[int]]
    ) -> list[Link]:
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


def _addresses_of(host: str) -> Iterable[str]:
    """Return the addresses of a host name, as the system resolves it. May block."""
    import socket

    try:
        return {str(row[4][0]) for row in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return ()


LIMITS = {
    "max_num_seqs": ("--max-num-seqs", "--max_num_seqs", "--max-running-requests"),
    "max_num_batched_tokens": ("--max-num-batched-tokens", "--max_num_batched_tokens"),
}
"""Limits of a batch that no server tells while it runs, and the options that set them (vLLM, SGLang)."""


def _facts(engine: Entity, server: Process) -> list[Fact]:
    """Return what is known of an engine's server process; another process id is a restart, which is told elsewhere."""
    facts = [
        Fact(engine, "pid", str(server.pid), watched=False),
        Fact(engine, "command", sanitize(redacted(server.argv), MAX_COMMAND)),
    ]
    for key, names in LIMITS.items():
        facts.append(Fact(engine, key, sanitize(option(server.argv, *names) or "default", 20)))
    if server.container:
        facts.append(Fact(engine, "container", sanitize(server.container, 80), watched=False))
    return facts


def _spans(servers: Mapping[Entity, Process], proofs: Iterable[Proof]) -> list[str]:
    """Return, for each engine whose command line wants more GPUs than it is linked to here, a sentence on the rest."""
    notes = []
    linked: dict[Entity, set[Entity]] = {}
    for proof in proofs:
        linked.setdefault(proof.link.parent, set()).add(proof.link.child)
    for engine, server in servers.items():
        wanted, here = gpus_wanted(server.argv), len(linked.get(engine, ()))
        if here and wanted > here:
            name = engine.get("engine") or ""
            notes.append(f"{name} uses {wanted} GPUs, {wanted - here} of them not visible here")
    return notes


def gpus_wanted(argv: Sequence[str]) -> int:
    """Return on how many GPUs a server says it works: its tensor, pipeline and data parallel sizes, multiplied."""
    product = 1
    for long, short in (
        ("tensor-parallel-size", "tp"),
        ("pipeline-parallel-size", "pp"),
        ("data-parallel-size", "dp"),
    ):
        said = option(argv, f"--{long}", f"--{long.replace('-', '_')}", f"-{short}", f"--{short}", f"--{short}-size")
        product *= int(said) if said and said.isascii() and said.isdigit() and 0 < int(said) < 10_000 else 1
    return product
