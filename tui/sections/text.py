"""What went into a call and what came out of it, laid out for reading. It comes from outside: any text at all."""

import json

from aistack_top.text.sanitize import sanitize
from tui.sections.context import BLANK, RenderContext, heading, note_line
from tui.widgets.cells import wrapped
from tui.widgets.row_list import Row

MAX_LINES = 400
MAX_LINE = 2_000
"""Characters of one line of the text; what is longer is a picture or a dump, and its end is left out."""


def rows(asked: str, answered: str, scene: RenderContext) -> list[Row]:
    """Return the text of a call; kept nowhere but on the screen."""
    found = [BLANK, heading("text (shown here, never recorded)", scene)]
    for title, said in (("in", asked), ("out", answered)):
        lines = _lines(said)
        if lines:
            found.append(note_line(f"{title}:"))
            found += [note_line("  " + part, "text") for part in _wrapped(lines, scene)]
    return found if len(found) > 2 else [*found, note_line("this call has no text in Langfuse")]


def _lines(said: str) -> list[str]:
    """Return the text line by line; messages as ``role: content``, other JSON as it is."""
    try:
        data = json.loads(said)
    except (ValueError, RecursionError):
        return said.splitlines()
    messages = data if isinstance(data, list) else [data]
    found = []
    for message in messages:
        if not (isinstance(message, dict) and isinstance(message.get("content"), str)):
            return said.splitlines()
        first, *more = message["content"].splitlines() or [""]
        found += [f"{message.get('role', 'text')}: {first}", *more]
    return found


def _wrapped(lines: list[str], scene: RenderContext) -> list[str]:
    room = max(scene.width - 6, 20)
    found = []
    for line in lines[:MAX_LINES]:
        found += wrapped(scene.glyphs.text(sanitize(line, MAX_LINE)), room) or [""]
    if len(lines) > MAX_LINES or len(found) > MAX_LINES:
        return [*found[:MAX_LINES], "cut here"]
    return found
