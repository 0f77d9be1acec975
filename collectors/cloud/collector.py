"""The cloud that this node is rented from: what it says will happen to the instance, by its metadata service.

| module | does |
|---|---|
| `cloud_clouds` | which cloud this is, and how each is asked |
| `cloud_notices` | bytes of answers to notices |

A notice is an event of kind ``notice``, told once: critical where the machine is taken away, a warning where it may be
or is worked on. One that is there no longer is told too, as ``info``. Nothing is asked on a machine whose own firmware
names no cloud, unless the configuration does; nothing is ever written, and Azure's events are never agreed to.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Event, Fact, Severity
from aistack_top.text.timestamps import rfc3339
from collectors.cloud.notices import Notice
from collectors.cloud.providers import ADDRESS, CLOUDS, Cloud, Instance, MetadataService, found
from collectors.host.collector import FactReporter
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.notes import reason

if TYPE_CHECKING:
    from collectors.config import CloudSource
    from collectors.registry import CollectorContext

MAX_BUSY = 0.2
"""A metadata service does no other work: it is asked less often only where it does not answer at all."""

NO_CLOUD = "no cloud detected in this machine's firmware; no metadata service is queried"


class CloudCollector:
    """Reads one cloud's metadata service; ``cloud`` is None where it is not known which that would be."""

    def __init__(self, source: Source, clock: Clock, node: str, cloud: Cloud | None) -> None:
        self._source = source
        self._clock = clock
        self._node = Entity.of(node=node)
        self._cloud = cloud
        self._keeper = HealthTracker(source)
        self._instance: Instance | None = None
        self._standing: dict[str, dict[str, Notice]] = {}
        self._book = FactReporter()

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        began = self._clock.monotonic()
        if self._cloud is None:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, SourceError("misconfigured", NO_CLOUD)))
        try:
            if self._instance is None:
                self._instance = await self._cloud.who()
            told, notes = await self._ask(self._cloud)
        except SourceError as error:
            now = self._clock.now()
            return Batch(now, now, self._keeper.failure(now, error, self._clock.monotonic() - began))
        now = self._clock.now()
        events = tuple(event for what, notices in told.items() for event in self._news(what, notices, now))
        health = self._keeper.success(now, self._clock.monotonic() - began, reason=reason(notes))
        facts = self._book.news(now, self._facts(self._cloud, self._instance))
        return Batch(now, now, health, events=events, facts=facts)

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`; the client belongs to whoever made it."""
        if self._cloud is not None:
            self._cloud.close()

    async def _ask(self, cloud: Cloud) -> tuple[dict[str, dict[str, Notice]], list[str]]:
        """Return what stands, by question, and what could not be read; one that fails costs only itself.

        Raises:
            SourceError: nothing could be read.

        """
        told: dict[str, dict[str, Notice]] = {}
        notes, first = [], None
        for what, ask in cloud.questions():
            try:
                answer = await ask()
            except SourceError as error:
                if not told and error.status in ("slow", "down"):
                    raise  # the others would wait at the same address
                first = first or error
                notes.append(f"{what} could not be read: {error.reason}")
            else:
                told[what] = {notice.key: notice for notice in answer.notices}
                notes += [answer.note] if answer.note else []
        if not told and first is not None:
            raise first
        return told, notes

    def _news(self, what: str, notices: Mapping[str, Notice], now: float) -> list[Event]:
        """Return an event for each notice that is new or has another time, and for each that is no longer there."""
        before = self._standing.get(what, {})
        events, standing = [], {}
        for key, notice in notices.items():
            known = before.get(key)
            standing[key] = notice if known is None or notice.due is not None else replace(notice, due=known.due)
            if known is None or (known.action, known.due) != (notice.action, standing[key].due):
                # a clock that is ahead of ours gives no notice in the future
                at = now if notice.issued is None else min(notice.issued, now)
                events.append(self._event(notice, at, now, notice.severity, notice.text))
        for key, notice in before.items():
            if key not in notices:
                events.append(self._event(notice, now, now, "info", f"no longer: {notice.text}", "gone"))
        self._standing[what] = standing
        return events

    def _event(
        self, notice: Notice, at: float, seen: float, severity: Severity, text: str, state: str = "given"
    ) -> Event:
        due = "" if notice.due is None else rfc3339(notice.due)
        detail = (("action", notice.action), ("due", due), ("notice", notice.by), ("state", state))
        return Event(at, seen, "compute", "notice", severity, self._node, text, self._source.name, detail)

    def _facts(self, cloud: Cloud, instance: Instance) -> list[Fact]:
        known = {"cloud": cloud.label, "instance_type": instance.kind, "instance_life_cycle": instance.life_cycle}
        return [Fact(self._node, key, value) for key, value in known.items() if value]


def build(config: "CloudSource", tools: "CollectorContext") -> CloudCollector:
    """Return the collector of a configured source, of the cloud that it names or that this machine says it is in."""
    from collectors.registry import source_of

    base = config.url or ADDRESS
    # a token, the question again, and one more
    source = source_of(config, deadline_s=4 * config.timeout, most_busy=MAX_BUSY)
    return CloudCollector(
        replace(source, address=source.address or base),
        tools.clock,
        tools.node,
        cloud_of(config.provider or found(), tools.client, tools.clock, base, config.timeout),
    )


def cloud_of(name: str, client: httpx.AsyncClient, clock: Clock, base: str, timeout_s: float) -> Cloud | None:
    """Return the cloud of a name, asked at an address; None for no name."""
    make = CLOUDS.get(name)
    return None if make is None else make(MetadataService(client, base, timeout_s), clock)
