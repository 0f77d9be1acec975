"""``aistack-top diagnose``: the verdicts on a recorded session, as text, JSON, Markdown or a page to hand on."""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aistack_top.derive.incident_figures import at_moment
from aistack_top.diagnosis import report
from aistack_top.diagnosis.report import Report, ReportedIncident
from aistack_top.feeds.rediagnose import differences, rediagnose
from aistack_top.measure.clock import WallClock
from aistack_top.session.errors import SessionError
from aistack_top.session.reader import Session
from aistack_top.session.replay import SessionFeed
from aistack_top.state import State
from aistack_top.store.frame import Frame
from aistack_top.text.incident_json import document
from aistack_top.text.sanitize import sanitize
from tui.commands import output
from tui.commands.common import UNREACHABLE, Options, configuration, fail
from tui.commands.window import WindowOptions
from tui.model.time_input import moment

MAX_SPAN_S = 3500.0
"""Of the evidence that is drawn; a timeline holds an hour."""


@dataclass(frozen=True, slots=True)
class ReportFormat:
    """How the verdicts are written: text where nothing else is asked for."""

    as_json: bool = False
    markdown: bool = False
    html: Path | None = None


def run(path: Path, at: str | None, form: ReportFormat) -> int:
    """Write the verdicts on a session and return the exit code: 1 while an incident is open, else 0."""
    try:
        session = Session.open(path)
        if not session.blocks:
            fail(f"{sanitize(str(path))}: no readable data in this session", UNREACHABLE)
        until = session.end if at is None else moment(at, session.start, session.end)
        told = asyncio.run(_report(session, until))
    except SessionError as error:
        fail(str(error))
    except ValueError as error:
        fail(f"--at: {error}")
    for problem in session.problems:
        print(f"aistack-top: {sanitize(problem, 400)}", file=sys.stderr)
    _write(told, form)
    return 1 if any(one.incident.open for one in told.incidents) else 0


def run_window(options: Options, window: WindowOptions, at: str | None, form: ReportFormat) -> int:
    """Write the verdicts on a window that nobody recorded, as `run` does on a session."""
    with window.recorded(configuration(options)) as path:
        return run(path, at, form)


async def _report(session: Session, until: float) -> Report:
    recorded = (await _frame(session, until, 1.0)).incidents
    computed = await rediagnose(session, until)
    session.problems.extend(differences(recorded, computed))
    found = []
    for incident in report.ordered(computed or recorded):
        start, end = report.window(incident, session.start, until)
        frame = await _frame(session, end, min(end - start + 60.0, MAX_SPAN_S))
        shown = at_moment(incident, frame)
        found.append(ReportedIncident(shown, report.charts(shown, frame, session.start)))
    title = f"Incidents in {session.path.name}"
    return Report(title, session.node, session.start, until, tuple(found), tuple(session.problems))


async def _frame(session: Session, at: float, span_s: float) -> Frame:
    """Return everything at a moment, with the history of a span before it."""
    feed, state = SessionFeed(session, WallClock(), at=at, speed=0.0, span_s=span_s), State()
    async with aclosing(feed):
        async for tick in feed.ticks():
            state.apply(tick)
            break
    return state.frame()


def _write(told: Report, form: ReportFormat) -> None:
    if form.html is not None:
        from aistack_top.diagnosis.report_html import page

        try:
            form.html.write_text(page(told), encoding="utf-8")
        except OSError as error:
            fail(f"cannot write {sanitize(str(form.html))}: {error.strerror or error}")
        count = len(told.incidents)
        print(f"{count} incident{'' if count == 1 else 's'} in {sanitize(str(form.html))}", file=sys.stderr)
        return
    if form.as_json:
        output.write_json(document(one.incident for one in told.incidents))
    else:
        output.write(report.markdown(told) if form.markdown else report.text(told))
