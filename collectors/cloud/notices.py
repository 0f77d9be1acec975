"""What clouds say will happen to an instance: bytes of their metadata services to notices.

| cloud | paths | form |
|---|---|---|
| AWS | ``spot/instance-action``, ``events/recommendations/rebalance``, ``events/maintenance/scheduled`` | JSON |
| GCP | ``instance/preempted``, ``instance/maintenance-event`` | one word |
| Azure | ``scheduledevents`` | JSON, with the events of other machines of the same set |

Every function is pure of bytes. A row that cannot be read costs itself only; an answer of another form is a
`SourceError` in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from aistack_top.model.tick import Severity
from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import SourceError

MAX_NOTICES = 20
MAX_WORD = 40
MAX_TEXT = 120
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a cloud says will happen.

    ``key`` tells it from others while it stands. ``issued`` is when it was given and ``due`` when it takes effect,
    both None where the cloud does not tell. ``by`` names the notice as the cloud does.
    """

    key: str
    action: str
    severity: Severity
    text: str
    by: str
    issued: float | None = None
    due: float | None = None


@dataclass(frozen=True, slots=True)
class ParsedNotices:
    """The notices that stand in one answer, and what could not be read of it, in words."""

    notices: tuple[Notice, ...] = ()
    note: str = ""


class _Action(msgspec.Struct):
    action: str
    time: str = ""


class _Rebalance(msgspec.Struct):
    noticeTime: str = ""  # noqa: N815 - AWS's name


class _Maintenance(msgspec.Struct, rename="pascal"):
    code: str
    event_id: str = ""
    not_before: str = ""
    description: str = ""
    state: str = ""


class _Scheduled(msgspec.Struct, rename="pascal"):
    event_id: str
    event_type: str
    resources: list[str] | None = None
    not_before: str | None = None


class _Document(msgspec.Struct, rename="pascal"):
    events: list[msgspec.Raw]


def aws_action(body: bytes) -> ParsedNotices:
    """Return what ``spot/instance-action`` says: the instance is taken back, in two minutes."""
    told = _decoded(body, _Action, "spot/instance-action")
    action, due = _word(told.action), moment(told.time)
    done = {"terminate": "terminated", "stop": "stopped", "hibernate": "hibernated"}.get(action, action)
    at = "" if due is None else f" at {_stamp(due)[11:]}"
    text = f"AWS is reclaiming this spot instance: {done}{at}"
    return ParsedNotices((Notice("spot", action, "critical", text, "spot/instance-action", due=due),))


def aws_rebalance(body: bytes) -> ParsedNotices:
    """Return what ``events/recommendations/rebalance`` says: it may be taken back earlier than others."""
    issued = moment(_decoded(body, _Rebalance, "events/recommendations/rebalance").noticeTime)
    text = "AWS may soon reclaim this spot instance (rebalance recommendation)"
    return ParsedNotices(
        (Notice("rebalance", "rebalance", "warning", text, "events/recommendations/rebalance", issued),)
    )


def aws_maintenance(body: bytes) -> ParsedNotices:
    """Return what ``events/maintenance/scheduled`` says; most days it is an empty list."""
    by, found = "events/maintenance/scheduled", []
    rows, lost = _rows(_decoded(body, list[msgspec.Raw], by), _Maintenance)
    for row in rows:
        if _word(row.state) in ("completed", "canceled"):
            continue
        code, due = _word(row.code), moment(row.not_before)
        about = sanitize(row.description, MAX_TEXT)
        text = f"AWS maintenance: {code}{_not_before(due)}" + (f": {about}" if about else "")
        found.append(Notice(f"maintenance/{sanitize(row.event_id, 80) or code}", code, "warning", text, by, due=due))
    return _told(found, lost, by)


def gcp_preempted(body: bytes) -> ParsedNotices:
    """Return what ``instance/preempted`` says, by a word."""
    word = _text(body, "instance/preempted")
    if word not in ("TRUE", "FALSE"):
        raise SourceError("misconfigured", f"instance/preempted says {word!r}, which is neither TRUE nor FALSE")
    if word == "FALSE":
        return ParsedNotices()
    text = "Google is reclaiming this instance: it stops within about 30 s"
    return ParsedNotices((Notice("preempted", "preempt", "critical", text, "instance/preempted"),))


def gcp_maintenance(body: bytes) -> ParsedNotices:
    """Return what ``instance/maintenance-event`` says, by a word."""
    by = "instance/maintenance-event"
    word = _text(body, by)
    known: dict[str, tuple[str, Severity, str]] = {
        "TERMINATE_ON_HOST_MAINTENANCE": ("terminate", "critical", "Google stops this instance for host maintenance"),
        "MIGRATE_ON_HOST_MAINTENANCE": ("migrate", "warning", "Google moves this instance to another host"),
    }
    if word == "NONE":
        return ParsedNotices()
    if word not in known:
        raise SourceError("misconfigured", f"{by} says {word!r}, which is unknown")
    action, severity, text = known[word]
    return ParsedNotices((Notice(word, action, severity, text, by),))


def azure_events(body: bytes, machine: str) -> ParsedNotices:
    """Return what ``scheduledevents`` says of one machine: others of its availability or scale set stand there too."""
    by, found = "scheduledevents", []
    rows, lost = _rows(_decoded(body, _Document, by).events, _Scheduled)
    for row in rows:
        if machine and row.resources and machine not in row.resources:
            continue
        due = moment(row.not_before or "")
        action = _word(row.event_type)
        does, severity = AZURE.get(action, (f"will do this to this machine: {action}", "warning"))
        text = f"Azure {does}{_not_before(due)}"
        found.append(Notice(sanitize(row.event_id, 80), action, severity, text, by, due=due))
    return _told(found, lost, by)


AZURE: dict[str, tuple[str, Severity]] = {
    "preempt": ("is reclaiming this spot machine", "critical"),
    "terminate": ("deletes this machine", "critical"),
    "reboot": ("restarts this machine", "warning"),
    "redeploy": ("moves this machine to another host", "warning"),
    "freeze": ("pauses this machine for some seconds", "warning"),
}
"""What its kinds of event do, and how bad that is."""


def moment(text: str) -> float | None:
    """Return a time as clouds write it: RFC 3339, or as in mail; None where it is none, or of no time we live in."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        at = when.timestamp()
    except OverflowError:
        return None
    return at if EARLIEST < at < LATEST else None


def _not_before(due: float | None) -> str:
    return "" if due is None else f", not before {_stamp(due)}"


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _word(text: str) -> str:
    return sanitize(text, MAX_WORD).lower()


def _text(body: bytes, what: str) -> str:
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        raise SourceError("misconfigured", f"{what} returned bytes that are not text") from None
    if "<" in text:
        raise SourceError("misconfigured", f"{what} returned a web page, which is not a cloud metadata service")
    return sanitize(text, MAX_WORD)


def _decoded(body: bytes, form: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        page = body.lstrip()[:1] == b"<"
        said = "a web page, which is not a cloud metadata service" if page else "an unexpected response"
        raise SourceError("misconfigured", f"{what} returned {said}") from None


def _rows(raw: Sequence[msgspec.Raw], form: type[T]) -> tuple[list[T], int]:
    rows, lost = [], 0
    for one in raw:
        try:
            rows.append(msgspec.json.decode(one, type=form))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            lost += 1
    return rows, lost


def _told(found: list[Notice], lost: int, by: str) -> ParsedNotices:
    notes = []
    if lost:
        notes.append(f"{lost} of {by} could not be read")
    if len(found) > MAX_NOTICES:
        notes.append(f"the first {MAX_NOTICES} of {by} only")
    return ParsedNotices(tuple(found[:MAX_NOTICES]), "; ".join(notes))
