"""The text of one call, when a person asks for that one: shown, and kept nowhere.

This is the only place that asks Langfuse for ``io``. The request names the trace and a time around the call, so that
the server neither scans nor sends more than the spans of that trace.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from aistack_top.measure.clock import Clock
from aistack_top.model.tick import Call
from collectors.config import AnySource, LangfuseSource
from collectors.langfuse.api import OBSERVATIONS, LangfuseApi
from collectors.langfuse.polling import iso
from collectors.langfuse.settings import LangfuseSettings, key_name
from collectors.runtime.base import SourceError

AROUND_S = 2.0
"""Times are cut to milliseconds, and a start is not always in the row it is filtered by: some seconds to be safe."""

MAX_SPANS = 100
MAX_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class CallText:
    """What went in and what came out, as the application sent it: any text at all."""

    asked: str
    answered: str


Reader = Callable[[Call], Awaitable[CallText]]


async def read_text(api: LangfuseApi, call: Call) -> CallText:
    """Return the text of a call.

    Raises:
        SourceError: no usable answer, or this server does not know the call.

    """
    params = {
        "traceId": call.trace,
        "fields": "core,io",
        "fromStartTime": iso(call.start - AROUND_S),
        "toStartTime": iso(call.end + AROUND_S),
        "limit": str(MAX_SPANS),
    }
    answer = await api.fetch(OBSERVATIONS, params, optional=True, largest=MAX_BYTES)
    if answer.status == 404:
        raise SourceError("misconfigured", "this server has no v2 API, which is needed for the text of one call")
    if answer.status != 200:
        raise api.refusal(answer)
    found = parse(answer.body, call.id)
    if found is None:
        raise SourceError("ok", "Langfuse no longer has this call, or has no text for it")
    return found


def parse(body: bytes, name: str) -> CallText | None:
    """Return the text of the row with an id; None where it is not there.

    Raises:
        SourceError: the answer is no list of observations.

    """
    try:
        rows = msgspec.json.decode(body, type=_Answer).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise SourceError("slow", "unexpected response from Langfuse") from None
    return next((CallText(row.input or "", row.output or "") for row in rows if row.id == name), None)


def reader(found: Sequence[AnySource], clock: Clock) -> Reader | None:
    """Return what reads texts from the Langfuse servers among some sources; None where there is none.

    Keys are read when the first text is asked for, not before.
    """
    servers = [source for source in found if isinstance(source, LangfuseSource)]
    if not servers:
        return None

    async def read(call: Call) -> CallText:
        from collectors.runtime.client import client

        refused: SourceError | None = None
        async with client() as http:
            for server in servers:
                settings = LangfuseSettings(
                    server.url,
                    server.public_key.read("public_key"),
                    server.secret_key.read("secret_key"),
                    server.plan,
                    key_names=(key_name(server.public_key), key_name(server.secret_key)),
                )
                try:
                    return await read_text(LangfuseApi(http, settings, clock), call)
                except SourceError as error:
                    refused = error
        raise refused or SourceError("down", "no Langfuse server is configured")

    return read


class _Row(msgspec.Struct):
    id: str
    input: str | None = None
    output: str | None = None


class _Answer(msgspec.Struct):
    data: list[_Row]
