"""Reading ``session.json``, whoever wrote it."""

from math import isfinite

import msgspec

from aistack_top.session.errors import SessionError
from aistack_top.session.format import MAX_TIME, SCHEMA, SessionInfo, SignalInfo
from aistack_top.text.sanitize import sanitize


def decode_info(data: bytes) -> SessionInfo:
    """Return what ``session.json`` says, with its texts made harmless.

    Raises:
        SessionError: it is none of ours, or of a later version of the program.

    """
    schema = _schema(data)
    if schema != SCHEMA:
        if schema.startswith("aistack-top/session/"):
            version = sanitize(schema.rpartition("/")[2], 20)
            msg = f"it has format {version}, and this program knows {SCHEMA.rpartition('/')[2]}: a newer one is needed"
            raise SessionError("cannot read this session", msg)
        raise SessionError("not a session", "session.json was not written by aistack-top")
    try:
        info = msgspec.json.decode(data, type=SessionInfo)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SessionError("not a session", f"session.json: {sanitize(str(error))}") from error
    times = (info.start, info.every_s, info.end or 0.0)
    if not all(isfinite(time) and 0 <= time < MAX_TIME for time in times):
        raise SessionError("not a session", "session.json has a time that is none")
    return msgspec.structs.replace(
        info,
        node=sanitize(info.node),
        program=sanitize(info.program),
        sources=tuple(sanitize(source) for source in info.sources),
        signals=tuple(
            SignalInfo(sanitize(s.name), sanitize(s.unit), sanitize(s.form), sanitize(s.layer)) for s in info.signals
        ),
    )


class _Schema(msgspec.Struct):
    schema: str


def _schema(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_Schema).schema
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SessionError("not a session", f"session.json: {sanitize(str(error))}") from error
