"""What the commands share: options, the configuration, and errors in words."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from aistack_top.text.sanitize import sanitize
from collectors.config import Config, ConfigError, default_path, load

USAGE = 2
UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class Options:
    """The options given before the command."""

    config: Path | None = None
    endpoints: tuple[str, ...] = ()
    layout: str | None = None
    low_bandwidth: bool = False
    ascii_only: bool = False
    ring: bool = True
    prometheus: str = ""


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Print an error on stderr and exit."""
    for line in message.splitlines():
        print(f"aistack-top: {sanitize(line, 400)}", file=sys.stderr)
    sys.exit(code)


def configuration(options: Options) -> Config:
    """Return the configuration; print every problem and exit if there is one."""
    path = options.config or default_path()
    if options.config is None and not os.path.exists(path):  # noqa: PTH110 - Path.exists raises in a closed folder
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        fail("\n".join(error.problems))


def warn(problems: Sequence[str]) -> None:
    """Print warnings on stderr."""
    for problem in problems:
        print(f"aistack-top: {sanitize(problem, 400)}", file=sys.stderr)


def interactive() -> bool:
    """Whether stdin and stdout are a terminal."""
    # a stream that the shell has closed is None
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
