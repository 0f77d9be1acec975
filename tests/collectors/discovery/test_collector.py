from pathlib import Path
from typing import Any

import httpx
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Health
from aistack_top.store.facts import Facts
from collectors import assemble
from collectors.config import Config, ConsoleSettings, VllmSource
from collectors.discovery.candidates import ScanResult, ServerCandidate, UnreachableServer
from collectors.discovery.collector import AGAIN_S, FORGET_S, DiscoveryCollector, FeedMembership, Matcher, place_of
from collectors.procfs.processes import Process
from collectors.registry import findable, page_matcher, source_name
from collectors.runtime.base import Source
from collectors.runtime.scheduler import LiveFeed
from collectors.vllm import collector as vllm

PAGE = Path("fixtures/captures/vllm-0.33.0-metrics.prom").read_bytes()
HERE = "http://127.0.0.1:8000"


class Reads:
    """A collector of whatever was found."""

    def __init__(self, url):
        self.source = Source(source_name("vllm", url), "vllm", "serving", 2.0, address=url)
        self.closed = False

    async def collect(self):
        return Batch(0.0, 0.0, Health(self.source.name, "vllm", "serving", "ok"))

    async def aclose(self):
        self.closed = True


class HandClock(VirtualClock):
    """A clock that a test sets."""

    shift = 0.0

    def monotonic(self):
        return super().monotonic() + self.shift


class Room:
    """Discovery with a made-up node around it: what is to be seen, what answers, who joined and left."""

    def __init__(self, *seen, page=PAGE, status=200, configured=()):
        self.clock, self.seen = HandClock(0.0), seen
        self.page, self.status = page, status
        self.asked: list[Any] = []
        self.joined: list[Any] = []
        self.left: list[Any] = []
        self.why: tuple[UnreachableServer, ...] = ()
        self.dead: tuple[str, ...] = ()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        kinds = [Matcher("vllm", "/metrics", vllm.fingerprint, Reads)]
        roll = FeedMembership(self.joined.append, self.left.append, place_of(configured))
        self.discovery = DiscoveryCollector(self.clock, client, self.look, kinds, roll, run=self.run)

    def answer(self, request):
        self.asked.append(str(request.url))
        if request.url.path == "/health/liveliness":
            return httpx.Response(200, text='"I\'m alive!"')
        if request.url.host in self.dead:
            raise httpx.ConnectError("refused")
        if self.status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(self.status, content=self.page)

    def look(self):
        return ScanResult(tuple(self.seen), self.why)

    async def run(self, look):
        return look()

    async def after(self, seconds=0.0):
        self.clock.shift += seconds
        batch = await self.discovery.collect()
        return batch, [event.text for event in batch.events]


def at(url=HERE, pid=7, start=1):
    return ServerCandidate(url, "vllm", Process(pid, 1, start, 0, ("vllm", "serve"), None))


async def test_a_server_that_is_recognised_joins_once_and_is_told():
    room = Room(at())
    assert (await room.after())[1] == ["found vllm-8000 at http://127.0.0.1:8000, process 7"]
    assert (await room.after(AGAIN_S))[1] == []
    assert [one.source.name for one in room.joined] == ["vllm-8000"]
    assert room.asked == [HERE + "/metrics"]


@pytest.mark.parametrize(("status", "page"), [(200, b"<html>"), (200, b""), (404, PAGE), (500, PAGE), (None, b"")])
async def test_what_is_no_known_server_is_asked_once_a_minute_and_then_less_and_less(status, page):
    room = Room(at(), status=status, page=page)
    times = []
    for second in range(0, 1000, 15):
        before = len(room.asked)
        batch, told = await room.after(15 if second else 0)
        times += [second] * (len(room.asked) - before)
        assert (batch.health.status, told) == ("ok", [])
    assert times == [0, 60, 180, 420, 900]
    assert room.joined == []


async def test_a_new_process_behind_an_address_is_asked_soon_but_not_within_the_minute():
    room = Room(at(), page=b"starting")
    for _ in range(3):
        await room.after(AGAIN_S * 4)
    room.seen, room.page = (at(pid=8),), PAGE
    count = len(room.asked)
    await room.after(15)
    assert len(room.asked) == count
    await room.after(45)
    assert [one.source.address for one in room.joined] == [HERE]


async def test_a_server_that_goes_is_said_to_be_gone_and_let_go_of_only_later():
    room = Room(at())
    await room.after()
    room.seen = ()
    assert (await room.after(15))[1] == ["vllm-8000 is gone: nothing listens at http://127.0.0.1:8000"]
    assert (await room.after(15))[1] == []
    assert room.left == []
    await room.after(FORGET_S)
    assert room.left == room.joined


async def test_a_server_that_restarts_keeps_its_collector():
    room = Room(at())
    await room.after()
    room.seen = ()
    await room.after(15)
    room.seen = (at(pid=8),)
    assert (await room.after(15))[1] == ["vllm-8000 is back at http://127.0.0.1:8000"]
    assert len(room.joined) == 1


async def test_how_an_engine_was_started_is_a_fact_without_its_secrets_and_a_restart_may_change_it():
    told = []
    for blocks, pid in (("24", 7), ("12", 8)):
        room = Room(at())
        argv = ("vllm", "serve", "--api-key", "s3cret", "--num-gpu-blocks-override", blocks)
        room.seen = (ServerCandidate(HERE, "vllm", Process(pid, 1, 1, 0, argv, None)),)
        told += (await room.after())[0].facts
    facts = Facts()
    (event,) = [event for fact in told for event in facts.observe([fact], 0.0, 0.0, "serving", "discovery")]
    assert event.text == "command: --num-gpu-blocks-override 24 -> 12"
    assert event.entity == Entity.of(engine="vllm-8000")
    assert "s3cret" not in str(told)


async def test_a_server_of_ipv6_only_is_read_at_the_other_loopback():
    room = Room(ServerCandidate(HERE, "vllm", at().process, "http://[::1]:8000"))
    room.dead = ("127.0.0.1",)
    assert (await room.after())[1] == ["found vllm-8000 at http://[::1]:8000, process 7"]
    assert (await room.after(15))[1] == []
    assert [one.source.address for one in room.joined] == ["http://[::1]:8000"]


async def test_a_proxy_that_wants_a_key_is_asked_for_its_page_once_and_again_when_another_process_answers():
    room = Room(at(), status=401)
    for _ in range(200):
        await room.after(15)
    assert room.asked.count(HERE + "/metrics") == 1
    assert room.asked.count(HERE + "/health/liveliness") == 3
    assert "requires a token" in room.discovery.asked[HERE].said
    room.seen = (at(pid=8),)
    await room.after(AGAIN_S)
    assert room.asked.count(HERE + "/metrics") == 2


async def test_what_is_configured_is_not_found_a_second_time():
    room = Room(at(), configured=["http://localhost:8000/"])
    await room.after()
    assert (room.asked, room.joined) == ([], [])


async def test_a_server_that_cannot_be_asked_stands_in_the_health_record():
    room = Room()
    room.why = (UnreachableServer("vllm", 9, "port 1 listens on the loopback of its own container only\x1b[2J"),)
    batch, _ = await room.after()
    assert "vllm (process 9): port 1 listens" in batch.health.reason
    assert "\x1b" not in batch.health.reason


async def test_a_look_that_fails_is_a_health_record():
    room = Room()

    async def hangs(look):
        raise TimeoutError

    room.discovery._run = hangs
    batch, _ = await room.after()
    assert batch.health.status == "slow"


async def test_a_collector_joins_and_leaves_a_running_feed():
    clock = VirtualClock(0.0)
    feed = LiveFeed([Reads("http://127.0.0.1:1")], clock)
    second = Reads("http://127.0.0.1:2")
    told = []
    async for tick in feed.ticks():
        told.append({batch.health.source for batch in tick.batches})
        if len(told) == 3:
            feed.join(second)
        if len(told) == 10:
            feed.leave(second)
        if len(told) == 16:
            break
    await feed.aclose()
    seen = [number for number, names in enumerate(told) if "vllm-2" in names]
    assert seen
    assert min(seen) >= 3
    assert max(seen) <= 10
    assert second.closed


@pytest.mark.parametrize("kind", list(findable()), ids=lambda kind: kind.name)
def test_every_kind_that_is_found_on_a_node_can_be_told_and_built_from_an_address(kind):
    knows = page_matcher(kind)
    assert knows is not None
    assert knows(b"") is False
    assert "url" in kind.config.__struct_fields__


@pytest.mark.parametrize(
    ("endpoints", "on", "expected"), [((), True, True), ((), False, False), (("http://127.0.0.1:1",), True, False)]
)
async def test_addresses_on_the_command_line_switch_discovery_off_and_so_does_the_configuration(
    tmp_path, endpoints, on, expected
):
    config = Config(console=ConsoleSettings(discovery=on), source=(VllmSource(url="http://127.0.0.1:2"),))
    feed = assemble.feed(config, endpoints, VirtualClock(0.0), tmp_path, "n")
    assert any(one.source.kind == "discovery" for one in feed.collectors) is expected
    await feed.aclose()
