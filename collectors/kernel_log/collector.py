"""The kernel's log and other logs: how many lines of each pattern, and an event for what they say.

A line's text is not kept, unless ``texts = true`` asks for it: what is recorded is its pattern, an XID's code and PCI
address, the process that was killed.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, ReadingsBuilder, Severity
from aistack_top.text.sanitize import sanitize
from collectors.kernel_log.patterns import TITLES, LogHit, match
from collectors.kernel_log.reading import Lines, logs
from collectors.nvml.xid import UNKNOWN, xids
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason
from collectors.runtime.threads import DaemonCaller

if TYPE_CHECKING:
    from collectors.config import KernelLogSource
    from collectors.registry import CollectorContext

MAX_EVENTS = 20
"""Events of one look; more lines than that are only counted."""

MAX_TEXT = 200


def build(config: "KernelLogSource", tools: "CollectorContext") -> "KernelLogCollector":
    """Return the collector of the configured logs."""
    from collectors.registry import source_of

    found, lacks = logs(config.files)
    return KernelLogCollector(source_of(config), tools.clock, tools.node, found, lacks, texts=config.texts)


class KernelLogCollector:
    """Counts lines by pattern since it began to look. ``lacks`` says why the kernel's own log is not among the logs."""

    def __init__(
        self, source: Source, clock: Clock, node: str, found: Sequence[Lines], lacks: str = "", *, texts: bool = False
    ) -> None:
        self._source = source
        self._clock = clock
        self._node = Entity.of(node=node)
        self._logs = list(found)
        self._lacks = lacks
        self._texts = texts
        self._caller = DaemonCaller("kernel-log")
        self._keeper = HealthTracker(source)
        self._reading = threading.Lock()
        self._counts: Counter[str] = Counter(dict.fromkeys(TITLES, 0))

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        began = self._clock.monotonic()
        try:
            hits, notes, read = await self._caller.call(self._read, self._source.deadline_s)
        except TimeoutError:
            now = self._clock.now()
            said = "a log could not be read in time: does the file system that it lies on answer?"
            return Batch(now, now, self._keeper.failure(now, SourceError("slow", said)))
        now, took_s = self._clock.now(), self._clock.monotonic() - began
        if not read:
            said = "; ".join([*([self._lacks] if self._lacks else []), *notes]) or "no log is named or found"
            return Batch(now, now, self._keeper.failure(now, SourceError("unauthorized", sanitize(said, 300)), took_s))
        notes = [*([f"the kernel's log is not read: {self._lacks}"] if self._lacks else []), *notes]
        self._counts.update(hit.pattern for hit, _ in hits)
        readings = ReadingsBuilder()
        for pattern, count in self._counts.items():
            readings.add("host.log.lines", self._node.with_(reason=pattern), float(count))
        events = self._events(hits, now)
        health = self._keeper.success(now, took_s, reason=reason([sanitize(note, 200) for note in notes]))
        return Batch(now, now, health, readings.build(), events)

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`."""
        self._caller.close()
        if self._reading.acquire(timeout=0.1):  # a thread that hangs in a file keeps what it has
            for log in self._logs:
                log.close()
            self._reading.release()

    def _read(self) -> tuple[list[tuple[LogHit, bytes]], list[str], int]:
        """Return what fits in the new lines of all logs, what was not as usual, and how many logs were read."""
        hits: list[tuple[LogHit, bytes]] = []
        notes: list[str] = []
        read = 0
        for log in self._logs:
            try:
                with self._reading:
                    lines, told = log.read()
            except OSError as error:
                notes.append(f"{log.name}: {error.strerror or error}")
                continue
            read += 1
            notes += told
            hits += [(hit, line) for line in lines if (hit := match(line, kernel=log.is_kernel(line))) is not None]
        return hits, notes, read

    def _events(self, hits: Sequence[tuple[LogHit, bytes]], now: float) -> tuple[Event, ...]:
        """Return an event for each thing that was said, however often."""
        same: dict[LogHit, list[bytes]] = {}
        for hit, line in hits:
            same.setdefault(hit, []).append(line)
        return tuple(self._event(hit, lines, now) for hit, lines in list(same.items())[:MAX_EVENTS])

    def _event(self, hit: LogHit, lines: Sequence[bytes], now: float) -> Event:
        kind, severity, said, detail = _said(hit)
        said = f"{len(lines)} lines: {said}" if len(lines) > 1 else said
        if self._texts:
            said += f": {sanitize(lines[0].decode('utf-8', 'replace'), MAX_TEXT)}"
        detail = (("pattern", hit.pattern), ("lines", str(len(lines))), *detail)
        return Event(now, now, "compute", kind, severity, self._node, said, self._source.name, detail)


def _said(hit: LogHit) -> tuple[str, Severity, str, tuple[tuple[str, str], ...]]:
    """Return an event's kind, severity, sentence and details."""
    if hit.pattern == "xid" and hit.code is not None:
        known = xids().get(hit.code, UNKNOWN)
        text = f"XID {hit.code} at PCI {hit.where}: {known.what}; {known.action}"
        detail = (("code", str(hit.code)), ("group", known.group), ("pci", hit.where), ("action", known.action))
        return "log", known.severity, sanitize(text, 200), detail
    if hit.pattern == "sxid":
        kind = "fatal" if hit.fatal else "not fatal"
        severity: Severity = "critical" if hit.fatal else "warning"
        switch = (("code", str(hit.code)), ("pci", hit.where))
        return "log", severity, f"NVSwitch SXid {hit.code} at PCI {hit.where}, {kind}", switch
    if hit.pattern == "oom":
        command = sanitize(hit.command, 40)
        text = f"the kernel killed process {hit.pid} ({command}) for lack of memory"
        return "oom", "warning", text, (("pid", hit.pid), ("command", command))
    return "log", "warning", f"{TITLES[hit.pattern]} in the log", ()
