"""Fetches, parses and assembles what a job queue says of itself."""

import msgspec

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, ReadingsBuilder
from aistack_top.text.sanitize import sanitize
from aistack_top_jobqueue import JobQueueSource
from collectors.registry import CollectorContext, source_of
from collectors.runtime.base import HealthTracker, Source, SourceError
from collectors.runtime.http import get


class _Queue(msgspec.Struct):
    name: str
    active: int


class _Stats(msgspec.Struct):
    queues: list[_Queue]


def parse(body: bytes) -> dict[str, int]:
    """Return how many jobs run in each queue.

    Raises:
        SourceError: the answer is something else.

    """
    try:
        return {sanitize(queue.name, 60): queue.active for queue in msgspec.json.decode(body, type=_Stats).queues}
    except msgspec.MsgspecError as error:
        raise SourceError("misconfigured", f"no statistics of a job queue: {sanitize(str(error), 80)}") from None


def build(config: JobQueueSource, tools: CollectorContext) -> "JobQueueCollector":
    """Return the collector of a configured queue."""
    return JobQueueCollector(source_of(config), config.url, tools)


class JobQueueCollector:
    """Reads one job queue; see `collectors.runtime.base.Collector`."""

    def __init__(self, source: Source, url: str, tools: CollectorContext) -> None:
        self.source = source
        self._url = url.rstrip("/") + "/stats"
        self._tools = tools
        self._keeper = HealthTracker(source)

    async def collect(self) -> Batch:
        """Return what the queue says now. What the server did wrong is in the health record, never raised."""
        try:
            answer = await get(self._tools.client, self._url, deadline_s=self.source.deadline_s)
            if answer.status != 200:
                raise SourceError("down" if answer.status >= 500 else "misconfigured", f"answers {answer.status}")
            active = parse(answer.body)
        except SourceError as error:
            now = self._tools.clock.now()
            return Batch(now, now, self._keeper.failure(now, error))
        now = self._tools.clock.now()
        readings = ReadingsBuilder()
        for name, count in active.items():
            readings.add("pipelines.runs.active", Entity.of(job=name), float(count))
        return Batch(now, now, self._keeper.success(now, answer.took_s), readings.build())

    async def aclose(self) -> None:
        """Nothing to let go of: the client belongs to whoever made it."""
