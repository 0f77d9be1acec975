"""MLflow as real servers answered it: runs alive and dead, training as runs report it, and a registry that changes."""

import json
from typing import Any

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Tick
from aistack_top.state import State
from collectors.config import MlflowSource, parse
from collectors.mlflow.parser import ModelRow, ModelVersion
from collectors.mlflow.registry import Registry
from collectors.registry import CollectorContext, build
from collectors.runtime.base import Source
from collectors.runtime.http import search
from tests.fakes.pages import CAPTURES

BEFORE, AFTER = 1795689107.6, 1795689115.9
"""When the two answers of the server with a registry were taken, by its machine's clock."""

LAB = 1795452673.0
"""When the other server was asked (its INDEX: 2026-11-23T16:51:13Z)."""

SWEEP = "sft-lora-demo"


class Server:
    """Answers with recorded bodies; what the search for running runs leaves out, it leaves out too."""

    def __init__(self, folder: str, moment: str) -> None:
        self.folder, self.moment = folder, moment
        self.refused: dict[str, httpx.Response] = {}
        self.edit = lambda rows: rows
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        what = request.url.path.removeprefix("/api/2.0/mlflow/").replace("/", "_")
        if what in self.refused:
            return self.refused[what]
        if what == "metrics_get-history":
            told = self.histories.get(request.url.params["run_id"], [])
            return httpx.Response(200, content=json.dumps({"metrics": told}).encode())
        name = what.removesuffix("_search") if what == "registered-models_search" else what
        body = (CAPTURES / self.folder / f"{self.moment}__{name.replace('-', '_')}.json").read_bytes()
        if what == "runs_search":
            rows = self.edit(json.loads(body)["runs"])
            if "RUNNING" in json.loads(request.content).get("filter", ""):
                rows = [row for row in rows if row["info"]["status"] == "RUNNING"]
            body = json.dumps({"runs": rows}).encode()
        return httpx.Response(200, content=body)


async def polled(server: Server, clock: VirtualClock, *moments: tuple[float, str], **config: Any) -> list[Batch]:
    """Return a batch for each moment, with the server's state then."""
    batches = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        source = MlflowSource(url="http://mlflow:5000/", name="mlflow", **config)
        collector = build(source, CollectorContext(clock, client, b"", "node"))
        with clock.participant():
            for at, server.moment in moments:
                await clock.sleep_until(at)
                batches.append(await collector.collect())
        await collector.aclose()
    return batches


async def registry(*moments: tuple[float, str]) -> list[Batch]:
    return await polled(Server("mlflow-3.17.2-registry", "before"), VirtualClock(BEFORE), *moments)


async def lab(at: float = LAB) -> Batch:
    return (await polled(Server("mlflow-3.17.2", "after"), VirtualClock(at), (at, "after")))[0]


def of(batch: Batch, signal: str, **keys: str):
    entity = Entity.of(source="mlflow", **keys)
    return next((value for name, who, value in batch.readings if (name, who) == (signal, entity)), None)


async def test_runs_by_experiment_and_how_the_last_one_ended():
    batch = await lab()
    assert batch.health.status == "ok"
    assert of(batch, "pipelines.runs.active", job=SWEEP) == 2
    assert of(batch, "pipelines.runs.failed", job=SWEEP) == 1
    assert of(batch, "pipelines.run.failed", job=SWEEP) == 1, "lr5-diverges ended last, and failed"
    assert of(batch, "pipelines.run.age", job=SWEEP) == pytest.approx(LAB - 1795452547.379, abs=0.01)
    assert of(batch, "pipelines.run.duration", job=SWEEP) == pytest.approx(0.693, abs=0.001)
    told = {event.text: event.severity for event in batch.events if event.kind == "run"}
    assert told["run lr5-diverges of sft-lora-demo failed after 693 ms"] == "warning"
    assert told["run lr0.5 of sft-lora-demo finished after 34.3 s"] == "info"


async def test_a_run_whose_process_is_gone_is_silent_and_not_active():
    batch = await lab(LAB + 1_000.0)
    assert of(batch, "pipelines.runs.active", job=SWEEP) == 0
    assert of(batch, "pipelines.runs.silent", job=SWEEP) == 2
    assert not [signal for signal, _, _ in batch.readings if signal.startswith("training.")]


async def test_a_failure_of_yesterday_is_no_failure_of_today():
    batch = await lab(LAB + 90_000.0)
    assert of(batch, "pipelines.runs.failed", job=SWEEP) == 0
    assert of(batch, "pipelines.run.failed", job=SWEEP) == 1
    assert [event for event in batch.events if event.kind == "run"] == []


async def test_training_as_its_run_reports_it():
    first, second = await registry((BEFORE, "before"), (AFTER, "after"))
    job = "nightly-finetune/ft-1003"
    assert of(first, "training.loss", job=job) == pytest.approx(1.3793, abs=1e-4)
    assert of(first, "training.step", job=job) == 9
    assert of(first, "training.step_time", job=job) is None, "one report tells no pace"
    assert of(second, "training.step", job=job) == 19
    # step 9 at 107.434 s, step 19 at 115.763 s
    assert of(second, "training.step_time", job=job) == pytest.approx(0.8329)
    assert of(second, "training.tokens.rate", job=job) == pytest.approx(4885.2, abs=0.1)
    assert of(second, "training.gpu.utilization", job=job) == pytest.approx(0.625), "mean of 90 % and 35 %"


async def test_a_run_that_stops_reporting_loses_its_pace_and_then_counts_as_silent():
    moments = [(BEFORE, "before"), (AFTER, "after"), (AFTER + 45, "after"), (AFTER + 90, "after")]
    batches = await registry(*moments, (AFTER + 950, "after"))
    paces = [of(batch, "training.step_time", job="nightly-finetune/ft-1003") for batch in batches]
    assert [pace is not None for pace in paces] == [False, True, True, False, False]
    assert [of(batch, "pipelines.runs.silent", job="nightly-finetune") for batch in batches] == [0, 0, 0, 0, 1]


async def test_a_new_version_and_a_moved_alias_are_things_that_changed():
    state = State()
    for batch in await registry((BEFORE, "before"), (AFTER + 60, "after")):
        state.apply(Tick(batch.at, batch.seen, (batch,)))
    changed = [(event.text, event.at) for event in state.events if event.kind == "changed"]
    assert ("model support-llama: version 2 registered", 1795689115.785) in changed
    assert len([text for text, _ in changed if "support-llama: version 2" in text]) == 1
    assert ("alias champion 1 -> 2", AFTER + 60) in changed


def test_an_alias_that_was_taken_away_names_nothing():
    book, version = Registry(Source("mlflow", "mlflow", "pipelines", 10.0)), ModelVersion("2", 0.0, "READY")
    told = [
        book.observe([ModelRow("support-llama", version, aliases)], 1e9)[1]
        for aliases in ((("champion", "2"),), (), ())
    ]
    alias = [[fact.value for fact in facts if fact.key == "alias champion"] for facts in told]
    assert alias == [["2"], ["none"], []]


async def test_a_registry_that_does_not_answer_costs_only_itself():
    server = Server("mlflow-3.17.2-registry", "before")
    server.refused["registered-models_search"] = httpx.Response(500)
    (batch,) = await polled(server, VirtualClock(BEFORE), (BEFORE, "before"))
    assert batch.health.status == "ok"
    assert "the model registry could not be read: HTTP 500" in batch.health.reason
    assert of(batch, "pipelines.runs.active", job="nightly-finetune") == 1
    assert of(batch, "pipelines.models") is None


@pytest.mark.parametrize("written", ["NaN", float("nan")], ids=["quoted, as MLflow writes it", "bare, as a proxy may"])
async def test_a_loss_that_is_no_number_is_said_once(written):
    server = Server("mlflow-3.17.2-registry", "before")

    def diverge(rows):
        for row in rows:
            for metric in row["data"]["metrics"]:
                if metric["key"] == "train_loss":
                    metric["value"] = written
        return rows

    server.edit = diverge
    batches = await polled(server, VirtualClock(BEFORE), (BEFORE, "before"), (BEFORE + 10, "before"))
    told = [event.text for batch in batches for event in batch.events if "loss is" in event.text]
    assert told == ["run ft-1003 of nightly-finetune: its loss is NaN since step 9 or before"]
    assert of(batches[-1], "training.loss", job="nightly-finetune/ft-1003") is None


async def test_names_from_outside_are_made_plain():
    server = Server("mlflow-3.17.2-registry", "before")

    def rename(rows):
        for row in rows:
            row["info"]["run_name"] = "\x1b[31mevil" + "x" * 200
        return rows

    server.edit = rename
    (batch,) = await polled(server, VirtualClock(BEFORE), (BEFORE, "before"))
    assert all("\x1b" not in event.text and len(event.text) < 200 for event in batch.events)
    jobs = {who.get("job") for _, who, _ in batch.readings} - {None}
    assert all(job and job.isprintable() and len(job) < 130 for job in jobs)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (httpx.Response(401), "unauthorized", "set token, or username and password"),
        (httpx.Response(403), "unauthorized", "HTTP 403"),
        (httpx.Response(404, content=b"<html>"), "misconfigured", "is this the MLflow server's address?"),
        (httpx.Response(200, content=b"<!doctype html>"), "misconfigured", "web page"),
        (httpx.Response(200, content=b'{"experiments": 3}'), "misconfigured", "unexpected response from MLflow"),
        (httpx.Response(503), "down", "HTTP 503"),
    ],
)
async def test_what_a_server_does_wrong_is_said_in_words_and_the_next_poll_starts_anew(answer, status, said):
    server = Server("mlflow-3.17.2", "after")
    server.refused["experiments_search"] = answer
    (batch,) = await polled(server, VirtualClock(LAB), (LAB, "after"))
    assert batch.health.status == status
    assert said in batch.health.reason
    server.refused.clear()
    (batch,) = await polled(server, VirtualClock(LAB), (LAB + 1, "after"))
    assert batch.health.status == "ok"


async def test_only_searches_that_read_are_ever_posted(monkeypatch):
    monkeypatch.setenv("PASSWORD", "p")
    server = Server("mlflow-3.17.2", "after")
    password = (
        parse('[[source]]\nkind = "mlflow"\nurl = "http://m"\npassword = { env = "PASSWORD" }').source[0].password
    )
    await polled(server, VirtualClock(LAB), (LAB, "after"), username="u", password=password)
    assert {(request.method, request.url.path.rpartition("mlflow/")[2]) for request in server.asked} == {
        ("POST", "experiments/search"),
        ("POST", "runs/search"),
        ("GET", "registered-models/search"),
        ("GET", "metrics/get-history"),
    }
    assert {request.headers["authorization"] for request in server.asked} == {"Basic dTpw"}
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="not a search"):
            await search(client, "http://m/api/2.0/mlflow/runs/delete", b"{}")


async def test_more_experiments_than_are_read_make_the_source_partial():
    server = Server("mlflow-3.17.2", "after")
    body = json.dumps({"experiments": [{"experiment_id": "1", "name": "a"}], "next_page_token": "more"}).encode()
    server.refused["experiments_search"] = httpx.Response(200, content=body)
    batches = await polled(server, VirtualClock(LAB), (LAB, "after"), (LAB + 10, "after"))
    for batch in batches:
        assert (batch.health.status, batch.health.reason) == ("partial", "the first 200 experiments only")


async def test_the_slow_questions_are_asked_rarely():
    server = Server("mlflow-3.17.2", "after")
    moments = [(LAB + 10 * number, "after") for number in range(7)]
    await polled(server, VirtualClock(LAB), *moments)
    paths = [request.url.path.rpartition("mlflow/")[2] for request in server.asked]
    assert paths.count("experiments/search") == 2
    assert paths.count("registered-models/search") == 2
    assert paths.count("runs/search") == 7 + 3
