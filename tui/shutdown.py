"""Leaving, also where the terminal is gone: whoever loses the connection must not leave a program behind.

Textual 8.2 writes and reads the terminal on threads that do not end when it vanishes: one waits for room that nobody
makes any more, the other reads its end over and over. Both would hold the process, and one of them a whole core.
"""

import errno
import os
import termios
import threading
from collections.abc import Callable

GRACE_S = 5.0
"""What closing the recording and the sources may take; both take tenths of a second."""

LOOKS_S = 2.0
"""How often it is looked whether the terminal is still there: not everybody who takes it away says so by a signal."""


def leave_within(seconds: float, code: int = 0, leave: Callable[[int], object] = os._exit) -> threading.Timer:
    """End the process after so many seconds, whatever still holds it; it costs nothing where it ends by itself."""
    timer = threading.Timer(seconds, leave, (code,))
    timer.daemon = True
    timer.start()
    return timer


def is_gone(terminal: int) -> bool:
    """Whether a terminal, by its file descriptor, was taken away; what never was a terminal is not gone."""
    try:
        termios.tcgetattr(terminal)
    except termios.error as error:
        return bool(error.args[0] != errno.ENOTTY)
    except (OSError, ValueError):
        return True
    return False
