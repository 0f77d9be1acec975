"""Next steps with what is known filled in: process, XID action, tenant, compaction, deadline, host, other GPUs.

A rule has a step that always holds (``next_step``) and one for when its details are known (``known_step``). A detail
that is not known is never guessed: the step that always holds stands instead.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from string import Formatter

from aistack_top.derive.incident_figures import clock
from aistack_top.diagnosis.change import present
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence
from aistack_top.model.signals import signals
from aistack_top.model.tick import Event
from aistack_top.store.labels import label
from aistack_top.text.numbers import show
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import from_rfc3339

MIN_TENANT_RISE = 0.1
"""A tenant is named whose share of the calls rose by at least so much."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a step may be filled in from: whom it is about, the event behind it, and the affected calls."""

    scene: IncidentContext
    subject: Entity
    event: Event | None = None
    calls: CallsEvidence | None = None


def filled(template: str, known: Known) -> str | None:
    """Return a step with its details, or None where one of them is not known."""
    names = {name for _, name, _, _ in Formatter().parse(template) if name}
    details = {name: _DETAILS[name](known) for name in names}
    if any(not value for value in details.values()):
        return None
    return sanitize(template.format(**details), 400)


def due_of(event: Event | None) -> float | None:
    """Return the time until which a notice gives; None where it names none."""
    text = dict(event.detail).get("due", "") if event is not None else ""
    try:
        return from_rfc3339(text) if text else None
    except ValueError:
        return None


def _who(known: Known) -> str:
    return label(known.subject, known.scene.state.facts)


def _action(known: Known) -> str:
    """Return the documented action of an XID event, which stands behind what happened."""
    return known.event.text.rpartition("; ")[2] if known.event is not None and "; " in known.event.text else ""


def _code(known: Known) -> str:
    return dict(known.event.detail).get("code", "") if known.event is not None else ""


def _deadline(known: Known) -> str:
    due = due_of(known.event)
    return "" if due is None else clock(due)


def _process(known: Known) -> str:
    """Return the process that came to a GPU: its id, command and user."""
    found = [row for row in _processes(known) if row[0]]
    if not found:
        return ""
    _, size, entity = max(found, key=lambda row: row[1])
    facts = known.scene.state.facts
    command, user = facts.get(entity, "command"), facts.get(entity, "user")
    told = ", ".join(one for one in (command or "", f"user {user}" if user else "") if one)
    pid = entity.get("process") or ""
    return f"process {pid}" + (f" ({told})" if told else "") + f", which holds {show(size, 'By')}"


def _processes(known: Known) -> Iterator[tuple[bool, float, Entity]]:
    """Yield the processes on a GPU: whether each came within the last quarter of an hour before the onset, its size."""
    scene, timeline = known.scene, known.scene.state.timeline
    gpu = known.subject.get("gpu")
    for entity in timeline.entities("gpu.process.memory"):
        pid = entity.get("process")
        if pid is None or entity.get("gpu") != gpu:
            continue
        key = ("gpu.process.memory", entity, "value")
        since = present(timeline.window(key, scene.onset - 60.0, scene.until + timeline.step_s))
        if not since:
            continue
        before = timeline.window(key, scene.onset - 1800.0, scene.onset - 900.0)
        lately = timeline.window(key, scene.onset - 180.0, scene.onset - 60.0)
        old = any(isfinite(value) for value in (*before, *lately))
        yield not old, since[-1], Entity.of(process=pid)


def _engine_process(known: Known) -> str:
    links = known.scene.state.facts.children(known.subject)
    detail = next((link.detail for link in links if link.detail.startswith("pid ")), "")
    pid = detail.split()[1].rstrip(",") if detail else ""
    return pid if pid.isdigit() else ""


def _tenant(known: Known) -> str:
    """Return the tenant whose share of the calls rose most."""
    rises = [
        ((one.during or 0.0) - (one.before or 0.0), one)
        for one in (known.calls.contrasts if known.calls else ())
        if one.field == "tenant" and one.value
    ]
    rise, worst = max(rises, key=lambda pair: pair[0], default=(0.0, None))
    if worst is None or rise < MIN_TENANT_RISE:
        return ""
    return f"tenant {worst.value} ({show(worst.before, '1')} -> {show(worst.during, '1')} of the calls)"


def _compaction(known: Known) -> str:
    return _moved(known, "data.compactions")


def _moved(known: Known, signal: str) -> str:
    """Return the largest value of a signal that rose, with its baseline."""
    timeline = known.scene.state.timeline
    found = [known.scene.shift((signal, entity, "value")) for entity in timeline.entities(signal)]
    rose = [one for one in found if one is not None and one.usual is not None and one.top > one.usual]
    worst = max(rose, key=lambda one: one.top - (one.usual or 0.0), default=None)
    unit = signals()[signal].unit
    return "" if worst is None else f"{show(worst.usual, unit)} -> {show(worst.top, unit)}"


def _host(known: Known) -> str:
    entities = known.scene.state.timeline.entities("host.cpu.utilization")
    return next((name for entity in entities if (name := entity.get("node"))), "")


def _other_gpus(known: Known) -> str:
    """Return the other GPUs that lost links at the same time: the other ends of what is broken."""
    scene = known.scene
    found = []
    for entity in scene.state.timeline.entities("gpu.nvlink.active"):
        shift = scene.shift(("gpu.nvlink.active", entity, "value"))
        if entity != known.subject and shift is not None and shift.usual and shift.bottom < shift.usual:
            found.append(label(entity, scene.state.facts))
    return ", ".join(found)


def _source_reason(known: Known) -> str:
    return dict(known.event.detail).get("reason", "") if known.event is not None else ""


_DETAILS: Mapping[str, Callable[[Known], str]] = {
    "who": _who,
    "action": _action,
    "code": _code,
    "deadline": _deadline,
    "process": _process,
    "pid": _engine_process,
    "tenant": _tenant,
    "compaction": _compaction,
    "host": _host,
    "others": _other_gpus,
    "reason": _source_reason,
}
"""What a step can be filled in with, by its name in ``known_step``; an empty text is not known."""
