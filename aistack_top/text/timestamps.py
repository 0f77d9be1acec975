"""Times as documents write them: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime


def rfc3339(moment: float) -> str:
    """Return a time (seconds since the epoch) in UTC with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> float:
    """Return the seconds since the epoch of such a time.

    Raises:
        ValueError: it is none, or says no offset from UTC.

    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say its time zone")
    return moment.timestamp()
