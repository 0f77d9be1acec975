"""What a collector is: one async method that returns one batch.

A collector gets its transport and its clock handed in, so that a test gives it a fake and patches nothing. It
keeps fetch, parse and assemble apart; parse is a pure function of bytes. It never raises for what a server did:
a source that is down, slow, lying or closed to us is a health record with a sentence in it, and a second,
optional request that fails never loses what the first one brought.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aistack_top.model.tick import Batch, Health, History, Status
from collectors.runtime.clock_offset import ClockOffset

if TYPE_CHECKING:
    from collectors.runtime.engine_names import EngineNames


@dataclass(frozen=True, slots=True)
class Source:
    """A system that is read: its name on the screen, its kind, its layer and its pace.

    ``deadline_s`` is when one run is given up. A source that would be busy with us for more than ``most_busy`` of
    the time is asked less often than ``interval_s``: a /metrics answer is made on the engine's own event loop. But it
    is never asked less often than every ``max_interval_s``, unless it refuses. ``page_bytes`` is the size of its last
    answer, 0 while that is not known. `collectors.runtime.pace` decides.
    """

    name: str
    kind: str
    layer: str
    interval_s: float
    deadline_s: float = 5.0
    address: str = ""
    most_busy: float = 0.01
    max_interval_s: float = 30.0
    page_bytes: int = 0


class Collector(Protocol):
    """Reads one source."""

    @property
    def source(self) -> Source:
        """Whom it reads."""
        ...

    async def collect(self) -> Batch:
        """Return what the source says now, with exactly one health record."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads; must not block."""
        ...


@runtime_checkable
class HasHistory(Protocol):
    """A collector whose source also knows what was before we came."""

    async def backfill(self) -> History | None:
        """Return it, once and before the first run; None where there is none. Never raises for what a server did."""
        ...


@runtime_checkable
class Paced(Protocol):
    """A collector that makes rates, and so has to know how often it is asked."""

    def set_pace(self, pace_s: float) -> None:
        """Take the seconds until the next run; a longer time than a few of these is a gap."""
        ...


@runtime_checkable
class DiscoversCollectors(Protocol):
    """A collector that finds others, which then take part in the same feed."""

    def start_discovery(
        self,
        join: Callable[[Collector], None],
        leave: Callable[[Collector], None],
        names: "EngineNames",
    ) -> None:
        """Take the feed's doors: a collector comes in by the one and leaves by the other.

        ``names`` are the names of all that is found: a found server may be a configured one, or have another's name.
        """
        ...


class SourceError(Exception):
    """A source could not be read. ``status`` and ``reason`` are what its health record will say.

    The tree: `SourceError` alone; a subclass would say no more than ``status`` does.
    """

    def __init__(self, status: Status, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class HealthTracker:
    """Writes a collector's health records, and remembers when the last good data came.

    ``clock_offset`` is the source's clock against ours, for a collector that calls `heard` at each answer.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.clock_offset = ClockOffset()
        self._last_good: float | None = None

    def heard(self, sent: float, answered: float, date: str) -> None:
        """Use an answer's ``Date`` header; both times are ours, in seconds, and around the request."""
        self.clock_offset.observe(sent, answered, date)

    def success(
        self,
        seen: float,
        took_s: float,
        status: Status = "ok",
        reason: str = "",
        *,
        clock_offset_s: float | None = None,
        clock_uncertainty_s: float | None = None,
    ) -> Health:
        """Return the record of a run that brought data."""
        self._last_good = seen
        return self._record(status, reason, 0.0, took_s, clock_offset_s, clock_uncertainty_s)

    def failure(self, seen: float, error: SourceError, took_s: float = 0.0) -> Health:
        """Return the record of a run that brought none."""
        age = None if self._last_good is None else seen - self._last_good
        return self._record(error.status, error.reason, age, took_s, None, None)

    def _record(
        self,
        status: Status,
        reason: str,
        age_s: float | None,
        took_s: float,
        offset_s: float | None,
        uncertainty_s: float | None,
    ) -> Health:
        source = self.source
        if offset_s is None:
            offset_s, uncertainty_s = self.clock_offset.value, self.clock_offset.uncertainty
        return Health(
            source.name,
            source.kind,
            source.layer,
            status,
            reason,
            age_s,
            took_s,
            source.interval_s,
            offset_s,
            uncertainty_s,
        )
