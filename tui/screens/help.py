"""Help: what each key does here, and what each number means and who tells it."""

import re
from collections.abc import Mapping, Sequence

from textual.binding import ActiveBinding

from aistack_top.model.signals import LAYERS, Signal, signals
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.load import Layout
from tui.glyphs import Glyphs
from tui.keynames import is_ours, key_words
from tui.model.console import Console
from tui.model.view import View
from tui.screens.base import ListScreen
from tui.widgets.cells import Line, cell, wrapped

KEYS = 18
MAX_SOURCES = 3
MOUSE = (
    "Mouse: click selects a panel or a time on the axis, the wheel moves through time, shift-drag still "
    "selects text. The console is read-only: nothing here changes the systems it monitors."
)
SURE = (
    "Confidence of a cause: confirmed (all evidence present, it came first, and it explains the size), likely (all "
    "evidence present, none against), possible (statistics only), unknown (no collected signal explains it)."
)
_UNITS = {"1": "%", "By": "B", "By/s": "B/s", "Cel": "°C", "Hz": "MHz", "USD": "$", "USD/h": "$/h", "/s": "per second"}
"""Units of ``signals.toml`` that are written in another way beside a number; see `aistack_top.text.numbers`."""

_COUNTED = re.compile(r"\{(\w+)\}(/s|/d|)")
_PLURALS = {"gpu": "GPUs", "cpu": "CPUs", "loss": "", "flag": "yes or no"}
"""What a count is of, where it is not the plain plural; a loss has no unit."""


class HelpScreen(ListScreen):
    """The keys of the screen it was opened from, then every number on it."""

    @property
    def breadcrumb(self) -> str:
        """Name of this screen in the breadcrumb."""
        return "help"

    def __init__(self, console: Console, bindings: Mapping[str, ActiveBinding], names: Sequence[str]) -> None:
        super().__init__(console)
        self._keys = keys(bindings)
        self._names = names

    def lines(self, view: View, width: int) -> list[Line]:
        """Return the lines of this screen at the time shown."""
        glyphs = self.console.glyphs
        lines: list[Line] = [(cell("keys of this screen", "title"),)]
        for pressed, does in self._keys:
            lines.append((cell(f"  {pressed}", "key", KEYS + 2), cell(glyphs.text(does))))
        for told in (MOUSE, SURE):
            lines += [(), *((cell(part, "dim"),) for part in _indented(told, width))]
        return [*lines, *number_lines(self._names, view, width, glyphs)]


def keys(bindings: Mapping[str, ActiveBinding]) -> list[tuple[str, str]]:
    """Return what can be pressed, as (keys, what they do), in the order of the bindings."""
    found: dict[str, list[str]] = {}
    for active in bindings.values():
        if is_ours(active.binding):
            found.setdefault(active.binding.description, []).append(key_words(active.binding))
    return [(" ".join(sorted(dict.fromkeys(pressed), key=len)), does) for does, pressed in found.items()]


def number_lines(names: Sequence[str], view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return what each number means, when to worry, and where it comes from, by layer."""
    lines: list[Line] = []
    for number, layer in enumerate(LAYERS, 1):
        found = [signals()[name] for name in names if signals()[name].layer == layer]
        if found:
            lines += [(), (cell(f"{number} {layer}: numbers on this screen", "title"),)]
        for signal in found:
            lines.append((cell(f"  {signal.title}", "label"), cell(glyphs.text(f"  {unit_words(signal)}"), "dim")))
            lines += [(cell(part),) for part in _indented(glyphs.text(signal.help), width, 4)]
            lines += [(cell(part),) for part in _indented(glyphs.text(f"When to worry: {worry(signal)}"), width, 4)]
            said = f"Where it comes from: {signal.name}, reported by {_reporters(signal, view)}"
            lines += [(cell(part, "dim"),) for part in _indented(glyphs.text(said), width, 4)]
    return lines


def unit_words(signal: Signal) -> str:
    """Return a signal's unit as it stands beside its numbers, not as UCUM writes it; nothing for a bare number."""
    if signal.kind == "flag" and signal.form == "gauge" and signal.unit == "1":
        return "yes or no"
    counted = _COUNTED.fullmatch(signal.unit)
    if counted is None:
        return _UNITS.get(signal.unit, signal.unit)
    one, per = counted[1], {"/s": "/s", "/d": "/day", "": ""}[counted[2]]
    return _PLURALS.get(one, f"{one}es" if one.endswith("s") else f"{one}s") + per


def worry(signal: Signal) -> str:
    """Return when a number is a reason to worry: as its table says, else by the direction that hurts and the floor."""
    if signal.worry:
        return signal.worry
    if signal.kind == "flag":
        return "When it is no." if signal.hurts == "down" else "When it is not 0."
    floor = numbers.of_signal(signal.floor, signal)
    if signal.hurts == "both":
        return f"Neither high nor low is bad by itself; a change of more than {floor} is evidence."
    way = "rises" if signal.hurts == "up" else "falls"
    return f"When it {way} by more than {floor} from its baseline."


def layout_names(layout: Layout, layers: Sequence[str] = LAYERS) -> list[str]:
    """Return the signals that the panels of some layers show, once each, in order."""
    return list(dict.fromkeys(name for layer in layers for name in _names(layout, layer)))


def _reporters(signal: Signal, view: View) -> str:
    told = sorted({view.frame.source_of(signal.name, entity) for entity in view.frame.entities(signal.name)})
    whom = ", ".join(sanitize(one, 30) for one in told[:MAX_SOURCES]) or "no source"
    return whom + (f" and {len(told) - MAX_SOURCES} more" if len(told) > MAX_SOURCES else "")


def _indented(text: str, width: int, by: int = 2) -> list[str]:
    return [" " * by + part for part in wrapped(text, max(width - by - 2, 20))]


def _names(layout: Layout, layer: str) -> list[str]:
    """Return the signals a layer's panel shows, once each, in order."""
    try:
        panel = layout.panel_of(layer)
    except KeyError:
        return []
    columns = panel.table.columns if panel.table else ()
    return list(dict.fromkeys([*(row.signal for row in panel.row), *(column.signal for column in columns)]))
