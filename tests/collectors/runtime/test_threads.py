"""Calls on a thread of their own: deadlines, hangs, and an exit that waits for nobody."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from collectors.runtime.threads import DaemonCaller, StillHangsError

ROOT = Path(__file__).parents[3]


async def once_free(caller, answer):
    async with asyncio.timeout(5.0):
        while True:
            try:
                return await caller.call(lambda: answer, 5.0)
            except StillHangsError:
                await asyncio.sleep(0.005)


@pytest.fixture
def caller():
    made = DaemonCaller("test")
    yield made
    made.close()


async def test_a_result_and_an_error_come_back_from_one_daemon_thread(caller):
    first = await caller.call(threading.current_thread, 5.0)
    second = await caller.call(threading.current_thread, 5.0)
    assert first is second
    assert first.daemon
    assert first is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        await caller.call(lambda: 1 / 0, 5.0)


async def test_a_call_past_its_deadline_is_given_up_and_the_next_fails_at_once(caller):
    release, entered = threading.Event(), threading.Event()

    def hang():
        entered.set()
        release.wait(10.0)
        return "late"

    with pytest.raises(TimeoutError):
        await caller.call(hang, 0.05)
    assert entered.is_set()
    begun = []
    with pytest.raises(StillHangsError, match="has not returned") as caught:
        await caller.call(lambda: begun.append(1), 5.0)
    assert caught.value.since_s >= 0.0
    assert begun == []
    release.set()
    assert await once_free(caller, "now") == "now"
    assert begun == []


async def test_a_call_that_was_never_begun_is_not_run_later(caller):
    release, ran = threading.Event(), []
    caller.post(lambda: release.wait(10.0))
    with pytest.raises(TimeoutError):
        await caller.call(lambda: ran.append(1), 0.05)
    release.set()
    assert await once_free(caller, "next") == "next"
    assert ran == []


async def test_a_cancelled_waiter_leaves_the_hang_known(caller):
    release, entered, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def hang():
        loop.call_soon_threadsafe(entered.set)
        release.wait(10.0)

    task = asyncio.create_task(caller.call(hang, 30.0))
    async with asyncio.timeout(5.0):
        await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(StillHangsError):
        await caller.call(lambda: None, 1.0)
    release.set()


async def test_hangs_never_make_a_second_thread(caller):
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await caller.call(lambda: release.wait(10.0), 0.02)
    before = threading.active_count()
    for _ in range(20):
        with pytest.raises(StillHangsError):
            await caller.call(lambda: None, 1.0)
    assert threading.active_count() == before
    release.set()


async def test_a_closed_caller_ends_its_thread():
    caller = DaemonCaller("closing")
    thread = await caller.call(threading.current_thread, 5.0)
    caller.close()
    thread.join(5.0)
    assert not thread.is_alive()


def test_the_exit_does_not_wait_for_a_hanging_call():
    code = """
import asyncio, threading
from collectors.runtime.threads import DaemonCaller
async def main():
    try:
        await DaemonCaller("hung").call(threading.Event().wait, 0.05)
    except TimeoutError:
        print("gave up")
asyncio.run(main())
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout == "gave up\n"
    assert run.stderr == ""
