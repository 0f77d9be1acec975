"""Collects from a source that is a metrics page, out of recorded pages, under virtual time."""

import gzip
from pathlib import Path

import httpx

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch
from collectors.config import configured
from collectors.registry import CollectorContext, build

CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"
START = 1_000_000.0


def page(name: str) -> bytes:
    """Return a recorded page by its path below ``fixtures/captures``."""
    path = CAPTURES / name
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


TEXT = "text/plain; version=0.0.4"


async def collected(
    kind: str, pages: list[bytes], step: float = 5.0, content_type: str = TEXT, **config: object
) -> list[Batch]:
    """Return what the collector of a kind makes of pages that are ``step`` seconds apart."""
    left = list(pages)

    def handle(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/metrics"):
            return httpx.Response(404)
        return httpx.Response(200, headers={"content-type": content_type}, content=left.pop(0))

    clock, batches = VirtualClock(START), []
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        tools = CollectorContext(clock, client, b"salt", "node")
        collector = build(configured(kind, url="http://server:1", name="s", **config), tools)
        with clock.participant():
            for number in range(len(pages)):
                await clock.sleep_until(START + number * step)
                batches.append(await collector.collect())
    return batches


def of(batch: Batch, signal: str, **keys: str):
    """Return what a batch says of a signal, of the source itself or with further keys."""
    entity = Entity.of(source="s", **keys)
    return next((value for name, who, value in batch.readings if (name, who) == (signal, entity)), None)
