"""A real LiteLLM's books as the managed side of what is spent: what is served here is not paid for twice."""

import pytest

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Fact, Health, Tick
from aistack_top.state import State
from tests.fakes.pages import collected, page

PAGES = [page(f"litellm-1.102.0/litellm-metrics-t{moment}.prom.gz") for moment in ("004", "048", "086")]
ENGINE = Entity.of(engine="vllm-8000")

# USD a minute by hand, of the last two pages
SQL_LORA, TINY_LLAMA = 0.029162 - 0.015249, 0.091713 - 0.046020


async def spent(*facts):
    """Return the state after a minute between two pages of the proxy."""
    batches = await collected("litellm", PAGES, step=60.0)
    state, start = State(), batches[0].at
    known = Batch(start, start, Health("vllm-8000", "vllm", "serving", "ok"), facts=facts)
    state.apply(Tick(start, start, (known,)))
    for batch in batches:
        state.apply(Tick(batch.at, batch.seen, (batch,)))
    end = batches[-1].at + 15
    state.apply(Tick(end, end))
    return state.frame()


async def test_without_an_engine_here_all_that_the_proxy_paid_is_managed():
    frame = await spent()
    assert frame.read("spend.managed.rate").sample.number == pytest.approx(60 * (SQL_LORA + TINY_LLAMA), rel=1e-4)
    assert frame.read("spend.rate").sample.number == pytest.approx(60 * (SQL_LORA + TINY_LLAMA), rel=1e-4)
    share = frame.read("spend.managed.rate", Entity.of(model="tiny-llama-lab"))
    assert share.sample.number == pytest.approx(60 * TINY_LLAMA, rel=1e-4)


async def test_a_model_that_an_engine_here_serves_is_paid_with_the_node():
    frame = await spent(Fact(ENGINE, "model", "tiny-llama-lab"))
    assert frame.read("spend.managed.rate").sample.number == pytest.approx(60 * SQL_LORA, rel=1e-4)
    frame = await spent(Fact(ENGINE, "model", "tiny-llama-lab"), Fact(ENGINE, "loras", "sql-lora"))
    assert frame.read("spend.managed.rate", SERVICE).sample.number == 0.0
