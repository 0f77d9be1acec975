"""A session's incidents as something to hand on: lines for a terminal, Markdown for an incident channel.

`aistack_top.diagnosis.report_html` makes the page with charts of the same report. All texts from outside went through
`sanitize` when they were read; each form escapes what it would interpret.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan
from statistics import median

from aistack_top.model.entity import Entity
from aistack_top.model.incident import STRENGTHS, Incident
from aistack_top.model.signals import Signal, signals
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import rfc3339

BEFORE_S = 300.0
AFTER_S = 60.0
MAX_CHARTS = 8
MAX_POINTS = 240
"""Points of a chart: a third of its width in pixels, so that one page stays below some hundred kilobytes."""

_MARKDOWN = re.compile(
    r"[\\`*<|~@&]"  # whatever stands beside it
    r"|\](?=[(\[:])"  # without it, no link and no picture
    r"|(?<![^\W_])_|_(?![^\W_])"  # not within a word
    r"|^(?:[-+#>=\[]|\d+(?=[.)]))"  # what begins a block
)
"""What must be escaped in a text from outside: as little as that, since people paste it where it is read as it is."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One piece of evidence over time: ``values`` every ``step_s`` from ``start``, NaN where nothing is known."""

    title: str
    role: str
    start: float
    step_s: float
    values: tuple[float, ...]
    signal: Signal
    usual: float
    during: float

    def said(self, value: float) -> str:
        """Return one of its values with the unit."""
        return numbers.of_signal(value, self.signal)


@dataclass(frozen=True, slots=True)
class ReportedIncident:
    """An incident with its evidence; ``differs`` says in what it is not what was recorded live."""

    incident: Incident
    charts: tuple[Chart, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What is handed on. ``notes`` are what is wrong with the data itself."""

    title: str
    node: str
    start: float
    end: float
    incidents: tuple[ReportedIncident, ...]
    notes: tuple[str, ...] = ()


def window(incident: Incident, start: float, end: float) -> tuple[float, float]:
    """Return the time that the charts of an incident show, of data that go from ``start`` to ``end``."""
    last = end if incident.end is None else incident.end
    return max(incident.onset - BEFORE_S, start), min(last + AFTER_S, end)


def charts(incident: Incident, frame: Frame, since: float) -> tuple[Chart, ...]:
    """Return the symptom and what may explain it, as far as the frame's timeline goes; the data begin at ``since``."""
    times = window(incident, since, frame.at)
    wanted = {(incident.symptom.signal, incident.symptom.entity): (incident.symptom.stat, "symptom")}
    for one in incident.candidates:
        known = signals().get(one.signal)
        stat = "p95" if known is not None and known.form == "quantiles" else "value"
        wanted.setdefault((one.signal, one.entity), (stat, _role(one.score, one.lead_s)))
    found = []
    for (name, entity), (stat, role) in wanted.items():
        signal = signals().get(name)
        chart = None if signal is None else _chart((signal, entity, stat), role, incident.onset, frame, times)
        if chart is not None:
            found.append(chart)
    return tuple(found[:MAX_CHARTS])


def differences(live: Incident | None, anew: Incident | None) -> tuple[str, ...]:
    """Return in what a verdict computed anew is not the one recorded live; either may be missing."""
    if live is None:
        return ("it was not seen live",)
    if anew is None:
        return ("it was seen live and is not found again",)
    pairs = (
        ("the cause", live.cause.value, anew.cause.value),
        ("the layer", live.layer or "unknown", anew.layer or "unknown"),
        ("how sure", live.strength, anew.strength),
    )
    found = [f"{what} was {_words(old)} live and is {_words(new)} now" for what, old, new in pairs if old != new]
    if abs(live.onset - anew.onset) > 15.0:
        found.append(f"the onset was {rfc3339(live.onset)} live and is {rfc3339(anew.onset)} now")
    return tuple(found)


def headline(incident: Incident) -> str:
    """Return layer, cause and how sure, in a few words."""
    cause = "cause not seen" if incident.strength == "unknown" else _words(incident.cause.value)
    sure = "" if incident.strength == "unknown" else f" ({incident.strength})"
    return (f"{incident.layer}: " if incident.layer else "") + cause + sure


def when(incident: Incident) -> str:
    """Return since when, how long, and when it was noticed."""
    lasts = "it goes on" if incident.end is None else f"for {numbers.age(max(incident.end - incident.onset, 0.0))}"
    noticed = numbers.age(max(incident.detected - incident.onset, 0.0))
    known = f"; {numbers.age(incident.baseline_s)} of normal life known before it" if incident.baseline_s else ""
    dismissed = "; dismissed by a person" if incident.dismissed else ""
    return f"since {rfc3339(incident.onset)}, {lasts}, noticed after {noticed}{known}{dismissed}"


def reasons(incident: Incident) -> list[tuple[str, list[str]]]:
    """Return evidence for and against, what was ruled out and what could not be seen, as far as there is any."""
    verdict = incident.verdict
    others = [f"{_words(out.cause.value)}: {out.because}" for out in incident.ruled_out]
    against = [one.removeprefix("against: ") for one in verdict.against if one.removeprefix("not ") not in others]
    found = [
        ("Evidence for it", list(verdict.support) or [one.evidence for one in incident.candidates if one.evidence]),
        ("Evidence against it", against),
        ("Ruled out", others),
        ("Could not be seen", list(dict.fromkeys((*verdict.blind, *incident.blind_spots)))),
    ]
    return [(title, texts) for title, texts in found if texts]


def sections(incident: Incident) -> list[tuple[str, list[str]]]:
    """Return the lists of a verdict that hold something, each with its title."""
    happened = [f"{rfc3339(one.at)} {one.layer} {one.kind}: {one.text}" for one in incident.events]
    calls = incident.calls
    paid = [] if calls is None else [f"{calls.during} calls during it, {calls.before} before", *calls.findings]
    if calls is not None:
        paid += [
            f"{_words(one.field)} {one.value}".strip()
            + f": {numbers.show(one.before, one.unit)} before, {numbers.show(one.during, one.unit)} during"
            for one in calls.contrasts
        ]
    found = [
        *reasons(incident),
        ("Calls that paid for it", paid),
        ("What happened around it", happened),
    ]
    return [(title, texts) for title, texts in found if texts]


def text(report: Report) -> str:
    """Return the report for a terminal or a screen reader, line by line."""
    lines = [_covers(report), *(f"note: {note}" for note in report.notes)]
    if not report.incidents:
        lines.append("no incident")
    for told in report.incidents:
        incident = told.incident
        lines += ["", f"incident {incident.id}: {headline(incident)}", f"  {when(incident)}"]
        lines += [f"  {line}" for line in (incident.verdict.what, incident.verdict.why) if line]
        for title, texts in sections(incident):
            lines += [f"  {title.lower()}:", *(f"    {one}" for one in texts)]
        lines += [f"  next: {incident.verdict.next_step}"] if incident.verdict.next_step else []
        lines += [f"  differs: {one}" for one in told.differs]
    return "\n".join(sanitize(line, 1000) if line.strip() == line else _indented(line) for line in lines) + "\n"


def markdown(report: Report) -> str:
    """Return the report as Markdown; nothing that was recorded is read as markup."""
    lines = [f"# {_escaped(report.title)}", "", _escaped(_covers(report)), ""]
    lines += [f"> {_escaped(note)}" for note in report.notes]
    if not report.incidents:
        lines.append("No incident.")
    for told in report.incidents:
        incident = told.incident
        lines += [f"## {_escaped(headline(incident))}", "", f"`{_code(incident.id)}` {_escaped(when(incident))}", ""]
        lines += [f"**{_escaped(incident.verdict.what)}**", "", _escaped(incident.verdict.why), ""]
        for chart in told.charts:
            usual, during = chart.said(chart.usual), chart.said(chart.during)
            lines.append(f"- {_escaped(chart.title)}: {_escaped(usual)} before, {_escaped(during)} during")
        lines += [""] if told.charts else []
        for title, texts in sections(incident):
            lines += [f"### {title}", "", *(f"- {_escaped(one)}" for one in texts), ""]
        if incident.verdict.next_step:
            lines += [f"**Next:** {_escaped(incident.verdict.next_step)}", ""]
        lines += [f"*Differs from what was recorded:* {_escaped(one)}" for one in told.differs]
    return "\n".join(lines).rstrip("\n") + "\n"


def ordered(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents by their onset, of one moment the surest first."""
    return sorted(incidents, key=lambda one: (one.onset, STRENGTHS.index(one.strength), one.id))


def _covers(report: Report) -> str:
    return f"{report.node}, {rfc3339(report.start)} to {rfc3339(report.end)}"


def _role(score: float, lead_s: float | None) -> str:
    if lead_s is None:
        return f"score {score:.2f}, order unknown"
    if lead_s == 0:
        return f"score {score:.2f}, moved with the symptom"
    return f"score {score:.2f}, moved {numbers.age(abs(lead_s))} {'before' if lead_s > 0 else 'after'} the symptom"


def _chart(
    key: tuple[Signal, Entity, str], role: str, onset: float, frame: Frame, times: tuple[float, float]
) -> Chart | None:
    (signal, entity, stat), (start, end) = key, times
    known = frame.entities(signal.name, entity)
    about = [entity] if entity in known else known
    worst = min if signal.hurts == "down" else max
    step = frame.timeline.step_s
    rows = [frame.timeline.window((signal.name, one, stat), start, end + step) for one in about]
    whole = [worst((v for v in at if v == v), default=nan) for at in zip(*rows, strict=True)]
    if not any(isfinite(v) for v in whole):
        return None
    width = max(-(-len(whole) // MAX_POINTS), 1)
    values = tuple(worst((v for v in whole[n : n + width] if v == v), default=nan) for n in range(0, len(whole), width))
    cut = max(int((onset - start) // step), 0)
    part = f" {stat}" if stat != "value" else ""
    whose = f", {label(entity, frame.facts)}" if entity.pairs else ""
    return Chart(
        f"{signal.title}{part}{whose}",
        role,
        start,
        step * width,
        values,
        signal,
        _middle(whole[:cut]),
        _middle(whole[cut : max(cut + 1, len(whole) - int(AFTER_S // step))]),
    )


def _middle(values: list[float]) -> float:
    present = [v for v in values if v == v]
    return median(present) if present else nan


def _words(slug: str) -> str:
    return slug.replace("_", " ")


def _indented(line: str) -> str:
    bare = line.lstrip(" ")
    return " " * (len(line) - len(bare)) + sanitize(bare, 1000)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(
        lambda found: f"\\{found[0]}" if not found[0].isdigit() else f"{found[0]}\\", sanitize(text, 1000)
    )


def _code(text: str) -> str:
    return sanitize(text, 200).replace("`", "'")
