"""A session's incidents as something to hand on: lines for a terminal, Markdown for an incident channel.

`aistack_top.diagnosis.report_html` makes the page with charts of the same report. All texts from outside went through
`sanitize` when they were read; each form escapes what it would interpret.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, nan
from statistics import median

from aistack_top.derive.incident_figures import span
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CONFIDENCES, Difference, Incident
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
    """One piece of evidence over time: ``values`` every ``step_s`` from ``start``, NaN where nothing is known.

    ``usual`` is its baseline, ``during`` the median from the onset to the end of the incident.
    """

    title: str
    role: str
    start: float
    step_s: float
    values: tuple[float, ...]
    signal: Signal
    usual: float
    during: float

    @property
    def compared(self) -> str:
        """Its baseline against what it was during the incident."""
        return f"baseline {self.said(self.usual)}, median during {self.said(self.during)}"

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
    symptom = incident.symptom
    wanted = {(symptom.signal, symptom.entity): (symptom.stat, "symptom", symptom.usual)}
    for one in incident.candidates:
        known = signals().get(one.signal)
        stat = "p95" if known is not None and known.form == "quantiles" else "value"
        wanted.setdefault((one.signal, one.entity), (stat, _role(one.score, one.lead_s), one.baseline))
    found = []
    lasts = incident.onset, frame.at if incident.end is None else incident.end
    for (name, entity), (stat, role, baseline) in wanted.items():
        signal = signals().get(name)
        chart = None if signal is None else _chart((signal, entity, stat), role, lasts, frame, times)
        if chart is not None:  # one baseline of a number, wherever it is said
            found.append(chart if baseline is None else replace(chart, usual=baseline))
    return tuple(found[:MAX_CHARTS])


def differences(live: Incident | None, anew: Incident | None) -> tuple[str, ...]:
    """Return in what a verdict computed anew is not the one recorded live; either may be missing."""
    if live is None:
        return ("it was not detected live",)
    if anew is None:
        return ("it was detected live and is not found now",)
    pairs = (
        ("the cause", live.cause.value, anew.cause.value),
        ("the layer", live.layer or "unknown", anew.layer or "unknown"),
        ("how sure", live.confidence, anew.confidence),
    )
    found = [f"{what} was {_words(old)} live and is {_words(new)} now" for what, old, new in pairs if old != new]
    if abs(live.onset - anew.onset) > 15.0:
        found.append(f"the onset was {rfc3339(live.onset)} live and is {rfc3339(anew.onset)} now")
    return tuple(found)


def headline(incident: Incident) -> str:
    """Return layer, cause and how sure, in a few words."""
    cause = "cause unknown" if incident.confidence == "unknown" else _words(incident.cause.value)
    sure = "" if incident.confidence == "unknown" else f" ({incident.confidence})"
    return (f"{incident.layer}: " if incident.layer else "") + cause + sure


def when(incident: Incident, at: float) -> str:
    """Return since when, how long (as known at ``at``), and how soon it was detected."""
    lasted = numbers.age(span(incident, at).lasted_s)
    lasts = f"open for {lasted}" if incident.end is None else f"for {lasted}"
    detected = numbers.age(max(incident.detected - incident.onset, 0.0))
    known = f"; baseline: {numbers.age(incident.baseline_s)}" if incident.baseline_s else ""
    dismissed = "; dismissed by a person" if incident.dismissed else ""
    return f"since {rfc3339(incident.onset)}, {lasts}, detected after {detected}{known}{dismissed}"


def reasons(incident: Incident) -> list[tuple[str, list[str]]]:
    """Return evidence for and against, what was ruled out and what could not be seen, as far as there is any."""
    verdict = incident.verdict
    others = [f"{_words(out.cause.value)}: {out.because}" for out in incident.ruled_out]
    against = [one.removeprefix("against: ") for one in verdict.against if one.removeprefix("not ") not in others]
    found = [
        ("Evidence for it", list(verdict.support) or [one.evidence for one in incident.candidates if one.evidence]),
        ("Evidence against it", against),
        ("Ruled out", others),
        ("Not observed", list(dict.fromkeys((*verdict.blind, *incident.blind_spots)))),
    ]
    return [(title, texts) for title, texts in found if texts]


def sections(incident: Incident) -> list[tuple[str, list[str]]]:
    """Return the lists of a verdict that hold something, each with its title."""
    happened = [f"{rfc3339(one.at)} {one.layer} {one.kind}: {one.text}" for one in incident.events]
    calls = incident.calls
    paid = [] if calls is None else [f"{calls.during} calls during it, {calls.before} before", *calls.findings]
    if calls is not None:
        paid += [f"{_words(one.field)} {one.value}".strip() + f": {compared(one)}" for one in calls.contrasts]
    found = [
        *reasons(incident),
        ("Affected calls", paid),
        ("Timeline", happened),
    ]
    return [(title, texts) for title, texts in found if texts]


def compared(contrast: Difference) -> str:
    """Return a property of the calls before and during, with its statistic."""
    stat = "share" if contrast.unit == "1" else "median"
    before, during = numbers.show(contrast.before, contrast.unit), numbers.show(contrast.during, contrast.unit)
    return f"{stat} {before} before, {during} during"


def text(report: Report) -> str:
    """Return the report for a terminal or a screen reader, line by line."""
    lines = [_covers(report), *(f"note: {note}" for note in report.notes)]
    if not report.incidents:
        lines.append("no incident")
    for told in report.incidents:
        incident = told.incident
        lines += ["", f"incident {incident.id}: {headline(incident)}", f"  {when(incident, report.end)}"]
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
        lines += [
            f"## {_escaped(headline(incident))}",
            "",
            f"`{_code(incident.id)}` {_escaped(when(incident, report.end))}",
            "",
        ]
        lines += [f"**{_escaped(incident.verdict.what)}**", "", _escaped(incident.verdict.why), ""]
        for chart in told.charts:
            lines.append(f"- {_escaped(f'{chart.title}: {chart.compared}')}")
        lines += [""] if told.charts else []
        for title, texts in sections(incident):
            lines += [f"### {title}", "", *(f"- {_escaped(one)}" for one in texts), ""]
        if incident.verdict.next_step:
            lines += [f"**Next:** {_escaped(incident.verdict.next_step)}", ""]
        lines += [f"*Differs from what was recorded:* {_escaped(one)}" for one in told.differs]
    return "\n".join(lines).rstrip("\n") + "\n"


def ordered(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents by their onset, of one moment the surest first."""
    return sorted(incidents, key=lambda one: (one.onset, CONFIDENCES.index(one.confidence), one.id))


def _covers(report: Report) -> str:
    return f"{report.node}, {rfc3339(report.start)} to {rfc3339(report.end)}"


def _role(score: float, lead_s: float | None) -> str:
    if lead_s is None:
        return f"score {score:.2f}, order unknown"
    if lead_s == 0:
        return f"score {score:.2f}, moved with the symptom"
    return f"score {score:.2f}, moved {numbers.age(abs(lead_s))} {'before' if lead_s > 0 else 'after'} the symptom"


def _chart(
    key: tuple[Signal, Entity, str],
    role: str,
    lasts: tuple[float, float],
    frame: Frame,
    times: tuple[float, float],
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
    cut = max(int((lasts[0] - start) // step), 0)
    over = max(int((lasts[1] - start) // step) + 1, cut + 1)
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
        _middle(whole[cut:over]),
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
