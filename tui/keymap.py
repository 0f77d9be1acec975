"""Keys bound anew by the configuration: which actions there are, and what is wrong with a wish."""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from string import punctuation

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

MODIFIERS = ("ctrl", "alt", "shift", "meta", "super", "hyper")


def bindings() -> dict[str, Binding]:
    """Return every binding of the console by its id, in the order of the help."""
    found = (binding for where in places() for binding in vars(where).get("BINDINGS", ()))
    return {binding.id: binding for binding in found if isinstance(binding, Binding) and binding.id}


def keymap(wished: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what of a configuration's keys can be used, and a sentence for each that cannot: it stays as it is."""
    known = bindings()
    good: dict[str, str] = {}
    problems: list[str] = []
    taken: dict[str, str] = {}
    for action, said in wished.items():
        if action not in known:
            problems.append(f"[console.keys] no such action: {action!r}{_hint(action, known)}")
            continue
        names = [_name(part.strip() or ",") for part in said.split(",")] if said != "," else ["comma"]
        wrong = [part for part, name in zip(said.split(","), names, strict=False) if not _is_key(name)]
        twice = [name for name in names if taken.get(name, action) != action]
        if wrong:
            problems.append(f"[console.keys] {action}: no such key: {wrong[0]!r}{_hint(wrong[0], _KEYS)}")
        elif twice:
            problems.append(f"[console.keys] {action}: {twice[0]} is bound to {taken[twice[0]]} already")
        else:
            taken.update(dict.fromkeys(names, action))
            good[action] = ",".join(names)
    return good, problems


def places() -> tuple[type[DOMNode], ...]:
    """Return every screen and widget that has keys."""
    from tui.app import ConsoleApp
    from tui.screens.base import ConsoleScreen, ListScreen
    from tui.screens.call import CallScreen
    from tui.screens.incident import IncidentScreen
    from tui.screens.incidents import IncidentsScreen
    from tui.screens.overview import OverviewScreen
    from tui.screens.row_list import RowListScreen
    from tui.screens.time_navigation import TimeNavigationScreen
    from tui.widgets.pager import Pager
    from tui.widgets.panel import LayerPanel
    from tui.widgets.prompt import Prompt
    from tui.widgets.row_list import RowList
    from tui.widgets.verdict import VerdictBar

    screens = (
        OverviewScreen,
        ConsoleScreen,
        TimeNavigationScreen,
        RowListScreen,
        IncidentScreen,
        IncidentsScreen,
        CallScreen,
    )
    return (*screens, ListScreen, RowList, Pager, LayerPanel, VerdictBar, Prompt, ConsoleApp)


def _name(said: str) -> str:
    """Return a key by the name that Textual has for it: ``/`` is ``slash``."""
    *modifiers, key = said.split("+") if len(said) > 1 else [said]
    if len(key) == 1 and not key.isalnum():
        name = unicodedata.name(key, key).lower().replace("-", "_").replace(" ", "_")
        key = KEY_NAME_REPLACEMENTS.get(name, name)
    return "+".join([*modifiers, key])


def _is_key(name: str) -> bool:
    *modifiers, key = name.split("+")
    return all(one in MODIFIERS for one in modifiers) and ((len(key) == 1 and key.isalnum()) or key in _KEYS)


def _hint(said: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(said, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


_KEYS = {key.value for key in Keys if "<" not in key.value} | {_name(char) for char in punctuation}
