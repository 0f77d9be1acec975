from functools import partial

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Batch, Health
from collectors.discovery.endpoint import EndpointCollector
from collectors.runtime.base import Source

SOURCE = Source("vllm-8000", "vllm", "serving", 2.0, address="http://server:8000/")


class Made:
    source = SOURCE

    async def collect(self):
        return Batch(0.0, 0.0, Health("vllm-8000", "vllm", "serving", "ok"))

    async def aclose(self):
        pass


def _answer(waiting, request):
    return waiting.pop(0) if request.url.path == "/metrics" else httpx.Response(404)


async def collect(*answers):
    waiting = list(answers)
    client = httpx.AsyncClient(transport=httpx.MockTransport(partial(_answer, waiting)))
    collector = EndpointCollector(SOURCE, client, VirtualClock(0.0), [(lambda body: b"vllm:" in body, Made)])
    async with client:
        return [(await collector.collect()).health for _ in answers]


async def collect_with_note(note):
    page = httpx.Response(200, text="vllm:num_requests_running 1\n")
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: page))
    kinds = [(lambda body: b"vllm:" in body, Made)]
    async with client:
        return [(await EndpointCollector(SOURCE, client, VirtualClock(0.0), kinds, note=note).collect()).health.reason]


async def test_a_server_is_known_by_its_page_and_asked_no_more_than_once():
    told = await collect(httpx.Response(500), httpx.Response(200, text="vllm:num_requests_running 1\n"))
    assert [health.status for health in told] == ["misconfigured", "ok"]


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (httpx.Response(401), "unauthorized", "wants a key"),
        (httpx.Response(404), "misconfigured", "answers 404"),
        (httpx.Response(200, text="<html>\x1b[2J"), "misconfigured", "begins with '<html>'"),
        (httpx.Response(200, text=""), "misconfigured", "begins with 'nothing'"),
    ],
)
async def test_what_is_no_known_server_is_said(answer, status, said):
    (health,) = await collect(answer)
    assert health.status == status
    assert said in health.reason
    assert "\x1b" not in health.reason


async def test_a_server_that_the_command_line_names_twice_says_that_it_is_read_once():
    said = "http://localhost:8000 is the same server and is read once"
    assert await collect_with_note(said) == [said]
    assert await collect_with_note("") == [""]


async def test_a_litellm_without_a_key_is_named_and_its_metrics_are_asked_once_in_ten_runs():
    asked = []

    def handle(request):
        asked.append(request.url.path)
        if request.url.path == "/metrics":
            return httpx.Response(401)
        return httpx.Response(200, json="I'm alive!")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = EndpointCollector(SOURCE, client, VirtualClock(0.0), [])
        told = [(await collector.collect()).health for _ in range(20)]
    assert {health.status for health in told} == {"unauthorized"}
    assert 'kind = "litellm"' in told[0].reason
    assert told[-1].reason == told[0].reason
    assert asked.count("/metrics") == 2


async def test_a_server_that_refuses_and_is_no_litellm_is_asked_as_before():
    answers = {"/metrics": 401, "/health/liveliness": 404}

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: httpx.Response(answers[request.url.path]))
    ) as client:
        collector = EndpointCollector(SOURCE, client, VirtualClock(0.0), [])
        told = [(await collector.collect()).health for _ in range(3)]
    assert {health.reason for health in told} == {"/metrics answers 401: it wants a key; see 'aistack-top sources'"}
