"""``aistack-top export``: a session's readings as a table for other tools."""

import sys
from pathlib import Path

from aistack_top.session.errors import SessionError
from aistack_top.session.export import export
from aistack_top.session.reader import Session
from tui.commands.common import fail


def run(path: Path, target: Path) -> int:
    """Write the table and return the exit code."""
    try:
        session = Session.open(path)
        count = export(session, target)
    except SessionError as error:
        fail(str(error))
    for problem in session.problems:
        print(f"aistack-top: {problem}", file=sys.stderr)
    print(f"{count} readings in {target}", file=sys.stderr)
    return 0
