"""One GET to a Langfuse server: with the keys, within the budget, and what went wrong in words without a secret."""

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.text.sanitize import sanitize
from collectors.langfuse.polling import ClockOffset, RateLimiter, retry_after
from collectors.langfuse.settings import Bucket, LangfuseSettings, bare_address
from collectors.runtime.base import SourceError
from collectors.runtime.http import MAX_BYTES, Answer, get

if TYPE_CHECKING:
    import httpx

OBSERVATIONS = "/api/public/v2/observations"
OBSERVATIONS_V1 = "/api/public/observations"
TRACES_V1 = "/api/public/traces"
METRICS = "/api/public/v2/metrics"
HEALTH = "/api/public/health"

BUSY = frozenset({408, 422, 504, 524})
"""422 is ClickHouse out of time or memory; 504 and 524 come from proxies. The same query would fail again."""

REFUSED_S = 60.0
"""How long a server that refused our keys, or is none, is left alone."""

_BUCKETS: Mapping[str, Bucket] = {
    METRICS: "metrics",
    OBSERVATIONS_V1: "legacy",
    TRACES_V1: "legacy",
    HEALTH: "free",
}


class _Message(msgspec.Struct):
    message: str = ""


class LangfuseApi:
    """The transport that all requests to one Langfuse server go through."""

    def __init__(self, client: "httpx.AsyncClient", settings: LangfuseSettings, clock: Clock) -> None:
        self.base = bare_address(settings.base_url)
        self._key_names = settings.key_names
        self.budgets = RateLimiter(settings.pace.limits)
        self.offset = ClockOffset()
        self.busy_s = 0.0
        self._client = client
        self._clock = clock
        token = b64encode(f"{settings.public_key}:{settings.secret_key}".encode()).decode("ascii")
        self._headers = {"authorization": f"Basic {token}", "accept": "application/json"}
        login = settings.base_url.partition("://")[2].partition("/")[0].rpartition("@")[0]
        secrets = (settings.secret_key, settings.public_key, token, login, login.rpartition(":")[2])
        self._secrets = sorted((s for s in secrets if s), key=len, reverse=True)

    async def fetch(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        optional: bool = False,
        deadline_s: float = 10.0,
        largest: int = MAX_BYTES,
    ) -> Answer:
        """GET a path of the server, whatever the status, 429 excepted.

        Raises:
            SourceError: no answer, rate limited (by the server or our own budget; with ``retry_after_s``).

        """
        bucket = _BUCKETS.get(path.partition("?")[0], "general")
        sent = self._clock.now()
        self.budgets.spend(bucket, sent, optional=optional)
        began = self._clock.monotonic()
        try:
            answer = await get(
                self._client,
                self.base + path,
                params=params,
                headers=self._headers,
                deadline_s=deadline_s,
                largest=largest,
            )
        except SourceError as error:
            raise SourceError(error.status, self.scrub(error.reason), error.retry_after_s) from None
        finally:
            self.busy_s += self._clock.monotonic() - began
        answered = self._clock.now()
        if "age" not in answer.headers:
            self.offset.observe(sent, answered, answer.headers.get("date"))
        if answer.status == 429:
            wait = retry_after(answer.headers.get("retry-after"), answer.body, answered)
            self.budgets.pause(bucket, answered, wait)
            raise SourceError("slow", self.budgets.paused(answered) or "rate limited", wait)
        return answer

    def refusal(self, answer: Answer) -> SourceError:
        """Return what an answer other than 200 means."""
        status = answer.status
        if status == 401:
            said = f"the server rejected the keys: check {' and '.join(self._key_names)}, and the base URL (401)"
            return SourceError("unauthorized", said, REFUSED_S)
        if status == 403:
            return SourceError("unauthorized", "these keys cannot read this project (403)", REFUSED_S)
        if status in BUSY:
            return SourceError("slow", f"server busy: query timed out ({status}); retrying with a shorter window")
        if status >= 500:
            return SourceError("down", f"server error ({status})")
        if status == 404:
            return SourceError("misconfigured", "no Langfuse API at this address (404)", REFUSED_S)
        if 300 <= status < 400:
            return SourceError("misconfigured", f"the base URL is redirected elsewhere ({status})", REFUSED_S)
        return SourceError(
            "misconfigured", f"the server rejected the query ({status}){self._message(answer)}", REFUSED_S
        )

    def scrub(self, text: str) -> str:
        """Return a text that is safe to show: on one line, without control characters, keys or log-ins."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return sanitize(text)

    def _message(self, answer: Answer) -> str:
        try:
            message = msgspec.json.decode(answer.body, type=_Message).message
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
        return f": {self.scrub(message)}" if message else ""


def is_web_page(answer: Answer) -> bool:
    """Whether an answer is HTML: what a server that is not Langfuse, or a proxy, sends."""
    return answer.content_type == "text/html" or answer.body.lstrip()[:1] == b"<"
