"""Help: what each key does here, and what each number means and who tells it."""

from collections.abc import Mapping, Sequence

from textual.binding import ActiveBinding
from textual.keys import format_key

from aistack_top.model.signals import LAYERS, Signal, signals
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.load import Layout
from tui.glyphs import Glyphs
from tui.model.console import Console
from tui.model.view import View
from tui.screens.base import ListScreen
from tui.widgets.cells import Line, cell, wrapped

KEYS = 18
MAX_SOURCES = 3
MOUSE = (
    "The mouse: a click chooses a panel or a time on the axis, the wheel carries through time, shift-drag still "
    "selects text. Nothing here changes what is watched: the console only reads."
)
SURE = (
    "How sure a cause is: shown (all evidence is there, it came first, and it explains the size), likely (all "
    "evidence is there, nothing against it), possible (statistics only), not seen (nothing recorded explains it)."
)
_UNTOLD = "screen.copy_text"
"""What Textual binds to keys that few terminals send; the terminal's own copying is told of under the mouse."""

_WORDS = {name: name for name in ("up", "down", "left", "right", "enter")}


class HelpScreen(ListScreen):
    """The keys of the screen it was opened from, then every number on it."""

    @property
    def breadcrumb(self) -> str:
        """See `ConsoleScreen.breadcrumb`."""
        return "help"

    def __init__(self, console: Console, bindings: Mapping[str, ActiveBinding], names: Sequence[str]) -> None:
        super().__init__(console)
        self._keys = keys(bindings)
        self._names = names

    def lines(self, view: View, width: int) -> list[Line]:
        """See `ListScreen.lines`."""
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
        binding = active.binding
        if binding.description and not binding.system and binding.action != _UNTOLD:
            shown = _WORDS.get(binding.key) or binding.key_display or format_key(binding.key)
            found.setdefault(binding.description, []).append(shown)
    return [(" ".join(sorted(dict.fromkeys(pressed), key=len)), does) for does, pressed in found.items()]


def number_lines(names: Sequence[str], view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return what each number means, when to worry, and where it comes from, by layer."""
    lines: list[Line] = []
    for number, layer in enumerate(LAYERS, 1):
        found = [signals()[name] for name in names if signals()[name].layer == layer]
        if found:
            lines += [(), (cell(f"{number} {layer}: what the numbers on this screen mean", "title"),)]
        for signal in found:
            unit = f" [{signal.unit}]" if signal.unit != "1" else " [ratio]"
            lines.append((cell(f"  {signal.title}", "label"), cell(unit, "dim")))
            lines += [(cell(part),) for part in _indented(glyphs.text(signal.help), width, 4)]
            lines += [(cell(part),) for part in _indented(glyphs.text(f"When to worry: {worry(signal)}"), width, 4)]
            said = f"Where it comes from: {signal.name}, told by {_tellers(signal, view)}"
            lines += [(cell(part, "dim"),) for part in _indented(glyphs.text(said), width, 4)]
    return lines


def worry(signal: Signal) -> str:
    """Return when a number is a reason to worry: as its table says, else by the direction that hurts and the floor."""
    if signal.worry:
        return signal.worry
    if signal.kind == "flag":
        return "When it is no." if signal.hurts == "down" else "When it is not 0."
    floor = numbers.of_signal(signal.floor, signal)
    if signal.hurts == "both":
        return f"Neither high nor low is bad by itself; it explains something when it moves by more than {floor}."
    way = "rises" if signal.hurts == "up" else "falls"
    return f"When it {way} by more than {floor} from its own usual."


def layout_names(layout: Layout, layers: Sequence[str] = LAYERS) -> list[str]:
    """Return the signals that the panels of some layers show, once each, in order."""
    return list(dict.fromkeys(name for layer in layers for name in _names(layout, layer)))


def _tellers(signal: Signal, view: View) -> str:
    told = sorted({view.frame.source_of(signal.name, entity) for entity in view.frame.entities(signal.name)})
    whom = ", ".join(sanitize(one, 30) for one in told[:MAX_SOURCES]) or "nobody yet"
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
