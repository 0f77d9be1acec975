"""All bad servers at once over real sockets: each is said in words, the sound one is untouched, nothing blocks."""

import asyncio
import contextlib
import time

import httpx

from aistack_top.measure.clock import WallClock
from aistack_top.state import State
from collectors.runtime.base import Source
from collectors.runtime.scheduler import LiveFeed
from collectors.vllm.collector import VllmCollector
from tests.playback import hostile


async def longest_block(stop):
    """Return the most CPU that the loop's thread used between two chances of others, in seconds."""
    longest = 0.0
    while not stop.is_set():
        before = time.thread_time()
        await asyncio.sleep(0.005)
        longest = max(longest, time.thread_time() - before)
    return longest


async def test_every_bad_server_is_said_in_words_and_costs_only_itself():
    port = asyncio.get_running_loop().create_future()

    async def ready(number):
        port.set_result(number)

    server = asyncio.create_task(hostile.serve(0, ready))
    base = f"http://127.0.0.1:{await port}"
    stop, state = asyncio.Event(), State()
    async with httpx.AsyncClient(follow_redirects=True, max_redirects=3) as client:
        # a busy machine may take its time; only those that never answer are to be given up on
        deadlines = {name: 0.8 if name in ("drip", "hang") else 20.0 for name in hostile.PATHS}
        sources = [Source(name, "vllm", "serving", 0.5, most, f"{base}/{name}") for name, most in deadlines.items()]
        feed = LiveFeed([VllmCollector(source, client, WallClock()) for source in sources], WallClock(), tick_s=0.2)
        watch = asyncio.create_task(longest_block(stop))
        stream = feed.ticks()
        async with asyncio.timeout(30):
            async for tick in stream:
                state.apply(tick)
                if len(state.health.newest) == len(sources):
                    break
        stop.set()
        blocked = await watch
        await stream.aclose()
        await feed.aclose()
    server.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await server
    told = {name: health for name, (_, health) in state.health.newest.items()}
    status = {name: health.status for name, health in told.items()}
    assert status["html"] == "misconfigured"
    assert {status[name] for name in ("drip", "hang")} == {"slow"}
    assert {status[name] for name in ("huge", "cut", "loop")} <= {"down", "misconfigured", "slow"}
    assert {status[name] for name in ("nan", "twice")} <= {"ok", "slow"}
    assert status["garbage"] in ("misconfigured", "slow"), "nothing of the page could be read"
    assert status["many"] in ("partial", "slow"), "most of the page was not read"
    assert "1 duplicate series; the last was used" in told["twice"].reason
    assert status["many"] == "slow" or "series beyond the first" in told["many"].reason
    assert all(health.reason.isprintable() for health in told.values())
    frame = state.frame()
    running = {
        e.get("engine"): frame.read("serving.requests.running", e) for e in frame.entities("serving.requests.running")
    }
    assert running["twice"].sample.value == 4.0
    assert frame.entities("serving.requests.waiting") == []
    # CPU of the bad servers too, who live on the same loop; the screen's bar of 0.1 s is measured in bench/
    assert blocked < 1.0
