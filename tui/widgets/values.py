"""From a frame to the numbers of a panel: which one is shown, whose it is, and how sure.

Nothing here knows a screen; `tui.widgets.panel_lines` lays the figures out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import msgspec

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import Signal, signals
from aistack_top.model.tick import Bound
from aistack_top.spend.prices import NOT_SET
from aistack_top.spend.unknown import why_unknown
from aistack_top.store.facts import Facts
from aistack_top.store.frame import Frame, Reading
from aistack_top.store.labels import label
from aistack_top.store.timeline import Fold, Sample
from aistack_top.text import numbers
from aistack_top.text.sanitize import sanitize
from layouts.load import PARTIAL, PanelColumn, PanelRow
from tui.model.view import View, merge

QUANTILES = ("p50", "p95", "p99")
PARTS = ("mig", "link", "lora", "version", "prompt", "tenant")
"""Keys by which what is told as a whole is told once more in parts; all others tell apart what stands side by side."""

IDLE = 0.02
"""The load up to which an entity does nothing worth comparing."""


@dataclass(frozen=True, slots=True)
class LatestValue:
    """One entity's newest number; ``few`` when the newest window held too few requests to say."""

    reading: Reading
    few: bool
    count: float | None

    @property
    def size(self) -> float:
        """The value for comparing; the limit of a bound."""
        return self.reading.sample.number


@dataclass(frozen=True, slots=True)
class PanelValue:
    """One row of a panel, before it is laid out.

    ``notes`` stand beside the number, the most important first. ``tone`` is how it is drawn: value, stale, dim (not
    known) or alarm. ``about`` are the entities behind it; their histories are ``merged`` into one.
    """

    label: str
    text: str
    tone: str
    notes: tuple[str, ...]
    signal: Signal
    stat: str
    about: tuple[Entity, ...]
    merged: str

    def history(self, view: View, count: int) -> list[float]:
        """Return the history behind the figure in ``count`` columns; NaN is a gap."""
        fold = fold_of(self.signal) if self.merged in ("max", "min", "one") else "mean"
        series = [view.history(self.signal.name, entity, self.stat, count, fold) for entity in self.about]
        return merge(series, self.merged) if series else []


def read(frame: Frame, signal: Signal, entity: Entity, stat: str) -> LatestValue | None:
    """Return the newest number of an entity; an older quantile does not stand in for one that cannot be told."""
    reading = frame.read(signal.name, entity, stat)
    if signal.form != "quantiles" or stat not in QUANTILES:
        return LatestValue(reading, False, None) if reading else None
    count = frame.read(signal.name, entity, "count")
    if count is not None and (reading is None or reading.sample.at < count.sample.at):
        return LatestValue(count, True, count.sample.number)
    return LatestValue(reading, False, count.sample.number if count else None) if reading else None


def figures(row: PanelRow, view: View) -> list[PanelValue]:
    """Return what a row of a layout shows at this moment: one figure, or one for each entity."""
    signal = signals()[row.signal]
    frame = view.frame
    about = wanted(frame.entities(row.signal), row.without)
    if row.over == "service":
        about = [SERVICE] if SERVICE in about else []
    if row.over == "worst" and signal.under:
        about = [one for one in about if is_at_work(signal, one, frame)] or about
    if row.over in ("sum", "mean"):
        about = distinct(signal, about)
    known = {entity: number for entity in about if (number := read(frame, signal, entity, row.part))}
    if row.over == "each":
        return [_one(row, signal, entity, known.get(entity), frame.facts) for entity in about] or [_none(row, signal)]
    if not known:
        return [_none(_with_reason(row, frame), signal, tuple(about))]
    numbers_ = _best_known(known.values())
    if row.over in ("sum", "mean"):
        return [_together(row, signal, numbers_, about)]
    return [_worst(row, signal, numbers_, about, frame)]


def wanted(entities: Iterable[Entity], without: Mapping[str, tuple[str, ...]]) -> list[Entity]:
    """Return the entities that a row does not leave out."""
    if not without:
        return list(entities)
    return [one for one in entities if not any(one.get(key) in values for key, values in without.items())]


def distinct(signal: Signal, about: Sequence[Entity]) -> list[Entity]:
    """Return whose numbers are taken together: none twice, and no part (`PARTS`) of what stands there as a whole.

    Where sources measure the same by different names, those with the key that the signal is measured ``per`` count.
    """
    keyed = [one for one in about if one.get(signal.per)] if signal.per else []
    chosen = keyed or list(about)
    there = frozenset(one.pairs for one in chosen)
    return [one for one in dict.fromkeys(chosen) if not any(part in there for part in _wholes(one))]


def _wholes(entity: Entity) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield the pairs of everything that an entity may be a part of."""
    parts = [pair for pair in entity.pairs if pair[0] in PARTS]
    for size in range(1, len(parts) + 1):
        for left in combinations(parts, size):
            yield tuple(pair for pair in entity.pairs if pair not in left)


def is_at_work(signal: Signal, entity: Entity, frame: Frame) -> bool:
    """Whether a number tells anything of trouble: what is a trouble under load only is none of an idle entity."""
    load = frame.read(signal.under, entity) if signal.under else None
    return load is None or load.stale or load.sample.number > IDLE


def tone(signal: Signal, number: LatestValue) -> str:
    """Return how a number is drawn; only a flag that is raised is an alarm, other limits are not known here."""
    if number.reading.stale:
        return "stale"
    if number.few:
        return "dim"
    if signal.kind == "flag":
        raised = number.size >= signal.floor if signal.hurts == "up" else signal.unit == "1" and number.size < 1
        return "alarm" if raised else "value"
    return "value"


def text(signal: Signal, number: LatestValue, stat: str) -> str:
    """Return a number as it is written."""
    if number.few:
        return numbers.TOO_FEW
    if stat == "count":
        return numbers.short(number.size)
    if stat == "window_s":
        return numbers.seconds(number.size)
    return numbers.of_signal(number.reading.sample.value, signal)


def in_column(column: PanelColumn, entity: Entity, frame: Frame) -> tuple[str, str]:
    """Return the text and tone of a table's cell: the entity's own number, or that of what it consists of."""
    signal = signals()[column.signal]
    about = wanted(frame.entities(column.signal, entity), column.without)
    known = [number for one in about if (number := read(frame, signal, one, column.part))]
    return cell_text(column, entity, together(signal, known))


def cell_text(column: PanelColumn, entity: Entity, number: LatestValue | None) -> tuple[str, str]:
    """Return the text and tone of a table's cell; a flag that is raised is told by what raises it."""
    if number is None:
        return numbers.UNKNOWN, "dim"
    signal = signals()[column.signal]
    said, how = text(signal, number, column.part), tone(signal, number)
    part = number.reading.entity.get("reason")
    if part is not None and entity.get("reason") is None and signal.kind == "flag" and number.size:
        said = sanitize(part, 14)
    return said, how


def together(signal: Signal, known: Sequence[LatestValue]) -> LatestValue | None:
    """Return one number for what an entity consists of: the sum of what adds up, else the worst; None of nothing.

    Parts are added that are told apart by the same keys, the fewest there are: by engine, or by engine and reason.
    """
    if not adds(signal) or len(known) < 2:
        return worst_of(signal, known)
    fresh = _best_known(known)
    kinds: dict[tuple[str, ...], list[LatestValue]] = {}
    for number in fresh:
        kinds.setdefault(tuple(key for key, _ in number.reading.entity.pairs), []).append(number)
    parts = kinds[min(kinds, key=len)]
    oldest = max((number.reading for number in parts), key=lambda reading: reading.age_s)
    total = Sample(oldest.sample.at, sum(number.size for number in parts))
    return LatestValue(replace(oldest, sample=total), False, None)


def adds(signal: Signal) -> bool:
    """Whether the parts of an entity are added up in a table; of what is wrong with them the worst is shown."""
    return signal.adds and signal.kind != "flag"


def worst_of(signal: Signal, known: Sequence[LatestValue]) -> LatestValue | None:
    """Return the worst of what an entity consists of: fresh before too few before stale; None of nothing."""
    return _extreme(signal, _best_known(known)) if known else None


def _best_known(known: Iterable[LatestValue]) -> list[LatestValue]:
    """Return the fresh numbers; where there are none, those that say "too few"; else the stale ones."""
    all_ = list(known)
    fresh = [number for number in all_ if not number.reading.stale]
    return [number for number in fresh if not number.few] or fresh or all_


def _extreme(signal: Signal, known: list[LatestValue]) -> LatestValue:
    choose = min if signal.hurts == "down" else max
    return choose(known, key=lambda number: number.size)


def _worst(row: PanelRow, signal: Signal, known: list[LatestValue], about: list[Entity], frame: Frame) -> PanelValue:
    number = _extreme(signal, known)
    calm = signal.kind == "flag" and tone(signal, number) != "alarm"
    whose = [] if calm or row.over == "service" else _whose(number.reading.entity, frame.facts)
    notes = (*_age(number), *whose, *_count(number))
    merged = "one" if len(about) == 1 else "min" if signal.hurts == "down" else "max"
    said = text(signal, number, row.part)
    title = row.title + (PARTIAL if frame.partial(signal, number.reading.entity) else "")
    return PanelValue(title, said, tone(signal, number), notes, signal, row.part, tuple(about), merged)


def _whose(entity: Entity, facts: Facts) -> list[str]:
    """Return whose a number is, and apart from that of what kind, so that each fits whole or not at all."""
    reason = entity.get("reason")
    return [label(entity.without("reason"), facts), sanitize(reason, 20)] if reason else [label(entity, facts)]


def _one(row: PanelRow, signal: Signal, entity: Entity, number: LatestValue | None, facts: Facts) -> PanelValue:
    name = label(entity, facts)
    if number is None:
        return PanelValue(name, numbers.UNKNOWN, "dim", (row.title,), signal, row.part, (entity,), "one")
    notes = (*_age(number), row.title, *_count(number))
    said = text(signal, number, row.part)
    return PanelValue(name, said, tone(signal, number), notes, signal, row.part, (entity,), "one")


def _together(row: PanelRow, signal: Signal, known: list[LatestValue], about: list[Entity]) -> PanelValue:
    total = sum(number.size for number in known)
    value = total if row.over == "sum" else total / len(known)
    oldest = max(known, key=lambda number: number.reading.age_s)
    how_many = f"{len(known)} of {len(about)}" if len(known) < len(about) else f"{row.over} of {len(known)}"
    notes = (*_age(oldest), *((how_many,) if len(about) > 1 else ()))
    said = numbers.short(value) if row.part == "count" else numbers.of_signal(value, signal)
    how = "stale" if oldest.reading.stale else "value"
    return PanelValue(row.title, said, how, notes, signal, row.part, tuple(about), row.over)


def _with_reason(row: PanelRow, frame: Frame) -> PanelRow:
    """Return a row that says why there are no dollars: no price is set, or the node is not seen."""
    return msgspec.structs.replace(row, empty=why_unknown(frame)) if row.empty == NOT_SET else row


def _none(row: PanelRow, signal: Signal, about: tuple[Entity, ...] = ()) -> PanelValue:
    merged = row.over if row.over in ("sum", "mean") else "min" if signal.hurts == "down" else "max"
    return PanelValue(row.title, row.empty or numbers.UNKNOWN, "dim", (), signal, row.part, about, merged)


def _age(number: LatestValue) -> tuple[str, ...]:
    return (f"{numbers.age(number.reading.age_s)} old",) if number.reading.stale else ()


def _count(number: LatestValue) -> tuple[str, ...]:
    if number.count is None or isinstance(number.reading.sample.value, Bound):
        return ()
    return (f"n {numbers.short(number.count)}",)


def fold_of(signal: Signal) -> Fold:
    """Return how a column of a history is folded: the worst of it, by the direction that hurts."""
    return "min" if signal.hurts == "down" else "max" if signal.hurts == "up" else "mean"
