"""An address without a kind: look at what it serves, then read it as that."""

from collections.abc import Callable
from dataclasses import replace

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch
from aistack_top.text.sanitize import sanitize
from collectors.runtime.base import Collector, HealthTracker, Paced, Source, SourceError
from collectors.runtime.http import get

LITELLM_ALIVE = "/health/liveliness"
"""A path of LiteLLM that wants no key. It counts a refused /metrics as a failed request of its own, and this not."""

SPARED_RUNS = 9
"""Runs after LiteLLM's refusal in which its metrics are not asked for: one in ten minutes is."""

_LITELLM_WANTS_KEY = (
    'LiteLLM wants a key for /metrics: name it as [[source]] kind = "litellm" with token = { env = "NAME" }'
)

Recognise = Callable[[bytes], bool]
Make = Callable[[], Collector]


class EndpointCollector:
    """Asks ``/metrics`` until it knows the kind of server behind an address, and is that server's collector then.

    The kinds are told apart by what the page holds, never by the port: 8000 alone says nothing. ``note`` is said in the
    health of a server that is read.
    """

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        kinds: list[tuple[Recognise, Make]],
        *,
        note: str = "",
    ) -> None:
        self._note = note
        self._source = source
        self._client = client
        self._clock = clock
        self._kinds = kinds
        self._found: Collector | None = None
        self._keeper = HealthTracker(source)
        self._spared = 0

    @property
    def source(self) -> Source:
        """See `collectors.runtime.base.Collector.source`."""
        return self._found.source if self._found else self._source

    async def collect(self) -> Batch:
        """See `collectors.runtime.base.Collector.collect`."""
        if self._found is None:
            try:
                self._found = await self._recognise()
            except SourceError as error:
                now = self._clock.now()
                return Batch(now, now, self._keeper.failure(now, error))
        batch = await self._found.collect()
        if self._note:
            health = replace(batch.health, reason="; ".join(filter(None, (batch.health.reason, self._note))))
            return replace(batch, health=health)
        return batch

    def set_pace(self, pace_s: float) -> None:
        """See `collectors.runtime.base.Paced`."""
        found: object = self._found
        if isinstance(found, Paced):
            found.set_pace(pace_s)

    async def aclose(self) -> None:
        """See `collectors.runtime.base.Collector.aclose`."""
        if self._found is not None:
            await self._found.aclose()

    async def _recognise(self) -> Collector:
        if self._spared > 0:
            self._spared -= 1
            if await self._is_litellm():
                raise SourceError("unauthorized", _LITELLM_WANTS_KEY)
        base, deadline_s = self._source.address.rstrip("/"), self._source.deadline_s
        answer = await get(self._client, base + "/metrics", deadline_s=deadline_s)
        if answer.status in (401, 403) and await self._is_litellm():
            self._spared = SPARED_RUNS
            raise SourceError("unauthorized", _LITELLM_WANTS_KEY)
        if answer.status in (401, 403):
            raise SourceError(
                "unauthorized", f"/metrics answers {answer.status}: it wants a key; see 'aistack-top sources'"
            )
        if answer.status != 200:
            raise SourceError("misconfigured", f"/metrics answers {answer.status}: is this the server's own address?")
        for recognise, make in self._kinds:
            if recognise(answer.body):
                return make()
        first = next((row for row in answer.body[:4096].splitlines() if row and not row.startswith(b"#")), b"nothing")
        told = sanitize(first.decode("utf-8", "replace"), 60)
        raise SourceError("misconfigured", f"no server this program knows: /metrics begins with '{told}'")

    async def _is_litellm(self) -> bool:
        base, deadline_s = self._source.address.rstrip("/"), self._source.deadline_s
        answer = await get(self._client, base + LITELLM_ALIVE, deadline_s=deadline_s, follow=False)
        return answer.status == 200 and b"alive" in answer.body[:100]
