"""What is said of a server that refuses, limits, lies or is none; and that no secret is ever said."""

import base64
import json
from random import Random

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from collectors.langfuse.collector import LangfuseCollector
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import Source
from tests.collectors.langfuse.langfuse_helpers import OBSERVATIONS, after, asked, collector, playback, polls, settings
from tests.playback.langfuse import KEYS, Playback, Reply, moment

METRICS = "/api/public/v2/metrics"


def live() -> Playback:
    return playback("v4", "2026-11-23T16:58:00Z")


async def test_wrong_keys_name_the_variables_and_are_not_tried_again_for_a_minute():
    play = live()
    reader = collector(play, secret_key="sk-wrong")
    batches = await polls(reader, play, 59, 5)
    assert {batch.health.status for batch in batches} == {"unauthorized"}
    assert all("LANGFUSE_SECRET_KEY" in batch.health.reason for batch in batches)
    assert asked(play) == 1
    assert batches[0].health.age_s is None
    play.keys = (KEYS[0], "sk-wrong")
    assert (await after(reader, play, 5)).health.status == "ok"


async def test_missing_keys_ask_nobody():
    play = live()
    batch = await collector(play, public_key="", secret_key="").collect()
    assert batch.health.status == "misconfigured"
    assert "LANGFUSE_PUBLIC_KEY" in batch.health.reason
    assert play.requests == []


async def test_a_web_page_with_404_means_a_wrong_base_url():
    play = playback("html", "2026-11-23T16:58:00Z")
    batch = await collector(play).collect()
    assert batch.health.status == "misconfigured"
    assert "wrong base URL" in batch.health.reason
    assert [path for path, _ in play.requests] == [OBSERVATIONS, "/api/public/observations"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"<html>hello</html>", "text/html", "misconfigured", "web page"),
        (b'{"data":[{"id":', "application/json", "down", "invalid JSON"),
        (b"", "application/json", "down", "invalid JSON"),
        (b'{"rows":[]}', "application/json", "misconfigured", "unexpected response"),
        (b"[" * 100_000, "application/json", "misconfigured", "unexpected response"),
        (b'{"data":' + b"[" * 100_000, "application/json", "down", "invalid JSON"),
        (b"\xff\xfe\x00", "application/json", "down", "invalid JSON"),
        (b" " * (17 * 2**20), "application/json", "misconfigured", "larger than"),
    ],
)
async def test_what_is_not_langfuse_is_said_in_words(body, kind, status, said):
    play = live()
    play.override[OBSERVATIONS] = lambda: Reply(body, 200, kind=kind)
    batch = await collector(play).collect()
    assert batch.health.status == status
    assert said in batch.health.reason


async def test_a_server_away_is_down_and_is_probed_again_when_it_is_back():
    play = live()
    reader = collector(play)
    assert (await reader.collect()).health.status == "ok"
    play.override[OBSERVATIONS] = lambda: Reply(b"bad gateway", 502, kind="text/plain")
    down = await after(reader, play, 5)
    assert (down.health.status, down.health.age_s, down.calls_until) == ("down", 5.0, None)
    play.override.clear()
    before = asked(play)
    assert (await after(reader, play, 5)).health.status == "ok"
    assert asked(play) == before + 2


async def test_nobody_listening_is_down():
    def refuse(request):
        raise httpx.ConnectError("All connection attempts failed")

    client = httpx.AsyncClient(transport=httpx.MockTransport(refuse), trust_env=False)
    source = Source("langfuse", "langfuse", "tracing", 5.0)
    reader = LangfuseCollector(source, client, VirtualClock(1e9), settings(), rng=Random(1))
    batch = await reader.collect()
    assert batch.health.status == "down"
    assert "nothing listens" in batch.health.reason


async def test_a_rate_limit_pauses_the_bucket_with_a_countdown():
    play = live()
    play.mode = "limits"
    reader = collector(play, interval=1.0)
    batches = await polls(reader, play, 29, 1)
    first = next(batch for batch in batches if batch.health.status == "slow")
    assert first.health.reason == "rate limited: general bucket again in 56 s"
    at_limit = asked(play)
    assert at_limit == 30
    later = await after(reader, play, 10)
    assert later.health.reason.startswith("rate limited: general bucket again in 4")
    assert asked(play) == at_limit
    assert (await after(reader, play, 60)).health.status == "ok"


async def test_a_limited_metrics_bucket_leaves_the_calls_alone():
    play = live()
    reader = collector(play)
    await reader.collect()
    body = b'{"message":"Rate limit exceeded","details":{"retryAfterSeconds":86390}}'
    play.override[METRICS] = lambda: Reply(body, 429)
    assert await reader.history(play.clock.now() - 3600, play.clock.now()) is None
    batch = await after(reader, play, 5)
    assert batch.health.status == "ok"
    assert "rate limited: metrics bucket again in 24.0 h" in batch.health.reason
    asked_before = len(play.requests)
    assert await reader.history(play.clock.now() - 3600, play.clock.now()) is None
    assert len(play.requests) == asked_before


async def test_the_hobby_plan_stays_below_its_limit_for_an_hour():
    play = live()
    play.mode = "limits"
    batches = await polls(collector(play, plan="hobby"), play, 3600, 10)
    assert {batch.health.status for batch in batches} == {"ok"}
    assert "429" not in " ".join(batch.health.reason for batch in batches)
    assert len(play.requests) < 3600 / 60 * 10


@pytest.mark.parametrize("status", [422, 504, 524])
async def test_a_busy_server_is_asked_for_less_and_later_for_all_again(status):
    play = live()
    reader = collector(play)
    await reader.collect()
    play.override[OBSERVATIONS] = lambda: Reply(b'{"error":"Request timed out"}', status)
    busy = await after(reader, play, 5)
    assert busy.health.status == "slow"
    assert "server busy" in busy.health.reason
    play.override.clear()
    wide = queries(play)[-1]
    assert (await after(reader, play, 5)).health.status == "ok"
    narrow = queries(play)[-1]
    assert started(wide) + 2000 < started(narrow)
    await after(reader, play, 61)
    await after(reader, play, 5)
    assert play.clock.now() - started(queries(play)[-1]) == pytest.approx(3600, abs=1)


def queries(play: Playback) -> list[str]:
    return [params["filter"] for _, params in play.requests if "filter" in params]


def started(condition: str) -> float:
    return moment(next(c["value"] for c in json.loads(condition) if c["column"] == "startTime"))


async def test_a_failing_second_page_keeps_the_first(monkeypatch):
    play = live()
    monkeypatch.setattr("collectors.langfuse.reader.PAGE_ROWS", 50)
    reader = collector(play)
    count = 0
    real = play._v2

    def second_fails(params):
        nonlocal count
        count += 1
        return real(params) if count != 3 else Reply(b"", 503)

    monkeypatch.setattr(play, "_v2", second_fails)
    batch = await reader.collect()
    assert len(batch.calls) == 50
    assert (batch.health.status, batch.calls_until) == ("slow", None)
    rest = await after(reader, play, 5)
    assert len(rest.calls) > 50
    assert not {call.id for call in rest.calls} & {call.id for call in batch.calls}


async def test_the_sweep_failing_loses_nothing():
    play = live()
    reader = collector(play)
    await reader.collect()
    real = play._v2
    play.override[OBSERVATIONS] = lambda: (
        Reply(b"", 503) if '"2026-11-23T16:44' in play.requests[-1][1]["filter"] else real(play.requests[-1][1])
    )
    batch = await after(reader, play, 75)
    assert batch.health.status == "ok"
    assert "late calls" in batch.health.reason


async def test_the_clock_of_the_server_is_told_with_its_uncertainty():
    play = live()
    play.skew_s = 120.25
    reader = collector(play)
    batches = await polls(reader, play, 60, 5.3)
    last = batches[-1].health
    assert last.clock_offset_s == pytest.approx(120.25, abs=last.clock_uncertainty_s)
    assert last.clock_uncertainty_s == pytest.approx(0.15, abs=0.15)
    assert batches[-1].calls_until == batches[-1].at


async def test_an_application_clock_that_is_ahead_is_said():
    play = live()
    for one in play.rows:
        one.row = {**one.row, "createdAt": one.row["startTime"]}
    batch = await collector(play).collect()
    assert "clock is ahead of the Langfuse server's by" in batch.health.reason


async def test_bad_rows_cost_only_themselves_and_are_counted():
    play = live()
    rows = [
        b'{"id":"good","startTime":"2026-11-23T16:57:00Z","endTime":"2026-11-23T16:57:01Z","type":"GENERATION"}',
        b'{"id":"backwards","startTime":"2026-11-23T16:57:00Z","endTime":"2026-11-23T16:46:00Z"}',
        b'{"id":"when","startTime":"yesterday","endTime":"today"}',
        b'{"id":"far","startTime":"2026-11-23T16:57:00Z","endTime":"2099-01-01T00:00:00Z"}',
        b'{"id":7,"startTime":"2026-11-23T16:57:00Z","endTime":"2026-11-23T16:57:01Z"}',
        b'{"id":"running","startTime":"2026-11-23T16:57:00Z","endTime":null}',
        b"3",
    ]
    play.override[OBSERVATIONS] = lambda: Reply(b'{"data":[' + b",".join(rows) + b'],"meta":{}}')
    batch = await collector(play).collect()
    assert [call.id for call in batch.calls] == ["good"]
    assert batch.health.reason.startswith("5 rows left out")
    assert batch.health.status == "partial", "most rows were left out"


async def test_a_row_written_again_comes_again():
    play = live()
    reader = collector(play)

    def answer(updated: str, level: str) -> Reply:
        times = '"startTime":"2026-11-23T16:57:00Z","endTime":"2026-11-23T16:57:01Z"'
        row = f'{{"id":"a",{times},"updatedAt":"{updated}","level":"{level}","type":"TOOL"}}'
        return Reply(f'{{"data":[{row}],"meta":{{}}}}'.encode())

    play.override[OBSERVATIONS] = lambda: answer("2026-11-23T16:57:05Z", "DEFAULT")
    assert [call.level for call in (await reader.collect()).calls] == ["DEFAULT"]
    assert (await after(reader, play, 5)).calls == ()
    play.override[OBSERVATIONS] = lambda: answer("2026-11-23T16:57:09Z", "ERROR")
    assert [call.failed for call in (await after(reader, play, 5)).calls] == [True]


async def test_a_new_server_version_is_probed_and_told():
    play = live()
    reader = collector(play)
    await reader.collect()
    await after(reader, play, 5)
    play.override["/api/public/health"] = lambda: Reply(b'{"status":"OK","version":"4.18.0"}')
    batch = await after(reader, play, 40)
    assert {fact.key: fact.value for fact in batch.facts}["version"] == "4.18.0"
    before = asked(play)
    await after(reader, play, 5)
    assert asked(play) == before + 2


async def test_no_secret_is_ever_said():
    pk, sk = "pk-lf-very-public", "sk-lf-very-secret"
    url = "http://admin:hunter2@langfuse.test/base?token=t0ken"
    told = LangfuseSettings(base_url=url, public_key=pk, secret_key=sk, salt=b"pepper")
    token = base64.b64encode(f"{pk}:{sk}".encode()).decode()
    seen = []

    def echo(request):
        seen.append(request)
        said = f"no {sk} {pk} {token} {request.headers['authorization']} admin:hunter2"
        return httpx.Response(400, json={"message": said})

    client = httpx.AsyncClient(transport=httpx.MockTransport(echo), trust_env=False)
    source = Source("langfuse", "langfuse", "tracing", 5.0, address=url)
    reader = LangfuseCollector(source, client, VirtualClock(1e9), told, rng=Random(1))
    batch = await reader.collect()
    shown = repr(batch) + repr(reader) + repr(reader.source) + repr(told).replace(url, "")
    for secret in (pk, sk, token, "hunter2", "t0ken", "pepper"):
        assert secret not in shown
    assert batch.health.reason.startswith("the server rejected the query (400): no *** ***")
    assert str(seen[0].url).startswith("http://langfuse.test/base/api/public/v2/observations?")
    assert seen[0].headers["authorization"] == f"Basic {token}"


async def test_jitter_is_in_the_pace():
    play = live()
    paces = {
        LangfuseCollector(
            Source("l", "langfuse", "tracing", 5.0), play.client(), play.clock, settings(), rng=Random(n)
        ).source.interval_s
        for n in range(5)
    }
    assert len(paces) == 5
    assert all(5.0 <= pace <= 6.0 for pace in paces)
