"""The runs of one MLflow server over time: which are alive, which fell silent, how the last of each pipeline ended.

MLflow never ends a run whose process died: it stays RUNNING for ever. So a run counts as active only while it tells
something; one that has told nothing for `SILENT_S` is silent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from msgspec.structs import replace

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, ReadingsBuilder, Severity
from aistack_top.text import numbers
from collectors.mlflow.parser import FAILED, MetricPoint, RunRow
from collectors.runtime.base import Source

SILENT_S = 900.0
DAY_S = 86_400.0
MAX_TRAINING = 20
"""Runs whose own metrics are read; a sweep of hundreds must not cost the timeline its room."""

MAX_KNOWN = 5_000

KEYS: Mapping[str, tuple[str, ...]] = {
    "training.loss": ("train_loss", "train/loss", "loss", "training_loss", "train.loss"),
    "training.tokens.rate": (
        "train_tokens_per_second",
        "train/tokens_per_second",
        "tokens_per_second",
        "train/tokens_per_sec",
        "tokens_per_sec",
    ),
    "training.samples.rate": ("train_samples_per_second", "train/samples_per_second", "samples_per_second"),
}
"""Names that trainers give to what we read, the first present counts: Hugging Face Trainer, Lightning, Axolotl,
TorchTune as their own loggers write them."""

GRADIENTS = ("grad_norm", "train/grad_norm", "train_grad_norm")
"""Hugging Face's Trainer tells 0 for a window whose losses were NaN; its gradient norm stays NaN."""

TOKENS_SEEN = ("num_input_tokens_seen", "train/num_input_tokens_seen")
"""Tokens since a Trainer's start. What it calls ``train_tokens_per_second`` is their mean since then: no rate now."""

OF_WHOLE_RUN = "train_runtime"
"""A Trainer tells it when it ends, with a ``train_samples_per_second`` of the whole run."""

STANDS_S = 30.0
"""A run that has reported no higher step for so long may have resumed at a lower one, which a search never shows."""

ASK_S, RESUMED_S, MAX_S = 30.0, 10.0, 600.0
"""How often the history of a run that stands still is asked, doubled each time nothing newer is found; and that of
one that is known to have resumed."""

MAX_ASKED = 3
"""Histories asked in one run of the collector: each is the whole series of a metric."""

GPU_BUSY = ("system/gpu_", "_utilization_percentage")
"""MLflow's own system metrics: ``system/gpu_0_utilization_percentage``."""


@dataclass(slots=True)
class _Pace:
    """The last two reports of a run: step and time, in seconds since the epoch."""

    step: int
    at: float
    step_time: float | None = None
    gap_s: float = 0.0

    def report(self, step: int, at: float) -> None:
        if step > self.step and at > self.at:
            self.gap_s = at - self.at
            self.step_time = self.gap_s / (step - self.step)
        if step != self.step:
            self.step, self.at = step, at


@dataclass(slots=True)
class _Tokens:
    """The last two reports of the tokens a run has seen, at seconds since the epoch."""

    seen: float
    at: float
    rate: float | None = None
    gap_s: float = 0.0

    def report(self, seen: float, at: float) -> None:
        if at <= self.at:
            return
        self.gap_s = at - self.at
        self.rate = (seen - self.seen) / self.gap_s if seen >= self.seen else None
        self.seen, self.at = seen, at


@dataclass(slots=True)
class _Asked:
    """When the history of a run is due again, and after how long then."""

    due: float
    wait_s: float
    found: MetricPoint | None = None


class RunTracker:
    """Takes the runs of each answer, gives readings and events."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._running: list[RunRow] = []
        self._newest: list[RunRow] = []
        self._paces: dict[str, _Pace] = {}
        self._ended: dict[str, None] = {}
        self._begun: dict[str, None] = {}
        self._diverged: set[str] = set()
        self._tokens: dict[str, _Tokens] = {}
        self._asked: dict[str, _Asked] = {}

    def standing(self, running: Sequence[RunRow], now: float) -> list[tuple[RunRow, str]]:
        """Return the runs whose step stands still, each with the metric whose history tells where it really is."""
        found: list[tuple[RunRow, str]] = []
        for run in running[:MAX_TRAINING]:
            leading, asked = _leading(run), self._asked.get(run.id)
            if leading is None or now - leading.timestamp / 1000.0 < STANDS_S:
                self._asked.pop(run.id, None)
            elif (asked is None or now >= asked.due) and len(found) < MAX_ASKED:
                found.append((run, leading.key))
        return found

    def learn(self, run: RunRow, told: MetricPoint | None, now: float) -> None:
        """Take the newest value of a run's history; None where it could not be had."""
        asked = self._asked.setdefault(run.id, _Asked(now, ASK_S / 2))
        leading = _leading(run)
        if told is not None and leading is not None and told.timestamp > leading.timestamp:
            asked.found, asked.wait_s = told, RESUMED_S
        else:
            asked.wait_s = min(asked.wait_s * 2, MAX_S)
        asked.due = now + asked.wait_s

    def lost(self, running: Sequence[RunRow]) -> bool:
        """Whether a run that was running is not any more, so that how it ended is to be asked at once."""
        alive = {run.id for run in running}
        return any(run.id not in alive for run in self._running)

    def observe(self, running: list[RunRow], newest: list[RunRow] | None, now: float) -> Iterable[Event]:
        """Take those said to be running and, when they were asked for, the newest of all; yield what happened."""
        running = [self._resumed(run) for run in running]
        self._running = running
        if newest is not None:
            self._newest = newest
        alive = {run.id for run in running}
        self._paces = {id_: pace for id_, pace in self._paces.items() if id_ in alive}
        self._tokens = {id_: tokens for id_, tokens in self._tokens.items() if id_ in alive}
        self._asked = {id_: asked for id_, asked in self._asked.items() if id_ in alive}
        self._diverged &= alive
        for run in running:
            if run.id not in self._begun and now - run.start < DAY_S:
                yield self._event(run.start, now, "info", run, f"{_called(run)} started")
            self._begun[run.id] = None
            yield from self._report(run, now)
        for run in newest or ():
            if run.end is None or run.id in self._ended:
                continue
            self._ended[run.id] = None
            if now - run.end < DAY_S:
                severity: Severity = "warning" if run.status in FAILED else "info"
                text = f"{_called(run)} {run.status.lower()} after {numbers.seconds(run.end - run.start)}"
                yield self._event(run.end, now, severity, run, text)
        for known in (self._begun, self._ended):
            while len(known) > MAX_KNOWN:
                del known[next(iter(known))]

    def read(self, readings: ReadingsBuilder, now: float) -> None:
        """Add what is known of the runs at a time."""
        self._count(readings, now)
        seen: set[Entity] = set()
        for run in [run for run in self._running if now - run.spoke < SILENT_S][:MAX_TRAINING]:
            entity = self._of(f"{run.experiment}/{run.name}")
            # of two runs of one name the newer is told: the answer has them newest first
            if entity not in seen:
                seen.add(entity)
                self._training(readings, run, entity, now)

    def _count(self, readings: ReadingsBuilder, now: float) -> None:
        active: dict[str, int] = {}
        silent: dict[str, int] = {}
        failed: dict[str, int] = {}
        last: dict[str, RunRow] = {}
        for run in self._running:
            into = active if now - run.spoke < SILENT_S else silent
            into[run.experiment] = into.get(run.experiment, 0) + 1
        for run in self._newest:
            if run.end is None:
                continue
            if run.status in FAILED and now - run.end < DAY_S:
                failed[run.experiment] = failed.get(run.experiment, 0) + 1
            if run.experiment not in last or run.end > (last[run.experiment].end or 0.0):
                last[run.experiment] = run
        for name in {**active, **silent, **last}:
            entity = self._of(name)
            readings.add("pipelines.runs.active", entity, float(active.get(name, 0)))
            readings.add("pipelines.runs.silent", entity, float(silent.get(name, 0)))
            readings.add("pipelines.runs.failed", entity, float(failed.get(name, 0)))
            if name in last and (end := last[name].end) is not None:
                readings.add("pipelines.run.failed", entity, float(last[name].status in FAILED))
                readings.add("pipelines.run.age", entity, max(now - end, 0.0))
                readings.add("pipelines.run.duration", entity, max(end - last[name].start, 0.0))

    def _training(self, readings: ReadingsBuilder, run: RunRow, entity: Entity, now: float) -> None:
        fresh = [told for told in run.metrics if now - told.timestamp / 1000.0 < SILENT_S]
        known = {told.key for told in fresh}
        for signal, keys in KEYS.items():
            value = _first(fresh, keys)
            hidden = value is None or _is_hidden(signal, value, known, fresh)
            readings.add(signal, entity, None if value is None or hidden else value.number)
        tokens = self._tokens.get(run.id)
        if tokens is not None and now - tokens.at < max(3.0 * tokens.gap_s, 60.0):
            readings.add("training.tokens.rate", entity, tokens.rate)
        busy = [told.number for told in fresh if told.key.startswith(GPU_BUSY[0]) and told.key.endswith(GPU_BUSY[1])]
        shares = [value for value in busy if not isnan(value)]
        readings.add("training.gpu.utilization", entity, sum(shares) / len(shares) / 100.0 if shares else None)
        pace = self._paces.get(run.id)
        if pace is None:
            return
        readings.add("training.step", entity, float(pace.step))
        # after three times its usual gap without a report the last pace is no pace any more
        if pace.step_time is not None and now - pace.at < max(3.0 * pace.gap_s, 60.0):
            readings.add("training.step_time", entity, pace.step_time)

    def _report(self, run: RunRow, now: float) -> Iterable[Event]:
        loss, newest = _first(run.metrics, KEYS["training.loss"]), _leading(run)
        if newest is not None and newest.step > 0:
            pace = self._paces.setdefault(run.id, _Pace(newest.step, newest.timestamp / 1000.0))
            pace.report(newest.step, newest.timestamp / 1000.0)
        seen = _first(run.metrics, TOKENS_SEEN)
        if seen is not None and not isnan(seen.number):
            at = seen.timestamp / 1000.0
            self._tokens.setdefault(run.id, _Tokens(seen.number, at)).report(seen.number, at)
        said = _divergence(loss, run.metrics)
        if loss is not None and said and run.id not in self._diverged:
            self._diverged.add(run.id)
            text = f"{_called(run)}: {said} since step {loss.step} or before"
            yield self._event(loss.timestamp / 1000.0, now, "warning", run, text)

    def _resumed(self, run: RunRow) -> RunRow:
        """Return a run with the value that its history tells, where that is newer than the search's."""
        asked = self._asked.get(run.id)
        found = asked.found if asked else None
        if found is None or any(one.key == found.key and one.timestamp >= found.timestamp for one in run.metrics):
            return run
        return replace(run, metrics=(*(one for one in run.metrics if one.key != found.key), found))

    def _event(self, at: float, now: float, severity: Severity, run: RunRow, text: str) -> Event:
        source = self._source
        return Event(at, now, source.layer, "run", severity, self._of(run.experiment), text, source.name)

    def _of(self, job: str) -> Entity:
        return Entity.of(source=self._source.name, job=job)


def _leading(run: RunRow) -> MetricPoint | None:
    """Return the metric by which a run's progress is told: its loss, else that of the highest step."""
    return _first(run.metrics, KEYS["training.loss"]) or max(run.metrics, key=lambda told: told.step, default=None)


def _is_hidden(signal: str, told: MetricPoint, known: Collection[str], metrics: Sequence[MetricPoint]) -> bool:
    """Whether a value is not what its signal means."""
    if signal == "training.loss":
        return bool(_divergence(told, metrics))
    if signal == "training.tokens.rate" and any(key in known for key in TOKENS_SEEN):
        return True
    if signal == "training.samples.rate" and OF_WHOLE_RUN in known:
        return True
    return isnan(told.number)


def _divergence(loss: MetricPoint | None, metrics: Sequence[MetricPoint]) -> str:
    """Return in words that a loss has diverged, or nothing."""
    if loss is None:
        return ""
    if isnan(loss.number):
        return f"its loss is {loss.said}"
    gradients = _first(metrics, GRADIENTS)
    if loss.number == 0.0 and gradients is not None and gradients.step == loss.step and isnan(gradients.number):
        return f"its gradient norm is {gradients.said} and its loss is reported as 0, which means NaN,"
    return ""


def _called(run: RunRow) -> str:
    return f"run {run.name} of {run.experiment}"


def _first(metrics: Sequence[MetricPoint], keys: Iterable[str]) -> MetricPoint | None:
    by_key = {told.key: told for told in metrics}
    return next((by_key[key] for key in keys if key in by_key), None)
