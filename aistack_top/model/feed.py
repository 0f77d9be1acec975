"""Where ticks come from.

Live collectors, a session on disk, a history window and the simulator are the same thing to everything above this
line; only the transport bar asks what a feed can do.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from aistack_top.model.tick import Mark, Tick


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a feed covers and can do. Times are seconds since the epoch.

    ``live``: its end is now and moves. ``seekable``: `Feed.seek` works between start and end.
    ``speeds``: it can be played faster or slower, at ``speed`` times real time now.
    """

    start: float
    end: float
    live: bool
    seekable: bool = False
    speeds: bool = False
    speed: float = 1.0
    title: str = ""


class Feed(Protocol):
    """An async iterator of ticks, in the order in which things were learned (``seen``)."""

    def bounds(self) -> Bounds:
        """Return what the feed covers now and what it can do."""
        ...

    def ticks(self) -> AsyncIterator[Tick]:
        """Iterate over the ticks from where the feed stands; ends when there are no more."""
        ...

    def seek(self, at: float) -> None:
        """Go to a time; the next tick has ``reset`` set and carries the history before it.

        Raises:
            ValueError: the feed cannot seek.

        """
        ...

    def set_speed(self, speed: float) -> None:
        """Play at ``speed`` times real time; 0 stands still.

        Raises:
            ValueError: the feed has one speed only.

        """
        ...

    async def aclose(self) -> None:
        """Let go of connections, threads and files."""
        ...


@runtime_checkable
class KeepsMarks(Protocol):
    """A feed with a recording behind it, which can keep what a person notes."""

    def keep(self, mark: Mark) -> bool:
        """Keep a mark with the recording; False where nothing is recorded after all."""
        ...


@runtime_checkable
class HasRecording(Protocol):
    """A feed whose ticks lie on a disk, so that a stretch of them can be cut out."""

    async def recording(self) -> Path | None:
        """Return the session that holds all that was told so far; None where nothing is recorded after all."""
        ...


@runtime_checkable
class KnowsIncidents(Protocol):
    """A feed whose incidents are known before they are played, so that one can go to the next."""

    async def incident_times(self) -> Sequence[float]:
        """Return when the cause of each incident was told, the earliest first."""
        ...


@runtime_checkable
class IncidentAware(Protocol):
    """A feed that works harder while an incident is open."""

    def set_incident_open(self, is_open: bool) -> None:
        """Take whether an incident is open now."""
        ...
