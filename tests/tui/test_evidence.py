"""Evidence: a folder that replays, tells the verdict and shows the screen, and holds no text of any call."""

import base64
import errno
import re
from dataclasses import replace

import pytest
from textual.widgets import Input

from aistack_top.feeds.recording import RecordingFeed
from aistack_top.measure.clock import VirtualClock
from aistack_top.model.tick import Mark
from aistack_top.session.blocks import recorded_incidents, recorded_marks
from aistack_top.session.reader import Session
from aistack_top.session.recorder import Recorder
from aistack_top.session.replay import SessionFeed
from aistack_top.state import State
from tests.fakes.feed import START, FakeFeed, World, gpu, seconds
from tests.fakes.incident import ENGINE, incident, troubled
from tests.tui.screen_text import press, settle, shown, text
from tui import evidence

SECRET = "the prompt that nobody may keep"


async def kept(app, pilot):
    """Press `e`, wait for the worker, return the folder."""
    await press(app, pilot, "e")
    await app.workers.wait_for_complete()
    await settle(app, pilot)
    found = sorted(app.console_model.options.evidence.glob("aistack-evidence-*"))
    return found[-1] if found else None


def said(app):
    """What stands above the keys, without the breaks of its lines."""
    return "".join(text(app).replace("▸", "").split())


async def replayed(path) -> State:
    """What a replay of the session knows at its end."""
    session = Session.open(path)
    state, feed = State(), SessionFeed(session, VirtualClock(session.start), at=session.end, speed=0.0)
    async for tick in feed.ticks():
        state.apply(tick)
        break
    return state


async def test_evidence_of_a_feed_that_nothing_records_replays_with_numbers_marks_and_verdict(tmp_path):
    ticks = troubled(World(gpus=2, engines=2), 40)
    ticks[-1] = replace(ticks[-1], incidents=(incident(),))
    async with shown(FakeFeed(ticks), evidence=tmp_path) as (app, pilot):
        app.console_model.mark("fans replaced")
        folder = await kept(app, pilot)
        assert f"savedto{folder}".replace(" ", "") in said(app), said(app)[-600:]
        seen = app.console_model.state
    assert {file.name for file in folder.iterdir()} == {
        "session.aistack", "verdict.md", "verdict.html", "screen.txt", "screen.svg",
    }  # fmt: skip
    state = await replayed(folder / "session.aistack")
    for key in (("gpu.temperature", gpu(1), "value"), ("serving.ttft", ENGINE, "p95")):
        before = seen.timeline.window(key, START, START + 40)
        assert state.timeline.window(key, START, START + 40) == before
        assert any(value == value for value in before)
    bound = state.timeline.sample(("serving.queue_time", ENGINE, "p95"), START + 39, 30.0)
    assert (bound.value.side, bound.value.limit) == ("below", pytest.approx(0.3))
    assert [mark.text for mark in state.marks] == ["fans replaced"]
    assert [one.id for one in state.incidents.at()] == ["i-0", "i-1"]
    assert len(state.calls) == len(seen.calls) > 0
    assert {record.source for _, record in state.health.at()} == {record.source for _, record in seen.health.at()}
    assert state.facts.get(gpu(1), "index") == "1"
    told = (folder / "verdict.md").read_text()
    assert "thermal throttle" in told
    assert "look at the air flow of gpu 1" in told
    assert "<svg" in (folder / "verdict.html").read_text()
    assert "aistack-top" in (folder / "screen.txt").read_text()
    picture = (folder / "screen.svg").read_text()
    assert picture.startswith("<svg")
    assert set(re.findall(r"https?://[^\"' )<]+", picture)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    }
    assert "temperature" in picture


async def test_evidence_of_a_recording_is_cut_out_of_it_with_the_marks_it_lacks(tmp_path):
    clock = VirtualClock(START)
    recorder = Recorder(tmp_path / "ring.aistack", node="node-1", clock=clock, every_s=5.0, block_s=20.0)
    ticks = seconds(55, World(history_s=0))  # fewer than would make the feed wait for the disk
    feed = RecordingFeed(FakeFeed(ticks), recorder)
    async with shown(feed, evidence=tmp_path / "out", until=START + 54) as (app, pilot):
        app.console_model.cursor.span_s = 12.0
        app.console_model.state.note(late := Mark(START + 50, START + 53, "the load test began", "ann"))
        folder = await kept(app, pilot)
    whole, cut = Session.open(tmp_path / "ring.aistack"), Session.open(folder / "session.aistack")
    assert cut.start == START + 40
    assert cut.end == whole.end == START + 54
    assert [mark.text for mark in recorded_marks(cut)] == [late.text]
    assert not cut.problems
    state = await replayed(folder / "session.aistack")
    assert state.source_of("gpu.temperature", gpu(0)) in ("nvml", "history")
    assert not recorded_incidents(cut)


async def test_the_text_of_a_call_reaches_no_file(tmp_path):
    async def fetched(_):
        return SECRET, SECRET

    async with shown(FakeFeed(troubled(World())), (120, 40), evidence=tmp_path, text_of=fetched) as (app, pilot):
        await press(app, pilot, "T", "j", "enter", "o")
        await settle(app, pilot)
        await press(app, pilot, "G")
        assert SECRET in text(app)
        folder = await kept(app, pilot)
        assert SECRET in text(app)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 4
    assert "call" in (folder / "screen.txt").read_text()
    for file in files:
        assert SECRET.split()[1].encode() + b" that" not in file.read_bytes().replace(b"&#160;", b" ")


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left on device"), (errno.EROFS, "read-only file system")]
)
async def test_a_disk_that_refuses_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, number, words):
    def refuse(*_):
        raise OSError(number, words.capitalize())

    monkeypatch.setattr("aistack_top.session.from_memory.Disk.put_block", refuse)
    async with shown(FakeFeed(troubled(World())), (120, 40), evidence=tmp_path) as (app, pilot):
        assert await kept(app, pilot) is None
        assert f"noevidencein{tmp_path}:{words.replace(' ', '')}" in said(app)
        assert "setevidenceunder[console]" in said(app)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    async with shown(FakeFeed(troubled(World())), (120, 40), evidence=tmp_path / "file") as (app, pilot):
        await press(app, pilot, "e")
        await app.workers.wait_for_complete()
        await settle(app, pilot)
        assert "no evidence in" in text(app)


async def test_the_verdict_is_copied_as_markdown_through_the_terminal(monkeypatch):
    async with shown(FakeFeed(troubled(World()))) as (app, pilot):
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        painted = await press(app, pilot, "y")
        assert "verdict copied" in painted
        sent = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]+)\a", next(one for one in written if "]52;" in one))
        assert sent is not None
        assert "thermal throttle" in base64.b64decode(sent[1]).decode()
    async with shown(FakeFeed(seconds(6, World()))) as (app, pilot):
        assert "nothing to copy" in await press(app, pilot, "y")


async def keep_as(app, pilot, name):
    """Press `R`, give the recording a name, wait for the worker, return what is said then."""
    await press(app, pilot, "R")
    await app.workers.wait_for_complete()
    await settle(app, pilot)
    assert app.screen.query_one(Input).value.endswith("-20251124-160054.aistack")
    app.screen.query_one(Input).value = name
    await press(app, pilot, "enter")
    await app.workers.wait_for_complete()
    await settle(app, pilot)
    return said(app)


async def test_a_recording_is_kept_whole_under_a_name_while_it_goes_on(tmp_path):
    clock = VirtualClock(START)
    recorder = Recorder(tmp_path / "ring.aistack", node="node-1", clock=clock, every_s=5.0, block_s=20.0)
    feed = RecordingFeed(FakeFeed(seconds(55, World(history_s=0))), recorder)
    async with shown(feed, evidence=tmp_path / "out", until=START + 54) as (app, pilot):
        kept_in = tmp_path / "out/night.aistack"
        assert f"wholerecordingsavedto{kept_in}" in await keep_as(app, pilot, "night")
        assert f"notsaved:{kept_in}alreadyexists" in await keep_as(app, pilot, "night.aistack")
    session = Session.open(kept_in)
    assert (session.start, session.end) == (START, START + 54)
    assert not session.problems


async def test_what_nothing_records_is_kept_out_of_memory(tmp_path):
    async with shown(FakeFeed(seconds(55, World(history_s=60))), evidence=tmp_path) as (app, pilot):
        assert "savedto" in await keep_as(app, pilot, str(tmp_path / "other/a.aistack"))
    session = Session.open(tmp_path / "other/a.aistack")
    assert session.end - session.start == 114


async def test_a_recording_that_cannot_be_kept_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    async with shown(FakeFeed(seconds(55, World())), evidence=tmp_path / "file") as (app, pilot):
        assert "notsavedto" in await keep_as(app, pilot, "night")


def test_what_a_node_is_called_makes_a_harmless_name():
    assert evidence._as_file("../../etc/x\x1b[2J") == "-..-etc-x"
    assert evidence._as_file("") == "node"
