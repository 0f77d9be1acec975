"""Navigation: opens what a row or a key leads to. Imported by the app and its palette only.

Screens are imported when they are opened, not before the first paint.
"""

from collections.abc import Mapping

from aistack_top.model.signals import LAYERS
from tui.model.targets import (
    CallsTarget,
    CallTarget,
    ChangesTarget,
    EntityTarget,
    HelpTarget,
    IncidentsTarget,
    IncidentTarget,
    LayerTarget,
    MomentTarget,
    NumberTarget,
    SourcesTarget,
    Target,
)
from tui.screens.base import ConsoleScreen

LAYER_SCREEN = "layers"
"""The name of the screen that shows any layer."""

NAMED: Mapping[str, Target] = {
    "incident": IncidentTarget(),
    "incidents": IncidentsTarget(),
    "calls": CallsTarget(),
    "sources": SourcesTarget(),
    "changes": ChangesTarget(),
    "help": HelpTarget(),
    **{layer: LayerTarget(layer) for layer in LAYERS},
}
"""What has a key of its own, by the name that the key's action has for it."""


def open_target(screen: ConsoleScreen, target: Target) -> None:
    """Open a target from the screen that is seen; one that is open already stays as it is."""
    match target:
        case MomentTarget():
            screen.go_to(target.at)
        case LayerTarget():
            layer(screen, target.layer)
        case HelpTarget():
            open_help(screen)
        case IncidentTarget():
            incident(screen, target.name)
        case EntityTarget():
            from tui.screens.entity import EntityScreen

            screen.app.push_screen(EntityScreen(screen.console, target.entity))
        case NumberTarget():
            from tui.screens.number import NumberScreen

            screen.app.push_screen(NumberScreen(screen.console, target))
        case CallTarget():
            from tui.screens.call import CallScreen

            screen.app.push_screen(CallScreen(screen.console, target.name))
        case _:
            _open_list(screen, target)


def layer(screen: ConsoleScreen, name: str) -> None:
    """Go to a layer's screen, which stands right above the one it all begins with.

    There is one for all layers, and it stays: to put a new one together takes ten times as long as to fill it anew.
    """
    from tui.screens.layer import LayerScreen

    if isinstance(screen, LayerScreen):
        screen.show_layer(name)
        return
    app = screen.app
    if app.is_screen_installed(LAYER_SCREEN):
        opened = app.get_screen(LAYER_SCREEN, LayerScreen)
        opened.show_layer(name)
    else:
        opened = LayerScreen(screen.console, name)
        app.install_screen(opened, LAYER_SCREEN)
    if opened in app.screen_stack:
        while app.screen is not opened:
            app.pop_screen()
    elif len(app.screen_stack) == 2:
        app.switch_screen(opened)
    else:
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.push_screen(opened)


def incident(screen: ConsoleScreen, name: str) -> None:
    """Open an incident; without a name the one that the verdict line tells of, unless one is open already."""
    from tui.screens.incident import IncidentScreen
    from tui.widgets.verdict import incident_shown

    if not name:
        if isinstance(screen, IncidentScreen):
            return
        found = incident_shown(screen.console.view())
        if found is None:
            screen.show_message("no incident at this time")
            return
        name = found.id
    screen.app.push_screen(IncidentScreen(screen.console, name))


def open_help(screen: ConsoleScreen) -> None:
    """Explain the keys of a screen, and all numbers."""
    from tui.screens.help import HelpScreen, layout_names

    if not isinstance(screen, HelpScreen):
        names = screen.numbers() or layout_names(screen.console.layout)
        screen.app.push_screen(HelpScreen(screen.console, screen.active_bindings, names))


def _open_list(screen: ConsoleScreen, target: Target) -> None:
    """Open a list, unless it is the screen that is seen."""
    opened: ConsoleScreen
    if isinstance(target, CallsTarget):
        from tui.screens.calls import CallsScreen

        opened = CallsScreen(screen.console, target.wanted)
    elif isinstance(target, IncidentsTarget):
        from tui.screens.incidents import IncidentsScreen

        opened = IncidentsScreen(screen.console)
    elif isinstance(target, SourcesTarget):
        from tui.screens.sources import SourcesScreen

        opened = SourcesScreen(screen.console)
    else:
        from tui.screens.changes import ChangesScreen

        opened = ChangesScreen(screen.console)
    if type(opened) is not type(screen):
        screen.app.push_screen(opened)
