"""What is sent, what is not, and what a server's refusals are called."""

import httpx
import pytest

from collectors.config import Secret
from collectors.rest.login import bearer_or_basic
from collectors.rest.requests import RequestNotAllowedError, RestRequest
from collectors.runtime.base import SourceError
from tests.collectors.rest.server import CACHED, LIST, ONE, SEARCH, Items, shop

HTML = {"content-type": "text/html"}


async def refused(answer, request=LIST, **more):
    async with shop(lambda _: answer, **more) as (rest, _):
        with pytest.raises(SourceError) as caught:
            await rest.ask(request, names={"name": "a"})
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (httpx.Response(401), "unauthorized", "HTTP 401: set token"),
        (httpx.Response(403), "unauthorized", "HTTP 403: set token"),
        (httpx.Response(404), "misconfigured", "HTTP 404: is this the Shop server's address?"),
        (httpx.Response(400), "misconfigured", "HTTP 400: is this the Shop server's address?"),
        (httpx.Response(204), "misconfigured", "HTTP 204: is this the Shop server's address?"),
        (httpx.Response(304), "misconfigured", "HTTP 304: is this the Shop server's address?"),
        (httpx.Response(500), "down", "HTTP 500"),
        (httpx.Response(200, content=b" <html>"), "misconfigured", "a web page: is this the Shop server's address?"),
        (httpx.Response(200, content=b"{}", headers=HTML), "misconfigured", "returned a web page"),
        (httpx.Response(200, content=b"x" * (4 * 2**20 + 1)), "misconfigured", "the response is larger than 4 MB"),
        (
            httpx.Response(302, headers={"location": "https://u:p@other/base/x?token=1"}),
            "misconfigured",
            "is redirected to https://other/base/x: set url to the address of the API itself",
        ),
        (httpx.Response(301), "misconfigured", "is redirected to http://shop:8080/base/api/items: set url"),
    ],
)
async def test_a_refusal_is_one_sentence_with_its_fix(answer, status, said):
    found = await refused(answer)
    assert found[0] == status
    assert said in found[1]


async def test_a_login_that_is_refused_is_to_be_checked_not_set(monkeypatch):
    monkeypatch.setenv("T", "s3cret-4711")
    login = bearer_or_basic("shop", Secret(env="T"))
    assert await refused(httpx.Response(401), login=login) == ("unauthorized", "HTTP 401: check token")
    assert await refused(httpx.Response(403), login=login) == (
        "unauthorized",
        "HTTP 403: this login may not read it",
    )


async def test_what_an_older_server_does_not_have_is_said():
    assert await refused(httpx.Response(404), ONE) == ("misconfigured", "HTTP 404: needs Shop 2.4 or newer")


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("25", 25),
        (None, 60),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("soon", 60),
        ("-5", 60),
        ("9" * 400, 86_400),
    ],
)
async def test_a_server_that_wants_fewer_requests_is_left_alone_for_as_long(header, wait_s):
    asked = []

    def handle(request):
        asked.append(request)
        return httpx.Response(429, headers={"retry-after": header} if header else {})

    async with shop(handle) as (rest, clock):
        for _ in range(2):
            with pytest.raises(SourceError, match=f"HTTP 429, too many requests: next request in {wait_s} s") as caught:
                await rest.ask(LIST)
            assert caught.value.status == "slow"
        assert len(asked) == (2 if wait_s == 0 else 1)
        await clock.sleep_until(clock.now() + wait_s)
        with pytest.raises(SourceError):
            await rest.ask(LIST)
        assert len(asked) == (3 if wait_s == 0 else 2)


async def test_what_is_not_in_the_table_is_not_sent():
    asked = []
    async with shop(lambda request: asked.append(request)) as (rest, _):
        for path in ("/api/users", "/api/items/", "/api/items/a/b/state", "/api/items/../state", "/x/api/items"):
            with pytest.raises(RequestNotAllowedError, match=f"not in the table of requests: GET {path}"):
                await rest.ask(RestRequest("list", path))
    assert asked == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "/api/items", "method": "POST"},
        {"path": "/api/2.0/mlflow/runs/delete", "method": "POST"},
        {"path": "/api/items", "method": "DELETE"},
        {"path": "api/items"},
        {"path": "/api/2.0/mlflow/runs/search", "method": "POST", "conditional": True},
    ],
)
def test_a_request_that_could_write_cannot_be_in_a_table(wrong):
    with pytest.raises(RequestNotAllowedError):
        RestRequest("wrong", **wrong)


@pytest.mark.parametrize("name", ["..", ".", ""])
async def test_a_name_cannot_leave_its_place(name):
    async with shop(lambda _: httpx.Response(200, json={})) as (rest, _):
        with pytest.raises(RequestNotAllowedError, match="not a name in a path"):
            await rest.ask(ONE, names={"name": name})


async def test_a_name_is_quoted_in_the_path():
    asked = []

    def handle(request):
        asked.append(request.url.raw_path)
        return httpx.Response(200, json={})

    async with shop(handle) as (rest, _):
        await rest.ask(ONE, names={"name": "../users?a=b/ü"})
    assert asked == [b"/base/api/items/..%2Fusers%3Fa%3Db%2F%C3%BC/state"]


async def test_a_server_that_moved_to_https_is_followed_with_the_same_request():
    asked = []

    def handle(request):
        asked.append((request.method, str(request.url), request.content))
        if request.url.scheme == "http":
            return httpx.Response(301, headers={"location": str(request.url.copy_with(scheme="https", port=None))})
        return httpx.Response(200, json={"rows": [1]})

    async with shop(handle) as (rest, _):
        await rest.ask(SEARCH, body={"max_results": 1})
        assert (await rest.read(LIST, Items)).rows == [1]
    assert [(method, url) for method, url, _ in asked] == [
        ("POST", "http://shop:8080/base/api/2.0/mlflow/runs/search"),
        ("POST", "https://shop/base/api/2.0/mlflow/runs/search"),
        ("GET", "https://shop/base/api/items"),
    ]
    assert asked[0][2] == asked[1][2] == b'{"max_results":1}'


@pytest.mark.parametrize("location", ["http://shop:8080/base/api/items", "/base/api/items", ""])
async def test_a_redirect_to_itself_ends(location):
    asked = []

    def handle(request):
        asked.append(request)
        return httpx.Response(302, headers={"location": location})

    async with shop(handle) as (rest, _):
        with pytest.raises(SourceError, match="is redirected to"):
            await rest.ask(LIST)
    assert len(asked) == 1


async def test_a_redirect_never_leads_from_https_to_http():
    def handle(_):
        return httpx.Response(302, headers={"location": "http://shop:8080/base/api/items"})

    async with shop(handle, url="https://shop:8443/base") as (rest, _):
        with pytest.raises(SourceError, match="is redirected to"):
            await rest.ask(LIST)


class Cached:
    """A server that confirms what has not changed."""

    def __init__(self, body=b'{"rows": [1]}', **validators):
        self.body, self.validators, self.asked = body, validators, []

    def __call__(self, request):
        self.asked.append(dict(request.headers))
        told = {key.replace("_", "-"): value for key, value in self.validators.items()}
        if request.headers.get("if-none-match") == told.get("etag", ""):
            return httpx.Response(304, headers=told)
        if request.headers.get("if-modified-since") == told.get("last-modified", ""):
            return httpx.Response(304, headers=told)
        return httpx.Response(200, content=self.body, headers=told)


@pytest.mark.parametrize(
    ("validators", "condition"),
    [
        ({"etag": '"v1"'}, ("if-none-match", '"v1"')),
        ({"last_modified": "Tue, 01 Dec 2026 00:00:00 GMT"}, ("if-modified-since", "Tue, 01 Dec 2026 00:00:00 GMT")),
        ({"etag": 'W/"v1"', "last_modified": "Tue, 01 Dec 2026 00:00:00 GMT"}, ("if-none-match", 'W/"v1"')),
    ],
)
async def test_an_answer_that_has_not_changed_is_not_sent_again(validators, condition):
    server = Cached(**validators)
    async with shop(server) as (rest, _):
        bodies = [(await rest.ask(CACHED, params={"page": 1})).body for _ in range(3)]
        other = await rest.ask(CACHED, params={"page": 2})
    assert bodies == [server.body] * 3
    assert condition[0] not in server.asked[0]
    assert [one.get(condition[0]) for one in server.asked[1:3]] == [condition[1]] * 2
    assert condition[0] not in server.asked[3], "another address has a validator of its own"
    assert other.status == 200


async def test_a_changed_answer_replaces_the_kept_one():
    server = Cached(etag='"v1"')
    async with shop(server) as (rest, _):
        await rest.ask(CACHED)
        server.body, server.validators = b'{"rows": [2]}', {"etag": '"v2"'}
        assert [(await rest.ask(CACHED)).body for _ in range(2)] == [server.body] * 2
    assert server.asked[2]["if-none-match"] == '"v2"'


async def test_a_large_answer_is_asked_for_whole_each_time():
    server = Cached(b'{"rows": [' + b"1," * 200_000 + b"1]}", etag='"v1"')
    async with shop(server) as (rest, _):
        for _ in range(2):
            assert (await rest.ask(CACHED)).body == server.body
    assert "if-none-match" not in server.asked[1]


async def test_requests_without_a_condition_keep_nothing():
    server = Cached(etag='"v1"')
    async with shop(server) as (rest, _):
        for _ in range(2):
            await rest.ask(LIST)
    assert "if-none-match" not in server.asked[1]


async def test_a_request_is_due_again_after_its_interval_whatever_became_of_it():
    async with shop(lambda _: httpx.Response(503)) as (rest, clock):
        assert rest.is_due(LIST)
        with pytest.raises(SourceError):
            await rest.ask(LIST)
        assert not rest.is_due(LIST)
        await clock.sleep_until(clock.now() + 30.0)
        assert rest.is_due(LIST)
