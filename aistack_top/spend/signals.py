"""The ``spend.*`` signals, on the five-second grid of the ``calls.*`` ones. Never recorded, always derived again.

| entity | what of |
|---|---|
| service | all: the node, and the managed calls beside it |
| gpu | one GPU's price, and what of it burns idle |
| model, engine | the GPUs that it holds, what of them is idle, its tokens and their price; a model's managed calls |
| tenant | its part of what its models' GPUs cost, by the tokens of its finished calls, and its managed calls |
| reason | GPUs without an engine: training, idle ...; of the list's prices: on demand, spot ... |

A grid point is done twice: for the node once its readings can be expected to be in, for the calls once theirs are,
and again for the calls when a late one comes. So a replay that jumps there says the same as one that plays through.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aistack_top.derive.call_signals import GRID_S
from aistack_top.derive.tenants import TopTenants
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Call, Readings, ReadingsBuilder
from aistack_top.spend.holders import holdings
from aistack_top.spend.ledger import Ledger, ledger_in
from aistack_top.spend.money import (
    Meter,
    blended_per_token,
    break_even_tokens_per_day,
    managed_usd_hour,
    midnight,
    month_hours,
    total,
    zone,
)
from aistack_top.spend.node import EngineNames, NodeReader
from aistack_top.spend.nodecost import add_holdings, add_tokens, node_rate, write_gpu_costs
from aistack_top.spend.prices import Prices, prices_in
from aistack_top.spend.shares import ModelCost, Shares, model_costs, shares_of
from aistack_top.spend.usage import STEPS, CallUsage, Key, step_of
from aistack_top.store.calls import CallStore
from aistack_top.store.facts import Facts
from aistack_top.store.frame import CALLS_LOOKBACK_S
from aistack_top.store.timeline import Timeline

ANSWERED_S = 5.0
"""Readings of a moment are in by then: a source answers within this, or has missed its turn."""

SETTLED_S = 15.0
"""A node that showed no GPU for this long has none; before, its sources may only not have answered yet."""

MAX_GRID_POINTS = 180
"""Grid points that can be done again for late calls: 15 minutes."""


@dataclass(frozen=True, slots=True)
class _Point:
    """The node at a grid point: USD an hour, its models, and today so far; what is not known is None.

    ``counted``: today's sum is known; it is not where a ledger of a later moment is still to come.
    ``models``: what calls of each model can be charged with, nothing where the node has no price; None where that is
    not known, such as when an engine that generated a moment ago does not tell. ``proxy``: USD an hour of managed
    models by a proxy's books. ``alone``: there is no node to pay for, only calls.
    """

    step: int
    day_began: float | None
    usd_hour: float | None
    models: Mapping[str, ModelCost] | None
    proxy: Mapping[Key, float] | None
    alone: bool
    today_usd: float
    covered_s: float
    counted: bool

    @property
    def at(self) -> float:
        """The point's time, in seconds since the epoch."""
        return self.step * GRID_S


@dataclass(frozen=True, slots=True)
class _NodeNow:
    """The node at a moment: USD an hour, and what calls of each model can be charged with; see `_Point`."""

    usd_hour: float | None
    models: Mapping[str, ModelCost] | None


@dataclass(frozen=True, slots=True)
class _Paid:
    """What managed calls cost as far as is known: USD an hour at a step, and USD since midnight."""

    step: int
    day_began: float | None
    usd_hour: float | None
    today_usd: float


class SpendSignals:
    """Derives ``spend.*`` from what the timeline, the facts and the book of calls hold."""

    def __init__(self, timeline: Timeline, facts: Facts, book: CallStore, tenants: TopTenants) -> None:
        self._timeline, self._tenants = timeline, tenants
        self._facts = facts
        self._usage = CallUsage(book)
        self._first: float | None = None
        self._done = self._calls_done = 0
        self._restart(0)

    def observe(self, batches: Iterable[Batch], fresh: Iterable[Call]) -> None:
        """Take what a tick brought, once it is in the timeline and the book."""
        self._usage.observe(batches, fresh)

    def begin(self, start: float) -> None:
        """Note that history has been laid in from a time on: what came before the first moment is derived too."""
        if self._first is None or start < self._first:
            self._first = start
            self._restart(int(start // GRID_S))

    def until(self, now: float) -> list[tuple[float, Readings]]:
        """Return the readings of each grid point that has become due or is done again."""
        if self._first is None:
            self.begin(now)
        reach = int(self._timeline.capacity * self._timeline.step_s // GRID_S)
        due = int((now - ANSWERED_S) // GRID_S)
        fresh = range(max(self._done, due - reach) + 1, due + 1)
        if fresh and not self._points:
            self._look_up()
        if self._points and not fresh and not self._usage.changed:
            return []
        prices = prices_in(self._facts)
        names = EngineNames(self._facts, prices)
        told = [self._redo(self._points[step], prices, names) for step in self._late()]
        newest = self._calls_done
        for step in fresh:
            told.append(self._do_node(step, prices, names))
            self._done = step
            told += self._do_calls(prices, names)
        since = self._calls_done if self._calls_done > newest else fresh.start - 1
        told += [self._do_total(point, prices) for step, point in self._points.items() if step > since]
        if not self._points:
            told.append(self._foretell(now, prices, names))
        return [(at, readings) for at, readings in told if len(readings)]

    def _restart(self, step: int) -> None:
        self._done = self._calls_done = step
        self._points: dict[int, _Point] = {}
        self._node = NodeReader(self._timeline, self._facts)
        self._meter, self._proxy_meter = Meter(), Meter()
        self._paid = _Paid(step, None, None, 0.0)
        self._shared: defaultdict[str, dict[Entity, int]] = defaultdict(dict)
        self._pays_for_calls = False
        self._next: Ledger | None = None
        self._carried: Ledger | None = None
        self._usage.recount()

    def ledger(self) -> Ledger | None:
        """Return what was spent today so far, to go on from another time; None where that is not known."""
        newest = next(reversed(self._points.values()), None)
        if newest is None or newest.day_began is None or not newest.counted:
            return None
        covered, paid = self._covered(newest), self._paid
        if covered <= 0:
            return None
        calls_usd = paid.today_usd if paid.day_began == newest.day_began else 0.0
        calls_at = min(paid.step, newest.step) * GRID_S
        return Ledger(newest.day_began, newest.at, newest.today_usd, covered, calls_at, max(calls_usd, 0.0))

    def _look_up(self) -> None:
        """Find what an earlier run wrote down, to go on from it when its moment comes."""
        self._next = ledger_in(self._facts)
        if self._next is not None:
            self._usage.begin_after(step_of(self._next.calls_at))

    def _go_on(self, step: int, day_began: float) -> None:
        """Take over the ledger whose moment has come."""
        if self._next is not None and self._next.at <= step * GRID_S:
            if self._next.day == day_began:
                self._carried = self._next
                self._meter, self._proxy_meter = Meter(), Meter()
            self._next = None
        if self._carried is not None and self._carried.day != day_began:
            self._carried = None

    def _covered(self, point: _Point) -> float:
        """Return how many seconds of the day the sums of a point cover."""
        begun, carried = self._usage.begun, self._carried
        covered = point.covered_s
        if point.alone and begun is not None and point.day_began is not None:
            since = max(begun, point.day_began, carried.at if carried else 0.0)
            covered = max(covered, point.at - since + (carried.covered_s if carried else 0.0))
        return covered

    def _do_node(self, step: int, prices: Prices, names: EngineNames) -> tuple[float, Readings]:
        """Do a grid point for the node, and keep what its calls will need."""
        at = step * GRID_S
        out = ReadingsBuilder()
        node = self._tell_node(out, at, prices, names)
        usd_hour, alone = node.usd_hour, self._only_calls(at, prices)
        where = zone(prices.zone)
        day_began = None if where is None else midnight(at, where)
        proxy = self._node.proxy(at, names)
        if proxy is not None:
            self._usage.leave(step)
        if day_began is not None:
            self._go_on(step, day_began)
            self._meter.add(at, usd_hour, day_began)
            self._proxy_meter.add(at, None if proxy is None else sum(proxy.values()), day_began)
        carried = self._carried
        metered_s = max(self._meter.covered_s, self._proxy_meter.covered_s if alone else 0.0)
        self._points[step] = _Point(
            step,
            day_began,
            usd_hour,
            node.models,
            proxy,
            alone,
            self._meter.usd + self._proxy_meter.usd + (carried.usd if carried else 0.0),
            metered_s + (carried.covered_s if carried else 0.0),
            self._next is None or self._next.day != day_began,
        )
        for old in [kept for kept in self._points if kept <= step - MAX_GRID_POINTS]:
            del self._points[old]
        return at, out.build()

    def _do_calls(self, prices: Prices, names: EngineNames) -> list[tuple[float, Readings]]:
        """Do the grid points whose calls have become known."""
        ready = self._usage.last_step
        if ready is None and self._points and next(reversed(self._points.values())).proxy is not None:
            ready = self._done  # a proxy tells without any traces
        steps = range(0) if ready is None else range(self._calls_done + 1, min(ready, self._done) + 1)
        self._calls_done = max(self._calls_done, steps.stop - 1)
        return [self._do_point(self._points[step], prices, names) for step in steps if step in self._points]

    def _late(self) -> list[int]:
        """Return the grid points that are done and have calls they did not have then."""
        found = {step + n for step in self._usage.changed for n in range(STEPS) if step + n <= self._calls_done}
        self._usage.changed.clear()
        return sorted(step for step in found if step in self._points)

    def _do_point(self, point: _Point, prices: Prices, names: EngineNames) -> tuple[float, Readings]:
        out = ReadingsBuilder()
        usd_hour = self._tell_shares(out, point, names)
        today = 0.0
        if point.day_began is not None:
            calls = self._usage.today(point.step, point.day_began)
            today = sum(usd for model, usd in calls.items() if not names.local(model))
            if self._carried is not None and self._carried.day == point.day_began:
                today += self._carried.calls_usd
        self._paid = _Paid(point.step, point.day_began, usd_hour, today)
        self._pays_for_calls = self._pays_for_calls or today > 0 or bool(usd_hour)
        self._tell_total(out, point, usd_hour, prices, today)
        return point.at, out.build()

    def _redo(self, point: _Point, prices: Prices, names: EngineNames) -> tuple[float, Readings]:
        out = ReadingsBuilder()
        usd_hour = self._tell_shares(out, point, names)
        self._tell_total(out, point, usd_hour, prices, None)
        return point.at, out.build()

    def _tell_shares(self, out: ReadingsBuilder, point: _Point, names: EngineNames) -> float | None:
        """Tell what tenants and managed models cost, 0 where that has ended; return what managed calls do."""
        usage = self._usage.window(point.step)
        found = shares_of(usage, point.usd_hour, point.models, point.proxy, names, self._tenants.names_at(point.at))
        if found is None:
            return None
        out.add("spend.managed.rate", SERVICE, found.managed_usd_hour)
        out.add("spend.unattributed.rate", SERVICE, found.unattributed)
        for signal, shares in self._with_ended(found, point).items():
            for who, usd in shares.items():
                out.add(signal, who, usd)
        return found.managed_usd_hour

    def _with_ended(self, found: Shares, point: _Point) -> dict[str, dict[Entity, float]]:
        """Return the shares by signal, with 0 for those that had one a moment ago."""
        told = {"spend.managed.rate": found.models}
        if found.tenants is not None:
            told["spend.share.rate"] = found.tenants
        for signal, shares in told.items():
            before = self._shared[signal]
            ended = before.keys() - shares.keys()
            before |= {who: max(point.step, before.get(who, 0)) for who in shares}
            for who in sorted(ended, key=str):
                if (point.step - before[who]) * GRID_S > CALLS_LOOKBACK_S:
                    del before[who]
                else:
                    shares[who] = 0.0
        return told

    def _do_total(self, point: _Point, prices: Prices) -> tuple[float, Readings]:
        """Do a point whose calls are not in yet, with the newest that is known about calls."""
        out = ReadingsBuilder()
        known = (point.step - self._paid.step) * GRID_S <= CALLS_LOOKBACK_S
        beside = sum(point.proxy.values()) if point.proxy is not None else self._paid.usd_hour if known else None
        today = self._paid.today_usd if self._paid.day_began == point.day_began else 0.0
        self._tell_total(out, point, beside, prices, today)
        return point.at, out.build()

    def _foretell(self, now: float, prices: Prices, names: EngineNames) -> tuple[float, Readings]:
        """Tell the node before the first grid point is due, so that a short look is not left without a price."""
        out = ReadingsBuilder()
        usd_hour = self._tell_node(out, now, prices, names).usd_hour
        where = zone(prices.zone)
        out.add("spend.rate", SERVICE, usd_hour)
        if usd_hour is not None and where is not None:
            out.add("spend.month_projected", SERVICE, usd_hour * month_hours(now, where))
        return now, out.build()

    def _tell_node(self, out: ReadingsBuilder, at: float, prices: Prices, names: EngineNames) -> _NodeNow:
        gpus = self._node.gpus(at, prices)
        up = gpus is not None or (prices.node_hour is not None and self._node.up(at))
        usd_hour = node_rate(gpus or {}, prices) if up else None
        engines = self._node.engines(at, names)
        linked = self._node.linked(gpus or {}, names)
        rows = holdings(gpus or {}, linked, self._node.training(gpus or {}, at))
        if gpus is not None and prices.known:
            write_gpu_costs(out, gpus, usd_hour)
            for basis, parts in self._node.list_prices(gpus, prices).items():
                out.add("spend.list.rate", Entity.of(reason=basis), total(parts))
        elif up:
            out.add("spend.node.rate", SERVICE, usd_hour)
        if up and prices.known:
            add_holdings(out, rows, usd_hour)
            add_tokens(out, rows, linked, usd_hour, engines)
        flows = self._node.flows(engines, names) or {}
        for model, flow in flows.items():
            if model and flow.price:
                out.add("spend.managed_equivalent.rate", Entity.of(model=model), flow.managed_usd_hour)
        known = list(flows.values())
        if any(flow.price for flow in known):
            out.add("spend.managed_equivalent.rate", SERVICE, managed_usd_hour(known))
            even = break_even_tokens_per_day(usd_hour, blended_per_token(known))
            out.add("spend.break_even_tokens_per_day", SERVICE, even)
        models = {} if not prices.known else None if usd_hour is None else model_costs(rows, engines)
        return _NodeNow(usd_hour, models)

    def _tell_total(
        self, out: ReadingsBuilder, point: _Point, beside: float | None, prices: Prices, calls_today: float | None
    ) -> None:
        """Tell the node and the managed calls together; nothing while a part that is paid for is not known."""
        if point.usd_hour is None:
            rate = beside if point.alone else None
        else:
            rate = None if beside is None and self._pays_for_calls else point.usd_hour + (beside or 0.0)
        out.add("spend.rate", SERVICE, rate)
        where = zone(prices.zone)
        if point.day_began is None or where is None:
            return
        if rate is not None:
            out.add("spend.month_projected", SERVICE, rate * month_hours(point.at, where))
        covered = self._covered(point)
        if calls_today is not None and point.counted and covered > 0:
            out.add("spend.today", SERVICE, point.today_usd + calls_today)
            out.add("spend.today.covered", SERVICE, min(covered / (point.at - point.day_began), 1.0))

    def _only_calls(self, at: float, prices: Prices) -> bool:
        """Whether there is no node to pay for: none has a price, and no GPU has shown itself."""
        if prices.known or self._node.has_gpus or self._first is None:
            return False
        return at - self._first >= SETTLED_S
