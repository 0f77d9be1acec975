"""Signs, and what stands for them where a terminal has only ASCII."""

from dataclasses import dataclass

from aistack_top.model.tick import Severity, Status

_ASCII = str.maketrans(
    {
        "–": "-",
        "−": "-",
        "…": "~",
        "°": " ",
        "µ": "u",
        "·": "-",
        "─": "-",
        "│": "|",
        "▸": ">",
        "›": ">",
        "●": "+",
        "◐": "~",
        "○": "?",
        "✗": "x",
        "▲": "^",
        "▼": "v",
        "◆": "#",
        "◇": "o",
        "━": "=",
        "░": "q",
        "▒": "p",
        "█": "d",
        "■": "#",
        "└": "`",
        "├": "|",
        "×": "x",
        "±": "+-",
        "→": "->",
    }
)

STATUS_SIGNS: dict[Status, str] = {
    "ok": "●",
    "slow": "◐",
    "partial": "◐",
    "stale": "○",
    "down": "✗",
    "unauthorized": "✗",
    "misconfigured": "✗",
}
"""A status is told by its word and its sign, never by its colour alone."""

SEVERITY_SIGNS: dict[Severity, str] = {"info": "·", "warning": "▲", "critical": "!"}

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "._-~=+*#"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs of one terminal."""

    ascii_only: bool = False

    @property
    def bars(self) -> str:
        """Eight bars from low to high, for histories."""
        return _ASCII_BARS if self.ascii_only else _BARS

    def text(self, text: str) -> str:
        """Return a text as this terminal can show it: unchanged, or with each other sign replaced by an ASCII one."""
        if not self.ascii_only or text.isascii():
            return text
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
