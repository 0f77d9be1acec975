"""Leaving where the terminal is gone, with a pseudo-terminal that is taken away."""

import os

from tui.shutdown import is_gone, leave_within


def test_a_terminal_that_is_taken_away_is_gone():
    master, terminal = os.openpty()
    assert not is_gone(terminal)
    os.close(master)
    assert is_gone(terminal)
    os.close(terminal)


def test_what_never_was_a_terminal_is_not_gone_and_what_is_closed_is():
    reader, writer = os.pipe()
    assert not is_gone(reader)
    os.close(writer)
    os.close(reader)
    assert is_gone(reader)


def test_the_process_is_ended_with_its_code():
    ended: list[int] = []
    timer = leave_within(0.0, 7, ended.append)
    timer.join()
    assert ended == [7]
    assert timer.daemon
