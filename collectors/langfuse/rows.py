"""From the bytes of a Langfuse answer to calls. Pure functions: no network, no clock.

| server | rows | where user, session and tags stand |
|---|---|---|
| v4, v2 API | ``/api/public/v2/observations`` | in the row |
| v3, v1 API | ``/api/public/observations`` | in the trace: ``/api/public/traces?fields=core`` |

What a row says beyond the fields named here is skipped by the decoder and never becomes an object: v1 cannot
leave out prompts and answers, so they pass by as bytes and are gone with the answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from aistack_top.model.finite import fits
from aistack_top.model.tick import Call, CallKind
from aistack_top.text.sanitize import sanitize
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import SourceError

KINDS: Mapping[str, CallKind] = {
    "GENERATION": "generation",
    "EMBEDDING": "embedding",
    "RETRIEVER": "retrieval",
    "TOOL": "tool",
    "GUARDRAIL": "guardrail",
}
"""Langfuse's observation types that are calls; all others are ``other``."""

MAX_TOKENS = 10**9
MAX_SKEW_S = 300.0
"""A call may end so long before it began: its times come from two machines. Beyond that no clocks explain it."""

MAX_AHEAD_S = 86_400.0
"""A call that ends more than a day after now is not late or skewed, its time is broken."""

Number = int | float | None
Loose = str | int | float | None
"""v1 sends prices as numbers and v2 as strings; some gateways send costs as strings too."""


class ObservationRow(msgspec.Struct, rename="camel"):
    """One observation as v2 and v1 send it; names as on the wire. A group that was not asked for is absent."""

    id: str
    start_time: datetime
    end_time: datetime | None = None
    trace_id: str | None = None
    parent_observation_id: str | None = None
    type: str = ""
    name: str | None = None
    level: str | None = None
    version: str | None = None
    environment: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    is_root_observation: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    model: str | None = None
    provided_model_name: str | None = None
    usage_details: dict[str, Number] | None = None
    cost_details: dict[str, Loose] | None = None
    input_usage: Number = None
    output_usage: Number = None
    total_cost: Loose = None
    calculated_total_cost: Loose = None
    prompt_name: str | None = None
    prompt_version: Loose = None
    time_to_first_token: Number = None
    trace_name: str | None = None
    tags: list[str] | None = None
    model_id: str | None = None
    input_price: Loose = None
    output_price: Loose = None
    total_price: Loose = None


class TaggedRow(ObservationRow):
    """A row with its metadata, which is decoded only where a key of it was asked for."""

    metadata: msgspec.Raw = msgspec.Raw()


class TraceRow(msgspec.Struct, rename="camel"):
    """What a v1 trace adds to its observations."""

    id: str
    name: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    version: str | None = None
    environment: str | None = None
    tags: list[str] | None = None


class Meta(msgspec.Struct, rename="camel"):
    """Where the next page is: a cursor (v2), or page numbers (v1)."""

    cursor: str | None = None
    page: int | None = None
    total_pages: int | None = None


class RowPage(msgspec.Struct):
    """One answer, its rows still undecoded, so that a bad one costs only itself."""

    data: list[msgspec.Raw]
    meta: Meta = msgspec.field(default_factory=Meta)


_PAGE = msgspec.json.Decoder(RowPage)
_ROW = msgspec.json.Decoder(ObservationRow)
_TAGGED = msgspec.json.Decoder(TaggedRow)
_TRACE = msgspec.json.Decoder(TraceRow)
_METADATA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SCALAR = msgspec.json.Decoder(str | int | float | bool | None)


def read_page(body: bytes, content_type: str = "application/json") -> RowPage:
    """Return the rows of an answer, undecoded, and where the next page is.

    Raises:
        SourceError: it is not what Langfuse sends.

    """
    if content_type == "text/html" or body.lstrip()[:1] == b"<":
        raise SourceError("misconfigured", "the response is a web page, not Langfuse data; check the base URL")
    try:
        return _PAGE.decode(body)
    except msgspec.ValidationError as error:
        raise SourceError("misconfigured", f"unexpected response from Langfuse: {sanitize(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError("down", f"invalid JSON from Langfuse: {sanitize(str(error))}") from None


def read_rows(raw: Iterable[msgspec.Raw], *, metadata: bool = False) -> Iterator[ObservationRow | None]:
    """Give each row, or None for one that cannot be read."""
    decoder = _TAGGED if metadata else _ROW
    for one in raw:
        try:
            yield decoder.decode(one)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
            yield None


def read_traces(page: RowPage) -> Iterator[TraceRow]:
    """Give the readable traces of a v1 answer."""
    for one in page.data:
        try:
            yield _TRACE.decode(one)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            continue


@dataclass(frozen=True, slots=True)
class Times:
    """When a row began, ended and came in, in seconds since the Unix epoch; see `times_of`."""

    start: float
    end: float
    created: float | None
    updated: float


def times_of(row: ObservationRow, now: float) -> Times | Literal["running", "bad"]:
    """Return the times of a row, ``running`` if it has not ended, ``bad`` if they cannot be.

    ``bad`` is an end more than `MAX_SKEW_S` before the start, a time before 2000, or an end more than a day
    after ``now``.
    """
    if row.end_time is None:
        return "running"
    try:
        start, end = _seconds(row.start_time), _seconds(row.end_time)
        created = None if row.created_at is None else _seconds(row.created_at)
        updated = end if row.updated_at is None else _seconds(row.updated_at)
    except (OverflowError, ValueError):
        return "bad"
    if end < start - MAX_SKEW_S or start < _MIN_TIME or end > now + MAX_AHEAD_S:
        return "bad"
    return Times(start, end, created, updated)


def to_call(
    row: ObservationRow, times: Times, seen: float, settings: LangfuseSettings, trace: TraceRow | None = None
) -> Call:
    """Return the call that a row describes; ``trace`` fills what a v1 row lacks."""
    user, session = row.user_id, row.session_id
    tags, version, route = row.tags, row.version, row.trace_name
    environment = row.environment
    if trace is not None:
        user, session, tags = user or trace.user_id, session or trace.session_id, tags or trace.tags
        version, route = version or trace.version, route or trace.name
        environment = environment or trace.environment
    metadata = _metadata(row) if settings.wants_metadata else {}
    tenant = _tenant(settings, user, tags, metadata)
    name = _plain(row.name)
    root = row.is_root_observation if row.is_root_observation is not None else not row.parent_observation_id
    return Call(
        id=_plain(row.id),
        trace=_plain(row.trace_id),
        parent=_plain(row.parent_observation_id),
        kind=_kind(row.type, name),
        name=name,
        start=times.start,
        end=times.end,
        seen=seen,
        updated=times.updated,
        model=_plain(row.model or row.provided_model_name),
        version=_plain(version),
        prompt=_plain(row.prompt_name),
        prompt_version="" if row.prompt_version is None else _plain(str(row.prompt_version)),
        input_tokens=_input_tokens(row),
        output_tokens=_output_tokens(row),
        cached_tokens=_cached_tokens(row),
        ttft=_not_negative(row.time_to_first_token),
        cost=cost_of(row),
        level=_plain(row.level) or "DEFAULT",
        tenant=_plain(settings.pseudonym("u", tenant)),
        session=_plain(settings.pseudonym("s", session or "")),
        route=_plain(route) or name,
        environment=_plain(environment),
        engine=_plain(metadata.get(settings.engine_key, "")) if settings.engine_key else "",
        root=root,
    )


def cost_of(row: ObservationRow) -> float | None:
    """Return what a call cost in USD, or None where nobody knows.

    The server writes 0 for a call whose model it has no price for, which is not "free". Zero counts only if the
    model has a price (an error that used no token), or the application itself sent a cost.
    """
    details = row.cost_details or {}
    cost = _not_negative(row.total_cost)
    if cost is None:
        cost = _not_negative(row.calculated_total_cost)
    if cost is None:
        cost = _not_negative(details.get("total"))
    if cost is None and details and "total" not in details:
        parts = [_not_negative(part) for part in details.values()]
        known = [part for part in parts if part is not None]
        cost = sum(known) if len(known) == len(parts) else None
    unpriced = row.model_id is None and row.input_price is None and row.output_price is None and row.total_price is None
    return None if cost == 0 and unpriced and not details else cost


_MIN_TIME = datetime(2000, 1, 1, tzinfo=UTC).timestamp()


def _seconds(moment: datetime) -> float:
    # a time without a zone would be read in the zone of this machine; Langfuse means UTC
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _plain(text: str | None) -> str:
    return sanitize(text) if text else ""


def _kind(type_: str, name: str) -> CallKind:
    kind = KINDS.get(type_, "other")
    return "guardrail" if kind == "other" and name.lower().startswith("guardrail") else kind


def _tenant(settings: LangfuseSettings, user: str | None, tags: list[str] | None, metadata: Mapping[str, str]) -> str:
    if settings.tenant_from == "user":
        return user or ""
    if settings.tenant_from == "metadata":
        return metadata.get(settings.tenant_key, "")
    prefix = settings.tenant_key
    return next((tag.removeprefix(prefix) for tag in tags or () if tag.startswith(prefix)), "")


def _metadata(row: ObservationRow) -> dict[str, str]:
    """Return the plain values of a row's metadata; what is nested is of no use as a name."""
    if not isinstance(row, TaggedRow) or not bytes(row.metadata):
        return {}
    found = {}
    try:
        for key, raw in _METADATA.decode(row.metadata).items():
            try:
                value = _SCALAR.decode(raw)
            except msgspec.MsgspecError:
                continue
            if value is not None and value != "":
                found[key] = str(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found


def _input_tokens(row: ObservationRow) -> int | None:
    return _tokens(row, row.input_usage, "input")


def _output_tokens(row: ObservationRow) -> int | None:
    return _tokens(row, row.output_usage, "output")


def _tokens(row: ObservationRow, usage: Number, part: str) -> int | None:
    """Return the server's sum, or our own by its rule: all keys with the word in their name (691 + 690 cached)."""
    details = row.usage_details
    if details is not None:
        named = [value for key, value in details.items() if part in key.lower() and value is not None]
        # the server writes 0 for a call that brought no usage at all
        if not named:
            return None
        if usage is None:
            usage = sum(named)
    return _count(usage)


def _cached_tokens(row: ObservationRow) -> int | None:
    """Return the tokens read from a cache; those written to it (``cache_creation_input_tokens``) are not among them."""
    details = {key.lower(): value for key, value in (row.usage_details or {}).items()}
    known = [v for key, v in details.items() if "cache" in key and "creation" not in key and v is not None]
    return _count(sum(known)) if known else None


def _count(value: Number) -> int | None:
    return int(value) if value is not None and 0 <= value < MAX_TOKENS else None


def _not_negative(value: Loose) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if fits(number) and number >= 0 else None
