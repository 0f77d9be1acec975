"""One run of a REST source: ask what is due, make one batch of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch, Event, Fact, ReadingsBuilder, Status
from collectors.rest.client import RestClient
from collectors.runtime.base import Source, SourceError
from collectors.runtime.notes import Notes


@dataclass(slots=True)
class Findings:
    """What one run brought; ``status`` is ``partial`` where what matters is cut off."""

    readings: ReadingsBuilder = field(default_factory=ReadingsBuilder)
    events: list[Event] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    status: Status = "ok"


class RestCollector(ABC):
    """A collector whose `read` asks by ``self.rest`` and says by ``self.notes`` what is missing.

    A `SourceError` out of `read` is the failure of the run, after which everything is due at once; one within
    ``self.notes.optional(...)`` costs only itself.
    """

    def __init__(self, source: Source, rest: RestClient, clock: Clock) -> None:
        self._source = source
        self.rest = rest
        self.clock = clock
        self.notes = Notes()

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._source

    @abstractmethod
    async def read(self) -> Findings:
        """Return what the server says now.

        Raises:
            SourceError: what matters could not be read.

        """

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        began = self.clock.monotonic()
        try:
            found = await self.read()
        except SourceError as error:
            if error.retry_after_s is None:
                self.rest.due.reset()
            now = self.clock.now()
            return Batch(now, now, self.rest.tracker.failure(now, error, self.clock.monotonic() - began))
        now = self.clock.now()
        health = self.rest.tracker.success(now, self.clock.monotonic() - began, found.status, self.notes.reason())
        return Batch(now, now, health, found.readings.build(), tuple(found.events), facts=tuple(found.facts))

    async def aclose(self) -> None:  # noqa: B027 - nothing to let go of
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""
