"""What commands print: characters that the terminal has not are replaced, and output that cannot be written is said."""

import contextlib
import errno
import json
import os
import sys
from io import TextIOWrapper
from typing import Any

from tui.commands.common import fail

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG})
"""Why a write to stdout or stderr fails, the reader's end of a pipe aside (write(2))."""

CLOSED = "cannot write the output: stdout is closed"


def prepare() -> None:
    """Make the standard streams usable: replace what an encoding cannot show, and stand in for those that are closed.

    A closed stream's number would be given to the next file or connection, which then gets what is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while os.open(os.devnull, os.O_RDWR) < 2:
            pass
    if sys.stderr is None:
        # print() would take stdout in its place, among the data
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a stream for the whole run


def write(text: str) -> None:
    """Print data. A reader that has seen enough (head, less) is no error; a full disk is one sentence, and exit 2."""
    if sys.stdout is None:
        fail(CLOSED)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
    except OSError as error:
        refuse(error)


def write_json(document: Any, indent: int | None = None) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print a document as JSON on a line; where the encoding lacks characters they are escaped and nothing is lost."""
    unicode = sys.stdout is not None and (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    write(json.dumps(document, allow_nan=False, ensure_ascii=not unicode, indent=indent) + "\n")


def refuse(error: OSError) -> None:
    """Say that the output cannot be written, and leave."""
    discard()
    with contextlib.suppress(OSError):
        fail(f"cannot write the output: {error.strerror or error}")
    sys.exit(2)


def discard() -> None:
    """Point stdout elsewhere, so that the interpreter's last flush is quiet too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
