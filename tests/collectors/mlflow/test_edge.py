"""Runs that go wrong, as MLflow 3.17.2 on a SQL store told them: diverged, resumed at a lower step, ended."""

import json
from itertools import count

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Batch
from tests.collectors.mlflow.test_collector import Server, of, polled
from tests.fakes.pages import CAPTURES

EDGE = "mlflow-3.17.2-edge"
OVERFLOW = "runs_search_overflow_and_resumed"
TRAINER = "runs_search_hf_trainer_nan"
OVERFLOW_AT = 1796069540.0
"""Three seconds after the two live runs had last reported."""

TRAINER_AT = 1796067266.0


class Edge(Server):
    """Answers with one of the recorded searches; what is asked besides is empty."""

    def __init__(self, search: str) -> None:
        super().__init__(EDGE, "after")
        self.rows = json.loads((CAPTURES / EDGE / f"after__{search}.json").read_bytes())["runs"]
        self.refused["registered-models_search"] = httpx.Response(200, content=b'{"registered_models": []}')

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/runs/search"):
            return super().__call__(request)
        self.asked.append(request)
        rows = self.edit(json.loads(json.dumps(self.rows)))
        if "RUNNING" in json.loads(request.content).get("filter", ""):
            rows = [row for row in rows if row["info"]["status"] == "RUNNING"]
        return httpx.Response(200, content=json.dumps({"runs": rows}).encode())


async def asked(server: Edge, *moments: float) -> list[Batch]:
    return await polled(server, VirtualClock(moments[0]), *((at, "after") for at in moments))


def said(batches: list[Batch]) -> list[str]:
    return [event.text for batch in batches for event in batch.events if event.severity == "warning"]


def running(rows):
    for row in rows:
        row["info"] |= {"status": "RUNNING", "end_time": None}
        row["data"]["metrics"] = [one for one in row["data"]["metrics"] if not one["key"].startswith("train_")]
    return rows


async def test_an_infinite_loss_is_noticed_though_the_store_writes_a_number():
    batches = await asked(Edge(OVERFLOW), OVERFLOW_AT, OVERFLOW_AT + 10)
    assert said(batches) == ["run overflow of edge2: its loss is infinite since step 61 or before"]
    assert of(batches[-1], "training.loss", job="edge2/overflow") is None
    assert of(batches[-1], "training.step", job="edge2/overflow") == 61


async def test_a_loss_of_zero_with_gradients_that_are_no_numbers_has_diverged():
    server = Edge(TRAINER)
    server.edit = running
    batches = await asked(server, TRAINER_AT)
    assert said(batches) == [
        "run sft-nan of hf-nan: its gradient norm is NaN and its loss is reported as 0, which means NaN, "
        "since step 100 or before"
    ]
    assert of(batches[0], "training.loss", job="hf-nan/sft-nan") is None
    assert of(batches[0], "training.loss", job="hf-nan/sft-ok") == pytest.approx(3.8191, abs=1e-4)


async def test_gradients_that_overflow_once_are_no_divergence():
    server = Edge(TRAINER)

    def overflown(rows):
        for row in running(rows):
            for one in row["data"]["metrics"]:
                one["value"] = {"loss": 2.5, "grad_norm": "NaN"}.get(one["key"], one["value"])
        return rows

    server.edit = overflown
    batches = await asked(server, TRAINER_AT)
    assert said(batches) == []
    assert of(batches[0], "training.loss", job="hf-nan/sft-nan") == 2.5


def reports(*steps: int, at: float, every_s: float = 2.0, value: float = 1.7) -> list[dict[str, object]]:
    return [
        {"key": "loss", "value": value - n / 1000, "timestamp": int((at + n * every_s) * 1000), "step": step}
        for n, step in enumerate(steps)
    ]


async def test_a_run_that_resumed_at_a_lower_step_is_told_as_it_is_now():
    server = Edge(OVERFLOW)
    run = next(row["info"]["run_id"] for row in server.rows if row["info"]["run_name"] == "resumed")
    old = reports(480, 490, 500, at=OVERFLOW_AT - 1882)
    server.histories[run] = old + reports(*range(400, 461), at=OVERFLOW_AT - 123)
    (first,) = await asked(server, OVERFLOW_AT)
    job = "edge2/resumed"
    assert of(first, "training.step", job=job) == 460
    assert of(first, "training.loss", job=job) == pytest.approx(1.64)
    moments = [OVERFLOW_AT, OVERFLOW_AT + 20]
    clock = VirtualClock(moments[0])
    batches = await polled(server, clock, (moments[0], "after"))
    server.histories[run] += reports(*range(461, 471), at=OVERFLOW_AT - 1)
    batches = await polled(server, VirtualClock(moments[1]), (moments[1], "after"))
    assert of(batches[-1], "training.step", job=job) == 470


async def test_a_run_that_resumed_keeps_its_pace():
    server = Edge(OVERFLOW)
    run = next(row["info"]["run_id"] for row in server.rows if row["info"]["run_name"] == "resumed")

    def search(rows):
        # what is logged until now, two seconds a step, while the search stays with step 500
        server.histories[run] = reports(*range(400, 400 + next(steps)), at=OVERFLOW_AT - 123)
        return rows

    steps, server.edit = count(61, 5), search
    batches = await asked(server, *(OVERFLOW_AT + 10 * n for n in range(4)))
    assert of(batches[-1], "training.step_time", job="edge2/resumed") == pytest.approx(2.0)
    assert of(batches[-1], "pipelines.runs.active", job="edge2") == 2


async def test_a_history_that_tells_nothing_newer_is_asked_ever_less():
    server = Edge(OVERFLOW)
    await asked(server, *(OVERFLOW_AT + 10 * n for n in range(60)))
    resumed = next(row["info"]["run_id"] for row in server.rows if row["info"]["run_name"] == "resumed")
    paths = [one.url for one in server.asked if one.url.path.endswith("get-history")]
    times = sum(url.params["run_id"] == resumed for url in paths)
    assert 4 <= times <= 6, "after 0, 30, 90, 210, 450 s"


async def test_a_history_that_cannot_be_had_costs_only_itself():
    server = Edge(OVERFLOW)
    server.refused["metrics_get-history"] = httpx.Response(500)
    (batch,) = await asked(server, OVERFLOW_AT)
    assert batch.health.status == "ok"
    assert "whether resumed has resumed at a lower step is unknown: HTTP 500" in batch.health.reason


async def test_tokens_a_second_are_those_of_now_and_not_the_mean_since_the_start():
    server = Edge(TRAINER)
    tokens = iter([(25_600, 1000.0), (25_600, 1000.0), (25_856, 990.0), (25_856, 990.0)])
    at = iter([0, 0, 4.04, 4.04])

    next_at = 0.0

    def train(rows):
        rows = running(rows)[:1]
        seen, mean = next(tokens)
        for one in [{"key": "num_input_tokens_seen", "value": seen}, {"key": "train_tokens_per_second", "value": mean}]:
            stamp = int((TRAINER_AT + next_at) * 1000)
            rows[0]["data"]["metrics"].append(one | {"timestamp": stamp, "step": 100})
        return rows

    def edit(rows):
        nonlocal next_at
        next_at = next(at)
        return train(rows)

    server.edit = edit
    first, second = await polled(server, VirtualClock(TRAINER_AT), (TRAINER_AT, "after"), (TRAINER_AT + 5, "after"))
    assert of(first, "training.tokens.rate", job="hf-nan/sft-ok") is None
    assert of(second, "training.tokens.rate", job="hf-nan/sft-ok") == pytest.approx(256 / 4.04, rel=1e-3)


async def test_the_samples_of_a_whole_run_are_no_rate_of_now():
    server = Edge(TRAINER)

    def alive(rows):
        for row in rows:
            row["info"] |= {"status": "RUNNING", "end_time": None}
        return rows

    server.edit = alive
    (batch,) = await asked(server, TRAINER_AT)
    assert of(batch, "training.samples.rate", job="hf-nan/sft-ok") is None


async def test_an_experiment_whose_last_run_ends_is_told_without_a_gap():
    server = Edge(TRAINER)
    moments = [TRAINER_AT + 5 * n for n in range(5)]
    looks = iter(range(1, 99))
    # two searches in the first run, one in each of the next two
    server.edit = lambda rows: running(rows) if next(looks) <= 4 else rows
    batches = await asked(server, *moments)
    assert [of(batch, "pipelines.runs.active", job="hf-nan") for batch in batches] == [2, 2, 2, 0, 0]
    assert of(batches[3], "pipelines.run.failed", job="hf-nan") == 0
