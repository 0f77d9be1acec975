"""A table of entities: numbers, facts and a history; peers beside each other, the worst of each column marked."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from statistics import median

from msgspec.structs import replace

from aistack_top.derive.tenants import AGGREGATES
from aistack_top.model.entity import Entity
from aistack_top.model.signals import Signal, signals
from aistack_top.store.frame import Frame, finished_only
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.layers import Section
from layouts.load import PanelColumn
from tui.model.filtering import Value, field_name
from tui.model.targets import EntityTarget
from tui.model.view import merge
from tui.sections.context import BLANK, RenderContext, heading, note_line
from tui.widgets.cells import Cell, Line, cell
from tui.widgets.panel_lines import MAX_COLUMNS, MIN_COLUMNS
from tui.widgets.row_list import Row, static_row
from tui.widgets.spark import spark
from tui.widgets.values import LatestValue, adds, cell_text, distinct, fold_of, is_at_work, read, together, wanted

NAME = 16
NUMBER = 11
REASON = 16
MAX_FACT = 28
HISTORY_FROM = 100
"""Width from which room is kept for histories, at the cost of the last columns."""

PEERS = ("gpu", "mig", "engine", "lora", "model", "version", "prompt", "rail", "node", "link")
"""Keys whose entities do the same work, so that one of them can be worse than the others."""

NOTABLE = 0.1
"""A worst member is marked where it is this much of the others' median away from it, and more than the floor."""


@dataclass(slots=True)
class _Numbers:
    """One column of numbers, for all members."""

    column: PanelColumn
    signal: Signal
    by_member: dict[str, LatestValue] = field(default_factory=dict)
    idle: Collection[str] = ()
    """Whose number tells nothing, as they do nothing."""

    @property
    def width(self) -> int:
        """Cells of the column: a number, or the name of what raises a flag."""
        reasons = self.signal.kind == "flag" and any(
            one.reading.entity.get("reason") for one in self.by_member.values()
        )
        return max(REASON if reasons else NUMBER, len(self.column.label) + 2)

    def marked(self, peers: Collection[str]) -> str | None:
        """Return the one of some peers that stands out as the worst, if any does."""
        known = {who: self.by_member[who] for who in peers if who in self.by_member and who not in self.idle}
        fresh = {who: one for who, one in known.items() if not one.few and not one.reading.stale}
        if len(fresh) < 2 or self.signal.hurts == "both":
            return None
        worst = (min if self.signal.hurts == "down" else max)(fresh, key=lambda who: fresh[who].size)
        others = median(one.size for who, one in fresh.items() if who != worst)
        distance = abs(fresh[worst].size - others)
        return worst if distance >= max(self.signal.floor, NOTABLE * abs(others)) else None

    def median(self) -> str:
        """Return the median of all members as text."""
        fresh = [one.size for one in self.by_member.values() if not one.few and not one.reading.stale]
        return numbers.of_signal(median(fresh), self.signal) if len(fresh) > 2 and len(set(fresh)) > 1 else ""


@dataclass(frozen=True, slots=True)
class _Fact:
    """One column of words, for all members."""

    title: str
    by_member: dict[str, str]
    width: int


def rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return the section; nothing at all where nobody has any of its numbers."""
    table = _table(section, scene)
    return table.rows() if table is not None else []


def more(section: Section, scene: RenderContext) -> list[Row]:
    """Return the columns that a table of this width has no room for, as further tables of the same members."""
    table = _table(section, scene)
    return table.more() if table is not None else []


@dataclass(frozen=True, slots=True)
class _Table:
    """Who is in a table, which of them are shown, and all columns that there are."""

    section: Section
    scene: RenderContext
    members: dict[str, Entity]
    shown: list[str]
    names: dict[str, str]
    columns: list[_Numbers]
    facts: list[_Fact]
    ordered: bool

    def rows(self) -> list[Row]:
        """Return the columns that fit."""
        said = [f"{len(self.shown)} of {len(self.members)}"] if len(self.shown) < len(self.members) else []
        said += [finished_only(self.scene.view.frame)] if self.section.finished else []
        top = heading(self.section.title, self.scene, ", ".join(said))
        if not self.shown:
            return [top, note_line("no row matches the filter")]
        return [top, *self._lines(self._drawer(self.section, self.columns, self.facts))]

    def more(self) -> list[Row]:
        """Return the columns that do not fit."""
        if not self.shown:
            return []
        found: list[Row] = []
        section = replace(self.section, history=None)
        draw = self._drawer(self.section, self.columns, self.facts)
        while draw.columns or draw.facts:
            columns, facts = draw.left
            if not columns and not facts:
                break
            draw = self._drawer(section, columns, facts)
            if draw.columns or draw.facts:
                found += [heading(f"{section.title}, more", self.scene), *self._lines(draw), BLANK]
        return found[:-1]

    def _drawer(self, section: Section, columns: Sequence[_Numbers], facts: Sequence[_Fact]) -> "_Drawer":
        width = max(NAME, 1 + max(len(section.per), *(min(len(self.names[who]), 26) for who in self.shown)))
        peers = _peers(section, self.members, self.scene.view.frame)
        return _Drawer(section, self.scene, width, columns, facts, peers)

    def _lines(self, draw: "_Drawer") -> list[Row]:
        frame, scene = self.scene.view.frame, self.scene
        grouped = self.section.by_engine and not self.ordered
        found = [static_row(draw.titles())]
        group = ""
        for who in _by_engine(self.shown, self.members, frame) if grouped else self.shown:
            engine = _engine(self.members[who], frame) if grouped else ""
            if engine != group and (engine or group):
                found.append(static_row((cell(scene.glyphs.text(f"  {engine or 'no engine'}:"), "dim", scene.width),)))
            group = engine
            entity = self.members[who]
            found.append(Row(draw.line(who, self.names[who], entity), EntityTarget(entity)))
        below = draw.medians()
        return [*found, static_row(below)] if below else found


def _table(section: Section, scene: RenderContext) -> _Table | None:
    frame = scene.view.frame
    members = _members(section, frame)
    columns = [_numbers(column, section.per, frame) for column in section.columns]
    columns = [column for column in columns if column.by_member]
    if section.finished:  # whoever finished nothing lately is not missing
        members = {who: one for who, one in members.items() if any(who in column.by_member for column in columns)}
    if not members:
        return None
    facts = _facts(section, members, frame)
    names = {who: label(entity, frame.facts) for who, entity in members.items()}
    shown = [who for who in members if not scene.wanted or scene.wanted.passes(_fields(who, names, columns, facts))]
    chosen = next((column for column in columns if column.column.label == scene.order.column), None)
    if chosen is not None:
        shown = _sorted(shown, chosen, scene)
    elif section.harmless and columns:
        raised = {who for who, one in columns[0].by_member.items() if one.size > 0}
        shown.sort(key=lambda who: (who in section.harmless, who not in raised))
    return _Table(section, scene, members, shown, names, columns, facts, chosen is not None)


def sortable(section: Section, frame: Frame) -> list[str]:
    """Return the headings of the columns that a table can be ordered by, those with numbers only."""
    return [column.label for column in section.columns if frame.entities(column.signal)]


class _Drawer:
    """Lays the lines of one table out; columns that do not fit are left out whole, from the right."""

    def __init__(
        self,
        section: Section,
        scene: RenderContext,
        name: int,
        columns: Sequence[_Numbers],
        facts: Sequence[_Fact],
        groups: Sequence[Collection[str]],
    ) -> None:
        self.section, self.scene, self.name = section, scene, name
        room = scene.width - name
        keep = 0
        if section.history is not None and scene.drawing.histories and scene.width >= HISTORY_FROM:
            keep = MIN_COLUMNS * 3 + 2
        self.columns: list[_Numbers] = []
        self.facts: list[_Fact] = []
        self.left: tuple[list[_Numbers], list[_Fact]] = ([], [])
        """What there is no room for."""
        for column in columns:
            fits = column.width <= room - keep
            (self.columns if fits else self.left[0]).append(column)
            room -= column.width if fits else 0
        for fact in facts:
            fits = fact.width + 2 <= room - keep
            (self.facts if fits else self.left[1]).append(fact)
            room -= fact.width + 2 if fits else 0
        self.graph = min(room - 2, MAX_COLUMNS) if keep and room - 2 >= MIN_COLUMNS else 0
        self.peers = bool(groups)
        self.marked = {
            (place, who)
            for place, column in enumerate(self.columns)
            for group in groups
            if (who := column.marked(group)) is not None
        }

    def titles(self) -> Line:
        """Return the line of headings."""
        order = self.scene.order
        cells = [cell(self.section.per, "dim", self.name)]
        for column in self.columns:
            name = column.column.label
            sign = ("▲" if order.smallest_first else "▼") if name == order.column else ""
            cells.append(
                cell(self.scene.glyphs.text(sign + name), "value" if sign else "dim", column.width, right=True)
            )
        cells += [cell("  " + fact.title, "dim", fact.width + 2) for fact in self.facts]
        if self.graph and self.section.history is not None:
            cells.append(cell("  " + self.section.history.label, "dim", self.graph + 2))
        return tuple(cells)

    def line(self, who: str, name: str, entity: Entity) -> Callable[[], Line]:
        """Return what makes the line of one member."""

        def make() -> Line:
            glyphs = self.scene.glyphs
            cells = [cell(glyphs.text(name), "label", self.name)]
            for place, column in enumerate(self.columns):
                said, how = cell_text(column.column, entity, column.by_member.get(who))
                if (place, who) in self.marked:
                    mark = "▼ " if column.signal.hurts == "down" else "▲ "
                    said = mark + said if len(said) + 3 <= column.width else said
                    how = "warning" if how == "value" else how
                cells.append(cell(glyphs.text(said), how, column.width, right=True))
            told = [(fact.by_member.get(who, numbers.UNKNOWN), fact.width + 2) for fact in self.facts]
            cells += [cell("  " + glyphs.text(said), "text", width) for said, width in told]
            return (*cells, *self._history(entity))

        return make

    def medians(self) -> Line | None:
        """Return the line of medians, where there are peers to compare with."""
        told = [column.median() for column in self.columns] if self.peers else []
        if not any(told):
            return None
        cells = [
            cell(self.scene.glyphs.text(said), "dim", column.width, right=True)
            for column, said in zip(self.columns, told, strict=True)
        ]
        return (cell("median", "dim", self.name), *cells)

    def _history(self, entity: Entity) -> tuple[Cell, ...]:
        column, view = self.section.history, self.scene.view
        if not self.graph or column is None:
            return ()
        signal = signals()[column.signal]
        count = view.fit(self.graph)
        about = wanted(view.frame.entities(column.signal, entity), column.without)
        about = distinct(signal, about) if adds(signal) else about
        series = [view.history(column.signal, one, column.part, count, fold_of(signal)) for one in about]
        if not series:
            return ()
        values = merge(series, "sum" if adds(signal) else "min" if signal.hurts == "down" else "max")
        pad = cell("", "graph", 2 + self.graph - count)
        return (pad, *spark(values, signal.unit, self.scene.glyphs, view.cursor(count)))


def _members(section: Section, frame: Frame) -> dict[str, Entity]:
    """Return the entities of a table by the value of its key, in the order of index, then of name."""
    found: dict[str, Entity] = {}
    for column in section.columns:
        for entity in frame.entities(column.signal):
            value = entity.get(section.per)
            if value is not None and value not in found:
                found[value] = Entity.of(**{section.per: value})

    def place(who: str) -> tuple[bool, int, str]:
        index = frame.facts.get(found[who], "index") or (who if who.isdigit() else None)
        unnamed = section.per == "tenant" and who in AGGREGATES
        return (unnamed, int(index) if index and index.isdigit() else 1 << 30, who)

    return {who: found[who] for who in sorted(found, key=place)}


def _numbers(column: PanelColumn, per: str, frame: Frame) -> _Numbers:
    signal = signals()[column.signal]
    known: dict[str, list[LatestValue]] = {}
    for entity in wanted(frame.entities(column.signal), column.without):
        who = entity.get(per)
        number = read(frame, signal, entity, column.part) if who is not None else None
        if who is not None and number is not None:
            known.setdefault(who, []).append(number)
    best = {who: number for who, them in known.items() if (number := together(signal, them)) is not None}
    idle = {who for who, one in best.items() if not is_at_work(signal, one.reading.entity, frame)}
    return _Numbers(column, signal, best, idle)


def _facts(section: Section, members: dict[str, Entity], frame: Frame) -> list[_Fact]:
    found = []
    for key in section.also:
        told: dict[str, dict[str, None]] = {}
        for column in section.columns:
            for entity in frame.entities(column.signal):
                who, value = entity.get(section.per), entity.get(key)
                number = read(frame, signals()[column.signal], entity, column.part) if value is not None else None
                if who not in members or number is None or value is None:
                    continue
                if signals()[column.signal].kind != "flag" or number.size > 0:  # a flag is about those that raise it
                    told.setdefault(who, {})[label(Entity.of(**{key: value}), frame.facts)] = None
        found.append(_fact(key, {who: _few(list(names)) for who, names in told.items()}))
    for key, title in section.facts.items():
        words = {who: _brief(said) for who, one in members.items() if (said := frame.facts.get(one, key))}
        found.append(_fact(title, words))
    return [fact for fact in found if fact.by_member]


def _fact(title: str, words: dict[str, str]) -> _Fact:
    return _Fact(title, words, min(max([len(title), *(len(said) for said in words.values())]), MAX_FACT))


def _brief(said: str) -> str:
    """Return a fact in the room that there is: of a long path its last part, which is what it is called."""
    whole = sanitize(said, 60)
    return whole if len(whole) <= MAX_FACT else whole.rsplit("/", 1)[-1]


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _fields(who: str, names: dict[str, str], columns: Sequence[_Numbers], facts: Sequence[_Fact]) -> dict[str, Value]:
    found: dict[str, Value] = {"name": names[who]}
    for fact in facts:
        found[field_name(fact.title)] = fact.by_member.get(who, "")
    for column in columns:
        number = column.by_member.get(who)
        name = field_name(column.column.label)
        found[name] = found[name.partition("_")[0]] = None if number is None or number.few else number.size
    return found


def _sorted(shown: list[str], by: _Numbers, scene: RenderContext) -> list[str]:
    known = [who for who in shown if who in by.by_member]
    known.sort(key=lambda who: by.by_member[who].size, reverse=not scene.order.smallest_first)
    return [*known, *(who for who in shown if who not in by.by_member)]


def _engine(entity: Entity, frame: Frame) -> str:
    names = sorted({label(link.parent, frame.facts) for link in frame.facts.parents(entity)})
    return _few(names)


def _by_engine(shown: list[str], members: dict[str, Entity], frame: Frame) -> list[str]:
    """Return members with those of one engine beside each other, and those of none last."""
    of = {who: _engine(members[who], frame) for who in shown}
    return sorted(shown, key=lambda who: (not of[who], of[who]))


def _peers(section: Section, members: dict[str, Entity], frame: Frame) -> list[list[str]]:
    """Return who is compared with whom: the GPUs of one engine, else all; nobody where members do different things.

    Where engines are known, GPUs of none are no peers of each other.
    """
    if section.per not in PEERS:
        return []
    if not section.by_engine:
        return [list(members)]
    groups: dict[str, list[str]] = {}
    for who, entity in members.items():
        groups.setdefault(_engine(entity, frame), []).append(who)
    if len(groups) > 1:
        groups.pop("", None)  # who is known to serve no engine does whatever it does
    alone = [who for them in groups.values() if len(them) == 1 for who in them]
    return [*(them for them in groups.values() if len(them) > 1), alone]
