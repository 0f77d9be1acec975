"""How NVML is asked: what a GPU cannot say is learned once and never asked again.

| NVML's answer | becomes |
|---|---|
| a value | the value |
| not supported, unknown to this driver, deprecated | absent, and not asked again |
| no permission | absent, not asked again, named in `Asker.refused` |
| lost, reset required | `GpuLostError`: nothing more is asked of this GPU now |
| not initialised, no driver, library and driver differ | `DriverGoneError`: connect anew |
| anything else | absent this time, named in `Asker.failed` |

Codes and names are those of ``nvml.h`` (NVML API 13) and nvidia-ml-py 13.615.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from types import ModuleType
from typing import Any, Final, TypeVar

from collectors.runtime.base import SourceError

T = TypeVar("T")

ALL_LINKS: Final = 0xFFFFFFFF
"""The scope that sums NVLink throughput over all links (``nvml.h``: a scopeId of UINT_MAX)."""

NO_INSTANCE: Final = 0xFFFFFFFF
"""What a process has for a GPU instance where the GPU is not partitioned."""

LOST: Final = frozenset({15, 16})
NEVER: Final = frozenset({2, 3, 13, 22, 25, 26})
NO_PERMISSION: Final = 4
NOT_FOUND: Final = 6
GONE: Final = frozenset({1, 9, 12, 18})

_MEND: Final = {
    1: "NVML was shut down; restarting it",
    4: "no permission to open the NVIDIA devices (/dev/nvidiactl): read and write access is needed",
    9: "the NVIDIA driver is not loaded: load it with 'modprobe nvidia' or by running nvidia-smi as root",
    12: "no NVIDIA driver on this machine: libnvidia-ml.so.1 not found",
    18: "the NVIDIA library and the loaded driver differ in version: reboot, or reload the driver after its upgrade",
}


class Field(IntEnum):
    """NVML field values, by their names in nvidia-ml-py without ``NVML_FI_DEV_``. Units as in ``nvml.h``."""

    RETIRED_SBE = 29
    RETIRED_DBE = 30
    NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL = 38
    NVLINK_REPLAY_ERROR_COUNT_TOTAL = 52
    NVLINK_RECOVERY_ERROR_COUNT_TOTAL = 59
    PERF_POLICY_POWER = 74
    PERF_POLICY_SYNC_BOOST = 76
    MEMORY_TEMP = 82
    TOTAL_ENERGY_CONSUMPTION = 83
    NVLINK_LINK_COUNT = 91
    NVLINK_THROUGHPUT_DATA_TX = 138
    NVLINK_THROUGHPUT_DATA_RX = 139
    NVLINK_ECC_DATA_ERROR_COUNT_TOTAL = 160
    NVLINK_ERROR_DL_REPLAY = 161
    NVLINK_ERROR_DL_RECOVERY = 162
    NVLINK_ERROR_DL_CRC = 163
    POWER_AVERAGE = 185
    PCIE_COUNT_TX_BYTES = 197
    PCIE_COUNT_RX_BYTES = 198
    NVLINK_COUNT_RCV_ERRORS = 208
    NVLINK_COUNT_LINK_RECOVERY_EVENTS = 215
    GET_GPU_RECOVERY_ACTION = 230
    CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN = 269
    CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN = 270
    CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN = 271


FieldKey = tuple[int, int]
"""A field and its scope: a link's number, `ALL_LINKS`, or 0 where the field has none."""

_MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""The member of the value's union, by ``nvmlValueType_t``."""


class GpuLostError(Exception):
    """A GPU fell off the bus (15) or needs a reset (16)."""

    def __init__(self, code: int) -> None:
        super().__init__("needs a reset" if code == 16 else "lost")
        self.reset_needed = code == 16


class DriverGoneError(Exception):
    """NVML as a whole cannot be used now; ``code`` is its error."""

    def __init__(self, code: int) -> None:
        super().__init__(_MEND[code])
        self.code = code


def source_error(code: int, text: str) -> SourceError:
    """Return what the health record says of NVML's failure to start, with what mends it."""
    return SourceError("unauthorized" if code == NO_PERMISSION else "down", _MEND.get(code, f"NVML: {text}"))


class Asker:
    """Asks about one GPU or MIG instance. ``calls`` counts what went to the driver since the start."""

    def __init__(self, nvml: ModuleType, handle: object) -> None:
        self.nvml = nvml
        self.handle = handle
        self.calls = 0
        self.refused: set[str] = set()
        self.failed: dict[str, str] = {}
        self._never: set[tuple[object, ...]] = set()

    def ask(self, what: str, function: str, pick: Callable[[Any], T], *args: object) -> T | None:
        """Return what ``pick`` takes from the answer about this device; None where there is none. See the module.

        Raises:
            GpuLostError: the GPU does not answer any more.
            DriverGoneError: nor does the driver.

        """
        return self.plain(what, function, pick, self.handle, *args)

    def plain(self, what: str, function: str, pick: Callable[[Any], T], *args: object) -> T | None:
        """Ask as `ask` does, without the device as first argument."""
        key = (function, *(arg for arg in args if isinstance(arg, int)))
        call = getattr(self.nvml, function, None)
        if call is None or key in self._never:
            return None
        self.calls += 1
        try:
            return pick(call(*args))
        except self.nvml.NVMLLibraryMismatchError:
            self._never.add(key)
        except self.nvml.NVMLError as error:
            self._file(key, what, error.value, str(error))
        except UnicodeDecodeError:  # pynvml decodes some names as UTF-8, and a driver may hold other bytes
            self._never.add(key)
        return None

    def number(self, what: str, function: str, *args: object, scale: float = 1.0) -> float | None:
        """Return a finite number times ``scale``, or None."""
        value = self.ask(what, function, float, *args)
        return value * scale if value is not None and math.isfinite(value) else None

    def text(self, what: str, function: str) -> str:
        """Return a text, empty where there is none."""
        return self.ask(what, function, str) or ""

    def fields(self, wanted: Sequence[FieldKey]) -> Mapping[FieldKey, float]:
        """Return those of the field values that there are, from one call to the driver."""
        keys = [key for key in wanted if ("field", *key) not in self._never]
        if not keys:
            return {}
        rows = self.ask("field values", "nvmlDeviceGetFieldValues", list, keys)
        found: dict[FieldKey, float] = {}
        for key, row in zip(keys, rows or (), strict=False):
            if row.nvmlReturn == 0:
                value = _value(row.valueType, row.value)
                if value is not None:
                    found[key] = value
            else:
                self._file(("field", *key), f"field {key[0]}", row.nvmlReturn, f"NVML error {row.nvmlReturn}")
        return found

    def forget(self) -> None:
        """Ask everything again from now on, as after a change of the GPU's mode."""
        self._never.clear()
        self.refused.clear()

    def _file(self, key: tuple[object, ...], what: str, code: int, text: str) -> None:
        if code in LOST:
            raise GpuLostError(code)
        if code in GONE:
            raise DriverGoneError(code)
        if code in NEVER:
            self._never.add(key)
        elif code == NO_PERMISSION:
            self._never.add(key)
            self.refused.add(what)
        # nvidia-ml-py raises an error of value 0 where a list is empty
        elif code not in (0, NOT_FOUND):
            self.failed[what] = text


def _value(kind: int, union: object) -> float | None:
    if not 0 <= kind < len(_MEMBERS):
        return None
    value = float(getattr(union, _MEMBERS[kind]))
    return value if math.isfinite(value) else None
