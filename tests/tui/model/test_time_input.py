from datetime import datetime

import pytest

from tui.model.time_input import moment, span

START = datetime(2026, 11, 23, 23, 30).astimezone().timestamp()
END = START + 3600.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86400.0), ("5", 5.0), (" 1.5H ", 5400.0)],
)
def test_a_length_of_time_is_read_as_people_write_it(text, seconds):
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3m", "0", "10 weeks", "1e3", "٣m5"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        span(text)


def test_a_moment_is_found_in_the_recording():
    assert moment("-3m", START, END) == END - 180.0
    assert moment("23:45", START, END) == START + 900.0
    assert moment("23:45:30", START, END) == START + 930.0
    assert moment("00:10", START, END) == START + 2400.0
    iso = datetime.fromtimestamp(START + 60).astimezone().isoformat()
    assert moment(iso, START, END) == START + 60.0


@pytest.mark.parametrize("text", ["22:00", "-2h", "2020-01-01T00:00:00Z"])
def test_a_moment_outside_the_recording_is_refused_with_its_bounds(text):
    with pytest.raises(ValueError, match="outside the recorded time, 2026-11-23 23:30:00 to 2026-11-24 00:30:00"):
        moment(text, START, END)


@pytest.mark.parametrize("text", ["yesterday", "25:00", "12:99", "--", "-soon"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"not a (time|duration)"):
        moment(text, START, END)
