"""dcgm-exporter: the GPUs of this node or another by its metrics page; secondary where NVML tells the same GPU.

`collectors/tables/dcgm.toml` reads the page. What a table cannot say is read here:

| on the page | becomes |
|---|---|
| the last XID, which stands there until the driver is reloaded | a fact, and an event when it changes |
| bits and nanoseconds of what holds the clocks down | ``gpu.throttle`` by reason, as a share of the time |
| ``pod``, ``namespace``, ``container``, ``modelName``, ``gpu`` | facts; a GPU that is given back has pod ``none`` |
| used and free memory | ``gpu.memory.usage``, where the page has no share of its own |
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from aistack_top.measure.counters import RateMeter
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signal
from aistack_top.model.tick import Event, Fact, Value
from aistack_top.text.sanitize import sanitize
from collectors.nvml.calls import Field, FieldKey
from collectors.nvml.throttle import NANO, ThrottleWatch
from collectors.nvml.xid import UNKNOWN, xids
from collectors.openmetrics import build as page
from collectors.openmetrics.collector import FACTS_S, Extracted, Extractor
from collectors.openmetrics.engine import Assembled
from collectors.openmetrics.parser import MetricsPage, PageSeries
from collectors.runtime.base import Source

WINDOW_S = 60.0
"""How far shares of throttled time look back: two of the exporter's own collect intervals."""

MAX_CODE = 100_000
"""XIDs are below 1,000; a number like this is none."""

NO_POD = "none"

_CONTAINER = ("exported_container", "container", "container_name")

_XID = ("DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_XID_ERROR", "dcgm_xid_errors")
_MASK = ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS")
_UTIL_RATIO = "DCGM_FI_DEV_GPU_UTIL_RATIO"
_UTIL_AS_SHARE = re.compile(rb"^DCGM_FI_DEV_GPU_UTIL_RATIO\{[^\n]*\} +[0-9]+\.[0-9]", re.MULTILINE)

_COUNTERS: Mapping[str, Field] = {
    "DCGM_FI_DEV_POWER_VIOLATION": Field.PERF_POLICY_POWER,
    "DCGM_FI_DEV_SYNC_BOOST_VIOLATION": Field.PERF_POLICY_SYNC_BOOST,
}
"""Counters of which NVML keeps the same; they and the bits are one reason each."""

_APART: Mapping[str, str] = {
    "DCGM_FI_DEV_THERMAL_VIOLATION": "thermal",
    "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION": "board_limit",
    "DCGM_FI_DEV_RELIABILITY_VIOLATION": "reliability",
}
"""Counters without a bit of their own: ``thermal`` is sw_thermal and hw_thermal together."""

Row = tuple[str, Entity, Value | None]


def extractor(source: Source) -> Extractor:
    """Return what reads beyond the table of one exporter."""
    return DcgmExtra(source).add


class DcgmExtra:
    """Reads what the table of one exporter cannot say, page after page."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._xids: dict[Entity, int] = {}
        self._watches: dict[Entity, ThrottleWatch] = {}
        self._meters: dict[tuple[Entity, str], RateMeter] = {}
        self._said: dict[tuple[Entity, str], tuple[str, float]] = {}
        self._podded: set[Entity] = set()

    def add(self, told: MetricsPage, found: Assembled, at: float) -> Extracted:
        """See `collectors.openmetrics.collector.Extractor`."""
        values = {
            series: value for series, value in told.values.items() if not page.table("compute", "dcgm").is_blank(value)
        }
        labels: dict[Entity, list[Mapping[str, str]]] = {}
        for series in told.values:
            gpu = _gpu(series)
            if gpu is not None:
                labels.setdefault(gpu, []).append(series.labels)
        readings = [*self._throttles(values, at), *_memory(found), *_busy(told, values, found)]
        last, events = self._last_xids(values, labels, at)
        facts = self._news([*last, *self._about(labels)], at)
        return Extracted(readings, tuple(events), tuple(facts))

    def _last_xids(
        self, values: Mapping[PageSeries, float], labels: Mapping[Entity, Sequence[Mapping[str, str]]], at: float
    ) -> tuple[list[Fact], list[Event]]:
        """Return the last code of each GPU, and an event for each that is another than before.

        The code is keyed by GPU, not by series: with it the labels ``err_code`` and ``err_msg`` change.
        """
        facts, events = [], []
        codes: dict[Entity, int] = {}
        for series, value in values.items():
            gpu = _board(series)
            if series.name in _XID and gpu is not None and 0 <= value < MAX_CODE:
                codes[gpu] = max(codes.get(gpu, 0), int(value))
        for gpu, code in codes.items():
            before = self._xids.get(gpu)
            self._xids[gpu] = code
            entry = xids().get(code, UNKNOWN)
            facts.append(Fact(gpu, "last_xid", f"{code}: {entry.what}" if code else "none", watched=False))
            if before is not None and code not in (before, 0):
                name = next(
                    (held["gpu"] for one in labels if gpu.covers(one) for held in labels[one] if "gpu" in held), ""
                )
                whose = f"gpu {sanitize(name, 20)}" if name else gpu.get("gpu") or "a GPU"
                text = f"XID {code} on {whose}: {entry.what}; {entry.action}"
                detail = (("code", str(code)), ("group", entry.group))
                events.append(Event(at, at, "compute", "xid", entry.severity, gpu, text, self._source.name, detail))
        return facts, events

    def _throttles(self, values: Mapping[PageSeries, float], at: float) -> Iterator[Row]:
        """Yield the share of time of each reason; lines of a board that repeat its value are one."""
        masks: dict[Entity, int] = {}
        counters: dict[Entity, dict[FieldKey, float]] = {}
        apart: dict[tuple[Entity, str], float] = {}
        for series, value in values.items():
            gpu = _board(series)
            if gpu is None or value < 0:
                continue
            if series.name in _MASK:
                masks[gpu] = masks.get(gpu, 0) | int(value)
            elif series.name in _COUNTERS:
                held, field = counters.setdefault(gpu, {}), (_COUNTERS[series.name], 0)
                held[field] = max(held.get(field, 0.0), value)
            elif series.name in _APART:
                one = gpu, _APART[series.name]
                apart[one] = max(apart.get(one, 0.0), value)
        for (gpu, reason), value in apart.items():
            rate = self._meters.setdefault((gpu, reason), RateMeter(WINDOW_S)).observe(at, value).rate
            share = None if rate is None else min(rate * NANO, 1.0)
            yield "gpu.throttle", gpu.with_(reason=reason), share
        for gpu in masks.keys() | counters.keys():
            watch = self._watches.setdefault(gpu, ThrottleWatch(WINDOW_S))
            for reason, share in watch.read(at, masks.get(gpu), counters.get(gpu, {})).items():
                yield "gpu.throttle", gpu.with_(reason=reason), share

    def _about(self, labels: Mapping[Entity, Sequence[Mapping[str, str]]]) -> Iterator[Fact]:
        """Tell what the labels say of each GPU; what NVML says of it as well is no news.

        A MIG instance has its own pods, and the name and index of its GPU.
        """
        boards: dict[Entity, None] = {}
        for gpu, lines in labels.items():
            pods = sorted({pod for held in lines if (pod := _pod(held))})
            if pods:
                self._podded.add(gpu)
            if gpu in self._podded:
                yield Fact(gpu, "pod", sanitize(", ".join(pods), 200) or NO_POD)
            containers = sorted({name for held in lines if _pod(held) and (name := _first(held, *_CONTAINER))})
            if containers:
                yield Fact(gpu, "container", sanitize(", ".join(containers), 120), watched=False)
            board = gpu.without("mig")
            if board in boards:
                continue
            boards[board] = None
            for key, names in (("name", ("modelName", "model_name")), ("index", ("gpu",))):
                text = next((found for held in lines if (found := _first(held, *names))), "")
                if text:
                    yield Fact(board, key, sanitize(text, 80), watched=False)

    def _news(self, facts: Iterable[Fact], at: float) -> Iterator[Fact]:
        """Leave out what was said within the last minute and still holds."""
        for fact in facts:
            value, until = self._said.get((fact.entity, fact.key), ("", 0.0))
            if value != fact.value or at >= until:
                self._said[fact.entity, fact.key] = (fact.value, at + FACTS_S)
                yield fact


def _gpu(series: PageSeries) -> Entity | None:
    uuid, instance = _first(series.labels, "UUID", "uuid", "gpu_uuid"), series.labels.get("GPU_I_ID", "")
    if not uuid:
        return None
    gpu = Entity.of(gpu=sanitize(uuid, 120))
    return gpu.with_(mig=sanitize(instance, 120)) if instance else gpu


def _board(series: PageSeries) -> Entity | None:
    """Return the GPU that a line is about, its MIG instance left away."""
    gpu = _gpu(series)
    return None if gpu is None else gpu.without("mig")


def _pod(labels: Mapping[str, str]) -> str:
    """Return ``namespace/name``; a Prometheus server puts the exporter's own pod in ``pod``."""
    name = _first(labels, "exported_pod", "pod", "pod_name")
    space = _first(labels, "exported_namespace", "namespace", "pod_namespace")
    return sanitize(f"{space}/{name}" if space else name, 200) if name else ""


def _first(labels: Mapping[str, str], *names: str) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _memory(found: Assembled) -> Iterator[Row]:
    for (name, gpu), total in found.gauges.items():
        used = found.gauges.get(("gpu.memory.used", gpu))
        known = ("gpu.memory.usage", gpu) in found.gauges
        if name == "gpu.memory.total" and total > 0 and used is not None and not known:
            yield "gpu.memory.usage", gpu, signal("gpu.memory.usage").possible(used / total)


def _busy(page: MetricsPage, values: Mapping[PageSeries, float], found: Assembled) -> Iterator[Row]:
    """Read ``GPU_UTIL_RATIO``: whole percents in DCGM 4.6, where it is field 203, a share with decimals from 4.7 on."""
    ratios = [(series, value) for series, value in values.items() if series.name == _UTIL_RATIO]
    factor = 1.0 if ratios and _UTIL_AS_SHARE.search(page.body) else 0.01
    if not page.body:
        # a Prometheus server keeps the number and not how it was written: a page of nothing but 0 and 1 may mean 1 %
        # or 100 %, and then only 0 is told
        told = [value for _, value in ratios]
        factor = 1.0 if any(value % 1 for value in told) else 0.01
        if all(value in (0, 1) for value in told):
            ratios = [(series, value) for series, value in ratios if value == 0]
    cut = {gpu.without("mig") for series in values if (gpu := _gpu(series)) and gpu.get("mig")}
    busy: dict[Entity, float] = {}
    for series, value in ratios:
        gpu = _gpu(series)
        # nobody knows it of a GPU with MIG, or of an instance: it is 0 whatever they do
        if gpu is not None and gpu.without("mig") not in cut and ("gpu.utilization", gpu) not in found.gauges:
            busy[gpu] = max(busy.get(gpu, 0.0), value * factor)
    for gpu, share in busy.items():
        yield "gpu.utilization", gpu, signal("gpu.utilization").possible(share)
