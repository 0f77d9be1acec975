"""How often a source is asked: at its interval, and less often only where its answers cost it too much.

| the source | is asked |
|---|---|
| answers cheaply, or is down | at its interval |
| would be busy with us for more than ``most_busy`` of the time | less often, but every ``max_interval_s`` at least |
| the same, while an incident is open | as if a tenth of its time were ours: it is needed now |
| refuses (401, 403) | once a minute |

What an answer costs the server is not what we waited for it: on a busy host, behind a proxy or in a queue most of the
wait is no work. So the quickest of the recent answers counts, and of that no more than its size can have cost. A
source that does not answer in time is taken to work all that time, until one of the recent runs brings an answer.
"""

from collections import deque
from dataclasses import replace

from aistack_top.model.tick import Batch, Health
from collectors.runtime.base import Source

RECENT = 9
"""Answers of which the quickest tells the cost."""

BYTES_PER_S = 1e6
"""A metrics page is written faster than this: vLLM 0.32 needs 16 ms of one core for 60 kB, which is 4 MB/s."""

URGENT_BUSY = 0.1
"""The share of a source's time that may be ours while an incident is open."""

REFUSED_S = 60.0
"""An answer of 401 or 403 changes when a person does something. Each is a failed request in somebody's statistics."""

NOTABLE = 1.05
"""A pace that is slower than the interval by less than this is the interval."""


class Pacer:
    """Decides the pace of one source from its last answers: ``pace_s`` is the seconds until its next run."""

    def __init__(self) -> None:
        self.pace_s = 0.0
        self._took: deque[float] = deque(maxlen=RECENT)

    def paced(self, batch: Batch, source: Source, *, urgent: bool = False) -> Batch:
        """Take the result of a run; return it with what is to be said about the pace. ``urgent``: an incident is open.

        Where a source is asked less often than at its interval, its health says so, and why.
        """
        health = batch.health
        if health.status == "unauthorized":
            self.pace_s, why = max(source.interval_s, REFUSED_S), "it refuses access"
        elif health.status in ("down", "stale", "misconfigured"):
            self.pace_s, why = source.interval_s, ""
        else:
            self._took.append(health.took_s)
            self.pace_s = self._pace(source, urgent)
            why = f"a response takes {min(self._took):.2g} s" if health.age_s == 0.0 else "it does not respond in time"
        if self.pace_s <= NOTABLE * source.interval_s:
            return batch
        return replace(batch, health=_noted(health, self.pace_s, why))

    def _pace(self, source: Source, urgent: bool) -> float:
        busy = max(source.most_busy, URGENT_BUSY) if urgent else source.most_busy
        cost = min(self._took)
        if source.page_bytes:
            cost = min(cost, source.page_bytes / BYTES_PER_S)
        return max(source.interval_s, min(cost / busy, source.max_interval_s))


def _noted(health: Health, pace_s: float, why: str) -> Health:
    note = f"polled every {pace_s:.0f} s: {why}"
    reason = f"{health.reason}; {note}" if health.reason else note
    return replace(health, reason=reason, interval_s=max(pace_s, health.interval_s))
