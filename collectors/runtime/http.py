"""One bounded GET, a search that only reads, a log-in or a session's token: what every HTTP source shares.

Answers are read up to a limit and a deadline, so that a server that sends 100 MB, or one byte a minute, costs us
neither memory nor time. They are unpacked in small steps between which the loop is free: 64 kB of the network may hold
64 MB. What went wrong becomes a `SourceError` in words.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx

from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError
from collectors.runtime.clock_offset import http_date

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of one answer, after decompression. The largest honest one known is a LiteLLM page with many keys."""


ENCODINGS = "gzip, deflate"
"""The compressions that are asked for and can be unpacked in steps."""

STEP = 256 * 1024
"""Bytes unpacked in one step of the loop, about a millisecond."""

MAX_RETRY_AFTER_S = 86_400.0
"""The longest pause that a server can ask for."""

REFUSED = "connection refused: nothing listens there"
"""The reason of a `SourceError` where the machine is there and no process has the port open."""

UNSENDABLE = "the request cannot be sent: its token or key has a line break or another character no header can hold"
"""The reason where a header is not valid HTTP; a secret read from a variable may end with a line break."""

TOOK_S = "took_s"
"""Where a transport without a network says how long an answer took, by the time that its servers live in."""

SEARCHES = ("/mlflow/experiments/search", "/mlflow/runs/search")
"""Ends of the only addresses that are ever asked by POST: they read and change nothing."""

LOGINS = ("/login", "/login/")
"""Ends of the only addresses that a log-in form is ever sent to, by POST: what it changes is a session of ours."""

TOKENS = ("/latest/api/token",)
"""Ends of the only addresses that are ever asked by PUT, without a body: AWS's instance metadata gives the token that
reading needs by no other method, and nothing changes on the node (docs/decisions/0009-metadata-token.md)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. ``took_s`` runs from the request to the last byte."""

    status: int
    headers: httpx.Headers
    body: bytes
    took_s: float

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        kind: str = self.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()

    @property
    def date(self) -> str:
        """When the server wrote the answer, by its own clock; empty where nothing says so, or a cache kept it."""
        written: str = "" if "age" in self.headers else self.headers.get("date", "")
        return written


async def get(
    client: httpx.AsyncClient,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    deadline_s: float = 5.0,
    largest: int = MAX_BYTES,
    follow: bool = True,
) -> Answer:
    """GET an address whole, whatever its status; without ``follow`` a redirect is an answer as any other.

    Raises:
        SourceError: no connection, no TLS, no answer before the deadline, or an answer larger than ``largest``.

    """
    redirects = httpx.USE_CLIENT_DEFAULT if follow else False
    told = {"accept-encoding": ENCODINGS, **(headers or {})}
    request = client.stream("GET", url, params=params, headers=told, follow_redirects=redirects)
    return await _whole(request, deadline_s, largest)


async def search(
    client: httpx.AsyncClient,
    url: str,
    query: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    deadline_s: float = 5.0,
    largest: int = MAX_BYTES,
) -> Answer:
    """POST a JSON query that only reads; see `get`. A redirect is not followed: it may turn it into a GET.

    Raises:
        SourceError: as `get`.
        ValueError: the address is none of `SEARCHES`: this program never writes.

    """
    if not urlsplit(url).path.endswith(SEARCHES):
        raise ValueError(f"not a search that only reads: {url}")
    told = {"content-type": "application/json", "accept-encoding": ENCODINGS, **(headers or {})}
    request = client.stream("POST", url, content=query, headers=told, follow_redirects=False)
    return await _whole(request, deadline_s, largest)


async def log_in(
    client: httpx.AsyncClient, url: str, form: Mapping[str, str], *, deadline_s: float = 5.0, largest: int = MAX_BYTES
) -> Answer:
    """POST a log-in form; see `get`. A redirect is not followed, and the client keeps no cookie of it.

    Raises:
        SourceError: as `get`.
        ValueError: the address is none of `LOGINS`: this program never writes.

    """
    if not urlsplit(url).path.endswith(LOGINS):
        raise ValueError(f"not the address of a log-in form: {urlsplit(url).path}")
    # all sources share a client, whose cookies would go to every server of the same host
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    told = {"accept-encoding": ENCODINGS}
    request = client.stream("POST", url, data=dict(form), headers=told, follow_redirects=False)
    return await _whole(request, deadline_s, largest)


async def token(
    client: httpx.AsyncClient, url: str, *, headers: Mapping[str, str], deadline_s: float = 5.0, largest: int = 4096
) -> Answer:
    """Ask for a token for reading, by a PUT without a body; see `get`. A redirect is not followed.

    Raises:
        SourceError: as `get`.
        ValueError: the address is none of `TOKENS`: this program never writes.

    """
    if not urlsplit(url).path.endswith(TOKENS):
        raise ValueError(f"not a token endpoint: {url}")
    told = {"accept-encoding": ENCODINGS, **headers}
    return await _whole(client.stream("PUT", url, headers=told, follow_redirects=False), deadline_s, largest)


def retry_after_s(header: str | None, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks to wait, a day at most; None where it says nothing usable.

    It is a number of seconds or an HTTP date (RFC 9110, 10.2.3).
    """
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    moment = http_date(text)
    return None if moment is None else min(max(moment - now, 0.0), MAX_RETRY_AFTER_S)


async def _whole(streaming: AbstractAsyncContextManager[httpx.Response], deadline_s: float, largest: int) -> Answer:
    began = time.perf_counter()
    body = bytearray()
    try:
        async with asyncio.timeout(deadline_s), streaming as response:
            async for piece in _pieces(response):
                body += piece
                if len(body) > largest:
                    raise SourceError("misconfigured", f"the response is larger than {_size(largest)}; not read")
            took_s = response.extensions.get(TOOK_S, time.perf_counter() - began)
            return Answer(response.status_code, response.headers, bytes(body), took_s)
    except (TimeoutError, httpx.TimeoutException):
        raise SourceError("slow", f"no complete response within {deadline_s:g} s") from None
    except httpx.LocalProtocolError:
        # its text quotes the header, and so the secret
        raise SourceError("misconfigured", UNSENDABLE) from None
    except httpx.HTTPError as error:
        raise SourceError("down", _in_words(error)) from None
    except UnicodeEncodeError:
        raise SourceError("misconfigured", UNSENDABLE) from None
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SourceError("misconfigured", f"invalid address: {error}") from None


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Give the body unpacked, never more than `STEP` bytes without a chance for the loop's other work.

    Raises:
        SourceError: it is packed in a way that was not asked for, or not as it says.

    """
    if response.is_stream_consumed:  # a transport without a network has it in memory, unpacked
        yield response.content
        return
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise SourceError(
            "misconfigured", f"the response uses {sanitize(encoding, 40)} compression, which was not requested"
        )
    unpacker = _Unpacker()
    async for chunk in response.aiter_raw():
        for piece in unpacker.steps(chunk):
            yield piece
            await asyncio.sleep(0)
    if not unpacker.ended:
        raise SourceError("down", "the compressed response is truncated")


class _Unpacker:
    """Unpacks gzip, zlib and raw deflate in steps of at most `STEP` bytes."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._begun = False
        self.ended = True

    def steps(self, chunk: bytes) -> Iterator[bytes]:
        """Give what a chunk unpacks to.

        Raises:
            SourceError: it is not packed as it says.

        """
        while chunk:
            try:
                piece = self._zlib.decompress(chunk, STEP)
            except zlib.error as error:
                if self._begun:
                    raise SourceError("down", f"the response cannot be decompressed: {error}") from None
                # some servers call a stream without zlib's header deflate
                self._zlib, self._begun = zlib.decompressobj(-zlib.MAX_WBITS), True
                continue
            self._begun = True
            chunk = self._zlib.unconsumed_tail
            self.ended = self._zlib.eof
            if self._zlib.eof and self._zlib.unused_data:
                # a gzip file may have several members
                chunk, self._zlib = self._zlib.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 32)
            if piece:
                yield piece


def _size(most: int) -> str:
    return f"{most // 2**20} MB" if most >= 2**20 else f"{most // 2**10} kB"


def _in_words(error: httpx.HTTPError) -> str:
    text = str(error)
    lower = text.lower()
    if "certificate" in lower or "ssl" in lower:
        return f"TLS: {text}"
    if "refused" in lower or "all connection attempts failed" in lower:
        return REFUSED
    if "name or service not known" in lower or "temporary failure in name resolution" in lower:
        return "the host name cannot be resolved"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"broken HTTP: {text}"
    if isinstance(error, (httpx.ReadError, httpx.WriteError)) and not text:
        # what a server that expects TLS does with a plain request
        return "the connection was closed without an answer: is it https?"
    return text or type(error).__name__
