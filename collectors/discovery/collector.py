"""Discovery: servers that come up on this node join, and those that go are said to be gone.

`collectors.discovery.candidates` says where something may listen; here it is asked for its metrics page once, and its
kind is told by what the page holds. An address is never asked twice within a minute, and less and less often while it
stays unknown. Nothing but this machine and its containers is ever asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, Severity
from aistack_top.text.sanitize import sanitize
from collectors.discovery.candidates import ScanResult, ServerCandidate
from collectors.discovery.recognition import is_alive
from collectors.procfs.processes import MAX_COMMAND, redacted
from collectors.runtime.base import Collector, HealthTracker, Source, SourceError
from collectors.runtime.http import get
from collectors.runtime.notes import reason
from collectors.runtime.threads import DaemonCaller

EVERY_S = 15.0
PROBE_S = 1.0
"""How long a page is waited for, as `EVERY_S` a compromise: a busy engine answers in 0.2 s (design: kind)."""

AGAIN_S = 60.0
MAX_PAUSE_S = 960.0
FORGET_S = 600.0
"""How long a server that has gone is still asked, in case it only restarts."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
AT_ONCE = 8

Runner = Callable[[Callable[[], ScanResult]], Awaitable[ScanResult]]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A kind of server that can be recognised: where its page is, how it is told, and what reads it."""

    kind: str
    path: str
    recognise: Callable[[bytes], bool]
    make: Callable[[str], Collector]


@dataclass(slots=True)
class ProbeState:
    """What is known of an address: when it was asked, what came of it, and the collector that reads it now."""

    last: float
    pause_s: float = AGAIN_S
    key: tuple[int, int] | None = None
    said: str = ""
    kind: str = ""
    collector: Collector | None = None
    gone_since: float | None = None
    refused: bool = False


@dataclass(slots=True)
class FeedMembership:
    """Who takes part: called when a server joins the feed, and when it leaves it."""

    join: Callable[[Collector], None]
    leave: Callable[[Collector], None]
    configured: frozenset[tuple[str, int]] = field(default_factory=frozenset)


class DiscoveryCollector:
    """Looks every 15 s for servers on this node. ``look`` may block; ``run`` runs it."""

    def __init__(
        self,
        clock: Clock,
        client: httpx.AsyncClient,
        look: Callable[[], ScanResult],
        kinds: Sequence[Matcher],
        roll: FeedMembership,
        *,
        run: Runner | None = None,
    ) -> None:
        self._source = Source("discovery", "discovery", "serving", EVERY_S, deadline_s=10.0)
        self._clock = clock
        self._client = client
        self._look = look
        self._kinds = tuple(kinds)
        self._roll = roll
        self._caller = DaemonCaller("discovery")
        self._run = run or self._on_thread
        self._keeper = HealthTracker(self._source)
        self.asked: dict[str, ProbeState] = {}
        self.sight = ScanResult()

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        began = self._clock.monotonic()
        try:
            self.sight = sight = await self._run(self._look)
        except (TimeoutError, OSError) as error:
            now = self._clock.now()
            told = SourceError("slow", sanitize(f"/proc did not answer: {error}"))
            return Batch(now, now, self._keeper.failure(now, told))
        took = self._clock.monotonic() - began
        there = {one.url: one for one in sight.candidates if place(one.url) not in self._roll.configured}
        events = self._gone(there)
        due = [one for one in there.values() if self._is_due(one)]
        # those that a process speaks for come first: their answer is the one that is waited for
        due.sort(key=lambda one: not one.kind)
        found = await asyncio.gather(*(self._ask(one) for one in due[:AT_ONCE]))
        events += [event for event in found if event]
        now = self._clock.now()
        health = self._keeper.success(now, took, reason=self._reason())
        return Batch(now, now, health, events=tuple(events), facts=self._facts(there))

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        self._caller.close()

    async def _on_thread(self, look: Callable[[], ScanResult]) -> ScanResult:
        return await self._caller.call(look, self._source.deadline_s / 2)

    def _is_due(self, one: ServerCandidate) -> bool:
        asked = self.asked.get(one.url)
        if asked is None:
            return True
        pause = asked.pause_s if one.key == asked.key else AGAIN_S
        return asked.collector is None and self._clock.monotonic() - asked.last >= pause

    async def _ask(self, one: ServerCandidate) -> Event | None:
        """Ask an address for its page; return the news if it is a server that can be read."""
        before = self.asked.get(one.url)
        again = before is not None and before.key == one.key
        pause = min(before.pause_s * 2, MAX_PAUSE_S) if before and again else AGAIN_S
        asked = self.asked[one.url] = ProbeState(self._clock.monotonic(), pause, one.key)
        if before and again and before.refused and await self._still_refuses(one.url):
            self.asked[one.url] = replace(before, last=asked.last)
            return None
        for url in filter(None, (one.url, one.otherwise)):
            try:
                return await self._ask_at(url, one, asked)
            except SourceError as error:
                asked.said = asked.said or error.reason
        return None

    async def _still_refuses(self, url: str) -> bool:
        """Whether a LiteLLM that wants a key is still there: it counts each request for its page as a failed one."""
        try:
            return await is_alive(self._client, url, PROBE_S)
        except SourceError:
            return False

    async def _ask_at(self, url: str, one: ServerCandidate, asked: ProbeState) -> Event | None:
        """Ask an address as `_ask` does.

        Raises:
            SourceError: nothing answers there.

        """
        for path in dict.fromkeys(known.path for known in self._kinds):
            answer = await get(self._client, url + path, deadline_s=PROBE_S, largest=MAX_PAGE_BYTES)
            if answer.status in (401, 403):
                asked.said = (
                    f"{path} returned {answer.status}: requires a token; add it as [[source]] with kind and token"
                )
                asked.refused, asked.pause_s = True, MAX_PAUSE_S
                return None
            if answer.status != 200:
                asked.said = f"{path} returned {answer.status}"
                if answer.status in (401, 403):  # each is a failed request in somebody's statistics
                    asked.pause_s = MAX_PAUSE_S
                continue
            for known in self._kinds:
                if known.path == path and known.recognise(answer.body):
                    return self._joined(url, one, asked, known)
            asked.said = f"{path} is not a supported server"
        return None

    def _joined(self, url: str, one: ServerCandidate, asked: ProbeState, known: Matcher) -> Event:
        asked.kind, asked.said = known.kind, ""
        asked.collector = known.make(url)
        self._roll.join(asked.collector)
        behind = f", process {one.process.pid}" if one.process else ""
        return self._event("info", asked.collector, f"found {asked.collector.source.name} at {url}{behind}")

    def _gone(self, there: dict[str, ServerCandidate]) -> list[Event]:
        """Return the news of servers that have gone or are back, and let go of those gone for long."""
        now, events = self._clock.monotonic(), []
        for url, asked in list(self.asked.items()):
            collector, here = asked.collector, there.get(url)
            if here is not None:
                if collector and asked.gone_since is not None:
                    events.append(self._event("info", collector, f"{collector.source.name} is back at {url}"))
                if collector:
                    asked.gone_since, asked.key = None, here.key
            elif collector is None:
                if now - asked.last >= AGAIN_S:
                    del self.asked[url]
            elif asked.gone_since is None:
                asked.gone_since = now
                text = f"{collector.source.name} is gone: nothing listens at {url}"
                events.append(self._event("warning", collector, text))
            elif now - asked.gone_since >= FORGET_S:
                self._roll.leave(collector)
                del self.asked[url]
        return events

    def _facts(self, there: dict[str, ServerCandidate]) -> tuple[Fact, ...]:
        """Return how the engines that are read were started; on a node with GPUs their links say the same."""
        found = []
        for url, one in there.items():
            asked = self.asked.get(url)
            if asked and asked.collector and asked.collector.source.layer == "serving" and one.process:
                engine = Entity.of(engine=asked.collector.source.name)
                found.append(Fact(engine, "command", sanitize(redacted(one.process.argv), MAX_COMMAND)))
        return tuple(found)

    def _event(self, severity: Severity, collector: Collector, text: str) -> Event:
        now = self._clock.now()
        about = Entity.of(source=collector.source.name)
        return Event(now, now, collector.source.layer, "source", severity, about, sanitize(text), self._source.name)

    def _reason(self) -> str:
        shut = [f"{one.kind} (process {one.pid}): {one.why}" for one in self.sight.unreached]
        return reason(shut)


def place_of(urls: Iterable[str]) -> frozenset[tuple[str, int]]:
    """Return the hosts and ports of addresses, all names of this machine's loopback being one."""
    return frozenset(place(url) for url in urls if url)


def place(url: str) -> tuple[str, int]:
    """Return host and port of an address, all names of this machine's loopback being one; no host for none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", 0
    return "127.0.0.1" if host in ("localhost", "::1") or host.startswith("127.") else host, port
