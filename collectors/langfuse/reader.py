"""Asks for observations and gives back the calls that are new: v2 by cursor, v1 page by page."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Call
from collectors.langfuse import rows
from collectors.langfuse.api import OBSERVATIONS, OBSERVATIONS_V1, TRACES_V1, LangfuseApi, is_web_page
from collectors.langfuse.polling import (
    FIELDS,
    MAX_PAGES,
    PAGE_ROWS,
    PAGE_ROWS_V1,
    SWEEP_S,
    TYPES,
    ClockSkew,
    KnownRows,
    PollWindows,
    iso,
    observations_filter,
)
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer

Mode = Literal["v2", "v1"]

CHUNK_ROWS = 100
"""Rows decoded before the event loop gets its turn: 1 to 2 ms."""

MAX_TRACES = 5_000
MIN_PAGE_ROWS_V1 = 5
FORGET_EVERY_S = 60.0
JITTER = 0.2


@dataclass(slots=True)
class FetchResult:
    """What one run of the reader brought. ``until`` is None unless the hot query came back.

    ``bad_rows`` could not be read, ``good_rows`` could, whether new or not.
    ``sampled`` names the queries that had more pages than are followed.
    """

    calls: list[Call] = field(default_factory=list)
    until: float | None = None
    bad_rows: int = 0
    good_rows: int = 0
    sampled: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: SourceError | None = None

    @property
    def mostly_bad(self) -> bool:
        """Whether most rows of the answers were left out."""
        return self.bad_rows > self.good_rows


class LangfuseReader:
    """The hot query and the late sweep over one server, and the memory of what they brought."""

    def __init__(self, api: LangfuseApi, settings: LangfuseSettings, clock: Clock, rng: Random) -> None:
        self.windows = PollWindows(settings.pace.sweep_s)
        self.ahead = ClockSkew()
        self._api = api
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._seen = KnownRows()
        self._held: list[Call] = []
        self._forgot = 0.0
        self._traces: dict[str, rows.TraceRow] = {}
        self._rows_v1 = PAGE_ROWS_V1
        self._types: Sequence[str] = TYPES

    async def probe(self, deadline: float) -> Mode:
        """Return which API the server has; asked once at connect.

        Raises:
            SourceError: neither, wrong keys, or no answer.

        """
        since = iso(self._server_now() - SWEEP_S)
        params = {"limit": "1", "fields": "core", "fromStartTime": since}
        answer = await self._api.fetch(OBSERVATIONS, params, deadline_s=self._left(deadline))
        if answer.status == 200:
            rows.read_page(answer.body, answer.content_type)
            return "v2"
        if answer.status != 404:
            raise self._api.refusal(answer)
        params = {"limit": "1", "page": "1", "fromStartTime": since}
        older = await self._api.fetch(OBSERVATIONS_V1, params, deadline_s=self._left(deadline))
        if older.status == 200 and not is_web_page(older):
            rows.read_page(older.body, older.content_type)
            return "v1"
        refusal = self._api.refusal(older)
        if older.status in (200, 404) and is_web_page(answer):
            said = "wrong base URL, or a Langfuse without this API: /api/public returned a web page (404)"
            raise SourceError("misconfigured", said, refusal.retry_after_s)
        raise refusal

    async def read(self, mode: Mode, deadline: float) -> FetchResult:
        """Return what is new. Never raises `SourceError`: what went wrong stands beside what was got.

        Calls are given again until `delivered` is called, so that a run cut off by its deadline loses none.
        """
        news = FetchResult(self._held)
        asked, server = self._clock.now(), self._server_now()
        window = self.windows.hot(server)
        try:
            whole = await self._query(mode, window, news, deadline)
        except SourceError as error:
            if error.status == "slow" and error.retry_after_s is None:
                self.windows.busy(server)
            news.error = error
            return news
        news.until = asked
        if not whole:
            news.sampled.append("the newest calls")
        self.windows.answered(server)
        if self.windows.sweep_due(server):
            self.windows.swept(server, self._rng.uniform(0.0, JITTER))
            await self._sweep(mode, server, news, deadline)
        if asked >= self._forgot + FORGET_EVERY_S:
            self._forgot = asked
            self._seen.forget(self.windows.needed_since(server))
        return news

    async def between(self, mode: Mode, start: float, end: float, deadline: float) -> FetchResult:
        """Return the calls that ended from start to end, by the server's clock, however long ago.

        Raises:
            SourceError: what went wrong, in words.

        """
        news = FetchResult()
        if not await self._query(mode, (start, start - SWEEP_S), news, deadline, until=end):
            news.sampled.append("the calls of a busy time")
        news.until = end
        return news

    def delivered(self) -> None:
        """Say that the calls of the last `read` stand in a batch."""
        self._held = []

    async def _sweep(self, mode: Mode, server: float, news: FetchResult, deadline: float) -> None:
        try:
            whole = await self._query(mode, self.windows.sweep(server), news, deadline, optional=True)
        except SourceError as error:
            news.notes.append(f"late calls not checked: {error.reason}")
            return
        if not whole:
            news.sampled.append("late calls")

    async def _query(
        self,
        mode: Mode,
        window: tuple[float, float],
        news: FetchResult,
        deadline: float,
        *,
        optional: bool = False,
        until: float | None = None,
    ) -> bool:
        """Read the pages of one window; return whether that was all of them."""
        cursor, page = "", 1
        for _ in range(MAX_PAGES):
            wanted = observations_filter(*window, self._settings.environments, self._types, until)
            answer = await self._page(mode, wanted, cursor, page, optional, deadline)
            found = rows.read_page(answer.body, answer.content_type)
            del answer
            await self._take(mode, found, news, deadline)
            cursor, page = found.meta.cursor or "", page + 1
            more = bool(cursor) if mode == "v2" else page <= (found.meta.total_pages or 0)
            if not more:
                return True
        return False

    async def _page(self, mode: Mode, wanted: str, cursor: str, page: int, optional: bool, deadline: float) -> Answer:
        if mode == "v2":
            groups = f"{FIELDS},metadata" if self._settings.wants_metadata else FIELDS
            params = {"fields": groups, "limit": str(PAGE_ROWS), "filter": wanted}
            if cursor:
                params["cursor"] = cursor
            path = OBSERVATIONS
        else:
            params = {"limit": str(self._rows_v1), "page": str(page), "filter": wanted}
            path = OBSERVATIONS_V1
        try:
            answer = await self._api.fetch(path, params, optional=optional, deadline_s=self._left(deadline))
        except SourceError as error:
            if mode == "v1" and error.status == "misconfigured" and self._rows_v1 > MIN_PAGE_ROWS_V1:
                # v1 cannot leave out prompts and answers, so a page of long ones passes the limit of an answer
                self._rows_v1 = max(self._rows_v1 // 4, MIN_PAGE_ROWS_V1)
                said = f"long prompts made the response too large; fetching {self._rows_v1} calls at a time"
                raise SourceError("slow", said, 0.0) from None
            raise
        if answer.status == 400 and mode == "v1" and len(self._types) > 1:
            self._types = TYPES[:1]
            raise SourceError("slow", "this server accepts one call type per query: reading generations", 0.0)
        if answer.status != 200:
            raise self._api.refusal(answer)
        return answer

    async def _take(self, mode: Mode, page: rows.RowPage, news: FetchResult, deadline: float) -> None:
        """Turn the rows of a page that are new into calls, a chunk at a time."""
        metadata = self._settings.wants_metadata
        for begin in range(0, len(page.data), CHUNK_ROWS):
            fresh = self._fresh(page.data[begin : begin + CHUNK_ROWS], metadata, news)
            if mode == "v1":
                await self._join(fresh, news, deadline)
            seen = self._clock.now()
            for row, times in fresh:
                if not self._seen.is_news(row.id, times.updated):
                    continue
                if times.created is not None:
                    self.ahead.observe(times.created - times.end, seen)
                self._seen.remember(row.id, times.updated, times.end)
                trace = self._traces.get(row.trace_id or "") if mode == "v1" else None
                news.calls.append(rows.to_call(row, times, seen, self._settings, trace))
            await asyncio.sleep(0)

    def _fresh(
        self, raw: list[msgspec.Raw], metadata: bool, news: FetchResult
    ) -> list[tuple[rows.ObservationRow, rows.Times]]:
        now = self._clock.now()
        fresh = []
        for row in rows.read_rows(raw, metadata=metadata):
            times = rows.times_of(row, now) if row is not None else "bad"
            if times == "running":
                continue
            if times == "bad" or row is None or not row.id.strip():
                news.bad_rows += 1
                continue
            news.good_rows += 1
            if self._seen.is_news(row.id, times.updated):
                fresh.append((row, times))
        return fresh

    async def _join(
        self, fresh: Sequence[tuple[rows.ObservationRow, rows.Times]], news: FetchResult, deadline: float
    ) -> None:
        """Fetch the traces of v1 rows, for user, session, tags and version; rows do without if that fails."""
        wanted = {row.trace_id for row, _ in fresh if row.trace_id} - self._traces.keys()
        if not wanted:
            return
        since = iso(min(times.start for _, times in fresh) - SWEEP_S)
        try:
            for page in range(1, MAX_PAGES + 1):
                params = {"fields": "core", "limit": str(PAGE_ROWS_V1), "page": str(page), "fromTimestamp": since}
                answer = await self._api.fetch(TRACES_V1, params, optional=True, deadline_s=self._left(deadline))
                if answer.status != 200:
                    raise self._api.refusal(answer)
                found = rows.read_page(answer.body, answer.content_type)
                for trace in rows.read_traces(found):
                    self._traces[trace.id] = trace
                if not wanted - self._traces.keys() or page >= (found.meta.total_pages or 0):
                    break
        except SourceError as error:
            note = f"users and sessions of some calls are unknown: {error.reason}"
            if note not in news.notes:
                news.notes.append(note)
        while len(self._traces) > MAX_TRACES:
            del self._traces[next(iter(self._traces))]

    def _server_now(self) -> float:
        return self._clock.now() + (self._api.offset.value or 0.0)

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock.monotonic()
        if left <= 0.05:
            raise SourceError("slow", "no complete response within the deadline")
        return left
