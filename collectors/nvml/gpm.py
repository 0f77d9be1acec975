"""How busy the multiprocessors, tensor pipes and memory of a GPU are, by NVML's own profiling (GPM; Hopper and newer).

A metric is the mean between two samples. The last one is kept and paired with the next poll's, so nothing waits,
and the two are the only ones ever allocated.
"""

import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from collectors.nvml.calls import Asker

MIN_INTERVAL_S: Final = 0.1
"""NVIDIA asks for at least 100 ms between two samples (``nvml.h``, nvmlGpmMetricsGet)."""

MAX_INTERVAL_S: Final = 30.0
"""A mean over a longer gap would be a number about a time nobody looked at."""

MIB: Final = 2.0**20


class GpmMetric(IntEnum):
    """GPM metrics, by their names in nvidia-ml-py without ``NVML_GPM_METRIC_``: percent, or MiB/s for traffic."""

    SM_UTIL = 2
    SM_OCCUPANCY = 3
    ANY_TENSOR_UTIL = 5
    DRAM_BW_UTIL = 10
    PCIE_TX_PER_SEC = 20
    PCIE_RX_PER_SEC = 21
    NVLINK_TOTAL_RX_PER_SEC = 60
    NVLINK_TOTAL_TX_PER_SEC = 61


class GpmSampler:
    """The samples of one GPU, or of one of its instances."""

    def __init__(self, asker: Asker, instance: int | None = None) -> None:
        self._asker = asker
        self._instance = instance
        self._samples: list[object] = []
        self._last_at: float | None = None
        self._request: Any = None
        self._supported: bool | None = None

    def read(self, at: float) -> Mapping[int, float]:
        """Return the metrics since the last poll; ``at`` is seconds. Empty at the first poll and where there is none.

        Raises:
            GpuLostError, DriverGoneError: see `collectors.nvml.calls`.

        """
        if not self._ready() or (self._last_at is not None and at - self._last_at < MIN_INTERVAL_S):
            return {}
        last, spare = self._samples
        if self._instance is None:
            taken = self._asker.ask("GPM", "nvmlGpmSampleGet", lambda _: True, spare)
        else:
            taken = self._asker.ask("GPM", "nvmlGpmMigSampleGet", lambda _: True, self._instance, spare)
        before, self._last_at = self._last_at, at if taken else None
        self._samples.reverse()
        if not taken or before is None or at - before > MAX_INTERVAL_S:
            return {}
        request = self._request
        request.sample1, request.sample2 = last, spare
        asked = self._asker.plain("GPM", "nvmlGpmMetricsGet", lambda _: True, request)
        rows = [request.metrics[place] for place in range(len(GpmMetric))] if asked else []
        return {row.metricId: row.value for row in rows if row.nvmlReturn == 0 and math.isfinite(row.value)}

    def close(self) -> None:
        """Give the samples back to the library."""
        for sample in self._samples:
            self._asker.plain("GPM", "nvmlGpmSampleFree", lambda _: True, sample)
        self._samples = []
        self._last_at = None

    def _ready(self) -> bool:
        asker = self._asker
        if self._supported is None:
            answer = asker.ask("GPM", "nvmlGpmQueryDeviceSupport", lambda told: bool(told.isSupportedDevice))
            self._supported = bool(answer)
        if not self._supported:
            return False
        while len(self._samples) < 2:
            sample = asker.plain("GPM", "nvmlGpmSampleAlloc", lambda made: [made])
            if sample is None:
                return False
            self._samples += sample
        if self._request is None:
            request = asker.nvml.c_nvmlGpmMetricsGet_t()
            request.version = asker.nvml.NVML_GPM_METRICS_GET_VERSION
            request.numMetrics = len(GpmMetric)
            for place, metric in enumerate(GpmMetric):
                request.metrics[place].metricId = int(metric)
            self._request = request
        return True
