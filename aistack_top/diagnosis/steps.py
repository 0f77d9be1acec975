"""Next steps with what is known filled in: process, XID action, tenant, compaction, deadline, host, other GPUs.

A rule has a step that always holds (``next_step``) and others for when their details are known (``known_steps``). A
detail that is not known is never guessed: the first step of which all details are known stands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from aistack_top.derive.incident_figures import clock
from aistack_top.diagnosis.change import present
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.model.entity import Entity
from aistack_top.model.incident import CallsEvidence
from aistack_top.model.signals import signals
from aistack_top.model.tick import Event, SeriesKey
from aistack_top.store.labels import label
from aistack_top.store.links import gpus_of
from aistack_top.text.numbers import show
from aistack_top.text.sanitize import sanitize
from aistack_top.text.timestamps import from_rfc3339

MIN_TENANT_RISE = 0.1
"""A tenant is named whose share of the calls rose by at least so much."""

NEW_WITHIN_S, STEPS_LATE = 1800.0, 6
"""A process is new that was first seen in the half hour before, some steps after its GPU was."""

MIN_LINK_ERRORS = 1.0
"""Errors a second more than before: a link with fewer is not the other end of what is broken."""

KILLED_WITHIN_S = 120.0
"""What was killed for lack of memory so long before or after the onset may be why an engine is gone."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a step may be filled in from: whom it is about, the event behind it, and the affected calls."""

    scene: IncidentContext
    subject: Entity
    event: Event | None = None
    calls: CallsEvidence | None = None
    keys: tuple[SeriesKey, ...] = ()
    """The series that the cause stands on."""


def filled(template: str, known: Known) -> str | None:
    """Return a step with its details, or None where one of them is not known."""
    names = {name for _, name, _, _ in Formatter().parse(template) if name}
    details = {name: _DETAILS[name](known) for name in names}
    if any(not value for value in details.values()):
        return None
    return sanitize(template.format(**details), 400)


def details() -> frozenset[str]:
    """Return the names of what a step can be filled in with."""
    return frozenset(_DETAILS)


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
    told = dict(known.event.detail).get("action", "") if known.event is not None else ""
    if told:
        return sanitize(told, 120)
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
    """Yield the processes on a GPU, or on an engine's, that are no engine's: whether each is new there, its bytes."""
    scene, timeline, facts = known.scene, known.scene.state.timeline, known.scene.state.facts
    engines = [Entity.of(engine=name) for name in (known.subject.get("engine"),) if name]
    engines += [Entity.of(engine=name) for _, entity, _ in known.keys if (name := entity.get("engine"))]
    gpus = {gpu.get("gpu") for engine in engines for gpu in gpus_of(engine, facts)}
    gpus |= {known.subject.get("gpu"), *(entity.get("gpu") for _, entity, _ in known.keys)}
    own = {_pid_of(link.detail) for gpu in gpus - {None} for link in facts.parents(Entity.of(gpu=gpu or ""))}
    start = scene.onset - NEW_WITHIN_S
    for entity in timeline.entities("gpu.process.memory"):
        pid, gpu = entity.get("process"), entity.get("gpu")
        if pid is None or gpu not in gpus or pid in own:
            continue
        values = timeline.window(("gpu.process.memory", entity, "value"), start, scene.until + timeline.step_s)
        if since := present(values):
            watched = timeline.window(("gpu.processes", Entity.of(gpu=gpu or ""), "value"), start, scene.onset)
            yield _first(watched) + STEPS_LATE < _first(values), since[-1], Entity.of(process=pid)


def _first(values: Sequence[float]) -> int:
    """Return the place of the first value that is no gap."""
    return next((place for place, value in enumerate(values) if value == value), len(values))


def _pid_of(detail: str) -> str:
    """Return the process id that a link's proof names; empty where it names none."""
    return next((word.strip(",:;") for word in detail.removeprefix("pid ").split()[:1]), "")


def _engine_process(known: Known) -> str:
    links = known.scene.state.facts.children(known.subject)
    pid = _pid_of(next((link.detail for link in links if link.detail.startswith("pid ")), ""))
    return pid if pid.isdigit() else ""


def _container(known: Known) -> str:
    """Return the container of an engine's server, as short as docker shows it."""
    return sanitize((known.scene.state.facts.get(known.subject, "container") or "")[:12], 12)


def _server_process(known: Known) -> str:
    """Return the id of an engine's server process."""
    told = known.scene.state.facts.get(known.subject, "pid") or ""
    return told if told.isdigit() else ""


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
    """Return the other GPUs whose links were lost or had errors at the same time: the other ends of what is broken."""
    scene = known.scene
    found: dict[str, None] = {}
    for signal in ("gpu.nvlink.active", "gpu.nvlink.errors"):
        for entity in scene.state.timeline.entities(signal):
            shift = scene.shift((signal, entity, "value"))
            if entity == known.subject or shift is None or shift.usual is None:
                continue
            is_lost = signal == "gpu.nvlink.active" and shift.bottom < shift.usual
            if is_lost or (signal == "gpu.nvlink.errors" and shift.top - shift.usual >= MIN_LINK_ERRORS):
                found[label(entity, scene.state.facts)] = None
    return ", ".join(found)


def _faulty_gpu(known: Known) -> str:
    """Return the GPU at the PCI address that a log names."""
    facts = known.scene.state.facts
    address = _pci(_detail("pci")(known))
    rows = facts.rows() if address is not None else ()
    found = (
        entity for entity, key, value in rows if key == "pci_bus_id" and entity.get("gpu") and _pci(value) == address
    )
    gpu = next(found, None)
    return "" if gpu is None else label(gpu, facts)


def _pci(text: str) -> tuple[int, ...] | None:
    """Return domain, bus and device of a PCI address: logs write ``0000:3b:00``, NVML ``00000000:3B:00.0``."""
    try:
        domain, bus, device = (int(part.partition(".")[0], 16) for part in text.split(":"))
    except ValueError:
        return None
    return domain, bus, device


def _source_reason(known: Known) -> str:
    return dict(known.event.detail).get("reason", "") if known.event is not None else ""


def _detail(name: str) -> Callable[[Known], str]:
    """Return what reads a detail of the event: what changed, and from what to what."""
    return lambda known: sanitize(dict(known.event.detail).get(name, ""), 60) if known.event is not None else ""


def _newest(signal: str) -> Callable[[Known], str]:
    """Return what reads the newest value of a signal of the subject."""

    def read(known: Known) -> str:
        scene = known.scene
        sample = scene.state.timeline.sample((signal, known.subject, "value"), scene.until, 60.0)
        return "" if sample is None else show(sample.number, signals()[signal].unit)

    return read


def _limit(known: Known) -> str:
    """Return from what to what the power limit was lowered."""
    shift = known.scene.shift(("gpu.power.limit", known.subject, "value"))
    if shift is None or shift.usual is None or shift.bottom >= shift.usual:
        return ""
    return f"{show(shift.usual, 'W')} -> {show(shift.bottom, 'W')}"


def _index(known: Known) -> str:
    """Return a GPU's number, as nvidia-smi wants it."""
    told = known.scene.state.facts.get(known.subject, "index") or ""
    return told if told.isdigit() else ""


def _replica(known: Known) -> str:
    """Return the other engine that a cause is about: the one that is away, or given nothing."""
    own, facts = known.subject.get("engine"), known.scene.state.facts
    about = [known.event.entity] if known.event is not None else []
    about += [entity for _, entity, _ in known.keys]
    names = [entity.get("engine") or entity.get("source") for entity in about]
    return next((label(Entity.of(engine=name), facts) for name in names if name and name != own), "")


def _peer(known: Known) -> str:
    others = known.scene.others_of(known.subject)
    return label(others[0], known.scene.state.facts) if others else ""


def _job(known: Known) -> str:
    """Return the training job whose numbers a cause stands on."""
    about = next((entity for signal, entity, _ in known.keys if signal.startswith("training.")), None)
    return "" if about is None or not about.pairs else label(about, known.scene.state.facts)


def _killed(known: Known) -> str:
    """Return what the kernel killed for lack of memory around the onset."""
    near = [e for e in known.scene.events if e.kind == "oom" and abs(e.at - known.scene.onset) <= KILLED_WITHIN_S]
    event = next((e for e in near if dict(e.detail).get("pid")), near[0] if near else None)
    return "" if event is None else sanitize(event.text, 120)


_DETAILS: Mapping[str, Callable[[Known], str]] = {
    "who": _who,
    "action": _action,
    "code": _code,
    "deadline": _deadline,
    "process": _process,
    "pid": _engine_process,
    "server": _server_process,
    "tenant": _tenant,
    "compaction": _compaction,
    "host": _host,
    "others": _other_gpus,
    "reason": _source_reason,
    "container": _container,
    "index": _index,
    "temperature": _newest("gpu.temperature"),
    "usage": _newest("serving.kv_cache.usage"),
    "limit": _limit,
    "replica": _replica,
    "peer": _peer,
    "job": _job,
    "killed": _killed,
    "key": _detail("key"),
    "faulty": _faulty_gpu,
    "pci": _detail("pci"),
    "before": _detail("before"),
    "after": _detail("after"),
}
"""What a step can be filled in with, by its name in ``known_steps``; an empty text is not known."""
