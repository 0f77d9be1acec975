"""More of the fake world: an incident, whole traces, and numbers in every layer."""

from collections.abc import Iterable
from dataclasses import replace

from aistack_top.model.causes import Cause
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.incident import (
    CallsEvidence,
    Candidate,
    Difference,
    Incident,
    Moment,
    RuledOut,
    Symptom,
    Verdict,
)
from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch, Call, Event, Fact, Health, Quantiles, ReadingsBuilder, Tick
from tests.fakes.feed import START, World, gpu, quantiles, seconds, wave

ENGINE = Entity.of(engine="vllm-0")


def incident(onset: float = START - 60, **changes) -> Incident:
    """A thermal throttle of gpu 1 that hurts vllm-0, open unless it is said when it ended."""
    throttle = gpu(1).with_(reason="hw_thermal")
    made = Incident(
        id="i-1",
        revised=onset + 30,
        onset=onset,
        detected=onset + 20,
        end=None,
        symptom=Symptom("serving.ttft", ENGINE, 0.5, 4.1, 8.2, "p95"),
        confidence="confirmed",
        layer="compute",
        cause=Cause.THERMAL_THROTTLE,
        verdict=Verdict(
            what="TTFT p95 of vllm-0 4.1 s, 8.2x its usual 0.5 s, since the onset.",
            why="confirmed by hw_thermal of gpu 1: clocks fell to 1200 MHz 14 s before TTFT rose.",
            support=("gpu 1 hw_thermal 40 % of the time, usually 0 %", "SM clock of gpu 1 1200 MHz, usually 1980 MHz"),
            against=("gpu 0 is not throttled",),
            blind=("the fans of this node are not seen",),
            next_step="look at the air flow of gpu 1",
        ),
        candidates=(
            Candidate("gpu.throttle", throttle, "compute", 0.91, 14.0, "hw_thermal began 14 s before"),
            Candidate("gpu.clock.sm", gpu(1), "compute", 0.7, 12.0, "clock fell 12 s before"),
            Candidate("gpu.temperature", gpu(1), "compute", 0.4, None, "temperature rose; order unknown"),
        ),
        ruled_out=(RuledOut(Cause.LONG_PROMPTS, "prompt length did not change"),),
        blind_spots=("no guardrail is seen",),
        events=(Moment(onset - 14, "compute", "throttle", gpu(1), "throttling by hw_thermal began"),),
        calls=CallsEvidence(40, 12, ("only calls of vllm-0 are slow",), (Difference("ttft", "", 0.4, 3.9, "s"),)),
        baseline_s=600.0,
    )
    return replace(made, **changes)


def trace(number: int, at: float, model: str = "meta-llama/Llama-3.1-70B-Instruct", engine: str = "") -> list[Call]:
    """A trace that ended at a time: a guardrail, a retrieval, then a generation, under one root."""
    long = 1.0 + (number * 7 % 40) / 10
    start = at - long - 0.3
    common = {"trace": f"t{number}", "seen": at + 2, "updated": at + 2, "environment": "production"}

    def span(kind: str, name: str, first: float, last: float, **fields) -> Call:
        root = kind == "other"
        parent = "" if root else f"t{number}-root"
        own = f"t{number}-root" if root else f"t{number}-{name}"
        return Call(own, kind=kind, name=name, start=first, end=last, parent=parent, root=root, **common, **fields)  # type: ignore[arg-type]

    return [
        span("other", "answer", start, at),
        span("guardrail", "jailbreak", start + 0.01, start + 0.1),
        span("retrieval", "search", start + 0.1, start + 0.25),
        span(
            "generation",
            "chat",
            start + 0.3,
            at,
            model=model,
            version="1.9.0" if number % 3 else "2.0.0",
            input_tokens=900 + number % 700,
            output_tokens=120,
            ttft=0.3 + number % 5 / 10,
            cost=0.0031,
            level="ERROR" if number % 23 == 22 else "DEFAULT",
            tenant=f"tenant-{number % 4}",
            engine=engine,
        ),
    ]


def traces_batch(at: float, numbers: Iterable[int], step: float = 3.0) -> Batch:
    """Traces that ended one after the other before a time."""
    calls = [call for number in numbers for call in trace(number, at - 5 - number * step)]
    health = Health("langfuse", "langfuse", "tracing", "ok", took_s=0.1, interval_s=5.0)
    return Batch(at, at, health, calls=tuple(calls), calls_until=at - 2)


def others_batch(at: float, *, first: bool) -> Batch:
    """A number for every signal that the plain world does not tell, of whom it would be about."""
    builder = ReadingsBuilder()
    for place, (name, signal) in enumerate(signals().items()):
        if name.startswith(("gpu.", "serving.", "calls.")):
            continue
        for entity in _whose(name):
            if signal.form == "quantiles":
                builder.add(name, entity, quantiles(at, place, 0.05))
            else:
                high = 1.0 if signal.unit == "1" else 50.0
                builder.add(name, entity, wave(at, place, 0.0, high))
    process = gpu(0).with_(process="4242")
    builder.add("gpu.process.memory", process, 70e9)
    builder.add("serving.prefill_time", ENGINE, Quantiles(0.1, 0.3, 0.4, 0.15, 200.0, 60.0))
    builder.add("serving.decode_time", ENGINE, Quantiles(1.0, 2.0, 3.0, 1.4, 200.0, 60.0))
    facts = (
        Fact(Entity.of(process="4242"), "user", "serve"),
        Fact(Entity.of(process="4242"), "command", "vllm"),
        Fact(gpu(0), "serial", "1652922010123"),
        Fact(gpu(0), "pci_bus_id", "00000000:1B:00.0"),
    )
    events = (
        Event(at - 50, at, "serving", "changed", "info", ENGINE, "KV blocks 11,200 -> 7,400", "vllm"),
        Event(at - 40, at, "governance", "changed", "info", SERVICE, "rules 7 -> 8", "litellm"),
    )
    health = Health("litellm", "litellm", "governance", "ok")
    return Batch(at, at, health, builder.build(), facts=facts, events=events if first else ())


def troubled(world: World, count: int = 6, calls: int = 40, *incidents: Incident) -> list[Tick]:
    """Seconds of a world with everything there is to see, and an incident in it."""
    ticks = seconds(count, world)
    first = ticks[0]
    ticks = [replace(one, batches=(*one.batches, others_batch(one.at, first=one is first))) for one in ticks]
    batches = (*ticks[0].batches, traces_batch(first.at, range(calls)))
    found = incidents or (incident(), incident(START - 250, id="i-0", end=START - 200, revised=START - 190))
    ticks[0] = replace(first, batches=batches, incidents=tuple(sorted(found, key=lambda one: one.revised)))
    return ticks


def _whose(name: str) -> list[Entity]:
    if name.startswith("guardrail."):
        return [Entity.of(rail=rail) for rail in ("jailbreak", "toxicity", "pii")]
    if name == "spend.held.rate":
        return [Entity.of(model="llama"), Entity.of(reason="training")]
    if name == "spend.share.rate":
        return [Entity.of(tenant=f"t-{n}") for n in range(3)]
    if name == "spend.rate":
        return [SERVICE, gpu(0), gpu(1)]
    return [SERVICE]
