"""Where the feed is moved: paused, taken to another time, played faster or slower, as far as it can be."""

from collections.abc import Sequence
from pathlib import Path

from aistack_top.model.feed import Bounds, Feed, HasRecording, KeepsMarks, KnowsIncidents
from aistack_top.model.tick import Mark
from aistack_top.text.sanitize import sanitize

MAX_SPEED, MIN_SPEED = 1000.0, 0.125
BEHIND_S = 10.0
"""A live feed further from its end than this was taken back; nearer, it only waits for its slowest source."""


class Playback:
    """Moves the feed, as far as it can be moved. One for all screens."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._held: float | None = None

    @property
    def bounds(self) -> Bounds:
        """What the feed covers and can do."""
        return self._feed.bounds()

    @property
    def title(self) -> str:
        """What the feed is about: the node, or the session."""
        return sanitize(self.bounds.title, 60)

    @property
    def speed(self) -> float:
        """How fast the feed plays, or will when it goes on."""
        return self._held if self._held is not None else self.bounds.speed

    @property
    def paused(self) -> bool:
        """Whether the feed was made to stand still."""
        return self._held is not None

    async def recording(self) -> Path | None:
        """Return the session behind the feed; None where nothing is recorded."""
        feed: object = self._feed
        return await feed.recording() if isinstance(feed, HasRecording) else None

    async def incident_times(self) -> Sequence[float]:
        """Return when causes of incidents were told, also of those not played yet, as far as the feed knows."""
        feed: object = self._feed
        return await feed.incident_times() if isinstance(feed, KnowsIncidents) else ()

    def pause(self) -> None:
        """Make a feed that can be played stand still; a live one goes on."""
        bounds = self.bounds
        if bounds.speeds and self._held is None:
            self._held = bounds.speed or 1.0
            self._feed.set_speed(0.0)

    def resume(self) -> None:
        """Let the feed run on as fast as before."""
        if self._held is not None:
            self._feed.set_speed(self._held)
            self._held = None

    def newest(self, now: float) -> bool:
        """Take a live feed that was taken back to its end; return whether it had to be moved from ``now``."""
        bounds = self.bounds
        if bounds.live and bounds.seekable and bounds.end - now > BEHIND_S:
            self._feed.seek(bounds.end)
            return True
        return False

    def seek(self, at: float) -> bool:
        """Take the feed to a time, as near as it reaches; return False if it cannot."""
        bounds = self.bounds
        if not bounds.seekable:
            return False
        self._feed.seek(min(max(at, bounds.start), bounds.end))
        return True

    def keep(self, mark: Mark) -> bool:
        """Keep what a person noted, where the feed is recorded; return False if it is not."""
        return isinstance(self._feed, KeepsMarks) and self._feed.keep(mark)

    def play_at(self, factor: float) -> bool:
        """Play faster or slower by a factor; return False if the feed has one speed only."""
        bounds = self.bounds
        if not bounds.speeds:
            return False
        speed = min(max((self._held or bounds.speed or 1.0) * factor, MIN_SPEED), MAX_SPEED)
        if self._held is None:
            self._feed.set_speed(speed)
        else:
            self._held = speed
        return True
