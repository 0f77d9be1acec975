"""An address without a kind: look at what it serves, then read it as that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import httpx

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Batch
from aistack_top.text.sanitize import sanitize
from collectors.discovery.recognition import LITELLM, gateway_error, is_alive, probe
from collectors.runtime.addresses import without_login
from collectors.runtime.base import Collector, HealthTracker, Paced, Source, SourceError
from collectors.runtime.http import Answer, get
from collectors.runtime.notes import reason

Recognise = Callable[[bytes], bool]
Make = Callable[[], Collector]

UNKNOWN_S = 30.0
"""Between two looks at a server that was not recognised: each look asks for several paths."""

REFUSED_S = 300.0
"""Between two requests for a page that wants a key: servers count and log each as a failed one."""

ALIVE_S = 60.0
"""Between two looks whether a LiteLLM that wants a key still answers, at a path that it does not count."""

COUNTED_S = 3600.0
"""After this time it is asked for its page again although it has not been away: the key may not be wanted any more."""

SAID_CHARS = 400


@dataclass(frozen=True, slots=True)
class HeldError:
    """Why a server is not read, and until when it is not asked again; until ``page_due`` not for its page."""

    error: SourceError
    due: float
    page_due: float = 0.0


class EndpointCollector:
    """Asks ``/metrics`` until it knows the kind of server behind an address, and is that server's collector then.

    The kinds are told apart by what the page holds, never by the port: 8000 alone says nothing. ``url`` is the address
    with its login, which the source's own does not show; ``names`` are the kinds there are. ``note`` is said in the
    health of a server that is read.
    """

    def __init__(
        self,
        source: Source,
        client: httpx.AsyncClient,
        clock: Clock,
        kinds: list[tuple[Recognise, Make]],
        *,
        url: str = "",
        names: Sequence[str] = (),
        note: str = "",
    ) -> None:
        self._note = note
        self._source = source
        self._client = client
        self._clock = clock
        self._kinds = kinds
        self._names = tuple(names)
        self._url = (url or source.address).rstrip("/")
        self._found: Collector | None = None
        self._keeper = HealthTracker(source)
        self._held: HeldError | None = None

    @property
    def source(self) -> Source:
        """The source that is read: name, layer, interval and deadline."""
        return self._found.source if self._found else self._source

    async def collect(self) -> Batch:
        """Read the source once and return readings, events and its health."""
        if self._found is None:
            error = await self._look()
            if error is not None:
                now = self._clock.now()
                return Batch(now, now, self._keeper.failure(now, error))
        assert self._found is not None  # noqa: S101 - `_look` found it or said why not
        batch = await self._found.collect()
        if self._note:
            health = replace(batch.health, reason=reason((batch.health.reason, self._note)))
            return replace(batch, health=health)
        return batch

    def set_pace(self, pace_s: float) -> None:
        """See `collectors.runtime.base.Paced`."""
        found: object = self._found
        if isinstance(found, Paced):
            found.set_pace(pace_s)

    async def aclose(self) -> None:
        """Close the connections and clients of this collector."""
        if self._found is not None:
            await self._found.aclose()

    async def _look(self) -> SourceError | None:
        """Return why the server cannot be read; what was said last, while it is too early to ask again."""
        now, held = self._clock.monotonic(), self._held
        if held is not None and now < held.due:
            return held.error
        self._held = None
        try:
            if held is not None and now < held.page_due and await is_alive(self._client, self._url, self._deadline):
                self._held = replace(held, due=now + ALIVE_S)
                return held.error
            self._found = await self._recognise(now)
        except SourceError as error:
            return error
        return None

    @property
    def _deadline(self) -> float:
        return self._source.deadline_s

    @property
    def _shown(self) -> str:
        return without_login(self._url)

    async def _recognise(self, now: float) -> Collector:
        answer = await get(self._client, f"{self._url}/metrics", deadline_s=self._deadline)
        if answer.status in (401, 403):
            raise await self._refused(answer.status, now)
        if error := gateway_error(answer, f"{self._shown}/metrics"):
            raise error
        for recognise, make in self._kinds if answer.status == 200 else ():
            if recognise(answer.body):
                return make()
        kind, asked = await probe(self._client, self._url, self._deadline)
        told = f"this is {kind.title}: {kind.mend.format(url=self._shown)}" if kind else ""
        error = SourceError("misconfigured", told or self._unknown([_page_said(answer), *asked]))
        self._held = HeldError(error, now + UNKNOWN_S)
        raise error

    async def _refused(self, status: int, now: float) -> SourceError:
        """Return how to fix a page that wants a key, and ask for it rarely from now on."""
        kind, _ = await probe(self._client, self._url, self._deadline, (LITELLM,))
        mend = kind.mend.format(url=self._shown) if kind else "set its kind and token in the configuration"
        who = kind.title if kind else "it"
        said = f"/metrics returned {status}: {who} requires a token; {mend}; see 'aistack-top sources'"
        error = SourceError("unauthorized", sanitize(said, SAID_CHARS))
        pause, page_due = (ALIVE_S, now + COUNTED_S) if kind else (REFUSED_S, 0.0)
        self._held = HeldError(error, now + pause, page_due)
        return error

    def _unknown(self, asked: Sequence[str]) -> str:
        known = f" (known kinds: {', '.join(self._names)})" if self._names else ""
        # what is to be done comes first: a narrow screen cuts the end
        said = f"not recognised at {self._shown}: set kind in the configuration{known}; asked {', '.join(asked)}"
        return sanitize(said, SAID_CHARS)


def _page_said(answer: Answer) -> str:
    if answer.status != 200:
        return f"/metrics ({answer.status})"
    first = next((row for row in answer.body[:4096].splitlines() if row and not row.startswith(b"#")), b"nothing")
    return f"/metrics (begins with '{sanitize(first.decode('utf-8', 'replace'), 60)}')"
