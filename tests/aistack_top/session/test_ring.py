import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Mark
from aistack_top.session.compact import compact, main, prune
from aistack_top.session.disk import Disk, block_names, current, size_of
from aistack_top.session.errors import SessionError
from aistack_top.session.format import BlockName
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.ring import keep, open_ring
from tests.aistack_top.session.ticks import START, drain, played, record, tick


async def seconds(path):
    return [round(one.seen - START - 0.05) for one in await played(Session.open(path)) if one.batches]


class KilledError(Exception):
    """Stands for a process that is killed at this point."""


async def test_compaction_changes_nothing_but_the_files(tmp_path):
    path = tmp_path / "s.aistack"
    recorder = record(path, (tick(second) for second in range(200)), block_s=1000.0)
    recorder.mark(Mark(START, START, "a note"))
    before = await played(Session.open(path))
    small = sum(size_of(path / str(name)) for name in block_names(path))

    assert compact(path) == 1

    assert block_names(path) == [BlockName(0)]
    assert await played(Session.open(path)) == before
    assert size_of(path / "b000000") < small / 2
    assert compact(path) == 0


async def test_the_command_leaves_alone_what_is_being_written(tmp_path):
    path = tmp_path / "s.aistack"
    recorder = Recorder(path, node="node-1", clock=VirtualClock(START), block_s=1000.0)
    for second in range(20):
        recorder.record(tick(second))
    drain(recorder)
    assert main([str(path)]) == 0
    assert all(name.segment >= 0 for name in block_names(path))
    recorder.close(10)
    assert main([str(path)]) == 0
    assert block_names(path) == [BlockName(0)]


@pytest.mark.parametrize("moment", ["before the rename", "after the rename", "between two removals"])
async def test_a_compaction_killed_at_any_point_shows_every_row_once(tmp_path, monkeypatch, moment):
    path = tmp_path / "s.aistack"
    record(path, (tick(second) for second in range(60)), block_s=1000.0)
    removed: list[BlockName] = []

    class Killed(Disk):
        def put_block(self, name, files, times):
            if moment == "before the rename":
                (self.folder / f"tmp.{name}").mkdir()
                raise KilledError
            super().put_block(name, files, times)

        def remove_block(self, name):
            if moment == "after the rename" or len(removed) == 3:
                raise KilledError
            removed.append(name)
            super().remove_block(name)

    monkeypatch.setattr("aistack_top.session.compact.Disk", Killed)
    with pytest.raises(KilledError):
        compact(path)
    monkeypatch.undo()

    assert await seconds(path) == list(range(60))
    compact(path)
    assert block_names(path) == [BlockName(0)]
    assert await seconds(path) == list(range(60))


async def test_a_damaged_segment_is_not_compacted_away(tmp_path):
    path = tmp_path / "s.aistack"
    record(path, (tick(second) for second in range(30)), block_s=1000.0)
    names = block_names(path)
    (path / str(names[1])).write_bytes(b"garbage")
    assert compact(path) == 0
    assert block_names(path) == names


async def test_who_reads_while_blocks_are_compacted_sees_all(tmp_path):
    path = tmp_path / "s.aistack"
    record(path, (tick(second) for second in range(90)), block_s=30.0)
    session = Session.open(path)
    compact(path)
    assert [round(t.seen - START - 0.05) for t in await played(session) if t.batches] == list(range(90))


async def test_the_ring_is_bounded_by_age(tmp_path):
    path = tmp_path / "ring.aistack"
    recorder = Recorder(path, node="n", clock=VirtualClock(START), keep_s=100.0, block_s=20.0)
    for second in range(400):
        recorder.record(tick(second))
        if second % 50 == 0:
            drain(recorder)
    recorder.close(10)
    session = Session.open(path)
    assert 100 <= session.end - session.start <= 145


async def test_the_ring_is_bounded_by_size(tmp_path):
    path = tmp_path / "ring.aistack"
    record(path, (tick(second) for second in range(200)), block_s=20.0)
    compact(path)
    sizes = {number: size_of(path / str(names[0])) for number, names in current(block_names(path)).items()}
    prune(Disk(path), max(sizes), None, sum(sizes.values()) // 2, START)
    left = sum(size_of(path / str(name)) for name in block_names(path))
    assert left <= sum(sizes.values()) // 2
    assert (await seconds(path))[-1] == 199


async def test_facts_are_known_after_their_block_was_deleted(tmp_path):
    path = tmp_path / "ring.aistack"
    record(path, (tick(second) for second in range(50)), block_s=20.0)
    prune(Disk(path), 2, None, 0, START)
    first = (await played(Session.open(path)))[0]
    assert first.history is not None
    known = {fact.key: fact.value for batch in first.history.batches for fact in batch.facts}
    assert known == {"version": "0.0", "model": "llama"}
    assert [link.proof for batch in first.history.batches for link in batch.links] == ["pid"]


async def test_the_second_program_attaches_and_the_third_takes_over(tmp_path):
    path, clock = tmp_path / "ring.aistack", VirtualClock(START)
    first = open_ring(path, node="n", clock=clock)
    assert isinstance(first, Recorder)
    second = open_ring(path, node="n", clock=clock)
    assert isinstance(second, Session)
    alive = [second.alive]
    first.close(10)
    assert [*alive, second.alive] == [True, False]
    third = open_ring(path, node="n", clock=clock)
    assert isinstance(third, Recorder)
    third.close(10)


async def test_a_shared_home_keeps_the_rings_of_two_nodes_apart(tmp_path):
    path, clock = tmp_path / "ring.aistack", VirtualClock(START)
    first = open_ring(path, node="gpu-01", clock=clock)
    second = open_ring(path, node="gpu/02", clock=clock)
    assert isinstance(first, Recorder)
    assert isinstance(second, Recorder)
    assert second.path == tmp_path / "ring-gpu_02.aistack"
    first.close(10)
    second.close(10)


async def test_a_ring_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "ring.aistack").write_text("a file")
    with pytest.raises(SessionError, match="cannot record"):
        open_ring(tmp_path / "ring.aistack", node="n", clock=VirtualClock(START))


async def test_keep_makes_a_session_that_stays(tmp_path):
    ring = tmp_path / "ring.aistack"
    recorder = record(ring, (tick(second) for second in range(80)), block_s=30.0, close=False)
    drain(recorder)
    kept = keep(ring, tmp_path / "kept.aistack")
    recorder.close(10)
    prune(Disk(ring), 3, None, 0, START)

    assert kept.problems == []
    assert await seconds(kept.path) == list(range(len(await seconds(kept.path))))
    assert len(await seconds(kept.path)) >= 74
    assert not kept.alive
    with pytest.raises(SessionError, match="there already"):
        keep(ring, tmp_path / "kept.aistack")


async def test_keeping_what_is_no_ring_leaves_nothing_behind(tmp_path):
    with pytest.raises(SessionError):
        keep(tmp_path / "none.aistack", tmp_path / "kept.aistack")
    assert list(tmp_path.iterdir()) == []
