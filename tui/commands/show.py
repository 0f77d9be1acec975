"""Puts a feed on the screen: what live, replay and demo have in common."""

import gc
from collections.abc import Sequence

from aistack_top.feed import Feed
from collectors.config import Config
from layouts.load import LayoutError, load
from tui.commands.common import Options, fail


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
    )
    try:
        app.run()
    finally:
        gc.enable()
    return app.return_code or 0
