"""Pages by token, offset and Link header: every row once, or it is said that there are more."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.rest.paging import LinkPaging, OffsetPaging, TokenPaging
from collectors.runtime.base import SourceError
from tests.collectors.rest.server import LIST, SEARCH, parse, shop


class Rows:
    """A server with so many rows, which sends no more than ``size`` of them at a time."""

    def __init__(self, count, size, *, has_total=False):
        self.count, self.size, self.has_total, self.asked = count, size, has_total, []

    def __call__(self, request):
        self.asked.append(request)
        asked = dict(request.url.params) if request.method == "GET" else json.loads(request.content)
        start = int(asked.get("page") or asked.get("offset") or 0)
        end = start + min(self.size, int(asked.get("limit", self.size)))
        body: dict[str, Any] = {"rows": list(range(start, min(end, self.count)))}
        headers = {}
        if self.has_total:
            body["total"] = self.count
        if "offset" not in asked and end < self.count:
            body["next"] = str(end)
            headers["link"] = f'</base/api/items>; rel="first", </base/api/items?page={end}>; rel="next"'
        return httpx.Response(200, json=body, headers=headers)


PAGINGS = [TokenPaging("page"), OffsetPaging(7), LinkPaging()]


@pytest.mark.parametrize("paging", PAGINGS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("request_", [LIST, SEARCH], ids=["GET", "POST"])
@settings(deadline=None, max_examples=60)
@given(count=st.integers(0, 40), size=st.integers(1, 12), most=st.integers(1, 50), has_total=st.booleans())
async def test_every_row_is_read_once_or_it_is_said_that_there_are_more(paging, request_, count, size, most, has_total):
    if isinstance(paging, LinkPaging) and request_ is SEARCH:
        return  # a search has no links
    server = Rows(count, size, has_total=has_total)
    async with shop(server) as (rest, _):
        found = await rest.pages(request_, parse, paging, max_pages=most)
    assert found.rows == list(range(len(found.rows))), "in order, none twice"
    assert found.pages == len(server.asked) <= most
    assert found.failed is None
    if found.is_whole:
        assert (len(found.rows), found.note("items"), found.status) == (count, "", "ok")
    else:
        assert found.pages == most
        assert (found.note("items"), found.status) == (f"the first {len(found.rows)} items only", "partial")


async def test_parameters_of_the_question_are_in_every_page():
    server = Rows(10, 4)
    async with shop(server) as (rest, _):
        await rest.pages(LIST, parse, TokenPaging("page", {"limit": 4}), query={"state": "a b/c"})
    assert [str(one.url.query, "ascii") for one in server.asked] == [
        "state=a+b%2Fc&limit=4",
        "state=a+b%2Fc&limit=4&page=4",
        "state=a+b%2Fc&limit=4&page=8",
    ]


async def test_a_server_that_goes_round_in_a_circle_is_left():
    async with shop(lambda _: httpx.Response(200, json={"rows": [1], "next": "same"})) as (rest, _):
        found = await rest.pages(LIST, parse, TokenPaging("page"), max_pages=50)
    assert (found.rows, found.is_whole) == ([1, 1], False)
    assert found.note("items") == "the first 2 items only: the server names a page again that was read"


@pytest.mark.parametrize(
    "link",
    [
        "http://elsewhere/base/api/items?page=2",
        "https://shop:8080/other/api/items?page=2",
        "/base/api/secrets",
        "../../base/api/items/../../admin",
        "http://[bad",
    ],
)
async def test_a_next_page_elsewhere_is_not_read(link):
    asked = []

    def handle(request):
        asked.append(request.url.path)
        return httpx.Response(200, json={"rows": [1, 2]}, headers={"link": f'<{link}>; rel="next"'})

    async with shop(handle) as (rest, _):
        found = await rest.pages(LIST, parse, LinkPaging())
    assert asked == ["/base/api/items"]
    assert (found.rows, found.is_whole, found.status) == ([1, 2], False, "partial")
    assert "at another address, which is not read" in found.note("items")


async def test_a_later_page_that_fails_leaves_the_earlier_ones():
    answers = [httpx.Response(200, json={"rows": [1, 2], "next": "2"}), httpx.Response(503)]
    async with shop(lambda _: answers.pop(0)) as (rest, _):
        found = await rest.pages(LIST, parse, TokenPaging("page"))
    assert (found.rows, found.note("items")) == ([1, 2], "the first 2 items only: HTTP 503")


async def test_a_first_page_that_fails_is_a_failure():
    async with shop(lambda _: httpx.Response(200, content=b'{"rows": "no"}')) as (rest, _):
        with pytest.raises(SourceError, match="unexpected response from Shop"):
            await rest.pages(LIST, parse, TokenPaging("page"))
