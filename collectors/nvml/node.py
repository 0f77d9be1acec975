"""All GPUs of a node as NVML's own thread sees them: connecting, losing and finding GPUs, events.

Everything here runs on that one thread and may block; the collector before it may not.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, Fact, Readings, ReadingsBuilder, Severity
from aistack_top.text.sanitize import sanitize
from collectors.nvml.calls import (
    LOST,
    Asker,
    DriverGoneError,
    GpuLostError,
    source_error,
)
from collectors.nvml.gpu import GpuReader
from collectors.nvml.throttle import ThrottleChange
from collectors.nvml.xid import UNKNOWN, XidWaiter, xids
from collectors.runtime.base import SourceError

RETRY_S: Final = 30.0
"""Between two looks at a driver or GPU that was not there: each wakes the driver, and may wait in it."""

COUNT_S: Final = 5.0
STOP_S: Final = 1.5
"""Longer than one wait of the XID thread, which must be out of the library before it is shut down."""

MAX_EVENTS: Final = 500
NO_GPU: Final = "the NVIDIA driver runs, but shows no GPU here: is this a container without one?"


@dataclass(frozen=True, slots=True)
class NodeSample:
    """What one poll of all GPUs brought; ``at`` is its time, ``calls`` what went to the driver since the start.

    ``notes`` are what the health record says. ``lost`` and ``there`` are how many GPUs do not and do answer.
    """

    at: float
    readings: Readings
    facts: tuple[Fact, ...]
    pids: Mapping[Entity, tuple[int, ...]]
    indices: Mapping[int, Entity]
    notes: tuple[str, ...]
    lost: int
    there: int
    calls: int


@dataclass(slots=True)
class _Absent:
    """A GPU that does not answer: why, and when it is looked for again. ``uuid`` is empty if it never was known."""

    why: str
    uuid: str
    again: float


class NvmlNode:
    """The GPUs of this node through one initialised NVML."""

    def __init__(
        self, load: Callable[[], ModuleType], clock: Clock, node: str, source: str, interval_s: float = 1.0
    ) -> None:
        self._load = load
        self._clock = clock
        self._node = Entity.of(node=node)
        self._source = source
        self._interval_s = interval_s
        self._nvml: ModuleType | None = None
        self._asker: Asker | None = None
        self._readers: dict[int, GpuReader] = {}
        self._absent: dict[int, _Absent] = {}
        self._known: frozenset[str] | None = None
        self._count = 0
        self._count_at = 0.0
        self._facts: tuple[Fact, ...] = ()
        self._retry_at = float("-inf")
        self._failure: SourceError | None = None
        self.xid: XidWaiter | None = None
        self.events: deque[Event] = deque(maxlen=MAX_EVENTS)
        """What happened and was not picked up yet; outlives a poll that was given up."""

    def read(self) -> NodeSample:
        """Return what all GPUs say now, connecting first where need be.

        Raises:
            SourceError: there is no driver, no permission, or no GPU; asked again every `RETRY_S`.

        """
        at = self._clock.now()
        if self._nvml is None:
            self._connect(at)
        try:
            return self._read(at)
        except DriverGoneError as gone:
            self.close()
            self._failure = source_error(gone.code, str(gone))
            self._retry_at = at + (0.0 if gone.code == 1 else RETRY_S)
            raise self._failure from None

    def close(self) -> None:
        """Shut NVML down, if the XID thread is out of it in time; else it is left as it is."""
        nvml, self._nvml = self._nvml, None
        if nvml is None:
            return
        waiter, self.xid = self.xid, None
        stopped = waiter is None or waiter.stop(STOP_S)
        for reader in self._readers.values():
            _quietly(nvml, reader.close)
        self._readers, self._absent = {}, {}
        if stopped:
            _quietly(nvml, nvml.nvmlShutdown)

    def _connect(self, at: float) -> None:
        if self._failure is not None and at < self._retry_at:
            raise self._failure
        self._retry_at = at + RETRY_S
        try:
            nvml = self._load()
        except ImportError:
            self._failure = SourceError("misconfigured", "the Python package nvidia-ml-py is not installed")
            raise self._failure from None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            self._failure = source_error(error.value, sanitize(str(error)))
            raise self._failure from None
        self._nvml, self._asker = nvml, Asker(nvml, None)
        self._failure = None
        self._count_at = float("-inf")

    def _read(self, at: float) -> NodeSample:
        if at >= self._count_at:
            self._count_at = at + COUNT_S
            self._look_around(at)
        self._look_for_absent(at)
        out = ReadingsBuilder()
        facts: list[Fact] = list(self._facts)
        pids: dict[Entity, tuple[int, ...]] = {}
        for index, reader in sorted(self._readers.items()):
            try:
                poll = reader.poll(at)
            except GpuLostError as lost:
                self._lose(at, index, reader, lost)
                continue
            for row in poll.rows:
                out.add(*row)
            facts += poll.facts
            pids.update(poll.pids)
            self.events.extend(self._throttle_event(at, reader, turn) for turn in poll.turns)
        self.hear()
        if not self._readers and not self._absent:
            raise SourceError("down", NO_GPU)
        indices = {index: reader.entity for index, reader in sorted(self._readers.items())}
        return NodeSample(
            at=at,
            readings=out.build(),
            facts=tuple(facts),
            pids=pids,
            indices=indices,
            notes=tuple(self._notes()),
            lost=len(self._absent),
            there=len(self._readers),
            calls=sum(reader.calls for reader in self._readers.values()),
        )

    def hear(self) -> None:
        """Turn the XIDs heard since the last time into events; the same XID of a GPU is told once, with its count."""
        if self.xid is None:
            return
        heard = self.xid.drain()
        times = Counter((one.gpu, one.code) for one in heard)
        for one in heard:
            count = times.pop((one.gpu, one.code), 0)
            if count:
                self.events.append(self._xid_event(one.at, one.gpu, one.code, count))

    def _look_around(self, at: float) -> None:
        """Find the GPUs there are, when their number has changed or none was looked for yet."""
        asker = self._asker
        count = asker.plain("number of GPUs", "nvmlDeviceGetCount", int) if asker else None
        if asker is None or count is None or (count == self._count and (self._readers or self._absent)):
            return
        self._count = count
        before = {reader.uuid: reader for reader in self._readers.values()}
        self._readers, self._absent = {}, {}
        for index in range(count):
            reader = self._open(at, index)
            if reader is not None:
                self._readers[index] = before.pop(reader.uuid, reader)
                self._readers[index].index = index
        for gone in before.values():
            _quietly(asker.nvml, gone.close)
        self._say_change(at)
        self._facts = self._node_facts(asker)
        self._listen()

    def _open(self, at: float, index: int) -> GpuReader | None:
        nvml = self._nvml
        if nvml is None:
            return None
        uuid = self._absent[index].uuid if index in self._absent else ""
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(nvml.nvmlDeviceGetUUID(handle))
        except nvml.NVMLError as error:
            why = str(GpuLostError(error.value)) if error.value in LOST else sanitize(str(error)).lower()
            self._absent[index] = _Absent(why, uuid, at + RETRY_S)
            return None
        return GpuReader(nvml, handle, sanitize(uuid, 80), index, self._interval_s)

    def _look_for_absent(self, at: float) -> None:
        for index, absent in list(self._absent.items()):
            if at < absent.again:
                continue
            absent.again = at + RETRY_S
            reader = self._open(at, index)
            if reader is None:
                continue
            try:
                reader.poll(at)
            except GpuLostError:
                continue
            del self._absent[index]
            self._readers[index] = reader
            self.events.append(self._event(at, "lost", "info", reader.entity, f"gpu {index} is back"))
            self._listen()

    def _lose(self, at: float, index: int, reader: GpuReader, lost: GpuLostError) -> None:
        del self._readers[index]
        self._absent[index] = _Absent(str(lost), reader.uuid, at + RETRY_S)
        mend = "reset the GPU" if lost.reset_needed else "reboot the node"
        text = f"gpu {index} {'needs a reset' if lost.reset_needed else 'is lost to the driver'}; {mend}"
        self.events.append(self._event(at, "lost", "critical", reader.entity, text, ("error", str(lost))))

    def _say_change(self, at: float) -> None:
        now = frozenset(reader.uuid for reader in self._readers.values())
        now |= {absent.uuid for absent in self._absent.values() if absent.uuid}
        before, self._known = self._known, now
        if before is None or before == now:
            return
        parts = [f"{uuid} gone" for uuid in sorted(before - now)] + [f"{uuid} new" for uuid in sorted(now - before)]
        text = sanitize(f"the set of GPUs changed: {', '.join(parts)}")
        self.events.append(self._event(at, "changed", "warning", self._node, text, ("key", "gpus")))

    def _listen(self) -> None:
        """Wait for XIDs of the GPUs that are there now."""
        if self.xid is not None:
            self.xid.stop()
            self.hear()
        nvml = self._nvml
        handles = [reader.asker.handle for reader in self._readers.values()]
        self.xid = XidWaiter(nvml, handles, self._clock.now) if nvml is not None and handles else None

    def _node_facts(self, asker: Asker) -> tuple[Fact, ...]:
        driver = asker.plain("driver version", "nvmlSystemGetDriverVersion", str)
        cuda = asker.plain("CUDA version", "nvmlSystemGetCudaDriverVersion_v2", int)
        known = {
            "driver_version": driver,
            # 12040 is CUDA 12.4 (nvml.h, NVML_CUDA_DRIVER_VERSION_MAJOR)
            "cuda_version": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
        told = [Fact(self._node, key, sanitize(value, 40)) for key, value in known.items() if value]
        # the event of a changed set names the GPUs, which says more
        return (*told, Fact(self._node, "gpus", str(self._count), watched=False))

    def _notes(self) -> list[str]:
        notes = [f"gpu {index} {absent.why}" for index, absent in sorted(self._absent.items())]
        refused = sorted({what for reader in self._readers.values() for what in reader.asker.refused})
        if refused:
            notes.append(f"no permission to read: {', '.join(refused)}")
        for index, reader in sorted(self._readers.items()):
            if reader.asker.failed:
                what, text = next(iter(reader.asker.failed.items()))
                more = f" and {len(reader.asker.failed) - 1} more" if len(reader.asker.failed) > 1 else ""
                notes.append(sanitize(f"gpu {index}: {what}{more} failed: {text}"))
        if self.xid is not None and self.xid.fault:
            notes.append(sanitize(self.xid.fault))
        return notes

    def _throttle_event(self, at: float, reader: GpuReader, turn: ThrottleChange) -> Event:
        reason = turn.reason
        severity: Severity = reason.severity or "info"
        text = f"gpu {reader.index}: clocks reduced by {reason.says} ({reason.name})"
        if not turn.began:
            severity = "info"
            text = f"gpu {reader.index}: {reason.name} ended after {turn.lasted_s:.0f} s"
        detail = (("reason", reason.name), ("state", "began" if turn.began else "ended"))
        return self._event(at, "throttle", severity, reader.entity, text, *detail)

    def _xid_event(self, at: float, uuid: str, code: int, count: int) -> Event:
        entry = xids().get(code, UNKNOWN)
        index = next((index for index, reader in self._readers.items() if reader.uuid == uuid), None)
        if index is None:
            index = next((index for index, absent in self._absent.items() if absent.uuid == uuid), None)
        whose = f"gpu {index}" if index is not None else sanitize(uuid, 80) or "an unknown GPU"
        often = f" ({count} times)" if count > 1 else ""
        text = f"XID {code} on {whose}: {entry.what}{often}; {entry.action}"
        entity = Entity.of(gpu=sanitize(uuid, 80)) if uuid else self._node
        return self._event(at, "xid", entry.severity, entity, text, ("code", str(code)), ("group", entry.group))

    def _event(
        self, at: float, kind: str, severity: Severity, entity: Entity, text: str, *detail: tuple[str, str]
    ) -> Event:
        return Event(at, self._clock.now(), "compute", kind, severity, entity, text, self._source, detail)


def _quietly(nvml: ModuleType, act: Callable[[], object]) -> None:
    try:
        act()
    except (nvml.NVMLError, GpuLostError, DriverGoneError):
        return
