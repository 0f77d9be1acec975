"""What is missing behind Prometheus is said by the sentence that a page read directly has for it."""

import httpx

from aistack_top.measure.clock import VirtualClock
from collectors.registry import CollectorContext, build
from collectors.registry import kind as kind_named
from tests.collectors.prometheus.test_targets import EVERY_S, ONE, START, bodies, watched

__all__ = ["bodies"]

TTFT = b"vllm:time_to_first_token_seconds"


def without(body, *names):
    """Return a page without some metrics, as a server keeps it that has their histograms in the native form only."""
    return b"".join(line for line in body.splitlines(True) if not any(name in line for name in names))


async def direct(pages):
    made = kind_named("vllm").config
    left, clock = list(pages), VirtualClock(START)

    def handle(request):
        if request.url.path != "/metrics":
            return httpx.Response(404)
        return httpx.Response(200, headers={"content-type": "text/plain"}, content=left.pop(0))

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = build(made(url="http://server:1", name="s"), CollectorContext(clock, client, b"salt", "node"))
        return [(await collector.collect()).health.reason for _ in pages]


async def test_a_histogram_that_is_not_there_is_said_until_it_is(bodies):
    cut = [without(body, TTFT) for body in bodies[1:4]]
    assert await direct(cut) == ["this vLLM does not expose TTFT"] * 3
    async with watched() as (fake, collector, clock, joined):
        said = []
        for step, body in enumerate([*cut, bodies[4]]):
            await clock.sleep_until(START + EVERY_S * step)
            fake.scrape(START + EVERY_S * step, ONE, body)
            await collector.collect()
            said += [(await joined[0].collect()).health.reason, (await joined[0].collect()).health.reason]
        assert said == ["this vLLM does not expose TTFT"] * 6 + ["", ""]


async def test_what_an_engine_lacks_before_its_first_request_is_not_missing():
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START, ONE, b'vllm:num_requests_running{engine="0",model_name="m"} 0\n')
        await collector.collect()
        assert (await joined[0].collect()).health.reason == ""


async def test_a_series_without_a_number_is_there(bodies):
    body = bodies[0].splitlines(True)
    blank = [
        line.rpartition(b" ")[0] + b" NaN\n" if line.startswith(b"vllm:kv_cache_usage_perc{") else line for line in body
    ]
    async with watched() as (fake, collector, _, joined):
        fake.scrape(START, ONE, b"".join(blank))
        await collector.collect()
        batch = await joined[0].collect()
    assert batch.health.reason == ""
    assert not any(signal == "serving.kv_cache.usage" for signal, _, _ in batch.readings)
