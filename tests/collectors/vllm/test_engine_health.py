"""An engine that is dead, a rank that is frozen, a frontend of another kind: against what real servers answered."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch
from collectors.runtime.base import Source
from collectors.vllm.collector import LARGE_PAGE_BYTES, VllmCollector
from collectors.vllm.frozen import RankLook, RankWatch
from tests.playback.vllm import Player, PlayerTransport, Recording, moved

CAPTURES = Path(__file__).parents[3] / "fixtures" / "captures"
DEAD = CAPTURES / "vllm-0.32.0" / "engine-dead" / "series.jsonl.gz"
ONE_FROZEN = CAPTURES / "vllm-0.32.0" / "dp2-one-frozen" / "series.jsonl.gz"
RUST = CAPTURES / "vllm-0.32.0-rust-frontend"
START = 1_000_000.0
ENGINE = Entity.of(engine="v")
RANKS = Entity.of(engine="v/0"), Entity.of(engine="v/1")


async def collected(transport: httpx.AsyncBaseTransport, seconds: float, step: float = 2.0) -> list[Batch]:
    clock, batches = VirtualClock(START), []
    if isinstance(transport, PlayerTransport):
        transport._player._clock = clock
    async with httpx.AsyncClient(transport=transport) as client:
        collector = VllmCollector(Source("v", "vllm", "serving", 2.0, address="http://vllm"), client, clock)
        collector.set_pace(step)
        with clock.participant():
            for number in range(int(seconds / step) + 1):
                await clock.sleep_until(START + number * step)
                batches.append(await collector.collect())
    return batches


async def played(series: Path, seconds: float, step: float = 2.0) -> list[Batch]:
    # half a second late: each look finds the answer that was recorded for it
    return await collected(PlayerTransport(Player(Recording(series), VirtualClock(START), "0.5")), seconds, step)


class Scripted:
    """A server: what its paths answer now. A path that is not there is 404, an exception is raised."""

    def __init__(self, **paths: Any) -> None:
        self.paths = {f"/{name}": answer for name, answer in paths.items()}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.paths.get(request.url.path.replace("/v1/", "/"))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer)
        if answer is None:
            return httpx.Response(404)
        return httpx.Response(200, headers={"content-type": "application/openmetrics-text"}, content=answer)


async def asked(server: Scripted, *changes: dict[str, object]) -> list[Batch]:
    """Return what is collected from a server before the first change and after each."""
    clock, batches = VirtualClock(START), []
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        collector = VllmCollector(Source("v", "vllm", "serving", 2.0, address="http://vllm"), client, clock)
        with clock.participant():
            batches.append(await collector.collect())
            for number, change in enumerate(changes, 1):
                server.paths |= {f"/{name}": answer for name, answer in change.items()}
                await clock.sleep_until(START + 2.0 * number)
                batches.append(await collector.collect())
    return batches


def of(batch: Batch, signal: str, entity: Entity = ENGINE):
    return next((value for name, who, value in batch.readings if (name, who) == (signal, entity)), None)


def events(batches: list[Batch], kind: str) -> list[tuple[float, str, str]]:
    return [(e.seen - START, e.severity, e.text) for batch in batches for e in batch.events if e.kind == kind]


def rust_page(name: str = "metrics-after-66.om.txt") -> bytes:
    return (RUST / name).read_bytes()


async def test_a_dead_engine_is_told_at_the_next_look_and_its_old_numbers_are_not_shown():
    batches = await played(DEAD, 24)
    died = next(batch for batch in batches if of(batch, "serving.engine.dead") == 1.0)
    # killed at 12.0 s, between two looks
    assert died.at - START == 14
    assert {batch.health.status for batch in batches if batch.at < died.at} == {"ok"}
    assert of(batches[1], "serving.engine.dead") == 0.0
    after = [batch for batch in batches if batch.at >= died.at]
    assert {batch.health.status for batch in after} == {"down"}
    assert after[-1].health.age_s == 12
    assert after[-1].health.reason.startswith("engine dead: /health returned 503")
    shown = {name for batch in after for name, _, _ in batch.readings}
    assert shown == {
        "serving.engine.dead",
        "serving.http.errors",
        "serving.http.server_errors",
        "serving.http.failed",
        "serving.requests.rejected",
        "serving.scrape.duration",
    }
    assert events(batches, "dead") == [
        (14, "critical", "the engine of v is dead: /health returns 503, its API server is still up")
    ]


async def test_requests_that_fail_are_a_rate_and_a_share():
    last = (await played(DEAD, 24))[-1]
    # none had failed when the first page was read, 24 s ago; 49 did since, and 47 were answered
    assert of(last, "serving.http.failed") == pytest.approx(49 / 24, rel=0.01)
    assert of(last, "serving.http.server_errors") == pytest.approx(49 / (49 + 201 - 154), rel=0.05)


async def test_a_console_that_finds_a_dead_engine_says_so_at_once():
    server = Scripted(metrics=rust_page(), health=503)
    first = (await asked(server))[0]
    assert (first.health.status, first.health.age_s) == ("down", None)
    assert of(first, "serving.requests.running") is None


@pytest.mark.parametrize("answer", [404, 500, httpx.ReadTimeout("late")])
async def test_a_health_that_is_not_answered_says_nothing(answer):
    first = (await asked(Scripted(metrics=rust_page(), health=answer)))[0]
    assert first.health.status == "ok"
    assert of(first, "serving.engine.dead") is None
    assert of(first, "serving.requests.running") == 0.0


async def test_a_dead_engine_that_answers_again_is_told_once():
    batches = await asked(Scripted(metrics=rust_page(), health=b""), {"health": 503}, {"health": 404}, {"health": b""})
    assert [batch.health.status for batch in batches] == ["ok", "down", "down", "ok"]
    assert [severity for _, severity, _ in events(batches, "dead")] == ["critical", "info"]


async def test_a_frozen_rank_is_told_though_the_other_one_works():
    batches = await played(ONE_FROZEN, 72)
    found = events(batches, "frozen")
    # rank 0 was stopped from 22.1 s to 56.3 s
    assert [(severity, text) for _, severity, text in found] == [
        (
            "critical",
            "data-parallel rank 0 of v is frozen: 14 requests are in it and it takes no step while other ranks work",
        ),
        ("info", "data-parallel rank 0 of v is no longer frozen, after 34 s"),
    ]
    assert 22 + 15 <= found[0][0] <= 22 + 20
    assert 56 <= found[1][0] <= 60
    assert {of(batch, "serving.engine.frozen", RANKS[1]) for batch in batches} <= {None, 0.0}
    during = next(batch for batch in batches if batch.at - START == 48)
    assert of(during, "serving.engine.frozen", RANKS[0]) == 1.0
    assert "rank 0 of v is frozen" in during.health.reason


@pytest.mark.parametrize("pace", [5.0, 10.0])
async def test_a_frozen_rank_is_told_at_a_slower_pace(pace):
    batches = await played(ONE_FROZEN, 70, pace)
    assert [severity for _, severity, _ in events(batches, "frozen")] == ["critical", "info"]


@pytest.mark.parametrize("pace", [5.0, 10.0])
async def test_token_rates_are_shown_at_a_slower_pace(pace):
    batches = await played(ONE_FROZEN, 60, pace)
    rates = [of(batch, "serving.generation_tokens.rate", RANKS[1]) for batch in batches]
    assert all(rate is not None for rate in rates[2:])


def looks(*rows: tuple[float, float, int, float, bool], others: bool = True) -> list[bool]:
    """Return what a watch says of (at, inside, work, turns, unplaced)."""
    watch = RankWatch()
    return [
        watch.observe(RankLook(at, inside, work, turns if others else 0, turns, unplaced), 10.0)
        for at, inside, work, turns, unplaced in rows
    ]


def test_an_idle_rank_beside_a_busy_one_is_not_frozen():
    assert not any(looks(*((at, 0, 7, at, False) for at in range(0, 60, 2))))


def test_an_idle_rank_is_frozen_when_the_api_server_waits_for_it():
    assert looks(*((at, 0, 7, at, True) for at in range(0, 20, 2)))[-1]


def test_one_long_answer_elsewhere_proves_nothing():
    assert not any(looks(*((at, 2, 7, 1, False) for at in range(0, 60, 2))))


def test_ranks_that_all_stand_still_are_the_whole_engine_s_matter():
    assert not any(looks(*((at, 2, 7, at, False) for at in range(0, 60, 2)), others=False))


def test_a_gap_between_looks_proves_nothing_of_a_rank():
    assert not any(looks(*((at, 2, 7, at, False) for at in range(0, 100, 20))))


async def test_the_rust_frontend_is_named_and_its_load_believed():
    server = Scripted(
        metrics=rust_page(),
        health=b"",
        load=(RUST / "load.json").read_bytes(),
        version=(RUST / "version.json").read_bytes(),
        models=(RUST / "v1_models.json").read_bytes(),
    )
    first = (await asked(server))[0]
    known = {fact.key: fact.value for fact in first.facts}
    assert (known["version"], known["frontend"], known["model"]) == ("0.32.0", "Rust 0.32.0", "tiny-llama-lab")
    assert of(first, "serving.requests.in_flight") == 0.0
    assert first.health.status == "ok"


async def test_hang_ups_that_the_rust_frontend_counts_are_shown():
    before, after = rust_page("metrics-after-5-requests.om.txt"), rust_page()
    batches = await asked(Scripted(metrics=before, health=b""), {"metrics": after})
    assert of(batches[1], "serving.requests.hung_up") == pytest.approx(14 / 2.0)
    assert of(batches[1], "serving.requests.arrived") == pytest.approx(61 / 2.0)


async def test_a_frontend_that_is_python_again_is_told():
    rust, python = b'{"version":"0.32.0","rust_frontend_version":"0.32.0"}', b'{"version":"0.32.0"}'
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    server = Scripted(metrics=rust_page(), version=rust)
    batches = await asked(server, {"metrics": refused}, {"metrics": rust_page(), "version": python}, {})
    assert [fact.value for batch in batches for fact in batch.facts if fact.key == "frontend"] == [
        "Rust 0.32.0",
        "Python",
    ]


async def test_a_server_that_says_no_start_time_and_refused_in_between_has_restarted():
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    busier = moved(rust_page())
    batches = await asked(Scripted(metrics=rust_page()), {"metrics": refused}, {"metrics": busier})
    assert events(batches, "restart") == [(4, "warning", "vLLM v restarted (its port was closed in between)")]
    assert of(batches[2], "serving.ttft") is None


@pytest.mark.parametrize("fault", [httpx.ReadTimeout("late"), 502])
async def test_a_server_that_was_late_or_behind_a_proxy_has_not_restarted(fault):
    batches = await asked(Scripted(metrics=rust_page()), {"metrics": fault}, {"metrics": moved(rust_page())})
    assert events(batches, "restart") == []
    assert of(batches[2], "serving.ttft") is not None


async def test_a_server_that_says_when_it_began_is_believed():
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    page = gzip.decompress((CAPTURES / "vllm-0.32.0/run2-lora-admission/metrics-t048.prom.gz").read_bytes())
    batches = await asked(Scripted(metrics=page), {"metrics": refused}, {"metrics": moved(page)})
    assert events(batches, "restart") == []


async def test_an_engine_is_asked_every_five_seconds_at_least_and_every_ten_for_a_large_page():
    server = Scripted(metrics=rust_page())
    clock = VirtualClock(START)
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        collector = VllmCollector(Source("v", "vllm", "serving", 2.0, address="http://vllm"), client, clock)
        assert collector.source.max_interval_s == 5.0
        await collector.collect()
        assert (collector.source.max_interval_s, collector.source.page_bytes) == (5.0, len(rust_page()))
        server.paths["/metrics"] = b"# padding\n" * (LARGE_PAGE_BYTES // 10) + rust_page()
        await collector.collect()
        assert collector.source.max_interval_s == 10.0
