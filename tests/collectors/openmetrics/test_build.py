"""Sources that are a page and a table: each is one line here, beside its table, its fixture and its registry line."""

import pytest

from collectors.openmetrics.build import page_matcher, table
from collectors.openmetrics.table import load
from collectors.registry import KINDS, RAY
from collectors.registry import page_matcher as of_kind
from tests.fakes.pages import CAPTURES, collected, page

PAGES = [
    ("dcgm", "simhall-dcgm-healthy.prom"),
    ("dcgm", "simhall-dcgm-gpu-missing.prom"),
    ("ray", "ray-2.60.0/idle__metrics_agent.prom.gz"),
    ("ray", "ray-2.60.0/during__metrics_agent.prom.gz"),
    ("ray", "ray-2.60.0/during__metrics_target2.prom"),
    ("milvus", "milvus-2.3.5/idle__metrics.gz"),
    ("milvus", "milvus-2.3.5/search1__metrics.gz"),
    ("litellm", "litellm-1.102.0/litellm-metrics-t048.prom.gz"),
    ("nemo", "nemoguardrails-0.24.1/iorails__otel_exporter.prom.gz"),
]


@pytest.mark.parametrize(("kind", "name"), PAGES)
async def test_a_recorded_page_is_read_without_a_word_of_complaint(kind, name):
    first, second = await collected(kind, [page(name)] * 2)
    assert (first.health.status, second.health.reason) == ("ok", "")
    assert len(second.readings) > 0
    assert second.events == ()


def test_the_pages_of_all_kinds_are_told_apart():
    known = [(kind.name, of_kind(kind)) for kind in KINDS if kind.local]
    pages = [*PAGES, *(("vllm", path.name) for path in sorted(CAPTURES.glob("vllm-*-metrics.prom")))]
    assert len(pages) > len(PAGES)
    for kind, name in pages:
        assert [other for other, knows in known if knows(page(name))] == [kind], name


def test_a_node_running_ray_is_known_by_its_agent():
    import re

    line = b"/py/bin/python\0-u\0/py/lib/python3.11/site-packages/ray/dashboard/agent.py\0--metrics-export-port=8085\0"
    assert re.search(RAY.process, line.decode())


async def test_a_page_is_asked_with_its_token_and_at_its_own_path(monkeypatch):
    monkeypatch.setenv("KEY", "secret")
    from collectors.config import parse

    source = parse('[[source]]\nkind = "ray"\nurl = "http://r/metrics/"\ntoken = { env = "KEY" }\n').source[0]
    import httpx

    from aistack_top.measure.clock import VirtualClock
    from collectors.openmetrics.build import build
    from collectors.registry import CollectorContext

    asked = []

    def handle(request):
        asked.append((str(request.url), request.headers["authorization"]))
        return httpx.Response(401)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        batch = await build(source, CollectorContext(VirtualClock(0.0), client, b"", "n")).collect()
    assert asked == [("http://r/metrics", "Bearer secret")]
    assert (batch.health.status, batch.health.interval_s) == ("unauthorized", 15.0)


def test_every_table_is_sound_and_says_where_to_look_instead():
    for layer, name in (("training", "ray"), ("data", "milvus")):
        assert table(layer, name).hint
        assert not page_matcher(layer, name)(b"node_load1 1\n")
    with pytest.raises(ValueError, match="no such signal"):
        load('title = "x"\nidentity = []\nentity = {}\n[[metric]]\nsignal = "data.x"\nnames = ["a"]\ncombine = "one"\n')
