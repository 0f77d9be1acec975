"""What changed in the calls themselves: a model, a version of an application or of a prompt that was not in use before.

| what | whose |
|---|---|
| version | the application's, or the model's: whatever Langfuse's ``version`` means there; by model |
| prompt version | by prompt |
| model | by name of the call |
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from aistack_top.derive.call_signals import MODEL_KINDS
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Call, Event
from aistack_top.text.sanitize import sanitize

MIN_CALLS = {"model": 50, "version": 20, "prompt version": 20}
"""Calls seen before something new is news: what has a tenth of the calls is then known 199 times in 200, or 8 in 9.
A service uses several models at a time more often than several versions of one."""

ABSENT_S = 1800.0
"""What was away for this long while others were in use has come back, and is news again."""

LATE_S = 60.0
"""Calls come within so many seconds of each other's order; what is older was sent late."""

MAX_NAMES = 1000
"""Names that are remembered."""


@dataclass(slots=True)
class _Use:
    """The values in use under one name: when each was last seen, and how many calls there were."""

    calls: int = 0
    last: dict[str, float] = field(default_factory=dict)


class VersionWatch:
    """Tells, from calls in about the order of their ends, what came into use."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._uses: OrderedDict[tuple[str, str], _Use] = OrderedDict()

    def observe(self, calls: Iterable[Call]) -> tuple[Event, ...]:
        """Return what is new with these calls."""
        found: list[Event] = []
        for call in sorted(calls, key=lambda one: one.end):
            if call.kind not in MODEL_KINDS:
                continue
            found += self._see("model", call.name, call.model, Entity.of(model=call.model), call)
            found += self._see("version", call.model, call.version, Entity.of(model=call.model), call)
            found += self._see("prompt version", call.prompt, call.prompt_version, Entity.of(prompt=call.prompt), call)
        return tuple(found)

    def _see(self, what: str, name: str, value: str, about: Entity, call: Call) -> Iterable[Event]:
        if not name or not value:
            return
        use = self._uses.get((what, name))
        if use is None:
            use = self._uses[what, name] = _Use()
            if len(self._uses) > MAX_NAMES:
                self._uses.popitem(last=False)
        self._uses.move_to_end((what, name))
        last, newest = use.last.get(value), max(use.last.values(), default=0.0)
        if last is None and call.end < newest - LATE_S:
            return  # from before what is in use now
        if use.calls >= MIN_CALLS[what] and (last is None or call.end - last > ABSENT_S):
            others = sorted((one for one in use.last if one != value), key=lambda one: -use.last[one])
            if others and newest - use.last[others[0]] <= ABSENT_S:
                yield self._event(what, name, value, others[0], about, call)
        use.calls += 1
        use.last[value] = max(last or 0.0, call.end)
        if len(use.last) > MAX_NAMES:
            del use.last[min(use.last, key=lambda one: use.last[one])]

    def _event(self, what: str, name: str, value: str, before: str, about: Entity, call: Call) -> Event:
        whose = f"{sanitize(name, 60)}: " if what == "model" else ""
        text = f"{whose}{what} {sanitize(value, 60)} in calls, until now {sanitize(before, 60)}"
        detail = (("key", what.replace(" ", "_")), ("before", before), ("after", value))
        return Event(call.start, call.seen, "tracing", "changed", "info", about, text, self._source, detail)
