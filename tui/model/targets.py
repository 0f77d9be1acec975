"""What a row or a key can lead to. Whoever has one posts `OpenTarget`, and the app opens it."""

from dataclasses import dataclass

from textual.message import Message

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
    """The table of calls, filtered; the whole one without a filter."""

    wanted: str = ""


@dataclass(frozen=True, slots=True)
class IncidentTarget:
    """One incident, by its id; without one the incident of the verdict line."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class MomentTarget:
    """A time to stand at; ``what`` tells apart things of the same moment."""

    at: float
    what: str = ""


@dataclass(frozen=True, slots=True)
class LayerTarget:
    """The screen of a layer, by its name."""

    layer: str


@dataclass(frozen=True, slots=True)
class IncidentsTarget:
    """The list of incidents."""


@dataclass(frozen=True, slots=True)
class SourcesTarget:
    """The list of sources."""


@dataclass(frozen=True, slots=True)
class ChangesTarget:
    """The list of what changed and happened."""


@dataclass(frozen=True, slots=True)
class HelpTarget:
    """The help of the screen that is seen."""


Target = (
    EntityTarget
    | NumberTarget
    | CallTarget
    | CallsTarget
    | IncidentTarget
    | MomentTarget
    | LayerTarget
    | IncidentsTarget
    | SourcesTarget
    | ChangesTarget
    | HelpTarget
)


class OpenTarget(Message):
    """Asks the app to open something, from whichever screen is seen."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
