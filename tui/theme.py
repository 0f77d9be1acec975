"""Colours: the terminal's own by default, so that light and dark, 16 colours and none all come out right."""

from collections.abc import Mapping

from textual.theme import BUILTIN_THEMES, Theme

OWN = "terminal"

THEMES = (
    Theme(
        name=OWN,
        ansi=True,
        primary="ansi_blue",
        secondary="ansi_cyan",
        accent="ansi_cyan",
        warning="ansi_yellow",
        error="ansi_red",
        success="ansi_green",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables=dict(BUILTIN_THEMES["ansi-dark"].variables),
    ),
    Theme(
        name="night",
        primary="#6cb6ff",
        secondary="#57c7c2",
        accent="#57c7c2",
        warning="#e3b341",
        error="#ff7b72",
        success="#7ee787",
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
        warning="#8a5a00",
        error="#b42318",
        success="#1a7f37",
        foreground="#1f2328",
        background="#ffffff",
        surface="#f6f8fa",
        panel="#eaeef2",
        dark=False,
    ),
)


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """Whether this terminal can be trusted with ASCII only: the Linux console, or a locale that is not UTF-8."""
    if environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return True
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return bool(locale) and "utf" not in locale.lower()
