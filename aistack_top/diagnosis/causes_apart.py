"""Whether two assessments are of two causes, or of one that brings the other about."""

from aistack_top.diagnosis.assessment import SEEN, Assessment
from aistack_top.model.causes import Cause

TOGETHER_S = 120.0
"""Symptoms that begin within this time have one cause, unless each is explained by another."""

FOLLOWS = frozenset({Cause.CAPACITY_CHANGED, Cause.ROUTER_IMBALANCE, Cause.OVERLOAD, Cause.UNKNOWN})
"""Causes that another incident brings about: they never make an incident of their own beside it."""

JAM = frozenset({Cause.TRAFFIC_SURGE, Cause.LONG_PROMPTS, Cause.LONG_OUTPUTS, Cause.PREFIX_CACHE, Cause.KV_PRESSURE,
                 Cause.BATCH_LIMIT, Cause.SPECULATION})  # fmt: skip
"""What a jammed engine seems to suffer from when its backlog moves: requests end, and start, in lumps."""


LOAD = JAM | FOLLOWS | {Cause.SLOW_REPLICA}
"""What a burst of requests looks like: none of it makes an incident of a burst that passes."""


def is_seen_beside_load(found: Assessment) -> bool:
    """Return whether an opinion is of a cause that is seen, and that no burst of requests can look like."""
    sure = found.confidence in ("confirmed", "likely") and found.score >= SEEN
    return sure and not found.passing and not found.effect and found.cause not in LOAD


def is_other_cause(found: Assessment, known: Assessment | None, *, near: bool) -> bool:
    """Return whether an opinion of what is new is of another cause, and not of one that the known one brings about.

    ``near``: the new is at an engine of the known one, or at a replica of it, and feels its jam.
    """
    if found.confidence not in ("confirmed", "likely") or found.passing or found.effect or found.score < SEEN:
        return False
    if found.cause in FOLLOWS or known is None or known.cause is found.cause:
        return False
    if near and found.cause in JAM and known.confidence in ("confirmed", "likely"):
        return False
    fitting = {one.cause for one in found.candidates if one.cause is not None and one.score >= SEEN}
    return known.cause not in fitting
