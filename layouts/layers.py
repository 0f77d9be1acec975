"""Reads what the screen of a layer shows: its sections, from one TOML file for each layer.

| kind | a section of it shows |
|---|---|
| `rows` | one line a signal: the number, whose it is, its history |
| `table` | one line an entity: numbers, facts, history; its worst members marked, the median below |
| `split` | where the time of a request goes, for each engine: queue, prefill, decode |
| `shares` | who has how much of a whole, the largest first |
| `events` | what happened in this layer, newest first |
| `links` | which engine is proven to use which GPUs |
| `calls` | the slowest calls of the last minutes, and the way to all of them |
| `versions` | versions of a model and of a prompt beside each other, from their calls |
| `sources` | how the layer's sources are |

A file ``screens/LAYER.toml`` beside the user's configuration adds sections: they stand above what happened and the
sources, and one with the title of a bundled section takes its place. With a mistake in it, the file is not used.

Every number of the layer that no section names is shown below them, so that a new signal needs no line here.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Literal

import msgspec

from aistack_top.model.entity import KEYS
from aistack_top.model.signals import LAYERS
from aistack_top.strict_toml import Problem, StrictError, decode, located, nearest
from aistack_top.user_files import reads_user_files, toml_files
from layouts.load import LayoutError, PanelColumn, PanelRow, wrong_number, wrong_over

Kind = Literal["rows", "table", "split", "shares", "events", "links", "calls", "versions", "sources"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section of a layer's screen. Which fields count depends on ``kind``.

    ``per`` is the key of the entities a table has its lines for; ``also`` are other keys of the same readings
    that are worth a column, such as the GPU of a process. ``facts`` are facts of the entity, by key, with the
    heading of their column. ``history`` is the number whose history stands at the end of each line.
    ``by_engine`` puts the GPUs of one engine beside each other. ``harmless`` names members that are no trouble:
    they stand last, and before all others stand those of whom the first number is above 0. ``finished`` says in
    the heading that only finished calls are in the numbers, and how many requests wait. ``keys`` of `shares`
    are the keys by which a whole is divided: each divides the whole, or, with ``together``, all keys divide one.
    ``rest`` is the number of the service that no member has: it stands last, and the lines add up to the whole.
    """

    kind: Kind
    title: str
    per: str = ""
    also: tuple[str, ...] = ()
    columns: tuple[PanelColumn, ...] = ()
    facts: dict[str, str] = {}
    history: PanelColumn | None = None
    by_engine: bool = False
    harmless: tuple[str, ...] = ()
    finished: bool = False
    row: tuple[PanelRow, ...] = ()
    signal: str = ""
    keys: tuple[str, ...] = ()
    together: bool = False
    rest: str = ""
    events: tuple[str, ...] = ()


class LayerSections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The screen of one layer: sections from top to bottom."""

    section: tuple[Section, ...]


def layer_screen(layer: str) -> LayerSections:
    """Return what the screen of a layer shows, with the user's own sections.

    Raises:
        LayoutError: its bundled file says things that are not known.

    """
    return layer_screens()[layer]


@reads_user_files
def layer_screens() -> dict[str, LayerSections]:
    """Return the screens of all layers."""
    own = _own_screens()[0]
    return {layer: _joined(_bundled(layer), own.get(layer)) for layer in LAYERS}


def user_problems() -> list[str]:
    """Return what is wrong in the user's files of sections, with file and line."""
    return _own_screens()[1]


def _bundled(layer: str) -> LayerSections:
    text = files("layouts").joinpath("screens", f"{layer}.toml").read_text(encoding="utf-8")
    try:
        found = msgspec.toml.decode(text, type=LayerSections)
    except msgspec.DecodeError as error:
        raise LayoutError([f"screens/{layer}.toml: {error}"]) from None
    problems = [f"screens/{layer}.toml: {said}" for section in found.section for said in _wrong(section)]
    if problems:
        raise LayoutError(problems)
    return found


@reads_user_files
def _own_screens() -> tuple[dict[str, LayerSections], list[str]]:
    """Return the user's sections by layer, and what is wrong in their files."""
    good: dict[str, LayerSections] = {}
    problems: list[str] = []
    for file in toml_files("screens"):
        if file.stem not in LAYERS:
            problems.append(f"{file}: no such layer: {file.stem!r}{nearest(file.stem, LAYERS)}")
            continue
        try:
            text = file.read_text(encoding="utf-8")
            screen = decode(text, LayerSections, str(file))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{file}: cannot be read: {error}")
        except StrictError as error:
            problems += error.problems
        else:
            wrong = [problem for index, one in enumerate(screen.section) for problem in _located(one, index)]
            problems += located(wrong, text, str(file))
            if not wrong:
                good[file.stem] = screen
    return good, problems


def _joined(screen: LayerSections, own: LayerSections | None) -> LayerSections:
    """Return a screen with the user's sections in the place of those of the same title, else above its last ones."""
    if own is None:
        return screen
    titles = {one.title: one for one in own.section}
    kept = [titles.pop(one.title, one) for one in screen.section]
    last = next((place for place, one in enumerate(kept) if one.kind in ("events", "sources")), len(kept))
    return LayerSections((*kept[:last], *titles.values(), *kept[last:]))


def _located(section: Section, index: int) -> Iterator[Problem]:
    """Yield what is wrong in a section of the user's, each with its place in the file."""
    place = ("section", index)
    for said in _wrong_keys(section):
        yield place, said
    numbers: list[tuple[str, int, PanelRow | PanelColumn]] = [
        ("columns", n, one) for n, one in enumerate(section.columns)
    ]
    numbers += [("row", n, one) for n, one in enumerate(section.row)]
    for key, number, one in numbers:
        yield from wrong_number(one, (*place, key, number))
    if section.history:
        yield from wrong_number(section.history, (*place, "history"))
    if section.kind == "shares":
        for signal in (section.signal, section.rest):
            yield from wrong_number(PanelColumn(signal, section.title), place) if signal else ()
    for number, row in enumerate(section.row):
        if row.over == "sum":
            yield from wrong_over(row, (*place, "row", number))


def _wrong_keys(section: Section) -> Iterator[str]:
    for key in (section.per, *section.also, *section.keys):
        if key and key not in KEYS:
            yield f"{section.title}: no such key of an entity: {key!r}{nearest(key, KEYS)}"
    if section.kind == "table" and not section.per:
        yield f"{section.title}: a table says with 'per' whose lines it has"


def _wrong(section: Section) -> Iterator[str]:
    """Yield what is well formed and yet cannot be drawn."""
    for place, said in _located(section, 0):
        yield said if place == ("section", 0) and said.startswith(section.title) else f"{section.title}: {said}"
