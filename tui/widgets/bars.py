"""The single lines around the panels: title, source health, notice, keys."""

from collections.abc import Sequence

from rich.cells import cell_len

from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from tui.glyphs import STATUS_SIGNS, Glyphs
from tui.model import health
from tui.model.view import View
from tui.widgets.cells import Cell, CellView, Line, cell, first_that_fits, wrapped

MAX_MESSAGES = 4
MIN_NAME_CELLS = 12
"""A node's name is cut to no fewer cells; a shorter piece says nothing."""


class Bar(CellView):
    """One line of cells."""


class TitleBar(Bar):
    """Program, node, and the path to the screen one is on."""

    def set_title(self, node: str, *path: str) -> None:
        """Show a node's name and a path."""
        wordings = [" › ".join(("aistack-top", *path)), *(" › ".join(path[start:]) for start in range(len(path)))]
        crumbs = first_that_fits(wordings, self.size.width)
        room = self.size.width - cell_len(crumbs) - 3
        parts = [cell(self.glyphs.text(crumbs), "title")]
        shown = sanitize(node, 60)
        if node and room >= min(cell_len(shown), MIN_NAME_CELLS):
            parts += [cell("  "), cell(self.glyphs.text(shown), "label", min(len(shown), room))]
        self.show([tuple(parts)])


class HealthBar(Bar):
    """Every source's status and the age of its data, the worst first."""

    def update_view(self, view: View) -> None:
        """Show a moment."""
        if self.size.width:
            self.show([health_line(view, self.size.width, self.glyphs)])


def health_line(view: View, width: int, glyphs: Glyphs) -> Line:
    """Return the sources as one line; those that do not fit are counted at its end."""
    records = health.by_badness(view.frame.health)
    if not records and not view.settled:
        return (cell("waiting for the first data", "dim"),)
    if not records and not view.frame.follows:
        return (cell(first_that_fits(["the state of the sources at this time is unknown", "not known"], width), "dim"),)
    if not records:
        texts = ["no source: none found or configured; see aistack-top sources", "no source"]
        return (cell(first_that_fits(texts, width), "dim"),)
    shown: list[Cell] = []
    used = 0
    for index, record in enumerate(records):
        cells = _source(record, view, glyphs)
        size = sum(one.width for one in cells)
        left = len(records) - index
        # room is kept for the count of those left out, unless this is the last
        if used + size > width - (0 if left == 1 else 12):
            worst = records[index][1].status
            shown.append(cell(first_that_fits([f"+{left} {worst}", f"+{left}"], width - used), health.STYLES[worst]))
            break
        shown += cells
        used += size
    return tuple(shown)


def _source(record: health.Record, view: View, glyphs: Glyphs) -> list[Cell]:
    state = record[1]
    word = "" if state.status == "ok" else f" {state.status}"
    sign = glyphs.text(STATUS_SIGNS[state.status])
    name = cell(glyphs.text(f"{sign} {sanitize(state.source, 20)} {word.strip() or 'ok'}"), health.STYLES[state.status])
    if not health.knows_age(view.frame, state):
        return [name, cell("  ")]
    age = health.age_s(view.frame, record)
    said = "no data yet" if age is None else numbers.age(age)
    return [name, cell(f" {said:>4}", "dim"), cell("  ")]


class NoticeBar(Bar):
    """What a person must know before reading on; takes no room while there is nothing."""

    def show_notices(self, notices: Sequence[str]) -> None:
        """Show notices, newest last; the newest that fits is seen."""
        self.display = bool(notices)
        if notices:
            text = self.glyphs.text(sanitize(notices[-1], 300))
            more = f"  (+{len(notices) - 1} in the list of changes: c)" if len(notices) > 1 else ""
            self.show([(cell("! ", "alarm"), cell(first_that_fits([text + more, text], self.app.size.width - 2)))])


class MessageBar(Bar):
    """What a key could not do, or did out of sight: above the keys, over nothing, gone after a while or a key."""

    def show_message(self, sentence: str) -> None:
        """Show a sentence, over as many lines as it takes."""
        lines = wrapped(self.glyphs.text(sanitize(sentence, 400)), max(self.app.size.width - 2, 20))[:MAX_MESSAGES]
        self.display = bool(lines)
        self.styles.height = max(len(lines), 1)
        self.show([(cell("▸ " if place == 0 else "  ", "title"), cell(line)) for place, line in enumerate(lines)])


class KeyBar(Bar):
    """What the keys do, and on request what the console itself costs."""

    def hints(self, keys: Sequence[tuple[str, str, str]], cost: Sequence[str] = ()) -> None:
        """Show keys as (key, what it does, action when clicked), as many as fit; the cost stands first."""
        width = self.size.width
        shown: list[Cell] = []
        used = 0
        if cost:
            said = first_that_fits(["  ".join(cost[:end]) for end in range(len(cost), 0, -1)], width - 2)
            shown, used = [cell(said, "value"), cell("  ")], len(said) + 2
        for key, does, action in keys:
            size = len(key) + len(does) + 3
            if used + size > width:
                break
            shown += [cell(key, "key", action=action), cell(f" {does}  ", "dim", action=action)]
            used += size
        self.show([tuple(shown)])
