"""Sources in lines: how each one is, in full words, and which engine is known to use which GPU."""

from collections.abc import Sequence

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Link
from aistack_top.store.facts import Facts
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from tui.glyphs import STATUS_SIGNS, Glyphs
from tui.model import health
from tui.model.view import View
from tui.widgets.cells import Line, cell, wrapped

COLUMNS = (("source", 18), ("layer", 11), ("kind", 10), ("status", 15), ("age", 8), ("interval", 9), ("took", 8))
"""Heading and width of the columns that every terminal shows; the clock's offset takes what is left."""


def source_lines(view: View, width: int, glyphs: Glyphs, which: Sequence[health.Record] | None = None) -> list[Line]:
    """Return the table of sources, of all or of some; the reason of each stands below it, whole."""
    records = health.by_badness(view.frame.health if which is None else which)
    if not records:
        said = "no source: none found or configured" if view.settled else "waiting for the first data"
        said = said if view.frame.follows else "the state of the sources at this time is unknown"
        return [(cell(said, "dim"),)]
    clock = width - sum(size for _, size in COLUMNS)
    titles = [cell(name, "dim", size) for name, size in COLUMNS]
    lines: list[Line] = [(*titles, cell("clock" if clock > 10 else "", "dim", max(clock, 0)))]
    for record in records:
        lines += _source(record, view, width, glyphs)
    return lines


def link_lines(view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return which GPUs each engine is proven to use, and how; without a proof it is unknown."""
    facts = view.frame.facts
    engines = {
        Entity.of(engine=name)
        for entity in [*view.frame.entities("serving.requests.running"), *(link.parent for link in facts.links())]
        if (name := entity.get("engine"))
    }
    lines: list[Line] = [(cell("engine and its GPUs", "title"),)]
    if not engines:
        return [*lines, (cell("  no engine", "dim"),)]
    for engine in sorted(engines, key=str):
        links = links_of(engine, facts)
        said = ", ".join(_link(link, facts) for link in links) or "unknown: no proof of which GPUs it uses"
        name = glyphs.text(sanitize(engine.get("engine") or "", 30))
        for index, part in enumerate(wrapped(glyphs.text(said), max(width - 32, 20))):
            lines.append((cell(f"  {name}" if not index else "", "label", 32), cell(part, "text" if links else "dim")))
    return lines


def links_of(engine: Entity, facts: Facts) -> list[Link]:
    """Return the proven links of an engine; a data-parallel rank has its server's."""
    links = facts.children(engine)
    name = engine.get("engine") or ""
    if not links and "/" in name:
        links = facts.children(Entity.of(engine=name.rpartition("/")[0]))
    return sorted(links, key=lambda link: label(link.child, facts))


def _source(record: health.Record, view: View, width: int, glyphs: Glyphs) -> list[Line]:
    state = record[1]
    if health.knows_age(view.frame, state):
        age = health.age_s(view.frame, record)
        said = "never" if age is None else numbers.age(age)
    else:
        said = numbers.UNKNOWN
    texts = [
        (sanitize(state.source, 40), "label"),
        (state.layer, "text"),
        (sanitize(state.kind, 20), "text"),
        (f"{STATUS_SIGNS[state.status]} {state.status}", health.STYLES[state.status]),
        (said, "text"),
        (numbers.seconds(state.interval_s), "text"),
        (numbers.seconds(state.took_s) if state.took_s else numbers.UNKNOWN, "text"),
    ]
    cells = [
        cell(glyphs.text(text) + " ", style, size) for (text, style), (_, size) in zip(texts, COLUMNS, strict=True)
    ]
    room = width - sum(size for _, size in COLUMNS)
    clock = _clock(state.clock_offset_s, state.clock_uncertainty_s)
    own_line = len(clock) > room
    lines: list[Line] = [tuple(cells) if own_line else (*cells, cell(glyphs.text(clock), "text", max(room, 0)))]
    notes = [sanitize(state.reason, 600)] if state.reason else []
    if own_line and state.clock_offset_s is not None:
        notes.append(f"clock {clock}")
    for note in notes:
        lines += [(cell("  " + part, "dim"),) for part in wrapped(glyphs.text(note), max(width - 4, 20))]
    return lines


def _clock(offset_s: float | None, uncertainty_s: float | None) -> str:
    if offset_s is None:
        return "unknown"
    doubt = f" ± {numbers.seconds(uncertainty_s)}" if uncertainty_s is not None else ", uncertainty unknown"
    return f"{'+' if offset_s >= 0 else '−'}{numbers.seconds(abs(offset_s))}{doubt}"


def _link(link: Link, facts: Facts) -> str:
    detail = f": {sanitize(link.detail, 80)}" if link.detail else ""
    return f"{label(link.child, facts)} (by {sanitize(link.proof, 20)}{detail})"
