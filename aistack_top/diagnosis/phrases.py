"""What a series did, in words: number, baseline and order."""

from math import inf

from aistack_top.diagnosis.change import Change
from aistack_top.diagnosis.context import IncidentContext
from aistack_top.model.signals import signals
from aistack_top.store.labels import label
from aistack_top.text.numbers import show


def sentence(shift: Change, scene: IncidentContext, lead: float | None) -> str:
    """Return what a series did, with number, baseline and lead."""
    signal = signals()[shift.key[0]]
    who = label(shift.key[1], scene.state.facts)
    stat = "" if shift.key[2] == "value" else f" {shift.key[2]}"
    now = show(shift.now, signal.unit)
    if shift.usual is None:
        return f"{signal.title}{stat} [{who}] {now}, no baseline"
    # a score is of the direction that hurts; what went the other way did change
    if shift.score < 0.1 and abs(shift.now - shift.usual) < max(signal.floor, 0.2 * abs(shift.usual)):
        return f"{signal.title}{stat} [{who}] {now}, unchanged"
    text = f"{signal.title}{stat} [{who}] {show(shift.usual, signal.unit)} -> {now}"
    return f"{text}, {order_of(lead)}" if lead is not None else text


def order_of(lead: float | None) -> str:
    """Return how a series or an event stands to the symptom in time."""
    if lead is None or lead in (inf, -inf):
        return "order unknown"
    if abs(lead) <= 10.0:
        return "moved with it"
    far = f"{abs(lead):.0f} s" if abs(lead) < 120 else f"{abs(lead) / 60:.0f} min"
    return f"{far} before" if lead > 0 else f"{far} after"
