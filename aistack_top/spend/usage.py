"""What calls cost and generated, added up in steps of five seconds, so that a window is a sum of a few steps.

A late call, or one told anew, makes its step be added up again from the book of calls.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, isfinite

from aistack_top.derive.call_signals import GRID_S, MODEL_KINDS, TYPICAL_DELAY_S
from aistack_top.measure.quantiles import WINDOW_S
from aistack_top.model.tick import Batch, Call
from aistack_top.store.calls import CallStore

STEPS = round(WINDOW_S / GRID_S)
Key = tuple[str, str]
"""Model and tenant of a call."""


@dataclass(slots=True)
class UsageSums:
    """Calls of some seconds: output tokens and cost by model and tenant, and the cost by model."""

    tokens: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    cost: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, call: Call) -> None:
        """Count a call; numbers that cannot be are left out."""
        key = (call.model, call.tenant)
        if call.output_tokens is not None and call.output_tokens > 0:
            self.tokens[key] += call.output_tokens
        if call.cost is not None and isfinite(call.cost) and call.cost >= 0:
            self.cost[key] += call.cost

    def merge(self, other: "UsageSums") -> None:
        """Count all that another has counted."""
        for key, tokens in other.tokens.items():
            self.tokens[key] += tokens
        for key, cost in other.cost.items():
            self.cost[key] += cost


class CallUsage:
    """The usage of calls over a minute, and their cost since midnight."""

    def __init__(self, book: CallStore) -> None:
        self._book = book
        self._until: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._dirty: list[int] = []
        self._marked: set[int] = set()
        self.changed: set[int] = set()
        """Steps whose calls are new or changed; whoever has looked at them clears it."""
        self._steps: dict[int, UsageSums] = {}
        self._day = 0
        self._day_steps: dict[int, dict[str, float]] = {}
        self._day_cost: defaultdict[str, float] = defaultdict(float)
        self._told_elsewhere: set[int] = set()
        self._after = 0

    def observe(self, batches: Iterable[Batch], fresh: Iterable[Call]) -> None:
        """Take what a tick brought: how far the sources of calls have got, and the calls that are new or changed."""
        for batch in batches:
            if batch.calls_until is not None:
                source = batch.health.source
                oldest = min((call.end for call in batch.calls), default=batch.calls_until)
                self._begun[source] = min(self._begun.get(source, batch.calls_until), oldest)
                self._until[source] = max(self._until.get(source, 0.0), batch.calls_until)
        for call in fresh:
            step = step_of(call.end)
            self._steps.pop(step, None)
            self.changed.add(step)
            self._mark(step)

    @property
    def begun(self) -> float | None:
        """Since when calls are known; None without a source of calls."""
        return max(self._begun.values(), default=None)

    @property
    def last_step(self) -> int | None:
        """The newest step whose calls can be expected to be in; None without a source of calls."""
        return int((min(self._until.values()) - TYPICAL_DELAY_S) // GRID_S) if self._until else None

    def window(self, last: int) -> tuple[UsageSums, float] | None:
        """Return the usage of the minute that ends with a step, and its length in seconds; None if none is known."""
        covers = 0.0 if self.begun is None else min(WINDOW_S, last * GRID_S - self.begun)
        if covers < GRID_S:
            return None
        found = UsageSums()
        for step in range(last - STEPS + 1, last + 1):
            found.merge(self._usage(step))
        for old in [step for step in self._steps if step <= last - STEPS]:
            del self._steps[old]
        return found, covers

    def leave(self, step: int) -> None:
        """Do not count the cost of the calls of this step for the day: a proxy tells it."""
        self._told_elsewhere.add(step)

    def begin_after(self, step: int) -> None:
        """Do not count the cost of calls up to this step for the day: an earlier run has counted them."""
        self._after = step

    def today(self, last: int, day_began: float) -> dict[str, float]:
        """Return the cost of the calls from midnight to the end of a step, by model; steps come in order."""
        day = step_of(day_began)
        if day != self._day:
            self._day = day
            self._day_steps.clear()
            self._day_cost.clear()
            self._told_elsewhere = {step for step in self._told_elsewhere if step > day}
        while self._dirty and self._dirty[0] <= last:
            step = heappop(self._dirty)
            self._marked.discard(step)
            if step > max(day, self._after) and step not in self._told_elsewhere and not self._forgotten(step):
                self._count(step)
        return {model: max(cost, 0.0) for model, cost in self._day_cost.items()}

    def recount(self) -> None:
        """Count the day's cost anew: the time of which it is told begins earlier than was thought."""
        for step in self._day_steps:
            self._mark(step)
        self._day = 0

    def _mark(self, step: int) -> None:
        if step not in self._marked:
            self._marked.add(step)
            heappush(self._dirty, step)

    def _count(self, step: int) -> None:
        by_model: defaultdict[str, float] = defaultdict(float)
        for (model, _), cost in self._usage(step).cost.items():
            by_model[model] += cost
        for model, cost in self._day_steps.get(step, {}).items():
            self._day_cost[model] -= cost
        for model, cost in by_model.items():
            self._day_cost[model] += cost
        self._day_steps[step] = by_model

    def _forgotten(self, step: int) -> bool:
        oldest = self._book.oldest
        return step in self._day_steps and oldest is not None and step_of(oldest) >= step

    def _usage(self, step: int) -> UsageSums:
        known = self._steps.get(step)
        if known is None:
            known = self._steps[step] = UsageSums()
            for call in self._book.between((step - 1) * GRID_S, step * GRID_S):
                if call.kind in MODEL_KINDS:
                    known.add(call)
        return known


def step_of(moment: float) -> int:
    """Return the number of the step that holds a moment: step n is (5 (n - 1), 5 n] seconds."""
    return ceil(moment / GRID_S)
