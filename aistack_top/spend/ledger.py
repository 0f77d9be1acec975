"""What was spent today so far, written down with a recording, so that a restart or a jump in it goes on from there.

Dollars are derived from what a recording holds, and of the past only some minutes are laid in. The sum since midnight
needs the whole day: once a minute it is told as a fact.
"""

from typing import Annotated

import msgspec

from aistack_top.model.entity import SERVICE
from aistack_top.model.tick import Fact
from aistack_top.store.facts import Facts

LEDGER_FACT = "spend_ledger"

Time = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
Usd = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sums of a day at a moment: of the node with a proxy's calls until ``at``, of traced calls until ``calls_at``.

    ``day`` is when the day began. ``covered_s`` is how much of it the sums cover. Times are seconds since the epoch.
    """

    day: Time
    at: Time
    usd: Usd
    covered_s: Time
    calls_at: Time
    calls_usd: Usd

    def fact(self) -> Fact:
        """Return the fact that carries it through a recording."""
        return Fact(SERVICE, LEDGER_FACT, msgspec.json.encode(self).decode(), watched=False)


def ledger_in(facts: Facts) -> Ledger | None:
    """Return the ledger that facts carry; None where they carry none or nonsense."""
    told = facts.get(SERVICE, LEDGER_FACT)
    try:
        return msgspec.json.decode(told, type=Ledger) if told else None
    except (msgspec.MsgspecError, RecursionError):
        return None
