"""Feeds made of other feeds: what they pass on, and the one thing that each adds."""

from pathlib import Path

import pytest

from aistack_top.feeds.announced import AnnouncedFeed, NoticedFeed
from aistack_top.feeds.base import FeedDecorator
from aistack_top.feeds.late import LazyFeed
from aistack_top.model.feed import Bounds, HasRecording, KeepsMarks, KnowsIncidents
from aistack_top.model.tick import Mark
from tests.fakes.feed import START, FakeFeed, World, seconds

PLAYED = Bounds(START, START + 60, live=False, seekable=True, speeds=True, title="night")
MARK = Mark(START, START, "seen", "lena")


class Recording(FakeFeed):
    """A feed that can do all that a feed may do."""

    def __init__(self, count):
        super().__init__(seconds(count, World()), bounds=PLAYED)
        self.kept = []

    def keep(self, mark):
        self.kept.append(mark)
        return True

    async def recording(self):
        return Path("ring.aistack")

    async def incident_times(self):
        return [START + 5.0]


async def first(feed, count):
    stream = feed.ticks()
    found = [await anext(stream) for _ in range(count)]
    await stream.aclose()
    return found


async def test_a_decorator_passes_everything_on():
    below = Recording(2)
    feed = FeedDecorator(FeedDecorator(below))
    assert isinstance(feed, KeepsMarks)
    assert isinstance(feed, HasRecording)
    assert isinstance(feed, KnowsIncidents)
    assert [one.seen for one in await first(feed, 2)] == [START, START + 1]
    feed.seek(START + 3)
    feed.set_speed(2.0)
    assert (below.seeks, below.speeds, feed.bounds()) == ([START + 3], [2.0], below.bounds())
    assert feed.keep(MARK)
    assert below.kept == [MARK]
    assert (await feed.recording(), await feed.incident_times()) == (Path("ring.aistack"), [START + 5.0])
    await feed.aclose()
    assert below.closed


async def test_what_the_feed_below_cannot_do_a_decorator_cannot_do_either():
    feed = FeedDecorator(FakeFeed([]))
    assert not feed.keep(MARK)
    assert await feed.recording() is None
    assert list(await feed.incident_times()) == []
    with pytest.raises(ValueError, match="no history of its own"):
        feed.seek(START)


async def test_a_late_feed_is_made_when_its_first_tick_is_asked_for():
    made = []

    async def make():
        made.append(Recording(3))
        return made[-1]

    promised = Bounds(1.0, 1.0, live=True, title="node")
    feed = LazyFeed(make, promised)
    assert feed.bounds() == promised
    assert not feed.keep(MARK)
    with pytest.raises(ValueError, match="nothing has been read yet"):
        feed.seek(START)
    await feed.aclose()
    assert made == []
    await first(feed, 1)
    assert feed.bounds() == PLAYED
    assert feed.keep(MARK)
    await feed.aclose()
    assert [one.closed for one in made] == [True]


async def test_a_late_feed_that_is_made_again_goes_on_with_the_next_one():
    made = []

    class Short(FakeFeed):
        async def ticks(self):
            for one in self._ticks:
                yield one

    async def make():
        made.append(Short(seconds(2, World())))
        return made[-1]

    assert len(await first(LazyFeed(make, PLAYED, again=True), 5)) == 5
    assert [one.closed for one in made] == [True, True, False]


async def test_a_sentence_about_a_feed_holds_until_it_begins_or_for_as_long_as_it_runs():
    begun = await first(AnnouncedFeed(FakeFeed(seconds(2, World())), "computing"), 3)
    assert [(one.at, one.notices) for one in begun] == [(0.0, ("computing",)), (START, ()), (START + 1, ())]
    noted = NoticedFeed(NoticedFeed(FakeFeed(seconds(2, World())), "not recorded"), "too slow")
    assert [one.notices for one in await first(noted, 2)] == [("not recorded", "too slow")] * 2
