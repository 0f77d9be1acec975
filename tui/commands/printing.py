"""A feed collected for some seconds, and its newest moment printed: what there is without a screen."""

from aistack_top import snapshot
from aistack_top.model.feed import Feed
from aistack_top.state import State
from tui.commands import output


async def collect(feed: Feed, settle: float, start: float | None = None) -> State:
    """Return the state after ``settle`` seconds of a feed, or after its end if that comes first.

    ``start`` is the time from which they count; its first tick, if that is left out.
    """
    state = State()
    stream = feed.ticks()
    try:
        async for tick in stream:
            state.apply(tick)
            start = tick.at if start is None else start
            if tick.at - start >= settle:
                break
    finally:
        await feed.aclose()
    return state


def show(state: State, node: str, as_json: bool) -> int:
    """Print the snapshot of a state's newest moment and return the exit code."""
    frame = state.frame()
    if as_json:
        output.write_json(snapshot.document(frame, node))
    else:
        output.write(snapshot.text(frame, node))
    return snapshot.exit_code(frame)
