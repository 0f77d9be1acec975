"""Everything at one moment, as data and as text: what ``aistack-top snapshot`` prints.

The document's form is ``aistack-top/snapshot/2``; its JSON Schema is ``docs/schema/snapshot.json``.
"""

from collections.abc import Iterator
from datetime import datetime
from math import isfinite
from typing import Any

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import LAYERS, Signal, signals
from aistack_top.model.tick import STATS, Bound, Health
from aistack_top.spend.unknown import why_unknown
from aistack_top.store.frame import Frame, finished_only
from aistack_top.store.frame import Reading as Shown
from aistack_top.store.labels import label
from aistack_top.text import numbers
from aistack_top.text.incident_json import incident_data
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import rfc3339

SCHEMA = "aistack-top/snapshot/2"
EVENTS_S = 3600.0
HEALTHY = ("ok", "slow")
ANSWERING = (*HEALTHY, "partial", "stale")
NOT_ASKED = ("prices",)
"""Kinds of source that answer whatever is reachable: they say nothing about what the user asked for."""


def document(frame: Frame, node: str) -> dict[str, Any]:
    """Return the snapshot of a frame as JSON-ready data; a list's order is the layers', then the sources' own."""
    sources = [_source(seen, health, frame.at) for seen, health in frame.health]
    readings = [_reading(signal, entity, parts) for signal, entity, parts in _groups(frame)]
    events = [
        {
            "time": rfc3339(event.at),
            "layer": event.layer,
            "kind": event.kind,
            "severity": event.severity,
            "entity": event.entity.as_dict(),
            "text": event.text,
        }
        for event in frame.events(frame.at - EVENTS_S)
    ]
    spend = {name: frame.read(name) for name, signal in signals().items() if signal.layer == "spend"}
    return {
        "schema": SCHEMA,
        "time": rfc3339(frame.at),
        "node": node,
        "sources": sources,
        "readings": readings,
        "events": events,
        "spend": {name: _number(shown.sample.value) if shown else None for name, shown in spend.items()},
        "incidents": [incident_data(incident) for incident in frame.incidents if incident.open],
    }


def text(frame: Frame, node: str) -> str:
    """Return the snapshot for a person, line by line and without drawing, so that a screen reader can read it."""
    moment = datetime.fromtimestamp(frame.at).astimezone()
    lines = [f"aistack-top on {sanitize(node)} at {moment:%Y-%m-%d %H:%M:%S %Z}"]
    lines += _source_lines(frame)
    lines += _incident_lines(frame)
    known: dict[str, list[str]] = {layer: [] for layer in LAYERS}
    for signal, entity, parts in _groups(frame):
        whose = "" if entity is SERVICE else f" [{label(entity, frame.facts)}]"
        partial = " (partial)" if frame.partial(signal, entity) else ""
        known[signal.layer].append(f"  {signal.title}{whose}: {_spoken(signal, parts)}{partial}")
    if any(entity.get("tenant") for entity in frame.entities("calls.rate")):
        known["tracing"].append(f"  by tenant: {finished_only(frame)}")
    if frame.read("spend.rate") is None:
        known["spend"].insert(0, f"  spend: {why_unknown(frame)}")
    for number, layer in enumerate(LAYERS, 1):
        lines += ["", f"{number} {layer}"]
        lines += known[layer] or ["  nothing known: no source tells anything about this layer"]
    recent = frame.events(frame.at - EVENTS_S)
    if recent:
        lines += ["", "events of the last hour, newest first"]
        for event in reversed(recent[-20:]):
            when = datetime.fromtimestamp(event.at).astimezone()
            lines.append(
                f"  {when:%H:%M:%S} {event.severity} {label(event.entity, frame.facts)}: {sanitize(event.text)}"
            )
    return "\n".join(lines) + "\n"


def exit_code(frame: Frame) -> int:
    """Return 3 when none of the sources could be reached, 1 when one fails or an incident is open, else 0."""
    records = [health for _, health in frame.health]
    asked = [health for health in records if health.kind not in NOT_ASKED]
    if not any(health.status in ANSWERING for health in asked):
        return 3
    critical = any(event.severity == "critical" for event in frame.events(frame.at - EVENTS_S))
    trouble = critical or any(incident.open for incident in frame.incidents)
    return 1 if trouble or any(health.status not in HEALTHY for health in records) else 0


def _groups(frame: Frame) -> Iterator[tuple[Signal, Entity, dict[str, Shown]]]:
    """Yield each signal of each entity that has a number now, in the order of the table of signals."""
    stats = ("value", *STATS)
    for name, signal in signals().items():
        for entity in frame.entities(name):
            parts = {stat: shown for stat in stats if (shown := frame.read(name, entity, stat))}
            if parts:
                yield signal, entity, parts


def _reading(signal: Signal, entity: Entity, parts: dict[str, Shown]) -> dict[str, Any]:
    newest = max(parts.values(), key=lambda shown: shown.sample.at)
    if signal.form == "quantiles":
        current = {stat: shown for stat, shown in parts.items() if shown.sample.at == newest.sample.at}
        value: Any = {stat: _number(current[stat].sample.value) if stat in current else None for stat in STATS}
    else:
        value = _number(newest.sample.value)
    return {
        "time": rfc3339(newest.sample.at),
        "layer": signal.layer,
        "signal": signal.name,
        "entity": entity.as_dict(),
        "value": value,
        "unit": signal.unit,
        "source": newest.source,
    }


def _number(value: float | Bound) -> float | dict[str, float] | None:
    """Return a value for JSON, which has neither NaN nor infinity: these are None."""
    limit = value.limit if isinstance(value, Bound) else value
    if not isfinite(limit):
        return None
    return {value.side: _rounded(limit)} if isinstance(value, Bound) else _rounded(limit)


def _rounded(value: float) -> float:
    # the timeline holds float32: its 0.1 is 0.10000000149, which is noise and not knowledge
    return float(f"{value:.7g}")


def _spoken(signal: Signal, parts: dict[str, Shown]) -> str:
    if signal.form != "quantiles":
        return _aged(numbers.show(parts["value"].sample.value, signal.unit), parts["value"])
    known = [stat for stat in ("p50", "p95", "p99") if stat in parts]
    said = [f"{stat} {numbers.show(parts[stat].sample.value, signal.unit)}" for stat in known] or [numbers.TOO_FEW]
    newest = max(parts.values(), key=lambda shown: shown.sample.at)
    count, window = parts.get("count"), parts.get("window_s")
    if count and window:
        said.append(f"{count.sample.number:.0f} in {numbers.seconds(window.sample.number)}")
    return _aged(", ".join(said), newest)


def _aged(said: str, shown: Shown) -> str:
    return f"{said} ({numbers.age(shown.age_s)} old)" if shown.stale else said


def _source(seen: float, health: Health, at: float) -> dict[str, Any]:
    age = None if health.age_s is None else max(at - seen, 0.0) + health.age_s
    return {
        "name": health.source,
        "kind": health.kind,
        "layer": health.layer,
        "status": health.status,
        "age_s": None if age is None else round(age, 3),
        "detail": health.reason,
    }


def _incident_lines(frame: Frame) -> list[str]:
    lines = []
    for incident in frame.incidents:
        if incident.open:
            verdict = incident.verdict
            lines += [
                f"incident {sanitize(incident.id)}: {sanitize(verdict.what, 400)}",
                f"  {sanitize(verdict.why, 400)}",
            ]
            lines += [f"  for: {sanitize(text, 400)}" for text in verdict.support]
            lines += [f"  against: {sanitize(text, 400)}" for text in verdict.against]
            lines += [f"  not seen: {sanitize(text, 400)}" for text in verdict.blind]
            lines += [f"  next: {sanitize(verdict.next_step, 400)}"] if verdict.next_step else []
    return lines


def _source_lines(frame: Frame) -> list[str]:
    lines = []
    for seen, health in frame.health:
        row = _source(seen, health, frame.at)
        detail = f": {sanitize(health.reason)}" if health.reason else ""
        lines.append(
            f"source {sanitize(health.source)} {health.status}, last data {numbers.age(row['age_s'])} ago{detail}"
        )
    return [line.replace("last data never ago", "no data yet") for line in lines] or [
        "no source is configured or found"
    ]
