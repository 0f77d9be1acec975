"""A feed whose ticks carry what was found in them: incidents, and what was spent today."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aistack_top.feeds.base import FeedDecorator
from aistack_top.model.feed import Feed, IncidentAware
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Batch, Health, Mark, Tick
from aistack_top.session.threads import on_thread
from aistack_top.text.sanitize import sanitize

if TYPE_CHECKING:
    from aistack_top.diagnosis.detector import IncidentDetector

PRICES = "prices"
"""The kind of source that tells what things cost."""

STEPS = 2
"""Grid steps of one tick: a history at the start is caught up with over the ticks that follow."""


class DiagnosedFeed(FeedDecorator):
    """Puts the watch between the sources and whoever records or shows them.

    It looks on a thread: a look at an incident takes longer than a key may wait.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._made: IncidentDetector | None = None
        self._fault = ""
        self._dismissed: list[str] = []

    @property
    def _watch(self) -> "IncidentDetector":
        if self._made is None:
            from aistack_top.diagnosis.detector import IncidentDetector

            self._made = IncidentDetector(STEPS, spend=True)
        return self._made

    async def ticks(self) -> AsyncIterator[Tick]:
        """Yield ticks in order of time."""
        feed: object = self._feed
        async for tick in self._feed.ticks():
            watched = await on_thread(partial(self.watched, tick))
            if isinstance(feed, IncidentAware):
                feed.set_incident_open(self._has_incident)
            yield watched

    @property
    def _has_incident(self) -> bool:
        open_incidents = self._made.open_incidents if self._made is not None else ()
        return not self._fault and any(trouble.is_open and not trouble.dismissed for trouble in open_incidents)

    def watched(self, tick: Tick) -> Tick:
        """Return a tick with what is found in it; for a past that does not come through the feed, too."""
        if self._fault:
            return tick
        try:
            while self._dismissed:
                self._watch.dismiss(self._dismissed.pop(0))
            found = (*_left_open(tick), *self._watch.observe(tick))
        except Exception as error:  # a mistake in a verdict must not cost the numbers: it is said, and they go on
            self._fault = f"diagnosis stopped: {sanitize(f'{type(error).__name__}: {error}')}"
            health = Health("diagnosis", "diagnosis", "tracing", "down", self._fault)
            return replace(tick, batches=(*tick.batches, Batch(tick.at, tick.seen, health)))
        told = self._with_ledger(tick)
        return replace(told, incidents=(*told.incidents, *found)) if found else told

    def _with_ledger(self, tick: Tick) -> Tick:
        """Add what was spent today to the prices, whenever these are told anew: once a minute."""
        ledger = self._watch.state.ledger() if any(batch.health.kind == PRICES for batch in tick.batches) else None
        if ledger is None:
            return tick
        told = (
            replace(batch, facts=(*batch.facts, ledger)) if batch.health.kind == PRICES else batch
            for batch in tick.batches
        )
        return replace(tick, batches=tuple(told))

    def keep(self, mark: Mark) -> bool:
        """See `KeepsMarks`; a dismissed incident's symptoms must rise further to be told again."""
        if mark.kind == "dismissed":
            self._dismissed.append(mark.about)  # between two ticks: the thread may be at work on one
        return super().keep(mark)


def _left_open(tick: Tick) -> list[Incident]:
    """Return an end for each incident that a recording before this start left open: nobody saw how it went on."""
    if not tick.reset:
        return []
    newest = {incident.id: incident for incident in tick.incidents}
    return [
        replace(one, end=tick.at, revised=max(tick.seen, one.revised)) for one in newest.values() if one.end is None
    ]
