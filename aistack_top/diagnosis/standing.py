"""Whether the evidence of a verdict still stands: a cause may be over, or its source lost, before the trouble is."""

from dataclasses import replace

from aistack_top.diagnosis.assessment import Assessment, Evidence
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.model.incident import WORDS
from aistack_top.state import State
from aistack_top.text.sanitize import sanitize

CALM_S = 30.0
MIN_SAMPLES = 3
"""So long, with so many samples, all evidence must be back on its baseline's side before the cause is gone."""

LOOKBACK_S = 1800.0


def cause_gone_since(opinion: Assessment | None, state: State, onset: float, at: float) -> float | None:
    """Return since when all evidence of a cause is back at its baseline; None where some of it stands."""
    if opinion is None or opinion.effect or not opinion.evidence:
        return None
    since = onset
    for one in opinion.evidence:
        back = _back_since(one, state, max(onset, at - LOOKBACK_S), at)
        if back is None:
            return None
        since = max(since, back)
    return since


def _back_since(one: Evidence, state: State, start: float, at: float) -> float | None:
    """Return since when one piece of evidence is nearer to its baseline than to what it was; None where it is not."""
    step = state.timeline.step_s
    half = (one.usual + one.during) / 2
    known = [
        (start + number * step, value)
        for number, value in enumerate(state.timeline.window(one.key, start, at + step))
        if value == value
    ]
    back: list[float] = []
    for moment, value in reversed(known):
        if (value >= half) == (one.during >= half):
            break
        back.append(moment)
    long_enough = len(back) >= MIN_SAMPLES and at - back[-1] >= CALM_S
    return back[-1] if long_enough and len(back) < len(known) else None


def lost_evidence(opinion: Assessment, scene: IncidentContext) -> str:
    """Return the name of a source that a verdict's evidence came from and that is lost; empty where all stands."""
    return next((sanitize(scene.lost_source(one.key)) for one in opinion.evidence if scene.is_silent(one.key)), "")


def weakened(opinion: Assessment, source: str) -> Assessment:
    """Return an opinion without its evidence: no longer confirmed, with the reason."""
    if opinion.confidence != "confirmed":
        return opinion
    why = opinion.verdict.why.replace(WORDS["confirmed"], WORDS["likely"], 1)
    why += f" ({source} no longer reports: its evidence is from before)"
    return replace(opinion, confidence="likely", verdict=replace(opinion.verdict, why=why))
