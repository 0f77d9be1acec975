"""Work that takes longer than a frame, on a daemon thread: neither the screen nor the exit waits for a disk."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


async def on_thread(work: Callable[[], _Result]) -> _Result:
    """Return what a function returns, or raise what it raises, without holding up the loop.

    An executor's threads are waited for at the exit of the interpreter; these are not.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # None only where the work returns it

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # handed over to whoever waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="session", daemon=True).start()
    return await future
