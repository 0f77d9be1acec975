"""The actions of the app that keep evidence: what is seen, the whole recording, the verdict on the clipboard.

What it takes to write is imported when it is first asked for.
"""

from collections.abc import Sequence
from functools import partial
from importlib import import_module

from textual.strip import Strip

from aistack_top.session.threads import on_thread
from tui.model.view import View
from tui.screens.base import ConsoleScreen


def keep_evidence(screen: ConsoleScreen) -> None:
    """Write what is seen into a folder, while the screen goes on."""
    if screen.console.keeping:
        screen.show_message("already writing the evidence")
        return
    view = screen.console.view()
    with screen.discreet():
        # the strips as they stand are no public API; export_screenshot would make the SVG of them on this very loop
        strips = screen._compositor.render_strips()
    screen.show_message("writing the evidence")
    screen.console.keeping = True
    screen.app.run_worker(_keep(screen, view, strips, screen.app.size.width), exit_on_error=False)


async def _keep(screen: ConsoleScreen, view: View, strips: Sequence[Strip], width: int) -> None:
    try:
        await on_thread(partial(import_module, "tui.evidence"))  # what it takes to write is imported beside the screen
        from tui import evidence

        kept = await evidence.keep(
            screen.console, view, evidence.ScreenText(strips, width), screen.console.options.evidence
        )
        said = f"saved to {kept}: session, verdict, screen"
    except Exception as fault:  # a mistake of ours costs the evidence, not the console, and it is said
        known = type(fault).__name__ == "EvidenceError"
        said = str(fault) if known else f"no evidence: {type(fault).__name__}: {fault}"
    finally:
        screen.console.keeping = False
    seen = screen.app.screen
    (seen if isinstance(seen, ConsoleScreen) else screen).show_message(said)


def keep_recording(screen: ConsoleScreen) -> None:
    """Ask for a name and keep the whole recording under it, so that later hours cannot push it out."""

    async def asked() -> None:
        await on_thread(partial(import_module, "tui.evidence"))
        from tui import evidence

        def wanted(name: str) -> None:
            if name:
                screen.show_message("saving the recording")
                screen.app.run_worker(_keep_recording(screen, name), exit_on_error=False)

        screen.ask("keep as", wanted, value=evidence.recording_name(screen.console))

    screen.app.run_worker(asked(), exit_on_error=False)


async def _keep_recording(screen: ConsoleScreen, name: str) -> None:
    from tui import evidence

    try:
        kept = await evidence.keep_recording(screen.console, name)
        said = f"whole recording saved to {kept}"
    except evidence.EvidenceError as error:
        said = str(error)
    seen = screen.app.screen
    (seen if isinstance(seen, ConsoleScreen) else screen).show_message(said)


def copy_verdict(screen: ConsoleScreen) -> None:
    """Hand the verdict that a screen is about to the clipboard of the terminal, which may sit on another machine."""
    from tui import evidence

    incident = screen.about_incident()
    if incident is None:
        screen.show_message("nothing to copy: no incident at this time")
        return
    text = evidence.markdown(screen.console.view(), screen.console.name, incident)
    screen.app.copy_to_clipboard(text)
    lines = text.count("\n")
    screen.show_message(f"verdict copied ({lines} lines), if your terminal allows it (OSC 52)")
