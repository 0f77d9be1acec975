"""Which incident a new symptom or event belongs to: an open one whose story it is, or none, which makes it another.

An incident that has ended is never opened again: its calm minute is over, and what comes after has its own onset.
"""

from collections.abc import Iterable

from aistack_top.diagnosis.alarms import STORIES, place_of
from aistack_top.diagnosis.anomaly import Anomaly
from aistack_top.diagnosis.assessment import Assessment, assess
from aistack_top.diagnosis.causes_apart import TOGETHER_S
from aistack_top.diagnosis.context import IncidentContext, family
from aistack_top.diagnosis.open_incident import OpenIncident
from aistack_top.diagnosis.unreachable import is_back
from aistack_top.model.entity import Entity
from aistack_top.model.incident import Symptom
from aistack_top.model.tick import Event
from aistack_top.state import State
from aistack_top.store.facts import Facts
from aistack_top.store.links import gpus_of


def is_related(excursion: Anomaly, trouble: OpenIncident, facts: Facts) -> bool:
    """Return whether a symptom may belong to an open incident, by what and whom both are about."""
    signal, entity, _ = excursion.key
    together = abs(excursion.onset - trouble.onset) <= TOGETHER_S
    part, parts = family(signal), {family(other.key[0]) for other in trouble.excursions}
    if part:
        return part in parts or together
    if together or not entity.get("engine") or trouble.is_wide:
        return True
    return is_near(place_of(entity), trouble, facts)


def is_across(excursion: Anomaly, trouble: OpenIncident) -> bool:
    """Return whether only one of the two is about what stands around the engines."""
    parts = {family(other.key[0]) for other in trouble.excursions}
    if family(excursion.key[0]):
        return parts == {""}
    return bool(parts) and "" not in parts and not excursion.key[0].startswith("calls.")


def is_apart_across(excursion: Anomaly, found: Assessment, known: Assessment | None, trouble: OpenIncident) -> bool:
    """Return whether the two of `is_across` are two incidents.

    Of the requests that a rail stops engines feel a little, and only so much may be said of them: one incident then.
    """
    if known is None or known.cause is found.cause:
        return known is None
    if not family(excursion.key[0]):
        return found.confidence != "possible"
    if any(other.key[0].startswith("serving.") for other in trouble.excursions):
        return known.confidence != "possible"
    return known.confidence in ("confirmed", "likely")


def is_near(place: Entity, trouble: OpenIncident, facts: Facts) -> bool:
    """Return whether a place is one of an incident's, or serves a model of them."""
    if place in trouble.places:
        return True
    model = facts.get(place, "model")
    return model is not None and model in {facts.get(other, "model") for other in trouble.places}


def opinion_of(excursion: Anomaly, state: State, at: float) -> Assessment:
    """Return what explains one symptom by itself, from its own onset and place."""
    signal, entity, stat = excursion.key
    scene = IncidentContext(state, place_of(entity), excursion.onset, at, (excursion,))
    symptom = Symptom(signal, entity, excursion.usual, excursion.peak, excursion.ratio, stat)
    return assess(scene, symptom, excursion.key, excursion.baseline_s)


def is_same_story(event: Event, place: Entity, trouble: OpenIncident, state: State) -> bool:
    """Return whether an event belongs to an open incident: by place and time, and as what its event leads to."""
    near = trouble.is_wide or place in trouble.places or event.entity in _gpus(trouble.places, state.facts)
    together = abs(trouble.onset - event.at) <= TOGETHER_S
    kinds = [one.kind for one in trouble.events]
    if not kinds:
        return together
    if event.kind == "gone" and "gone" in kinds and all(is_back(state, source) for source in trouble.gone):
        return False
    same = event.kind in kinds or any((kind, event.kind) in STORIES for kind in kinds)
    return same and (near or together)


def _gpus(places: Iterable[Entity], facts: Facts) -> set[Entity]:
    return {gpu for place in places for gpu in gpus_of(place, facts)}
