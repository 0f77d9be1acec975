import asyncio

import pytest

from aistack_top.feeds.resumed import ResumedFeed
from aistack_top.measure.clock import VirtualClock
from aistack_top.session.replay import SessionFeed
from collectors.config import Config
from collectors.runtime.environment import state_folder
from tests.aistack_top.session.ticks import START, drain, record, tick
from tui.commands.common import Options, configuration
from tui.commands.live import ring_name, ringed, run


class Seconds:
    """A live feed of a few seconds."""

    def __init__(self, first=0, count=3):
        self._first, self._count = first, count
        self.closed = False

    def bounds(self):
        raise AssertionError("nobody asked before")

    async def ticks(self):
        for second in range(self._first, self._first + self._count):
            yield tick(second)

    def seek(self, at):
        raise ValueError("live")

    def set_speed(self, speed):
        raise ValueError("live")

    async def aclose(self):
        self.closed = True


def options(*endpoints, config=None):
    return Options(config=config, endpoints=endpoints)


async def taken(feed):
    found = [one async for one in feed.ticks()]
    await feed.aclose()
    return found


def ring(path, first=0):
    return ringed(lambda: Seconds(first), path, Config(), VirtualClock(START + first), "n")


def test_a_console_of_other_sources_has_a_ring_of_its_own(tmp_path):
    one, two = options("http://a:1"), options("http://b:1")
    assert ring_name(options()) == "ring.aistack"
    assert len({ring_name(options()), ring_name(one), ring_name(two), ring_name(options(config=tmp_path / "x"))}) == 4
    assert ring_name(options("http://a:1", "http://b:1")) == ring_name(options("http://b:1", "http://a:1"))


async def test_the_first_console_records_and_the_second_attaches(tmp_path):
    first = ring(tmp_path / "ring.aistack")
    second = ring(tmp_path / "ring.aistack")
    other = ring(tmp_path / ring_name(options("http://a:1")))
    assert isinstance(first, ResumedFeed)
    assert isinstance(second, SessionFeed)
    assert isinstance(other, ResumedFeed)
    for feed in (second, other, first):
        await feed.aclose()


async def test_a_restart_goes_on_where_the_recording_ended(tmp_path):
    path = tmp_path / "ring.aistack"
    before = await taken(ring(path))
    assert all(one.history is None for one in before)

    after = await taken(ring(path, first=60))

    past, *live = after
    assert past.history is not None
    assert any(value == value for column in past.history.columns.values() for value in column)
    assert [one.seen for one in live] == [tick(second).seen for second in (60, 61, 62)]


async def test_what_is_older_than_the_memory_is_not_laid_under(tmp_path):
    path = tmp_path / "ring.aistack"
    await taken(ring(path))
    assert all(one.history is None for one in await taken(ring(path, first=7200)))


async def test_a_ring_that_cannot_be_written_costs_the_recording_only(tmp_path):
    (tmp_path / "ring.aistack").write_text("a file")
    ticks = await taken(ring(tmp_path / "ring.aistack"))
    assert len(ticks) == 3
    assert {len(one.notices) for one in ticks} == {1}
    assert ticks[0].notices[0].startswith("not recorded: ")


async def test_what_is_wrong_with_the_recording_is_a_notice_while_it_is_so(tmp_path):
    feed = ring(tmp_path / "ring.aistack")
    recorder = feed._feed.recorder
    told = []
    stream = feed.ticks()
    for fault in ("", "no space left on device", ""):
        recorder._failing = fault
        told.append((await anext(stream)).notices)
    await stream.aclose()
    await feed.aclose()
    assert told[0] == told[2] == ()
    assert "no space left on device" in told[1][0]


@pytest.mark.parametrize("name", ["ring-only-0123456789ab.aistack"])
async def test_rings_of_single_addresses_are_dropped_after_a_day(tmp_path, name):
    old = tmp_path / name
    drain(record(old, [tick(0)]))
    now = max(file.stat().st_mtime for file in old.iterdir())
    for age, stays in ((3600.0, True), (90_000.0, False)):
        feed = await asyncio.to_thread(
            ringed, Seconds, tmp_path / "ring.aistack", Config(), VirtualClock(now + age), "n"
        )
        await feed.aclose()
        assert old.exists() is stays
        assert isinstance(feed, ResumedFeed)


def test_a_user_without_a_home_has_no_state_folder_and_no_configuration(tmp_path, monkeypatch):
    taken_by_a_file = tmp_path / "home"
    taken_by_a_file.touch()
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(taken_by_a_file / "below"))
    monkeypatch.delenv("AISTACK_TOP_CONFIG", raising=False)
    assert state_folder() is None
    assert configuration(options()) == Config()


def test_an_address_that_is_none_is_refused_before_the_screen_opens(monkeypatch, capsys):
    monkeypatch.setattr("tui.commands.live.interactive", lambda: True)
    with pytest.raises(SystemExit) as left:
        run(options("foo"))
    assert left.value.code == 2
    assert "--endpoint foo: write it as http://HOST:PORT" in capsys.readouterr().err
