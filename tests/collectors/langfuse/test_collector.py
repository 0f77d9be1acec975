"""The collector against a playback of a real server: nothing lost, nothing twice, the server's own numbers."""

import asyncio
import json
from collections import Counter, defaultdict

import pytest

from aistack_top.measure.quantiles import linear_quantile
from aistack_top.model.tick import Batch
from collectors.config import LangfuseSource
from collectors.registry import CollectorContext, build
from tests.collectors.langfuse.langfuse_helpers import (
    CAPTURES,
    OBSERVATIONS,
    V4,
    after,
    calls_of,
    collector,
    playback,
    polls,
)
from tests.playback.langfuse import KEYS, Playback, Reply, moment


@pytest.fixture(scope="module")
def whole_run() -> tuple[Playback, list[Batch]]:
    play = playback("v4", "2026-11-23T15:20:00Z")
    # three rows come ten minutes late, as from an old sender
    for late in (100, 200, 300):
        play.rows[late].visible += 600
    return play, asyncio.run(polls(collector(play), play, 6600, 10))


async def test_every_generation_is_seen_exactly_once(whole_run):
    _, batches = whole_run
    calls = [call for call in calls_of(batches) if call.kind == "generation"]
    wanted = {row["id"] for row in json.loads((V4 / "obs-v2-generations-1000.json").read_bytes())["data"]}
    assert len(calls) == 541
    assert {call.id for call in calls} == wanted
    assert {batch.health.status for batch in batches} == {"ok"}


async def test_other_kinds_come_with_the_same_request(whole_run):
    _, batches = whole_run
    assert Counter(call.kind for call in calls_of(batches)) == {"generation": 541, "guardrail": 50, "retrieval": 50}


async def test_late_rows_come_with_the_sweep_and_keep_their_own_time(whole_run):
    _, batches = whole_run
    late = [call for call in calls_of(batches) if call.seen - call.end > 120]
    assert len(late) == 3
    assert all(600 < call.seen - call.end < 680 for call in late)


async def test_the_numbers_are_those_of_the_servers_own_metrics(whole_run):
    _, batches = whole_run
    by_model = defaultdict(list)
    for call in calls_of(batches):
        if call.kind == "generation":
            by_model[call.model].append(call)
    told = json.loads((V4 / "metrics-v2-by-model.json").read_bytes())["data"]
    assert {row["providedModelName"] for row in told} == set(by_model)
    for row in told:
        calls = by_model[row["providedModelName"]]
        latency = sorted(call.latency * 1000 for call in calls)
        ttft = sorted(call.ttft * 1000 for call in calls if call.ttft is not None)
        assert len(calls) == row["count_count"]
        assert linear_quantile(latency, 0.5) == pytest.approx(row["p50_latency"], abs=0.01)
        assert linear_quantile(latency, 0.95) == pytest.approx(row["p95_latency"], abs=0.01)
        assert linear_quantile(latency, 0.99) == pytest.approx(row["p99_latency"], abs=0.01)
        assert linear_quantile(ttft, 0.5) == pytest.approx(row["p50_timeToFirstToken"], abs=0.01)
        assert linear_quantile(ttft, 0.95) == pytest.approx(row["p95_timeToFirstToken"], abs=0.01)
        assert sum(call.input_tokens or 0 for call in calls) == row["sum_inputTokens"]
        assert sum(call.output_tokens or 0 for call in calls) == row["sum_outputTokens"]
        assert sum(call.cost or 0 for call in calls) == pytest.approx(row["sum_totalCost"], abs=1e-9)


async def test_calls_of_a_time_gone_by_are_those_that_ended_in_it(whole_run):
    _, batches = whole_run
    play = playback("v4", "2026-11-23T18:00:00Z")
    start, end = moment("2026-11-23T15:50:00Z"), moment("2026-11-23T16:12:00Z")
    told = await collector(play).between(start, end)
    wanted = {call.id: call.latency for call in calls_of(batches) if start <= call.end < end}
    found = calls_of(told)
    assert len(wanted) > 100
    assert {call.id: call.latency for call in found} == wanted
    assert len(found) == len(wanted)
    assert all(call.seen == call.end for call in found)
    assert all(call.end <= batch.seen <= call.end + 5.0 for batch in told for call in batch.calls)
    assert [batch.calls_until for batch in told] == [batch.seen for batch in told]
    assert (told[-1].seen, {batch.health.status for batch in told}) == (end, {"ok"})


async def test_calls_of_a_time_gone_by_that_cannot_be_had_are_said():
    play = playback("v4", "2026-11-23T18:00:00Z")
    (told,) = await collector(play, secret_key="sk-wrong").between(moment("2026-11-23T15:50:00Z"), play.clock.now())
    assert told.health.status == "unauthorized"
    assert told.calls == ()


async def test_no_request_asks_for_prompts_or_is_without_a_time_bound(whole_run):
    play, _ = whole_run
    asked = [params for path, params in play.requests if path == OBSERVATIONS]
    assert len(asked) > 600
    for params in asked:
        assert not {"io", "metadata"} & set(params["fields"].split(","))
        assert "fromStartTime" in params or "startTime" in params["filter"]


async def test_a_call_says_what_its_row_says(whole_run):
    _, batches = whole_run
    call = next(call for call in calls_of(batches) if call.id == "f456abac3ea42abf")
    assert (call.kind, call.model) == ("generation", "meta-llama/Llama-3.3-70B-Instruct")
    assert (call.version, call.prompt, call.prompt_version) == ("app-1.9.0", "support-answer", "3")
    assert (call.input_tokens, call.output_tokens, call.cached_tokens) == (1615, 128, None)
    assert (call.ttft, call.cost, call.level) == (0.257, 0.0010714, "DEFAULT")
    assert (call.route, call.environment, call.root) == ("support-bot", "production", False)
    assert call.end == pytest.approx(moment("2026-11-23T16:57:15.923Z"))
    assert call.tenant.startswith("u-")
    assert "user-024" not in repr(call)
    assert "sess-0024" not in repr(call)


async def test_version_and_project_come_from_the_second_run_on(whole_run):
    _, batches = whole_run
    assert batches[0].facts == ()
    facts = {fact.key: fact.value for fact in batches[1].facts}
    assert facts == {"version": "4.16.0", "project": "aistack-top lab", "api": "v2"}


async def test_calls_until_is_when_the_poll_asked(whole_run):
    _, batches = whole_run
    assert all(batch.calls_until == batch.at for batch in batches)


async def test_the_live_stream_is_seen_exactly_once():
    play = playback("live", "2026-11-23T17:06:40.160Z")
    batches = await polls(collector(play), play, 130, 5)
    calls = calls_of(batches)
    assert len(calls) == len({call.id for call in calls}) == 91
    assert all(call.seen - call.end < 16 for call in calls)


async def test_many_pages_are_followed_and_more_is_said_to_be_sampled(monkeypatch):
    play = playback("v4", "2026-11-23T16:58:00Z")
    monkeypatch.setattr("collectors.langfuse.reader.PAGE_ROWS", 30)
    monkeypatch.setattr("collectors.langfuse.polling.SWEEP_S", 1800.0)
    batch = await collector(play).collect()
    assert len(batch.calls) == 150
    assert batch.health.status == "slow"
    assert "sampled" in batch.health.reason
    monkeypatch.setattr("collectors.langfuse.reader.PAGE_ROWS", 100)
    whole = await collector(play).collect()
    assert whole.health.status == "ok"
    assert len({call.id for call in whole.calls}) == len(whole.calls) > 150


async def test_v1_is_chosen_once_and_brings_user_and_session():
    play = playback("legacy", "2026-11-23T16:42:00Z")
    batches = await polls(collector(play), play, 1900, 5)
    calls = calls_of(batches)
    assert len(calls) == len({call.id for call in calls}) == 59
    assert all(call.tenant.startswith("u-") and call.session.startswith("s-") for call in calls)
    assert {call.route for call in calls} == {"support-bot"}
    assert sum(path == OBSERVATIONS for path, _ in play.requests) == 1
    reasons = {batch.health.reason for batch in batches}
    assert all("v1 API" in reason for reason in reasons)
    assert {fact.key: fact.value for fact in batches[1].facts}["api"] == "v1"


async def test_v1_numbers_are_those_of_the_servers_own_metrics():
    play = playback("legacy", "2026-11-23T16:42:00Z")
    calls = calls_of(await polls(collector(play), play, 1900, 10))
    told = json.loads((CAPTURES / "langfuse-4.16.0-dual-mode/metrics-v1-by-model.json").read_bytes())["data"]
    for row in told:
        mine = [call for call in calls if call.model == row["providedModelName"]]
        latency = sorted(call.latency * 1000 for call in mine)
        assert len(mine) == row["count_count"]
        assert linear_quantile(latency, 0.5) == pytest.approx(row["p50_latency"], abs=0.01)
        assert linear_quantile(latency, 0.95) == pytest.approx(row["p95_latency"], abs=0.01)
        assert sum(call.cost or 0 for call in mine) == pytest.approx(row["sum_totalCost"], abs=1e-9)
        tokens = sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in mine)
        assert tokens == row["sum_totalTokens"]


async def test_v1_rows_survive_when_the_traces_cannot_be_had():
    play = playback("legacy", "2026-11-23T17:12:00Z")
    play.override["/api/public/traces"] = lambda: Reply(b"{}", 500)
    batch = await collector(play).collect()
    assert batch.calls
    assert {call.tenant for call in batch.calls} == {""}
    assert batch.health.status == "ok"
    assert "users and sessions" in batch.health.reason


async def test_v1_answers_that_are_too_large_are_asked_for_in_smaller_pages():
    play = playback("legacy", "2026-11-23T17:12:00Z")
    reader = collector(play)
    assert len((await reader.collect()).calls) > 20
    play.override["/api/public/observations"] = lambda: Reply(b" " * (17 * 2**20))
    assert "too large" in (await after(reader, play, 20)).health.reason
    play.override.clear()
    assert (await after(reader, play, 5)).health.status == "ok"
    limits = [params["limit"] for path, params in play.requests if path == "/api/public/observations"]
    assert limits[:4] == ["1", "100", "100", "25"]


async def test_the_engine_comes_from_the_configured_metadata_key():
    play = playback("v4", "2026-11-23T16:58:00Z")
    batch = await collector(play, engine_key="vllm_instance").collect()
    engines = {call.id: call.engine for call in batch.calls}
    assert engines["f456abac3ea42abf"] == "vllm-3"
    assert "metadata" in play.requests[-1][1]["fields"]
    plain = await collector(play).collect()
    assert {call.engine for call in plain.calls} == {""}


async def test_only_the_chosen_environments_are_read():
    play = playback("v4", "2026-11-23T16:58:00Z")
    batch = await collector(play, environments=("staging",)).collect()
    assert {call.environment for call in batch.calls} == {"staging"}


async def test_the_history_is_the_servers_metrics_by_minute():
    play = playback("v4", "2026-11-23T16:58:00Z")
    reader = collector(play)
    await reader.collect()
    history = await reader.history(moment("2026-11-23T15:19:00Z"), moment("2026-11-23T16:59:00Z"))
    assert history is not None
    assert (history.start, history.step) == (moment("2026-11-23T15:20:00Z"), 60.0)
    rates = {e.get("model"): c for (s, e, stat), c in history.columns.items() if s == "calls.rate"}
    counted = {m: sum(v for v in c if v == v) * 60 for m, c in rates.items()}
    told = json.loads((V4 / "metrics-v2-by-model.json").read_bytes())["data"]
    for row in told:
        assert counted[row["providedModelName"]] == pytest.approx(row["count_count"])
    assert counted[None] == pytest.approx(541)


@pytest.mark.parametrize("steps", range(1, 16))
async def test_a_run_that_is_cut_off_loses_no_call(steps, monkeypatch):
    monkeypatch.setattr("collectors.langfuse.reader.CHUNK_ROWS", 10)
    play = playback("v4", "2026-11-23T16:58:00Z")
    wanted = {call.id for call in (await collector(play).collect()).calls}
    reader = collector(play)
    run = asyncio.ensure_future(reader.collect())
    for _ in range(steps):
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    first = () if run.cancelled() else run.result().calls
    got = [call.id for call in (*first, *(await reader.collect()).calls)]
    assert len(got) == len(wanted)
    assert set(got) == wanted


async def test_the_registry_builds_it(monkeypatch):
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", KEYS[0])
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", KEYS[1])
    play = playback("v4", "2026-11-23T16:58:00Z")
    config = LangfuseSource(url="http://me:pw@langfuse.test", plan="hobby", engine_key="vllm_instance")
    built = build(config, CollectorContext(play.clock, play.client(), b"salt", "node"))
    assert built.source.interval_s >= 10
    assert built.source.address == "http://langfuse.test"
    batch = await built.collect()
    assert batch.health.status == "ok"
    assert any(call.engine == "vllm-3" for call in batch.calls)


async def test_a_tenant_is_what_the_configuration_says(monkeypatch, whole_run):
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", KEYS[0])
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", KEYS[1])
    rows = json.loads((V4 / "obs-v2-generations-1000.json").read_bytes())["data"]
    _, batches = whole_run
    pseudonyms = Counter(call.tenant for call in calls_of(batches) if call.kind == "generation")
    assert sorted(pseudonyms.values()) == sorted(Counter(row["userId"] for row in rows).values())
    assert len(pseudonyms) == 25
    assert not {row["userId"] for row in rows} & set(pseudonyms)

    play = playback("v4", "2026-11-23T16:58:00Z")
    config = LangfuseSource(url="http://langfuse.test", tenant_from="tag", tenant_key="tier-")
    by_tier = build(config, CollectorContext(play.clock, play.client(), b"", "node", pseudonyms=False))
    assert {call.tenant for call in (await by_tier.collect()).calls if call.kind == "generation"} == {"a", "b"}


async def test_the_playback_refuses_what_the_server_refused():
    play = playback("v4", "2026-11-23T16:58:00Z")
    client = play.client()
    for params, file in (
        ({"limit": "1001"}, "err-400-limit"),
        ({"cursor": "garbage"}, "err-400-cursor"),
        ({"filter": json.dumps([{"column": "createdAt", "operator": ">=", "value": "x"}])}, "err-400-filter-column"),
    ):
        answer = await client.get(f"http://langfuse.test{OBSERVATIONS}", params=params, auth=KEYS)
        assert (answer.status_code, answer.content) == (400, (V4 / f"{file}.json").read_bytes())
