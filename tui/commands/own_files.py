"""The user's own sources, signals and sections of screens: where they are looked for, and what is wrong in them."""

from pathlib import Path

from aistack_top.user_files import toml_files, use_folder

FOLDERS = ("sources", "signals", "screens")


def use(config: Path | None) -> None:
    """Read the user's own files from beside the configuration from now on; ``config`` is that of the command line."""
    from collectors.config import default_path

    use_folder((config or default_path()).parent)


def problems() -> list[str]:
    """Return what is wrong in the user's own files, a sentence each, with file and line."""
    if not count():
        return []
    from aistack_top.model import signals
    from collectors.config import own_tables
    from layouts import layers

    return [*signals.user_problems(), *own_tables()[1], *layers.user_problems()]


def count() -> int:
    """Return how many files of their own the user has."""
    return sum(len(toml_files(folder)) for folder in FOLDERS)
