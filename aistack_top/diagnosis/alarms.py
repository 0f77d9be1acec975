"""What is trouble in itself, without a latency: which events, what they are about, and which are one story.

`SIGNALS` is the table to extend: an event of a kind that stands there opens an incident at once. What is a number
(refusals, errors, hang-ups) is a row of ``[[symptom]]`` in ``causes.toml`` instead.
"""

import re
from collections import deque
from collections.abc import Iterable

from aistack_top.derive.incident_figures import NOTICE, RESTARTS, SOURCE_UP
from aistack_top.diagnosis.unreachable import UnreachableEngines
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Event
from aistack_top.state import State
from aistack_top.store.facts import Facts
from aistack_top.text.sanitize import sanitize

SIGNALS = {
    "ecc": "gpu.ecc.uncorrected",
    "xid": "gpu.recovery_action",
    "frozen": "serving.engine.frozen",
    "gone": SOURCE_UP,
    "dead": "serving.engine.dead",
    "crash_loop": RESTARTS,
    "notice": NOTICE,
    "log": "host.log.lines",
}
"""Kinds of events that open an incident, and the symptom that stands for each."""

STORIES = frozenset(
    {("xid", "gone"), ("xid", "frozen"), ("xid", "ecc"), ("ecc", "xid"), ("ecc", "gone"), ("notice", "gone"),
     ("gone", "notice"), ("crash_loop", "gone"), ("gone", "crash_loop"), ("dead", "gone"), ("xid", "dead"),
     ("xid", "log"), ("log", "xid"), ("log", "gone"), ("log", "dead"), ("log", "frozen"), ("log", "ecc")}
)  # fmt: skip
"""Kinds of which the second is what the first leads to: one incident. A freeze and a kill are two."""

TAKES_BACK = re.compile("terminate|stop|hibernate|preempt")
"""Actions of a notice that take the node; a recommendation or maintenance does not."""

FRESH_S = 300.0
STEP_S = 5.0

RESTARTS_NEEDED, RESTARTS_WITHIN_S = 5, 1800.0
"""So many starts in so many seconds are a crash loop; a rollout starts an engine once."""


class Alarms:
    """Follows events and engines. ``started`` is when each engine was last seen to start."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self._gone = UnreachableEngines()
        self._until = 0.0
        self._errors: dict[Entity, float] = {}
        self._starts: dict[str, deque[float]] = {}

    def step(self, state: State, at: float) -> list[Event]:
        """Return what happened since the last step that is trouble in itself."""
        fresh = [e for e in state.events if self._until < e.seen <= at + STEP_S]
        self._until = at + STEP_S
        late = [e for e in fresh if e.at > at - FRESH_S or e.kind == "notice"]
        found = [e for e in late if is_alarm(e)]
        return [*found, *self._loops(late, at), *self._gone.advance(state, at), *self._memory(state, at)]

    def _loops(self, fresh: Iterable[Event], at: float) -> list[Event]:
        """Return an event for each engine that starts again and again; none for one that restarted once."""
        found = []
        for event in fresh:
            if event.kind != "restart":
                continue
            name = event.entity.get("engine") or ""
            self.started[name] = event.at
            starts = self._starts.setdefault(name, deque(maxlen=RESTARTS_NEEDED))
            starts.append(event.at)
            if len(starts) == RESTARTS_NEEDED and starts[-1] - starts[0] <= RESTARTS_WITHIN_S:
                text = f"{sanitize(name)} started {len(starts)} times in {(starts[-1] - starts[0]) / 60:.0f} min"
                found.append(Event(event.at, at, "serving", "crash_loop", "critical", event.entity, text, event.source))
                starts.clear()
        return found

    def _memory(self, state: State, at: float) -> list[Event]:
        found = []
        for entity in state.timeline.entities("gpu.ecc.uncorrected"):
            sample = state.timeline.sample(("gpu.ecc.uncorrected", entity, "value"), at, 30.0)
            if sample is not None:
                before = self._errors.setdefault(entity, sample.number)
                self._errors[entity] = sample.number
                if sample.number > before:
                    text = "uncorrectable memory error"
                    found.append(Event(sample.at, at, "compute", "ecc", "critical", entity, text))
        return found


def is_alarm(event: Event) -> bool:
    """Return whether an event is trouble in itself."""
    detail = dict(event.detail)
    if event.kind == "notice":
        taken = TAKES_BACK.fullmatch(detail.get("action", "")) is not None
        return taken and event.severity != "info" and detail.get("state", "") != "gone"
    if event.severity != "critical":
        return False
    if event.kind in ("xid", "log"):
        return detail.get("group", "") != "application"
    return event.kind in ("frozen", "dead")


def is_withdrawn(notice: Event, events: Iterable[Event]) -> bool:
    """Return whether a notice was taken back since."""
    return any(
        e.kind == "notice" and e.seen > notice.seen and e.entity == notice.entity
        and dict(e.detail).get("state") == "gone"
        and dict(e.detail).get("action") == dict(notice.detail).get("action")
        for e in events
    )  # fmt: skip


def place_of(entity: Entity) -> Entity:
    """Return where a symptom is: its engine, rail or model, else the service."""
    for key in ("engine", "rail", "model"):
        name = entity.get(key)
        if name:
            return Entity.of(**{key: name})
    return SERVICE


def place_of_event(event: Event, facts: Facts) -> Entity:
    """Return where an event's trouble is: the engine on its GPU, its engine, or its node."""
    gpu = event.entity.get("gpu")
    if gpu:
        owners = [link.parent for link in facts.parents(Entity.of(gpu=gpu))]
        return owners[0] if owners else event.entity
    if event.kind == "notice" and event.entity.get("node"):
        return event.entity
    return place_of(event.entity)
