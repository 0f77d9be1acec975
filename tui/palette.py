"""What the palette finds beside the actions: times to go to, columns to sort by, and everything that has a name."""

import re
from collections.abc import Iterable
from functools import partial

from textual.command import Hit, Hits, Provider

from aistack_top.model.entity import Entity
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from tui import navigation as doors
from tui.model.targets import EntityTarget
from tui.screens.base import ConsoleScreen
from tui.screens.row_list import RowListScreen

_TIME = re.compile(r"-\d+(\.\d+)?\s*[smhd]?|\d{1,2}:\d{2}(:\d{2})?")
NAMED = ("engine", "gpu", "model", "rail", "tenant", "lora")


class GoToCommands(Provider):
    """Times as they are typed, columns to sort by, and GPUs, engines, models, rails and tenants by their names."""

    async def search(self, query: str) -> Hits:
        """Yield what fits what was typed so far."""
        screen = self.screen
        if not isinstance(screen, ConsoleScreen):
            return
        said = query.strip()
        if _TIME.fullmatch(said):
            yield Hit(
                1.0, f"Go to {said}", partial(screen.go_to_typed, said), help="moves the time cursor on all screens"
            )
        matcher = self.matcher(query)
        if isinstance(screen, RowListScreen):
            for column in screen.sorts():
                score = matcher.match(f"sort by {column}")
                if score > 0:
                    does = partial(screen.sort_by, column)
                    yield Hit(score, matcher.highlight(f"sort by {column}"), does, help="r reverses the order")
        frame = screen.console.view().frame
        for entity in named_entities(frame):
            key, said_name = entity.pairs[0][0], label(entity, frame.facts)
            name = said_name if said_name.startswith(f"{key} ") else f"{key} {said_name}"
            score = matcher.match(name)
            if score > 0:
                opens = partial(doors.open_target, screen, EntityTarget(entity))
                yield Hit(score, matcher.highlight(name), opens, help="all its data")


def named_entities(frame: Frame) -> Iterable[Entity]:
    """Return every entity with one of the names that people know, once each."""
    found: dict[Entity, None] = {}
    for _, entity, _ in frame.timeline:
        for key in NAMED:
            value = entity.get(key)
            if value is not None:
                found[Entity.of(**{key: value})] = None
    return found
