"""Reads a layout: which panels stand where, and which signals each of them shows.

| who asks | for what |
|---|---|
| command line | `load` a layout by name or path, `bundled` for the names there are |
| overview screen | `Layout.size_for` a terminal, then the grid of that size |
| panels, help | `Panel.row` and `Panel.table` |

A layout is TOML, strict, and every problem in it is said at once, with file, line and the nearest known name.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from aistack_top.model.entity import KEYS
from aistack_top.model.signals import LAYERS, Signal, signals
from aistack_top.model.tick import STATS
from aistack_top.strict_toml import Lines

Over = Literal["worst", "sum", "each", "mean", "service"]
Natural = Annotated[int, msgspec.Meta(ge=1)]

MAX_LABEL = 13
"""Cells of a row's label. A longer one would push the number off a panel that is half of 80 columns wide."""

PARTIAL = " partial"
"""Stands after the label of a sum that does not cover all of its time."""


class LayoutError(Exception):
    """A layout cannot be used; ``problems`` are sentences, each with file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class PanelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a panel: one signal, made one number.

    ``over`` says how, where several have the signal: the ``worst`` by the direction that hurts, their ``sum`` or
    ``mean``, one row ``each``, or only what is said of the whole ``service``. ``without`` leaves entities out, as
    ``{ reason = ["idle"] }``. ``empty`` stands where the number would, while there is none.
    """

    signal: str
    label: str = ""
    stat: str = ""
    over: Over = "worst"
    history: bool = True
    without: dict[str, tuple[str, ...]] = {}
    empty: str = ""

    @property
    def part(self) -> str:
        """The stat that is shown: as written, else ``p95`` of a distribution and ``value`` of anything else."""
        return self.stat or ("p95" if signals()[self.signal].form == "quantiles" else "value")

    @property
    def title(self) -> str:
        """The label as written, else the signal's title."""
        return self.label or signals()[self.signal].title


class PanelColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of a panel's table: one signal of the entity whose row it is."""

    signal: str
    label: str
    stat: str = ""
    without: dict[str, tuple[str, ...]] = {}

    @property
    def part(self) -> str:
        """See `Row.part`."""
        return self.stat or ("p95" if signals()[self.signal].form == "quantiles" else "value")


class PanelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of a panel, drawn where there is room: one row for each entity that has the key ``per``."""

    per: str
    columns: tuple[PanelColumn, ...]


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The panel of one layer.

    ``empty`` says what would fill the panel while no source does: the same in several lengths, longest first. Without
    it the panel names the sources that can be read for this layer.
    Rows stand in the order of their weight, since a small terminal shows the first of them only.
    """

    layer: str
    row: tuple[PanelRow, ...]
    empty: tuple[str, ...] | None = None
    table: PanelTable | None = None


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Panels beside each other, and how many lines of the size's terminal they get."""

    panels: tuple[str, ...]
    height: Natural


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a terminal of at least ``columns`` by ``rows`` shows."""

    columns: Natural
    rows: Natural
    grid: tuple[Band, ...]
    histories: bool = False
    tables: bool = False


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole layout file.

    ``base`` names a bundled layout from which come the panels that this one does not have, and the sizes where it has
    none.
    """

    title: str
    base: str = ""
    panel: tuple[Panel, ...] = ()
    size: tuple[Size, ...] = ()

    def size_for(self, columns: int, rows: int) -> Size:
        """Return the largest size that fits a terminal, or the smallest one there is."""
        by_size = sorted(self.size, key=lambda size: (size.columns, size.rows))
        fitting = [size for size in by_size if size.columns <= columns and size.rows <= rows]
        return fitting[-1] if fitting else by_size[0]

    def panel_of(self, layer: str) -> Panel:
        """Return the panel of a layer.

        Raises:
            KeyError: the layout has none.
        """
        for panel in self.panel:
            if panel.layer == layer:
                return panel
        raise KeyError(layer)


def bundled() -> list[str]:
    """Return the names of the layouts that come with the program."""
    return sorted(file.name[:-5] for file in files("layouts").iterdir() if file.name.endswith(".toml"))


def names(folder: Path | None = None) -> list[str]:
    """Return the names that `load` knows: the bundled ones, and those of a folder of one's own."""
    try:
        own = [file.stem for file in folder.glob("*.toml")] if folder is not None else []
    except OSError:
        own = []
    return sorted({*bundled(), *own})


def load(name: str, folder: Path | None = None) -> Layout:
    """Return a layout by its name or by the path of a TOML file; one of ``folder`` goes before a bundled one.

    Raises:
        LayoutError: there is no such layout, or it says things that are not known; all problems are named.
    """
    try:
        own = folder / f"{name}.toml" if folder is not None and re.fullmatch(r"[\w-]+", name) else None
        if own is not None and own.is_file():
            return parse(own.read_text(encoding="utf-8"), str(own))
        if name in bundled():
            return parse(files("layouts").joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml")
        path = Path(name).expanduser()
        if path.suffix != ".toml" and not path.is_file():
            hint = _hint(name, names(folder))
            where = f" or lies in {folder}" if folder is not None else ""
            raise LayoutError([f"no such layout: {name!r}{hint}; your own is named by its path{where}"])
        return parse(path.read_text(encoding="utf-8"), name)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise LayoutError([f"{name}: cannot be read: {error}"]) from None


def parse(text: str, name: str = "layout") -> Layout:
    """Return the layout that a text holds; ``name`` stands before each problem. See `load` for errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayoutError([f"{name}: not valid TOML: {error}"]) from None
    lines = Lines(text)
    problems = [f"{name}:{lines.of(path)}: {said}" for path, said in _unknown_keys(raw, Layout, ())]
    if not problems:
        try:
            layout = msgspec.convert(raw, Layout)
        except msgspec.ValidationError as error:
            said, _, where = str(error).replace("`", "'").partition(" - at '$")
            wrong = re.fullmatch(r"Invalid enum value '(.*)'", said)
            hint = _hint(wrong[1], get_args(Over)) if wrong else ""
            problems.append(f"{name}:{lines.of(_path(where))}: {said}{hint}")
        else:
            if layout.base and layout.base not in bundled():
                hint = _hint(layout.base, bundled())
                raise LayoutError([f"{name}:{lines.of(('base',))}: no such layout: {layout.base!r}{hint}"])
            layout = _upon(layout, load(layout.base)) if layout.base else layout
            problems += [f"{name}:{lines.of(path)}: {said}" for path, said in _wrong(layout)]
    if problems:
        raise LayoutError(problems)
    return layout


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a layout file."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "aistack-top/layout/1"}
    return {**head, "title": "aistack-top layout", **msgspec.json.schema(Layout)}


def _upon(layout: Layout, base: Layout) -> Layout:
    """Return a layout with what it leaves to its base; its own panels first, as its file counts them."""
    own = {panel.layer for panel in layout.panel}
    panels = (*layout.panel, *(panel for panel in base.panel if panel.layer not in own))
    return msgspec.structs.replace(layout, panel=panels, size=layout.size or base.size)


Place = tuple[str | int, ...]
Problem = tuple[Place, str]

_NESTED: dict[tuple[type, str], type] = {
    (Layout, "panel"): Panel,
    (Layout, "size"): Size,
    (Panel, "row"): PanelRow,
    (Panel, "table"): PanelTable,
    (PanelTable, "columns"): PanelColumn,
    (Size, "grid"): Band,
}


def _unknown_keys(raw: object, kind: type, path: Place) -> Iterator[Problem]:
    """Yield a problem for each key that its table does not know, at any depth."""
    if isinstance(raw, list):
        for index, item in enumerate(raw):
            yield from _unknown_keys(item, kind, (*path, index))
    elif isinstance(raw, dict):
        known = [field.name for field in msgspec.structs.fields(kind)]
        for key, value in raw.items():
            if key not in known:
                yield (*path, key), f"unknown key {key!r}{_hint(key, known)}"
            elif (kind, key) in _NESTED:
                yield from _unknown_keys(value, _NESTED[kind, key], (*path, key))


def _wrong(layout: Layout) -> Iterator[Problem]:
    """Yield what is well formed and yet cannot be drawn."""
    layers = [panel.layer for panel in layout.panel]
    for index, panel in enumerate(layout.panel):
        path: Place = ("panel", index)
        if panel.layer not in LAYERS:
            yield (*path, "layer"), f"no such layer: {panel.layer!r}{_hint(panel.layer, LAYERS)}"
        if panel.layer in layers[:index]:
            yield (*path, "layer"), f"a second panel for {panel.layer}; there is one for each layer"
        if panel.empty == ():
            yield path, "empty is missing a text: say what would fill this panel, or leave empty out"
        for number, row in enumerate(panel.row):
            yield from _wrong_row(row, (*path, "row", number))
        if panel.table is not None:
            yield from _wrong_table(panel.table, (*path, "table"))
    if not layout.size:
        yield (), "no [[size]]: say at least what a terminal of 80 by 24 shows"
    yield from _wrong_sizes(layout, layers)


def _wrong_sizes(layout: Layout, layers: list[str]) -> Iterator[Problem]:
    for index, size in enumerate(layout.size):
        seen: list[str] = []
        for band in size.grid:
            for layer in band.panels:
                if layer not in layers:
                    yield ("size", index, "grid"), f"no panel for {layer!r}{_hint(layer, layers)}"
                if layer in seen:
                    yield ("size", index, "grid"), f"{layer} is listed twice"
                seen.append(layer)


def _wrong_row(row: PanelRow, path: Place) -> Iterator[Problem]:
    yield from wrong_number(row, path)
    signal = signals().get(row.signal)
    if signal is None:
        return
    if len(row.title + (PARTIAL if signal.covered else "")) > MAX_LABEL:
        yield (*path, "label"), f"{row.title!r} is longer than {MAX_LABEL} characters; give it a shorter label"
    yield from wrong_over(row, path)


def wrong_over(row: PanelRow, path: Place) -> Iterator[Problem]:
    """Yield a problem for a way of making one number of several that a signal does not allow."""
    signal = signals().get(row.signal)
    if signal is None:
        return
    if row.over == "worst" and signal.hurts == "both":
        yield (*path, "over"), f"{row.signal} has no worst: both directions can be bad; use sum, mean or each"
    if row.over in ("sum", "mean") and signal.form == "quantiles" and row.part not in ("count",):
        yield (*path, "over"), f"a {row.over} of {row.part}s means nothing; use worst or each"
    if row.over == "sum" and signal.form == "ratio":
        yield (*path, "over"), f"{row.signal} is a ratio: a sum of it means nothing; use worst or mean"
    elif row.over == "sum" and signal.form != "quantiles" and not signal.adds:
        yield (*path, "over"), f"{row.signal} does not add up over several; use worst, mean or each"


def _wrong_table(table: PanelTable, path: Place) -> Iterator[Problem]:
    if table.per not in KEYS:
        yield (*path, "per"), f"no such key of an entity: {table.per!r}{_hint(table.per, KEYS)}"
    for index, column in enumerate(table.columns):
        yield from wrong_number(column, (*path, "columns", index))


def wrong_number(row: PanelRow | PanelColumn, path: Place) -> Iterator[Problem]:
    """Yield a problem for a signal, a stat or a key that there is none of."""
    signal: Signal | None = signals().get(row.signal)
    if signal is None:
        yield (*path, "signal"), f"no such signal: {row.signal!r}{_hint(row.signal, signals())}"
    else:
        stats = STATS if signal.form == "quantiles" else ("value",)
        if row.part not in stats:
            yield (*path, "stat"), f"{row.signal} has no {row.part!r}{_hint(row.part, stats)}"
    for key in row.without:
        if key not in KEYS:
            yield (*path, "without"), f"no such key of an entity: {key!r}{_hint(key, KEYS)}"


def _hint(said: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(said, names, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if len(names) <= len(LAYERS) + len(STATS) else ""


def _path(text: str) -> Place:
    """Return ``.panel[2].row[0].over`` as a tuple."""
    found = re.findall(r"\.?([A-Za-z_]+)|\[(\d+)\]", text)
    return tuple(int(index) if index else key for key, index in found)
