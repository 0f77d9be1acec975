import errno
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import History, Mark, Tick
from aistack_top.session.blocks import recorded_incidents, recorded_marks
from aistack_top.session.disk import Disk, Lock, block_names
from aistack_top.session.errors import SessionError
from aistack_top.session.reader import Session
from aistack_top.session.recorder import MAX_TICKS, Recorder
from aistack_top.session.replay import SessionFeed
from tests.aistack_top.diagnosis.factories import incident
from tests.aistack_top.session.ticks import START, played, record, tick

ROOT = Path(__file__).parents[3]


class FullDisk(Disk):
    """Has no space for segments until told otherwise."""

    full = True

    def put_block(self, name, files, times):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().put_block(name, files, times)


class StuckDisk(Disk):
    """Does not come back from a write until it is let go."""

    def __init__(self, folder):
        super().__init__(folder)
        self.stuck, self.let_go = threading.Event(), threading.Event()

    def put_block(self, name, files, times):
        self.stuck.set()
        self.let_go.wait(10)
        super().put_block(name, files, times)


def wait_until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


async def test_what_was_recorded_is_written_every_five_seconds(tmp_path):
    record(tmp_path / "s.aistack", (tick(second) for second in range(30)))

    session = Session.open(tmp_path / "s.aistack")

    names = [name for block in session.blocks for name, _ in block.parts]
    assert [name.segment for name in names] == [0, 1, 2, 3, 4]
    assert (session.start, session.end) == (tick(0).seen, tick(29).seen)
    assert session.node == "node-1"
    assert session.sources == ("langfuse", "nvml", "vllm-a")
    assert session.info.closed
    assert session.info.end == tick(29).seen


async def test_history_and_resets_are_not_recorded(tmp_path):
    past = Tick(START, START, tick(0).batches, History(START, 1.0, {}))
    again = Tick(START + 1, START + 1, tick(1).batches, reset=True)
    record(tmp_path / "s.aistack", [past, again, tick(2)])

    assert [one.seen for one in (await played(Session.open(tmp_path / "s.aistack")))[1:]] == [tick(2).seen]


async def test_derived_signals_are_not_recorded(tmp_path):
    from aistack_top.model.entity import SERVICE
    from aistack_top.model.tick import Batch, Readings
    from tests.aistack_top.session.ticks import health

    derived = Batch(START, START, health("x"), Readings(("calls.rate", "gpu.temperature"), (SERVICE,) * 2, (1.0, 2.0)))
    record(tmp_path / "s.aistack", [Tick(START, START, (derived,))])

    (one,) = (await played(Session.open(tmp_path / "s.aistack")))[1:]
    assert one.batches[0].readings.signals == ("gpu.temperature",)


async def test_a_full_disk_is_said_and_nothing_is_lost_once_there_is_room(tmp_path):
    disks = []

    def full(folder):
        disks.append(FullDisk(folder))
        return disks[0]

    path = tmp_path / "s.aistack"
    recorder = Recorder(path, node="n", clock=VirtualClock(START), make_disk=full)
    for second in range(20):
        recorder.record(tick(second))
    wait_until(lambda: recorder.problem is not None and recorder.backlog == 0)
    assert recorder.problem == "recording paused: no space left on device; 19 s not recorded"

    disks[0].full = False
    for second in range(20, 60):
        recorder.record(tick(second))
    wait_until(lambda: recorder.problem is None)
    recorder.close(10)

    ticks = await played(Session.open(path))
    assert [one.seen for one in ticks if one.batches] == [tick(second).seen for second in range(60)]


async def test_what_a_full_disk_cost_at_the_end_is_counted(tmp_path):
    recorder = Recorder(tmp_path / "s.aistack", node="n", clock=VirtualClock(START), make_disk=FullDisk)
    for second in range(8):
        recorder.record(tick(second))
    recorder.close(10)

    assert recorder.problem is not None
    assert "no space left on device" in recorder.problem
    assert Session.open(tmp_path / "s.aistack").blocks == []


async def test_a_disk_that_does_not_answer_holds_up_nobody(tmp_path):
    disks = []

    def stuck(folder):
        disks.append(StuckDisk(folder))
        return disks[0]

    clock = VirtualClock(START)
    recorder = Recorder(tmp_path / "s.aistack", node="n", clock=clock, make_disk=stuck)
    for second in range(7):
        recorder.record(tick(second))
    assert disks[0].stuck.wait(10)
    began = time.monotonic()
    for second in range(7, MAX_TICKS + 40):
        recorder.record(tick(second))
    assert time.monotonic() - began < 0.5
    await clock.sleep_until(START + 60)
    assert recorder.problem is not None
    assert recorder.problem.startswith("recording paused: the disk does not answer")

    disks[0].let_go.set()
    recorder.close(10)
    assert recorder.problem is not None
    assert "are missing" in recorder.problem


async def test_two_recorders_do_not_write_one_session(tmp_path):
    first = record(tmp_path / "s.aistack", [tick(0)], close=False)
    with pytest.raises(SessionError, match="somebody records to"):
        Recorder(tmp_path / "s.aistack", node="node-1", clock=VirtualClock(START))
    first.close(10)


async def test_a_restart_continues_the_session(tmp_path):
    path = tmp_path / "s.aistack"
    record(path, (tick(second) for second in range(10)))
    record(path, (tick(second, series=5) for second in range(20, 30)))

    session = Session.open(path)
    ticks = [one for one in await played(session) if one.batches]
    assert [one.seen for one in ticks] == [tick(second).seen for second in (*range(10), *range(20, 30))]
    assert session.info.start == START
    assert len(session.blocks) == 2


async def test_a_session_of_another_node_is_left_alone(tmp_path):
    record(tmp_path / "s.aistack", [tick(0)])
    with pytest.raises(SessionError, match="session of node-1"):
        Recorder(tmp_path / "s.aistack", node="node-2", clock=VirtualClock(START))
    assert not Lock(tmp_path / "s.aistack").is_held()


async def test_a_folder_that_is_something_else_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(SessionError, match="not empty and not a session"):
        Recorder(tmp_path, node="n", clock=VirtualClock(START))


async def test_a_path_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SessionError, match="cannot record"):
        Recorder(tmp_path / "file" / "s.aistack", node="n", clock=VirtualClock(START))


async def test_marks_and_incidents_are_kept(tmp_path):
    first, last = incident(START), incident(START + 5, end=START + 4)
    ticks = [replace(tick(0), incidents=(first,)), Tick(START + 5, START + 5, incidents=(last,))]
    recorder = record(tmp_path / "s.aistack", ticks, close=False)
    recorder.mark(Mark(START + 0.5, START + 1, "deployed \x1b[31mv2", "lena"))
    recorder.close(10)

    session = Session.open(tmp_path / "s.aistack")
    assert recorded_marks(session) == [Mark(START + 0.5, START + 1, "deployed v2", "lena")]
    assert recorded_incidents(session) == (last,)


async def test_a_recording_feed_passes_everything_on(tmp_path):
    record(tmp_path / "a.aistack", (tick(second) for second in range(300)))
    clock = VirtualClock(START)
    recorder = Recorder(tmp_path / "b.aistack", node="n", clock=clock)
    feed = RecordingFeed(SessionFeed(Session.open(tmp_path / "a.aistack"), clock), recorder)

    passed = [one async for one in feed.ticks()]
    await feed.aclose()

    copied = await played(Session.open(tmp_path / "b.aistack"))
    assert copied[1:] == passed[1:]
    assert len(copied) == 301


KILLED = """
import sys, time
from dataclasses import replace
from pathlib import Path
from aistack_top.measure.clock import VirtualClock
from aistack_top.session.recorder import Recorder
from tests.aistack_top.session.ticks import START, tick
recorder = Recorder(Path(sys.argv[1]), node="n", clock=VirtualClock(START), block_s=60.0)
for second in range(1_000):
    sys.stdin.readline()
    recorder.record(tick(second))
    while recorder.backlog:
        time.sleep(0.0002)
    print(second, flush=True)
"""


def start_recorder(path):
    environment = {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True, bufsize=1)


async def test_killed_at_ten_random_moments_it_opens_with_at_most_five_seconds_missing(tmp_path):
    """Seconds are virtual here: some thousand of them pass in one, blocks are compacted meanwhile."""
    dice = random.Random(7)
    paths = [tmp_path / f"{number}.aistack" for number in range(10)]
    recorders = [start_recorder(paths[0])]
    for number, path in enumerate(paths):
        recorders += [start_recorder(ahead) for ahead in paths[number + 1 : number + 2]]
        with recorders[number] as recorder:
            recorder.stdin.write("\n" * 250)
            lines = [recorder.stdout.readline() for _ in range(dice.randrange(10, 200))]
            recorder.kill()
            reached = int([*lines, *recorder.stdout.read().splitlines()][-1])

        session = Session.open(path)
        seconds = [round(one.seen - START - 0.05) for one in await played(session) if one.batches]
        assert session.problems == []
        assert not session.alive
        assert seconds == list(range(len(seconds))), "what was there is gone"
        assert reached - seconds[-1] <= 6, "five seconds and the tick under way"


async def test_what_a_killed_recorder_left_half_done_is_swept_away(tmp_path):
    path = tmp_path / "s.aistack"
    record(path, [tick(0)])
    (path / "tmp.b000009").mkdir()
    (path / "tmp.b000001.0000").write_bytes(b"half")
    record(path, [tick(1)])

    assert not list(path.glob("tmp.*"))
    assert len(block_names(path)) == 2
