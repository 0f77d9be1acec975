import contextlib
import json
import os
import random
import shutil
import zlib

import msgspec
import pytest

from aistack_top.session.disk import Disk, block_names
from aistack_top.session.errors import SessionError
from aistack_top.session.format import SEGMENT_MAGIC, BlockInfo, BlockName, FileInfo
from aistack_top.session.parquet import check
from aistack_top.session.reader import Session, decode_table
from aistack_top.session.writer import BlockWriter, parquet
from tests.aistack_top.session.ticks import START, played, record, tick


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("sessions") / "s.aistack"
    record(path, (tick(second) for second in range(30)))
    return path


@pytest.fixture
def copy(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "s.aistack")
    return tmp_path / "s.aistack"


def put(path, frames, times=(START, START, START), name=None):
    """Write a block of tables that no recorder would write."""
    Disk(path).put_block(name or BlockName(90), {t: (parquet(f), len(f)) for t, f in frames.items()}, times)


def frames():
    import polars as pl

    writer = BlockWriter()
    for second in (0, 10):
        writer.add(tick(second))
    return {table: pl.read_parquet(data) for table, (data, _) in writer.encode()[0].items()}


async def shown(path):
    """Everything that can be seen of a session; must not raise."""
    session = Session.open(path)
    ticks = await played(session)
    await played(session, speed=1000.0)
    return session, [one for one in ticks if one.batches]


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "a link as session.json"])
async def test_what_is_no_session_is_said(tmp_path, what, recorded):
    path = tmp_path / "x.aistack"
    if what == "a file":
        path.write_text("hello")
    elif what != "nothing":
        path.mkdir()
    if what == "a link as session.json":
        (path / "session.json").symlink_to(recorded / "session.json")
    with pytest.raises(SessionError) as raised:
        Session.open(path)
    assert raised.value.title in ("not a session", "cannot read this session")
    assert raised.value.msg


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"schema": 1}',
        b'{"schema": "aistack-top/session/1"}',
        b'{"schema": "other"}',
        b'{"schema": "aistack-top/session/1", "node": "n", "program": "p", "start": 1e300}',
        b'{"schema": "aistack-top/session/1", "node": ["n"], "program": "p", "start": 1}',
    ],
)
async def test_a_broken_session_json_is_said(tmp_path, text):
    (tmp_path / "session.json").write_bytes(text)
    with pytest.raises(SessionError, match="not a session"):
        Session.open(tmp_path)


async def test_a_session_of_a_later_version_asks_for_a_newer_program(copy):
    info = json.loads((copy / "session.json").read_text())
    (copy / "session.json").write_text(json.dumps({**info, "schema": "aistack-top/session/2"}))
    with pytest.raises(SessionError, match="a newer one is needed"):
        Session.open(copy)


async def test_a_huge_session_json_is_not_read(tmp_path):
    with (tmp_path / "session.json").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(SessionError, match="more than any session has"):
        Session.open(tmp_path)


async def test_escape_sequences_in_it_are_harmless(copy):
    info = json.loads((copy / "session.json").read_text())
    (copy / "session.json").write_text(json.dumps({**info, "node": "\x1b[31mred\x07"}))
    assert Session.open(copy).node == "red"


async def test_a_segment_cut_short_costs_only_itself(copy):
    names = block_names(copy)
    whole = (copy / str(names[2])).read_bytes()
    (copy / str(names[2])).write_bytes(whole[:100])

    session, ticks = await shown(copy)

    assert [problem.partition(":")[0] for problem in session.problems] == [str(names[2])]
    assert [round(one.seen - START) for one in ticks] == [*range(12), *range(18, 30)]


async def test_any_flipped_or_missing_bytes_are_survived(copy):
    dice = random.Random(3)
    files = [copy / str(name) for name in block_names(copy)]
    before = [file.read_bytes() for file in files]
    for _ in range(25):
        for file, data in zip(files, before, strict=True):
            broken = bytearray(data)
            for _ in range(dice.randrange(4)):
                broken[dice.randrange(len(broken))] = dice.randrange(256)
            file.write_bytes(bytes(broken[: dice.choice([len(broken), dice.randrange(len(broken))])]))
        await shown(copy)


async def test_parquet_with_flipped_bytes_and_a_right_checksum_is_survived():
    dice = random.Random(5)
    for table, frame in frames().items():
        data = parquet(frame)
        for _ in range(25):
            broken = bytearray(data)
            for _ in range(1 + dice.randrange(3)):
                broken[dice.randrange(4, len(broken) - 8)] = dice.randrange(256)
            with contextlib.suppress(SessionError):
                assert decode_table(bytes(broken), table, len(frame)).columns == frame.columns


async def test_pages_that_claim_to_unpack_to_too_much_are_refused(monkeypatch):
    import polars as pl

    frame = pl.DataFrame({"text": ["x" * 10_000 + str(number) for number in range(1000)]})
    bomb = parquet(frame)
    assert len(bomb) < 100_000
    check(bomb, "events", 1000)
    monkeypatch.setattr("aistack_top.session.parquet.MAX_UNPACKED", 9_000_000)
    with pytest.raises(SessionError, match="unpacks to more"):
        check(bomb, "events", 1000)


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1" * 3, b"PAR1" + b"\xff" * 8 + b"PAR1", random.Random(1).randbytes(500)]
)
async def test_what_is_no_parquet_is_refused(data):
    with pytest.raises(SessionError, match="damaged"):
        decode_table(data, "readings", 1)


async def test_other_columns_than_ours_are_not_believed(copy):
    import polars as pl

    put(copy, {"batches": pl.DataFrame({"batch": ["one"], "at": [b"x"]}), "readings": pl.DataFrame({"a": [1]})})
    session, ticks = await shown(copy)
    assert len(ticks) == 30
    assert any("other columns" in problem for problem in session.problems)


async def test_rows_that_no_recorder_writes_cost_only_themselves(copy):
    import polars as pl

    tables = frames()
    nan, text = float("nan"), pl.lit("\x1b[2Jx")
    tables["batches"] = pl.concat(
        [
            tables["batches"],
            tables["batches"].with_columns(status=pl.lit("fine"), batch=pl.col("batch") + 100),
            tables["batches"].with_columns(at=pl.lit(nan), batch=pl.col("batch") + 200),
            tables["batches"].with_columns(tick_seen=pl.lit(1e18), batch=pl.col("batch") + 300),
            tables["batches"].with_columns(pl.lit(None, pl.Int32).alias("batch")),
        ]
    )
    tables["readings"] = tables["readings"].with_columns(value=pl.lit(nan, pl.Float32), series=pl.lit(7, pl.Int32))
    tables["series"] = tables["series"].with_columns(entity=pl.lit('{"no such key": "x"}'))
    tables["events"] = tables["events"].with_columns(text=text, detail=pl.lit("not json"))
    tables["facts"] = tables["facts"].with_columns(value=text)
    tables["calls"] = tables["calls"].with_columns(start=pl.lit(-1.0))
    put(copy, tables, (START + 40, START + 41, START))

    session, ticks = await shown(copy)

    assert session.problems == []
    added = [batch for one in ticks[30:] for batch in one.batches]
    assert len(added) == 6
    assert not any(len(batch.readings) or batch.events or batch.calls for batch in added)
    assert {fact.value for batch in added for fact in batch.facts} == {"x"}


async def test_claims_are_checked_before_they_are_believed(copy):
    info = BlockInfo(START, START, START, {"readings": FileInfo(10, 0, 2**60)})
    (copy / "b000080").mkdir()
    (copy / "b000080" / "block.json").write_bytes(msgspec.json.encode(info))
    lies = msgspec.json.encode(BlockInfo(START, START, START, {"batches": FileInfo(4, zlib.crc32(b"PAR1"), 5)}))
    (copy / "b000081.0000").write_bytes(SEGMENT_MAGIC + (2**31).to_bytes(4, "little") + lies)
    (copy / "b000082.0000").write_bytes(SEGMENT_MAGIC + len(lies).to_bytes(4, "little") + lies + b"PAR1")

    session, ticks = await shown(copy)

    assert len(ticks) == 30
    assert len(session.problems) == 3


async def test_links_pipes_and_strange_names_are_not_followed(copy, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(copy, outside)
    (copy / "b000070").symlink_to(outside)
    (copy / "b000071.0000").symlink_to(outside / str(block_names(outside)[0]))
    os.mkfifo(copy / "b000072.0000")
    (copy / "b000073").mkdir()
    os.mkfifo(copy / "b000073" / "block.json")
    (copy / "b1; rm -rf").mkdir()
    (copy / "b٣٣٣٣٣٣").mkdir()

    session, ticks = await shown(copy)

    assert len(ticks) == 30
    assert {block.number for block in session.blocks} == {0}


async def test_a_session_without_anything_recorded_can_be_looked_at(tmp_path):
    record(tmp_path / "s.aistack", [])
    session, ticks = await shown(tmp_path / "s.aistack")
    assert ticks == []
    assert session.start == session.end == START


async def test_counts_and_sources_are_known_without_reading_tables(recorded):
    session = Session.open(recorded)
    assert session.counts["batches"] == 30 + 15 + 6
    assert session.counts["calls"] == 6
    assert not session.alive
