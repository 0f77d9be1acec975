"""Asking a Prometheus server: one daemon thread, always a deadline, never a retry, and errors in words.

``prometheus-api-client`` blocks, retries for six seconds by default, waits for ever without a timeout, takes answers
of any size and drops what the server warns of. So it runs on a thread of its own, with retries and timeout set, in a
session that listens for warnings and stops reading where an answer has no end.
It is imported on that thread, at the first query: it costs a quarter of a second.
"""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from aistack_top.measure.clock import Clock, WallClock
from aistack_top.model.finite import usable
from collectors.prometheus.refusals import MAX_BYTES, TOO_LARGE, in_words, warnings
from collectors.prometheus.refusals import Access as Access
from collectors.runtime.base import SourceError
from collectors.runtime.clock_offset import ClockOffset
from collectors.runtime.proxies import Proxies
from collectors.runtime.threads import DaemonCaller, StillHangsError

if TYPE_CHECKING:
    import requests


class QuerySeries(msgspec.Struct, frozen=True):
    """One series of an answer: its labels, and ``[time, "value"]`` pairs; none for a native histogram.

    ``value`` is that of an answer for one moment, whose time is the server's.
    """

    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class Connection(Protocol):
    """What is used of ``PrometheusConnect``."""

    def custom_query(self, query: str, params: Mapping[str, str]) -> Any:  # noqa: ANN401 - the library has no types
        """Ask for now, or for the time in ``params``."""

    def custom_query_range(
        self, query: str, start_time: datetime, end_time: datetime, step: str, params: Mapping[str, str]
    ) -> Any:  # noqa: ANN401 - the library has no types
        """Ask for a range of times."""


Listen = Callable[[bytes, str], None]
"""Is called with the body and the ``Date`` header of every answer."""

Connect = Callable[[Access, Listen], Connection]
"""Makes the connection."""


class Prometheus:
    """One Prometheus server. ``warned`` is what its newest answers warned of.

    ``clock_offset`` is its clock against ours: by the time that it writes into an answer for one moment, and until
    there is one by the ``Date`` header, which a proxy may have written.
    """

    def __init__(self, access: Access, *, connect: Connect | None = None, clock: Clock | None = None) -> None:
        self.access = access
        self.clock_offset = ClockOffset()
        self._clock = clock or WallClock()
        self._tells_time = False
        self._date = ""
        self._connect = connect or connected
        self._connection: Connection | None = None
        self._caller = DaemonCaller("prometheus")
        self._heard = b""
        self.warned: tuple[str, ...] = ()

    def now(self) -> float:
        """Return the time by the server's clock, in seconds since the epoch; ours where nothing tells of it."""
        return self._clock.now() + (self.clock_offset.value or 0.0)

    async def samples(self, selector: str, back_s: float, at: float | None = None) -> list[QuerySeries]:
        """Return the raw samples of the last ``back_s`` seconds before now or before ``at``, as they were scraped.

        Raises:
            SourceError: what went wrong, in words.

        """
        params = self._params() if at is None else self._params(time=f"{at:.3f}")
        return await self._ask(lambda made: made.custom_query(f"{selector}[{max(ceil(back_s), 1)}s]", params))

    async def instant(self, query: str) -> list[QuerySeries]:
        """Return the series that a query gives now.

        Raises:
            SourceError: what went wrong, in words.

        """
        sent = self._clock.now()
        rows = await self._ask(lambda made: made.custom_query(query, self._params()))
        written = next((row.value[0] for row in rows if row.value is not None), None)
        if written is not None:
            self._tells_time = True
            self.clock_offset.exact(sent, self._clock.now(), written)
        return rows

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

        sent = self._clock.now()
        try:
            # set on the loop, so that whoever waited reads what part of its own answer
            rows, self.warned = await self._caller.call(ask, self.access.timeout_s + 2.0)
        except StillHangsError as error:
            raise SourceError("slow", f"a query sent {error.since_s:.0f} s ago has no response yet") from None
        except TimeoutError:
            raise SourceError("slow", f"no answer within {self.access.timeout_s:g} s") from None
        except SourceError:
            raise
        except Exception as error:  # the library lets through whatever requests, urllib3 and JSON raise
            raise in_words(error, self.access, self._heard) from None
        if not self._tells_time:
            self.clock_offset.observe(sent, self._clock.now(), self._date)
        return rows

    def _listen(self, body: bytes, date: str = "") -> None:
        self._heard, self._date = body, date


def connected(access: Access, listen: Listen) -> Connection:
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
        listen(read.content, "" if "age" in read.headers else read.headers.get("date", ""))
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


def number(text: str) -> float | None:
    """Return a sample's value; None for what is no number, or stands for infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if usable(value) else None
