"""The terminal application: one feed, one state, one screen at a time."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.dom import DOMNode
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen

from aistack_top.model.feed import Feed
from aistack_top.text.sanitize import sanitize
from layouts.load import Layout
from tui import theme
from tui.glyphs import Glyphs
from tui.model.console import TextOf, make
from tui.model.own_cost import CountingDriver
from tui.screens.base import ConsoleScreen
from tui.screens.overview import OverviewScreen
from tui.screens.time_navigation import TimeNavigationScreen
from tui.shutdown import GRACE_S, LOOKS_S, is_gone, leave_within

SOON = ("layer", "incident")
"""Screens that are opened first of all: imported once data is on the screen, so that the key need not wait for it."""

REPAINT_S = 0.1
LOW_BANDWIDTH_REPAINT_S = 12.0
"""The table of calls, whose every row moves with each new call, then takes less than 0.03 MB a minute."""


def places() -> type[Provider]:
    """Return what finds times and names for the palette; imported when the palette is first opened."""
    from tui.palette import GoToCommands

    return GoToCommands


class ConsoleApp(App[None]):
    """Shows a feed, whatever it is, until a person quits; then closes it.

    ``low_bandwidth`` drops histories and repaints every 12 s; keys are answered at once. ``notes`` are sentences to be
    told; more may be added to the list while the console runs.
    ``runbooks`` are the site's own pages, by the cause they are about; ``text_of`` fetches the text of one call.
    ``node`` is what is watched, if the feed's own title is not to be used. ``keymap`` binds other keys to binding
    ids, as Textual does. ``evidence`` is the folder that evidence is written into; the working folder otherwise.
    ``colours`` names the theme to begin with.
    """

    COMMANDS = App.COMMANDS | {places}
    CSS_PATH = Path(__file__).with_name("console.tcss")
    TITLE = "aistack-top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, id="quit.always"),
        Binding("colon,ctrl+p", "command_palette", "All commands", id="palette"),
    ]

    def __init__(
        self,
        feed: Feed,
        layout: Layout,
        *,
        low_bandwidth: bool = False,
        ascii_only: bool = False,
        notes: Sequence[str] = (),
        node: str = "",
        runbooks: Mapping[str, str] | None = None,
        text_of: TextOf | None = None,
        keymap: dict[str, str] | None = None,
        evidence: Path | None = None,
        colours: str = "",
    ) -> None:
        super().__init__(driver_class=CountingDriver)
        for one in theme.THEMES:
            self.register_theme(one)
        self.theme = colours or theme.first(os.environ)
        self.animation_level = "none"
        glyphs = Glyphs(ascii_only or theme.wants_ascii(os.environ))
        self.console_model = make(
            feed,
            layout,
            glyphs,
            self._on_news,
            self.show_message,
            low_bandwidth=low_bandwidth,
            node=sanitize(node, 60),
            notes=notes,
            runbooks=runbooks,
            text_of=text_of,
            evidence=evidence,
        )
        self.repaint_s = LOW_BANDWIDTH_REPAINT_S if low_bandwidth else REPAINT_S
        self._keymap_wanted = keymap or {}
        self._painted = -self.repaint_s
        self._paint_due = False
        self._frozen = False
        self._pumping: asyncio.Task[None] | None = None

    def get_default_screen(self) -> Screen[None]:
        """See `textual.app.App.get_default_screen`."""
        return OverviewScreen(self.console_model)

    def on_key(self, event: events.Key) -> None:
        """Keep what is typed for a question that is not there yet: a slow link brings all at once."""
        if isinstance(self.screen, TimeNavigationScreen) and self.screen.typed_ahead is not None:
            event.prevent_default().stop()
            self.screen.typed_ahead.append(event)

    def on_mount(self) -> None:
        """Take the keys that were wished for, and quit cleanly when asked to by a signal."""
        self.set_keymap(self._keymap_wanted)
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

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return every action of the screen for the palette; each key's description is its command."""
        seen: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.description and not binding.system and binding.description not in seen:
                seen.add(binding.description)
                yield SystemCommand(binding.description, f"key: {binding.key}", _runner(self, active.node, binding))
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
