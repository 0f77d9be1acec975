"""An NVML-shaped module: answers from a capture, errors of its own making, no GPU and no driver.

Constants, structures and exceptions are those of the real ``pynvml``; a function that the real one lacks cannot be
called here either. Values may be changed between polls: ``fake.gpus[0].values["nvmlDeviceGetPowerUsage"] = 1``.
"""

import copy
import ctypes
import json
import threading
from collections import Counter, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"
ALL_LINKS = 0xFFFFFFFF
NO_INSTANCE = 0xFFFFFFFF
CLOCKS = ("graphics", "sm", "mem", "video")
THRESHOLDS = ("SHUTDOWN", "SLOWDOWN", "MEM_MAX", "GPU_MAX")
MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
ULL = 3


def error(code):
    return pynvml.NVMLError(code)


def capture(name):
    return json.loads((CAPTURES / f"nvml-mock-{name}.json").read_text(encoding="utf-8"))


class Handle:
    """What stands for a device or one of its MIG instances."""

    def __init__(self, gpu, mig=None):
        self.gpu, self.mig = gpu, mig


class FakeGpu:
    """One GPU: ``values`` by function, ``fields`` by id as (type, value), ``errors`` by function or field id."""

    def __init__(self, told, index):
        self.index = index
        self.values = {name: answer["v"] for name, answer in told.items() if isinstance(answer, dict) and "v" in answer}
        rows = self.values.pop("FieldValues")
        self.fields = {row["id"]: (row["type"], row["ull"]) for row in rows if row["ret"] == 0}
        self.errors = {row["id"]: row["ret"] for row in rows if row["ret"] != 0}
        gpm = told.get("GPM")
        self.gpm = {row[0]: row[2] for row in gpm} if isinstance(gpm, list) else None
        self.uuid = self.values["nvmlDeviceGetUUID"]
        if index:
            self.uuid = f"{self.uuid[:-2]}{index:02x}"
            self.values["nvmlDeviceGetUUID"] = self.uuid
        self.processes = []
        self.migs = {}
        self.lost = 0

    def process(self, pid, memory, instance=NO_INSTANCE):
        self.processes.append(SimpleNamespace(pid=pid, usedGpuMemory=memory, gpuInstanceId=instance))

    def partition(self, slot, instance, total, used):
        """Make the GPU a MIG one and add an instance."""
        self.values["nvmlDeviceGetMigMode"] = [1, 1]
        size = {"total": total, "reserved": 0, "used": used, "free": total - used}
        values: dict[str, Any] = {
            "nvmlDeviceGetUUID": f"MIG-{slot:08x}-0000-0000-0000-000000000000",
            "MemoryInfo_v2": size,
        }
        values |= {"nvmlDeviceGetGpuInstanceId": instance, "nvmlDeviceGetComputeInstanceId": 0}
        self.migs[slot] = SimpleNamespace(
            values={**values, "nvmlDeviceGetName": "NVIDIA A100 MIG 1g.5gb"}, processes=[]
        )

    def field(self, number, value, kind=ULL):
        self.fields[number] = (kind, value)
        self.errors.pop(number, None)


class FakeNvml:
    """See the module. ``asked`` counts the calls by function; ``waiting`` holds XIDs to be heard."""

    def __init__(self, name="h100", gpus=1):
        told = capture(name)
        self.system = {key: answer["v"] for key, answer in told["sys"].items()}
        self.gpus = [FakeGpu(copy.deepcopy(told["dev"]), index) for index in range(gpus)]
        self.asked: Counter[str] = Counter()
        self.arguments: Counter[Any] = Counter()
        self.missing = set()
        self.init_error = 0
        self.errors = {}
        self.open_samples = {}
        self.waiting: deque[Any] = deque()
        self.listening = threading.Event()
        self._telling = None
        self.registered = []
        self.inits = self.shutdowns = self.sets = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self._samples = 0
        self._told = told

    def __getattr__(self, name):
        if name.startswith("nvml") and callable(getattr(pynvml, name)):
            if name in self.__dict__.get("missing", ()):
                raise AttributeError(name)
            return lambda *args: self._call(name, *args)
        return getattr(pynvml, name)

    @property
    def initialised(self):
        return self.inits > self.shutdowns

    def lose(self, index, code=15):
        """Take a GPU off the bus, as in the capture of a lost one: some calls still answer."""
        gpu, lost = self.gpus[index], capture("lost")["dev"]
        gpu.lost = code
        names = [name for name, told in lost.items() if isinstance(told, dict) and _is_lost(told.get("v"))]
        gpu.saved = dict(gpu.values)
        for name in names:
            gpu.values[name] = {"code": code}

    def find(self, index):
        """Bring a lost GPU back."""
        gpu = self.gpus[index]
        gpu.lost, gpu.values = 0, gpu.saved

    def xid(self, index, code):
        """Let the driver report an XID; return what is set once it has been heard."""
        heard = threading.Event()
        self.waiting.append((index, code, heard))
        return heard

    def hang(self):
        """Let every call from now on block until `release`."""
        self.gate.clear()
        self.entered.clear()

    def release(self):
        self.gate.set()

    def _call(self, name, *args):
        self.asked[name] += 1
        self.arguments[(name, *(arg for arg in args if isinstance(arg, int)))] += 1
        if name != "nvmlEventSetWait_v2" and not self.gate.is_set():
            self.entered.set()
            self.gate.wait(20.0)
        if name == "nvmlInit":
            return self._init()
        if not self.initialised:
            raise error(1)
        if name in self.errors:
            raise error(self.errors[name])
        own = getattr(self, f"_{name}", None) if f"_{name}" in FakeNvml.__dict__ else None
        if own is not None:
            return own(*args)
        if name in self.system:
            return self.system[name]
        return self._device(name, *args)

    def _init(self):
        if self.init_error:
            raise error(self.init_error)
        self.inits += 1

    def _nvmlShutdown(self):
        self.shutdowns += 1

    def _nvmlDeviceGetCount(self):
        return len(self.gpus)

    def _nvmlDeviceGetHandleByIndex(self, index):
        if not 0 <= index < len(self.gpus):
            raise error(2)
        code = self.gpus[index].errors.get("handle", 0)
        if code:
            raise error(code)
        return Handle(self.gpus[index])

    def _nvmlDeviceGetIndex(self, handle):
        return handle.gpu.index

    def _device(self, name, handle, *args):
        gpu = handle.gpu
        code = gpu.errors.get(name)
        if code:
            raise error(code)
        if name.endswith(("RunningProcesses_v3", "RunningProcesses_v2", "RunningProcesses")):
            where = handle.mig if handle.mig is not None else gpu
            return list(where.processes) if "DeviceGetCompute" in name else []
        values = gpu.values if handle.mig is None else handle.mig.values
        return self._answer(values, _key(name, args))

    def _answer(self, values, key):
        told = values.get(key, {"code": 3})
        if isinstance(told, Exception):
            raise told
        if isinstance(told, dict) and "code" in told:
            raise error(told["code"])
        if isinstance(told, dict):
            return SimpleNamespace(**told)
        return tuple(told) if isinstance(told, list) else told

    def _nvmlDeviceGetFieldValues(self, handle, wanted):
        gpu = handle.gpu
        if gpu.errors.get("nvmlDeviceGetFieldValues"):
            raise error(gpu.errors["nvmlDeviceGetFieldValues"])
        rows = (pynvml.c_nvmlFieldValue_t * len(wanted))()
        for row, item in zip(rows, wanted, strict=True):
            row.fieldId, row.scopeId = item if isinstance(item, tuple) else (item, 0)
            self.arguments[("field", int(row.fieldId), int(row.scopeId))] += 1
            row.nvmlReturn = gpu.errors.get(row.fieldId, 0 if row.fieldId in gpu.fields else 3)
            if gpu.lost and row.fieldId in (142, 143, 144, 145, 185, 186):
                row.nvmlReturn = gpu.lost
            if row.nvmlReturn == 0:
                self._fill(row, gpu)
        return rows

    def _fill(self, row, gpu):
        kind, value = gpu.fields[row.fieldId]
        if row.fieldId in (138, 139, 140, 141) and row.scopeId != ALL_LINKS:
            value //= max(gpu.fields[91][1], 1)
        row.valueType = kind
        # the captures hold every value as the union's unsigned 64 bits
        row.value.ullVal = value
        if kind == 0:
            row.value.dVal = value

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return 7

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle, slot):
        if slot not in handle.gpu.migs:
            raise error(6)
        return Handle(handle.gpu, handle.gpu.migs[slot])

    def _nvmlGpmQueryDeviceSupport(self, handle):
        return SimpleNamespace(isSupportedDevice=int(handle.gpu.gpm is not None))

    def _nvmlGpmSampleAlloc(self):
        self._samples += 1
        sample = ctypes.cast(self._samples, pynvml.c_nvmlGpmSample_t)
        self.open_samples[self._samples] = None
        return sample

    def _nvmlGpmSampleFree(self, sample):
        del self.open_samples[_address(sample)]

    def _nvmlGpmSampleGet(self, handle, sample):
        if handle.gpu.lost:
            raise error(handle.gpu.lost)
        if handle.gpu.gpm is None:
            raise error(3)
        self._take(handle.gpu, sample)
        return sample

    def _nvmlGpmMigSampleGet(self, handle, instance, sample):
        self._take(handle.gpu, sample)
        return sample

    def _take(self, gpu, sample):
        self.open_samples[_address(sample)] = (self.asked.total(), gpu)

    def _nvmlGpmMetricsGet(self, request):
        first, second = (self.open_samples[_address(one)] for one in (request.sample1, request.sample2))
        if first is None or second is None or first[0] >= second[0] or first[1] is not second[1]:
            raise error(2)
        for place in range(request.numMetrics):
            row = request.metrics[place]
            row.nvmlReturn = 0 if row.metricId in second[1].gpm else 3
            row.value = second[1].gpm.get(row.metricId, 0.0)
        return request

    def _nvmlEventSetCreate(self):
        self.sets += 1
        return object()

    def _nvmlEventSetFree(self, events):
        self.sets -= 1

    def _nvmlDeviceRegisterEvents(self, handle, kinds, events):
        if handle.gpu.errors.get("nvmlDeviceRegisterEvents"):
            raise error(handle.gpu.errors["nvmlDeviceRegisterEvents"])
        self.registered.append((handle.gpu.index, kinds))

    def _nvmlEventSetWait_v2(self, events, wait_ms):
        if self._telling is not None:
            # whoever waits anew has taken what came before
            self._telling.set()
            self._telling = None
        self.listening.set()
        if not self.waiting:
            threading.Event().wait(0.005)
            raise error(10)
        index, code, self._telling = self.waiting.popleft()
        device = Handle(self.gpus[index])
        return SimpleNamespace(device=device, eventType=8, eventData=code, gpuInstanceId=NO_INSTANCE)


def _is_lost(answer):
    return isinstance(answer, dict) and answer.get("code") == 15


def _address(pointer):
    return ctypes.cast(pointer, ctypes.c_void_p).value


def _key(name, args):
    """Return where the captures keep the answer of a call with arguments."""
    if name == "nvmlDeviceGetMemoryInfo" and args and args[0]:
        return "MemoryInfo_v2"
    if name == "nvmlDeviceGetTemperature":
        return "Temperature_gpu"
    if name == "nvmlDeviceGetTemperatureThreshold":
        return f"TempThreshold_{THRESHOLDS[args[0]]}"
    if name in ("nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo"):
        return f"{'Max' if 'Max' in name else ''}Clock_{CLOCKS[args[0]]}"
    if name == "nvmlDeviceGetTotalEccErrors":
        return f"Ecc_err{args[0]}_ctr{args[1]}"
    if name == "nvmlDeviceGetNvLinkState":
        return "NvLinkState_0" if args[0] < 17 else f"NvLinkState_{args[0]}"
    return name
