"""Lays a panel's figures out in lines: label, number, notes, history; and its table."""

from dataclasses import dataclass, replace

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from aistack_top.text.numbers import UNKNOWN
from layouts.load import MAX_LABEL, Panel, PanelRow, PanelTable
from tui.glyphs import STATUS_SIGNS, Glyphs
from tui.hints import empty_texts
from tui.model import health
from tui.model.view import View
from tui.widgets.cells import Cell, Line, cell, first_that_fits, words
from tui.widgets.spark import spark
from tui.widgets.values import PanelValue, figures, in_column

LABEL = MAX_LABEL + 1
NUMBER = 10
NOTES = 15
MIN_COLUMNS = 8
"""A shorter graph is not useful."""

MAX_COLUMNS = 40
"""A longer one costs a slow link more than it is worth: a line is redrawn whenever a column starts."""

NAME = 14
WAITING = ("waiting for the first data", "waiting")
FINDERS = ("discovery", "identity")
"""Kinds of sources that fill no panel: finding nothing is fine for them."""

MAX_OTHERS = 400
"""Rows of a panel opened whole that are not in its layout: bounds the work on a node with thousands of series."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How panels are drawn on this terminal, at this size."""

    glyphs: Glyphs
    histories: bool = False
    tables: bool = False


def body(panel: Panel, view: View, width: int, height: int, drawing: Drawing, *, whole: bool = False) -> list[Line]:
    """Return a panel's lines below its title: rows, then the table, as many as there is room for.

    ``whole`` is for a panel opened alone: every row, and every other number of its layer, however many lines.
    """
    frame = view.frame
    found = [figure for row in panel.row for figure in figures(row, view)]
    told = [figure for figure in found if figure.about or figure.text != UNKNOWN]
    # a number that nobody here can tell leaves its line to those that somebody does
    found = told if view.settled and any(figure.about for figure in told) else found
    if not any(figure.about for figure in found) and not _sources(panel, frame):
        line = first_that_fits(empty_texts(panel) if view.settled else WAITING, width - 2)
        return [(cell(drawing.glyphs.text(f"  {line}"), "dim"),)]
    lines = [line_of(figure, view, width, drawing) for figure in (found if whole else found[:height])]
    if whole:
        if panel.table is not None:
            lines += [(), *table(panel.table, view, width, MAX_OTHERS, drawing.glyphs)]
        return [*lines, *_others(panel, view, width, drawing)]
    if drawing.tables and panel.table is not None:
        wanted = len(table_members(panel.table, frame)) + 1
        # the rows are the panel's worst numbers, so the table gets what they leave, and at least a third
        room = min(wanted, max(height - len(lines), height // 3)) if wanted > 1 else 0
        lines = [*lines[: height - room], *table(panel.table, view, width, room, drawing.glyphs)]
    return lines[:height]


def line_of(figure: PanelValue, view: View, width: int, drawing: Drawing, label: int = LABEL) -> Line:
    """Return one figure as a line exactly ``width`` wide; what does not fit whole is left out, the number last."""
    glyphs = drawing.glyphs
    said = glyphs.text(("! " if figure.tone == "alarm" else "") + figure.text)
    # words in place of a number may take more than a number does
    number = max(min(max(NUMBER, cell(said).width), width - label), 1)
    head = (cell(glyphs.text(figure.label), "label", label), cell(said, figure.tone, number, right=True))
    room = width - label - number
    stale = figure.tone == "stale"
    graph, notes = _share(room, drawing.histories and not (stale and room < NOTES + MIN_COLUMNS + 4))
    tail: list[Cell] = []
    if notes:
        tail.append(cell("  " + _notes(figure, notes - 2, glyphs), "stale" if stale else "dim", notes))
    if graph:
        tail += [Cell("  ", "text", 2), *_graph(figure, view, graph, glyphs)]
    used = label + number + notes + (graph + 2 if graph else 0)
    return (*head, *tail, cell("", "text", max(width - used, 0)))


def table(spec: PanelTable, view: View, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """Return a table with its heading in at most ``height`` lines.

    Columns that do not fit are left out whole, from the right; rows that do not fit are counted in the last line.
    """
    frame = view.frame
    members = table_members(spec, frame)
    if not members or height < 2:
        return []
    room = height - 1 if len(members) < height else height - 2
    fitting = [column for index, column in enumerate(spec.columns) if NAME + (index + 1) * (NUMBER + 1) <= width]
    gap = NUMBER + 1
    heading = [cell(spec.per, "dim", NAME)]
    heading += [cell(column.label, "dim", gap, right=True) for column in fitting]
    lines: list[Line] = [tuple(heading)]
    for entity in members[:room]:
        row = [cell(glyphs.text(label(entity, frame.facts)), "label", NAME)]
        for column in fitting:
            said, how = in_column(column, entity, frame)
            row.append(cell(glyphs.text(said), how, gap, right=True))
        lines.append(tuple(row))
    left = len(members) - room
    return [*lines, _more(left, width)] if left > 0 else lines


def table_members(spec: PanelTable, frame: Frame) -> list[Entity]:
    """Return the entities of a table's rows, ordered by index, then name."""
    found: dict[Entity, None] = {}
    for column in spec.columns:
        for entity in frame.entities(column.signal):
            value = entity.get(spec.per)
            if value is not None:
                others = [key for key, _ in entity.pairs if key not in (spec.per, "mig")]
                found[entity.without(*others)] = None

    def place(entity: Entity) -> tuple[int, str]:
        index = frame.facts.get(entity, "index")
        return (int(index) if index and index.isdigit() else 1 << 30, str(entity))

    return sorted(found, key=place)


def heading(number: int, panel: Panel, view: View, width: int, glyphs: Glyphs, *, focused: bool) -> Line:
    """Return a panel's title line: its key, its layer and the worst status of the layer's sources."""
    worst = health.worst(_sources(panel, view.frame))
    name = cell(f"{number} {panel.layer}", "chosen" if focused else "title")
    left = cell(glyphs.text("▸ " if focused else "─ "), "title" if focused else "rule")
    room = width - left.width - name.width - 4
    if worst is None:
        missing = view.settled and view.frame.follows and not any(view.frame.entities(row.signal) for row in panel.row)
        status = cell(first_that_fits(["no source" if missing else "", ""], room), "dim")
    else:
        sign = glyphs.text(STATUS_SIGNS[worst])
        status = cell(first_that_fits([f"{sign} {worst}", sign], room), health.STYLES[worst])
    rule = glyphs.text("─")
    if not status.width:
        return (left, name, cell(" " + rule * max(width - left.width - name.width - 1, 0), "rule"))
    fill = max(width - left.width - name.width - status.width - 4, 0)
    return (left, name, cell(f" {rule * fill} ", "rule"), status, cell(f" {rule}", "rule"))


def _share(room: int, graphs: bool) -> tuple[int, int]:
    """Divide what is left of a line between history and notes; return the width of each, notes with their gap."""
    if graphs and room >= NOTES + 2 + MIN_COLUMNS + 2:
        graph = min(room - NOTES - 6, MAX_COLUMNS)
        return graph, room - graph - 2
    if graphs and room >= MIN_COLUMNS + 2:
        return min(room - 2, MAX_COLUMNS), 0
    return 0, room if room >= 6 else 0


def _graph(figure: PanelValue, view: View, width: int, glyphs: Glyphs) -> tuple[Cell, ...]:
    count = view.fit(width)
    values = figure.history(view, count)
    if not values:
        return (cell("", "graph", width),)
    return (cell("", "graph", width - count), *spark(values, figure.signal.unit, glyphs, view.cursor(count)))


def _notes(figure: PanelValue, room: int, glyphs: Glyphs) -> str:
    """Return the notes that fit; the first may be cut with an ellipsis, since it can be a name from outside."""
    notes = [glyphs.text(note) for note in figure.notes]
    if not notes:
        return ""
    said = words(notes, room)
    return said or cell(notes[0], "dim", room).text.rstrip()


def _others(panel: Panel, view: View, width: int, drawing: Drawing) -> list[Line]:
    shown = {(row.signal, row.part) for row in panel.row if row.over in ("each", "service")}
    lines: list[Line] = []
    for name, signal in signals().items():
        if signal.layer != panel.layer or not view.frame.entities(name):
            continue
        row = PanelRow(name, over="each")
        if (name, row.part) in shown and len(lines) < MAX_OTHERS:
            continue
        head = cell(drawing.glyphs.text(f"{signal.title} ({row.part})" if row.part != "value" else signal.title), "dim")
        lines += [
            (),
            (head,),
            *(line_of(_untitled(figure), view, width, drawing) for figure in figures(row, view)[:MAX_OTHERS]),
        ]
        if len(lines) >= MAX_OTHERS:
            return [*lines[:MAX_OTHERS], (cell("cut here", "dim"),)]
    return lines


def _untitled(figure: PanelValue) -> PanelValue:
    # the heading above says already which signal it is
    return replace(figure, notes=tuple(note for note in figure.notes if note != figure.signal.title))


def _more(count: int, width: int) -> Line:
    return (
        cell(first_that_fits([f"and {count} more: open the panel to see them", f"and {count} more"], width), "dim"),
    )


def _sources(panel: Panel, frame: Frame) -> list[health.Record]:
    return [
        record
        for record in frame.health
        if record[1].layer == panel.layer and (record[1].kind not in FINDERS or record[1].status != "ok")
    ]
