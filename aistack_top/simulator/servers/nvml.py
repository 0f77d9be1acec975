"""An object of the shape of the ``pynvml`` module: the driver of the simulated GPUs.

It has the functions that a Hopper GPU's driver answers and the model knows an answer for; any other is missing, as
from an older driver. Units are NVML's: milliwatts, megahertz, millijoules, nanoseconds, KiB.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from aistack_top.simulator.gpu import ThrottleBit
from aistack_top.simulator.servers.gpus import DRIVER_MEMORY, GpuState, GpuStates

DRIVER_VERSION: Final = "550.163.01"
CUDA_VERSION: Final = 12040

INVALID, NOT_SUPPORTED, TIMEOUT, LOST = 2, 3, 10, 15
ULL: Final = 3
"""``nvmlValueType_t`` of an unsigned 64-bit value."""

XID_EVENTS: Final = 8
HEARD_S: Final = 5.0
"""How long a poll waits for an XID to be picked up by whoever listens: far longer than that takes."""


class NVMLError(Exception):
    """An error of NVML, by its number in ``nvml.h``."""

    def __init__(self, value: int) -> None:
        super().__init__(_WORDS.get(value, f"NVML error {value}"))
        self.value = value


class NVMLLibraryMismatchError(Exception):
    """A function the driver is too old for; never raised here."""


_WORDS: Final = {
    INVALID: "Invalid Argument",
    NOT_SUPPORTED: "Not Supported",
    TIMEOUT: "Timeout",
    LOST: "GPU is lost",
}

_GPM: Final[Mapping[int, Callable[[GpuState], float]]] = {
    2: lambda gpu: gpu.sm_s,
    5: lambda gpu: gpu.tensor_s,
    10: lambda gpu: gpu.dram_s,
}
"""Seconds of activity since the start, by the number of the GPM metric: SM, tensor pipes, memory."""

_FIELDS: Final[Mapping[int, Callable[[GpuState, int], float]]] = {
    74: lambda gpu, _: gpu.lost_s[ThrottleBit.SW_POWER_CAP] * 1e9,
    82: lambda gpu, _: gpu.memory_temperature,
    83: lambda gpu, _: gpu.energy * 1e3,
    91: lambda gpu, _: gpu.nvlink_links,
    138: lambda gpu, _: gpu.nvlink_bytes / 2 / 1024,
    139: lambda gpu, _: gpu.nvlink_bytes / 2 / 1024,
    160: lambda _, __: 0,
    161: lambda gpu, link: gpu.nvlink_errors if link == 0 else 0,  # links fail from the last one on, replays are on 0
    162: lambda _, __: 0,
    163: lambda _, __: 0,
    185: lambda gpu, _: gpu.power * 1e3,
    230: lambda gpu, _: int(gpu.remap[0]),
    269: lambda gpu, _: gpu.lost_s[ThrottleBit.SW_THERMAL] * 1e9,
    270: lambda gpu, _: gpu.lost_s[ThrottleBit.HW_THERMAL] * 1e9,
    271: lambda gpu, _: gpu.lost_s[ThrottleBit.HW_POWER_BRAKE] * 1e9,
}
"""Field values by ``NVML_FI_DEV_*``; the second argument is the scope, a link's number."""


def _clock(gpu: GpuState, kind: int, top: bool) -> int:
    if kind == 2:
        return round(gpu.clock_memory / 1e6)
    return round((gpu.clock_max if top else gpu.clock) / 1e6)


def _memory(gpu: GpuState, _: int = 0) -> SimpleNamespace:
    free = gpu.memory - DRIVER_MEMORY - gpu.memory_used
    return SimpleNamespace(
        total=int(gpu.memory), reserved=int(DRIVER_MEMORY), used=int(gpu.memory_used), free=int(free)
    )


def _processes(gpu: GpuState) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=int(size), gpuInstanceId=0xFFFFFFFF) for pid, size in gpu.processes]


_ANSWERS: Final[Mapping[str, Callable[..., object]]] = {
    "nvmlDeviceGetName": lambda gpu: gpu.name,
    "nvmlDeviceGetPciInfo": lambda gpu: SimpleNamespace(busId=gpu.pci_bus_id),
    "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(
        gpu=round(gpu.utilization * 100), memory=round(gpu.dram * 100)
    ),
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetTemperature": lambda gpu, _: round(gpu.temperature),
    "nvmlDeviceGetMarginTemperature": lambda gpu: round(gpu.slowdown_at - gpu.temperature),
    "nvmlDeviceGetTemperatureThreshold": lambda gpu, which: round((gpu.shutdown_at, gpu.slowdown_at)[which]),
    "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: gpu.reasons,
    "nvmlDeviceGetPowerUsage": lambda gpu: round(gpu.power * 1e3),
    "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: round(gpu.power_limit * 1e3),
    "nvmlDeviceGetClockInfo": lambda gpu, kind: _clock(gpu, kind, top=False),
    "nvmlDeviceGetMaxClockInfo": lambda gpu, kind: _clock(gpu, kind, top=True),
    "nvmlDeviceGetTotalEccErrors": lambda gpu, kind, _: gpu.ecc[kind],
    "nvmlDeviceGetRemappedRows": lambda gpu: (*gpu.rows, int(gpu.remap[0]), int(gpu.remap[1])),
    "nvmlDeviceGetNvLinkState": lambda gpu, link: int(link < gpu.nvlink_up),
    "nvmlDeviceGetNumFans": lambda _: 0,
    "nvmlDeviceGetMigMode": lambda _: (0, 0),
    "nvmlDeviceGetEccMode": lambda _: (1, 1),
    "nvmlDeviceGetPersistenceMode": lambda _: 1,
    "nvmlDeviceGetComputeMode": lambda _: 0,
    "nvmlDeviceGetComputeRunningProcesses_v3": _processes,
    "nvmlDeviceGetGraphicsRunningProcesses_v3": lambda _: [],
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": lambda _: [],
    "nvmlGpmQueryDeviceSupport": lambda _: SimpleNamespace(isSupportedDevice=1),
}
"""What is asked of one GPU, by the function's name."""


class _GpmRequest:
    """Stands for ``c_nvmlGpmMetricsGet_t``."""

    def __init__(self) -> None:
        self.version = self.numMetrics = 0
        self.sample1: Any = None
        self.sample2: Any = None
        self.metrics = [SimpleNamespace(metricId=0, nvmlReturn=NOT_SUPPORTED, value=0.0) for _ in range(333)]


@dataclass(eq=False)
class _Listener:
    """Stands for a set of events: XIDs of some GPUs that wait to be taken, and whether one is being dealt with."""

    gpus: set[int] = field(default_factory=set)
    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    is_busy: bool = False

    @property
    def is_done(self) -> bool:
        return not self.waiting and not self.is_busy


class SimulatedNvml(ModuleType):
    """Stands in for ``pynvml``. ``read`` returns the GPUs as they are at ``now()``; it is asked once a moment."""

    NVMLError = NVMLError
    NVMLLibraryMismatchError = NVMLLibraryMismatchError
    c_nvmlGpmMetricsGet_t = _GpmRequest  # noqa: N815 - it has the names of what it stands in for
    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self, read: Callable[[], GpuStates], now: Callable[[], float]) -> None:
        super().__init__("simulated_nvml")
        self._read, self._now = read, now
        self._at = float("-inf")
        self._states: GpuStates = GpuStates(0.0, ())
        self._told: list[int] = []  # XIDs of each GPU that are not news
        self._listeners: list[_Listener] = []
        self._changed = threading.Condition()
        self._own: Mapping[str, Callable[..., object]] = {
            "nvmlInit": self._init,
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: DRIVER_VERSION,
            "nvmlSystemGetCudaDriverVersion_v2": lambda: CUDA_VERSION,
            "nvmlDeviceGetCount": lambda: len(self._look().gpus),
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlDeviceGetUUID": lambda handle: self._states.gpus[handle].uuid,
            "nvmlDeviceGetFieldValues": self._field_values,
            "nvmlGpmSampleAlloc": SimpleNamespace,
            "nvmlGpmSampleFree": lambda _: None,
            "nvmlGpmSampleGet": self._sample,
            "nvmlGpmMetricsGet": _gpm_metrics,
            "nvmlEventSetCreate": self._listen,
            "nvmlEventSetFree": self._leave,
            "nvmlDeviceRegisterEvents": lambda handle, _, listener: listener.gpus.add(handle),
            "nvmlEventSetWait_v2": self._wait,
        }

    def __getattr__(self, name: str) -> Callable[..., object]:
        own = self.__dict__.get("_own", {}).get(name)
        if own is not None:
            found: Callable[..., object] = own
            return found
        answer = _ANSWERS.get(name)
        if answer is None:
            raise AttributeError(name)
        return lambda handle, *args: answer(self._gpu(handle), *args)

    def _init(self) -> None:
        self._told = [len(gpu.xids) for gpu in self._look().gpus]

    def _handle(self, index: int) -> int:
        if not 0 <= index < len(self._look().gpus):
            raise NVMLError(INVALID)
        self._gpu(index)
        return index

    def _look(self) -> GpuStates:
        now = self._now()
        if now != self._at:
            self._at, self._states = now, self._read()
            self._hear()
        return self._states

    def _gpu(self, handle: int) -> GpuState:
        gpu = self._look().gpus[handle]
        if gpu.lost:
            raise NVMLError(LOST)
        return gpu

    def _hear(self) -> None:
        """Hand new XIDs to whoever listens, and wait until they are taken: a poll finds those before it."""
        if not self._told:
            return
        news = [(place, code) for place, gpu in enumerate(self._states.gpus) for code in gpu.xids[self._told[place] :]]
        self._told = [len(gpu.xids) for gpu in self._states.gpus]
        if not news:
            return
        with self._changed:
            for listener in self._listeners:
                listener.waiting.extend(row for row in news if row[0] in listener.gpus)
            self._changed.notify_all()
            self._changed.wait_for(lambda: all(listener.is_done for listener in self._listeners), HEARD_S)

    def _listen(self) -> "_Listener":
        listener = _Listener()
        with self._changed:
            self._listeners.append(listener)
        return listener

    def _leave(self, listener: "_Listener") -> None:
        with self._changed:
            self._listeners.remove(listener)
            self._changed.notify_all()

    def _wait(self, listener: "_Listener", wait_ms: int) -> SimpleNamespace:
        with self._changed:
            listener.is_busy = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: listener.waiting, wait_ms / 1000.0):
                raise NVMLError(TIMEOUT)
            place, code = listener.waiting.popleft()
            listener.is_busy = True
        return SimpleNamespace(device=place, eventType=XID_EVENTS, eventData=code, gpuInstanceId=0xFFFFFFFF)

    def _field_values(self, handle: int, wanted: Sequence[tuple[int, int]]) -> list[SimpleNamespace]:
        gpu = self._gpu(handle)
        rows = []
        for number, scope in wanted:
            read = _FIELDS.get(number)
            value = SimpleNamespace(ullVal=0 if read is None else round(read(gpu, scope)))
            code = NOT_SUPPORTED if read is None else 0
            rows.append(SimpleNamespace(fieldId=number, scopeId=scope, nvmlReturn=code, valueType=ULL, value=value))
        return rows

    def _sample(self, handle: int, sample: SimpleNamespace) -> SimpleNamespace:
        gpu = self._gpu(handle)
        # the time of that look: another one, a moment later, would make shares above 1
        sample.at, sample.gpu = self._states.at, gpu
        return sample


def _gpm_metrics(request: _GpmRequest) -> _GpmRequest:
    first, second = request.sample1, request.sample2
    elapsed = second.at - first.at
    for row in request.metrics[: request.numMetrics]:
        read = _GPM.get(row.metricId)
        row.nvmlReturn = NOT_SUPPORTED if read is None or elapsed <= 0 else 0
        if read is not None and elapsed > 0:
            row.value = 100.0 * (read(second.gpu) - read(first.gpu)) / elapsed
    return request
