"""The ways from one screen to another. Screens are imported when their door is opened, not before the first paint."""

from typing import TYPE_CHECKING

from tui.targets import CallsTarget, CallTarget, EntityTarget, IncidentTarget, MomentTarget, NumberTarget, Target

if TYPE_CHECKING:
    from tui.screens.base import ConsoleScreen


def layer(screen: "ConsoleScreen", name: str) -> None:
    """Go to a layer's screen, which stands right above the one it all begins with."""
    from tui.screens.layer import LayerScreen

    if isinstance(screen, LayerScreen) and screen.name_of_layer == name:
        return
    opened = LayerScreen(screen.console, name)
    if len(screen.app.screen_stack) == 2:
        screen.app.switch_screen(opened)
        return
    to_the_first(screen)
    screen.app.push_screen(opened)


def to_the_first(screen: "ConsoleScreen") -> None:
    """Go back all the steps."""
    while len(screen.app.screen_stack) > 1:
        screen.app.pop_screen()


def newest_incident(screen: "ConsoleScreen") -> None:
    """Open the incident that is open at the moment shown; else the newest that is known; else say that none is."""
    from tui.widgets.verdict import open_incidents

    view = screen.console.view()
    found = open_incidents(view) or list(reversed(view.frame.incidents))
    if found:
        go(screen, IncidentTarget(found[0].id))
    else:
        screen.say("no incident is known at this moment")


def incidents(screen: "ConsoleScreen") -> None:
    """List the incidents."""
    from tui.screens.incidents import IncidentsScreen

    if not isinstance(screen, IncidentsScreen):
        screen.app.push_screen(IncidentsScreen(screen.console))


def calls(screen: "ConsoleScreen", wanted: str = "") -> None:
    """Show the table of calls."""
    from tui.screens.calls import CallsScreen

    if not isinstance(screen, CallsScreen):
        screen.app.push_screen(CallsScreen(screen.console, wanted))


def sources(screen: "ConsoleScreen") -> None:
    """List the sources."""
    from tui.screens.sources import SourcesScreen

    if not isinstance(screen, SourcesScreen):
        screen.app.push_screen(SourcesScreen(screen.console))


def changes(screen: "ConsoleScreen") -> None:
    """List what changed and happened."""
    from tui.screens.changes import ChangesScreen

    if not isinstance(screen, ChangesScreen):
        screen.app.push_screen(ChangesScreen(screen.console))


def explain(screen: "ConsoleScreen") -> None:
    """Explain the keys of a screen, and all numbers."""
    from tui.screens.help import HelpScreen

    if not isinstance(screen, HelpScreen):
        screen.app.push_screen(HelpScreen(screen.console, screen.active_bindings))


def go(screen: "ConsoleScreen", target: Target) -> None:
    """Go where a row leads."""
    if isinstance(target, EntityTarget):
        from tui.screens.entity import EntityScreen

        screen.app.push_screen(EntityScreen(screen.console, target.entity))
    elif isinstance(target, NumberTarget):
        from tui.screens.number import NumberScreen

        screen.app.push_screen(NumberScreen(screen.console, target))
    elif isinstance(target, CallTarget):
        from tui.screens.call import CallScreen

        screen.app.push_screen(CallScreen(screen.console, target.name))
    elif isinstance(target, CallsTarget):
        calls(screen, target.wanted)
    elif isinstance(target, IncidentTarget):
        from tui.screens.incident import IncidentScreen

        screen.app.push_screen(IncidentScreen(screen.console, target.name))
    elif isinstance(target, MomentTarget):
        screen.go_to(target.at)
