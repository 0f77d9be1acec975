"""The transport bar: the only place that asks what the feed can do.

| what it can do | what the bar does |
|---|---|
| live | says LIVE; pausing stops the display, never the collection |
| speeds | says REPLAY; pausing stands the feed still, and it can play faster or slower |
| seekable | a cursor that leaves what is in memory takes the feed along |
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from textual import events

from aistack_top.model.feed import Bounds, Feed, HasRecording, KeepsMarks, KnowsIncidents
from aistack_top.model.tick import Mark
from aistack_top.text.sanitize import sanitize
from tui.glyphs import Glyphs
from tui.model.view import View
from tui.widgets.axis import clock, zone
from tui.widgets.cells import CellView, Line, cell, first_that_fits

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


class TransportBar(CellView):
    """Shows where in its feed the screen stands."""

    def __init__(self, deck: Playback, glyphs: Glyphs, *, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(glyphs, id=id)
        self._deck = deck
        self._view: View | None = None

    def on_mount(self) -> None:
        """Take the room that the feed needs."""
        self._fit()

    def on_resize(self, _: events.Resize) -> None:
        """Lay out anew for another width."""
        if self._view is not None:
            self.update_view(self._view)

    def update_view(self, view: View) -> None:
        """Show a moment."""
        self._view = view
        self._fit()
        if self.size.width:
            bounds = replace(self._deck.bounds, speed=self._deck.speed)
            self.show([transport(bounds, view, self._deck.paused, self.size.width, self.glyphs)])

    def _fit(self) -> None:
        # a live feed needs less room for its times, and the path beside them needs it
        self.set_class(self._deck.bounds.live, "-live")


def transport(bounds: Bounds, view: View, held: bool, width: int, glyphs: Glyphs) -> Line:
    """Return the bar as one line, flush right: mode, first time, time shown, last time, zone, speed."""
    frame = view.frame
    paused = held or not frame.follows
    mode = "PAUSED" if paused else "LIVE" if bounds.live else "REPLAY"
    here = f"{clock(frame.at)} {zone(frame.at)}"
    if frame.now <= 0:
        said = "no data yet"
    elif bounds.live:
        behind = f" {round(frame.now - frame.at)} s behind" if paused else ""
        said = first_that_fits([here + behind, here], width - len(mode) - 1)
    else:
        speed = f" {view_speed(bounds)}"
        first, last = clock(bounds.start), clock(bounds.end)
        wordings = [f"{first} <- {here} -> {last}{speed}", f"{first} <- {here} -> {last}", f"{here}{speed}", here]
        said = first_that_fits(wordings, width - len(mode) - 1)
    space = max(width - len(mode) - 1 - len(said), 0)
    style = "alarm" if paused else "mode"
    return (cell("", "text", space), cell(mode, style), cell(" "), cell(glyphs.text(said), "text"))


def view_speed(bounds: Bounds) -> str:
    """Return the speed as ``1x``, ``0.5x``."""
    return f"{bounds.speed:g}x"
