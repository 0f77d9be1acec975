"""Versions of a model and of a prompt beside each other, from the calls of the time shown; the slower one is marked."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from aistack_top.measure.quantiles import sample_quantiles
from aistack_top.model.tick import Call
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.layers import Section
from tui.model.targets import CallsTarget
from tui.sections.context import RenderContext, heading, note_line
from tui.widgets.cells import Line, cell
from tui.widgets.row_list import Row, static_row

NAME = 28
WIDTHS = (8, 12, 12, 10, 10)
TITLES = ("calls", "latency p95", "TTFT p95", "errors", "in p50")
NOTABLE = 1.25
"""A version is marked where its p95 is this many times that of the fastest one of the same model or prompt."""

MODEL_KINDS = ("generation", "embedding")


@dataclass(frozen=True, slots=True)
class VersionCalls:
    """One version of one model or prompt, and what its calls took; None where they are too few."""

    name: str
    version: str
    calls: int
    latency: float | None
    ttft: float | None
    errors: float
    prompt_tokens: float | None
    wanted: str


def rows(section: Section, scene: RenderContext) -> list[Row]:
    """Return models and prompts that had calls in the time shown, each version in a line."""
    view = scene.view
    calls = view.frame.calls(min(view.end, view.frame.at) - view.span_s)
    found = versions([call for call in calls if call.kind in MODEL_KINDS])
    if not found:
        return []
    titles = [cell(title, "dim", width, right=True) for title, width in zip(TITLES, WIDTHS, strict=True)]
    lines = [heading(section.title, scene), static_row((cell("model / prompt version", "dim", NAME), *titles))]
    for group in found:
        slowest = _slowest(group)
        lines += [static_row(_line(one, one is slowest, scene), CallsTarget(one.wanted)) for one in group]
    return [*lines, note_line("too few: under 20 calls with that version")] if _few(found) else lines


def versions(calls: Sequence[Call]) -> list[list[VersionCalls]]:
    """Return the versions of each model and each prompt, the newest first seen last."""
    groups: dict[tuple[str, str], dict[str, list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        if call.model:
            groups["model", call.model][call.version].append(call)
        if call.prompt:
            groups["prompt", call.prompt][call.prompt_version].append(call)
    return [
        [_version(kind, name, version, theirs) for version, theirs in known.items()]
        for (kind, name), known in groups.items()
        if kind == "model" or len(known) > 1
    ]


def _version(kind: str, name: str, version: str, calls: list[Call]) -> VersionCalls:
    ttfts = [call.ttft for call in calls if call.ttft is not None]
    tokens = [call.input_tokens for call in calls if call.input_tokens is not None]
    wanted = f"{kind}:{name.rsplit('/', 1)[-1]}" + (f" version:{version}" if version and kind == "model" else "")
    return VersionCalls(
        name.rsplit("/", 1)[-1] if kind == "model" else f"prompt {name}",
        version,
        len(calls),
        _p95([call.latency for call in calls if call.latency is not None]),
        _p95(ttfts),
        sum(call.failed for call in calls) / len(calls),
        median(tokens) if tokens else None,
        sanitize(wanted, 100) if " " not in name + version else "",
    )


def _p95(values: list[float]) -> float | None:
    found = sample_quantiles(values, 60.0).p95 if values else None
    return found if isinstance(found, float) else None


def _slowest(group: list[VersionCalls]) -> VersionCalls | None:
    known = [one for one in group if one.latency is not None]
    if len(known) < 2:
        return None
    slowest = max(known, key=lambda one: one.latency or 0.0)
    fastest = min(one.latency or 0.0 for one in known)
    return slowest if (slowest.latency or 0.0) >= NOTABLE * fastest else None


def _few(found: list[list[VersionCalls]]) -> bool:
    return any(one.latency is None for group in found for one in group)


def _line(one: VersionCalls, slowest: bool, scene: RenderContext) -> Line:
    glyphs = scene.glyphs
    name = sanitize(f"{one.name} {one.version}".strip(), 60)
    latency = numbers.TOO_FEW if one.latency is None else numbers.seconds(one.latency)
    ttft = numbers.TOO_FEW if one.ttft is None else numbers.seconds(one.ttft)
    told = (
        numbers.short(one.calls),
        ("▲ " if slowest else "") + latency,
        ttft,
        numbers.show(one.errors, "1"),
        numbers.UNKNOWN if one.prompt_tokens is None else numbers.short(one.prompt_tokens),
    )
    cells = [
        cell(glyphs.text(said), "warning" if slowest and place == 1 else "value", width, right=True)
        for place, (said, width) in enumerate(zip(told, WIDTHS, strict=True))
    ]
    return (cell(glyphs.text(name), "label", NAME), *cells)
