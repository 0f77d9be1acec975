"""The text of one call, fetched because a person asked for it."""

import pytest

from aistack_top.measure.clock import WallClock
from aistack_top.model.tick import Call
from collectors.config import LangfuseSource, VllmSource
from collectors.langfuse.api import LangfuseApi
from collectors.langfuse.text import parse, read_text, reader
from collectors.runtime.base import SourceError
from tests.collectors.langfuse.langfuse_helpers import V4, playback, settings
from tests.playback.langfuse import Reply, moment

START = moment("2026-11-23T16:57:12.237Z")
CALL = Call("f456abac3ea42abf", "7b8f1073e8a46281116cb3beabb4f19a", "", "generation", "", START, START + 3.7, 0, 0)
ONE_TRACE = (V4 / "obs-v2-one-trace.json").read_bytes()


def api(reply: Reply):
    play = playback("v4", "2026-11-23T16:58:00Z")
    play.override["/api/public/v2/observations"] = lambda: reply
    return play, LangfuseApi(play.client(), settings(), play.clock)


async def test_the_text_of_one_call_is_asked_for_by_trace_and_time():
    play, server = api(Reply(ONE_TRACE))
    text = await read_text(server, CALL)
    assert text.asked == '[{"role": "user", "content": "synthetic prompt"}]'
    assert text.answered == '{"role": "assistant", "content": "synthetic answer"}'
    path, query = play.requests[-1][:2]
    assert path == "/api/public/v2/observations"
    assert query["traceId"] == CALL.trace
    assert query["fields"] == "core,io"
    assert query["fromStartTime"] == "2026-11-23T16:57:10.237Z"
    assert len(play.requests) == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(b'{"data":[]}'), "no longer has this call"),
        (Reply(b"{}", 404), "no v2 API"),
        (Reply(b"nonsense"), "unexpected response"),
        (Reply(b'{"message":"no"}', 401), "LANGFUSE_SECRET_KEY"),
    ],
)
async def test_what_goes_wrong_is_one_sentence(reply, said):
    _, server = api(reply)
    with pytest.raises(SourceError, match=said):
        await read_text(server, CALL)


def test_a_call_without_text_is_empty_and_not_missing():
    found = parse(b'{"data":[{"id":"a","input":null}]}', "a")
    assert found is not None
    assert (found.asked, found.answered) == ("", "")


def test_without_a_langfuse_server_there_is_no_reader():
    assert reader([VllmSource(url="http://localhost:8000")], WallClock()) is None
    assert reader([LangfuseSource()], WallClock()) is not None
