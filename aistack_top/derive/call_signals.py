"""What is computed from calls: ``calls.*``, and ``guardrail.*`` of traces. Never recorded, always derived again.

Calls arrive late (a trace is sent when the call ends, and ingested seconds to minutes later), so the signals of
a grid point are computed once its calls can be expected to be in, and computed again when a late one arrives:
the old place on the axis is redrawn, the newest is not added to.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from operator import attrgetter

from aistack_top.derive.guardrails import END, GuardrailStats, count, since
from aistack_top.derive.tenants import TopTenants, shown_as
from aistack_top.measure.quantiles import MAX_WINDOW_S, MIN_COUNT, WINDOW_S, sample_quantiles
from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.tick import Batch, Call, History, Quantiles, Readings, ReadingsBuilder
from aistack_top.store.calls import CallStore

GRID_S = 5.0
TYPICAL_DELAY_S = 10.0
"""Span end to visible in Langfuse, default batching of the sender: median 5 s, worst 8.4 s of six, measured."""

MODEL_KINDS = frozenset({"generation", "embedding"})
LATENCY = attrgetter("latency")
MODEL, TENANT = attrgetter("model"), attrgetter("tenant")


class CallSignals:
    """Derives ``calls.*`` for the service, for each model and for the tenants of a roster, every `GRID_S` seconds.

    Without ``again`` a point is computed once: what looks at the newest points only has no use for better old ones.
    """

    def __init__(self, book: CallStore, again: bool = True, tenants: TopTenants | None = None) -> None:
        self._book, self._again, self._tenants = book, again, tenants
        self._rails = GuardrailStats()
        self._until: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._done: float | None = None

    def backfill(self, history: History) -> None:
        """Take what a past tells beside its calls, before these are taken."""
        self._rails.backfill(history)

    def update(self, batches: Sequence[Batch], fresh: Sequence[Call]) -> Iterator[tuple[float, Readings]]:
        """Yield the readings of each grid point that became computable or has to be computed again.

        A late call asks for up to 60 points, each a millisecond or two: whoever has a screen to keep may pause between.
        """
        self._rails.observe(batches, fresh)
        for batch in batches:
            if batch.calls_until is not None:
                source = batch.health.source
                oldest = min((call.end for call in batch.calls), default=batch.calls_until)
                self._begun[source] = min(self._begun.get(source, batch.calls_until), oldest)
                self._until[source] = max(self._until.get(source, 0.0), batch.calls_until)
        if not self._until:
            return
        mark = min(self._until.values()) - TYPICAL_DELAY_S
        first = min(self._begun.values())
        last_point = int(mark // GRID_S)
        next_point = int(first // GRID_S) + 1 if self._done is None else int(self._done // GRID_S) + 1
        points = set(range(next_point, last_point + 1))
        for call in fresh if self._again else ():
            if self._done is not None and call.end <= self._done:
                low = int(max(call.end, first) // GRID_S) + (0 if call.end % GRID_S == 0 else 1)
                high = int(min(call.end + MAX_WINDOW_S, self._done) // GRID_S)
                points.update(range(low, high + 1))
        if points:
            self._done = max(self._done or 0.0, last_point * GRID_S)
            begin, end = min(points) * GRID_S - MAX_WINDOW_S, max(points) * GRID_S
            sorted_out = _GroupedCalls(self._book.between(begin, end), self._tenants is not None)
            for point in sorted(points):
                yield point * GRID_S, self._at(point * GRID_S, first, sorted_out)

    def clear(self) -> None:
        """Forget how far it got."""
        self._until.clear()
        self._begun.clear()
        self._done = None
        self._rails.clear()
        if self._tenants is not None:
            self._tenants.clear()

    def _at(self, moment: float, first: float, known: "_GroupedCalls") -> Readings:
        calls = known.calls.until(moment)
        groups = {SERVICE: calls, **{Entity.of(model=name): found for name, found in known.models.at(moment) if name}}
        builder = ReadingsBuilder()
        for entity, members in groups.items():
            _describe(builder, entity, members, moment, min(WINDOW_S, moment - first))
            _describe_more(builder, entity, members, moment)
        for tenant, members in self._by_tenant(known, moment).items():
            _describe(builder, Entity.of(tenant=tenant), members, moment, min(WINDOW_S, moment - first))
        builder.add("calls.retrieval.latency", SERVICE, _quantiles(known.retrievals.until(moment), moment, LATENCY))
        requests = known.requests.until(moment)
        builder.add("calls.request.latency", SERVICE, _quantiles(requests, moment, LATENCY))
        if requests:
            builder.add("calls.request.ttft", SERVICE, _quantiles(requests, moment, known.request_ttft))
        for rail, checks in self._rails.at(moment, known.checks.until(moment)).items():
            count(builder, rail, checks, moment, min(WINDOW_S, moment - first))
            builder.add("guardrail.latency", rail, _quantiles(checks, moment, LATENCY))
        return builder.build()

    def _by_tenant(self, known: "_GroupedCalls", moment: float) -> dict[str, list[Call]]:
        """Return the calls of each tenant that is named, and of the others; nothing where no call names any."""
        if self._tenants is None:
            return {}
        groups = known.tenants.at(moment)
        named = self._tenants.count(moment, Counter({name: len(members) for name, members in groups}))
        found: dict[str, list[Call]] = {}
        for name, members in groups if named else ():
            shown = shown_as(name, named)
            found[shown] = _in_order(found[shown], members) if shown in found else members
        return found


class _TimeIndex:
    """Calls in the order of their ends, of which the last minutes before any moment are asked for."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        self._ends = [call.end for call in calls]

    def until(self, moment: float) -> list[Call]:
        """Return those that ended in the `MAX_WINDOW_S` before a moment."""
        low = bisect_right(self._ends, moment - MAX_WINDOW_S)
        return self._calls[low : bisect_right(self._ends, moment, low)]


class _TimeIndexes:
    """Calls by a name that they have, each in its lane."""

    def __init__(self, calls: Iterable[Call], name: Callable[[Call], str]) -> None:
        found: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            found[name(call)].append(call)
        self._lanes = {one: _TimeIndex(members) for one, members in found.items()}

    def at(self, moment: float) -> list[tuple[str, list[Call]]]:
        """Return who has calls in the `MAX_WINDOW_S` before a moment, and these; whoever called first stands first."""
        found = [(name, members) for name, lane in self._lanes.items() if (members := lane.until(moment))]
        return sorted(found, key=lambda one: (one[1][0].end, one[1][0].id))


class _GroupedCalls:
    """The calls of a stretch of time, sorted out once for all the points in it: neighbours share nearly all."""

    def __init__(self, calls: Iterable[Call], by_tenant: bool) -> None:
        kinds: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            kinds[call.kind].append(call)
        models = _in_order(kinds["generation"], kinds["embedding"])
        self.calls = _TimeIndex(models)
        self.models = _TimeIndexes(models, MODEL)
        self.tenants = _TimeIndexes(models if by_tenant else (), TENANT)
        self.request_ttft = _request_ttft(kinds["generation"])
        self.retrievals = _TimeIndex(kinds["retrieval"])
        self.requests = _TimeIndex([call for call in _in_order(kinds["tool"], kinds["other"]) if call.root])
        self.checks = _TimeIndex(kinds["guardrail"])


def _in_order(one: list[Call], other: list[Call]) -> list[Call]:
    """Return two lists of calls as one in the order of their ends, in which each of them is."""
    return sorted([*one, *other], key=END) if one and other else one or other


def _describe(builder: ReadingsBuilder, entity: Entity, calls: list[Call], moment: float, window_s: float) -> None:
    """Tell what is told of everybody; of tenants no more than this, since there can be many."""
    recent = since(calls, moment - WINDOW_S)
    if window_s > 0:
        builder.add("calls.rate", entity, len(recent) / window_s)
        tokens_in = [call.input_tokens for call in recent if call.input_tokens is not None]
        tokens_out = [call.output_tokens for call in recent if call.output_tokens is not None]
        if tokens_in or not recent:
            builder.add("calls.input_tokens.rate", entity, sum(tokens_in) / window_s)
        if tokens_out or not recent:
            builder.add("calls.output_tokens.rate", entity, sum(tokens_out) / window_s)
        costs = [call.cost for call in recent if call.cost is not None]
        if costs or not recent:
            builder.add("calls.cost.rate", entity, sum(costs) * 3600 / window_s)
    if recent:
        builder.add("calls.errors", entity, sum(call.failed for call in recent) / len(recent))
    builder.add("calls.latency", entity, _quantiles(calls, moment, LATENCY))


def _describe_more(builder: ReadingsBuilder, entity: Entity, calls: list[Call], moment: float) -> None:
    builder.add("calls.ttft", entity, _quantiles(calls, moment, attrgetter("ttft")))
    builder.add("calls.input_tokens.per_call", entity, _quantiles(calls, moment, attrgetter("input_tokens")))
    builder.add("calls.output_tokens.per_call", entity, _quantiles(calls, moment, attrgetter("output_tokens")))
    if entity is SERVICE:
        delays = [call.seen - call.end for call in since(calls, moment - WINDOW_S)]
        builder.add("calls.ingest_delay", entity, sample_quantiles(delays, WINDOW_S, 1) if delays else None)


def _request_ttft(generations: list[Call]) -> Callable[[Call], float | None]:
    """Return how long a request waited for the first token of any model: what is done before the model counts."""
    firsts: dict[str, float] = {}
    for call in generations:
        if call.ttft is not None:
            firsts[call.trace] = min(call.start + call.ttft, firsts.get(call.trace, inf))

    def waited(request: Call) -> float | None:
        first = firsts.get(request.trace)
        return None if first is None or first < request.start else first - request.start

    return waited


def _quantiles(calls: list[Call], moment: float, get: Callable[[Call], float | None]) -> Quantiles | None:
    """Return the distribution over the last 60 s, widened step by step up to 300 s until 20 values are in."""
    values: list[float] = []
    window = WINDOW_S
    for call in reversed(calls):  # the newest first: where calls are many, most of the 300 s need not be looked at
        while call.end <= moment - window:
            if len(values) >= MIN_COUNT or window >= MAX_WINDOW_S:
                return sample_quantiles(values, window) if values else None
            window += WINDOW_S
        value = get(call)
        if value is not None:
            values.append(value)
    if not values:
        return None
    return sample_quantiles(values, MAX_WINDOW_S if len(values) < MIN_COUNT else window)
