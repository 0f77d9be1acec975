"""What must hold of any page: nothing raises, no number is none, no share is above 1, no count is below 0."""

import json
from collections import Counter
from math import isfinite
from random import Random

from aistack_top.model.signals import Signal, signals
from aistack_top.model.tick import Batch, Bound, Health, Quantiles, Tick, Value
from aistack_top.snapshot import document, text
from aistack_top.state import State
from collectors.openmetrics.collector import addable
from collectors.openmetrics.engine import Exposition
from collectors.openmetrics.parser import LineMemo, parse
from collectors.runtime.base import Source
from tests.fakes.fuzzpages import TABLES, Server
from tui.glyphs import Glyphs
from tui.widgets.spark import bars

SIGNED = frozenset({"Cel", "USD", "USD/h"})
"""Units of which a value may be below zero. Nothing else can: counts, sizes, times, shares and rates are not."""

UP_TO_ONE = frozenset({"1", "{flag}"})
"""Units of shares and of what is on or off."""

TIME_OF_TIME = frozenset({"training.report.blocked"})
"""Seconds counted a second: no valid counter rises faster than time, but these pages' counters do."""

INTERVAL_S = 5.0
SHOWN_EVERY = 10
"""Of so many pages one is made into a snapshot and drawn, too."""


def play(seed: int, pages: int = 20) -> tuple[list[str], Counter[str]]:
    """Play a server's pages; return what is wrong, and what is out of its bounds, by signal, and how often.

    The bounds hold whatever a page says: what its signal rules out is left out.
    """
    random = Random(seed)
    kind = random.choice(tuple(TABLES))
    server = Server(kind, random)
    source = Source(f"{kind}-1", kind, "serving", INTERVAL_S)
    exposition, memo, wanted = Exposition(server.table, source), LineMemo(addable(server.table)), server.table.wanted()
    state, wrong, outside = State(span_s=600.0), [], Counter[str]()
    for number, body in enumerate(server.pages(pages)):
        at = 1_000_000.0 + INTERVAL_S * number
        page = parse(body, wanted, memo)
        if page.bad or page.cut:
            wrong.append(f"{kind} {seed}: a valid page has {page.bad} bad lines")
        found = exposition.read(page, at, at)
        for name, entity, value in found.readings:
            wrong += [f"{kind} {seed}: {name} of {entity} is {part}" for part in _parts(value) if not isfinite(part)]
            outside.update(_outside(signals()[name], value))
        health = Health(source.name, kind, "serving", "ok")
        state.apply(Tick(at, at, (Batch(at, at, health, found.readings, found.events),)))
        if number % SHOWN_EVERY == SHOWN_EVERY - 1:
            outside.update(_show(state))
    return wrong, outside


def _show(state: State) -> list[str]:
    """Make of a state what a person or a program sees; return what is out of its bounds there.

    Raises where that is not possible.
    """
    frame = state.frame()
    json.dumps(made := document(frame, "node"), allow_nan=False)
    text(frame, "node")
    for name, entity, stat in frame.timeline:
        bars(frame.columns(name, entity, stat, 20, 5.0), signals()[name].unit, Glyphs())
    return [
        f"the snapshot: {found}"
        for row in made["readings"]
        if isinstance(row["value"], float | int)
        for found in _outside(signals()[row["signal"]], row["value"])
    ]


def _parts(value: Value) -> list[float]:
    if not isinstance(value, Quantiles):
        return [value]
    parts = (value.p50, value.p95, value.p99, value.mean, value.count, value.window_s)
    return [part.limit if isinstance(part, Bound) else part for part in parts if part is not None]


def _outside(signal: Signal, value: Value) -> list[str]:
    found = [f"{signal.name} below 0" for part in _parts(value) if part < 0 and signal.unit not in SIGNED]
    if signal.unit in UP_TO_ONE and signal.name not in TIME_OF_TIME:
        found += [f"{signal.name} above 1" for part in _parts(value) if part > 1 and not isinstance(value, Quantiles)]
    return found
