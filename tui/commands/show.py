"""Puts a feed on the screen: what live, replay and demo have in common."""

import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aistack_top.clock import WallClock
from aistack_top.feed import Feed
from aistack_top.tick import Call
from collectors.config import Config
from layouts.load import LayoutError, load
from tui.commands.common import Options, fail

if TYPE_CHECKING:
    from tui.console import TextOf


def show(feed: Feed, options: Options, config: Config, node: str, notes: Sequence[str] = ()) -> int:
    """Run the console on a feed until its user leaves; returns the exit code."""
    try:
        layout = load(options.layout or config.console.layout)
    except LayoutError as error:
        fail("\n".join(error.problems))
    # thousands of classes and functions are made until the first numbers are on the screen and none of them dies;
    # looking for garbage among them costs a fifth of the start. The app turns it on again.
    gc.disable()
    from tui.app import ConsoleApp

    app = ConsoleApp(
        feed,
        layout,
        low_bandwidth=options.low_bandwidth or config.console.low_bandwidth,
        ascii_only=options.ascii_only,
        notes=notes,
        node=node,
        runbooks=config.console.runbooks,
        text_of=text_reader(options, config),
        evidence=Path(config.console.evidence or ".").expanduser().resolve(),
    )
    try:
        app.run()
    finally:
        gc.enable()
    return app.return_code or 0


def text_reader(options: Options, config: Config) -> "TextOf":
    """Return what fetches the text of one call; which servers there are is looked up when the first is asked for."""

    async def read(call: Call) -> tuple[str, str]:
        from collectors.assemble import sources
        from collectors.tracing.langfuse_text import reader

        found = reader(sources(config, options.endpoints, os.environ), WallClock())
        if found is None:
            raise LookupError("no Langfuse server is configured that could have it")
        text = await found(call)
        return text.asked, text.answered

    return read
