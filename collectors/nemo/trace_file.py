"""NeMo Guardrails by the file of its tracing: which rail looked at a request, stopped it, and how long it took.

The FileSystem adapter (0.24, ``tracing.enabled``) appends one JSON object a request, with all its spans. Their times
count from the beginning of the request and the file holds no other: a request is taken to end when its line is first
seen. Only names, times and whether a rail stopped are read; what a span quotes of a prompt is never decoded.
"""

from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.measure.quantiles import MAX_WINDOW_S, MIN_COUNT, WINDOW_S, sample_quantiles
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, ReadingsBuilder
from aistack_top.text.sanitize import sanitize
from collectors.nemo.tail import FileTail
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason
from collectors.runtime.threads import DaemonCaller

if TYPE_CHECKING:
    from collectors.config import NemoTraceSource
    from collectors.registry import CollectorContext

RAIL_SPAN = "guardrails.rail"

ITS_WORK = frozenset({"generation", "dialog"})
"""Types of rails that are the model's own answer, and not a check of it."""

MAX_RAILS = 100


class Attributes(msgspec.Struct, frozen=True, rename={"type": "rail.type", "name": "rail.name", "stop": "rail.stop"}):
    """What is read of a span's attributes."""

    type: str = ""
    name: str = ""
    stop: bool = False


class TraceSpan(msgspec.Struct, frozen=True):
    """One span; ``duration`` in seconds."""

    name: str
    duration: float | None = None
    attributes: Attributes = Attributes()


class GuardrailTrace(msgspec.Struct, frozen=True):
    """One line: the spans of one request."""

    spans: tuple[TraceSpan, ...]


_DECODER = msgspec.json.Decoder(GuardrailTrace)


def build(config: "NemoTraceSource", tools: "CollectorContext") -> "NemoTraceCollector":
    """Return the collector of a configured trace file."""
    from collectors.registry import source_of

    return NemoTraceCollector(source_of(config), tools.clock, Path(config.path).expanduser())


class NemoTraceCollector:
    """Counts checks, hits and time by rail over the last minute of a trace file."""

    def __init__(self, source: Source, clock: Clock, path: Path) -> None:
        self._source = source
        self._clock = clock
        self._path = path
        self._tail = FileTail(path)
        self._caller = DaemonCaller("nemo-trace")
        self._keeper = HealthTracker(source)
        self._began: float | None = None
        self._checks: dict[str, deque[tuple[float, bool, float | None]]] = defaultdict(deque)

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        try:
            appended = await self._caller.call(self._tail.read, self._source.deadline_s)
        except TimeoutError:  # before OSError, of which it is a kind: a file server may hang
            now = self._clock.now()
            said = f"{self._path} could not be read in time: is its file system responding?"
            return Batch(now, now, self._keeper.failure(now, SourceError("slow", sanitize(said))))
        except OSError as error:
            now = self._clock.now()
            said = (
                f"cannot read {self._path}: {error.strerror}: does tracing use the FileSystem adapter with this path?"
            )
            return Batch(now, now, self._keeper.failure(now, SourceError("misconfigured", sanitize(said))))
        now = self._clock.now()
        bad = sum(not self._take(line, now) for line in appended.lines)
        notes = [*appended.notes, f"{bad} {'line is' if bad == 1 else 'lines are'} no trace" if bad else ""]
        first, self._began = self._began is None, now if self._began is None else self._began
        readings = ReadingsBuilder()
        if not first:
            self._tell(readings, now)
        return Batch(now, now, self._keeper.success(now, 0.0, reason=reason(notes)), readings.build())

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        self._caller.close()

    def _take(self, line: bytes, now: float) -> bool:
        try:
            trace = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        for span in trace.spans:
            told = span.attributes
            if span.name == RAIL_SPAN and told.name and told.type not in ITS_WORK:
                rail = sanitize(told.name, 60)
                if rail in self._checks or len(self._checks) < MAX_RAILS:
                    self._checks[rail].append((now, told.stop, span.duration))
        return True

    def _tell(self, readings: ReadingsBuilder, now: float) -> None:
        window_s = min(WINDOW_S, now - (self._began or now))
        for rail, checks in self._checks.items():
            while checks and checks[0][0] <= now - MAX_WINDOW_S:
                checks.popleft()
            about = Entity.of(source=self._source.name, rail=rail)
            recent = [check for check in checks if check[0] > now - WINDOW_S]
            if window_s > 0:
                readings.add("guardrail.requests", about, len(recent) / window_s)
                readings.add("guardrail.hits", about, sum(stop for _, stop, _ in recent) / window_s)
            few = len(recent) < MIN_COUNT
            times = [took for _, _, took in (checks if few else recent) if took is not None and took >= 0]
            if times:
                readings.add("guardrail.latency", about, sample_quantiles(times, MAX_WINDOW_S if few else WINDOW_S))
