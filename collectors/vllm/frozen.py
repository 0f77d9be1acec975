"""Telling a frozen engine, which every metric calls healthy.

Observed on a real vLLM 0.32 whose engine process was stopped: ``/health`` and ``/metrics`` went on answering 200
with nothing running, nothing waiting and flat counters for as long as it lasted; only ``/load``, the requests
that the API server holds, rose. So the watch compares what the API server holds with what the engine does.

With data parallelism the rank that works hides the one that does not. A rank is frozen when it owes work and takes no
step while the others do: its own gauges hold requests, or the API server holds more than all ranks together.
"""

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Severity
from aistack_top.text.numbers import short
from collectors.openmetrics.engine import GAP, Assembled, SignalOf
from collectors.runtime.base import Source
from collectors.vllm.arrivals import FIRST_TOKENS, RUNNING, WAITING

RISING_S = 3.0
"""How long requests must pile up in front of an engine that does nothing."""

STEADY_S = 10.0
"""The same for a load that does not rise: one request may take seconds to be tokenised or to fetch its images."""

STALLED_S = 10.0
"""How long an engine with requests in its batch may go without one step while the load rises."""

MAX_GAP_S = 10.0
"""Between two looks further apart, quiet is no proof: the engine may have worked and gone idle. Where the source is
asked less often for now, a few of its intervals."""

RANK_QUIET_S = 15.0
"""How long a data-parallel rank that owes work may go without a step while the others work. One step of a chunked
prefill takes a second or two."""

RANK_TURNS = 4
"""First tokens that the other ranks must have brought meanwhile: one long answer elsewhere proves nothing."""

MAX_RANKS = 512
"""A page with more of them is not that of an engine; none of its ranks is watched."""

WORK = frozenset(
    {"serving.generation_tokens.rate", "serving.prompt_tokens.rate", "serving.batch.tokens", "serving.preemptions"}
)
"""Signals whose counters any step of an engine moves."""


@dataclass(frozen=True, slots=True)
class EngineLook:
    """One look at a server.

    ``held`` is what the API server says it holds, ``inside`` what is running or waiting in the engine, ``running``
    its batch; ``work`` stands for the counters that any step of the engine moves.
    """

    at: float
    held: float
    inside: float
    running: float
    work: Hashable


class FreezeDetector:
    """Looks at a server again and again; ``since`` is when the engine stopped, or None while it works."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._last: EngineLook | None = None
        self._start: EngineLook | None = None

    def observe(self, look: EngineLook, gap_s: float = MAX_GAP_S) -> bool:
        """Take a look and return whether the engine is frozen; ``gap_s`` is the longest time between two looks."""
        last, self._last = self._last, look
        if last is None or look.at - last.at > gap_s or not _idle(last, look, self.since is not None):
            self._start = self.since = None
        elif self._start is None or (look.inside > 0) != (self._start.inside > 0):
            quiet_before = last.held > 0 and (last.inside > 0) == (look.inside > 0)
            self._start, self.since = last if quiet_before else look, None
        elif self.since is None and self._long_enough(self._start, look):
            self.since = self._start.at
        return self.since is not None

    def reset(self) -> None:
        """Forget everything, as when the server died."""
        self.since = self._last = self._start = None

    @staticmethod
    def _long_enough(start: EngineLook, look: EngineLook) -> bool:
        lasted, rose = look.at - start.at, look.held > start.held
        if look.inside > 0:
            return rose and lasted >= STALLED_S
        return lasted >= (RISING_S if rose else STEADY_S)


def _idle(last: EngineLook, look: EngineLook, frozen: bool) -> bool:
    """Whether the engine owed work and did none between two looks.

    A load that falls may be an answer under way, unless the engine is known to be frozen: then clients give up.
    """
    owed = look.held > 0 and (frozen or look.held >= last.held)
    return owed and look.work == last.work and (look.inside == 0 or look.running > 0)


@dataclass(frozen=True, slots=True)
class RankLook:
    """One look at a data-parallel rank: what is inside it, its work, and whether requests are held that no rank has.

    ``work`` is the sum of the counters that any step of it moves, ``others`` that of the other ranks. ``turns`` are the
    first tokens of the others.
    """

    at: float
    inside: float
    work: float
    others: float
    turns: float
    unplaced: bool


class RankWatch:
    """Looks at one data-parallel rank beside the others; ``since`` is when it stopped, or None while it works."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._quiet: deque[RankLook] = deque()

    def observe(self, look: RankLook, gap_s: float) -> bool:
        """Take a look and return whether the rank is frozen."""
        quiet = self._quiet
        if not quiet or look.work != quiet[-1].work or look.at - quiet[-1].at > gap_s:
            quiet.clear()
            self.since = None
        quiet.append(look)
        if self.since is None and self._is_frozen():
            self.since = quiet[0].at
        while len(quiet) > 2 and look.at - quiet[1].at > 2 * RANK_QUIET_S:
            quiet.popleft()
        return self.since is not None

    def _is_frozen(self) -> bool:
        first, last = self._quiet[0], self._quiet[-1]
        if last.at - first.at < RANK_QUIET_S or last.turns - first.turns < RANK_TURNS:
            return False
        others = [look.others for look in self._quiet]
        if sum(a != b for a, b in pairwise(others)) < len(others) // 2:
            return False  # the others stand still, too
        owed = [look.inside > 0 or look.unplaced for look in self._quiet]
        return sum(owed) > len(owed) // 2


@dataclass(frozen=True, slots=True)
class News:
    """That an engine or a rank froze, or works again."""

    at: float
    severity: Severity
    entity: Entity
    text: str


@dataclass(slots=True)
class Seen:
    """What one look at all engines of a server brought: flags, news, and sentences for the health record."""

    flags: dict[Entity, bool] = field(default_factory=dict)
    news: list[News] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class FrozenEngines:
    """Watches a server's engine, and each of its data-parallel ranks. ``pace_s`` is how often it is asked now."""

    def __init__(self, source: Source) -> None:
        self.pace_s = source.interval_s
        self._name = source.name
        self._engine = Entity.of(engine=source.name)
        self._whole = FreezeDetector()
        self._ranks: dict[Entity, RankWatch] = {}

    def observe(self, at: float, held: float | None, found: Assembled) -> Seen:
        """Look at a page and at what the API server holds; None where it does not say."""
        seen, gap_s = Seen(), max(MAX_GAP_S, GAP * self.pace_s)
        inside = {rank: _inside(found.gauges, rank) for signal, rank in found.gauges if signal == RUNNING}
        if held is not None:
            running = sum(found.gauges[RUNNING, rank] for rank in inside)
            look = EngineLook(at, held, sum(inside.values()), running, _work(found))
            before = self._whole.since
            frozen = self._whole.observe(look, gap_s)
            holds = f"the API server has {short(held)} requests and the engine makes no progress"
            self._tell(seen, at, self._engine, before, self._whole.since, self._name, holds)
            seen.flags[self._engine] = frozen
        if 1 < len(inside) <= MAX_RANKS:
            unplaced = held is not None and held > sum(inside.values())
            self._watch_ranks(seen, inside, _rank_looks(at, inside, found, unplaced), gap_s)
        return seen

    def reset(self) -> None:
        """Forget everything, as when the server died."""
        self._whole.reset()
        self._ranks.clear()

    def _watch_ranks(
        self, seen: Seen, inside: Mapping[Entity, float], looks: Mapping[Entity, RankLook], gap_s: float
    ) -> None:
        self._ranks = {rank: self._ranks.get(rank) or RankWatch() for rank in looks}
        for rank, look in looks.items():
            watch = self._ranks[rank]
            before = watch.since
            seen.flags[rank] = watch.observe(look, gap_s)
            if before is None and watch.since is None:
                continue
            holds = f"{short(inside[rank])} requests are in it" if inside[rank] else "the API server waits for it"
            who = f"data-parallel rank {(rank.get('engine') or '').rpartition('/')[2]} of {self._name}"
            holds += " and it takes no step while other ranks work"
            self._tell(seen, look.at, rank, before, watch.since, who, holds)

    @staticmethod
    def _tell(
        seen: Seen, at: float, about: Entity, before: float | None, since: float | None, who: str, holds: str
    ) -> None:
        text = f"{who} is frozen: {holds}"
        if since is not None:
            seen.notes.append(text)
        if since is not None and before is None:
            seen.news.append(News(since, "critical", about, text))
        elif since is None and before is not None:
            seen.news.append(News(at, "info", about, f"{who} is no longer frozen, after {at - before:.0f} s"))


def _inside(gauges: Mapping[SignalOf, float], rank: Entity) -> float:
    return gauges[RUNNING, rank] + gauges.get((WAITING, rank), 0.0)


def _work(found: Assembled) -> Hashable:
    """Return what any step of any engine moves."""
    return tuple(total for (signal, _), total in found.totals.items() if signal in WORK)


def _rank_looks(at: float, inside: Mapping[Entity, float], found: Assembled, unplaced: bool) -> dict[Entity, RankLook]:
    """Return a look at each rank of a page."""
    work, turns = dict.fromkeys(inside, 0.0), dict.fromkeys(inside, 0.0)
    for (signal, rank), total in found.totals.items():
        if signal in WORK and rank in work:
            work[rank] += total
        if signal == FIRST_TOKENS and rank in turns:
            turns[rank] += total
    all_work, all_turns = sum(work.values()), sum(turns.values())
    return {
        rank: RankLook(at, inside[rank], work[rank], all_work - work[rank], all_turns - turns[rank], unplaced)
        for rank in inside
    }
