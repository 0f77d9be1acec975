"""The clock of every HTTP source, by the ``Date`` of its answers."""

from email.utils import formatdate

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.measure.clock import VirtualClock
from collectors.registry import CollectorContext, build
from collectors.registry import kind as kind_named
from collectors.runtime.clock_offset import ClockOffset
from tests.fakes.pages import START, page

PAGES = {"vllm": "vllm-0.33.0-metrics.prom", "dcgm": "simhall-dcgm-healthy.prom"}


async def healths(kind, offset_s, **headers):
    """Return the health of a source whose clock is off, after it was asked for a minute."""
    clock = VirtualClock(START)

    def handle(_):
        date = formatdate(int(clock.now() + offset_s), usegmt=True)
        return httpx.Response(200, headers={"content-type": "text/plain", "date": date, **headers}, content=body)

    body = page(PAGES[kind])
    made = kind_named(kind).config
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        collector = build(made(url="http://server:1", name="s"), CollectorContext(clock, client, b"salt", "node"))
        with clock.participant():
            for number in range(40):
                await clock.sleep_until(START + number * 1.37)
                health = (await collector.collect()).health
    return health


@pytest.mark.parametrize("kind", sorted(PAGES))
@pytest.mark.parametrize("offset_s", [0.0, -90.3, 3600.0])
async def test_the_clock_of_a_page_is_in_its_health(kind, offset_s):
    health = await healths(kind, offset_s)
    assert health.status == "ok"
    assert abs(health.clock_offset_s - offset_s) <= health.clock_uncertainty_s
    assert health.clock_uncertainty_s < 0.1, "many answers narrow it down"


async def test_an_answer_out_of_a_cache_tells_no_clock():
    assert (await healths("dcgm", -90.0, age="30")).clock_offset_s is None


@settings(derandomize=True, deadline=None)
@given(st.floats(-1e4, 1e4), st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 5.0)), min_size=1, max_size=20))
def test_the_offset_lies_within_what_is_told_of_it(offset_s, asked):
    offset, now = ClockOffset(), 1_700_000_000.0
    for pause, took in asked:
        now += pause
        offset.observe(now, now + took, formatdate(int(now + took / 2 + offset_s), usegmt=True))
        assert abs(offset.value - offset_s) <= offset.uncertainty + 1e-6
        now += took
