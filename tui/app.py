"""The terminal application: one feed, one state, one screen at a time."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.dom import DOMNode
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen

from aistack_top.model.feed import Feed
from layouts.load import Layout
from tui import evidence_actions, theme
from tui import navigation as doors
from tui.glyphs import Glyphs
from tui.keynames import is_ours, key_words
from tui.model.console import ConsoleOptions, make
from tui.model.own_cost import CountingDriver
from tui.model.targets import OpenTarget
from tui.screens.base import ConsoleScreen
from tui.screens.overview import OverviewScreen
from tui.screens.time_navigation import TimeNavigationScreen
from tui.shutdown import GRACE_S, LOOKS_S, is_gone, leave_within

SOON = ("layer", "incident")
"""Screens that are opened first of all: imported once data is on the screen, so that the key need not wait for it."""

DEFAULTS = ConsoleOptions()
REPAINT_S = 0.1
LOW_BANDWIDTH_REPAINT_S = 12.0
"""The table of calls, whose every row moves with each new call, then takes less than 0.03 MB a minute."""


def places() -> type[Provider]:
    """Return what finds times and names for the palette; imported when the palette is first opened."""
    from tui.palette import GoToCommands

    return GoToCommands


class ConsoleApp(App[None]):
    """Shows a feed, whatever it is, until a person quits; then closes it.

    ``options`` is what the command line and the configuration ask of it.
    """

    COMMANDS = App.COMMANDS | {places}
    CSS_PATH = Path(__file__).with_name("console.tcss")
    TITLE = "aistack-top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, id="quit.always"),
        Binding("colon,ctrl+p", "command_palette", "All commands", id="palette"),
    ]

    def __init__(self, feed: Feed, layout: Layout, options: ConsoleOptions = DEFAULTS) -> None:
        super().__init__(driver_class=CountingDriver)
        for one in theme.THEMES:
            self.register_theme(one)
        self.theme = options.colours or theme.first(os.environ)
        self.animation_level = "none"
        glyphs = Glyphs(options.ascii_only or theme.wants_ascii(os.environ))
        self.console_model = make(feed, layout, options, glyphs, self._on_news, self.show_message)
        self.repaint_s = LOW_BANDWIDTH_REPAINT_S if options.low_bandwidth else REPAINT_S
        self._painted = -self.repaint_s
        self._paint_due = False
        self._frozen = False
        self._pumping: asyncio.Task[None] | None = None

    def get_default_screen(self) -> Screen[None]:
        """Return the screen that is shown first."""
        return OverviewScreen(self.console_model)

    def on_key(self, event: events.Key) -> None:
        """Keep what is typed for a question that is not there yet: a slow link brings all at once."""
        if isinstance(self.screen, TimeNavigationScreen) and self.screen.typed_ahead is not None:
            event.prevent_default().stop()
            self.screen.typed_ahead.append(event)

    def on_mount(self) -> None:
        """Take the keys that were wished for, and quit cleanly when asked to by a signal."""
        self.set_keymap(dict(self.console_model.options.keymap))
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._leave)
            self.set_interval(LOOKS_S, self._leave_with_terminal)

    def on_ready(self) -> None:
        """Start taking ticks once the first frame is painted: clients are imported then, and would hold it up."""
        self._pumping = asyncio.create_task(self.console_model.pump.run(), name="feed")

    async def on_unmount(self) -> None:
        """Stop taking ticks and let the feed go."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        await self.console_model.pump.close()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See `textual.app.App.get_line_filters`; under NO_COLOR colours are left out, not made grey.

        Textual 8.2 decides before the theme is known, and would paint the terminal's own colours black on black.
        """
        return [NoColor() if isinstance(one, Monochrome) else one for one in super().get_line_filters()]

    def on_open_target(self, message: OpenTarget) -> None:
        """Open what a row leads to."""
        if isinstance(self.screen, ConsoleScreen):
            doors.open_target(self.screen, message.target)

    def action_open(self, name: str) -> None:
        """Open what has a key of its own: a layer, a list, the help; see `tui.navigation.NAMED`."""
        if isinstance(self.screen, ConsoleScreen):
            doors.open_target(self.screen, doors.NAMED[name])

    def action_keep_evidence(self) -> None:
        """Write what is seen into a folder."""
        if isinstance(self.screen, ConsoleScreen):
            evidence_actions.keep_evidence(self.screen)

    def action_keep_recording(self) -> None:
        """Keep the whole recording under a name."""
        if isinstance(self.screen, ConsoleScreen):
            evidence_actions.keep_recording(self.screen)

    def action_copy_verdict(self) -> None:
        """Hand the verdict on the incident to the terminal's clipboard (OSC 52)."""
        if isinstance(self.screen, ConsoleScreen):
            evidence_actions.copy_verdict(self.screen)

    def show_message(self, sentence: str) -> None:
        """Show a sentence that a person must know."""
        self.console_model.told.append(sentence)
        self.paint()

    def paint(self) -> None:
        """Hand the screen that is seen one view of the present moment."""
        self._paint_due = False
        if not self.is_running or not self.screen_stack:
            return
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            self._painted = asyncio.get_running_loop().time()
            screen.refresh_view()
            if not self._frozen and self.console_model.state.now > 0:
                self._frozen = True
                self.call_after_refresh(self._freeze)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """See `textual.app.App`: a screen on its way up is not painted while it is empty, which would be a flash."""
        opening = isinstance(screen, ConsoleScreen) and not screen.drawn and len(self.screen_stack) > 1
        super()._display(screen, None if opening else renderable)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return every action of the screen for the palette; each key's description is its command."""
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if is_ours(binding) and binding.description not in seen:
                seen.add(binding.description)
                says = f"key {key_words(binding)}"
                yield SystemCommand(binding.description, says, _runner(self, active.node, binding))
        yield SystemCommand("Theme", "other colours", self.action_change_theme)

    def _leave(self) -> None:
        leave_within(GRACE_S)
        self.exit()

    def _leave_with_terminal(self) -> None:
        if sys.__stdin__ is not None and is_gone(sys.__stdin__.fileno()):
            self._leave()

    def _on_news(self) -> None:
        if self._paint_due:
            return
        self._paint_due = True
        wait = self._painted + self.repaint_s - asyncio.get_running_loop().time()
        if wait <= 0:
            self.call_later(self.paint)
        else:
            self.set_timer(wait, self.paint)

    def _freeze(self) -> None:
        # what was built to get here lives as long as the program: looking through it again costs 40 ms a time
        if not self.is_headless:
            for name in SOON:
                import_module(f"tui.screens.{name}")
            gc.collect()
            gc.freeze()
            gc.enable()


def _runner(app: App[None], node: DOMNode, binding: Binding) -> Callable[[], Awaitable[bool]]:
    async def run() -> bool:
        return await app.run_action(binding.action, default_namespace=node)

    return run
