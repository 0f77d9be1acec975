"""One call: the spans of its trace below each other on one axis, and what its engine did meanwhile."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from aistack_top.model.entity import Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Call
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from tui.model.targets import CallTarget, EntityTarget, MomentTarget
from tui.model.view import merge
from tui.sections.context import RenderContext, heading, note_line, paragraph
from tui.widgets.axis import clock
from tui.widgets.cells import Line, cell
from tui.widgets.row_list import Row, static_row
from tui.widgets.spark import bars

NAME = 28
TOOK = 10
SAID = 16
LOOKBACK_S = 10.0
"""Engines are asked every few seconds: an older number says nothing about this call."""

MAX_SPANS = 200
MEANWHILE = (
    ("serving.requests.waiting", "sum"),
    ("serving.requests.running", "sum"),
    ("serving.kv_cache.usage", "max"),
    ("serving.generation_tokens.rate", "sum"),
)


@dataclass(frozen=True, slots=True)
class AnsweringEngine:
    """Which engine answered a call, and how that is known; no entity where it is not."""

    entity: Entity | None
    proof: str


def engine_of(call: Call, spans: Sequence[Call], frame: Frame) -> AnsweringEngine:
    """Return the engine of a call: as its trace says, or the only one in the service that has its model.

    A span that is no call of a model, such as a guardrail, has the engine of its trace's calls if they have one.
    """
    if not call.engine and not call.model:
        named = {(span.engine, span.model) for span in spans if span.engine or span.model}
        if len(named) == 1:
            engine, model = next(iter(named))
            call = replace(call, engine=engine, model=model)
    if call.engine:
        return AnsweringEngine(Entity.of(engine=call.engine), "named in the trace")
    known = {
        Entity.of(engine=name) for one in frame.entities("serving.requests.running") if (name := one.get("engine"))
    }
    if not call.model:
        return AnsweringEngine(None, "the trace names neither engine nor model")
    having = [one for one in known if _has_model(one, call.model, frame)]
    if len(having) == 1:
        return AnsweringEngine(having[0], "the only engine serving this model")
    if not having:
        return AnsweringEngine(None, "no engine here is known to serve this model")
    return AnsweringEngine(None, f"{len(having)} engines serve this model and the trace names none")


def span_rows(call: Call, spans: Sequence[Call], scene: RenderContext) -> list[Row]:
    """Return the waterfall: spans in the order of their start, each under the one it belongs to."""
    start, end = extent(spans)
    track = _track(scene)
    said = f"{clock(start)} to {clock(end)}, {numbers.seconds(end - start)}"
    found = [heading("spans of its trace", scene, said)]
    ordered = _tree(spans)
    for span, depth in ordered[:MAX_SPANS]:
        found.append(static_row(_span(span, depth, span.id == call.id, start, end, track, scene), CallTarget(span.id)))
    if len(ordered) > MAX_SPANS:
        found.append(note_line(f"and {len(ordered) - MAX_SPANS} more spans"))
    return found


def meanwhile_rows(call: Call, spans: Sequence[Call], scene: RenderContext) -> list[Row]:
    """Return what the engine did during the call, or all engines together where it is not known which it was."""
    frame = scene.view.frame
    engine = engine_of(call, spans, frame)
    if engine.entity is not None:
        title = f"meanwhile on {label(engine.entity, frame.facts)}"
        found = [heading(title, scene, engine.proof)]
        found.append(static_row((cell("  all of this engine", "label"),), EntityTarget(engine.entity)))
    else:
        found = [heading("meanwhile, service-wide", scene)]
        found += paragraph(f"not about this call's engine: {engine.proof}", scene, "dim")
    start, end = extent(spans)
    track = _track(scene)
    told = 0
    for name, how in MEANWHILE:
        about = frame.entities(name, engine.entity) if engine.entity is not None else frame.entities(name)
        if about:
            found.append(_meanwhile(name, about, how, start, end, track, scene))
            told += 1
    gpus = [link.child for link in frame.facts.children(engine.entity)] if engine.entity is not None else []
    clocks = [one for gpu in gpus for one in frame.entities("gpu.clock.sm", gpu)]
    if clocks:
        found.append(_meanwhile("gpu.clock.sm", clocks, "min", start, end, track, scene))
    elif engine.entity is not None:
        found.append(note_line("clocks unknown: no proof of which GPUs this engine uses"))
    if not told:
        found.append(note_line("no engine data in memory for that time"))
    return found


def extent(spans: Sequence[Call]) -> tuple[float, float]:
    """Return when the first span began and the last one ended."""
    start = min(span.start for span in spans)
    return start, max(max(span.end for span in spans), start + 1e-3)


def detail_rows(call: Call, scene: RenderContext) -> list[Row]:
    """Return the fields of a call."""
    known: list[tuple[str, str]] = [
        ("kind", call.kind),
        ("model", call.model),
        ("version", call.version),
        ("prompt", f"{call.prompt} {call.prompt_version}".strip()),
        ("latency", numbers.duration(call.latency)),
        ("TTFT", "not reported" if call.ttft is None else numbers.seconds(call.ttft)),
        ("tokens in, out", f"{_count(call.input_tokens)}, {_count(call.output_tokens)}"),
        ("cached tokens", _count(call.cached_tokens)),
        ("cost", "not reported" if call.cost is None else numbers.show(call.cost, "USD")),
        ("level", call.level),
        ("tenant", call.tenant),
        ("session", call.session),
        ("route", call.route),
        ("environment", call.environment),
        ("trace", call.trace),
        ("trace delay", numbers.seconds(max(call.seen - call.end, 0.0))),
    ]
    room = max(scene.width - 18, 10)
    lines: list[Line] = [
        (cell(f"  {key}", "dim", 18), cell(scene.glyphs.text(sanitize(value)), "text", room))
        for key, value in known
        if value
    ]
    moment = static_row((cell("  go to when it ended", "label"),), MomentTarget(call.end, call.id))
    return [heading("the call", scene), *map(static_row, lines), moment]


def _has_model(engine: Entity, model: str, frame: Frame) -> bool:
    names = {value for key, value in frame.facts.of(engine).items() if key == "model" or key.startswith("model_alias")}
    return model in names or model.rsplit("/", 1)[-1] in {name.rsplit("/", 1)[-1] for name in names}


def _tree(spans: Sequence[Call]) -> list[tuple[Call, int]]:
    """Return spans with their depth, each after its parent; one whose parent is not known stands by itself."""
    known = {span.id for span in spans}
    below: dict[str, list[Call]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        below[span.parent if span.parent in known and span.parent != span.id else ""].append(span)
    found: list[tuple[Call, int]] = []
    waiting = [(span, 0) for span in reversed(below[""])]
    while waiting:
        span, depth = waiting.pop()
        found.append((span, depth))
        waiting += [(child, depth + 1) for child in reversed(below.pop(span.id, []))]
    shown = {span.id for span, _ in found}
    # a circle of parents, which only a broken trace has, is shown flat
    return [*found, *((span, 0) for span in spans if span.id not in shown)]


def _track(scene: RenderContext) -> int:
    return max(scene.width - NAME - TOOK - 2, 8)


def _span(span: Call, depth: int, own: bool, start: float, end: float, track: int, scene: RenderContext) -> Line:
    glyphs = scene.glyphs
    scale = track / (end - start)
    first = min(int((span.start - start) * scale), track - 1)
    length = max(min(round((span.end - span.start) * scale), track - first), 1)
    name = "  " * min(depth, 6) + sanitize(span.name or span.kind, 40)
    took = numbers.duration(span.latency)
    style = "alarm" if span.failed else "graph" if own else "dim"
    return (
        cell(glyphs.text(("▸ " if own else "  ") + name), "value" if own else "label", NAME),
        cell(" " * first),
        cell(glyphs.text("■" * length), style),
        cell("", "text", track - first - length),
        cell(("! " if span.failed else "") + glyphs.text(took), "text", TOOK, right=True),
    )


def _meanwhile(
    name: str, about: Sequence[Entity], how: str, start: float, end: float, track: int, scene: RenderContext
) -> Row:
    frame, signal, glyphs = scene.view.frame, signals()[name], scene.glyphs
    values = _during(frame, name, about, how, start, end, track)
    present = [value for value in values if not isnan(value)]
    if present:
        low, high = (numbers.of_signal(one, signal) for one in (min(present), max(present)))
        said = low if low == high else f"{low} to {high}"
    else:
        said = "unknown"
    title = signal.title + (f", {how}" if len(about) > 1 else "")
    line = (
        cell(glyphs.text(f"  {title}"), "label", NAME),
        cell(bars(values, signal.unit, glyphs), "graph"),
        cell("  " + glyphs.text(said), "value"),
    )
    fits = sum(one.width for one in line) <= scene.width
    return static_row(line) if fits else _two(line)


def _two(line: Line) -> Row:
    # the span of values does not fit behind a track as wide as that of the spans: it takes the place of its end
    name, graph, said = line
    kept = max(graph.width + TOOK - said.width, 4)
    return static_row((name, cell(graph.text[:kept], "graph"), said))


def _during(
    frame: Frame, name: str, about: Sequence[Entity], how: str, start: float, end: float, track: int
) -> list[float]:
    """Return a number in each column of the track: each entity's newest sample then, put together."""
    timeline = frame.timeline
    first, back = timeline.slot(start), int(LOOKBACK_S / timeline.step_s)
    count = timeline.slot(end) - first + 1
    series = []
    for entity in about:
        window = timeline.window((name, entity, "value"), (first - back) * timeline.step_s, end + timeline.step_s)
        held, age = nan, back
        found = []
        for value in window:
            held, age = (value, 0) if value == value else (held, age + 1)
            found.append(held if age <= back else nan)
        series.append(found[back : back + count])
    together = merge(series, how)
    scale = (end - start) / track / timeline.step_s
    begun = start / timeline.step_s - first
    return [together[min(int(begun + (place + 0.5) * scale), len(together) - 1)] for place in range(track)]


def _count(value: int | None) -> str:
    return "not reported" if value is None else numbers.short(value)
