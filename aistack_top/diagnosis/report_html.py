"""The report as one page: no script, no font, no picture from elsewhere; light and dark by the reader's own choice.

It is opened from chat attachments and wikis, so that a policy in its head forbids it to load or to run anything.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import isfinite

from aistack_top.diagnosis.report import Chart, Report, ReportedIncident, headline, sections, when, window
from aistack_top.model.incident import Incident
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import rfc3339

WIDTH, HEIGHT, LEFT, RIGHT = 760, 64, 84, 12
"""Of a chart, in pixels; the values stand to the left of it, as all charts of an incident share one axis."""

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#5b6570;--line:#d5dae0;--data:#0b62c4;--mark:#b42318;
--shade:#b4231814;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--bg:#12161b;--fg:#e3e8ee;--dim:#98a4b0;--line:#323b45;--data:#6cb2ff;
--mark:#ff8a7a;--shade:#ff8a7a1f;--card:#1a2027}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:820px;padding:24px 20px 48px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
h1{font-size:22px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 4px;padding-top:16px;border-top:1px solid var(--line)}
h3{font-size:14px;margin:18px 0 4px}p{margin:4px 0}.dim{color:var(--dim);font-size:13px}
.what{font-size:16px;font-weight:600;margin:12px 0 2px}.next{background:var(--card);border-left:3px solid var(--data);
padding:8px 12px;margin:14px 0}.differs{border-left:3px solid var(--mark);background:var(--card);padding:8px 12px;
margin:8px 0}ul{margin:4px 0;padding-left:20px}figure{margin:14px 0}figcaption{font-size:13px;display:flex;
gap:14px;flex-wrap:wrap}figcaption .dim{margin-left:auto}svg{display:block;width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:var(--dim);font-variant-numeric:tabular-nums}
.l{fill:none;stroke:var(--data);stroke-width:1.5}.d{fill:var(--data)}.a{stroke:var(--line)}.s{fill:var(--shade)}
.o{stroke:var(--mark);stroke-width:1.5}.n{stroke:var(--mark);stroke-dasharray:3 3}svg text.m{fill:var(--mark)}
@media print{body{max-width:none}figure,ul{break-inside:avoid}}
"""


def page(report: Report) -> str:
    """Return the report as an HTML document."""
    covers = f"{report.node}, {rfc3339(report.start)} to {rfc3339(report.end)}"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(report.title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{_text(report.title)}</h1><p class="dim">{_text(covers)}</p>',
        *(f'<p class="differs">{_text(note)}</p>' for note in report.notes),
    ]
    if not report.incidents:
        parts.append("<p>No incident.</p>")
    parts += [_incident(one, window(one.incident, report.start, report.end), report.end) for one in report.incidents]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _incident(told: ReportedIncident, times: tuple[float, float], at: float) -> str:
    incident = told.incident
    verdict = incident.verdict
    parts = [
        f"<section><h2>{_text(headline(incident))}</h2>",
        f'<p class="dim">{_text(incident.id)}: {_text(when(incident, at))}</p>',
        f'<p class="what">{_text(verdict.what)}</p><p>{_text(verdict.why)}</p>',
    ]
    if verdict.next_step:
        parts.append(f'<p class="next"><b>Next:</b> {_text(verdict.next_step)}</p>')
    parts += [f'<p class="differs">Differs from what was recorded: {_text(one)}</p>' for one in told.differs]
    if told.charts:
        parts += [_figure(chart, incident, times) for chart in told.charts]
        parts.append(_axis(incident, times))
    for title, texts in sections(incident):
        parts.append(f"<h3>{_text(title)}</h3><ul>" + "".join(f"<li>{_text(one)}</li>" for one in texts) + "</ul>")
    return "\n".join([*parts, "</section>"])


def _figure(chart: Chart, incident: Incident, times: tuple[float, float]) -> str:
    low, high = _range(chart)
    first, last = times
    across = (WIDTH - LEFT - RIGHT) / max(last - first, 1.0)

    def x(at: float) -> float:
        return min(max(LEFT + (at - first) * across, LEFT), WIDTH - RIGHT)

    def y(value: float) -> float:
        return 6 + (HEIGHT - 12) * (high - value) / (high - low)

    until = last if incident.end is None else incident.end
    onset, detected = x(incident.onset), x(incident.detected)
    drawn = [
        f'<rect class="s" x="{onset:.1f}" y="0" width="{max(x(until) - onset, 1):.1f}" height="{HEIGHT}"/>',
        f'<line class="a" x1="{LEFT}" y1="{HEIGHT - 1}" x2="{WIDTH - RIGHT}" y2="{HEIGHT - 1}"/>',
        f'<text x="{LEFT - 6}" y="14" text-anchor="end">{_text(chart.said(high))}</text>',
        f'<text x="{LEFT - 6}" y="{HEIGHT - 4}" text-anchor="end">{_text(chart.said(low))}</text>',
        *_lines(chart, x, y),
        f'<line class="n" x1="{detected:.1f}" y1="0" x2="{detected:.1f}" y2="{HEIGHT}"/>',
        f'<line class="o" x1="{onset:.1f}" y1="0" x2="{onset:.1f}" y2="{HEIGHT}"/>',
    ]
    name = _text(f"{chart.title}: {chart.compared}")
    return (
        f"<figure><figcaption><b>{_text(chart.title)}</b> <span>{_text(chart.compared)}</span> "
        f'<span class="dim">{_text(chart.role)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(drawn)}</svg></figure>'
    )


def _lines(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Return a line for each run of values that no gap breaks; a value alone is a dot.

    A series that is sampled less often than the grid has empty slots between its samples, which are no gaps.
    """
    known = [(chart.start + n * chart.step_s, v) for n, v in enumerate(chart.values) if isfinite(v)]
    steps = sorted(b[0] - a[0] for a, b in pairwise(known))
    usual = steps[len(steps) // 2] if steps else chart.step_s
    runs: list[list[tuple[float, float]]] = []
    for at, value in known:
        if not runs or at - runs[-1][-1][0] > 3.5 * usual:
            runs.append([])
        runs[-1].append((at, value))
    drawn = []
    for run in runs:
        if len(run) == 1:
            drawn.append(f'<circle class="d" cx="{x(run[0][0]):.1f}" cy="{y(run[0][1]):.1f}" r="1.5"/>')
        else:
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in run)
            drawn.append(f'<polyline class="l" points="{points}"/>')
    return drawn


def _range(chart: Chart) -> tuple[float, float]:
    known = [v for v in chart.values if isfinite(v)]
    low, high = min(known), max(known)
    if low >= 0 and low < 0.5 * high:
        low = 0.0  # a rise from 90 to 91 is not drawn as one from nothing
    if high - low <= 1e-9 * max(abs(high), abs(low), 1e-9):
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    return low, high


def _axis(incident: Incident, times: tuple[float, float]) -> str:
    first, last = times
    across = (WIDTH - LEFT - RIGHT) / max(last - first, 1.0)
    step = next((s for s in (10, 30, 60, 120, 300, 600, 1800, 3600) if (last - first) / s <= 7), 7200)
    drawn = []
    at = (first // step + 1) * step
    while at <= last - 26 / across:  # half a label; the last would be cut
        place = LEFT + (at - first) * across
        drawn.append(
            f'<text x="{place:.1f}" y="12" text-anchor="middle">{datetime.fromtimestamp(at, UTC):%H:%M:%S}</text>'
        )
        at += step
    place = min(max(LEFT + (incident.onset - first) * across, LEFT + 24), WIDTH - RIGHT - 24)
    onset = f"onset {datetime.fromtimestamp(incident.onset, UTC):%H:%M:%S}"
    drawn.append(f'<text class="m" x="{place:.1f}" y="28" text-anchor="middle">{onset}</text>')
    drawn.append(f'<text x="{WIDTH - RIGHT}" y="28" text-anchor="end">UTC; dashed: detected</text>')
    return f'<svg viewBox="0 0 {WIDTH} 32" aria-hidden="true">{"".join(drawn)}</svg>'


def _text(text: str) -> str:
    return escape(sanitize(text, 1000))
