"""Guardrails as the traces tell them: ``guardrail.*`` by rail, and by model where a model did the check.

| a guardrail span is | counted as |
|---|---|
| any | a request that its rail looked at, and the time that it added |
| of level WARNING | a hit: the application marked that the rail stopped or flagged something |
| of level ERROR | an error: the check itself failed |

A block is an ordinary answer of the service, so a status never tells. Where a source counts a rail itself, its spans
are passed over: they may be a sample, and nothing is counted twice.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter

from aistack_top.measure.quantiles import WINDOW_S
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, History, ReadingsBuilder

FLAGGED_LEVEL, DEFAULT_LEVEL = "WARNING", "DEFAULT"

PROXY, PROXY_SPAN = "litellm", "guardrail"
"""LiteLLM calls all its guardrail spans by this one name and marks none of them, whatever the rail did (1.109)."""

TOLD_S = 120.0
"""Counters are believed for this long after they were last read."""

END = attrgetter("end")

SILENT_S = 3600.0
"""A rail without a call for this long is not told of any more; before, it is told to have had none."""

MAX_RAILS = 100
OTHER = "other"
"""Span names are the application's own: beyond `MAX_RAILS` of them, the others are told as one."""


class GuardrailStats:
    """Who checks: the rails seen so far, each with its first and its last call, and those that a source counts."""

    def __init__(self) -> None:
        self._known: dict[Entity, tuple[float, float]] = {}
        self._counted: dict[str, tuple[float, float]] = {}

    def observe(self, batches: Iterable[Batch], fresh: Iterable[Call]) -> None:
        """Take what was learned."""
        for batch in batches:
            if "guardrail.requests" in batch.readings.signals:
                rails = {entity.get("rail") or "" for name, entity, _ in batch.readings if name == "guardrail.requests"}
                if batch.health.kind == PROXY:
                    rails.add(PROXY_SPAN)
                for rail in rails:
                    self._count(rail, batch.at, batch.at)
        for call in fresh:
            if call.kind == "guardrail":
                who = self._of(call)
                first, last = self._known.get(who, (call.end, call.end))
                self._known[who] = (min(first, call.end), max(last, call.end))

    def backfill(self, history: History) -> None:
        """Take a past in bulk, before its calls: its readings are columns, and come with no batch of their own."""
        proxies = {batch.health.source for batch in history.batches if batch.health.kind == PROXY}
        for (name, who, _), column in history.columns.items():
            if name == "guardrail.requests":
                end = history.start + len(column) * history.step
                self._count(who.get("rail") or "", history.start, end)
                if who.get("source") in proxies:
                    self._count(PROXY_SPAN, history.start, end)

    def at(self, moment: float, calls: Iterable[Call]) -> dict[Entity, list[Call]]:
        """Return the checks of each rail that is told of at a moment, also of one that had none.

        ``calls`` are guardrail spans in the order of their ends, and so are those of each rail.
        """
        found: dict[Entity, list[Call]] = {
            who: []
            for who, (first, last) in self._known.items()
            if first <= moment < last + SILENT_S and not self._is_counted(who, moment)
        }
        spans: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in calls if found else ():
            spans[call.name, call.model].append(call)
        for alike in spans.values():  # a rail has hundreds of calls: who it is, is asked once
            who = self._of(alike[0])
            if who in found:
                found[who] = sorted([*found[who], *alike], key=END) if found[who] else alike
        return found

    def clear(self) -> None:
        """Forget every rail."""
        self._known.clear()
        self._counted.clear()

    def _of(self, call: Call) -> Entity:
        name = call.name or OTHER
        rail = Entity.of(rail=name, model=call.model) if call.model else Entity.of(rail=name)
        return rail if rail in self._known or len(self._known) < MAX_RAILS else Entity.of(rail=OTHER)

    def _count(self, rail: str, first: float, last: float) -> None:
        before = self._counted.get(rail, (first, last))
        self._counted[rail] = (min(before[0], first), max(before[1], last))

    def _is_counted(self, who: Entity, moment: float) -> bool:
        first, last = self._counted.get(who.get("rail") or "", (0.0, -TOLD_S))
        return first <= moment < last + TOLD_S


def since(calls: Sequence[Call], moment: float) -> Sequence[Call]:
    """Return the calls that ended after a moment, of some in the order of their ends."""
    return calls[bisect_right(calls, moment, key=END) :]


def count(builder: ReadingsBuilder, rail: Entity, calls: list[Call], moment: float, window_s: float) -> None:
    """Add how much a rail checked, stopped and failed to check in the seconds before a moment.

    Hits of `PROXY_SPAN` are unknown while nobody marked any of them: nothing is told, and not that there were none.
    """
    if window_s <= 0:
        return
    recent = since(calls, moment - WINDOW_S)
    builder.add("guardrail.requests", rail, len(recent) / window_s)
    if rail.get("rail") == PROXY_SPAN and all(call.level == DEFAULT_LEVEL for call in calls):
        return
    levels: defaultdict[str, int] = defaultdict(int)
    for call in recent:
        levels["ERROR" if call.failed else call.level] += 1
    builder.add("guardrail.hits", rail, levels[FLAGGED_LEVEL] / window_s)
    builder.add("guardrail.errors", rail, levels["ERROR"] / window_s)
