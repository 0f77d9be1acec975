"""The transport bar: with `tui.model.playback` the only place that asks what the feed can do.

| what it can do | what the bar does |
|---|---|
| live | says LIVE; pausing stops the display, never the collection |
| speeds | says REPLAY; pausing stands the feed still, and it can play faster or slower |
| seekable | a cursor that leaves what is in memory takes the feed along |
"""

from dataclasses import replace

from textual import events

from aistack_top.model.feed import Bounds
from tui.glyphs import Glyphs
from tui.model.playback import Playback
from tui.model.view import View
from tui.widgets.axis import clock, zone
from tui.widgets.cells import CellView, Line, cell, first_that_fits


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
