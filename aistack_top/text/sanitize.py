"""Text from outside, made harmless: nothing a server or a file says can move the cursor or colour the screen."""

import re
import unicodedata

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[@-Z\\-_]?)", re.DOTALL)
_SPACES = re.compile(r"\s+")


def sanitize(text: str, limit: int = 200) -> str:
    """Return text on one line without control characters, cut to ``limit`` characters with an ellipsis.

    Whole escape sequences go, not only their first byte, so that no ``[31m`` is left behind; bidirectional and
    zero-width characters go too, since they can make a name read as another. Markup is left as it is: what shows
    the text must not interpret it.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    text = _ESCAPES.sub("", text)
    kept = "".join(
        " " if char in "\t\n\r\x0b\x0c\u2028\u2029" else char
        for char in text
        if char in "\t\n\r\x0b\x0c\u2028\u2029" or unicodedata.category(char)[0] != "C"
    )
    kept = _SPACES.sub(" ", kept).strip()
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"
