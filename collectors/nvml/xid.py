"""XID events: a thread of its own waits for them, a table says what they mean.

The driver hands out events only from the moment of registration on, so nothing is told twice and nothing of the
past is told at all.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType, ModuleType
from typing import Final

import msgspec

from aistack_top.model.tick import Severity

WAIT_MS: Final = 1000
"""How long one wait blocks; so long does the thread live on after its stop."""

PAUSE_S: Final = 1.0
"""Rest after a failed wait: the driver answers at once while a GPU is lost, and the thread would spin."""

MAX_WAITING: Final = 500
TIMEOUT: Final = 10
XID_EVENTS: Final = 8
"""``nvmlEventTypeXidCriticalError``."""


class Xid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``xid.toml``, which explains the fields."""

    codes: tuple[int, ...]
    what: str
    group: str
    severity: Severity
    action: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    xid: tuple[Xid, ...]


UNKNOWN: Final = Xid((), "unknown XID", "unknown", "warning", "see the kernel log and NVIDIA's catalog")


@cache
def xids() -> Mapping[int, Xid]:
    """Return the table by code."""
    text = files("collectors.nvml").joinpath("xid.toml").read_text(encoding="utf-8")
    table = msgspec.toml.decode(text, type=_Table)
    return MappingProxyType({code: entry for entry in table.xid for code in entry.codes})


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An XID as it came from the driver, at a time in seconds since the epoch; ``gpu`` is a UUID, empty if unknown."""

    at: float
    gpu: str
    code: int


class XidWaiter:
    """Waits for XIDs of some GPUs until it is stopped; what it heard is picked up by `take`.

    It stops for good where the driver offers no such events, and says so in ``fault``.
    """

    def __init__(self, nvml: ModuleType, handles: Sequence[object], now: Callable[[], float]) -> None:
        self._nvml = nvml
        self._handles = tuple(handles)
        self._now = now
        self._heard: deque[XidEvent] = deque(maxlen=MAX_WAITING)
        self._stop = threading.Event()
        self.fault = ""
        self.ready = threading.Event()
        """Set once events are registered, or cannot be."""
        self._thread = threading.Thread(target=self._run, name="nvml-xid", daemon=True)
        self._thread.start()

    def drain(self) -> list[XidEvent]:
        """Return what was heard since the last time, oldest first."""
        heard = []
        while self._heard:
            heard.append(self._heard.popleft())
        return heard

    def stop(self, wait_s: float = 0.0) -> bool:
        """Ask the thread to end, wait so long for it, and return whether it did."""
        self._stop.set()
        if wait_s > 0:
            self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._listen()
        except Exception as fault:  # a traceback of a thread would be painted over the screen
            self.fault = f"XID events are not received: {fault}"
        finally:
            self.ready.set()

    def _listen(self) -> None:
        """Register and wait until the driver fails; the set is made anew after that (``nvml.h``, nvmlEventSetWait)."""
        nvml = self._nvml
        events = nvml.nvmlEventSetCreate()
        try:
            refusals = [fault for fault in (self._register(handle, events) for handle in self._handles) if fault]
            if self._handles and len(refusals) == len(self._handles):
                self.fault = f"XID events are not received: {refusals[0]}"
                self._stop.set()
                return
            self.fault = ""
            self.ready.set()
            self._wait(events)
        finally:
            nvml.nvmlEventSetFree(events)

    def _register(self, handle: object, events: object) -> str:
        try:
            self._nvml.nvmlDeviceRegisterEvents(handle, XID_EVENTS, events)
        except self._nvml.NVMLError as error:
            return str(error)
        return ""

    def _wait(self, events: object) -> None:
        nvml = self._nvml
        while not self._stop.is_set():
            try:
                data = nvml.nvmlEventSetWait_v2(events, WAIT_MS)
            except nvml.NVMLError as error:
                if error.value == TIMEOUT:
                    continue
                self._stop.wait(PAUSE_S)
                return
            if data.eventType == XID_EVENTS:
                self._heard.append(XidEvent(self._now(), self._uuid(data.device), int(data.eventData)))

    def _uuid(self, device: object) -> str:
        try:
            return str(self._nvml.nvmlDeviceGetUUID(device))
        except self._nvml.NVMLError:
            return ""
