"""What clouds answer, and what others might answer in their place: notices, or a sentence."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.cloud import notices
from collectors.cloud.notices import MAX_NOTICES, moment
from collectors.runtime.base import SourceError
from tests.fakes.clouds import told

READERS = {
    "aws_action": notices.aws_action,
    "aws_rebalance": notices.aws_rebalance,
    "aws_maintenance": notices.aws_maintenance,
    "gcp_preempted": notices.gcp_preempted,
    "gcp_maintenance": notices.gcp_maintenance,
    "azure_events": lambda body: notices.azure_events(body, "myspotvm"),
}
PORTAL = b"<!DOCTYPE html><html><body><h1>Sign in to the guest network</h1></body></html>"


def at(year, month, day, hour=0, minute=0, second=0, microsecond=0):
    return datetime(year, month, day, hour, minute, second, microsecond, UTC).timestamp()


@pytest.mark.parametrize(
    ("reader", "file", "action", "severity", "text", "issued", "due"),
    [
        (
            "aws_action",
            "aws-instance-action.json",
            "terminate",
            "critical",
            "AWS is reclaiming this spot instance: terminated at 08:22:00 UTC",
            None,
            at(2017, 9, 18, 8, 22),
        ),
        (
            "aws_rebalance",
            "aws-rebalance.json",
            "rebalance",
            "warning",
            "AWS may soon reclaim this spot instance (rebalance recommendation)",
            at(2020, 10, 27, 8, 22),
            None,
        ),
        (
            "aws_maintenance",
            "aws-maintenance.json",
            "system-reboot",
            "warning",
            "AWS maintenance: system-reboot, not before 2019-01-21 09:00:43 UTC: scheduled reboot",
            None,
            at(2019, 1, 21, 9, 0, 43),
        ),
        (
            "gcp_preempted",
            "gcp-preempted.txt",
            "preempt",
            "critical",
            "Google is reclaiming this instance: it stops within about 30 s",
            None,
            None,
        ),
        (
            "gcp_maintenance",
            "gcp-maintenance-event.txt",
            "migrate",
            "warning",
            "Google moves this instance to another host",
            None,
            None,
        ),
        (
            "azure_events",
            "azure-preempt.json",
            "preempt",
            "critical",
            "Azure is reclaiming this spot machine, not before 2021-03-16 00:58:46 UTC",
            None,
            at(2021, 3, 16, 0, 58, 46),
        ),
    ],
)
def test_each_notice_as_it_is_documented(reader, file, action, severity, text, issued, due):
    answer = READERS[reader](told(file))
    (one,) = answer.notices
    assert (one.action, one.severity, one.text, one.issued, one.due) == (action, severity, text, issued, due)
    assert answer.note == ""


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        ("aws_maintenance", b"[]"),
        ("gcp_preempted", b"FALSE\n"),
        ("gcp_maintenance", b"NONE"),
        ("azure_events", b'{"DocumentIncarnation":1,"Events":[]}'),
    ],
)
def test_nothing_that_stands_is_no_notice(reader, body):
    assert READERS[reader](body).notices == ()


def test_events_of_other_machines_of_the_set_are_not_ours():
    body = told("azure-freeze.json")
    assert notices.azure_events(body, "myspotvm").notices == ()
    (ours,) = notices.azure_events(body, "WestNO_1").notices
    assert (ours.action, ours.severity) == ("freeze", "warning")


def test_what_has_ended_is_no_notice_and_one_bad_row_costs_itself():
    body = b'[{"Code":"system-reboot","EventId":"a","State":"completed"},{"EventId":7},{"Code":"instance-stop"}]'
    answer = notices.aws_maintenance(body)
    assert [one.action for one in answer.notices] == ["instance-stop"]
    assert answer.note == "1 of events/maintenance/scheduled could not be read"


def test_ever_so_many_notices_are_cut_and_said():
    row = b'{"EventId":"%d","EventType":"Reboot","Resources":null}'
    answer = notices.azure_events(b'{"Events":[' + b",".join(row % n for n in range(500)) + b"]}", "")
    assert len(answer.notices) == MAX_NOTICES
    assert answer.note == f"the first {MAX_NOTICES} of scheduledevents only"


@pytest.mark.parametrize("reader", READERS)
def test_a_portals_page_is_no_notice_and_is_said(reader):
    with pytest.raises(SourceError, match="web page") as caught:
        READERS[reader](PORTAL)
    assert caught.value.status == "misconfigured"


@pytest.mark.parametrize("reader", READERS)
@settings(derandomize=True, max_examples=60)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(str.encode)))
@example(b"\xff\xfe\x00")
@example(b'{"action":"\xff"}')
@example(b"[" * 100_000)
@example(b'{"action":"\\u001b[2Jterminate","time":"9999-99-99"}')
@example(b'[{"Code":"\\u202ereboot","Description":"\\u001b]0;title\\u0007","NotBefore":"1e999"}]')
@example(b'{"Events":[{"EventId":"\\u001b[31m","EventType":"Pre\\nempt","NotBefore":"0001-01-01T00:00:00Z"}]}')
def test_whatever_answers_there_are_printable_words(reader, body):
    texts = words(READERS[reader], body)
    assert all(text.isprintable() and len(text) < 300 for text in texts)


def words(reader, body):
    try:
        answer = reader(body)
    except SourceError as error:
        return [error.reason]
    return [text for one in answer.notices for text in (one.text, one.action, one.key, one.by)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-09-18T08:22:00Z", at(2017, 9, 18, 8, 22)),
        ("2017-09-18T10:22:00+02:00", at(2017, 9, 18, 8, 22)),
        ("Mon, 19 Sep 2016 18:29:47 GMT", at(2016, 9, 19, 18, 29, 47)),
        ("21 Jan 2019 09:00:43 GMT", at(2019, 1, 21, 9, 0, 43)),
        ("2026-01-01T00:00:00", at(2026, 1, 1)),
        ("", None),
        ("soon", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59Z", None),
        ("1 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_times_as_clouds_write_them(text, expected):
    assert moment(text) == expected
