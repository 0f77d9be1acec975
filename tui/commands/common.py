"""What the commands share: options, and errors in words."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from aistack_top.text.sanitize import sanitize

USAGE = 2
UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command."""

    config: Path | None = None
    endpoints: tuple[str, ...] = ()
    layout: str | None = None
    low_bandwidth: bool = False
    ascii_only: bool = False
    ring: bool = True
    prometheus: str = ""


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Say one sentence on stderr and leave."""
    for line in message.splitlines():
        print(f"aistack-top: {sanitize(line, 400)}", file=sys.stderr)
    sys.exit(code)


def interactive() -> bool:
    """Whether there is a person at both ends."""
    # a stream that the shell has closed is None
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
