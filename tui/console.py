"""What all screens of one console share: the state, where one stands in time, and what may be done about that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aistack_top.feed import Feed
from aistack_top.plain import plain
from aistack_top.state import State
from layouts.load import Layout
from tui.cost import OwnCost
from tui.glyphs import Glyphs
from tui.pump import Pump
from tui.view import TimeCursor, View
from tui.widgets.transport import Deck

SAME_S = 0.05
"""Times closer than this are the same moment: sums of steps are not exact."""


@dataclass(slots=True)
class Console:
    """The model behind the screens; it knows no widget but the deck that moves the feed."""

    layout: Layout
    glyphs: Glyphs
    state: State
    pump: Pump
    deck: Deck
    low_bandwidth: bool = False
    node: str = ""
    cursor: TimeCursor = field(default_factory=TimeCursor)
    notes: Sequence[str] = ()
    told: list[str] = field(default_factory=list)
    cost: OwnCost = field(default_factory=OwnCost)
    shows_cost: bool = False

    @property
    def notices(self) -> list[str]:
        """What a person must know: the notes of whoever made the console, which may grow, then what came up here."""
        return [plain(text, 300) for text in (*self.notes, *self.told)]

    @property
    def name(self) -> str:
        """What is watched: the node as the command line calls it, else as the feed does."""
        return self.node or self.deck.title

    def view(self) -> View:
        """Return what is to be seen now."""
        return self.cursor.view(self.state, settled=self.pump.settled)

    def pause(self) -> None:
        """Stop the display where it is, or let it go on."""
        if self.cursor.at is not None or self.deck.held:
            self.newest()
        else:
            self.cursor.hold(self.state.now)
            self.deck.hold()

    def newest(self) -> None:
        """Go back to the newest moment."""
        self.cursor.release()
        self.deck.go()
        if self.deck.newest(self.state.now):
            self.pump.wake()

    def move(self, by_s: float) -> None:
        """Move the time cursor by some seconds."""
        here = self.state.now if self.cursor.at is None else self.cursor.at
        self.go_to(here + by_s)

    def go_to(self, at: float) -> None:
        """Put the time cursor on a time; the feed comes along when the time is not in memory."""
        now = self.state.now
        if now <= 0:
            return
        at_newest = abs(at - now) < SAME_S
        if self.pump.oldest <= at < now and not at_newest:
            self.cursor.put(at, now)
            self.deck.hold()
        elif at_newest and self.deck.held:
            self.cursor.release()
        elif not at_newest and self.deck.seek(at):
            self.cursor.release()
            self.deck.hold()
            self.pump.wake()
        elif at_newest or at > now:
            self.newest()
        else:
            self.cursor.put(self.pump.oldest, now)

    def zoom(self, steps: int) -> None:
        """Show a longer stretch of time, or a shorter one."""
        self.cursor.zoom(steps, self.state.now)


def make(
    feed: Feed,
    layout: Layout,
    glyphs: Glyphs,
    on_news: Callable[[], None],
    on_fault: Callable[[str], None],
    *,
    low_bandwidth: bool = False,
    node: str = "",
    notes: Sequence[str] = (),
) -> Console:
    """Return the console of a feed. ``on_news`` and ``on_fault`` as in `tui.pump.Pump`."""
    state = State()
    pump = Pump(feed, state, on_news, on_fault)
    return Console(layout, glyphs, state, pump, Deck(feed), low_bandwidth, node, notes=notes)
