"""Keys as they stand on the keyboard, for the help and the palette."""

from textual.binding import Binding
from textual.keys import format_key

_WORDS = {name: name for name in ("up", "down", "left", "right", "enter")}


def is_ours(binding: Binding) -> bool:
    """Whether a binding is one of the console's, which all have ids; Textual has some that do nothing here."""
    return bool(binding.id and binding.description) and not binding.system


def key_words(binding: Binding) -> str:
    """Return a key as it stands on the keyboard: ``+`` for ``plus``."""
    return _WORDS.get(binding.key) or binding.key_display or format_key(binding.key)
