"""Help: what each key does here, and what each number means and who tells it."""

from collections.abc import Mapping

from textual.binding import ActiveBinding
from textual.keys import format_key

from aistack_top.plain import plain
from aistack_top.signals import LAYERS, signals
from layouts.load import Layout
from tui.console import Console
from tui.glyphs import Glyphs
from tui.screens.base import ListScreen
from tui.view import View
from tui.widgets.cells import Line, cell, wrapped

KEYS = 16
MOST_SOURCES = 3
_ARROWS = {name: name for name in ("up", "down", "left", "right")}


class HelpScreen(ListScreen):
    """The keys of the screen it was opened from, then every number of the layout."""

    @property
    def crumb(self) -> str:
        """See `ConsoleScreen.crumb`."""
        return "help"

    def __init__(self, console: Console, bindings: Mapping[str, ActiveBinding]) -> None:
        super().__init__(console)
        self._keys = keys(bindings)

    def lines(self, view: View, width: int) -> list[Line]:
        """See `ListScreen.lines`."""
        glyphs = self.console.glyphs
        lines: list[Line] = [(cell("keys", "title"),)]
        for pressed, does in self._keys:
            lines.append((cell(f"  {pressed}", "key", KEYS + 2), cell(glyphs.text(does))))
        notes = [
            "The mouse: a click chooses a panel or a time on the axis, the wheel carries through time,",
            "shift-drag still selects text. Nothing here changes what is watched: the console only reads.",
        ]
        lines += [(), *((cell("  " + note, "dim"),) for note in notes)]
        return [*lines, *number_lines(self.console.layout, view, width, glyphs)]


def keys(bindings: Mapping[str, ActiveBinding]) -> list[tuple[str, str]]:
    """Return what can be pressed, as (keys, what they do), in the order of the bindings."""
    found: dict[str, list[str]] = {}
    for active in bindings.values():
        binding = active.binding
        if binding.description and not binding.system:
            shown = _ARROWS.get(binding.key) or binding.key_display or format_key(binding.key)
            found.setdefault(binding.description, []).append(shown)
    return [(" ".join(dict.fromkeys(pressed)), does) for does, pressed in found.items()]


def number_lines(layout: Layout, view: View, width: int, glyphs: Glyphs) -> list[Line]:
    """Return every number of a layout: title, unit, meaning, source."""
    lines: list[Line] = []
    for number, layer in enumerate(LAYERS, 1):
        names = _names(layout, layer)
        if not names:
            continue
        lines += [(), (cell(f"{number} {layer}", "title"),)]
        for name in names:
            signal = signals()[name]
            told = sorted({view.frame.source_of(name, entity) for entity in view.frame.entities(name)})
            whom = ", ".join(plain(one, 30) for one in told[:MOST_SOURCES]) or "nobody yet"
            if len(told) > MOST_SOURCES:
                whom += f" and {len(told) - MOST_SOURCES} more"
            unit = f" [{signal.unit}]" if signal.unit != "1" else " [ratio]"
            lines.append((cell(f"  {signal.title}", "label"), cell(unit, "dim"), cell(f"  {name}, told by ", "dim"),
                          cell(glyphs.text(whom))))  # fmt: skip
            lines += [(cell("    " + part),) for part in wrapped(glyphs.text(signal.help), max(width - 6, 20))]
    return lines


def _names(layout: Layout, layer: str) -> list[str]:
    """Return the signals a layer's panel shows, once each, in order."""
    try:
        panel = layout.panel_of(layer)
    except KeyError:
        return []
    columns = panel.table.columns if panel.table else ()
    return list(dict.fromkeys([*(row.signal for row in panel.row), *(column.signal for column in columns)]))
