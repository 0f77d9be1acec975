"""Times as people type them: ``14:02``, ``-3m``, ``90s``."""

import re
from datetime import UTC, datetime, timedelta

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def span(text: str) -> float:
    """Return a length of time in seconds: ``90s``, ``10m``, ``2h``, ``1d``; a bare number is seconds.

    Raises:
        ValueError: it is not one.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a duration; write 90s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2]]


def moment(text: str, start: float, end: float, *, back_from: float | None = None) -> float:
    """Return a typed time as seconds since the epoch, within what is known from ``start`` to ``end``.

    ``-3m`` counts back from the end, or from ``back_from``; ``14:02`` and ``14:02:10`` are local
    time on those days; anything else is RFC 3339, local where it names no zone.

    Raises:
        ValueError: it is not a time, or not one inside what is known.
    """
    said = text.strip()
    if said.startswith("-"):
        found = (end if back_from is None else back_from) - span(said[1:])
    elif re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", said):
        found = _clock_time(said, start, end)
    else:
        try:
            found = datetime.fromisoformat(said).timestamp()
        except ValueError:
            raise ValueError(f"{text!r} is not a time; write 14:02, -3m or 2026-11-23T14:02:10Z") from None
    if not start - 1 <= found <= end + 1:
        first, last = (datetime.fromtimestamp(edge, UTC).astimezone() for edge in (start, end))
        raise ValueError(
            f"{text!r} is outside the recorded time, {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S}"
        )
    return found


def _clock_time(said: str, start: float, end: float) -> float:
    hours, minutes, *rest = (int(part) for part in said.split(":"))
    try:
        day = datetime.fromtimestamp(start).astimezone()
        first = day.replace(hour=hours, minute=minutes, second=rest[0] if rest else 0, microsecond=0)
    except ValueError:
        raise ValueError(f"{said!r} is not a time of day") from None
    candidates = [(first + timedelta(days=days)).timestamp() for days in range(max(int((end - start) // 86400), 0) + 2)]
    inside = [moment for moment in candidates if start - 1 <= moment <= end + 1]
    return inside[-1] if inside else candidates[0]
