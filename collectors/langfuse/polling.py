"""What to ask Langfuse for, and when: windows, request budgets, clocks and the memory of what was seen.

| part | what it decides |
|---|---|
| `PollWindows` | which time to ask for: hot query, late sweep, backfill; narrower after "server busy" |
| `RateLimiter` | whether a request may be sent: our own count, and what a 429 said |
| `ClockOffset` | the server's clock against ours, from HTTP ``Date`` headers |
| `ClockSkew` | whether an application's clock runs ahead of the server's |
| `KnownRows` | which rows are new or changed |

All are plain state machines that are told the time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aistack_top.text.numbers import seconds
from collectors.langfuse.settings import Bucket, Limit
from collectors.runtime.base import SourceError
from collectors.runtime.clock_offset import ClockOffset as ClockOffset
from collectors.runtime.clock_offset import http_date as http_date
from collectors.runtime.http import retry_after_s

FIELDS = "core,basic,time,model,usage,prompt,metrics,trace_context"
"""The field groups that are asked for: never ``io``."""

TYPES = ("GENERATION", "EMBEDDING", "RETRIEVER", "TOOL", "GUARDRAIL")
PAGE_ROWS = 1000
PAGE_ROWS_V1 = 100
MAX_PAGES = 5

LOOKBACK_S = 3600.0
"""How far back a call may have started; keeps the server's scan small."""

OVERLAP_S = 45.0
"""End of a span to visible, measured: worst 8.4 s by default batching, 10.8 s with polls of 5 s; four times that."""

SWEEP_S = 900.0
"""Older senders take up to 10 minutes, some partner integrations about 15 (Langfuse's documentation)."""

RELAX_S = 60.0
MIN_ROWS = 2
SPARE = 0.9
OPTIONAL_SHARE = 0.6
"""Of our budget, what requests may use up that are not the hot query."""

AHEAD_TOLERANCE_S = 1.0
"""Some answers cut ``createdAt`` to whole seconds."""

MAX_SEEN = 60_000
MAX_PAUSE_S = 86_400.0
DEFAULT_PAUSE_S = 60.0


def iso(moment: float) -> str:
    """Return a time as Langfuse writes it: RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def observations_filter(
    since: float,
    started: float,
    environments: Sequence[str] = (),
    types: Sequence[str] = TYPES,
    until: float | None = None,
) -> str:
    """Return the filter of an observations query: ended since and before ``until``, and not begun before ``started``.

    A startTime window must be as wide as the longest call, since a span is sent when it ends; the endTime window
    needs only the ingest delay. Several types need ``any of``; a single one uses ``=``, which v1 knows too.
    """
    kinds: dict[str, object] = (
        {"type": "string", "column": "type", "operator": "=", "value": types[0]}
        if len(types) == 1
        else {"type": "stringOptions", "column": "type", "operator": "any of", "value": list(types)}
    )
    conditions: list[dict[str, object]] = [
        kinds,
        {"type": "datetime", "column": "startTime", "operator": ">=", "value": iso(started)},
        {"type": "datetime", "column": "endTime", "operator": ">=", "value": iso(since)},
    ]
    if until is not None:
        conditions.append({"type": "datetime", "column": "endTime", "operator": "<", "value": iso(until)})
    if environments:
        conditions.append(
            {"type": "stringOptions", "column": "environment", "operator": "any of", "value": list(environments)}
        )
    return json.dumps(conditions, separators=(",", ":"))


@dataclass(slots=True)
class PollWindows:
    """Which time to ask for. Times are the server's."""

    sweep_every_s: float
    asked_until: float | None = None
    level: int = 0
    _swept: float | None = None
    _narrowed: float = 0.0

    def hot(self, now: float) -> tuple[float, float]:
        """Return since which end, and since which start, the next query asks; the first one reaches 15 minutes back."""
        since = now - SWEEP_S if self.asked_until is None else self.asked_until - OVERLAP_S
        lookback = LOOKBACK_S / 4**self.level
        if self.level:
            since = max(since, now - SWEEP_S / 4**self.level)
        return max(since, now - lookback), now - lookback

    def sweep(self, now: float) -> tuple[float, float]:
        """Return the window of the late sweep."""
        return now - SWEEP_S, now - LOOKBACK_S

    def sweep_due(self, now: float) -> bool:
        """Whether it is time for the late sweep; never while the server is busy, nor before the first answer."""
        return self.level == 0 and self._swept is not None and now >= self._swept + self.sweep_every_s

    def swept(self, now: float, jitter: float) -> None:
        """Say that the sweep was tried; ``jitter`` (0 to 0.2) of the pace is added to the wait for the next."""
        self._swept = now + jitter * self.sweep_every_s

    def answered(self, now: float) -> None:
        """Say that the hot query came back whole; a minute later a narrowed window widens by a step."""
        self.asked_until = now
        self._swept = now if self._swept is None else self._swept
        if self.level and now >= self._narrowed + RELAX_S:
            self.level -= 1
            self._narrowed = now

    def busy(self, now: float) -> None:
        """Say that the server gave up on a query: the next one asks for a quarter of the time."""
        self.level = min(self.level + 1, MIN_ROWS)
        self._narrowed = now

    def needed_since(self, now: float) -> float:
        """Return the earliest end that a coming query can bring again."""
        return min(now - SWEEP_S, (self.asked_until or now) - OVERLAP_S) - OVERLAP_S


@dataclass(slots=True)
class _Count:
    began: float = 0.0
    used: int = 0
    paused_until: float = 0.0


@dataclass(slots=True)
class RateLimiter:
    """Counts our own requests in the server's fixed windows: a 200 of Langfuse says nothing of the limit."""

    limits: Mapping[Bucket, Limit]
    _counts: dict[Bucket, _Count] = field(default_factory=dict)

    def spend(self, bucket: Bucket, now: float, *, optional: bool = False) -> None:
        """Count a request that is about to be sent.

        Raises:
            SourceError: the bucket is paused by a 429, or our own budget of its window is used up.

        """
        if bucket == "free":
            return
        count = self._counts.setdefault(bucket, _Count(began=now))
        if now < count.paused_until:
            wait = count.paused_until - now
            raise SourceError("slow", f"rate limited: {bucket} bucket again in {_wait(wait)}", wait)
        limit = self.limits.get(bucket)
        if limit is None:
            return
        if now >= count.began + limit.window_s:
            count.began, count.used = now, 0
        most = limit.requests * SPARE * (OPTIONAL_SHARE if optional else 1.0)
        if count.used >= int(most):
            wait = count.began + limit.window_s - now
            said = f"own budget of the {bucket} bucket used up ({count.used} requests); again in {_wait(wait)}"
            raise SourceError("slow", said, wait)
        count.used += 1

    def pause(self, bucket: Bucket, now: float, retry_after_s: float) -> None:
        """Stop a bucket, as a 429 asked for."""
        count = self._counts.setdefault(bucket, _Count(began=now))
        count.paused_until = max(count.paused_until, now + min(retry_after_s, MAX_PAUSE_S))

    def paused(self, now: float) -> str:
        """Return a sentence on the buckets that are paused; empty if none is."""
        waits = [(bucket, count.paused_until - now) for bucket, count in sorted(self._counts.items())]
        said = [f"{bucket} bucket again in {_wait(wait)}" for bucket, wait in waits if wait > 0]
        return "rate limited: " + ", ".join(said) if said else ""


def retry_after(header: str | None, body: bytes, now: float) -> float:
    """Return how many seconds a 429 asks us to wait: by its header, its body, else `DEFAULT_PAUSE_S`."""
    wait_s = retry_after_s(header, now)
    if wait_s is not None:
        return wait_s
    try:
        told = json.loads(body)["details"]["retryAfterSeconds"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return DEFAULT_PAUSE_S
    good = isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= MAX_PAUSE_S
    return float(told) if good else DEFAULT_PAUSE_S


@dataclass(slots=True)
class ClockSkew:
    """Watches ``createdAt`` minus ``endTime``: ingest delay plus clock skew. Below zero it can only be skew."""

    _periods: list[float | None] = field(default_factory=lambda: [None, None])
    _began: float = 0.0

    def observe(self, delay_s: float, now: float) -> None:
        """Take one row's delay; the smallest of the last 15 to 30 minutes counts."""
        if now >= self._began + SWEEP_S:
            self._periods = [None if now >= self._began + 2 * SWEEP_S else self._periods[1], None]
            self._began = now
        newest = self._periods[1]
        self._periods[1] = delay_s if newest is None else min(newest, delay_s)

    def sentence(self) -> str:
        """Return what has to be said of it; empty if nothing."""
        least = min((delay for delay in self._periods if delay is not None), default=0.0)
        if least >= -AHEAD_TOLERANCE_S:
            return ""
        return f"an application's clock is ahead of the Langfuse server's by {seconds(-least)} or more"


@dataclass(slots=True)
class KnownRows:
    """The rows known so far, as far back as a query can bring them again: id to (updated, end)."""

    most: int = MAX_SEEN
    _rows: dict[str, tuple[float, float]] = field(default_factory=dict)

    def is_news(self, name: str, updated: float) -> bool:
        """Whether a row is new, or newer than what is known."""
        known = self._rows.get(name)
        return known is None or updated > known[0]

    def remember(self, name: str, updated: float, end: float) -> None:
        """Take a row as known."""
        self._rows[name] = (updated, end)

    def forget(self, before: float) -> None:
        """Drop the rows that ended earlier, and the oldest of too many."""
        if any(end < before for _, end in self._rows.values()):
            self._rows = {name: row for name, row in self._rows.items() if row[1] >= before}
        if len(self._rows) > self.most:
            newest = sorted(self._rows.items(), key=lambda item: item[1][1])[-self.most :]
            self._rows = dict(newest)

    def __len__(self) -> int:
        return len(self._rows)


def _wait(seconds_left: float) -> str:
    return f"{seconds_left:.0f} s" if seconds_left < 120 else seconds(seconds_left)
