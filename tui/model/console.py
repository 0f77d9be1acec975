"""What all screens of one console share: the state, where one stands in time, and what may be done about that."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aistack_top.model.feed import Feed
from aistack_top.model.incident import Incident
from aistack_top.model.tick import Call, Mark
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize
from layouts.load import Layout
from tui.glyphs import Glyphs
from tui.model.own_cost import OwnCost
from tui.model.playback import Playback
from tui.model.pump import TickLoop
from tui.model.view import TimeCursor, View

SAME_S = 0.05
"""Times closer than this are the same moment: sums of steps are not exact."""


TextOf = Callable[[Call], Awaitable[tuple[str, str]]]
"""Fetches what went into one call and what came out of it; raises an error whose text says what went wrong."""


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """What the command line and the configuration ask of a console.

    ``low_bandwidth`` drops histories and repaints every 12 s; keys are answered at once. ``node`` is what is watched,
    if the feed's own title is not to be used. ``runbooks`` are the site's own pages, by the cause they are about;
    ``text_of`` fetches the text of one call. ``keymap`` binds other keys to binding ids, as Textual does.
    ``evidence`` is the folder that evidence is written into, ``colours`` the theme to begin with. ``notices`` are
    sentences about the configuration that a person must know.
    """

    low_bandwidth: bool = False
    ascii_only: bool = False
    node: str = ""
    runbooks: Mapping[str, str] = field(default_factory=dict)
    text_of: TextOf | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)
    evidence: Path = Path()
    colours: str = ""
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class Console:
    """The model behind the screens; it knows no widget. ``keeping`` says that evidence is being written."""

    layout: Layout
    glyphs: Glyphs
    state: State
    pump: TickLoop
    deck: Playback
    options: ConsoleOptions = ConsoleOptions()
    cursor: TimeCursor = field(default_factory=TimeCursor)
    told: list[str] = field(default_factory=list)
    cost: OwnCost = field(default_factory=OwnCost)
    shows_cost: bool = False
    author: str = ""
    keeping: bool = False

    @property
    def notices(self) -> list[str]:
        """What a person must know: what holds about the feed, then about the configuration, then what came up here."""
        return [sanitize(text, 300) for text in (*self.state.notices, *self.options.notices, *self.told)]

    @property
    def runbooks(self) -> Mapping[str, str]:
        """The site's own pages, by the cause they are about."""
        return self.options.runbooks

    @property
    def name(self) -> str:
        """What is watched: the node as the command line calls it, else as the feed does."""
        return sanitize(self.options.node, 60) or self.deck.title

    def view(self) -> View:
        """Return what is to be seen now."""
        return self.cursor.view(self.state, settled=self.pump.settled)

    def pause(self) -> None:
        """Stop the display where it is, or let it go on."""
        if self.cursor.at is not None or self.deck.paused:
            self.newest()
        else:
            self.cursor.stay_at(self.state.now)
            self.deck.pause()

    def newest(self) -> None:
        """Go back to the newest moment."""
        self.cursor.release()
        self.deck.resume()
        if self.deck.newest(self.state.now):
            self.pump.wake()

    def move(self, by_s: float) -> None:
        """Move the time cursor by some seconds."""
        self.go_to(self._here() + by_s)

    def go_to(self, at: float) -> None:
        """Put the time cursor on a time; the feed comes along when the time is not in memory."""
        now = self.state.now
        if now <= 0:
            return
        at_newest = abs(at - now) < SAME_S
        if self.pump.oldest <= at < now and not at_newest:
            self.cursor.put(at, now)
            self.deck.pause()
        elif at_newest and self.deck.paused:
            self.cursor.release()
        elif not at_newest and self.deck.seek(at):
            self.cursor.release()
            self.deck.pause()
            self.pump.wake()
        elif at_newest or at > now:
            self.newest()
        else:
            self.cursor.put(self.pump.oldest, now)

    def mark(self, text: str) -> bool:
        """Note something about the moment shown; return whether it is kept with a recording."""
        return self._note(Mark(self._here(), self.state.now, text, self.author or user()))

    def dismiss(self, incident: Incident, reason: str) -> bool:
        """Say that an incident is none, and why; return whether that is kept with a recording."""
        now = self.state.now
        self.state.incidents.add([replace(incident, dismissed=True, revised=max(now, incident.revised + 1e-3))])
        return self._note(Mark(self._here(), now, reason, self.author or user(), "dismissed", incident.id))

    def zoom(self, steps: int) -> None:
        """Show a longer stretch of time, or a shorter one."""
        self.cursor.zoom(steps, self.state.now)

    def _here(self) -> float:
        return self.state.now if self.cursor.at is None else self.cursor.at

    def _note(self, mark: Mark) -> bool:
        self.state.note(mark)
        return self.deck.keep(mark)


def user() -> str:
    """Return who sits here, as the system calls them; empty where it does not say."""
    import getpass

    try:
        return sanitize(getpass.getuser(), 40)
    except (OSError, KeyError):
        return ""


def make(
    feed: Feed,
    layout: Layout,
    options: ConsoleOptions,
    glyphs: Glyphs,
    on_news: Callable[[], None],
    on_fault: Callable[[str], None],
) -> Console:
    """Return the console of a feed. ``on_news`` and ``on_fault`` as in `tui.model.pump.TickLoop`."""
    state = State()
    return Console(layout, glyphs, state, TickLoop(feed, state, on_news, on_fault), Playback(feed), options)
