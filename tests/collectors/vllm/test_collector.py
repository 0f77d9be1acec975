"""vLLM against what real servers answered, second by second, and against what a server can do wrong."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock, WallClock
from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch, Bound, Quantiles
from collectors.runtime.base import Source
from collectors.runtime.http import get
from collectors.vllm.collector import VllmCollector, fingerprint, table
from collectors.vllm.frozen import EngineLook, FreezeDetector
from tests.playback.vllm import Player, PlayerTransport, Recording, moved, serve

CAPTURES = Path(__file__).parents[3] / "fixtures" / "captures"
RUN1 = CAPTURES / "vllm-0.32.0" / "run1" / "series.jsonl.gz"
FAULT1 = CAPTURES / "vllm-0.32.0" / "fault1" / "series.jsonl.gz"
PAGES = sorted(CAPTURES.glob("vllm-*-metrics.prom")) + sorted((CAPTURES / "vllm-0.32.0").glob("*/metrics-*"))
START = 1_000_000.0
ENGINE = Entity.of(engine="v")
EDGE = "http://vllm"

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def run1() -> Recording:
    return Recording(RUN1)


@pytest.fixture(scope="module")
def fault1() -> Recording:
    return Recording(FAULT1)


def source(interval_s: float = 2.0, address: str = EDGE) -> Source:
    return Source("v", "vllm", "serving", interval_s, address=address)


async def collected(
    transport: httpx.AsyncBaseTransport, clock: VirtualClock, seconds: float, step: float = 2.0
) -> list[Batch]:
    batches = []
    async with httpx.AsyncClient(transport=transport) as client:
        collector = VllmCollector(source(step), client, clock)
        with clock.participant():
            due = clock.monotonic()
            while due <= START + seconds:
                batches.append(await collector.collect())
                due += step
                await clock.sleep_until(due)
        await collector.aclose()
    return batches


async def played(recording: Recording, at: str, seconds: float, step: float = 2.0) -> list[Batch]:
    clock = VirtualClock(START)
    return await collected(PlayerTransport(Player(recording, clock, at)), clock, seconds, step)


async def scripted(pages: list[bytes], others: dict[str, bytes] | None = None, step: float = 2.0) -> list[Batch]:
    """Serve pages one after the other, the last one for ever."""
    left = list(pages)

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            return httpx.Response(
                200, headers={"content-type": "text/plain"}, content=left.pop(0) if len(left) > 1 else left[0]
            )
        body = (others or {}).get(request.url.path)
        return httpx.Response(404) if body is None else httpx.Response(200, content=body)

    return await collected(httpx.MockTransport(handle), VirtualClock(START), (len(pages) - 1) * step, step)


def of(batch: Batch, signal: str, entity: Entity = ENGINE):
    return next((value for name, who, value in batch.readings if (name, who) == (signal, entity)), None)


def page(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def facts(batch: Batch, entity: Entity = ENGINE) -> dict[str, str]:
    return {fact.key: fact.value for fact in batch.facts if fact.entity == entity}


async def test_forty_eight_seconds_of_the_burst_tell_its_first_token_times(run1):
    batches = await played(run1, "burst", 48)
    ttft = of(batches[-1], "serving.ttft")
    assert isinstance(ttft, Quantiles)
    # measured over the whole phase: p50 20 s, p95 39 s
    assert ttft.p50 == pytest.approx(20, rel=0.1)
    assert ttft.p95 == pytest.approx(39, rel=0.1)
    assert ttft.p99 is None, "fewer than a hundred requests have no 99th percentile"


async def test_ten_seconds_inside_the_burst_the_jam_shows(run1):
    last = (await played(run1, "75", 10))[-1]
    assert of(last, "serving.requests.waiting") > 100
    assert of(last, "serving.kv_cache.usage") > 0.55
    assert of(last, "serving.preemptions") > 0
    assert of(last, "serving.requests.waiting_by_reason", ENGINE.with_(reason="capacity")) > 100
    assert of(last, "serving.requests.in_flight") > 100


async def test_quantiles_below_the_first_edge_are_bounds(run1):
    last = (await played(run1, "normal", 44))[-1]
    queue = of(last, "serving.queue_time")
    assert isinstance(queue, Quantiles)
    assert queue.p50 == Bound("below", 0.3)
    assert queue.mean == pytest.approx(0.0, abs=0.01)


async def test_arrivals_balance_what_finished_and_what_is_inside(run1):
    batches = await played(run1, "burst", 10)
    # 14 requests a second were sent until 120 were in flight
    assert of(batches[-1], "serving.requests.arrived") == pytest.approx(12.5, abs=2.5)


@pytest.mark.parametrize("step", [1.0, 2.0, 3.0])
async def test_no_false_alarm_in_three_minutes_of_real_load(run1, step):
    batches = await played(run1, "0", 194, step)
    assert [event for batch in batches for event in batch.events] == []
    assert {batch.health.status for batch in batches} == {"ok"}
    assert {of(batch, "serving.engine.frozen") for batch in batches} <= {None, 0.0}


@pytest.mark.parametrize("step", [1.0, 2.0])
async def test_a_frozen_engine_is_told_though_every_metric_is_healthy(fault1, step):
    batches = await played(fault1, "0", 48, step)
    events = [event for batch in batches for event in batch.events]
    assert [(event.kind, event.severity) for event in events] == [("frozen", "critical"), ("frozen", "info")]
    began, ended = (event.at - START for event in events)
    # the engine was stopped from 8.3 s to 22.3 s
    assert 8.3 < began <= 12
    assert 11 < events[0].seen - START <= 16
    assert 22.3 < ended <= 25
    during = next(batch for batch in batches if batch.at - START == 18)
    assert of(during, "serving.engine.frozen") == 1.0
    assert during.health.status == "ok"
    assert "makes no progress" in during.health.reason


async def test_a_dead_engine_is_down_in_words_with_the_age_of_its_last_data(fault1):
    last = (await played(fault1, "0", 48))[-1]
    assert (last.health.status, last.health.reason) == ("down", "connection refused: nothing listens there")
    assert last.health.age_s == pytest.approx(16, abs=2)
    assert len(last.readings) == 0


async def test_the_player_hangs_up_on_a_port_where_the_recording_was_refused(fault1):
    server = await serve(Player(fault1, WallClock(), "40"), 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient() as client:
        batch = await VllmCollector(source(address=base), client, WallClock()).collect()
    server.close()
    await server.wait_closed()
    assert batch.health.status == "down"


async def test_the_player_answers_on_a_port(run1):
    server = await serve(Player(run1, WallClock(), "burst"), 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient() as client:
        version = await get(client, base + "/version")
        missing = await get(client, base + "/nothing")
        batch = await VllmCollector(source(address=base), client, WallClock()).collect()
    server.close()
    await server.wait_closed()
    assert (version.body, missing.status, batch.health.status) == (b'{"version":"0.32.0"}', 404, "ok")
    assert of(batch, "serving.requests.running") is not None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.name}")
async def test_every_version_fills_the_panel_once_counts_move(path):
    body = page(path)
    batches = await scripted([body, moved(body)])
    told = {name for name, _, _ in batches[-1].readings}
    gauges = {"serving.requests.running", "serving.requests.waiting", "serving.kv_cache.usage"}
    if "run3-dp2/metrics-t004" not in path.as_posix():  # its gauges appear with the first request
        assert gauges <= told
        assert "serving.requests.arrived" in told
    assert {"serving.ttft", "serving.itl", "serving.e2e"} <= told
    for name, _, value in batches[-1].readings:
        if name in ("serving.ttft", "serving.itl", "serving.e2e"):
            assert isinstance(value, Quantiles)
            assert value.p50 is not None
    assert told <= signals().keys()
    assert batches[-1].health.status == "ok"
    assert facts(batches[0]).get("model") or len(batches[0].facts) > 1
    assert not any(event.kind == "restart" for batch in batches for event in batch.events)


def test_every_signal_of_the_table_is_declared_and_of_this_layer():
    assert {signals()[row.signal].layer for row in table().metric} == {"serving"}


async def test_two_engines_are_two_entities_with_facts_of_their_own():
    body = page(CAPTURES / "vllm-0.32.0" / "run3-dp2" / "metrics-t048.prom.gz")
    batch = (await scripted([body]))[-1]
    ranks = [Entity.of(engine="v/0"), Entity.of(engine="v/1")]
    assert [of(batch, "serving.kv_cache.usage", rank) for rank in ranks] == [0.2676056338028169, 0.3661971830985915]
    assert of(batch, "serving.requests.running") is None
    # 144 is the sum of both, repeated for each; each has 72 blocks of 32 tokens
    assert not any("kv_blocks" in facts(batch, rank) for rank in ranks)
    assert {facts(batch, rank)["kv_cache_size_tokens"] for rank in ranks} == {"2304"}


async def test_the_newest_lora_series_is_the_truth():
    body = page(CAPTURES / "vllm-0.32.0" / "run2-lora-admission" / "metrics-t048.prom.gz")
    first, second = await scripted([body, moved(body)])
    assert of(first, "serving.lora.running") == 2.0
    assert of(first, "serving.lora.waiting") is None, "its label repeats the running ones"
    rejected = of(second, "serving.requests.rejected", ENGINE.with_(reason="max_num_queued_reqs"))
    assert rejected == pytest.approx(15.0)
    assert 0 < of(second, "serving.http.errors") < 1


async def test_names_of_the_past_are_read_and_told():
    old = page(CAPTURES / "vllm-0.6.0-metrics.prom")
    batch = (await scripted([old], {"/version": b'{"version":"0.6.0"}'}))[0]
    assert of(batch, "serving.kv_cache.usage") == 0.83
    assert of(batch, "serving.prefix_cache.hit_ratio") == 0.49
    known = facts(batch)
    assert known["alias_serving.kv_cache.usage"] == "vllm:gpu_cache_usage_perc"
    assert known["alias_serving.itl"] == "vllm:time_per_output_token_seconds"
    assert batch.health.status == "ok"
    assert batch.health.reason == (
        "this vLLM (0.6.0) does not expose queue time (from 0.6.4), prefill (from 0.6.4), decode (from 0.6.4)"
    )
    new = (await scripted([page(CAPTURES / "vllm-0.33.0-metrics.prom")]))[0]
    assert not any(key.startswith("alias_") for key in facts(new))
    assert new.health.reason == ""


async def test_facts_are_asked_at_the_start_and_every_minute(run1):
    clock = VirtualClock(START)
    player = Player(run1, clock, "burst")
    batches = await collected(PlayerTransport(player), clock, 62)
    known = facts(batches[0])
    assert (known["version"], known["model"], known["kv_blocks"]) == ("0.32.0", "tiny-llama-lab", "24")
    assert (known["max_model_len"], known["start_time"]) == ("2048", "2026-11-23T16:50:09Z")
    assert player.asked.count("/version") == 2
    assert [bool(batch.facts) for batch in batches].count(True) == 2


async def test_aliases_and_adapters_of_the_model_list():
    models = {"data": [{"id": "llama"}, {"id": "gpt-4\x1b[2J", "root": "/m"}, {"id": "sql", "parent": "llama"}]}
    body = page(CAPTURES / "vllm-0.33.0-metrics.prom").replace(b"demo/Model-8B", b"llama")
    known = facts((await scripted([body], {"/v1/models": json.dumps(models).encode()}))[0])
    assert (known["model"], known["model_alias_1"], known["loras"]) == ("llama", "gpt-4", "sql")


@pytest.mark.parametrize("extra", [b"", b"<html>", b"[]", b'{"server_load":"x"}', b'{"server_load":-1}', b"\xff\xfe"])
async def test_extras_that_answer_nonsense_cost_nothing(extra):
    paths = dict.fromkeys(["/load", "/version", "/v1/models"], extra)
    batch = (await scripted([page(PAGES[0])], paths))[0]
    assert (batch.health.status, of(batch, "serving.requests.running")) == ("ok", 7.0)
    assert of(batch, "serving.requests.in_flight") is None


async def test_extras_that_raise_cost_nothing():
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/metrics":
            raise httpx.ReadTimeout("too slow", request=request)
        return httpx.Response(200, headers={"content-type": "text/plain"}, content=page(PAGES[0]))

    batch = (await collected(httpx.MockTransport(handle), VirtualClock(START), 0))[0]
    assert (batch.health.status, of(batch, "serving.requests.running")) == ("ok", 7.0)


async def test_a_load_that_nobody_counts_is_not_a_load_of_nothing():
    body = page(CAPTURES / "vllm-0.32.0" / "run1" / "metrics-t095.prom")
    batches = await scripted([body] * 3, {"/load": b'{"server_load":0}'})
    assert [of(batch, "serving.requests.in_flight") for batch in batches] == [None] * 3
    assert [of(batch, "serving.engine.frozen") for batch in batches] == [None] * 3


async def test_a_restart_drops_the_interval_and_asks_the_facts_anew():
    body = page(CAPTURES / "vllm-0.32.0" / "run1" / "metrics-t095.prom")
    fresh = page(CAPTURES / "vllm-0.32.0" / "run1" / "metrics-t012.prom")
    fresh = fresh.replace(b'num_gpu_blocks="24"', b'num_gpu_blocks="20"')
    batches = await scripted([body, moved(body), fresh, fresh], {"/version": b'{"version":"0.33.0"}'})
    restarts = [event for batch in batches for event in batch.events]
    assert [(event.kind, event.at) for event in restarts] == [("restart", START + 4)]
    assert of(batches[1], "serving.ttft") is not None
    assert [of(batches[2], name) for name in ("serving.ttft", "serving.preemptions", "serving.requests.arrived")] == [
        None
    ] * 3
    assert facts(batches[2])["kv_blocks"] == "20"
    assert facts(batches[3])["version"] == "0.33.0"


async def test_the_last_adapter_that_goes_is_told():
    body = page(CAPTURES / "vllm-0.32.0" / "run1" / "metrics-t095.prom")
    models = [{"data": [{"id": "llama"}, {"id": "sql", "parent": "llama"}]}, {"data": [{"id": "llama"}]}]

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json=models.pop(0) if len(models) > 1 else models[0])
        return httpx.Response(200, content=body) if request.url.path == "/metrics" else httpx.Response(404)

    batches = await collected(httpx.MockTransport(handle), VirtualClock(START), 122)
    assert [known["loras"] for batch in batches if "loras" in (known := facts(batch))] == ["sql", "none", "none"]


async def test_hostile_names_are_harmless():
    body = page(CAPTURES / "vllm-0.33.0-metrics.prom")
    body = body.replace(b'"demo/Model-8B"', b'"\x1b]0;owned\x07[bold]evil\\n\x1b[2J"').replace(
        b'"stop"', b'"st\x1b[31mop"'
    )
    first, second = await scripted([body, moved(body)])
    assert facts(first)["model"] == "[bold]evil"
    assert of(second, "serving.requests.finished", ENGINE.with_(reason="stop")) is not None


async def test_numbers_that_are_none_are_absent_and_one_bad_line_costs_one_value():
    body = page(CAPTURES / "vllm-0.33.0-metrics.prom")
    body = body.replace(b'Model-8B"} 7.0', b'Model-8B"} NaN').replace(b'Model-8B"} 0.83', b'Model-8B"} +Inf')
    body = body.replace(b'Model-8B"} 3.0', b'Model-8B"} three')
    batch = (await scripted([body]))[0]
    told = {name for name, _, _ in batch.readings}
    assert told.isdisjoint({"serving.requests.running", "serving.kv_cache.usage", "serving.requests.waiting"})
    assert "serving.requests.waiting_by_reason" in told
    assert batch.health.status == "ok"
    assert batch.health.reason == "1 line of the page could not be read"


def _answers(status: int = 200, kind: str = "text/plain", body: bytes = b"") -> Handler:
    return lambda request: httpx.Response(status, headers={"content-type": kind}, content=body)


@pytest.mark.parametrize(
    ("handler", "status", "told"),
    [
        (_answers(kind="text/html", body=b"<html>"), "misconfigured", "a web page, not metrics"),
        (_answers(kind="application/json", body=b"{}"), "misconfigured", "JSON, not metrics"),
        (_answers(body=b"# TYPE go_gc gauge\ngo_gc 1\n"), "misconfigured", "--disable-log-stats"),
        (_answers(kind="application/octet-stream", body=page(PAGES[0])), "misconfigured", "octet-stream"),
        (_answers(body=b"vllm:x " * 3_000_000), "misconfigured", "larger than 16 MB"),
        (_answers(401), "unauthorized", "401"),
        (_answers(404), "misconfigured", "404"),
        (_answers(500), "down", "500"),
    ],
)
async def test_whatever_a_server_does_is_one_health_record_in_words(handler, status, told):
    batch = (await collected(httpx.MockTransport(handler), VirtualClock(START), 0))[0]
    assert batch.health.status == status
    assert told in batch.health.reason
    assert len(batch.readings) == 0


def test_an_engine_is_told_from_its_router_and_from_others():
    for path in PAGES:
        assert fingerprint(page(path)), path
    router = b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{server="http://a:8000"} 1\n'
    assert not fingerprint(router)
    assert not fingerprint(b"# TYPE vllm:num_requests_running gauge\nvllm:healthy_pods_total 2\n")
    assert not fingerprint(b"sglang:num_running_reqs 1\n")


def watched(looks: Sequence[tuple[float, float, float, float]]) -> list[bool]:
    watch = FreezeDetector()
    return [watch.observe(EngineLook(at, held, inside, inside, work)) for at, held, inside, work in looks]


def test_one_request_that_is_being_tokenised_is_no_frozen_engine():
    assert not any(watched([(second, 1, 0, 7) for second in range(0, 10, 2)]))


def test_one_request_held_for_long_is():
    assert watched([(second, 1, 0, 7) for second in range(0, 14, 2)])[-1]


def test_a_gap_between_looks_proves_nothing():
    assert not any(watched([(0, 1, 0, 7), (30, 2, 0, 7), (60, 3, 0, 7)]))


def test_a_load_that_falls_is_work_being_answered_until_the_engine_is_known_to_be_frozen():
    assert not any(watched([(0, 9, 0, 7), (2, 8, 0, 7), (4, 7, 0, 7), (6, 6, 0, 7)]))
    assert watched([(0, 1, 0, 7), (2, 2, 0, 7), (4, 3, 0, 7), (6, 2, 0, 7)]) == [False, False, True, True]


def test_a_batch_that_takes_no_step_while_the_load_rises_is_stalled():
    assert not any(watched([(second, 3, 2, 7) for second in range(0, 30, 2)])), "a long prefill"
    rising = [(second, 3 + second, 2, 7) for second in range(0, 14, 2)]
    assert watched(rising) == [False] * 5 + [True] * 2
    assert not any(watched([(at, held, inside, at) for at, held, inside, _ in rising])), "it works"
