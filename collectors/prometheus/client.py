"""Asking a Prometheus server: one daemon thread, always a deadline, never a retry, and errors in words.

``prometheus-api-client`` blocks, retries for six seconds by default, waits for ever without a timeout, takes answers
of any size and drops what the server warns of. So it runs on a thread of its own, with retries and timeout set, in a
session that listens for warnings and stops reading where an answer has no end.
It is imported on that thread, at the first query: it costs a quarter of a second.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError
from collectors.runtime.proxies import Proxies
from collectors.runtime.threads import DaemonCaller, StillHangsError

if TYPE_CHECKING:
    import requests

MAX_BYTES = 64 * 1024 * 1024
"""Of one answer; half an hour of 64 engines is about 20 MB."""

TOO_LARGE = f"the answer is larger than {MAX_BYTES // 2**20} MB: is this a Prometheus server?"

TAIL = 4096
"""Bytes at either end of an answer in which warnings are looked for; they stand beside the data, not in it."""

_WARNINGS = re.compile(rb'"warnings":(\[(?:"(?:[^"\\]|\\.)*",?)*\])')
_PARTIAL = re.compile(rb'"isPartial":\s*true')
_ADDRESS = re.compile(r"with url: \S+")
_STATUS = re.compile(r"HTTP Status Code (\d+)")
_SAID = re.compile(r'"error"\s*:\s*"((?:[^"\\]|\\.)*)')


class QuerySeries(msgspec.Struct, frozen=True):
    """One series of an answer: its labels, and ``[time, "value"]`` pairs; none for a native histogram."""

    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []


class Connection(Protocol):
    """What is used of ``PrometheusConnect``."""

    def custom_query(self, query: str, params: Mapping[str, str]) -> Any:  # noqa: ANN401 - the library has no types
        """Ask for now, or for the time in ``params``."""

    def custom_query_range(
        self, query: str, start_time: datetime, end_time: datetime, step: str, params: Mapping[str, str]
    ) -> Any:  # noqa: ANN401 - the library has no types
        """Ask for a range of times."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the server is and how one is let in; ``ca`` is the file of an own certificate authority."""

    url: str
    headers: Mapping[str, str]
    ca: str = ""
    timeout_s: float = 10.0


Connect = Callable[[Access, Callable[[bytes], None]], Connection]
"""Makes the connection; the second argument is told the body of every answer."""


class Prometheus:
    """One Prometheus server. ``warned`` is what its newest answers warned of."""

    def __init__(self, access: Access, *, connect: Connect | None = None) -> None:
        self.access = access
        self._connect = connect or connected
        self._connection: Connection | None = None
        self._caller = DaemonCaller("prometheus")
        self._heard = b""
        self.warned: tuple[str, ...] = ()

    async def samples(self, selector: str, back_s: float, at: float | None = None) -> list[QuerySeries]:
        """Return the raw samples of the last ``back_s`` seconds before now or before ``at``, as they were scraped.

        Raises:
            SourceError: what went wrong, in words.

        """
        params = self._params() if at is None else self._params(time=f"{at:.3f}")
        return await self._ask(lambda made: made.custom_query(f"{selector}[{max(ceil(back_s), 1)}s]", params))

    async def instant(self, query: str) -> list[dict[str, str]]:
        """Return the labels of the series that a query gives now.

        Raises:
            SourceError: what went wrong, in words.

        """
        return [row.metric for row in await self._ask(lambda made: made.custom_query(query, self._params()))]

    async def stepped(self, query: str, start: float, end: float, step_s: float) -> list[QuerySeries]:
        """Return the series as they stood at every step, which an answer over hours is small enough for.

        Raises:
            SourceError: what went wrong, in words.

        """
        first, last = (datetime.fromtimestamp(moment, UTC) for moment in (start, end))
        # the client rounds both to whole seconds, which would move every step
        params = self._params(start=f"{start:.3f}", end=f"{end:.3f}")
        return await self._ask(lambda made: made.custom_query_range(query, first, last, f"{step_s:g}", params))

    def close(self) -> None:
        """Let the thread end; does not wait."""
        self._caller.close()

    def _params(self, **more: str) -> dict[str, str]:
        return {"timeout": f"{self.access.timeout_s:g}s", **more}

    async def _ask(self, asking: Callable[[Connection], Any]) -> list[QuerySeries]:
        def ask() -> tuple[list[QuerySeries], tuple[str, ...]]:
            self._heard = b""
            if self._connection is None:
                self._connection = self._connect(self.access, self._listen)
            return msgspec.convert(asking(self._connection), list[QuerySeries]), warnings(self._heard)

        try:
            # set on the loop, so that whoever waited reads what belongs to its own answer
            rows, self.warned = await self._caller.call(ask, self.access.timeout_s + 2.0)
        except StillHangsError as error:
            raise SourceError("slow", f"a query of {error.since_s:.0f} s ago has not come back") from None
        except TimeoutError:
            raise SourceError("slow", f"no answer within {self.access.timeout_s:g} s") from None
        except SourceError:
            raise
        except Exception as error:  # the library lets through whatever requests, urllib3 and JSON raise
            raise in_words(error, self.access) from None
        return rows

    def _listen(self, body: bytes) -> None:
        self._heard = body


def connected(access: Access, listen: Callable[[bytes], None]) -> Connection:
    """Return a real connection. Imports the client."""
    import requests
    from prometheus_api_client import PrometheusConnect
    from urllib3.util.retry import Retry

    class Signed(requests.auth.AuthBase):
        """Sets our header, so that no .netrc sets another."""

        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(access.headers)
            return request

    def whole(answer: requests.Response, *_: object, **__: object) -> requests.Response:
        read = bounded(answer, access.timeout_s)
        listen(read.content)
        return read

    session = requests.Session()
    # the library would hand this machine's own servers to the environment's proxy
    session.trust_env = False
    if proxy := Proxies().proxy_for(access.url):
        session.proxies = {"http": proxy, "https": proxy}
    session.verify = access.ca or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.headers["user-agent"] = "aistack-top"
    session.hooks["response"].append(whole)
    made: Connection = PrometheusConnect(
        url=access.url, session=session, auth=Signed(), retry=Retry(total=0), timeout=access.timeout_s
    )
    return made


def bounded(answer: "requests.Response", within_s: float, most: int = MAX_BYTES) -> "requests.Response":
    """Return an answer that has been read whole. The timeout of ``requests`` is one for each piece only.

    Raises:
        ValueError: it is larger than ``most`` bytes.
        TimeoutError: it came in too slowly.

    """
    import requests

    pieces, size, until = [], 0, time.monotonic() + within_s
    for piece in answer.iter_content(64 * 1024):
        pieces.append(piece)
        size += len(piece)
        if size > most or time.monotonic() > until:
            answer.close()
            if size > most:
                raise ValueError(TOO_LARGE)
            raise TimeoutError
    read = requests.Response()
    read.status_code, read.headers, read.url, read.request = (
        answer.status_code,
        answer.headers,
        answer.url,
        answer.request,
    )
    read.raw, read.encoding = BytesIO(b"".join(pieces)), answer.encoding
    return read


def warnings(body: bytes) -> tuple[str, ...]:
    """Return what an answer warns of: a store that was not reached, a result that is not whole."""
    ends = body if len(body) <= 2 * TAIL else body[:TAIL] + body[-TAIL:]
    told: list[str] = []
    for match in _WARNINGS.finditer(ends):
        try:
            told += msgspec.json.decode(match[1], type=list[str])
        except msgspec.MsgspecError:
            continue
    if _PARTIAL.search(ends):
        told.append("the result is not whole")
    return tuple(dict.fromkeys(sanitize(text, 160) for text in told))


def in_words(error: Exception, access: Access) -> SourceError:
    """Return what an exception of the client means to a person."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = _ADDRESS.sub("", str(error))
    lower = text.lower()
    if "HTTP Status Code" in text:
        return _refusal(text)
    if text == TOO_LARGE:
        return SourceError("misconfigured", text)
    if "SSLError" in kinds or "tls ca certificate" in lower:
        return _tls(lower, access)
    if "Timeout" in kinds or "timed out" in lower:
        return SourceError("slow", f"no answer within {access.timeout_s:g} s")
    if kinds & {"JSONDecodeError", "KeyError", "TypeError", "ValidationError"}:
        return SourceError("misconfigured", "the answer is no Prometheus answer: is this its address?")
    if "failed to resolve" in lower or "name or service not known" in lower:
        return SourceError("down", "the host name cannot be resolved")
    if "refused" in lower:
        return SourceError("down", "connection refused: nothing listens there")
    if "ConnectionError" in kinds:
        return SourceError("down", "the connection broke before an answer came")
    return SourceError("down", sanitize(f"{type(error).__name__}: {text}", 200))


def _tls(lower: str, access: Access) -> SourceError:
    if "could not find a suitable tls ca" in lower:
        said = f"there is no file {sanitize(access.ca, 120)}, which ca = names"
    elif "hostname mismatch" in lower or "doesn't match" in lower or "ip address mismatch" in lower:
        said = "TLS: the server's certificate is for another host name"
    elif "has expired" in lower:
        said = "TLS: the server's certificate has expired"
    elif "verify failed" in lower and access.ca:
        said = f"TLS: {sanitize(access.ca, 120)} does not vouch for the server's certificate"
    elif "verify failed" in lower:
        said = "TLS: an unknown authority made the server's certificate; set ca = to that authority's file"
    elif "wrong_version_number" in lower or "wrong version number" in lower or "record layer" in lower:
        said = "TLS: the server does not speak it on this port; write http://"
    elif "no_certificate" in lower or "no certificate or crl found" in lower:
        said = f"{sanitize(access.ca, 120)} holds no certificate (PEM), and ca = names it"
    else:
        return SourceError("down", "TLS: the connection could not be secured")
    return SourceError("misconfigured", said)


def _refusal(text: str) -> SourceError:
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    match = _SAID.search(text.replace("\\\\", "\\"))
    said = sanitize(match[1].replace('\\"', '"').replace("\\'", "'"), 160) if match else ""
    lower = said.lower()
    if status in (401, 403):
        return SourceError("unauthorized", f"answers {status}: the token or password is not accepted, or has expired")
    if status == 404:
        return SourceError("misconfigured", "answers 404: no Prometheus API at this address")
    if status in (422, 503) and ("timed out" in lower or "timeout" in lower):
        return SourceError("slow", "the server gave up on the query: it took too long")
    if status == 422 and "too many samples" in lower:
        return SourceError("slow", "the query is too large for the server's limit of samples (--query.max-samples)")
    if status == 429:
        return SourceError("slow", "the server is asked too often (429)")
    if status >= 500:
        return SourceError("down", f"answers {status}" + (f": {said}" if said else ""))
    return SourceError("misconfigured", f"answers {status}" + (f": {said}" if said else ""))
