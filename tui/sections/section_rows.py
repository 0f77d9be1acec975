"""The sections that are lists: numbers, events, links, sources, shares of a whole, the slowest calls."""

from functools import partial

from aistack_top.derive.tenants import AGGREGATES, MAX_TENANTS
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Call
from aistack_top.store.frame import Frame, finished_only
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.layers import Section
from tui.model.targets import CallsTarget, CallTarget, EntityTarget, MomentTarget, NumberTarget
from tui.sections.context import RenderContext, heading, note_line
from tui.sections.events import event_lines
from tui.sections.sources import link_lines, source_lines
from tui.widgets.axis import clock
from tui.widgets.cells import Line, cell
from tui.widgets.panel_lines import line_of
from tui.widgets.row_list import Row, static_row
from tui.widgets.values import PanelValue, figures, read

LABEL = 26
REACH_S = 24 * 3600.0
MAX_EVENTS = 100
MAX_SHARES = MAX_TENANTS + len(AGGREGATES)
MAX_CALLS = 8
BAR = 20


def number_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return one line for each signal of the section that somebody tells, or that says why nobody does."""
    found = [
        figure_row(figure, scene)
        for row in section.row
        for figure in figures(row, scene.view)
        if figure.about or row.empty
    ]
    return [heading(section.title, scene), *found] if found else []


def figure_row(figure: PanelValue, scene: RenderContext) -> Row:
    """Return the line of a figure; it leads to the history of its number."""
    target = NumberTarget(figure.signal.name, figure.about[0], figure.stat) if figure.about else None
    return Row(lambda: line_of(figure, scene.view, scene.width, scene.drawing, LABEL), target)


def event_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return what happened in the layer within a day, newest first; a line leads to its moment."""
    frame = scene.view.frame
    events = [
        event
        for event in frame.events(frame.at - REACH_S)
        if event.layer == scene.layer and (not section.events or event.kind in section.events)
    ]
    events.sort(key=lambda event: event.at, reverse=True)
    found = [heading(section.title, scene, f"{len(events)} in 24 h" if events else "")]
    if not events:
        return [*found, note_line("no events in the last 24 h")]
    for event in events[:MAX_EVENTS]:
        said = {"text": event.text, "kind": event.kind, "severity": event.severity, "entity": str(event.entity)}
        if scene.wanted and not scene.wanted.passes(said):
            continue
        first, *more = event_lines(event, scene.view, scene.width, scene.glyphs)
        found += [static_row(first, MomentTarget(event.at, event.text)), *map(static_row, more)]
    return found


def link_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return which engine is proven to use which GPUs."""
    _, *lines = link_lines(scene.view, scene.width, scene.glyphs)
    return [heading(section.title, scene), *map(static_row, lines)]


def source_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return how the sources of the layer are; nothing where it has none, which its first line says already."""
    records = [record for record in scene.view.frame.health if record[1].layer == scene.layer]
    if not records:
        return []
    return [
        heading(section.title, scene),
        *map(static_row, source_lines(scene.view, scene.width, scene.glyphs, records)),
    ]


def share_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return who has how much of the whole: for each key apart, or for all keys together."""
    frame = scene.view.frame
    each = [_sums(section.signal, key, frame) for key in section.keys]
    wholes = [{who: size for sums in each for who, size in sums.items()}] if section.together else each
    rest = read(frame, signals()[section.rest], SERVICE, "value") if section.rest else None
    found = [row for sums in wholes for row in _ranked(sums, rest.size if rest else 0.0, section, scene)]
    left_out = finished_only(scene.view.frame) if section.finished else ""
    return [heading(section.title, scene, left_out), *found] if found else []


def call_rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return the slowest calls of the time shown, and a line that leads to the table of all."""
    view = scene.view
    calls = view.frame.calls(min(view.end, view.frame.at) - view.span_s)
    if not len(view.frame.book):
        return []
    if not calls:
        return [heading(section.title, scene), note_line("no calls ended in this time (so far)")]
    slowest = sorted(calls, key=lambda call: call.latency or 0.0, reverse=True)[:MAX_CALLS]
    known = len(view.frame.calls(0.0))
    all_ = f"{len(calls)} calls in this time; T: filter and sort all {known}"
    return [
        heading(section.title, scene),
        static_row((cell("  " + all_, "label"),), CallsTarget()),
        *(Row(partial(call_line, call, scene), CallTarget(call.id)) for call in slowest),
    ]


def call_line(call: Call, scene: RenderContext) -> Line:
    """Return a call in one line: when it ended, how long it took, what it was."""
    glyphs = scene.glyphs
    return (
        cell("  " + clock(call.end), "dim", 12),
        cell(numbers.duration(call.latency), "value", 10, right=True),
        cell("  failed" if call.failed else "", "alarm", 9),
        cell(glyphs.text(sanitize(call.name or call.kind, 30)) + " ", "label", 24),
        cell(glyphs.text(sanitize(call.model.rsplit("/", 1)[-1], 40)), "text", 24),
    )


def _ranked(sums: dict[Entity, float], rest: float, section: Section, scene: RenderContext) -> list[Row]:
    """Return the members of one whole, the largest first, and what none of them has."""
    total = sum(sums.values()) + rest
    if total <= 0 or not any(sums.values()):
        return []
    names = {who: label(who, scene.view.frame.facts) for who in sums if sums[who]}
    # equal ones in the order of their numbers: gpu 2 before gpu 10
    ranked = sorted(names, key=lambda who: (-sums[who], len(names[who]), names[who]))
    found = [
        static_row(
            _share(_name(entity, names[entity]), sums[entity], total, section.signal, scene), EntityTarget(entity)
        )
        for entity in ranked[:MAX_SHARES]
    ]
    if len(ranked) > MAX_SHARES:
        left = sum(sums[entity] for entity in ranked[MAX_SHARES:])
        found.append(note_line(f"{len(ranked) - MAX_SHARES} others: {_amount(left, section.signal)}"))
    if rest:
        line = _share(signals()[section.rest].title, rest, total, section.signal, scene)
        found.append(static_row(line, NumberTarget(section.rest, SERVICE, "value")))
    return found


def _name(entity: Entity, name: str) -> str:
    """Return a name with its kind: ``model llama``; a reason says by itself what it is."""
    key = entity.pairs[0][0]
    return name if key == "reason" or name.startswith(f"{key} ") else f"{key} {name}"


def _share(name: str, amount: float, total: float, signal: str, scene: RenderContext) -> Line:
    share = amount / total
    glyphs = scene.glyphs
    return (
        cell(glyphs.text(name), "label", 32),
        cell(glyphs.text(_amount(amount, signal)), "value", 12, right=True),
        cell(_percent(share), "dim", 8, right=True),
        cell("  " + glyphs.bars[-1] * round(share * BAR), "graph"),
    )


def _percent(share: float) -> str:
    """Return a share with one place, so that eight equal ones are 12.5 % each; none where it would be 0."""
    if 0 < share < 0.0005:
        return numbers.show(share, "1")
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _amount(amount: float, name: str) -> str:
    return numbers.of_signal(amount, signals()[name])


def _sums(name: str, key: str, frame: Frame) -> dict[Entity, float]:
    """Return what each value of a key has, from the readings that tell it with the fewest other keys.

    A source may tell a sum by rail and also by rail and tenant: adding both would count everything twice.
    """
    having = [entity for entity in frame.entities(name) if entity.get(key) is not None]
    fewest = min((len(entity.pairs) for entity in having), default=0)
    sums: dict[Entity, float] = {}
    signal = signals()[name]
    for entity in having:
        number = read(frame, signal, entity, "value") if len(entity.pairs) == fewest else None
        if number is not None:
            whose = Entity.of(**{key: entity.get(key) or ""})
            sums[whose] = sums.get(whose, 0.0) + number.size
    return sums
