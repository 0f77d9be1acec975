"""What a row of a list can lead to; `tui.navigation` opens it."""

from dataclasses import dataclass

from aistack_top.model.entity import Entity


@dataclass(frozen=True, slots=True)
class EntityTarget:
    """Everything that is known of an entity."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class NumberTarget:
    """The history of one number, beside that of its peers."""

    signal: str
    entity: Entity
    stat: str


@dataclass(frozen=True, slots=True)
class CallTarget:
    """One call, by its id."""

    name: str


@dataclass(frozen=True, slots=True)
class CallsTarget:
    """The table of calls, filtered."""

    wanted: str = ""


@dataclass(frozen=True, slots=True)
class IncidentTarget:
    """One incident, by its id."""

    name: str


@dataclass(frozen=True, slots=True)
class MomentTarget:
    """A time to stand at; ``what`` tells apart things of the same moment."""

    at: float
    what: str = ""


Target = EntityTarget | NumberTarget | CallTarget | CallsTarget | IncidentTarget | MomentTarget
