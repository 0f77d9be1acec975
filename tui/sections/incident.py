"""The parts of an incident on a board: verdict, charts of the evidence on one axis, affected calls, what happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median

from aistack_top.derive.incident_figures import sentence, span
from aistack_top.diagnosis.report import compared, reasons
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence, Incident
from aistack_top.model.signals import Signal, signals
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from tui.model.targets import CallsTarget, CallTarget, MomentTarget, NumberTarget
from tui.sections.context import BLANK, RenderContext, heading, note_line, paragraph
from tui.sections.section_rows import call_line
from tui.widgets.axis import clock, track_width
from tui.widgets.cells import Line, cell, first_that_fits, wrapped
from tui.widgets.chart import chart, samples
from tui.widgets.row_list import Row, static_row
from tui.widgets.verdict import deadline_line, why_words

BEFORE_S = 300.0
"""What is compared with: the time before the onset, as far as it is in memory."""

NOW_S = 30.0
BASELINE = "baseline"
MAX_CHARTS = 5
MAX_CALLS = 8


def verdict_rows(incident: Incident, scene: RenderContext, runbooks: Mapping[str, str]) -> list[Row]:
    """Return what is wrong, why, how sure that is, and what to do next."""
    frame = scene.view.frame
    state = "dismissed" if incident.dismissed else "open" if incident.open else "ended"
    times = f", occurrence {incident.times} in 30 min" if incident.times > 1 else ""
    told = f"{state}, {span(incident, frame.at).said}, detected {clock(incident.detected)}{times}"
    known = f"; baseline: {numbers.age(incident.baseline_s)}" if incident.baseline_s else ""
    found = [heading(f"incident: {why_words(incident)}", scene, incident.id)]
    left = deadline_line(incident, scene.view)
    found += paragraph(left, scene, "alarm") if left else []
    found += paragraph(sentence(incident, frame.at, frame.facts), scene, "warning")
    found += paragraph(incident.verdict.why, scene, "value")
    found += paragraph(told + known, scene, "dim")
    if incident.verdict.next_step:
        found += paragraph(f"next: {incident.verdict.next_step}", scene)
    link = runbooks.get(incident.cause.value)
    if link:
        found += paragraph(f"runbook: {sanitize(link, 300)}", scene)
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """What now is compared with: a stretch of time, in a frame that knows it, and what it is called."""

    name: str
    frame: Frame
    start: float
    end: float


def before_onset(incident: Incident, frame: Frame) -> Comparison:
    """Return the minutes before the onset, as far as they are in memory."""
    return Comparison(BASELINE, frame, incident.onset - BEFORE_S, incident.onset)


def chart_rows(incident: Incident, scene: RenderContext, height: int, against: Comparison) -> list[Row]:
    """Return the symptom and what may explain it, each as a chart on the shared axis, and now against another time."""
    found = [heading("one time axis; the vertical line is the onset", scene, _compared(against))]
    symptom = incident.symptom
    shown = [(symptom.signal, symptom.entity, symptom.stat, "symptom", symptom.usual)]
    for candidate in incident.candidates:
        known = signals().get(candidate.signal)
        stat = "p95" if known is not None and known.form == "quantiles" else "value"
        if all((candidate.signal, candidate.entity) != one[:2] for one in shown):
            lead = (
                ""
                if candidate.lead_s is None
                else f", moved {numbers.seconds(abs(candidate.lead_s))} "
                + ("before it" if candidate.lead_s >= 0 else "after it")
            )
            role = f"score {candidate.score:.2f}{lead}"
            shown.append((candidate.signal, candidate.entity, stat, role, candidate.baseline))
    for name, entity, stat, role, baseline in shown[:MAX_CHARTS]:
        signal = signals().get(name)
        if signal is None:
            continue
        found.append(_title((signal, entity, stat), role, baseline, scene, against))
        if not scene.drawing.histories:
            continue  # a slow link gets the numbers before and now, and no chart
        count = scene.view.fit(track_width(scene.width))
        values = samples(scene.view, signal, _about(scene.view.frame, name, entity), stat, count)
        lines = chart(values, signal, scene.view, scene.width, height, scene.glyphs, (incident.onset,))
        found += map(static_row, lines)
    return found


def reason_rows(incident: Incident, scene: RenderContext) -> list[Row]:
    """Return evidence for and against, what was ruled out, and what could not be seen."""
    found: list[Row] = []
    for title, texts in reasons(incident):
        found += [heading(title.lower(), scene), *_bullets(texts, scene), BLANK]
    return found


def paid_rows(incident: Incident, scene: RenderContext) -> list[Row]:
    """Return the affected calls: what differs from those before, and the slowest of them."""
    frame = scene.view.frame
    end = frame.at if incident.end is None else min(incident.end, frame.at)
    calls = [call for call in frame.calls(incident.onset, end) if call.kind in ("generation", "embedding")]
    evidence = incident.calls
    if not calls and evidence is None:
        return []
    said = f"{len(calls)} since the onset" if calls else ""
    found = [heading("affected calls", scene, said)]
    if evidence is not None:
        found += _differences(evidence, scene)
    for call in sorted(calls, key=lambda call: call.latency or 0.0, reverse=True)[:MAX_CALLS]:
        found.append(Row(partial(call_line, call, scene), CallTarget(call.id)))
    if calls:
        found.append(static_row((cell("  T: filter and sort all calls", "label"),), CallsTarget()))
    return [*found, BLANK]


def happened_rows(incident: Incident, scene: RenderContext) -> list[Row]:
    """Return events, changes and notes around it, oldest first; each leads to its moment."""
    frame = scene.view.frame
    end = frame.at if incident.end is None else incident.end
    told = [(one.at, one.layer, one.kind, one.entity, one.text) for one in incident.events]
    told += [
        (event.at, event.layer, event.kind, event.entity, event.text)
        for event in frame.events(incident.onset - BEFORE_S, end)
        if event.severity != "info" or event.kind == "changed"
    ]
    told += [
        (mark.at, mark.kind, mark.author or "note", Entity.of(), mark.text)
        for mark in frame.marks
        if incident.onset - BEFORE_S <= mark.at <= end or mark.about == incident.id
    ]
    rows = [
        _moment(at, (layer, kind), entity, text, incident, scene)
        for at, layer, kind, entity, text in dict.fromkeys(sorted(told, key=lambda one: one[0]))
    ]
    return [heading("timeline", scene), *(row for lines in rows for row in lines), BLANK] if rows else []


def _bullets(texts: Iterable[str], scene: RenderContext) -> list[Row]:
    room = max(scene.width - 4, 20)
    found = []
    for text in texts:
        for place, part in enumerate(wrapped(scene.glyphs.text(sanitize(text, 600)), room)):
            found.append(note_line(("- " if place == 0 else "  ") + part, "text"))
    return found


def _compared(against: Comparison) -> str:
    if against.name == BASELINE:
        return f"b: baseline before {clock(against.end)} against now"
    return f"b: {against.name} {clock(against.start)} to {clock(against.end)} against now"


def _title(
    key: tuple[Signal, Entity, str], role: str, baseline: float | None, scene: RenderContext, against: Comparison
) -> Row:
    """Return the line above a chart: whose number, what role it has, its baseline or another time against now."""
    (signal, entity, stat), frame = key, scene.view.frame
    about = _about(frame, signal.name, entity)
    then = _about(against.frame, signal.name, entity)
    before = baseline if against.name == BASELINE else None
    if before is None:
        before = _median(against.frame, signal, then, stat, against.start, against.end)
    now = _now(frame, signal, about, stat)
    part = f" {stat}" if stat != "value" else ""
    whose = f" {label(entity, frame.facts, 24)}" if entity.pairs else ""
    name = cell(scene.glyphs.text(f"{signal.title}{part}{whose}"), "label")
    pairs = f"{against.name} {_said(before, signal)}, now {_said(now, signal)}{_ratio(before, now)}"
    room = scene.width - name.width - 2
    text = first_that_fits([f"{pairs}  ({role})", pairs, f"now {_said(now, signal)}", ""], room)
    return static_row((name, cell("  " + scene.glyphs.text(text), "dim")), NumberTarget(signal.name, entity, stat))


def _about(frame: Frame, name: str, entity: Entity) -> list[Entity]:
    """Return the entity itself where the signal is told of it, else its parts."""
    known = frame.entities(name, entity)
    return [entity] if entity in known else known


def _median(frame: Frame, signal: Signal, about: list[Entity], stat: str, start: float, end: float) -> float | None:
    worst: list[float] = []
    for entity in about:
        present = [value for value in frame.timeline.window((signal.name, entity, stat), start, end) if value == value]
        if present:
            worst.append(median(present))
    if not worst:
        return None
    return min(worst) if signal.hurts == "down" else max(worst)


def _now(frame: Frame, signal: Signal, about: list[Entity], stat: str) -> float | None:
    """Return the newest number, the worst of several: the same as on the line and in the panels."""
    found = [reading.sample.number for entity in about if (reading := frame.read(signal.name, entity, stat))]
    if not found:
        return _median(frame, signal, about, stat, frame.at - NOW_S, frame.at + frame.timeline.step_s)
    return min(found) if signal.hurts == "down" else max(found)


def _said(value: float | None, signal: Signal) -> str:
    return "unknown" if value is None else numbers.of_signal(value, signal)


def _ratio(before: float | None, now: float | None) -> str:
    if not before or now is None or before < 0:
        return ""
    return f", {now / before:.1f}x" if now / before < 100 else ", over 100x"


def _differences(evidence: CallsEvidence, scene: RenderContext) -> list[Row]:
    found = _bullets(evidence.findings, scene)
    for one in evidence.contrasts:
        name = f"{one.field.replace('_', ' ')} {one.value}".strip()
        line = (
            cell("  " + scene.glyphs.text(sanitize(name, 40)), "text", 36),
            cell(compared(one), "text"),
        )
        found.append(static_row(line))
    return found


def _moment(
    at: float, kinds: tuple[str, str], entity: Entity, text: str, incident: Incident, scene: RenderContext
) -> list[Row]:
    after = at - incident.onset
    when = f"{numbers.seconds(abs(after))} {'after' if after >= 0 else 'before'}"
    who = label(entity, scene.view.frame.facts, 24)
    said = sanitize(text, 400) if who == "all" or who in text else f"{who}: {sanitize(text, 400)}"
    head: Line = (
        cell(f"  {clock(at)}", "dim", 12),
        cell(when, "dim", 16),
        cell(scene.glyphs.text(sanitize(" ".join(kinds), 18)), "dim", 20),
    )
    parts = wrapped(scene.glyphs.text(said), max(scene.width - 48, 20)) or [""]
    rows = [static_row((*head, cell(parts[0])), MomentTarget(at, text))]
    return [*rows, *(static_row((cell("", "text", 48), cell(part))) for part in parts[1:])]
