"""Calls as a table: every field a column, and every column a field of the filter."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import overload

from aistack_top.model.tick import Call
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from tui.glyphs import Glyphs
from tui.model.filtering import Value
from tui.model.targets import CallTarget
from tui.sections.context import RenderContext
from tui.widgets.axis import clock
from tui.widgets.cells import Line, cell
from tui.widgets.row_list import Headed, Row, static_row

MAX_SPARE = 20


MODEL = 20


@dataclass(frozen=True, slots=True)
class CallColumn:
    """One column: its title, the field it shows and filters by, its width, and how it is written."""

    title: str
    field: str
    width: int
    says: Callable[[Call], str]
    right: bool = True


def _count(value: int | None) -> str:
    return numbers.UNKNOWN if value is None else numbers.short(value)


def _status(call: Call) -> str:
    return "failed" if call.failed else "" if call.level == "DEFAULT" else sanitize(call.level.lower(), 9)


def _what(call: Call) -> str:
    """Return the model, or what else a span is where it has none."""
    if call.model:
        return call.model.rsplit("/", 1)[-1]
    both = f"{call.kind} {call.name}"
    return call.kind if call.name in ("", call.kind) else both if len(both) <= MODEL - 2 else call.name


COLUMNS = (
    CallColumn("ended", "ended", 10, lambda call: clock(call.end), right=False),
    CallColumn("latency", "latency", 9, lambda call: numbers.duration(call.latency)),
    CallColumn("TTFT", "ttft", 9, lambda call: numbers.UNKNOWN if call.ttft is None else numbers.seconds(call.ttft)),
    CallColumn("in", "input", 7, lambda call: _count(call.input_tokens)),
    CallColumn("out", "output", 7, lambda call: _count(call.output_tokens)),
    CallColumn("model", "model", MODEL, lambda call: _what(call), right=False),
    CallColumn("status", "status", 9, _status, right=False),
    CallColumn("name", "name", 20, lambda call: call.name, right=False),
    CallColumn("version", "version", 12, lambda call: call.version, right=False),
    CallColumn("kind", "kind", 12, lambda call: call.kind, right=False),
    CallColumn(
        "cost", "cost", 10, lambda call: numbers.UNKNOWN if call.cost is None else numbers.show(call.cost, "USD")
    ),
    CallColumn("cached", "cached", 8, lambda call: _count(call.cached_tokens)),
    CallColumn("engine", "engine", 14, lambda call: call.engine, right=False),
    CallColumn("prompt", "prompt", 16, lambda call: f"{call.prompt} {call.prompt_version}".strip(), right=False),
    CallColumn("tenant", "tenant", 14, lambda call: call.tenant, right=False),
    CallColumn("route", "route", 16, lambda call: call.route, right=False),
    CallColumn("env", "environment", 12, lambda call: call.environment, right=False),
)


FIELDS: Mapping[str, Callable[[Call], Value]] = {
    "ended": attrgetter("end"),
    "latency": attrgetter("latency"),
    "ttft": attrgetter("ttft"),
    "input": attrgetter("input_tokens"),
    "output": attrgetter("output_tokens"),
    "cached": attrgetter("cached_tokens"),
    "cost": attrgetter("cost"),
    "model": attrgetter("model"),
    "status": lambda call: "error failed" if call.failed else "ok",
    "name": attrgetter("name"),
    "version": attrgetter("version"),
    "kind": attrgetter("kind"),
    "engine": attrgetter("engine"),
    "prompt": lambda call: f"{call.prompt} {call.prompt_version}".strip(),
    "tenant": attrgetter("tenant"),
    "route": attrgetter("route"),
    "environment": attrgetter("environment"),
    "level": attrgetter("level"),
    "session": attrgetter("session"),
    "trace": attrgetter("trace"),
}
"""The fields of a call that a filter can name, and how each is read."""


class CallFields(Mapping[str, Value]):
    """A call as the filter sees it. A field is read when it is asked for: a filter names one or two of twenty."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getitem__(self, name: str) -> Value:
        return FIELDS[name](self._call)

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


def chosen(calls: Sequence[Call], scene: RenderContext) -> list[Call]:
    """Return the calls that pass the filter, in the order asked for; the newest first where none is."""
    wanted = scene.wanted
    found = [call for call in calls if wanted.passes(CallFields(call))] if wanted else list(calls)
    found.reverse()
    column = next((one for one in COLUMNS if one.title == scene.order.column), None)
    if column is None:
        return found[::-1] if scene.order.smallest_first else found
    known: list[tuple[float | str, Call]] = []
    without: list[Call] = []
    read = FIELDS[column.field]
    for call in found:
        value = read(call)
        if value is None or value == "":
            without.append(call)
        else:
            known.append((value, call))
    words = any(isinstance(value, str) for value, _ in known)
    # words from A on, numbers from the largest
    known.sort(key=lambda pair: pair[0], reverse=words == scene.order.smallest_first)
    return [*(call for _, call in known), *without]


class CallRows(Headed):
    """The table as rows that are made when they are seen."""

    def __init__(self, calls: Sequence[Call], scene: RenderContext) -> None:
        self._calls, self._scene = calls, scene
        self._columns = fitting(scene.width, scene.order.column)
        self._head = static_row(_titles(self._columns, scene), head=True)

    def __len__(self) -> int:
        return len(self._calls) + 1

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index == 0:
            return self._head
        call = self._calls[index - 1]
        return Row(partial(_line, call, self._columns, self._scene.glyphs), CallTarget(call.id))


def fitting(width: int, always: str = "") -> list[CallColumn]:
    """Return the columns that fit whole, from the first on, and the one that the table is ordered by.

    Names of models get what is left.
    """
    room = width
    found: list[CallColumn] = []
    for column in COLUMNS:
        if room < column.width:
            break
        found.append(column)
        room -= column.width
    wanted = next((column for column in COLUMNS if column.title == always and column not in found), None)
    if wanted is not None:
        while len(found) > 1 and room < wanted.width:
            room += found.pop().width
        found.append(wanted)
        room -= wanted.width
    spare = min(room, MAX_SPARE)
    return [replace(column, width=column.width + spare) if column.field == "model" else column for column in found]


def _titles(columns: Sequence[CallColumn], scene: RenderContext) -> Line:
    order = scene.order
    cells = []
    for column in columns:
        chosen_ = column.title == order.column
        sign = ("▲" if order.smallest_first else "▼") if chosen_ else ""
        said = f"{sign}{column.title}" if column.right else f"  {sign}{column.title}"
        cells.append(cell(scene.glyphs.text(said), "value" if chosen_ else "dim", column.width, right=column.right))
    return tuple(cells)


def _line(call: Call, columns: Sequence[CallColumn], glyphs: Glyphs) -> Line:
    cells = []
    for column in columns:
        said = glyphs.text(sanitize(column.says(call), 80))
        style = "alarm" if column.title == "status" and call.failed else "text"
        cells.append(cell(said if column.right else f"  {said}", style, column.width, right=column.right))
    return tuple(cells)
