"""What a REST server answers that is no answer, as one sentence with its fix."""

import json
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from aistack_top.text.sanitize import sanitize
from collectors.rest.requests import RestRequest
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer, retry_after_s

T = TypeVar("T")

BARE_WORDS = (b"NaN", b"Infinity")
"""Numbers that are no JSON without quotes, and that Python's encoder writes all the same."""

USUAL_PAUSE_S = 60.0
"""How long a server that answers 429 without saying for how long is left alone."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """The words of one kind of server: its ``title``, and the configuration ``keys`` of its login."""

    title: str
    keys: str = "token"

    def check(self, answer: Answer, request: RestRequest, now: float, *, has_login: bool) -> None:
        """Accept an answer of 200 that may be JSON.

        Raises:
            SourceError: anything else; with ``retry_after_s`` where the server is to be left alone for a while.

        """
        status = answer.status
        wait_s = retry_after_s(answer.headers.get("retry-after"), now)
        if status == 429:
            wait_s = USUAL_PAUSE_S if wait_s is None else wait_s
            raise SourceError("slow", f"HTTP 429, too many requests: next request in {wait_s:.0f} s", wait_s)
        if status == 401:
            raise SourceError("unauthorized", f"HTTP 401: {'check' if has_login else 'set'} {self.keys}")
        if status == 403:
            fix = "this login may not read it" if has_login else f"set {self.keys}"
            raise SourceError("unauthorized", f"HTTP 403: {fix}")
        if status >= 500:
            raise SourceError("down", f"HTTP {status}", wait_s)
        if status == 404 and request.since:
            raise SourceError("misconfigured", f"HTTP 404: needs {self.title} {request.since} or newer")
        if status != 200:
            raise SourceError("misconfigured", f"HTTP {status}: {self._is_this_it}")
        if is_web_page(answer):
            raise SourceError("misconfigured", f"returned a web page: {self._is_this_it}")

    def decode(self, body: bytes, kind: type[T]) -> T:
        """Return a JSON answer as what it should be.

        ``NaN`` and ``Infinity`` without quotes are no JSON, and still what Python's own encoder writes by default.

        Raises:
            SourceError: it is something else.

        """
        try:
            return _decoded(body, kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            said = f"unexpected response from {self.title}: {sanitize(str(error), 120)}"
            raise SourceError("misconfigured", said) from None

    @property
    def _is_this_it(self) -> str:
        return f"is this the {self.title} server's address?"


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if not any(word in body for word in BARE_WORDS):
            raise
    return msgspec.convert(json.loads(body), type=kind)


def is_web_page(answer: Answer) -> bool:
    """Whether an answer is HTML: what another server, a log-in page or a proxy sends."""
    return answer.content_type in ("text/html", "application/xhtml+xml") or answer.body[:64].lstrip().startswith(b"<")
