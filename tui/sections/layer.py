"""The whole board of one layer: its sections, then every other number it has."""

from collections.abc import Callable

from aistack_top.text.sanitize import sanitize
from layouts.layers import LayerSections, Section
from tui.glyphs import STATUS_SIGNS
from tui.model import health
from tui.sections import latency_breakdown as split
from tui.sections import other_signals as rest
from tui.sections import section_rows as lists
from tui.sections import table, versions
from tui.sections.context import BLANK, RenderContext, note_line
from tui.widgets.cells import cell, first_that_fits
from tui.widgets.row_list import Row, static_row

_SECTIONS: dict[str, Callable[[Section, RenderContext], list[Row]]] = {
    "rows": lists.number_rows,
    "table": table.rows,
    "split": split.rows,
    "shares": lists.share_rows,
    "events": lists.event_rows,
    "links": lists.link_rows,
    "calls": lists.call_rows,
    "versions": versions.rows,
    "sources": lists.source_rows,
}
FAILING = ("down", "unauthorized", "misconfigured")
MAX_FAILING = 3
_LAST = ("events", "sources")
"""What stands below the other numbers where it comes last in a layer's file."""


def rows(screen: LayerSections, scene: RenderContext, empty: str) -> list[Row]:
    """Return the rows of a layer; ``empty`` says what would fill it, for a layer without a number."""
    parts = [(section, _SECTIONS[section.kind](section, scene)) for section in screen.section]
    others = rest.rows(screen, scene)
    told = bool(others) or any(found for section, found in parts if section.kind not in (*_LAST, "links"))
    above = _failing(scene) + ([] if told else [note_line(empty), BLANK])
    below: list[Row] = []
    tail = len(parts)
    while tail and parts[tail - 1][0].kind in _LAST:
        tail -= 1
    for place, (_, found) in enumerate(parts):
        if found:
            (above if place < tail else below).extend([*found, BLANK])
    return [*above, *([*others, BLANK] if others else []), *below][:-1]


def _failing(scene: RenderContext) -> list[Row]:
    """Return a line for each source of the layer that does not answer: what is missing below is missing for that."""
    bad = [
        record
        for record in health.by_badness(scene.view.frame.health)
        if record[1].layer == scene.layer and record[1].status in FAILING
    ]
    found = []
    for _, one in bad[:MAX_FAILING]:
        said = sanitize(f"{one.source} {one.status}" + (f": {one.reason}" if one.reason else ""))
        sign = scene.glyphs.text(f"  {STATUS_SIGNS[one.status]} ")
        text = scene.glyphs.text(first_that_fits([said], scene.width - 4))
        found.append(static_row((cell(sign, health.STYLES[one.status]), cell(text, "text"))))
    return [*found, BLANK] if found else []


def sortable(screen: LayerSections, scene: RenderContext) -> list[str]:
    """Return the headings that the tables of a layer can be ordered by."""
    tables = [section for section in screen.section if section.kind == "table"]
    return list(dict.fromkeys(name for one in tables for name in table.sortable(one, scene.view.frame)))
