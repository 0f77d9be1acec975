"""What is computed from guardrail calls: ``guardrail.*`` by rail, from traces. Never recorded, always derived again.

| a guardrail call is | counted as |
|---|---|
| any of its kind | a request of the rail that its name names |
| of level WARNING | a hit: the application marked that the rail stopped or flagged something |
| of level ERROR | an error: the check itself failed |

A block is an ordinary answer, so a status never tells. The rails are apart from each other, and there is no sum of
them among the readings: whoever adds them up counts each call once.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from aistack_top.derive import CallBook, Grid, spread
from aistack_top.entity import Entity
from aistack_top.quantiles import WIDEST_S, WINDOW_S
from aistack_top.tick import Batch, Call, Readings, ReadingsBuilder

HIT = "WARNING"
USUAL = "DEFAULT"

PROXY_SPAN = "guardrail"
"""What LiteLLM calls all its guardrail spans; it marks none of them, whatever the rail did (1.109, langfuse.py)."""

PROXY = "litellm"

SILENT_S = 3600.0
"""A rail without a call for this long is not told of any more; before, it is told to have had none."""

MOST_RAILS = 100
OTHER_RAILS = "other"
"""Span names are the application's: beyond `MOST_RAILS` of them, what they tell is told together."""


class GuardrailSignals:
    """Derives ``guardrail.*`` for each rail, and model where the call has one, on the grid of ``calls.*``."""

    def __init__(self, book: CallBook) -> None:
        self._book = book
        self._grid = Grid()
        self._rails: dict[Entity, tuple[float, float]] = {}
        self._proxy_since: float | None = None

    def take(self, batches: Sequence[Batch], fresh: Iterable[Call]) -> list[tuple[float, Readings]]:
        """Return the readings of each grid point that became computable or has to be computed again.

        Spans that LiteLLM wrote are left out from when its own counters are read: those know the hits.
        """
        for batch in batches:
            if batch.health.kind == PROXY and "guardrail.requests" in batch.readings.signals:
                self._proxy_since = min(batch.at, self._proxy_since or batch.at)
        checks = [call for call in fresh if call.kind == "guardrail"]
        for call in checks:
            rail = self._rail(call)
            first, last = self._rails.get(rail, (call.end, call.end))
            self._rails[rail] = (min(first, call.end), max(last, call.end))
        points = self._grid.points(batches, checks)
        if not self._rails:
            return []
        found = ((moment, self._at(moment)) for moment in points)
        return [(moment, readings) for moment, readings in found if len(readings)]

    def clear(self) -> None:
        """Forget how far it got."""
        self._grid.clear()
        self._rails.clear()
        self._proxy_since = None

    def _rail(self, call: Call) -> Entity:
        """Return whom a call is about: its rail, and the model that did the check, if it was one."""
        name = call.name or OTHER_RAILS
        rail = Entity.of(rail=name, model=call.model) if call.model else Entity.of(rail=name)
        return rail if rail in self._rails or len(self._rails) < MOST_RAILS else Entity.of(rail=OTHER_RAILS)

    def _at(self, moment: float) -> Readings:
        groups: defaultdict[Entity, list[Call]] = defaultdict(list)
        for rail, (first, last) in self._rails.items():
            if first <= moment < last + SILENT_S and not self._told_by_proxy(rail, moment):
                groups[rail] = []
        for call in self._book.between(moment - WIDEST_S, moment):
            if call.kind == "guardrail" and (rail := self._rail(call)) in groups:
                groups[rail].append(call)
        builder = ReadingsBuilder()
        window_s = min(WINDOW_S, moment - self._grid.first)
        for rail, calls in groups.items():
            _describe(builder, rail, calls, moment, window_s)
        return builder.build()

    def _told_by_proxy(self, rail: Entity, moment: float) -> bool:
        return rail.get("rail") == PROXY_SPAN and self._proxy_since is not None and moment >= self._proxy_since


def _describe(builder: ReadingsBuilder, rail: Entity, calls: list[Call], moment: float, window_s: float) -> None:
    recent = [call for call in calls if call.end > moment - WINDOW_S]
    marked = rail.get("rail") != PROXY_SPAN or any(call.level != USUAL for call in calls)
    if window_s > 0:
        builder.add("guardrail.requests", rail, len(recent) / window_s)
        if marked:
            builder.add("guardrail.hits", rail, sum(call.level == HIT for call in recent) / window_s)
            builder.add("guardrail.errors", rail, sum(call.failed for call in recent) / window_s)
    builder.add("guardrail.latency", rail, spread([(call.end, call.latency) for call in calls], moment))
