import asyncio

import httpx
import pytest

from collectors.runtime.base import SourceError
from collectors.runtime.http import get, token


async def ask(handler, **more):
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return await get(client, "http://server/metrics", **more)


async def test_an_answer_comes_back_whole_whatever_its_status():
    answer = await ask(
        lambda request: httpx.Response(503, text="busy", headers={"content-type": "Text/HTML; charset=x"})
    )
    assert (answer.status, answer.body, answer.content_type) == (503, b"busy", "text/html")
    assert answer.took_s > 0


async def test_an_answer_without_end_is_cut_off_and_said():
    async def flood():
        while True:
            yield b"x" * 65536

    with pytest.raises(SourceError, match="larger than 1 MB") as caught:
        await ask(lambda request: httpx.Response(200, content=flood()), largest=2**20)
    assert caught.value.status == "misconfigured"


async def test_an_answer_that_drips_ends_at_the_deadline():
    async def drip():
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    with pytest.raises(SourceError, match=r"no complete answer within 0\.05 s") as caught:
        await ask(lambda request: httpx.Response(200, content=drip()), deadline_s=0.05)
    assert caught.value.status == "slow"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (httpx.ConnectError("All connection attempts failed"), "down", "nothing listens there"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "down", "host name cannot be resolved"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "down", "TLS: "),
        (httpx.ReadTimeout("read"), "slow", "no complete answer"),
        (httpx.RemoteProtocolError("peer closed connection"), "down", "broken HTTP"),
        (httpx.TooManyRedirects("loop"), "down", "loop"),
    ],
)
async def test_what_went_wrong_is_said_in_words(error, status, said):
    def handler(request):
        raise error

    with pytest.raises(SourceError, match=said) as caught:
        await ask(handler)
    assert caught.value.status == status


async def test_an_address_that_is_none_is_misconfigured():
    async with httpx.AsyncClient() as client:
        with pytest.raises(SourceError) as caught:
            await get(client, "http://exa mple:\x00/")
    assert caught.value.status == "misconfigured"


async def test_a_redirect_is_an_answer_where_it_is_not_to_be_followed():
    def handler(request):
        return httpx.Response(302, headers={"location": "http://portal/"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler), follow_redirects=True) as client:
        assert (await get(client, "http://server/metrics", follow=False)).status == 302


@pytest.mark.parametrize(
    "url",
    ["http://server/latest/api/token/", "http://server/metadata/scheduledevents", "http://s/?x=/latest/api/token"],
)
async def test_nothing_is_ever_put_but_a_question_for_a_token(url):
    def handler(request):
        raise AssertionError("asked")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        with pytest.raises(ValueError, match="no address that gives out tokens"):
            await token(client, url, headers={})
