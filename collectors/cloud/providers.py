"""The three clouds: how this machine tells which it is on, and how each one's metadata service is asked.

| cloud | known by (``/sys/class/dmi/id``) | asked with |
|---|---|---|
| AWS | ``sys_vendor`` Amazon EC2; on older machines ``bios_version`` with "amazon" | a session's token, where wanted |
| GCP | ``product_name`` Google Compute Engine | the header ``Metadata-Flavor: Google`` |
| Azure | ``chassis_asset_tag`` of Azure: its vendor's name is that of Hyper-V too | the header ``Metadata: true`` |

All three answer at one link-local address, so whoever answers must first show that it is the cloud that was asked
for: a stranger's 404 would otherwise read as "no notice".
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.text.sanitize import sanitize
from collectors.cloud import notices
from collectors.cloud.notices import ParsedNotices
from collectors.procfs.cgroup import read_file
from collectors.runtime.base import SourceError
from collectors.runtime.http import Answer, get, token

ADDRESS = "http://169.254.169.254"
"""Where each of them answers, and nobody else: link-local, no name to look up, never through a proxy."""

MAX_BYTES = 256 * 1024
TOKEN_S = 3600
RENEW_S = 60.0
"""Before its end a token is not used any more."""

AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
"""Of the chassis of every Azure machine, by which cloud-init knows it too."""

AZURE_FIRST_S = 150.0
"""The first question for scheduled events switches them on, and its answer can take Azure two minutes."""

_TYPE = re.compile(r"[a-z][a-z0-9-]{0,40}\.[a-z0-9-]{1,40}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,60}")
_TOKEN = re.compile(rb"[A-Za-z0-9+/=_.~-]{1,1024}")


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance is: its kind of machine, and ``on-demand``, ``spot`` ... where the cloud tells.

    ``name`` is the machine's own among those of its set.
    """

    kind: str
    life_cycle: str = ""
    name: str = ""


Questions = Sequence[tuple[str, Callable[[], Awaitable[ParsedNotices]]]]
"""What is asked for, and how. What stands under one name stands until its answer says otherwise."""


class Cloud(Protocol):
    """A cloud's metadata service. Both raise `SourceError` for whatever is no honest answer of this cloud."""

    label: str

    async def who(self) -> Instance:
        """Return what this instance is, which also shows that it is this cloud that answers."""
        ...

    def questions(self) -> Questions:
        """Return what is asked at each run."""
        ...

    def close(self) -> None:
        """Let go of a question that is still open."""
        ...


def found(sys_root: Path = Path("/sys")) -> str:
    """Return which cloud this machine says that it is in: ``aws``, ``gcp``, ``azure``, or nothing. Asks nobody."""

    def says(name: str) -> str:
        return (read_file(sys_root / "class/dmi/id" / name) or b"").decode("utf-8", "replace").strip()

    if says("sys_vendor") == "Amazon EC2" or "amazon" in says("bios_version").lower():
        return "aws"
    if says("product_name") == "Google Compute Engine":
        return "gcp"
    return "azure" if says("chassis_asset_tag") == AZURE_TAG else ""


class MetadataService:
    """A metadata service: bounded, unredirected GET requests below one address."""

    def __init__(self, client: httpx.AsyncClient, base: str, timeout_s: float) -> None:
        self.client, self.base, self.timeout_s = client, base.rstrip("/"), timeout_s

    async def ask(
        self,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        *,
        accepted: tuple[int, ...] = (),
        deadline_s: float | None = None,
    ) -> Answer:
        """Return an answer that is one: 200, or an ``accepted`` status.

        Raises:
            SourceError: anything else, in words.

        """
        answer = await get(
            self.client,
            self.base + path,
            params=params,
            headers=headers,
            deadline_s=deadline_s or self.timeout_s,
            largest=MAX_BYTES,
            follow=False,
        )
        status = answer.status
        if status == 200 or status in accepted:
            return answer
        if 300 <= status < 400:
            said = f"HTTP {status}, a redirect: a proxy or portal is in front of the metadata service"
            raise SourceError("misconfigured", said)
        if status in (401, 403):
            raise SourceError("unauthorized", f"HTTP {status}: instance metadata is closed to this process")
        if status == 429:
            raise SourceError("slow", "HTTP 429: too many requests to the metadata service")
        if status >= 500:
            raise SourceError("down", f"HTTP {status}")
        raise SourceError("misconfigured", f"HTTP {status} to {sanitize(path, 80)}: is this the right cloud?")


class Aws:
    """EC2: 404 is "none". Where a session's token is wanted (IMDSv2) one is fetched, and kept in memory only."""

    label = "AWS"

    def __init__(self, service: MetadataService, clock: Clock) -> None:
        self._service, self._clock = service, clock
        self._headers: dict[str, str] = {}
        self._until = 0.0

    async def who(self) -> Instance:
        """Identify the instance, and with it the cloud."""
        kind = _line((await self._get("instance-type", ())).body)
        if not _TYPE.fullmatch(kind):
            raise SourceError("misconfigured", "this is not AWS's metadata service: no instance type")
        life = _line((await self._get("instance-life-cycle")).body)
        return Instance(kind, life if _WORD.fullmatch(life) else "")

    def questions(self) -> Questions:
        """Return the requests of one run."""

        def ask(path: str, read: Callable[[bytes], ParsedNotices]) -> Callable[[], Awaitable[ParsedNotices]]:
            async def told() -> ParsedNotices:
                answer = await self._get(path)
                return ParsedNotices() if answer.status == 404 else read(answer.body)

            return told

        return (
            ("spot notices", ask("spot/instance-action", notices.aws_action)),
            ("rebalance", ask("events/recommendations/rebalance", notices.aws_rebalance)),
            ("maintenance", ask("events/maintenance/scheduled", notices.aws_maintenance)),
        )

    def close(self) -> None:
        """Cancel a request in progress, if any."""

    async def _get(self, path: str, accepted: tuple[int, ...] = (404,)) -> Answer:
        if self._headers and self._clock.monotonic() >= self._until:
            await self._renew()
        path = f"/latest/meta-data/{path}"
        answer = await self._service.ask(path, self._headers, accepted=(401, *accepted))
        if answer.status == 401:
            await self._renew()
            answer = await self._service.ask(path, self._headers, accepted=accepted)
        return answer

    async def _renew(self) -> None:
        """Fetch a token. It stands in a header of ours and nowhere else: no message ever quotes it."""
        service = self._service
        self._headers = {}
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
        url = f"{service.base}/latest/api/token"
        try:
            answer = await token(service.client, url, headers=wanted, deadline_s=service.timeout_s)
        except SourceError as error:
            if error.status != "slow":
                raise
            said = "requires a session token (IMDSv2), whose response is lost: in a container, raise the hop limit"
            raise SourceError("unauthorized", said) from None
        if answer.status != 200 or not _TOKEN.fullmatch(answer.body):
            raise SourceError(
                "unauthorized", f"requires a session token (IMDSv2) but returns none: HTTP {answer.status}"
            )
        self._headers = {"X-aws-ec2-metadata-token": answer.body.decode("ascii")}
        self._until = self._clock.monotonic() + TOKEN_S - RENEW_S


class Gcp:
    """Compute Engine: one word a path, and every answer says that it is Google's."""

    label = "GCP"

    def __init__(self, service: MetadataService, clock: Clock) -> None:
        self._service = service

    async def who(self) -> Instance:
        """Identify the instance, and with it the cloud."""
        kind = _line(await self._get("machine-type")).rpartition("/")[2]
        if not _WORD.fullmatch(kind):
            raise SourceError("misconfigured", "this is not Google's metadata service: no machine type")
        word = _line(await self._get("scheduling/preemptible"))
        return Instance(kind, {"TRUE": "spot", "FALSE": "on-demand"}.get(word, ""))

    def questions(self) -> Questions:
        """Return the requests of one run."""

        async def preempted() -> ParsedNotices:
            return notices.gcp_preempted(await self._get("preempted"))

        async def maintenance() -> ParsedNotices:
            return notices.gcp_maintenance(await self._get("maintenance-event"))

        return (("spot notices", preempted), ("maintenance", maintenance))

    def close(self) -> None:
        """Cancel a request in progress, if any."""

    async def _get(self, path: str) -> bytes:
        told = {"Metadata-Flavor": "Google"}
        answer = await self._service.ask(f"/computeMetadata/v1/instance/{path}", told)
        if answer.headers.get("metadata-flavor", "") != "Google":
            raise SourceError("misconfigured", "this is not Google's metadata service: no Metadata-Flavor header")
        return answer.body


class _Compute(msgspec.Struct):
    vmSize: str  # noqa: N815 - Azure's name
    name: str = ""
    priority: str = ""


class Azure:
    """Azure: one document of events, GET only: a POST there would agree to an event and let it begin."""

    label = "Azure"

    def __init__(self, service: MetadataService, clock: Clock) -> None:
        self._service = service
        self._name = ""
        self._first: asyncio.Task[Answer] | None = None
        self._enabled = False

    async def who(self) -> Instance:
        """Identify the instance, and with it the cloud."""
        answer = await self._ask("/metadata/instance/compute", "2021-02-01", format="json")
        try:
            told = msgspec.json.decode(answer.body, type=_Compute)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = _Compute("")
        kind = sanitize(told.vmSize, 60)
        if not _WORD.fullmatch(kind):
            raise SourceError("misconfigured", "this is not Azure's metadata service: no machine size")
        self._name = told.name
        life = {"spot": "spot", "low": "spot", "regular": "on-demand"}.get(told.priority.lower(), "")
        return Instance(kind, life, told.name)

    def questions(self) -> Questions:
        """Return the requests of one run."""
        return (("scheduled events", self._events),)

    def close(self) -> None:
        """Cancel a request in progress, if any."""
        if self._first is not None:
            self._first.cancel()

    async def _events(self) -> ParsedNotices:
        answer = await (self._soon() if self._enabled else self._at_first())
        told = notices.azure_events(answer.body, self._name)
        self._enabled = True
        return told

    async def _at_first(self) -> Answer:
        """Wait for the first answer as long as it takes, and tell meanwhile that it does."""
        if self._first is None:
            self._first = asyncio.ensure_future(self._soon(AZURE_FIRST_S))
        done, _ = await asyncio.wait({self._first}, timeout=self._service.timeout_s)
        if not done:
            raise SourceError("slow", "Azure switches scheduled events on; its first answer can take two minutes")
        task, self._first = self._first, None
        return task.result()

    async def _soon(self, deadline_s: float | None = None) -> Answer:
        return await self._ask("/metadata/scheduledevents", "2020-07-01", deadline_s)

    async def _ask(self, path: str, version: str, deadline_s: float | None = None, **more: str) -> Answer:
        params = {"api-version": version, **more}
        return await self._service.ask(path, {"Metadata": "true"}, params, deadline_s=deadline_s)


CLOUDS: Mapping[str, Callable[[MetadataService, Clock], Cloud]] = {"aws": Aws, "gcp": Gcp, "azure": Azure}
"""By what the configuration calls them."""


def _line(body: bytes) -> str:
    return sanitize(body[:200].decode("utf-8", "replace").strip(), 100)
