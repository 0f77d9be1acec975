"""One bounded GET, a search that only reads, or a session's token: what every HTTP source shares.

Answers are read up to a limit and a deadline, so that a server that sends 100 MB, or one byte a minute, costs us
neither memory nor time. What went wrong becomes a `SourceError` in words.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from collectors.runtime.base import SourceError

MAX_BYTES = 16 * 1024 * 1024
"""Bytes of one answer, after decompression. The largest honest one known is a LiteLLM page with many keys."""


TOOK_S = "took_s"
"""Where a transport without a network says how long an answer took, by the time that its servers live in."""

SEARCHES = ("/mlflow/experiments/search", "/mlflow/runs/search")
"""Ends of the only addresses that are ever asked by POST: they read and change nothing."""

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
    request = client.stream("GET", url, params=params, headers=headers, follow_redirects=redirects)
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
    """POST a JSON query that only reads; see `get`.

    Raises:
        SourceError: as `get`.
        ValueError: the address is none of `SEARCHES`: this program never writes.

    """
    if not urlsplit(url).path.endswith(SEARCHES):
        raise ValueError(f"not a search that only reads: {url}")
    told = {"content-type": "application/json", **(headers or {})}
    return await _whole(client.stream("POST", url, content=query, headers=told), deadline_s, largest)


async def token(
    client: httpx.AsyncClient, url: str, *, headers: Mapping[str, str], deadline_s: float = 5.0, largest: int = 4096
) -> Answer:
    """Ask for a token for reading, by a PUT without a body; see `get`. A redirect is not followed.

    Raises:
        SourceError: as `get`.
        ValueError: the address is none of `TOKENS`: this program never writes.

    """
    if not urlsplit(url).path.endswith(TOKENS):
        raise ValueError(f"no address that gives out tokens: {url}")
    return await _whole(client.stream("PUT", url, headers=headers, follow_redirects=False), deadline_s, largest)


async def _whole(streaming: AbstractAsyncContextManager[httpx.Response], deadline_s: float, largest: int) -> Answer:
    began = time.perf_counter()
    body = bytearray()
    try:
        async with asyncio.timeout(deadline_s), streaming as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > largest:
                    raise SourceError("misconfigured", f"the answer is larger than {_size(largest)}; not read")
            took_s = response.extensions.get(TOOK_S, time.perf_counter() - began)
            return Answer(response.status_code, response.headers, bytes(body), took_s)
    except (TimeoutError, httpx.TimeoutException):
        raise SourceError("slow", f"no complete answer within {deadline_s:g} s") from None
    except httpx.HTTPError as error:
        raise SourceError("down", _in_words(error)) from None
    except (httpx.InvalidURL, UnicodeError) as error:
        raise SourceError("misconfigured", f"not an address that can be asked: {error}") from None


def _size(most: int) -> str:
    return f"{most // 2**20} MB" if most >= 2**20 else f"{most // 2**10} kB"


def _in_words(error: httpx.HTTPError) -> str:
    text = str(error)
    lower = text.lower()
    if "certificate" in lower or "ssl" in lower:
        return f"TLS: {text}"
    if "refused" in lower or "all connection attempts failed" in lower:
        return "connection refused: nothing listens there"
    if "name or service not known" in lower or "temporary failure in name resolution" in lower:
        return "the host name cannot be resolved"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"broken HTTP: {text}"
    return text or type(error).__name__
