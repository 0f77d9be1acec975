from collections import Counter
from typing import Any

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Batch, Health
from collectors.discovery.endpoint import ALIVE_S, REFUSED_S, UNKNOWN_S, EndpointCollector
from collectors.runtime.base import Source

PAGE = "vllm:num_requests_running 1\n"
SOURCE = Source("vllm-8000", "vllm", "serving", 2.0, address="http://server:8000/")


class Made:
    source = SOURCE

    async def collect(self):
        return Batch(0.0, 0.0, Health("vllm-8000", "vllm", "serving", "ok"))

    async def aclose(self):
        pass


class Server:
    """A server by path, what it was asked, and the collector of its address."""

    def __init__(self, url="http://me:s3cret@server:8000", **answers):
        self.answers = {"/metrics": httpx.Response(404), **answers}
        self.asked: Counter[str] = Counter()
        self.logins = set()
        self.clock = HandClock(0.0)
        kinds: list[Any] = [(lambda body: b"vllm:" in body, Made)]
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        self.collector = EndpointCollector(SOURCE, client, self.clock, kinds, url=url, names=["vllm", "ray"])

    def answer(self, request):
        self.asked[request.url.path] += 1
        self.logins.add(request.headers.get("authorization"))
        found = self.answers.get(request.url.path, httpx.Response(404))
        if found is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(found.status_code, content=found.content)

    async def after(self, seconds=0.0):
        self.clock.shift += seconds
        return (await self.collector.collect()).health


class HandClock(VirtualClock):
    shift = 0.0

    def monotonic(self):
        return super().monotonic() + self.shift


async def test_a_server_is_known_by_its_page_and_its_login_is_sent():
    server = Server(**{"/metrics": httpx.Response(200, text=PAGE)})
    assert (await server.after()).status == "ok"
    await server.after(60)
    assert server.asked == {"/metrics": 1}
    assert server.logins == {"Basic bWU6czNjcmV0"}


async def test_a_gateway_before_a_server_that_is_down_is_not_misconfigured_and_asked_at_the_usual_pace():
    server = Server(**{"/metrics": httpx.Response(502)})
    told = await server.after()
    assert (told.status, "returned 502" in told.reason, "s3cret" in told.reason) == ("down", True, False)
    server.answers["/metrics"] = httpx.Response(200, text=PAGE)
    assert (await server.after(2)).status == "ok"


@pytest.mark.parametrize(("page", "said"), [("<html>\x1b[2J", "begins with '<html>'"), ("", "begins with 'nothing'")])
async def test_what_is_no_known_server_is_said_with_what_was_asked(page, said):
    server = Server(**{"/metrics": httpx.Response(200, text=page)})
    told = await server.after()
    assert told.status == "misconfigured"
    assert "not recognised at http://server:8000: set kind in the configuration (known kinds: vllm, ray)" in told.reason
    assert f"asked /metrics ({said}), /health/liveliness (404)" in told.reason
    assert "\x1b" not in told.reason
    before = server.asked.total()
    assert await server.after(2) == told
    assert server.asked.total() == before
    await server.after(UNKNOWN_S)
    assert server.asked.total() == 2 * before


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (
            "/api/public/health",
            '{"status":"OK","version":"3.1"}',
            'Langfuse: it requires keys: write [[source]] kind = "lan',
        ),
        ("/api/2.0/mlflow/registered-models/search", "{}", 'MLflow: set its kind: write [[source]] kind = "mlflow"'),
        (
            "/-/healthy",
            "Prometheus Server is Healthy.\n",
            "Prometheus: read what it scrapes with --prometheus http://s",
        ),
        (
            "/health/liveliness",
            '"I\'m alive!"',
            'LiteLLM: write [[source]] kind = "litellm", url = "http://server:8000"',
        ),
    ],
)
async def test_servers_that_need_more_than_an_address_are_recognised(path, text, said):
    told = await Server(**{path: httpx.Response(200, text=text)}).after()
    assert told.status == "misconfigured"
    assert said in told.reason


async def test_a_litellm_that_wants_a_key_is_asked_where_it_does_not_count():
    server = Server(
        **{"/metrics": httpx.Response(401), "/health/liveliness": httpx.Response(200, text='"I\'m alive!"')}
    )
    told = [await server.after(2) for _ in range(900)]
    assert {health.status for health in told} == {"unauthorized"}
    assert 'kind = "litellm"' in told[-1].reason
    assert server.asked["/metrics"] == 1
    assert server.asked["/health/liveliness"] == 1 + 1800 // ALIVE_S - 1
    server.answers = {"/metrics": None, "/health/liveliness": None}
    assert (await server.after(ALIVE_S)).status == "down"
    server.answers = {"/metrics": httpx.Response(200, text=PAGE)}
    assert (await server.after(2)).status == "ok"


async def test_another_server_that_refuses_is_asked_rarely():
    server = Server(**{"/metrics": httpx.Response(403)})
    told = [await server.after(2) for _ in range(int(REFUSED_S) // 2 + 1)]
    assert "/metrics returned 403: it requires a token" in told[0].reason
    assert server.asked["/metrics"] == 2
