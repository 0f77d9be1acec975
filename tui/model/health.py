"""How sources are, in the words and signs of the screen."""

from collections.abc import Iterable

from aistack_top.model.tick import Health, Status
from aistack_top.store.frame import Frame

WORST_FIRST: tuple[Status, ...] = ("misconfigured", "unauthorized", "down", "stale", "partial", "slow", "ok")

STYLES: dict[Status, str] = {
    "ok": "ok",
    "slow": "warning",
    "partial": "warning",
    "stale": "warning",
    "down": "alarm",
    "unauthorized": "alarm",
    "misconfigured": "alarm",
}

Record = tuple[float, Health]
"""When a health record was written, and the record."""


def worst(records: Iterable[Record]) -> Status | None:
    """Return the worst status among some records; None without any."""
    return min((health.status for _, health in records), key=WORST_FIRST.index, default=None)


def by_badness(records: Iterable[Record]) -> list[Record]:
    """Return records with the worst first, and equal ones by name, so that they do not jump about."""
    return sorted(records, key=lambda record: (WORST_FIRST.index(record[1].status), record[1].source))


def knows_age(frame: Frame, health: Health) -> bool:
    """Whether the age of a source's data can be told at this moment.

    Of the past only changes of status are kept: while a source was well, the age of its data then is not known.
    """
    return frame.follows or health.status not in ("ok", "slow", "partial", "stale")


def age_s(frame: Frame, record: Record) -> float | None:
    """Return the age of a source's last good data at the moment shown, in seconds; None when there never was any."""
    seen, health = record
    return None if health.age_s is None else max(frame.at - seen, 0.0) + health.age_s
