"""The source that ``docs/add-a-source.md`` shows works as it stands there."""

import re
from pathlib import Path
from types import SimpleNamespace

import httpx
import msgspec

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from collectors.config import Secret
from collectors.registry import CollectorContext
from collectors.rest.client import RestClient
from collectors.rest.collector import Findings, RestCollector
from collectors.rest.login import header
from collectors.rest.refusals import Refusals
from collectors.rest.requests import RestRequest
from collectors.runtime.base import Source

DOC = Path(__file__).parents[3] / "docs/add-a-source.md"

# made up, by the names of Qdrant 1.17's REST API
ANSWERS = {
    "/collections": b'{"result": {"collections": [{"name": "books"}, {"name": "notes"}]}, "status": "ok"}',
    "/collections/books": b'{"result": {"status": "green", "points_count": 5000}}',
    "/collections/notes": b'{"result": {"status": "green", "points_count": 528}}',
}


class Result(msgspec.Struct):
    points_count: int


class State(msgspec.Struct):
    result: Result


def source_of(config):
    return Source("qdrant", "qdrant", "data", 10.0, address=config.url)


def parse_names(body):
    return [one["name"] for one in msgspec.json.decode(body)["result"]["collections"]]


async def test_the_source_of_the_page_reads_what_it_says(monkeypatch):
    monkeypatch.setenv("QDRANT_KEY", "s3cret")
    section = DOC.read_text(encoding="utf-8").partition("## A source with a REST API")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {
        "Entity": Entity,
        "CollectorContext": CollectorContext,
        "Findings": Findings,
        "QdrantSource": SimpleNamespace,
        "Refusals": Refusals,
        "RestClient": RestClient,
        "RestCollector": RestCollector,
        "RestRequest": RestRequest,
        "State": State,
        "header": header,
        "parse_names": parse_names,
        "source_of": source_of,
    }
    exec(compile(code, str(DOC), "exec", dont_inherit=True), names)
    asked = []

    def handle(request):
        asked.append((request.method, request.url.path, request.headers["api-key"]))
        body = ANSWERS.get(request.url.path)
        return httpx.Response(200, content=body) if body else httpx.Response(404)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        clock = VirtualClock(0.0)
        config = SimpleNamespace(url="http://qdrant:6333", token=Secret(env="QDRANT_KEY"))
        collector = names["build"](config, CollectorContext(clock, client, b"", "n"))
        whole = await collector.collect()
        monkeypatch.delitem(ANSWERS, "/collections/notes")
        cut = await collector.collect()
    paths = ["/collections/books", "/collections/notes"]
    assert asked == [("GET", path, "s3cret") for path in ("/collections", *paths, *paths)]
    assert list(whole.readings) == [("data.vectors", Entity.of(source="qdrant"), 5528.0)]
    assert (whole.health.status, whole.health.reason) == ("ok", "")
    assert list(cut.readings) == []
    assert cut.health.reason == "the number of vectors is unknown: HTTP 404: needs Qdrant 1.0 or newer"
