"""The ways from one screen to another. Screens are imported when their door is opened, not before the first paint."""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from tui.model.targets import CallsTarget, CallTarget, EntityTarget, IncidentTarget, MomentTarget, NumberTarget, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.strip import Strip

    from aistack_top.model.incident import Incident
    from tui.model.view import View
    from tui.screens.base import ConsoleScreen


LAYERS = "layers"
"""The name of the screen that shows any layer."""


def layer(screen: "ConsoleScreen", name: str) -> None:
    """Go to a layer's screen, which stands right above the one it all begins with.

    There is one for all layers, and it stays: to put a new one together takes ten times as long as to fill it anew.
    """
    from tui.screens.layer import LayerScreen

    if isinstance(screen, LayerScreen):
        screen.show_layer(name)
        return
    app = screen.app
    if app.is_screen_installed(LAYERS):
        opened = app.get_screen(LAYERS, LayerScreen)
        opened.show_layer(name)
    else:
        opened = LayerScreen(screen.console, name)
        app.install_screen(opened, LAYERS)
    if opened in app.screen_stack:
        while app.screen is not opened:
            app.pop_screen()
    elif len(app.screen_stack) == 2:
        app.switch_screen(opened)
    else:
        pop_to_root(screen)
        app.push_screen(opened)


def pop_to_root(screen: "ConsoleScreen") -> None:
    """Go back all the steps."""
    while len(screen.app.screen_stack) > 1:
        screen.app.pop_screen()


def incident_shown(screen: "ConsoleScreen") -> "Incident | None":
    """Return the incident that is open at the moment shown; else the newest that is known."""
    from tui.widgets.verdict import open_incidents

    view = screen.console.view()
    found = open_incidents(view) or list(reversed(view.frame.incidents))
    return found[0] if found else None


def newest_incident(screen: "ConsoleScreen") -> None:
    """Open the incident that is shown; say that none is."""
    found = incident_shown(screen)
    if found is not None:
        open_target(screen, IncidentTarget(found.id))
    else:
        screen.show_message("no incident is known at this moment")


def keep_evidence(screen: "ConsoleScreen") -> None:
    """Write what is seen into a folder, while the screen goes on."""
    if screen.console.keeping:
        screen.show_message("the evidence is being written already")
        return
    view = screen.console.view()
    with screen.discreet():
        # the strips as they stand are no public API; export_screenshot would make the SVG of them on this very loop
        strips = screen._compositor.render_strips()
    screen.show_message("writing the evidence")
    screen.console.keeping = True
    screen.app.run_worker(_keep(screen, view, strips, screen.app.size.width), exit_on_error=False)


async def _keep(screen: "ConsoleScreen", view: "View", strips: "Sequence[Strip]", width: int) -> None:
    from aistack_top.session.threads import on_thread
    from tui.screens.time_navigation import TimeNavigationScreen

    try:
        await on_thread(partial(import_module, "tui.evidence"))  # what it takes to write is imported beside the screen
        from tui import evidence

        kept = await evidence.keep(screen.console, view, evidence.ScreenText(strips, width), screen.console.evidence)
        said = f"kept in {kept}: the session to play again, the verdict, the screen"
    except Exception as fault:  # a mistake of ours costs the evidence, not the console, and it is said
        known = type(fault).__name__ == "EvidenceError"
        said = str(fault) if known else f"no evidence: {type(fault).__name__}: {fault}"
    finally:
        screen.console.keeping = False
    seen = screen.app.screen
    (seen if isinstance(seen, TimeNavigationScreen) else screen).show_message(said)


def keep_recording(screen: "ConsoleScreen") -> None:
    """Ask for a name and keep the whole recording under it, so that later hours cannot push it out."""
    from aistack_top.session.threads import on_thread

    async def asked() -> None:
        await on_thread(partial(import_module, "tui.evidence"))
        from tui import evidence

        def wanted(name: str) -> None:
            if name:
                screen.show_message("keeping the recording")
                screen.app.run_worker(_keep_recording(screen, name), exit_on_error=False)

        screen.ask("keep as", wanted, value=evidence.recording_name(screen.console))

    screen.app.run_worker(asked(), exit_on_error=False)


async def _keep_recording(screen: "ConsoleScreen", name: str) -> None:
    from tui import evidence
    from tui.screens.time_navigation import TimeNavigationScreen

    try:
        kept = await evidence.keep_recording(screen.console, name)
        said = f"the whole recording is kept in {kept}"
    except evidence.EvidenceError as error:
        said = str(error)
    seen = screen.app.screen
    (seen if isinstance(seen, TimeNavigationScreen) else screen).show_message(said)


def copy_verdict(screen: "ConsoleScreen", incident: "Incident | None") -> None:
    """Hand a verdict to the clipboard of the terminal, which may sit on another machine."""
    from tui import evidence

    if incident is None:
        screen.show_message("nothing to copy: no incident is known at this moment")
        return
    text = evidence.markdown(screen.console.view(), screen.console.name, incident)
    screen.app.copy_to_clipboard(text)
    lines = text.count("\n")
    screen.show_message(f"the verdict is copied ({lines} lines), if your terminal lets programs copy (OSC 52)")


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


def open_help(screen: "ConsoleScreen") -> None:
    """Explain the keys of a screen, and all numbers."""
    from tui.screens.help import HelpScreen, layout_names

    if not isinstance(screen, HelpScreen):
        names = screen.numbers() or layout_names(screen.console.layout)
        screen.app.push_screen(HelpScreen(screen.console, screen.active_bindings, names))


def open_target(screen: "ConsoleScreen", target: Target) -> None:
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
