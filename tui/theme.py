"""Colours: the terminal's own by default, so that light and dark, 16 colours and none all come out right.

What is well is cyan or blue and never green: green, yellow and red are one colour to one man in twelve. How far the
colours of a theme are apart to eyes without one kind of cones is a test's business (``tests/tui/test_theme.py``).
"""

import difflib
from collections.abc import Mapping

from textual.theme import BUILTIN_THEMES, Theme

OWN = "terminal"
LINUX = "console"


def _ansi(name: str, bright: str) -> Theme:
    """Return a theme of the terminal's own colours; ``bright`` are those of them that stand out of black."""
    return Theme(
        name=name,
        ansi=True,
        primary=f"ansi_{bright}blue",
        secondary="ansi_cyan",
        accent="ansi_cyan",
        warning=f"ansi_{bright}yellow",
        error=f"ansi_{bright}red",
        success="ansi_cyan",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables=dict(BUILTIN_THEMES["ansi-dark"].variables),
    )


THEMES = (
    _ansi(OWN, ""),
    _ansi(LINUX, "bright_"),
    Theme(
        name="night",
        primary="#6cb6ff",
        secondary="#57c7c2",
        accent="#57c7c2",
        warning="#ffd75f",
        error="#ff5566",
        success="#7ad7f0",
        foreground="#d5dbe3",
        background="#0f1419",
        surface="#151b22",
        panel="#1c242d",
        dark=True,
    ),
    Theme(
        name="day",
        primary="#0550ae",
        secondary="#0f766e",
        accent="#0f766e",
        warning="#996300",
        error="#7a0018",
        success="#0b4a8f",
        foreground="#1f2328",
        background="#ffffff",
        surface="#f6f8fa",
        panel="#eaeef2",
        dark=False,
    ),
)


def problem(name: str) -> str:
    """Return what is wrong with the name of a theme, with the nearest there is; nothing if there is such a one."""
    known = [*(one.name for one in THEMES), *BUILTIN_THEMES]
    if not name or name in known:
        return ""
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(one.name for one in THEMES)}"
    return f"[console] no such theme: {name!r}; {hint}"


def first(environ: Mapping[str, str]) -> str:
    """Return the theme to begin with: the dark colours of the Linux console cannot be read on its black."""
    return LINUX if environ.get("TERM") == "linux" else OWN


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """Whether this terminal can be trusted with ASCII only: the Linux console, or a locale that is not UTF-8."""
    if environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return True
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return bool(locale) and "utf" not in locale.lower()
