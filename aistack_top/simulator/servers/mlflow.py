"""MLflow 3: what its tracking server answers of the training jobs and of the served models, by REST.

A job is a run of its experiment that goes on; each of its checkpoints is a version of a model, and is evaluated in a
run of `EVALUATION_S`. Served models are registered with the version their engines have.
"""

import hashlib
from collections.abc import Mapping

from aistack_top.simulator.host import TrainingJob
from aistack_top.simulator.node import SimulatedNode

EVALUATION_S = 45.0
"""How long a checkpoint is evaluated. Assumed, and without a load on the node's GPUs."""

REGISTERED_BEFORE_S = 7 * 86_400.0
"""The versions that are served at the start were registered a week before."""

RUNNING = "RUNNING"


class Mlflow:
    """The tracking server; it remembers when it first saw a version."""

    def __init__(self) -> None:
        self._registered: dict[tuple[str, str], float] = {}

    def experiments(self, node: SimulatedNode) -> dict[str, object]:
        """Return ``experiments/search``."""
        names = [name for job in node.training for name in (job.name, f"{job.name}-eval")]
        rows = [
            {"experiment_id": str(place), "name": name, "lifecycle_stage": "active"}
            for place, name in enumerate(names, 1)
        ]
        return {"experiments": rows} if rows else {}

    def runs(self, node: SimulatedNode, wanted: Mapping[str, object]) -> dict[str, object]:
        """Return ``runs/search``: all runs, newest first, or those that a filter on the status lets through."""
        rows = [row for place, job in enumerate(node.training) for row in _runs(node, job, 2 * place + 1)]
        rows.sort(key=lambda row: -_info(row, "start_time"))
        if f"'{RUNNING}'" in str(wanted.get("filter", "")):
            rows = [row for row in rows if _info(row, "end_time") == 0]
        asked = wanted.get("max_results", 1000)
        return {"runs": rows[: asked if isinstance(asked, int) else 1000]}

    def history(self, node: SimulatedNode, run: str, key: str) -> dict[str, object]:
        """Return ``metrics/get-history`` of a run: its newest value, as simulated jobs never step back."""
        for place, job in enumerate(node.training):
            for row in _runs(node, job, 2 * place + 1):
                info, data = row["info"], row["data"]
                if isinstance(info, dict) and isinstance(data, dict) and info["run_id"] == run:
                    return {"metrics": [told for told in data["metrics"] if told["key"] == key]}
        return {"metrics": []}

    def models(self, node: SimulatedNode) -> dict[str, object]:
        """Return ``registered-models/search``: served models and the checkpoints of the jobs."""
        rows = []
        for name in node.models:
            versions = [engine.config.version for engine in node.engines if engine.config.served_name == name]
            newest = max(versions)
            # a version is in production when all engines serve it
            rows.append(self._model(node, name, newest, min(versions)))
        for job in node.training:
            if job.checkpoints:
                self._registered[job.name, str(len(job.checkpoints))] = job.checkpoints[-1]
                rows.append(self._model(node, job.name, str(len(job.checkpoints)), ""))
        return {"registered_models": rows}

    def _model(self, node: SimulatedNode, name: str, version: str, alias: str) -> dict[str, object]:
        first = not any(known == name for known, _ in self._registered)
        at = self._registered.setdefault((name, version), -REGISTERED_BEFORE_S if first else node.now)
        stamp = _ms(node, at)
        row = {
            "name": name,
            "version": version,
            "creation_timestamp": stamp,
            "status": "READY",
            "current_stage": "None",
        }
        told: dict[str, object] = {"name": name, "last_updated_timestamp": stamp, "latest_versions": [row]}
        if alias:
            told["aliases"] = [{"alias": "production", "version": alias}]
        return told


def _runs(node: SimulatedNode, job: TrainingJob, experiment: int) -> list[dict[str, object]]:
    if not job.running and not job.steps:
        return []
    # a run whose process is gone stays RUNNING for ever, as in MLflow
    found = [_run(node, job.name, "train", experiment, job.began, None, _metrics(node, job))]
    for number, at in enumerate(job.checkpoints, 1):
        end = at + EVALUATION_S
        name = f"checkpoint-{number}"
        found.append(_run(node, f"{job.name}-eval", name, experiment + 1, at, end if end <= node.now else None, []))
    return found


def _run(
    node: SimulatedNode,
    experiment: str,
    name: str,
    number: int,
    start: float,
    end: float | None,
    metrics: list[dict[str, object]],
) -> dict[str, object]:
    identity = hashlib.blake2b(f"{node.seed}/{experiment}/{name}".encode(), digest_size=16).hexdigest()
    info: dict[str, object] = {
        "run_id": identity,
        "run_uuid": identity,
        "experiment_id": str(number),
        "run_name": name,
        "status": RUNNING if end is None else "FINISHED",
        "start_time": _ms(node, start),
        "lifecycle_stage": "active",
    }
    if end is not None:
        info["end_time"] = _ms(node, end)
    return {"info": info, "data": {"metrics": metrics, "params": [], "tags": []}, "inputs": {}, "outputs": {}}


def _metrics(node: SimulatedNode, job: TrainingJob) -> list[dict[str, object]]:
    report = job.report
    if report is None:
        return []
    values = {"train_loss": report.loss, "train_tokens_per_second": report.tokens_per_s}
    values |= {
        f"system/gpu_{place}_utilization_percentage": 100.0 * node.gpus[index].utilization
        for place, index in enumerate(job.gpus)
    }
    stamp = _ms(node, report.at)
    return [{"key": key, "value": value, "timestamp": stamp, "step": report.step} for key, value in values.items()]


def _info(row: dict[str, object], key: str) -> int:
    info = row["info"]
    value = info.get(key, 0) if isinstance(info, dict) else 0
    return int(value)


def _ms(node: SimulatedNode, moment: float) -> int:
    return round((node.epoch + moment) * 1000.0)
