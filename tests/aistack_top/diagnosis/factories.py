"""A made-up incident with everything in it that one can have."""

from aistack_top.model.causes import Cause
from aistack_top.model.entity import Entity
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

ENGINE = Entity.of(engine="chat-0")
GPU = Entity.of(gpu="GPU-0")


def incident(revised, name="i-1", end=None, onset=None, **changes):
    """An incident as it was known at a time; it began 60 s before, or at ``onset``."""
    begun = revised - 60.0 if onset is None else onset
    values = {
        "id": name,
        "revised": revised,
        "onset": begun,
        "detected": begun + 30.0,
        "end": end,
        "symptom": Symptom("serving.ttft", ENGINE, 0.5, 4.0, 8.0, "p95"),
        "confidence": "likely",
        "layer": "compute",
        "cause": Cause.THERMAL_THROTTLE,
        "verdict": Verdict("TTFT p95 4.0 s", "likely: heat", ("clock fell",), ("queue rose",), ("no traces",), "look"),
        "candidates": (Candidate("gpu.clock.sm", GPU, "compute", 0.75, 15.0, "fell", Cause.THERMAL_THROTTLE),),
        "ruled_out": (RuledOut(Cause.KV_PRESSURE, "KV cache at 0.5"),),
        "blind_spots": ("no traces",),
        "events": (Moment(begun, "compute", "throttle", GPU, "throttle began"),),
        "calls": CallsEvidence(40, 50, ("only 1.9.0 is slow",), (Difference("version", "1.9.0", 0.5, 1.0, "1"),)),
        "place": ENGINE,
        "baseline_s": 900.0,
    }
    return Incident(**{**values, **changes})
