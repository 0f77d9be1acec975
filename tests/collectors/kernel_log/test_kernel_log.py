"""Lines of the kernel's log and other logs: a real kernel's, some of the documented formats, and hostile files."""

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.signals import signals
from collectors.doctor.permissions import ProbeRoots, capabilities
from collectors.kernel_log.collector import MAX_EVENTS, KernelLogCollector
from collectors.kernel_log.patterns import TITLES, kernel_text, match
from collectors.kernel_log.reading import MAX_RECORDS, Journal, KernelRing, LogFile, logs
from collectors.runtime.base import Source
from tests.fakes.pages import CAPTURES

DOCUMENTED = CAPTURES / "kernel-log-documented"
KMSG = CAPTURES / "linux-6.18-kmsg" / "oom.kmsg"
START = 1_000_000.0


class Told:
    """A log that tells what it is given."""

    def __init__(self, *looks, kernel=True, name="told"):
        self.looks, self._kernel, self.name, self.closed = list(looks), kernel, name, False

    def is_kernel(self, line):
        return self._kernel

    def read(self):
        look = self.looks.pop(0) if self.looks else []
        if isinstance(look, OSError):
            raise look
        return look, []

    def close(self):
        self.closed = True


async def collected(*told, looks=1, texts=False, lacks=""):
    clock, batches = VirtualClock(START), []
    source = Source("kernel-log", "kernel-log", "compute", 5.0)
    reader = KernelLogCollector(source, clock, "n", told, lacks, texts=texts)
    with clock.participant():
        for number in range(looks):
            await clock.sleep_until(START + 5.0 * number)
            batches.append(await reader.collect())
        await reader.aclose()
    return batches


def counts(batch):
    return {entity.get("reason"): value for name, entity, value in batch.readings if name == "host.log.lines" and value}


def lines(name):
    return (DOCUMENTED / name).read_bytes().splitlines()


def records():
    return [row for row in KMSG.read_bytes().splitlines() if row[:1].isdigit()]


def test_what_a_real_kernel_wrote_when_it_killed_a_process_is_one_hit():
    found = [hit for row in records() if (text := kernel_text(row)) and (hit := match(text, kernel=True))]
    (hit,) = found
    assert (hit.pattern, hit.command) == ("oom", "python3")
    assert hit.pid.isdigit()


def test_what_a_program_wrote_into_the_ring_is_not_the_kernels():
    assert kernel_text(b"12,433,201,-;NVRM: Xid (PCI:0000:03:00): 79, pid=1") is None
    assert kernel_text(b"3,433,201,-;NVRM: Xid\n SUBSYSTEM=pci") == b"NVRM: Xid"
    for broken in (b"", b";", b"x,1;text", b"-1,2;text"):
        assert kernel_text(broken) is None


@pytest.mark.parametrize(
    ("name", "kernel", "patterns"),
    [
        ("xid.log", True, ["xid", "xid", "xid"]),
        ("sxid.log", True, ["sxid", "sxid"]),
        ("fabricmanager.log", False, ["fabric_manager"]),
        ("nccl.log", False, ["nccl", "nccl"]),
        ("xid.log", False, []),
    ],
)
def test_lines_of_each_format_are_told_apart(name, kernel, patterns):
    assert [hit.pattern for line in lines(name) if (hit := match(line, kernel=kernel))] == patterns


def test_another_programs_error_is_not_fabric_managers():
    assert match(b"[2026-08-05 22:30:00.123] [ERROR] [tid 12345] Stack trace:", kernel=True) is None


async def test_an_xid_is_told_with_its_code_its_place_and_the_documented_action_and_not_with_its_text():
    (batch,) = await collected(Told(lines("xid.log")))
    fallen, other, fault = batch.events
    assert fallen.text == "XID 79 at PCI 0000:03:00: GPU fell off the bus; reboot the node"
    assert (fallen.kind, fallen.severity) == ("log", "critical")
    assert {"pattern": "xid", "code": "79", "pci": "0000:03:00"}.items() <= dict(fallen.detail).items()
    assert dict(fault.detail)["group"] == "application"
    assert "python" not in fault.text
    assert other.severity == "warning"
    assert counts(batch) == {"xid": 3}


async def test_counts_go_on_and_are_there_before_anything_happens():
    first, second, third = await collected(Told([], lines("nccl.log"), lines("nccl.log"), kernel=False), looks=3)
    assert {name for name, _, _ in first.readings} == {"host.log.lines"}
    assert len(first.readings) == len(TITLES)
    assert [counts(batch) for batch in (first, second, third)] == [{}, {"nccl": 2}, {"nccl": 4}]
    (event,) = second.events
    assert event.text == "2 lines: NCCL warning in the log"
    assert "host.log.lines" in signals()


async def test_texts_are_kept_only_where_they_are_asked_for():
    secret = b"node-7:1:2 [0] NCCL WARN token=hunter2 \x1b[31m"
    (quiet,) = await collected(Told([secret], kernel=False))
    assert "hunter2" not in repr(quiet)
    (asked,) = await collected(Told([secret], kernel=False), texts=True)
    assert "hunter2" in asked.events[0].text
    assert "\x1b" not in asked.events[0].text


async def test_what_the_kernel_killed_is_named():
    texts = [text for row in records() if (text := kernel_text(row))]
    (batch,) = await collected(Told(texts))
    (event,) = batch.events
    assert event.kind == "oom"
    assert event.text.startswith("the kernel killed process ")
    assert event.text.endswith(" (python3) for lack of memory")


async def test_a_flood_of_lines_is_counted_and_told_briefly():
    flood = [b"NVRM: Xid (PCI:0000:03:00): %d, x" % code for code in range(400)] * 3
    (batch,) = await collected(Told(flood))
    assert counts(batch) == {"xid": 1200}
    assert len(batch.events) == MAX_EVENTS


async def test_a_log_that_cannot_be_read_costs_only_itself():
    refused = PermissionError(13, "Permission denied")
    closed = Told(refused, refused, name="/var/log/engine.log")
    (batch,) = await collected(closed, Told(lines("sxid.log")), lacks="/dev/kmsg: Operation not permitted")
    assert batch.health.status == "ok"
    assert "/var/log/engine.log: Permission denied" in batch.health.reason
    assert "the kernel's log is not read: /dev/kmsg: Operation not permitted" in batch.health.reason
    (alone,) = await collected(closed, lacks="/dev/kmsg: Operation not permitted")
    assert alone.health.status == "unauthorized"
    assert "Operation not permitted" in alone.health.reason


def test_the_ring_is_read_record_by_record_from_its_end_and_never_waits(monkeypatch):
    asked, written = [], records()

    def read(fd, size):
        asked.append(size)
        if not written:
            raise BlockingIOError
        return written.pop(0) + b"\n"

    monkeypatch.setattr(os, "read", read)
    ring = KernelRing(KMSG)
    assert ring.read() == ([], [])
    assert asked == []  # what was before is not told
    told, notes = ring.read()
    assert any(b"Killed process" in line for line in told)
    assert notes == []
    ring.close()
    ring.close()


def test_records_that_were_written_over_are_said_and_a_look_is_bounded(monkeypatch):
    def read(fd, size):
        raise BrokenPipeError

    ring = KernelRing(KMSG)
    ring.read()
    monkeypatch.setattr(os, "read", read)
    told, (note,) = ring.read()
    assert told == []
    assert note.endswith("lines were written over before they were read")
    monkeypatch.setattr(os, "read", lambda fd, size: b"6,1,1,-;x")
    assert len(ring.read()[0]) == MAX_RECORDS
    ring.close()


def test_of_a_syslog_only_the_kernels_own_lines_are_the_kernels(tmp_path):
    path = tmp_path / "kern.log"
    path.write_bytes(b"")
    log = LogFile(path, kernel=True)
    log.read()
    path.write_bytes((DOCUMENTED / "syslog.log").read_bytes())
    told, _ = log.read()
    assert [match(line, kernel=log.is_kernel(line)) is not None for line in told] == [True, False]


def test_the_journal_is_followed_and_its_end_is_a_refusal():
    def start():
        code = "print('NVRM: Xid (PCI:0000:03:00): 79, x', flush=True); input()"
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    journal = Journal(start)
    found: list[Any] = []
    while not found:
        found += journal.read()[0]
    assert match(found[0], kernel=journal.is_kernel(found[0])).code == 79
    process = journal._process
    process.stdin.close()
    process.wait(10)
    with pytest.raises(PermissionError, match="may not read the journal"):
        journal.read()
    journal.close()


def test_one_way_to_the_kernels_lines_is_taken_and_all_files_that_are_named(tmp_path):
    dev, log = tmp_path / "dev", tmp_path / "log"
    dev.mkdir()
    log.mkdir()
    assert logs((), dev, log)[0] == []
    assert logs((), dev, log)[1].endswith("kmsg: No such file or directory")
    (log / "syslog").write_text("")
    (log / "fabricmanager.log").write_text("")
    found, lacks = logs(["/tmp/engine.log"], dev, log)
    assert [one.name for one in found] == [str(log / "syslog"), str(log / "fabricmanager.log"), "/tmp/engine.log"]
    assert lacks == ""
    (dev / "kmsg").write_text("")
    assert [one.name for one in logs((), dev, log)[0]] == [str(dev / "kmsg"), str(log / "fabricmanager.log")]


def test_what_is_missing_is_said_with_what_to_do(tmp_path):
    place = ProbeRoots(dev=tmp_path, log=tmp_path)
    (one,) = [one for one in capabilities() if one.name == "kernel log"]
    assert "kmsg" in one.lacks(place)
    assert "adm" in one.mend
    (tmp_path / "kern.log").write_text("")
    assert one.lacks(place) == ""


@given(st.binary(max_size=4000), st.booleans())
def test_no_line_raises_or_takes_long(line, kernel):
    hit = match(line, kernel=kernel)
    assert hit is None or hit.pattern in TITLES
    kernel_text(line)
