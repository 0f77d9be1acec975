import asyncio
import gzip
import zlib

import httpx
import pytest

from collectors.runtime.base import SourceError
from collectors.runtime.http import STEP, get, log_in, retry_after_s, token


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

    with pytest.raises(SourceError, match=r"no complete response within 0\.05 s") as caught:
        await ask(lambda request: httpx.Response(200, content=drip()), deadline_s=0.05)
    assert caught.value.status == "slow"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (httpx.ConnectError("All connection attempts failed"), "down", "nothing listens there"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "down", "host name cannot be resolved"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "down", "TLS: "),
        (httpx.ReadTimeout("read"), "slow", "no complete response"),
        (httpx.RemoteProtocolError("peer closed connection"), "down", "broken HTTP"),
        (httpx.ReadError(""), "down", "closed without an answer: is it https"),
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
        with pytest.raises(ValueError, match="not a token endpoint"):
            await token(client, url, headers={})


async def served(body: bytes, encoding: str, **more):
    """Ask a server on a real socket for a body, with how often the loop was free meanwhile."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    turns, stop = 0, asyncio.Event()

    async def watch():
        nonlocal turns
        while not stop.is_set():
            await asyncio.sleep(0)
            turns += 1

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient(trust_env=False) as client:
        watcher = asyncio.create_task(watch())
        try:
            return await get(client, f"http://127.0.0.1:{port}/", **more), turns
        except SourceError as error:
            return error, turns
        finally:
            stop.set()
            await watcher


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


BODY = b"".join(b"line %d\n" % number for number in range(100_000))


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (BODY, "identity"),
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), "X-GZip"),
        (gzip.compress(BODY[:70_000]) + gzip.compress(BODY[70_000:]), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (deflated(BODY), "deflate"),
    ],
    ids=["as it is", "gzip", "in other letters", "gzip of two members", "zlib", "raw deflate"],
)
async def test_a_packed_answer_is_unpacked_whole(packed, encoding):
    answer, _ = await served(packed, encoding)
    assert answer.body == BODY


@pytest.mark.parametrize(
    ("packed", "encoding", "status", "said"),
    [
        (gzip.compress(BODY)[:-9000], "gzip", "down", "the compressed response is truncated"),
        (b"not packed at all", "gzip", "down", "cannot be decompressed"),
        (b"x", "br", "misconfigured", "br compression, which was not requested"),
    ],
    ids=["cut", "not packed", "another packing"],
)
async def test_a_packed_answer_that_is_broken_is_said_in_words(packed, encoding, status, said):
    error, _ = await served(packed, encoding)
    assert isinstance(error, SourceError)
    assert error.status == status
    assert said in error.reason


async def test_a_small_answer_that_unpacks_to_much_is_refused_and_leaves_the_loop_free():
    bomb = gzip.compress(bytes(200 * 2**20), compresslevel=1)
    error, turns = await served(bomb, "gzip", deadline_s=60.0)
    assert isinstance(error, SourceError)
    assert error.reason == "the response is larger than 16 MB; not read"
    # the first 64 kB of it hold 15 MB and more: about a millisecond of them at a time, and others in between
    assert turns >= 16 * 2**20 / STEP


async def test_only_what_can_be_unpacked_in_steps_is_asked_for():
    asked = []

    def handler(request):
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, content=b"")

    await ask(handler)
    await ask(handler, headers={"accept": "text/plain"})
    assert asked == ["gzip, deflate"] * 2


@pytest.mark.parametrize("value", ["Bearer tok-4711\n", "Bearer tök-4711"])
async def test_a_token_that_no_header_can_hold_is_not_quoted(value):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, httpx.AsyncClient() as client:
        with pytest.raises(SourceError, match="cannot be sent: its token or key has a line break") as caught:
            await get(client, f"http://127.0.0.1:{port}/", headers={"authorization": value})
    assert "4711" not in caught.value.reason
    assert caught.value.status == "misconfigured"


async def test_a_log_in_form_is_sent_to_nothing_else_and_leaves_no_cookie_in_a_shared_client():
    def handle(request):
        return httpx.Response(302, headers={"set-cookie": "session=1; Path=/", "location": "/"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), follow_redirects=True) as client:
        answer = await log_in(client, "http://server/login", {"user": "u"})
        with pytest.raises(ValueError, match="not the address of a log-in form: /api/users"):
            await log_in(client, "http://u:p@server/api/users", {"user": "u"})
        assert not client.cookies
    assert (answer.status, answer.headers["set-cookie"]) == (302, "session=1; Path=/")


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Tue, 01 Dec 2026 00:01:40 GMT", 100.0),
        ("Tue, 01 Dec 2020 00:00:00 GMT", 0.0),
        ("9" * 400, 86_400.0),
        ("Tue, 01 Dec 2099 00:00:00 GMT", 86_400.0),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("", None),
        (None, None),
    ],
)
def test_how_long_a_server_asks_to_wait(header, wait_s):
    midnight = 1_796_083_200.0
    assert retry_after_s(header, midnight) == wait_s
