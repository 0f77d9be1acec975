"""Blocking calls that may never return, kept away from the loop and from the exit.

NVML waits for the driver, the driver for the GPU, and a GPU can hang. `asyncio.to_thread` would hold up the end of
the program until such a call came back; the threads here are daemons, which nobody waits for.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class StillHangsError(TimeoutError):
    """An earlier call has not come back, so nothing was asked. ``since_s`` is how many seconds ago it began."""

    def __init__(self, name: str, since_s: float) -> None:
        super().__init__(f"{name}: a call made {since_s:.0f} s ago has not returned")
        self.since_s = since_s


class _Task(Generic[T]):
    """One call on its way: asked, done, or given up by whoever waited."""

    __slots__ = ("_fn", "_future", "asked", "done", "given_up")

    def __init__(self, fn: Callable[[], T], future: "asyncio.Future[T] | None") -> None:
        self._fn = fn
        self._future = future
        self.asked = time.monotonic()
        self.done = False
        self.given_up = False

    def run(self) -> None:
        if self.given_up:
            self.done = True
            return
        try:
            result = self._fn()
        except Exception as raised:  # handed over to whoever waits
            fault = raised
            self._finish(lambda future: future.set_exception(fault))
        else:
            self._finish(lambda future: future.set_result(result))

    def _finish(self, settle: "Callable[[asyncio.Future[T]], None]") -> None:
        self.done = True
        future = self._future
        if future is None or self.given_up:
            return

        def fill() -> None:
            if not future.done():
                settle(future)

        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            future.get_loop().call_soon_threadsafe(fill)


class DaemonCaller:
    """One daemon thread of its own that runs the calls handed to it, one after the other.

    All calls run on the same thread, so what they touch needs no lock. A call that passes its deadline is given
    up: its result is dropped when it comes, and until then further calls fail at once. There is never a second
    thread, so a hung driver costs one thread however long it hangs.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hung: _Task[Any] | None = None

    async def call(self, fn: Callable[[], T], deadline_s: float) -> T:
        """Return what the function returns, or raise what it raises.

        Raises:
            TimeoutError: it did not return within ``deadline_s`` seconds of real time.
            StillHangsError: an earlier one has not returned yet; this one was not begun.

        """
        self._check()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = _Task(fn, future)
        self._hand_over(task)
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        finally:
            # also when the waiter itself was cancelled: the thread is still in there
            if not task.done:
                task.given_up = True
                self._hung = task

    def post(self, fn: Callable[[], object]) -> None:
        """Run a function when the thread is free, and wait for nothing; what it raises is dropped."""
        self._hand_over(_Task(fn, None))

    def close(self) -> None:
        """Let the thread end once it is free; does not wait. The next call would begin a new one."""
        if self._thread is not None:
            self._tasks.put(None)
            self._tasks, self._thread = SimpleQueue(), None

    def _check(self) -> None:
        hung = self._hung
        if hung is not None and not hung.done:
            raise StillHangsError(self._name, time.monotonic() - hung.asked)
        self._hung = None

    def _hand_over(self, task: _Task[Any]) -> None:
        self._tasks.put(task)
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._tasks,), name=self._name, daemon=True)
            self._thread.start()


def _work(tasks: "SimpleQueue[_Task[Any] | None]") -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task  # or the last result would live until the next call
