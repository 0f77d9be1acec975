"""The feed below learns whether an incident is open, so that it can ask its sources more often."""

from aistack_top.feeds.diagnosed import DiagnosedFeed
from tests.aistack_top.diagnosis.fake_node import START, Plant
from tests.fakes.feed import FakeFeed


class Aware(FakeFeed):
    """A feed that writes down what it is told of incidents, once a tick."""

    told: tuple[bool, ...] = ()

    def set_incident_open(self, is_open):
        self.told = (*self.told, is_open)


async def test_a_feed_learns_when_an_incident_opens_and_when_it_is_over():
    ticks = list(Plant(down={"chat-0": (100, 200)}).ticks(400))
    below = Aware(ticks)
    count = 0
    async for _ in DiagnosedFeed(below).ticks():
        count += 1
        if count == len(ticks):
            break
    at = [tick.at - START for tick in ticks]
    open_at = [moment for moment, is_open in zip(at, below.told, strict=True) if is_open]
    assert 110 <= open_at[0] <= 125
    assert 190 <= open_at[-1] <= 225
    assert not below.told[-1]


async def test_an_incident_that_a_person_dismissed_is_none():
    ticks = list(Plant(down={"chat-0": (100, 300)}).ticks(300))
    below = Aware(ticks)
    feed = DiagnosedFeed(below)
    count = 0
    async for tick in feed.ticks():
        count += 1
        for incident in tick.incidents:
            assert feed._watch.dismiss(incident.id)
        if count == len(ticks):
            break
    assert sum(below.told) <= 1
