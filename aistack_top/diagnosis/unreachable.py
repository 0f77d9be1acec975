"""Engines that answer nothing any more, and whose work no other engine does: trouble in itself."""

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Event, Health
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

GONE_S = 10.0
"""A rolling restart leaves a replica to serve; without one, every second is an outage."""

REPLACED_S = 300.0
"""With a replica that serves, a restart may take so long before it is an outage."""

FINE = ("ok", "slow", "partial")


class UnreachableEngines:
    """Follows the engines' sources. One that worked and refuses for a while, without a replica, is told once."""

    def __init__(self) -> None:
        self._fine: dict[str, float] = {}
        self._told: set[str] = set()

    def advance(self, state: State, at: float) -> list[Event]:
        """Return an event for each source of engines that is gone since the last step."""
        found = []
        for seen, health in state.health.at():
            name = health.source
            if health.layer != "serving":
                continue
            if health.status in FINE:
                self._fine[name] = seen
                self._told.discard(name)
            elif health.status == "down" and name in self._fine and name not in self._told:
                since = self._fine[name]
                if at - since >= (REPLACED_S if _replaced(state, name) else GONE_S):
                    self._told.add(name)
                    text = f"{sanitize(name)} does not answer: {sanitize(health.reason, 120)}"
                    detail = (("source", name), ("reason", sanitize(health.reason, 120)))
                    about = Entity.of(engine=name)
                    found.append(Event(since, at, "serving", "gone", "critical", about, text, name, detail))
        return found


def is_back(state: State, source: str) -> bool:
    """Return whether a source that was gone answers again."""
    known: tuple[float, Health] | None = state.health.newest.get(source)
    return known is not None and known[1].status in FINE


def _replaced(state: State, source: str) -> bool:
    """Whether another source has an engine with the same model."""
    engines = {name for e in state.timeline.entities("serving.requests.running") if (name := e.get("engine"))}
    models = {state.facts.get(Entity.of(engine=name), "model") for name in engines if _source_of(name) == source}
    return any(
        state.facts.get(Entity.of(engine=name), "model") in models - {None} and is_back(state, _source_of(name))
        for name in engines
        if _source_of(name) != source
    )


def _source_of(engine: str) -> str:
    return engine.partition("/")[0]
