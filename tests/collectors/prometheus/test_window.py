"""A window that nobody recorded: it says what a live console would have said, and what it could not be told."""

import time

import pytest

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, Health
from collectors.prometheus.client import Prometheus
from collectors.prometheus.reading import TargetNames
from collectors.prometheus.window import WindowFeed
from collectors.runtime.base import Source
from tests.collectors.prometheus.test_targets import EVERY_S, ONE, OTHER, START, bodies, values, watched
from tests.fakes.promserver import ACCESS, FakePrometheus, over_http
from tui.cli import main

__all__ = ["bodies"]

SOURCE = Source("prometheus", "prometheus", "tracing", 60.0, 15.0, "http://prometheus:9090")
HEALTH = Health("langfuse", "langfuse", "tracing", "ok")


class Told:
    """Calls of the past, as asked for."""

    def __init__(self):
        self.asked = []

    async def between(self, start, end):
        self.asked.append((start, end))
        call = Call("1", "t", "", "generation", "n", end - 3.0, end - 2.0, end - 2.0, end - 2.0)
        return [Batch(end - 1.5, end - 1.5, HEALTH, calls=(call,), calls_until=end - 1.5)]


def server_of(pages, *, at=START):
    """Return a server that scraped a page every five seconds up to a time."""
    fake = FakePrometheus(lambda: at)
    for number, page in enumerate(pages):
        fake.scrape(at - EVERY_S * (len(pages) - number), ONE, page)
    return fake


async def played(fake, start, end, calls=()):
    feed = WindowFeed(SOURCE, Prometheus(ACCESS, connect=fake.connect), TargetNames((), near=True), start, end, calls)
    assert await feed.find_targets() > 0
    ticks = [tick async for tick in feed.ticks()]
    await feed.aclose()
    return ticks


def of_engine(ticks):
    return [one for tick in ticks for one in tick.batches if one.health.source == "prometheus/vllm-8000"]


async def test_a_window_says_what_was_seen_live(bodies):
    live = []
    async with watched() as (fake, collector, clock, joined):
        fake.scrape(START, ONE, bodies[0])
        await collector.collect()
        live.append(await joined[0].collect())
        for number, page in enumerate(bodies[1:], 1):
            await clock.sleep_until(START + EVERY_S * number)
            fake.scrape(clock.now(), ONE, page)
            live.append(await joined[0].collect())
        end = clock.now()
        ticks = await played(fake, START - 30.0, end + 1.0)
    seen = of_engine(ticks)
    assert len(seen) == len(bodies) == len(live)
    assert [one.at for one in seen] == [one.at for one in live]
    assert [values(one) for one in seen] == [values(one) for one in live]
    assert [one.facts for one in seen if one.facts] == [one.facts for one in live if one.facts]
    assert [tick.at for tick in ticks] == [START - 29.0 + number for number in range(len(ticks))]


async def test_its_first_rates_stand_on_what_came_before(bodies):
    ticks = await played(server_of(bodies), START - 12.0, START)
    first = of_engine(ticks)[0]
    assert first.at == START - 10.0
    assert ("serving.generation_tokens.rate", Entity.of(engine="vllm-8000")) in values(first)
    assert all(START - 12.0 <= batch.at <= START for tick in ticks for batch in tick.batches)


async def test_what_was_away_or_is_gone_by_now_is_in_it(bodies):
    fake = server_of(bodies[:4], at=START - 900.0)
    fake.scrape(START - 900.0, ONE, None)
    fake.scrape(START - 895.0, ONE, bodies[4])
    fake.scrape(START - 905.0, OTHER, bodies[0])
    ticks = await played(fake, START - 960.0, START - 840.0)
    states = [batch.health.status for batch in of_engine(ticks)]
    assert states == ["ok"] * 4 + ["down", "ok"]
    away = of_engine(ticks)[4].health
    assert away.reason == f"Prometheus could not read it ({ONE})"
    sources = {batch.health.source for tick in ticks for batch in tick.batches}
    assert sources == {"prometheus", "prometheus/vllm-8000", "prometheus/vllm-8001"}


async def test_calls_of_the_same_window_stand_beside(bodies):
    told = Told()
    ticks = await played(server_of(bodies), START - 30.0, START, [told])
    assert told.asked == [(START - 30.0, START)]
    (batch,) = (one for tick in ticks for one in tick.batches if one.calls)
    assert batch.health.source == "langfuse"


async def test_a_server_that_fails_in_mid_window_is_said_once_per_query_and_given_up(bodies):
    fake = server_of(bodies)
    feed = WindowFeed(
        SOURCE, Prometheus(ACCESS, connect=fake.connect), TargetNames((), near=True), START - 3600.0, START
    )
    fake.scrape(START - 3500.0, ONE, bodies[0])
    assert await feed.find_targets() == 1
    looked = len(fake.asked)
    fake.fault = ConnectionRefusedError("Connection refused")
    ticks = [tick async for tick in feed.ticks()]
    said = [batch.health for tick in ticks for batch in tick.batches]
    assert {health.reason for health in said} == {"connection refused: nothing listens there"}
    assert len(fake.asked) == looked + 2
    assert ticks[-1].at == START
    with pytest.raises(ValueError, match="plays once"):
        feed.seek(START)
    with pytest.raises(ValueError, match="as fast as it is fetched"):
        feed.set_speed(2.0)
    await feed.aclose()


async def test_warnings_of_a_window_are_told(bodies):
    fake = server_of(bodies)
    fake.warning = b',"warnings":["store b did not answer"]'
    ticks = await played(fake, START - 30.0, START)
    reasons = {one.health.reason for tick in ticks for one in tick.batches if one.health.source == "prometheus"}
    assert reasons == {"warns: store b did not answer"}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Return how a command is asked, with nothing of this machine in its answer."""
    from click.testing import CliRunner

    for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "PROMETHEUS_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "none.toml").write_text("")
    return lambda *words: CliRunner().invoke(main, list(words))


def test_it_is_replayed_and_diagnosed_by_the_same_commands(asked, bodies):
    fake = server_of(bodies, at=time.time())
    with over_http(fake) as url:
        shown = asked("replay", "--prometheus", url, "--from", "-1m")
        told = asked("--prometheus", url, "diagnose", "--from", "-1m", "--json")
    assert shown.exit_code == 0, shown.output
    assert "source prometheus/vllm-8000 ok" in shown.stdout
    assert "KV cache [vllm-8000]" in shown.stdout
    assert "of 1 min fetched in" in shown.stderr
    assert told.exit_code == 0, told.output
    assert '"incidents": []' in told.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "name a SESSION, or --prometheus URL with --from and --to"),
        (("x.aistack", "--from", "-1h"), 2, "exclude each other"),
        (("--prometheus", "http://127.0.0.1:9", "--from", "soon"), 2, "--from: 'soon' is not a time"),
        (("--prometheus", "http://127.0.0.1:9", "--to", "soon"), 2, "--to: 'soon' is not a time"),
        (("--prometheus", "http://127.0.0.1:9", "--from", "-1m", "--to", "-1h"), 2, "begins after it ends"),
        (("--prometheus", "http://127.0.0.1:9", "--from", "-3d"), 2, "at most 24 h"),
        (("--prometheus", "127.0.0.1:9"), 2, "write it as http://HOST:PORT"),
        (("--prometheus", "http://127.0.0.1:9"), 3, "http://127.0.0.1:9: connection refused: nothing listens there"),
    ],
)
@pytest.mark.parametrize("command", ["replay", "diagnose"])
def test_what_cannot_be_is_said_in_a_sentence(asked, command, words, code, said):
    result = asked(command, *words)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_window_in_which_nothing_was_scraped_says_so(asked):
    fake = FakePrometheus(time.time)
    fake.scrape(time.time() - 10.0, ONE, b"node_load1 1\n")
    with over_http(fake) as url:
        result = asked("replay", "--prometheus", url, "--from", "-5m")
    assert result.exit_code == 3
    assert result.stderr.strip().endswith("it scraped no supported target in this window")
