"""Where the time of a request goes: before the engine, in its queue, in prefill, in decode.

Means, because means of the parts add up to the mean of the whole and quantiles do not.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Call
from aistack_top.store.frame import Frame
from aistack_top.store.labels import label
from aistack_top.text import numbers
from layouts.layers import Section
from tui.model.targets import EntityTarget
from tui.sections.context import RenderContext, heading, note_line
from tui.widgets.cells import Line, cell
from tui.widgets.row_list import Row, static_row

PARTS = (
    ("serving.queue_time", "queue", "░"),
    ("serving.prefill_time", "prefill", "▒"),
    ("serving.decode_time", "decode", "█"),
)
NAME = 16
PART = 10
WINDOW_S = 120.0
MIN_TRACES = 5
MAX_SPANS = 4000
AHEAD = ("guardrail", "retrieval", "tool")


@dataclass(frozen=True, slots=True)
class BeforeEngine:
    """What passes between the start of a trace and its first call of a model, on average over ``traces``."""

    total_s: float
    parts: tuple[tuple[str, float], ...]
    traces: int


def rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return a line for each engine, and one for what happens before any engine is reached."""
    frame = scene.view.frame
    engines = sorted({e for name, _, _ in PARTS for e in frame.entities(name) if e.get("engine")}, key=str)
    times = {engine: [_mean(frame, name, engine) for name, _, _ in PARTS] for engine in engines}
    times = {engine: parts for engine, parts in times.items() if any(part is not None for part in parts)}
    before = before_engine(frame.calls(frame.at - 3 * WINDOW_S), frame.at - WINDOW_S)
    if not times and before is None:
        return []
    found = [heading(section.title, scene), static_row(_titles(scene))]
    most = max((sum(part or 0.0 for part in parts) for parts in times.values()), default=0.0)
    found += [_engine(engine, parts, most, scene) for engine, parts in times.items()]
    if before is None:
        return [*found, note_line("time before the engine: unknown (no complete trace in 2 min)")]
    said = ", ".join(f"{name} {numbers.seconds(size)}" for name, size in before.parts)
    where = f" ({said})" if said else ""
    line = f"before the engine: {numbers.seconds(before.total_s)}{where}, service-wide, mean of {before.traces} traces"
    short = f"before the engine: {numbers.seconds(before.total_s)}, mean of {before.traces} traces"
    return [*found, note_line(line if len(line) + 2 <= scene.width else short, "text")]


def before_engine(calls: Sequence[Call], since: float) -> BeforeEngine | None:
    """Return the mean time from a trace's start to its first call of a model; None of fewer than `MIN_TRACES` traces.

    Only traces that ended after ``since`` count; ``calls`` reach further back, so that their first spans are there.
    """
    traces: dict[str, list[Call]] = defaultdict(list)
    for call in calls[-MAX_SPANS:]:
        traces[call.trace].append(call)
    waits, spent = [], dict.fromkeys(AHEAD, 0.0)
    for spans in traces.values():
        root = next((span for span in spans if span.root), None)
        models = [span.start for span in spans if span.kind == "generation" and span is not root]
        ahead = [span.start for span in spans if span.kind in AHEAD]
        if not models and root is not None and root.ttft is not None:
            # a proxy's call is root and model in one: what ended before its first token was ahead of the engine
            models = [max((one.end for one in spans if _was_ahead(one, root.start + root.ttft)), default=0.0)]
        if not any(models) or max(span.end for span in spans) < since or not (root or ahead):
            continue
        first = min(models)
        # where the root is not read, the trace is taken to begin with its first guardrail, retrieval or tool
        waits.append(max(first - (root.start if root else min(ahead)), 0.0))
        for span in spans:
            if span.kind in spent and span.end <= first + 0.001:
                spent[span.kind] += span.latency or 0.0
    if len(waits) < MIN_TRACES:
        return None
    parts = tuple((kind, total / len(waits)) for kind, total in spent.items() if total > 0)
    return BeforeEngine(sum(waits) / len(waits), parts, len(waits))


def _was_ahead(span: Call, first_token: float) -> bool:
    return span.kind in AHEAD and span.end <= first_token


def _mean(frame: Frame, name: str, engine: Entity) -> float | None:
    reading = frame.read(name, engine, "mean")
    return None if reading is None or reading.stale else reading.sample.number


def _titles(scene: RenderContext) -> Line:
    signs = "  ".join(f"{sign} {name}" for _, name, sign in PARTS)
    titles = [cell(name, "dim", PART, right=True) for _, name, _ in PARTS]
    return (cell("engine", "dim", NAME), *titles, cell("  " + scene.glyphs.text(signs), "dim"))


def _engine(engine: Entity, parts: Sequence[float | None], most: float, scene: RenderContext) -> Row:
    glyphs = scene.glyphs
    room = max(min(scene.width - NAME - PART * len(PARTS) - 2, 60), 0)
    cells = [cell(glyphs.text(label(engine, scene.view.frame.facts)), "label", NAME)]
    bar = ""
    for (_, _, sign), part in zip(PARTS, parts, strict=True):
        said = numbers.UNKNOWN if part is None else numbers.seconds(part)
        cells.append(cell(glyphs.text(said), "dim" if part is None else "value", PART, right=True))
        bar += sign * round((part or 0.0) / most * room) if most else ""
    return static_row((*cells, cell("  " + glyphs.text(bar[:room]), "graph")), EntityTarget(engine))
