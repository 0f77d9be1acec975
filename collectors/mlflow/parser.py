"""What an MLflow server answers: bytes of its REST answers to typed rows. Nothing here asks or remembers anything.

Of a run's parameters and tags nothing is kept; of its metrics the newest values, which is all the search gives.
"""

from collections.abc import Mapping
from math import isnan, nan

import msgspec

from aistack_top.model.finite import usable
from aistack_top.text.sanitize import sanitize
from collectors.rest.paging import Page
from collectors.rest.refusals import Refusals

REFUSALS = Refusals("MLflow", keys="token, or username and password")

NAME_LIMIT = 60
"""Characters kept of the name of an experiment, a run or a model."""

ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
FAILED = frozenset({"FAILED", "KILLED"})


class MetricPoint(msgspec.Struct, frozen=True):
    """A value of one metric of a run; of a search, the one of the highest step.

    MLflow writes NaN as a word, and infinity as a word or, from a SQL store, as the largest double.
    """

    key: str
    value: float | str
    timestamp: int = 0
    step: int = 0

    @property
    def number(self) -> float:
        """The value; NaN for what is no number that can be kept."""
        value = self._value
        return value if usable(value) else nan

    @property
    def said(self) -> str:
        """The value in words, where it is no number: ``NaN`` or ``infinite``."""
        return "NaN" if isnan(self._value) else "infinite"

    @property
    def _value(self) -> float:
        try:
            return float(self.value)
        except ValueError:
            return nan


class _Info(msgspec.Struct, frozen=True):
    run_id: str
    experiment_id: str
    status: str
    start_time: int = 0
    end_time: int | None = None
    run_name: str = ""


class _Data(msgspec.Struct, frozen=True):
    metrics: list[MetricPoint] = []


class _Run(msgspec.Struct, frozen=True):
    info: _Info
    data: _Data = _Data()


class _Runs(msgspec.Struct, frozen=True):
    runs: list[_Run] = []
    next_page_token: str = ""


class _History(msgspec.Struct, frozen=True):
    metrics: list[MetricPoint] = []
    next_page_token: str = ""


class _Experiment(msgspec.Struct, frozen=True):
    experiment_id: str
    name: str
    lifecycle_stage: str = "active"


class _Experiments(msgspec.Struct, frozen=True):
    experiments: list[_Experiment] = []
    next_page_token: str = ""


class _Version(msgspec.Struct, frozen=True):
    version: str
    creation_timestamp: int = 0
    status: str = ""


class _Alias(msgspec.Struct, frozen=True):
    alias: str
    version: str


class _Model(msgspec.Struct, frozen=True):
    name: str
    latest_versions: list[_Version] = []
    aliases: list[_Alias] = []


class _Models(msgspec.Struct, frozen=True):
    registered_models: list[_Model] = []
    next_page_token: str = ""


class RunRow(msgspec.Struct, frozen=True):
    """One run, times in seconds since the epoch; ``end`` is None while it is said to run."""

    id: str
    experiment: str
    name: str
    status: str
    start: float
    end: float | None
    metrics: tuple[MetricPoint, ...]

    @property
    def spoke(self) -> float:
        """When it last told something: its newest metric, else its start."""
        return max((told.timestamp / 1000.0 for told in self.metrics), default=0.0) or self.start


class ModelVersion(msgspec.Struct, frozen=True):
    """One version of a registered model, registered ``at`` seconds since the epoch."""

    number: str
    at: float
    status: str


class ModelRow(msgspec.Struct, frozen=True):
    """A registered model: its newest version, and the versions its aliases name."""

    name: str
    newest: ModelVersion | None
    aliases: tuple[tuple[str, str], ...]


def experiments(body: bytes) -> Page[tuple[str, str]]:
    """Return the ids and names of the experiments of an answer."""
    found = REFUSALS.decode(body, _Experiments)
    rows = [row for row in found.experiments if row.lifecycle_stage == "active"]
    return Page([(row.experiment_id, sanitize(row.name, NAME_LIMIT)) for row in rows], found.next_page_token)


def runs(body: bytes, names: Mapping[str, str]) -> Page[RunRow]:
    """Return the runs of an answer; ``names`` are those of the experiments."""
    found = REFUSALS.decode(body, _Runs)
    return Page([_run(row, names) for row in found.runs], found.next_page_token)


def newest(body: bytes) -> MetricPoint | None:
    """Return the value of a metric's history that was reported last, whatever its step; None of nothing."""
    return max(REFUSALS.decode(body, _History).metrics, key=lambda told: told.timestamp, default=None)


def models(body: bytes) -> Page[ModelRow]:
    """Return the registered models of an answer."""
    found = REFUSALS.decode(body, _Models)
    return Page([_model(row) for row in found.registered_models], found.next_page_token)


def _run(row: _Run, names: Mapping[str, str]) -> RunRow:
    info = row.info
    end = info.end_time / 1000.0 if info.end_time and info.status in ENDED else None
    return RunRow(
        info.run_id,
        names.get(info.experiment_id) or sanitize(info.experiment_id, NAME_LIMIT),
        sanitize(info.run_name, NAME_LIMIT) or sanitize(info.run_id, 8),
        info.status,
        info.start_time / 1000.0,
        end,
        tuple(row.data.metrics),
    )


def _model(row: _Model) -> ModelRow:
    versions = [
        ModelVersion(sanitize(one.version, 20), one.creation_timestamp / 1000.0, sanitize(one.status, 40))
        for one in row.latest_versions
    ]
    aliases = [(sanitize(one.alias, 40), sanitize(one.version, 20)) for one in row.aliases]
    newest = max(versions, key=lambda version: version.at, default=None)
    return ModelRow(sanitize(row.name, NAME_LIMIT), newest, tuple(sorted(aliases)))
