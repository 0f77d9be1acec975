"""The same hour of the day before, out of the recording: what is usual at this time, where there is one long enough."""

from datetime import datetime
from pathlib import Path

from aistack_top.model.tick import Tick
from aistack_top.session.errors import SessionError
from aistack_top.session.history import SessionHistory
from aistack_top.session.reader import Session
from aistack_top.session.threads import on_thread
from aistack_top.state import State

DAY_S = 86_400.0
HALF_S = 1800.0
"""Half an hour before the moment and half an hour after it are the same hour."""


class NoDataError(Exception):
    """Nothing is known of that hour; the text is a sentence for a person."""


async def same_hour(recording: Path | None, at: float) -> State:
    """Return the state at the end of the hour around a time, a day earlier.

    Raises:
        UnknownError: nothing is recorded, or not for so long.

    """
    if recording is None:
        raise NoDataError("no recording to compare with yesterday")
    return await on_thread(lambda: _read(recording, at - DAY_S))


def _read(path: Path, middle: float) -> State:
    try:
        session = Session.open(path)
        first = session.start
        if first > middle + HALF_S or not session.blocks:
            begins = datetime.fromtimestamp(first).astimezone()
            raise NoDataError(f"no data for yesterday: the recording starts at {begins:%H:%M on %Y-%m-%d}")
        past = SessionHistory(session, span_s=2 * HALF_S)
        history = past.before(*past.find(middle + HALF_S))
    except (SessionError, OSError) as error:
        raise NoDataError(f"yesterday cannot be read: {error}") from error
    state = State(spend=False, tenants=False)
    state.apply(Tick(middle + HALF_S, middle + HALF_S, (), history))
    return state
