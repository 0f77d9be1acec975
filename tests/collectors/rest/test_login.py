"""Who asks: every kind of login, sessions that end, and secrets that are in no sentence."""

from base64 import b64encode
from urllib.parse import parse_qs

import httpx
import pytest

from collectors.config import ConfigError, Secret
from collectors.rest.login import FormLogin, bearer_or_basic, form, header
from collectors.runtime.base import SourceError
from tests.collectors.rest.server import LIST, SEARCH, shop

KEY = Secret(env="SHOP_KEY")


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "s3cret-4711")


class Sessions:
    """A server whose log-in form gives a session that lasts for some requests."""

    def __init__(self, lasts=1000, *, refusal=None, cookie="session=abc%2F=; Path=/; HttpOnly"):
        self.lasts, self.cookie, self.left, self.number = lasts, cookie, 0, 0
        self.refusal = refusal or httpx.Response(401)
        self.asked = []
        self.forms = []

    def __call__(self, request):
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.path == "/base/login":
            self.forms.append(parse_qs(request.content.decode()))
            self.left = self.lasts
            return httpx.Response(302, headers={"set-cookie": self.cookie, "location": "/base/"})
        if request.headers.get("cookie") != "session=abc%2F=" or self.left <= 0:
            return self.refusal
        self.left -= 1
        return httpx.Response(200, json={"rows": [1]})


def shop_form() -> FormLogin:
    return form("shop", "/login", "ops", KEY, fields=("user", "pass"))


@pytest.mark.parametrize(
    ("login", "name", "value"),
    [
        (lambda: bearer_or_basic("shop", KEY), "authorization", "Bearer s3cret-4711"),
        (
            lambda: bearer_or_basic("shop", None, "ops", KEY),
            "authorization",
            "Basic " + b64encode(b"ops:s3cret-4711").decode(),
        ),
        (lambda: header("shop", "Api-Key", KEY), "api-key", "s3cret-4711"),
    ],
    ids=["bearer", "basic", "header"],
)
@pytest.mark.parametrize("request_", [LIST, SEARCH], ids=["GET", "POST"])
async def test_a_login_is_sent_and_its_secret_is_in_no_sentence(login, name, value, request_):
    asked = []

    def handle(request):
        asked.append(request.headers[name])
        raise httpx.ConnectError(f"cannot send {value} ({value.rpartition(' ')[2]}, s3cret-4711)")

    async with shop(handle, login=login()) as (rest, _):
        with pytest.raises(SourceError) as caught:
            await rest.ask(request_)
    assert asked == [value]
    assert "cannot send ***" in caught.value.reason
    for secret in (value.rpartition(" ")[2], "s3cret-4711"):
        assert secret not in caught.value.reason


async def test_without_a_login_nothing_is_sent():
    asked = []

    def handle(request):
        asked.append(dict(request.headers))
        return httpx.Response(200, json={})

    async with shop(handle, login=bearer_or_basic("shop", None)) as (rest, _):
        await rest.ask(LIST)
    assert not {"authorization", "cookie"} & set(asked[0])


@pytest.mark.parametrize("kind", [lambda: bearer_or_basic("shop", KEY), lambda: header("shop", "api-key", KEY)])
def test_a_secret_that_no_header_can_hold_is_said_and_not_quoted(kind, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "s3cret-4711\n")
    with pytest.raises(ConfigError, match="characters that a header cannot hold") as caught:
        kind()
    assert "4711" not in str(caught.value)


async def test_a_form_is_sent_once_and_its_session_is_used():
    server = Sessions()
    async with shop(server, login=shop_form()) as (rest, _):
        for _ in range(3):
            await rest.ask(LIST)
        await rest.ask(SEARCH)
        assert not rest._client.cookies, "a shared client would send the session to other servers of the host"
    assert server.forms == [{"user": ["ops"], "pass": ["s3cret-4711"]}]
    assert server.asked == [
        "GET /base/api/items",
        "POST /base/login",
        *["GET /base/api/items"] * 3,
        "POST /base/api/2.0/mlflow/runs/search",
    ]


@pytest.mark.parametrize(
    "refusal",
    [httpx.Response(401), httpx.Response(302, headers={"location": "http://shop:8080/base/login?next=%2Fapi"})],
    ids=["401", "redirect to the form"],
)
async def test_a_session_that_has_ended_is_renewed_once(refusal):
    server = Sessions(lasts=2, refusal=refusal)
    async with shop(server, login=shop_form()) as (rest, _):
        for _ in range(5):
            await rest.ask(LIST)
    assert len(server.forms) == 3, "five requests, two in each session"


@pytest.mark.parametrize(
    "refusal", [httpx.Response(403), httpx.Response(200, html="<!doctype html><form>")], ids=["403", "web page"]
)
async def test_before_there_is_a_session_other_refusals_ask_for_one(refusal):
    server = Sessions(refusal=refusal)
    async with shop(server, login=shop_form()) as (rest, _):
        await rest.ask(LIST)
    assert len(server.forms) == 1


async def test_a_refused_log_in_is_said_and_is_not_tried_again_at_once():
    server = Sessions(cookie="other=1")
    async with shop(server, login=shop_form()) as (rest, clock):
        said = []
        for _ in range(40):
            with pytest.raises(SourceError) as caught:
                await rest.ask(LIST)
            said.append((caught.value.status, caught.value.reason))
            await clock.sleep_until(clock.now() + 10.0)
    assert said[0] == ("unauthorized", "the log-in is refused (401): check username and password; tried again in 60 s")
    assert {status for status, _ in said} == {"unauthorized"}
    assert len(server.forms) == 3, "at 0, 60 and 180 s of 400: servers lock accounts"


async def test_a_form_that_gives_no_cookie_or_deletes_it_is_a_refusal():
    server = Sessions(cookie="session=; Max-Age=0")
    async with shop(server, login=shop_form()) as (rest, _):
        with pytest.raises(SourceError, match=r"the log-in is refused \(302\)"):
            await rest.ask(LIST)


async def test_a_form_of_a_server_that_fails_is_not_a_refused_password():
    def handle(request):
        return httpx.Response(503 if request.url.path == "/base/login" else 401)

    async with shop(handle, login=shop_form()) as (rest, _):
        with pytest.raises(SourceError, match="the login form returned HTTP 503") as caught:
            await rest.ask(LIST)
    assert caught.value.status == "down"


async def test_a_session_and_a_login_in_the_address_are_in_no_sentence():
    server = Sessions()

    async with shop(server, login=shop_form(), url="http://ops:hunter2@shop:8080/base") as (rest, _):
        await rest.ask(LIST)
        server.left = 0

        def broken(request):
            raise httpx.ConnectError("hunter2 and abc%2F= and s3cret-4711")

        rest._client._transport = httpx.MockTransport(broken)
        with pytest.raises(SourceError) as caught:
            await rest.ask(LIST)
    assert caught.value.reason == "*** and *** and ***"


def test_a_form_is_sent_only_to_a_log_in_address():
    with pytest.raises(ValueError, match="not the path of a log-in form"):
        form("shop", "/api/items", "ops", KEY)
