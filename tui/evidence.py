"""Evidence: what is on the screen now as one folder to hand on.

| in the folder | is |
|---|---|
| ``session.aistack`` | the window shown, with its incidents, their baseline and all marks, to be played again |
| ``verdict.md`` | the incidents of the window, for a channel or a ticket |
| ``verdict.html`` | the same with charts, one file without anything from elsewhere |
| ``screen.svg``, ``screen.txt`` | the screen, without any text of a call |

It is written beside its place and gets its name when it is whole. The screen goes on meanwhile. A whole recording is
kept under a name of its own by `keep_recording`.
"""

import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich.console import Console as Printer
from rich.segment import Segment, Segments
from textual.strip import Strip

from aistack_top.diagnosis import report
from aistack_top.diagnosis.report import Report, ReportedIncident
from aistack_top.model.incident import Incident
from aistack_top.session.disk import os_error_text
from aistack_top.session.errors import SessionError
from aistack_top.session.excerpt import write_excerpt
from aistack_top.session.format import SUFFIX
from aistack_top.session.from_memory import MemoryCopy, copy_from_memory, write
from aistack_top.session.ring import keep as keep_ring
from aistack_top.session.threads import on_thread
from aistack_top.text.sanitize import sanitize
from tui.model.console import Console
from tui.model.view import View

BASELINE_S = 900.0
"""Of the time before an incident: what is usual is learned from it, so that the session can be diagnosed anew."""

SESSION = "session.aistack"

_FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""Fonts that Rich would have the picture fetch from elsewhere: who opens it must not be seen opening it."""


class EvidenceError(Exception):
    """No evidence could be written; the text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class ScreenText:
    """The screen, line by line, as it was painted."""

    strips: Sequence[Strip]
    width: int

    def text(self) -> str:
        """Return it as plain lines."""
        return "\n".join(strip.text.rstrip() for strip in self.strips) + "\n"

    def svg(self, title: str) -> str:
        """Return it as a picture in colours."""
        printer = Printer(
            width=self.width,
            height=len(self.strips),
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            record=True,
            legacy_windows=False,
        )
        for strip in self.strips:
            printer.print(Segments([*strip, Segment.line()]), end="", soft_wrap=True)
        return _FONT_FACE.sub("", printer.export_svg(title=title))


async def keep(console: Console, view: View, picture: ScreenText, folder: Path) -> Path:
    """Write the evidence of a moment into a folder of its own inside ``folder``; return its path.

    Raises:
        EvidenceError: it could not be written, and nothing is left of the attempt.

    """
    start, end = window(view, console.pump.oldest)
    held = await copy_from_memory(console.state, start, end)
    recording = await console.deck.recording()
    told = EvidenceData(console.name, view, held, recording, picture)
    when = datetime.fromtimestamp(end).astimezone()
    target = folder / f"aistack-evidence-{_as_file(console.name)}-{when:%Y%m%d-%H%M%S}"
    return await on_thread(lambda: _write(told, target))


def recording_name(console: Console) -> str:
    """Return what a recording is called if nobody says otherwise: the node and the time now."""
    when = datetime.fromtimestamp(console.state.now).astimezone()
    return f"{_as_file(console.name)}-{when:%Y%m%d-%H%M%S}{SUFFIX}"


async def keep_recording(console: Console, name: str) -> Path:
    """Keep all that is recorded under a name or path, which later hours cannot push out; return its path.

    Of a feed that nothing records it is what is held in memory.

    Raises:
        EvidenceError: it could not be kept, and nothing is left of the attempt.

    """
    target = _kept_as(name, console.options.evidence)
    recording = await console.deck.recording()
    state = console.state
    held = None if recording is not None else await copy_from_memory(state, console.pump.oldest, state.now)
    await on_thread(lambda: _keep_whole(recording, held, target, console.name))
    return target


def _kept_as(name: str, folder: Path) -> Path:
    target = folder / Path(name).expanduser()
    return target if target.suffix == SUFFIX else target.with_name(target.name + SUFFIX)


def _keep_whole(recording: Path | None, held: MemoryCopy | None, target: Path, node: str) -> None:
    if target.exists():
        raise EvidenceError(f"not saved: {target} already exists; choose another name")
    try:
        if held is None and recording is not None:
            keep_ring(recording, target)
        elif held is not None:
            write(held, target, node)
    except (OSError, SessionError) as error:
        raise EvidenceError(_sentence(error, target.parent).replace("no evidence in", "not saved to")) from error


def window(view: View, oldest: float) -> tuple[float, float]:
    """Return the time that is kept: what the axis shows, and the incidents on it with their baseline."""
    end = view.frame.now if view.frame.follows else max(view.end, view.frame.at)
    start = view.end - view.span_s
    for incident in shown(view, start, end):
        start = min(start, incident.onset - BASELINE_S)
    return max(start, min(oldest, end)), min(end, view.frame.now)


def shown(view: View, start: float, end: float) -> list[Incident]:
    """Return the incidents of a stretch of time, as they are known at the moment shown."""
    return [one for one in view.frame.incidents if one.onset <= end and (one.end is None or one.end >= start)]


@dataclass(frozen=True, slots=True)
class EvidenceData:
    """All that a thread needs to write the evidence."""

    node: str
    view: View
    held: MemoryCopy
    recording: Path | None
    picture: ScreenText

    def report(self) -> Report:
        """Return the incidents of the window with their charts."""
        frame = replace(self.view.frame, timeline=self.held.timeline)
        incidents = report.ordered(shown(self.view, self.held.start, self.held.end))
        told = tuple(ReportedIncident(one, report.charts(one, frame, self.held.start)) for one in incidents)
        return Report(f"Evidence of {self.node}", self.node, self.held.start, self.held.end, told)


def _write(told: EvidenceData, target: Path) -> Path:
    from aistack_top.diagnosis.report_html import page

    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.mkdir(parents=True)
        _write_session(told, partial / SESSION)
        verdicts = told.report()
        (partial / "verdict.md").write_text(report.markdown(verdicts), encoding="utf-8")
        (partial / "verdict.html").write_text(page(verdicts), encoding="utf-8")
        (partial / "screen.txt").write_text(told.picture.text(), encoding="utf-8")
        (partial / "screen.svg").write_text(told.picture.svg(f"aistack-top {told.node}"), encoding="utf-8")
        final = _free(target)
        partial.rename(final)
    except (OSError, SessionError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EvidenceError(_sentence(error, target.parent)) from error
    return final


def _write_session(told: EvidenceData, target: Path) -> None:
    if told.recording is not None:
        try:
            write_excerpt(told.recording, target, told.held.start, told.held.end, told.held.marks)
            return
        except SessionError:  # what is held in memory still is
            shutil.rmtree(target, ignore_errors=True)
    write(told.held, target, told.node)


def _free(target: Path) -> Path:
    """Return a name that is not taken: two folders of the same second are told apart by a number."""
    names = [target, *(target.with_name(f"{target.name}-{number}") for number in range(2, 100))]
    return next((name for name in names if not name.exists()), names[-1])


def _sentence(error: OSError | SessionError, folder: Path) -> str:
    system = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(system, OSError):
        return sanitize(f"no evidence in {folder}: {error}", 390)
    hint = "start in a writable folder, or set evidence under [console] in the configuration"
    return sanitize(f"no evidence in {folder}: {os_error_text(system)}; {hint}", 390)


def _as_file(node: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "-" for char in sanitize(node, 40)).strip(".") or "node"


def markdown(view: View, node: str, incident: Incident) -> str:
    """Return the verdict on one incident as Markdown, without charts: for the clipboard."""
    last = view.frame.at if incident.end is None else incident.end
    return report.markdown(Report(f"Incident on {node}", node, incident.onset, last, (ReportedIncident(incident),)))
