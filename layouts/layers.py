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

Every number of the layer that no section names is shown below them, so that a new signal needs no line here.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

from aistack_top.model.entity import KEYS
from aistack_top.model.signals import LAYERS
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


@cache
def layer_screen(layer: str) -> LayerSections:
    """Return what the screen of a layer shows.

    Raises:
        LayoutError: its file says things that are not known.

    """
    text = files("layouts").joinpath("screens", f"{layer}.toml").read_text(encoding="utf-8")
    try:
        found = msgspec.toml.decode(text, type=LayerSections)
    except msgspec.DecodeError as error:
        raise LayoutError([f"screens/{layer}.toml: {error}"]) from None
    problems = [f"screens/{layer}.toml: {said}" for section in found.section for said in _wrong(section)]
    if problems:
        raise LayoutError(problems)
    return found


def layer_screens() -> dict[str, LayerSections]:
    """Return the screens of all layers."""
    return {layer: layer_screen(layer) for layer in LAYERS}


def _wrong(section: Section) -> Iterator[str]:
    """Yield what is well formed and yet cannot be drawn."""
    for key in (section.per, *section.also, *section.keys):
        if key and key not in KEYS:
            yield f"{section.title}: no such key of an entity: {key!r}"
    if section.kind == "table" and not section.per:
        yield f"{section.title}: a table says with 'per' whose lines it has"
    numbers: list[PanelRow | PanelColumn] = [
        *section.columns,
        *section.row,
        *([section.history] if section.history else []),
    ]
    if section.kind == "shares":
        numbers += [PanelColumn(signal, section.title) for signal in (section.signal, section.rest) if signal]
    for row in section.row:
        if row.over == "sum":
            yield from (f"{section.title}: {said}" for _, said in wrong_over(row, ()))
    for number in numbers:
        for _, said in wrong_number(number, ()):
            yield f"{section.title}: {said}"
