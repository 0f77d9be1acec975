"""The trace file of NeMo Guardrails: hits by rail as recorded, and a file that is rotated, cut off or gone."""

import gzip
import os

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.signals import signals
from collectors.config import NemoTraceSource
from collectors.nemo.tail import MAX_BYTES, MAX_LINE, FileTail
from collectors.nemo.trace_file import NemoTraceCollector, build
from collectors.registry import CollectorContext
from collectors.runtime.base import Source
from tests.fakes.pages import CAPTURES

TRACE = gzip.decompress((CAPTURES / "nemoguardrails-0.24.1" / "llmrails__traces_filesystem.jsonl.gz").read_bytes())
LINES = TRACE.splitlines(keepends=True)


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "trace.jsonl"
    made.write_bytes(b"")
    return made


def collector(path, clock):
    return build(NemoTraceSource(path=str(path)), CollectorContext(clock, httpx.AsyncClient(), b"", "node"))


def rails(batch, signal):
    return {entity.get("rail"): value for name, entity, value in batch.readings if name == signal}


async def collected(path, *parts):
    """Return what is read after each part was appended, a minute apart."""
    clock = VirtualClock(1_000_000.0)
    reader, batches = collector(path, clock), []
    with clock.participant():
        await reader.collect()
        for number, part in enumerate(parts, 1):
            with path.open("ab") as file:
                file.write(part)
            await clock.sleep_until(1_000_000.0 + number * 60.0)
            batches.append(await reader.collect())
    return batches


async def test_the_recorded_hits_are_19_by_the_rails_that_stopped_them(path):
    # by hand, of 42 requests: lines with "rail.stop": true, by "rail.name"
    (batch,) = await collected(path, TRACE)
    hits = {rail: round(rate * 60) for rail, rate in rails(batch, "guardrail.hits").items()}
    assert hits == {
        "regex check input": 7,
        "self check input": 6,
        "regex check output": 6,
        "self check output": 0,
    }
    checks = {rail: round(rate * 60) for rail, rate in rails(batch, "guardrail.requests").items()}
    assert checks == {
        "regex check input": 42,
        "self check input": 35,
        "regex check output": 28,
        "self check output": 22,
    }
    assert batch.health.reason == ""
    assert set(batch.readings.signals) <= set(signals())


async def test_the_time_of_a_rail_is_its_own_and_not_of_the_answer(path):
    (batch,) = await collected(path, TRACE)
    took = rails(batch, "guardrail.latency")["self check input"]
    assert took.count == 35
    # the median of its 35 "duration"
    assert took.p50 == pytest.approx(0.158117, rel=1e-4)


async def test_what_was_there_before_is_not_counted_and_a_half_line_waits_for_its_rest(path):
    path.write_bytes(TRACE)
    half = len(LINES[0]) // 2
    first, second = await collected(path, LINES[0][:half], LINES[0][half:])
    assert len(first.readings) == 0
    assert rails(second, "guardrail.requests")["regex check input"] == pytest.approx(1 / 60)


async def test_a_line_that_is_no_trace_is_told_and_the_others_are_read(path):
    (batch,) = await collected(path, b"{no json}\n\xff\xfe\n[]\n" + LINES[0])
    assert batch.health.reason == "3 lines are no trace"
    assert "regex check input" in rails(batch, "guardrail.requests")


async def test_a_file_whose_system_hangs_is_slow_and_costs_one_thread(tmp_path):
    path, clock = tmp_path / "hangs", VirtualClock(1_000_000.0)
    os.mkfifo(path)  # to open one waits for a writer, as a file server that is away is waited for
    reader = NemoTraceCollector(Source("trace", "nemo-trace", "governance", 5.0, 0.05), clock, path)
    for _ in range(2):
        batch = await reader.collect()
        assert (batch.health.status, batch.health.reason) == (
            "slow",
            f"{path} could not be read in time: is its file system responding?",
        )
    await reader.aclose()
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


async def test_a_file_that_is_not_there_is_said_and_read_from_its_start_when_it_comes(tmp_path):
    clock, path = VirtualClock(1_000_000.0), tmp_path / "later.jsonl"
    reader = collector(path, clock)
    with clock.participant():
        missing = await reader.collect()
        assert missing.health.status == "misconfigured"
        assert missing.health.reason.startswith(f"cannot read {path}: No such file or directory")
        path.write_bytes(LINES[0])
        await clock.sleep_until(1_000_060.0)
        await reader.collect()
        await clock.sleep_until(1_000_120.0)
        path.write_bytes(LINES[0] + LINES[1])
        batch = await reader.collect()
    assert batch.health.status == "ok"
    assert rails(batch, "guardrail.requests")["regex check input"] == pytest.approx(1 / 60)


def test_a_rotated_file_and_a_truncated_one_are_read_from_their_start(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"old\n")
    tail = FileTail(path)
    assert tail.read().lines == ()
    path.rename(tmp_path / "t.1")
    path.write_bytes(b"new 1\nnew 2 is longer\n")
    turned = tail.read()
    assert turned.lines == (b"new 1", b"new 2 is longer")
    assert turned.notes == ("the file was rotated; read from its start",)
    path.write_bytes(b"cut\n")
    cut = tail.read()
    assert (cut.lines, cut.notes) == ((b"cut",), ("the file was truncated; read from its start",))
    assert tail.read().lines == ()


def test_a_flood_and_an_endless_line_are_passed_over(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"")
    tail = FileTail(path)
    tail.read()
    path.write_bytes(b"x" * (MAX_BYTES + 100) + b"\nlast\n")
    flood = tail.read()
    assert flood.lines == (b"last",)
    assert flood.notes == ("4 MB were appended at once; the newest 4 are read",)
    with path.open("ab") as file:
        file.write(b"y" * (MAX_LINE + 1))
    assert tail.read().lines == ()
    with path.open("ab") as file:
        file.write(b"yyy\nnext\n")
    assert tail.read().lines == (b"next",)


def test_the_first_look_amid_a_line_begins_with_the_next_one(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(b"half a li")
    tail = FileTail(path)
    tail.read()
    path.write_bytes(b"half a line\nwhole\n")
    assert tail.read().lines == (b"whole",)
