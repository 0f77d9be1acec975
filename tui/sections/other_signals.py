"""Every number of a layer that no section names: tables where there are peers, lines where there are none."""

from collections import defaultdict

from aistack_top.model.entity import Entity
from aistack_top.model.signals import Signal, signals
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from layouts.layers import LayerSections, Section
from layouts.load import PanelColumn
from layouts.load import PanelRow as Number
from tui.sections import table
from tui.sections.context import BLANK, RenderContext, heading
from tui.sections.section_rows import figure_row
from tui.widgets.row_list import Row
from tui.widgets.values import PanelValue, figures

MAX_ROWS = 400
"""Bounds the work on a layer with thousands of series; the rest can be reached by a filter."""


def rows(screen: LayerSections, scene: RenderContext) -> list[Row]:
    """Return what is left of the layer: columns that its tables have no room for, then all that no section names."""
    frame = scene.view.frame
    known = named(screen)
    tables: dict[str, list[Signal]] = defaultdict(list)
    single: list[tuple[Signal, Entity]] = []
    for name, signal in signals().items():
        if signal.layer != scene.layer or name in known:
            continue
        about = frame.entities(name)
        keys = {tuple(key for key, _ in entity.pairs) for entity in about}
        if len(about) > 1 and len(keys) == 1 and len(next(iter(keys))) == 1:
            tables[next(iter(keys))[0]].append(signal)
        else:
            single += [(signal, entity) for entity in about]
    found: list[Row] = []
    for section in screen.section:
        wider = table.more(section, scene) if section.kind == "table" else []
        found += [*wider, BLANK] if wider else []
    for per, measured in tables.items():
        for part in _fitting(measured, scene.width):
            columns = tuple(PanelColumn(signal.name, signal.title) for signal in part)
            found += table.rows(Section("table", f"{per}: more numbers", per=per, columns=columns), scene)
    lines = [figure_row(figure, scene) for figure in _figures(single[:MAX_ROWS], scene, frame)]
    if lines:
        return [*found, heading("more numbers", scene), *lines]
    return found[:-1] if found and found[-1] is BLANK else found


def _fitting(measured: list[Signal], width: int) -> list[list[Signal]]:
    """Divide signals among as many tables as are needed for every column to fit."""
    found: list[list[Signal]] = []
    used = width + 1
    for signal in measured:
        size = max(len(signal.title) + 2, table.REASON if signal.kind == "flag" else table.NUMBER)
        if used + size > width:
            found.append([])
            used = table.NAME + 12  # names may be longer than usual
        found[-1].append(signal)
        used += size
    return found


def _figures(single: list[tuple[Signal, Entity]], scene: RenderContext, frame: Frame) -> list[PanelValue]:
    found: dict[tuple[str, Entity], PanelValue] = {}
    for name in dict.fromkeys(signal.name for signal, _ in single):
        for figure in figures(Number(name, over="each"), scene.view):
            if figure.about:
                found[name, figure.about[0]] = figure
    shown = []
    for signal, entity in single:
        if (signal.name, entity) not in found:
            continue
        figure = found[signal.name, entity]
        whose = label(entity, frame.facts)
        notes = tuple(one for one in figure.notes if one != signal.title)
        if scene.wanted and not scene.wanted.passes({"name": whose, "signal": f"{signal.title} {signal.name}"}):
            continue
        about = (whose, *notes) if entity.pairs else notes
        shown.append(
            PanelValue(signal.title, figure.text, figure.tone, about, signal, figure.stat, figure.about, figure.merged)
        )
    return shown


def named(screen: LayerSections) -> set[str]:
    """Return the signals that sections name."""
    found = {section.signal for section in screen.section}
    for section in screen.section:
        found |= {column.signal for column in section.columns} | {row.signal for row in section.row}
        if section.kind == "split":
            found |= {"serving.queue_time", "serving.prefill_time", "serving.decode_time"}
    return found
