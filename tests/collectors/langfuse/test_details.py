"""What Langfuse's own client reads, and that the captures are what its types expect."""

import json
import math
import subprocess
import sys
from typing import Any

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from collectors.langfuse.api import LangfuseApi
from collectors.langfuse.details import DetailReader, history_of, in_daemon_thread
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer
from tests.collectors.langfuse.langfuse_helpers import CAPTURES, V4, playback, settings
from tests.playback.langfuse import Playback, Reply, moment


def drill(**more: Any) -> tuple[Playback, DetailReader]:
    play = playback("v4", "2026-11-23T16:58:00Z")
    return play, DetailReader(LangfuseApi(play.client(), settings(**more), play.clock))


async def test_version_and_project():
    _, reads = drill()
    assert await reads.version() == "4.16.0"
    assert await reads.project() == "aistack-top lab"


async def test_scores_of_a_trace():
    play, reads = drill()
    scores = await reads.scores("7b8f1073e8a46281116cb3beabb4f19a")
    assert play.requests[-1][1]["traceId"] == "7b8f1073e8a46281116cb3beabb4f19a"
    told = json.loads((V4 / "scores-v3.json").read_bytes())["data"]
    assert [(score.name, score.at) for score in scores] == [(t["name"], moment(t["timestamp"])) for t in told]


@pytest.mark.parametrize(
    ("reply", "status", "said"),
    [
        (Reply(b'{"message":"no"}', 401), "unauthorized", "LANGFUSE_SECRET_KEY"),
        (Reply(b"", 503), "down", "503"),
        (Reply(b"garbage"), "slow", "unexpected response"),
        (Reply(b'{"data":[]}', 404), "slow", "404"),
        (Reply(b'{"data":"x"}'), "slow", "unexpected response"),
        (Reply(b"{}", 429, {"retry-after": "9"}), "slow", "again in 9 s"),
    ],
)
async def test_what_goes_wrong_is_one_sentence(reply, status, said):
    play, reads = drill()
    play.override["/api/public/projects"] = lambda: reply
    with pytest.raises(SourceError) as caught:
        await reads.project()
    assert caught.value.status == status
    assert said in caught.value.reason
    assert len(play.requests) == 1


async def test_a_base_url_with_a_path_is_kept():
    play, reads = drill(base_url="http://langfuse.test/inner/")
    play.override["/inner/api/public/health"] = lambda: Reply(b'{"status":"OK","version":"9"}')
    assert await reads.version() == "9"


async def test_the_threads_failure_comes_back():
    def fail():
        raise ImportError("no langfuse here")

    with pytest.raises(ImportError, match="no langfuse"):
        await in_daemon_thread(fail)
    assert await in_daemon_thread(lambda: 7) == 7


def test_history_leaves_gaps_and_too_few_out():
    rows = json.loads((V4 / "metrics-v2-by-model-minute.json").read_bytes())["data"]
    history = history_of(rows, moment("2026-11-23T15:19:00Z"), 100)
    lengths = {len(column) for column in history.columns.values()}
    assert lengths == {100}
    assert all(math.isnan(column[0]) for column in history.columns.values())
    counts = [c for (signal, _, stat), c in history.columns.items() if stat == "count"]
    assert all(math.isnan(value) or value >= 20 for column in counts for value in column)


def test_history_of_odd_rows_is_empty():
    minute = "2026-11-23T15:19:00Z"
    odd: list[dict[str, object]] = [
        {},
        {"providedModelName": None, "time_dimension": minute, "count_count": 5},
        {"providedModelName": "m", "time_dimension": "noon", "count_count": 5},
        {"providedModelName": "m", "time_dimension": minute, "count_count": "x"},
        {"providedModelName": "m", "time_dimension": "2027-01-01T00:00:00Z", "count_count": 5},
        {"providedModelName": 3, "time_dimension": minute, "count_count": 5},
    ]
    assert history_of(odd, moment(minute), 10).columns == {}


def test_numbers_sent_as_text_are_numbers():
    minute = "2026-11-23T15:19:00Z"
    row = {"providedModelName": "m", "time_dimension": minute, "count_count": "30", "p50_latency": "1500"}
    columns = history_of([row], moment(minute), 1).columns
    found = {(signal, stat): column[0] for (signal, entity, stat), column in columns.items() if entity.get("model")}
    assert found["calls.rate", "value"] == pytest.approx(0.5)
    assert found["calls.latency", "p50"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("obs-v2-generations-1000", "ObservationsV2Response"),
        ("obs-v2-one-trace", "ObservationsV2Response"),
        ("obs-v2-guardrails", "ObservationsV2Response"),
        ("metrics-v2-by-model", "MetricsV2Response"),
        ("metrics-v2-by-model-minute", "MetricsV2Response"),
        ("scores-v3", "GetScoresV3Response"),
        ("projects", "Projects"),
        ("health", "HealthResponse"),
    ],
)
def test_the_captures_are_what_the_sdks_types_expect(file, kind):
    from langfuse import api
    from langfuse.api.core.pydantic_utilities import parse_obj_as

    body = json.loads((V4 / f"{file}.json").read_bytes())
    parsed = parse_obj_as(getattr(api, kind), body)
    assert parsed is not None


def test_the_live_captures_are_what_the_sdks_types_expect():
    from langfuse.api import ObservationsV2Response
    from langfuse.api.core.pydantic_utilities import parse_obj_as

    for file in sorted((CAPTURES / "langfuse-4.16.0" / "live").glob("poll-*.json"))[::6]:
        told = json.loads(file.read_bytes())
        assert len(parse_obj_as(ObservationsV2Response, told).data) == len(told["data"])


def test_the_collector_is_imported_without_the_sdk():
    code = (
        "import sys, collectors.langfuse.collector;"
        "print([m for m in ('langfuse', 'pydantic', 'opentelemetry', 'polars', 'textual') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_budget_is_shared_with_the_sdk():
    _, reads = drill(plan="hobby")
    for _ in range(16):
        await reads.project()
    with pytest.raises(SourceError, match="own budget"):
        await reads.project()


async def test_a_history_that_the_server_cut_is_refused():
    play, reads = drill()
    play.override["/api/public/v2/metrics"] = lambda: Reply(json.dumps({"data": [{}] * 1000}).encode())
    with pytest.raises(SourceError, match="truncates the response"):
        await reads.history(play.clock.now() - 3600, play.clock.now())


async def test_a_refusal_names_the_variables_that_hold_the_keys():
    named = LangfuseSettings("http://langfuse", "pk", "sk", key_names=("PK", "/run/secret"))
    refused = LangfuseApi(httpx.AsyncClient(), named, VirtualClock(0.0)).refusal(Answer(401, httpx.Headers(), b"", 0.0))
    assert "check PK and /run/secret" in refused.reason
