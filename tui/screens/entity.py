"""Everything that is known of one GPU, engine, model, rail or whatever has a name."""

from collections.abc import Sequence
from dataclasses import replace

from aistack_top.model.entity import Entity
from aistack_top.model.signals import LAYERS, signals
from aistack_top.store.facts import Facts, title
from aistack_top.store.labels import label
from aistack_top.text.sanitize import sanitize
from layouts.load import PanelRow as Number
from tui.model.console import Console
from tui.model.targets import CallsTarget, EntityTarget, MomentTarget
from tui.screens.row_list import RowListScreen
from tui.sections.context import BLANK, RenderContext, heading, note_line
from tui.sections.events import event_lines
from tui.sections.section_rows import LABEL, figure_row
from tui.widgets.cells import cell
from tui.widgets.row_list import Row, static_row
from tui.widgets.values import PanelValue, figures

REACH_S = 24 * 3600.0
MAX_EVENTS = 50
PARTS = ("p50", "p95", "p99")


class EntityScreen(RowListScreen):
    """Numbers with their histories, facts, who part of it, and events."""

    def __init__(self, console: Console, entity: Entity) -> None:
        super().__init__(console)
        self.entity = entity

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return label(self.entity, self.console.state.facts, 24)

    def rows(self, scene: RenderContext) -> Sequence[Row]:
        """Return the rows of this screen at the time shown."""
        parts = [
            *(numbers_of(self.entity, layer, scene) for layer in LAYERS),
            belongings(self.entity, scene),
            facts_of(self.entity, scene),
            events_of(self.entity, scene),
        ]
        found = [row for part in parts if part for row in (*part, BLANK)]
        return found[:-1] or [note_line("no data for it at this time")]

    def numbers(self) -> Sequence[str]:
        """Return the signals that the help of this screen explains."""
        frame = self.console.view().frame
        return [name for name in signals() if frame.entities(name, self.entity)]


def numbers_of(entity: Entity, layer: str, scene: RenderContext) -> list[Row]:
    """Return every number of one layer about an entity or a part of it."""
    frame = scene.view.frame
    found: list[Row] = []
    for name, signal in signals().items():
        if signal.layer != layer:
            continue
        about = frame.entities(name, entity)
        for part in PARTS if signal.form == "quantiles" else ("value",):
            wished = Number(name, stat=part, over="each")
            shown = {figure.about[0]: figure for figure in figures(wished, scene.view) if figure.about} if about else {}
            found += [
                figure_row(_titled(shown[one], entity, part, frame.facts), scene) for one in about if one in shown
            ]
    return [heading(layer, scene), *found] if found else []


def belongings(entity: Entity, scene: RenderContext) -> list[Row]:
    """Return the GPUs of an engine, the engines on a GPU, and the way to the calls of a model."""
    facts = scene.view.frame.facts
    found = [
        *(_link("uses", link.child, f"by {link.proof} {link.detail}", scene) for link in facts.children(entity)),
        *(_link("used by", link.parent, f"by {link.proof} {link.detail}", scene) for link in facts.parents(entity)),
    ]
    model = entity.get("model") or (facts.get(entity, "model") if entity.get("engine") else None)
    if model:
        said = f"  calls of {sanitize(model.rsplit('/', 1)[-1], 40)}"
        found.append(static_row((cell(scene.glyphs.text(said), "label"),), CallsTarget(f"model:{sanitize(model)}")))
    return [heading("part of it", scene), *found] if found else []


def facts_of(entity: Entity, scene: RenderContext) -> list[Row]:
    """Return what is so."""
    facts = scene.view.frame.facts.of(entity)
    known = [*((key, value) for key, value in entity.pairs), *sorted(facts.items())]
    width = max(scene.width - LABEL - 4, 8)
    lines = [
        (
            cell("  " + scene.glyphs.text(sanitize(title(key), LABEL - 1)), "dim", LABEL + 2),
            cell(scene.glyphs.text(sanitize(value)), "text", width),
        )
        for key, value in dict(known).items()
    ]
    return [heading("data", scene), *map(static_row, lines)] if lines else []


def events_of(entity: Entity, scene: RenderContext) -> list[Row]:
    """Return events, newest first."""
    frame = scene.view.frame
    events = [event for event in frame.events(frame.at - REACH_S) if _about(entity, event.entity)]
    if not events:
        return []
    found = [heading("events", scene)]
    for event in sorted(events, key=lambda event: event.at, reverse=True)[:MAX_EVENTS]:
        first, *more = event_lines(event, scene.view, scene.width, scene.glyphs)
        found += [static_row(first, MomentTarget(event.at, event.text)), *map(static_row, more)]
    return found


def _about(entity: Entity, other: Entity) -> bool:
    return bool(entity.pairs) and entity.covers(other)


def _link(how: str, other: Entity, proof: str, scene: RenderContext) -> Row:
    said = f"{label(other, scene.view.frame.facts)}  ({sanitize(proof, 80).strip()})"
    line = (cell(f"  {how}", "dim", 12), cell(scene.glyphs.text(said), "label", max(scene.width - 12, 8)))
    return static_row(line, EntityTarget(other))


def _titled(figure: PanelValue, entity: Entity, part: str, facts: Facts) -> PanelValue:
    """Return a figure named by its signal; which part of the entity it is about stands beside it."""
    title = figure.signal.title + (f" {part}" if part != "value" else "")
    rest = figure.about[0].without(*(key for key, _ in entity.pairs))
    notes = [note for note in figure.notes if note != figure.signal.title]
    if rest.pairs:
        notes.insert(0, label(rest, facts, 24))
    return replace(figure, label=title, notes=tuple(notes))
