"""Notes that become the reason of a health record."""

from unittest.mock import Mock

import pytest

from collectors.runtime.base import SourceError
from collectors.runtime.notes import REASON_LIMIT, Notes, reason


def test_notes_are_joined_on_one_line_and_empty_ones_are_left_out():
    assert reason(["a", "", "b\x1b[31m\nc"]) == "a; b c"
    assert reason([]) == ""
    assert len(reason(["x" * 300] * 3)) == REASON_LIMIT


def test_a_note_holds_until_it_is_replaced():
    notes = Notes()
    notes.set("runs", "few")
    notes.set("models", "none")
    assert notes.reason("this time only") == "few; none; this time only"
    notes.set("runs", "")
    notes.set("never", "")
    assert notes.reason() == "none"


def test_what_is_optional_costs_only_itself_and_mistakes_of_ours_do_not_hide_there():
    notes = Notes()
    failing = Mock(side_effect=[SourceError("down", "answers 500"), ZeroDivisionError])
    with notes.optional("state", "the state is unknown"):
        failing()
    assert notes.reason() == "the state is unknown: answers 500"
    with pytest.raises(ZeroDivisionError), notes.optional("state", "the state is unknown"):
        failing()
