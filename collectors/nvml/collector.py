"""The NVML collector: the NVIDIA GPUs of this node, by the driver's own library.

| module | does |
|---|---|
| `nvml` | the collector: one call a poll to NVML's own thread, health, facts |
| `nvml_node` | connecting, lost and found GPUs, events |
| `nvml_gpu` | one GPU from poll to poll |
| `nvml_read` | what is asked, in the units of the signal table |
| `nvml_calls` | how it is asked, and what an error means |
| `nvml_gpm` | profiling: multiprocessors, tensor pipes, device memory |
| `nvml_throttle` | why clocks are held down |
| `nvml_xid` | XID events, with ``xid.toml`` |

The driver can hang for as long as a GPU does, so nothing here waits for it longer than the source's deadline. No
privilege is needed but for what the driver refuses, which the health record names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact
from collectors.host.collector import BackgroundQuestion, FactReporter, start_thread
from collectors.nvml.node import NodeSample, NvmlNode
from collectors.procfs.owners import owners
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason
from collectors.runtime.threads import DaemonCaller, StillHangsError

if TYPE_CHECKING:
    from collectors.config import NvmlSource
    from collectors.registry import CollectorContext

DEADLINE_S: Final = 2.0
MAX_BUSY: Final = 0.1
"""NVML serves nobody who would wait for us, so it may be busy longer than a server: a tenth of the time."""

OWNERS_S: Final = 10.0
MAX_PID_AGE_S: Final = 30.0
"""Process ids from longer ago may be other processes by now."""


class NvmlCollector:
    """Reads all GPUs of this node. ``module`` stands in for ``pynvml``, which is else imported on NVML's thread."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        module: ModuleType | None = None,
        *,
        node: str = "this node",
        proc_root: Path = Path("/proc"),
        start: Callable[[Callable[[], None]], None] = start_thread,
    ) -> None:
        self._source = source
        self._clock = clock
        self._proc = proc_root
        self._node = NvmlNode(
            lambda: import_module("pynvml") if module is None else module, clock, node, source.name, source.interval_s
        )
        self._caller = DaemonCaller("nvml")
        self._keeper = HealthTracker(source)
        self._book = FactReporter()
        self._owners: BackgroundQuestion[tuple[list[Fact], int]] = BackgroundQuestion(start, OWNERS_S)
        self._owned: tuple[list[Fact], int] = ([], 0)
        self._sample: NodeSample | None = None

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Return what all GPUs say now, with one health record. See `collectors.runtime.base.Collector.collect`."""
        clock = self._clock
        began = clock.monotonic()
        try:
            sample = await self._caller.call(self._node.read, self._source.deadline_s)
        except StillHangsError:
            error = SourceError("down", "NVML does not respond: a call hangs in the driver")
        except TimeoutError:
            error = SourceError("slow", f"NVML did not answer within {self._source.deadline_s:g} s")
        except SourceError as raised:
            error = raised
        else:
            return self._batch(sample, clock.monotonic() - began)
        now = clock.now()
        health = self._keeper.failure(now, error, clock.monotonic() - began)
        return Batch(now, now, health, events=self._events())

    async def aclose(self) -> None:
        """Let go of NVML without waiting for it. See `collectors.runtime.base.Collector.aclose`."""
        self._caller.post(self._node.close)
        self._caller.close()

    def processes(self) -> Mapping[Entity, Sequence[int]]:
        """Return the process ids on each GPU or MIG instance, in the order of the GPUs, as the driver counts them.

        GPUs without processes are there too; empty where the last look is more than half a minute old.
        """
        sample = self._fresh()
        return sample.pids if sample else {}

    def indices(self) -> Mapping[int, Entity]:
        """Return the GPUs by NVML's index, which changes with a reboot; empty as in `processes`."""
        sample = self._fresh()
        return sample.indices if sample else {}

    def pids(self) -> Sequence[int]:
        """Return the process ids on any GPU."""
        return sorted({pid for pids in self.processes().values() for pid in pids})

    def calls(self) -> int:
        """Return how many calls have gone to the driver since the start."""
        return self._sample.calls if self._sample else 0

    def _batch(self, sample: NodeSample, took_s: float) -> Batch:
        self._sample = sample
        now = self._clock.now()
        self._owned = self._owners.answer() or self._owned
        pids, proc_root = tuple(self.pids()), self._proc
        if pids:
            self._owners.ask(now, lambda: owners(pids, proc_root))
        facts = self._book.news(now, [*sample.facts, *self._owned[0]])
        said = reason(sample.notes)
        if sample.there == 0:
            health = self._keeper.failure(now, SourceError("down", said), took_s)
        else:
            health = self._keeper.success(now, took_s, reason=said)
        return Batch(sample.at, now, health, sample.readings, self._events(), facts=facts)

    def _events(self) -> tuple[Event, ...]:
        waiting, now = self._node.events, self._clock.now()
        taken = []
        while waiting:
            taken.append(replace(waiting.popleft(), seen=now))
        return tuple(taken)

    def _fresh(self) -> NodeSample | None:
        sample = self._sample
        return sample if sample is not None and self._clock.now() - sample.at < MAX_PID_AGE_S else None


def build(config: "NvmlSource", tools: "CollectorContext") -> NvmlCollector:
    """Return the collector of a configured source."""
    from collectors.registry import source_of

    source = source_of(config, deadline_s=DEADLINE_S, most_busy=MAX_BUSY)
    return NvmlCollector(source, tools.clock, node=tools.node)
