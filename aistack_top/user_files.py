"""Files of the user's own beside the configuration: sources, signals and sections of layer screens.

| folder | a file in it |
|---|---|
| ``sources/*.toml`` | how one kind of server is read, as the bundled tables of `collectors` say it |
| ``signals/*.toml`` | more signals, as in ``signals.toml`` |
| ``screens/LAYER.toml`` | more sections of a layer's screen, as in ``layouts/screens`` |

The command line names the folder, once and before anything is read; without a name there are no such files, so that
libraries and tests see the bundled ones only. What is made of these files is cached by `reads_user_files`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

MAX_FILES = 200
"""Files of one folder that are read; more is a mistake in the folder's name."""

_caches: list[Callable[[], None]] = []


class _Place:
    """Where the user's files are."""

    folder: Path | None = None


def use_folder(folder: Path | None) -> None:
    """Read the user's files from here from now on; None for none at all."""
    _Place.folder = folder
    for clear in _caches:
        clear()


def user_folder() -> Path | None:
    """Return where the user's files are looked for."""
    return _Place.folder


def reads_user_files(function: Callable[[], T]) -> Callable[[], T]:
    """Cache what a function makes of the user's files until another folder is named."""
    cached = cache(function)
    _caches.append(cached.cache_clear)
    return cached


def toml_files(kind: str) -> tuple[Path, ...]:
    """Return the user's TOML files of a kind (``sources``, ``signals``, ``screens``), by name."""
    if _Place.folder is None:
        return ()
    try:
        return tuple(sorted((_Place.folder / kind).glob("*.toml")))[:MAX_FILES]
    except OSError:
        return ()
