"""Sends the requests of one REST source: only those of its table, with its login, no faster than the server allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.text.sanitize import sanitize
from collectors.rest.conditional import KeptAnswers
from collectors.rest.due import DueTimes
from collectors.rest.login import FormLogin, Login
from collectors.rest.paging import MAX_PAGES, Page, Paged, Paging
from collectors.rest.refusals import Refusals
from collectors.rest.requests import Allowlist, RequestNotAllowedError, RestRequest
from collectors.runtime.addresses import login_of, without_login
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import Answer, get, search

T = TypeVar("T")

Body = Mapping[str, object]
"""The JSON query of a search."""

Query = Mapping[str, str | int]
"""The parameters of a request."""

ELSEWHERE = "the next page is at another address, which is not read"

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RestClient:
    """The transport of one source: its table of requests, its login, and what its server has said so far.

    ``url`` is the server's address, where it is not ``source.address``; it may hold a login, which is sent. One run
    sends one request after the other.
    """

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        requests: Sequence[RestRequest],
        refusals: Refusals,
        *,
        login: Login | None = None,
        url: str = "",
        deadline_s: float | None = None,
    ) -> None:
        self.tracker = HealthTracker(source)
        self.due = DueTimes()
        self.refusals = refusals
        self._client = client
        self._clock = clock
        self._base = (url or source.address).rstrip("/")
        self._allowed = Allowlist(requests)
        self._login = login or Login()
        self._deadline_s = source.deadline_s if deadline_s is None else deadline_s
        self._kept = KeptAnswers()
        self._paused: tuple[float, SourceError] | None = None

    def is_due(self, request: RestRequest) -> bool:
        """Whether a request of the table is due."""
        return self.due.is_due(request.name, request.every_s, self._clock.now())

    async def ask(
        self,
        request: RestRequest,
        *,
        params: Query | None = None,
        body: Body | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and return its answer of 200; ``names`` fill the places of its path.

        Raises:
            SourceError: no answer, or a refusal in words, without a secret.
            RequestNotAllowedError: it is not in the table.

        """
        query = urlencode(params or {})
        return await self._ask(request, request.filled(names) + (f"?{query}" if query else ""), body)

    async def read(
        self,
        request: RestRequest,
        kind: type[T],
        *,
        params: Query | None = None,
        names: Mapping[str, str] | None = None,
    ) -> T:
        """Ask and return the JSON answer as what it should be; see `ask`."""
        return self.refusals.decode((await self.ask(request, params=params, names=names)).body, kind)

    async def pages(
        self,
        request: RestRequest,
        parse: Callable[[bytes], Page[T]],
        paging: Paging,
        *,
        max_pages: int = MAX_PAGES,
        query: Mapping[str, object] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Paged[T]:
        """Read the pages of a request; ``query`` is its parameters, or the body of a search.

        A later page that fails, or a server that goes round in a circle, leaves what the earlier ones brought.

        Raises:
            SourceError: the first page cannot be read.

        """
        found: Paged[T] = Paged()
        place = _Place(request, request.filled(names), {**(query or {}), **paging.first()})
        seen: set[str] = set()
        while found.pages < max_pages:
            seen.add(place.key)
            try:
                answer = await self._ask(request, place.target, place.body)
                page = parse(answer.body)
            except SourceError as error:
                if not found.pages:
                    raise
                found.failed = error
                return found
            found.pages += 1
            found.rows += page.rows
            following = paging.following(page, answer, len(found.rows))
            if following is None:
                found.is_whole = True
                return found
            try:
                place = self._following(place, following, seen)
            except SourceError as error:
                found.failed = error
                return found
        return found

    def _following(self, place: "_Place", following: Query | str, seen: set[str]) -> "_Place":
        """Return where the next page is.

        Raises:
            SourceError: at another server, or where a page was read already.

        """
        if isinstance(following, str):
            found = _Place(place.request, self._below(place.target, following), {})
        else:
            found = _Place(place.request, place.path, {**place.query, **following})
        if found.key in seen:
            raise SourceError("misconfigured", "the server names a page again that was read")
        return found

    def _below(self, target: str, link: str) -> str:
        """Return a link of an answer as a path and query below the server's address.

        Raises:
            SourceError: it leads elsewhere.

        """
        base = httpx.URL(self._base)
        try:
            there = httpx.URL(self._base + target).join(link)
        except httpx.InvalidURL:
            there = httpx.URL()
        prefix, whole = base.raw_path.decode().rstrip("/"), there.raw_path.decode()
        if (there.host, _port(there)) != (base.host, _port(base)) or not whole.startswith(f"{prefix}/"):
            raise SourceError("misconfigured", ELSEWHERE)
        path = whole.removeprefix(prefix)
        try:
            self._allowed.check("GET", path.partition("?")[0])
        except RequestNotAllowedError:
            raise SourceError("misconfigured", ELSEWHERE) from None
        return path

    async def _ask(self, request: RestRequest, target: str, body: Body | None) -> Answer:
        now = self._clock.now()
        if self._paused is not None and now < self._paused[0]:
            until, error = self._paused
            raise SourceError(error.status, error.reason, until - now)
        self.due.sent(request.name, now)
        try:
            answer = await self._answer(request, target, body)
            self.refusals.check(answer, request, self._clock.now(), has_login=self._has_login)
        except SourceError as error:
            shown = SourceError(error.status, self._scrubbed(error.reason), error.retry_after_s)
            if shown.retry_after_s:
                self._paused = (self._clock.now() + shown.retry_after_s, shown)
            raise shown from None
        return answer

    async def _answer(self, request: RestRequest, target: str, body: Body | None) -> Answer:
        """Send a request; where its session is missing or has expired, log in once and send it again."""
        login, answer = self._login, await self._send(request, target, body)
        if not isinstance(login, FormLogin) or not login.is_needed(answer):
            return answer
        await login.open(self._client, self._base, self._clock.now(), self._deadline_s)
        answer = await self._send(request, target, body)
        if login.is_needed(answer):
            raise login.refuse(self._clock.now(), answer.status)
        login.accept()
        return answer

    async def _send(self, request: RestRequest, target: str, body: Body | None) -> Answer:
        answer = await self._send_once(request, target, body)
        is_login = isinstance(self._login, FormLogin) and self._login.is_needed(answer)
        if answer.status not in _REDIRECTS or is_login:
            return answer
        self._base = self._moved(target, answer.headers.get("location", ""))
        return await self._send_once(request, target, body)

    async def _send_once(self, request: RestRequest, target: str, body: Body | None) -> Answer:
        self._allowed.check(request.method, target.partition("?")[0])
        url, headers, sent = self._base + target, dict(self._login.headers()), self._clock.now()
        if request.method == "POST":
            query = msgspec.json.encode(body or {})
            answer = await search(
                self._client, url, query, headers=headers, deadline_s=self._deadline_s, largest=request.max_bytes
            )
        else:
            condition = self._kept.condition(target) if request.conditional else {}
            headers = {"accept": "application/json", **headers, **condition}
            answer = await get(
                self._client,
                url,
                headers=headers,
                deadline_s=self._deadline_s,
                largest=request.max_bytes,
                follow=False,
            )
        self.tracker.heard(sent, self._clock.now(), answer.date)
        return self._kept.resolve(target, answer) if request.conditional else answer

    def _moved(self, target: str, location: str) -> str:
        """Return the base after a redirect to the same place of the same host, as from http to https.

        Raises:
            SourceError: the redirect leads elsewhere: a login is not carried there.

        """
        here = httpx.URL(self._base + target)
        try:
            there = here.join(location)
        except httpx.InvalidURL:
            there = here
        is_same_place = (there.host, there.raw_path) == (here.host, here.raw_path) and there != here
        if location and is_same_place and (there.scheme == "https" or there.scheme == here.scheme):
            base = httpx.URL(self._base).copy_with(scheme=there.scheme, port=there.port)
            return str(base).rstrip("/")
        shown = sanitize(without_login(str(there.copy_with(query=None, fragment=None))), 100)
        raise SourceError("misconfigured", f"is redirected to {shown}: set url to the address of the API itself")

    @property
    def _has_login(self) -> bool:
        return self._login.is_set or login_of(self._base) is not None

    def _scrubbed(self, text: str) -> str:
        inside = login_of(self._base)
        text = self._login.scrubbed(text)
        return text.replace(inside[1], "***") if inside and inside[1] else text


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page is: a path with its query or, in a search, its body; or a link, as the path of no query."""

    request: RestRequest
    path: str
    query: Mapping[str, object]

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query and self.request.method == "GET" else self.path

    @property
    def body(self) -> Body | None:
        return self.query if self.request.method == "POST" else None

    @property
    def key(self) -> str:
        return f"{self.target} {self.body}"


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)
