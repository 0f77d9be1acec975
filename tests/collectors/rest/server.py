"""A REST source over a fake server: what the tests of the helper share."""

from contextlib import asynccontextmanager

import httpx
import msgspec

from aistack_top.measure.clock import VirtualClock
from collectors.rest.client import RestClient
from collectors.rest.paging import Page
from collectors.rest.refusals import Refusals
from collectors.rest.requests import RestRequest
from collectors.runtime.base import Source

NOW = 1_796_000_000.0
LIST = RestRequest("list", "/api/items", 30.0)
ONE = RestRequest("one", "/api/items/{name}/state", since="2.4")
CACHED = RestRequest("cached", "/api/cached", conditional=True)
SEARCH = RestRequest("search", "/api/2.0/mlflow/runs/search", method="POST")
REQUESTS = (LIST, ONE, CACHED, SEARCH)
REFUSALS = Refusals("Shop", keys="token")


class Items(msgspec.Struct):
    rows: list[int] = []
    next: str = ""
    total: int | None = None


def parse(body: bytes) -> Page[int]:
    found = REFUSALS.decode(body, Items)
    return Page(found.rows, found.next, found.total)


@asynccontextmanager
async def shop(handler, *, login=None, url="http://shop:8080/base/"):
    """Give a client of a server that answers by ``handler``, and its clock."""
    clock = VirtualClock(NOW)
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler), follow_redirects=True) as client:
        source = Source("shop", "shop", "data", 10.0, address="http://shop:8080/base")
        with clock.participant():
            yield RestClient(source, client, clock, REQUESTS, REFUSALS, login=login, url=url), clock
