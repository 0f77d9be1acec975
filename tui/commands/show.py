"""Puts a feed on the screen: what live, replay and demo have in common."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.measure.clock import WallClock
from aistack_top.model.feed import Feed
from aistack_top.model.tick import Call
from collectors.config import Config, default_path
from layouts.load import Layout, LayoutError, load, names
from tui.commands import own_files
from tui.commands.common import Options, fail

if TYPE_CHECKING:
    from tui.model.console import TextOf


FALLBACK = "overview"
SWITCH_S = 0.001
"""So long a thread that computes may keep a key waiting at a time; Python's own 5 ms add up to what is felt."""


def show(feed: Feed, options: Options, config: Config, node: str) -> int:
    """Run the console on a feed until its user leaves; returns the exit code."""
    notices = own_files.problems()
    layout = layout_of(options, config, notices)
    # thousands of classes and functions are made until the first numbers are on the screen and none of them dies;
    # looking for garbage among them costs a fifth of the start. The app turns it on again.
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    from tui.app import ConsoleApp
    from tui.model.console import ConsoleOptions
    from tui.shutdown import GRACE_S, leave_within

    wanted = ConsoleOptions(
        low_bandwidth=options.low_bandwidth or config.console.low_bandwidth,
        ascii_only=options.ascii_only,
        node=node,
        runbooks=config.console.runbooks,
        text_of=text_reader(options, config),
        keymap=_keymap(config, notices),
        colours=_colours(config, notices),
        evidence=Path(config.console.evidence or ".").expanduser().resolve(),
        notices=tuple(notices),
    )
    app = ConsoleApp(feed, layout, wanted)
    try:
        app.run()
    finally:
        gc.enable()
        if not app.is_headless:
            leave_within(GRACE_S, app.return_code or 0)
    return app.return_code or 0


def layout_of(options: Options, config: Config, notes: list[str]) -> Layout:
    """Return the layout asked for; where its file has mistakes, they are noted and the overview is shown.

    A name that was typed and that no layout has is a usage error: somebody sits there to mend it.
    """
    name, folder = options.layout or config.console.layout, layout_folder(options)
    try:
        return load(name, folder)
    except LayoutError as error:
        if options.layout is not None and name not in names(folder) and not Path(name).expanduser().is_file():
            fail("\n".join(error.problems))
        notes += [*error.problems[1:], f"{error.problems[0]}; the overview is shown instead"]
    return load(FALLBACK)


def check_layout(options: Options) -> None:
    """Leave with a sentence when a layout was named that there is none of, although nothing is drawn."""
    name, folder = options.layout, layout_folder(options)
    if name is not None and name not in names(folder) and not Path(name).expanduser().is_file():
        try:
            load(name, folder)
        except LayoutError as error:
            fail("\n".join(error.problems))


def layout_folder(options: Options) -> Path:
    """Return where a user's own layouts lie: beside the configuration."""
    return (options.config or default_path()).parent / "layouts"


def _colours(config: Config, notes: list[str]) -> str:
    """Return the theme to begin with; one that there is none of is noted."""
    from tui.theme import problem

    said = problem(config.console.theme)
    notes += [said] if said else []
    return "" if said else config.console.theme


def _keymap(config: Config, notes: list[str]) -> dict[str, str]:
    """Return the keys that are bound anew; what cannot be is noted."""
    if not config.console.keys:
        return {}
    from tui.keymap import keymap

    good, problems = keymap(config.console.keys)
    notes += problems
    return good


def text_reader(options: Options, config: Config) -> "TextOf":
    """Return what fetches the text of one call; which servers there are is looked up when the first is asked for."""

    async def read(call: Call) -> tuple[str, str]:
        from collectors.assemble import sources
        from collectors.langfuse.text import reader

        found = reader(sources(config, options.endpoints, os.environ, options.prometheus), WallClock())
        if found is None:
            raise LookupError("no Langfuse server is configured")
        text = await found(call)
        return text.asked, text.answered

    return read
