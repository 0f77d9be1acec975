"""One run of a REST source: a whole source as small as one can be."""

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from collectors.rest.client import RestClient
from collectors.rest.collector import Findings, RestCollector
from collectors.rest.paging import TokenPaging
from collectors.runtime.base import Source
from tests.collectors.rest.server import LIST, NOW, ONE, REFUSALS, REQUESTS, Items, parse


class Shop(RestCollector):
    async def read(self):
        found = Findings()
        if self.rest.is_due(LIST):
            items = await self.rest.pages(LIST, parse, TokenPaging("page"), max_pages=2)
            self.notes.set("items", items.note("items"))
            found.status = items.status
            found.readings.add("pipelines.runs.active", Entity.of(source="shop"), float(len(items.rows)))
        with self.notes.optional("state", "the state is unknown"):
            await self.rest.read(ONE, Items, names={"name": "a"})
            self.notes.set("state", "")
        return found


class Server:
    def __init__(self):
        self.asked, self.refused = [], {}

    def __call__(self, request):
        name = request.url.path.rpartition("/")[2]
        self.asked.append(name)
        if name in self.refused:
            return self.refused[name]
        return httpx.Response(200, json={"rows": [1, 2]}, headers={"date": "Tue, 01 Dec 2026 00:00:00 GMT"})


async def runs(server, *changes):
    """Return the batch of a first run, and one 10 s after each change of the server."""
    clock, batches = VirtualClock(NOW), []
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as client:
        source = Source("shop", "shop", "data", 10.0, address="http://shop")
        collector = Shop(source, RestClient(source, client, clock, REQUESTS, REFUSALS), clock)
        with clock.participant():
            for change in (dict, *changes):
                server.refused = change()
                batches.append(await collector.collect())
                await clock.sleep_until(clock.now() + 10.0)
        await collector.aclose()
    return batches


async def test_a_run_asks_what_is_due_and_makes_one_batch():
    server = Server()
    first, second = await runs(server, dict)
    assert server.asked == ["items", "state", "state"]
    assert [value for _, _, value in first.readings] == [2.0]
    assert (first.health.status, first.health.reason, list(second.readings)) == ("ok", "", [])
    assert first.health.clock_offset_s is not None


async def test_a_request_that_fails_costs_only_itself_until_it_is_answered_again():
    batches = await runs(Server(), lambda: {"state": httpx.Response(500)}, dict)
    assert [batch.health.status for batch in batches] == ["ok"] * 3
    assert [batch.health.reason for batch in batches] == ["", "the state is unknown: HTTP 500", ""]


async def test_pages_that_are_not_read_are_said_as_partial():
    answers = [{"rows": [number], "next": str(number)} for number in (1, 2)]

    class Long(Server):
        def __call__(self, request):
            if request.url.path.endswith("items"):
                return httpx.Response(200, json=answers.pop(0))
            return super().__call__(request)

    (batch,) = await runs(Long())
    assert (batch.health.status, batch.health.reason) == ("partial", "the first 2 items only")


@pytest.mark.parametrize(("answer", "again"), [(httpx.Response(500), ["items", "state"]), (httpx.Response(429), [])])
async def test_after_a_failure_everything_is_due_unless_the_server_wants_fewer_requests(answer, again):
    server = Server()

    def begin():
        server.asked.clear()
        return {}

    batches = await runs(server, dict, dict, lambda: {"items": answer}, begin)
    assert batches[3].health.status in ("down", "slow")
    assert list(batches[3].readings) == []
    assert server.asked == again
