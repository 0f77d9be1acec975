"""Every screen at three sizes with nothing, the usual, far too much, and what somebody made up to hurt."""

import unicodedata
from dataclasses import replace
from itertools import combinations

import pytest
from textual.widget import Widget

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Batch, Call, Event, Fact, Health, Mark, ReadingsBuilder
from tests.fakes.feed import START, FakeFeed, World
from tests.fakes.incident import incident, traces_batch, troubled
from tests.tui.screen_text import SIZES, press, shown, text, turns
from tui.screens.base import ConsoleScreen
from tui.widgets.cells import CellView
from tui.widgets.prompt import Prompt

EVIL = "\x1b[31m\x1b]0;pwned\x07 [bold]m[/] \u202egnp.exe \u4e16\u754c\u4e16\u754c " + "x" * 300 + "\n\t\x00"
WALK = (
    ("overview", ()),
    ("a panel alone", ("M",)),
    ("all panels again", ("escape",)),
    *((f"layer {number}", (str(number),)) for number in range(8, 0, -1)),
    ("entity", ("enter",)),
    ("number", ("enter",)),
    ("calls", ("T",)),
    ("call", ("j", "enter")),
    ("incidents", ("A",)),
    ("incident", ("enter",)),
    ("the incident before the cursor was there", ("comma", "comma")),
    ("a question", ("m",)),
    ("no question", ("escape", "n")),
    ("changes", ("c",)),
    ("sources", ("S",)),
    ("help", ("question_mark",)),
    ("help's end", ("G",)),
)


def nothing():
    return []


def usual():
    return troubled(World(gpus=4, engines=2))


def far_too_much():
    first, *more = troubled(World(gpus=64, engines=50, history_s=30), 3, 1)
    many = traces_batch(first.at, range(2_500), step=0.02)
    return [replace(first, batches=(*first.batches, many)), *more]


def evil():
    first, *more = troubled(World(gpus=2, engines=2, engine_names=(EVIL + "0", EVIL + "1"), langfuse_reason=EVIL,
                                  langfuse_status="unauthorized"))  # fmt: skip
    at = first.at
    builder = ReadingsBuilder()
    for value in (float("inf"), -1e308, 1e308, float("nan")):
        about = Entity.of(engine=EVIL, model=EVIL, tenant=EVIL, reason=EVIL)
        builder.add("serving.requests.waiting", about, value)
        builder.add("gpu.temperature", Entity.of(gpu=EVIL), value)
        builder.add("guardrail.hits", Entity.of(rail=EVIL), value)
    calls = tuple(
        Call(f"{EVIL}{n}", EVIL, EVIL if n else "", "generation", EVIL, at - 9, at - 7, at, at, EVIL, EVIL, EVIL, EVIL,
             10**15, -5, 0, float("inf"), 1e300, EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)
        for n in range(30)
    )  # fmt: skip
    made = Batch(
        at,
        at,
        Health(EVIL, EVIL, "serving", "down", EVIL),
        builder.build(),
        events=(Event(at - 3, at, EVIL, EVIL, "critical", Entity.of(engine=EVIL), EVIL, EVIL, ((EVIL, EVIL),)),),
        calls=calls,
        facts=(Fact(Entity.of(engine=EVIL), EVIL, EVIL), Fact(Entity.of(engine=EVIL), "model", EVIL)),
        calls_until=at,
    )
    verdict = incident().verdict
    worst = incident(
        START - 30,
        id=EVIL,
        symptom=replace(incident().symptom, entity=Entity.of(engine=EVIL), peak=float("inf"), ratio=1e300),
        verdict=replace(verdict, what=EVIL, why=EVIL, support=(EVIL,) * 40, against=(EVIL,), next_step=EVIL),
        blind_spots=(EVIL,) * 40,
    )
    marks = (Mark(at - 5, at, EVIL, EVIL),)
    return [replace(first, batches=(*first.batches, made), incidents=(*first.incidents, worst), marks=marks), *more]


def whole(app, painted: str) -> None:
    """Nothing reaches over the edge of its widget, no widget over another, no sign that moves the terminal."""
    assert painted.strip()
    assert not [sign for sign in painted if unicodedata.category(sign) in ("Cc", "Cf") and sign != "\n"]
    leaves = [one for one in app.screen.walk_children(Widget) if one.display and not one.children and one.region.area]
    for one in leaves:
        if isinstance(one, CellView):
            wide = [line for line in one.lines if sum(part.width for part in line) > one.size.width]
            assert not wide, (one, one.size, wide[:2])
    apart = [one for one in leaves if not any(isinstance(parent, Prompt) for parent in one.ancestors_with_self)]
    for one, other in combinations(apart, 2):
        assert not one.region.overlaps(other.region) or {one.id, other.id} & {"said"}, (one, other)


def kinds(base: type[ConsoleScreen]) -> set[type[ConsoleScreen]]:
    """Every kind of screen that is no mere base of others."""
    below = {kind for child in base.__subclasses__() for kind in kinds(child)}
    return below or {base}


@pytest.mark.parametrize("data", [nothing, usual, far_too_much, evil])
async def test_every_screen_is_whole_at_every_size(data):
    """One walk; on each screen the terminal is made larger, or smaller, step by step. Of usual names none is cut."""
    sizes, seen = list(SIZES), set()
    async with shown(FakeFeed(data()), sizes[0]) as (app, pilot):
        for name, keys in WALK:
            await press(app, pilot, *keys)
            seen.add(type(app.screen))
            for size in sizes:
                if app.size != size:
                    await pilot.resize_terminal(*size)
                    await turns(pilot)
                    app.paint()
                    await turns(pilot)
                assert app.size == size
                painted = text(app)
                try:
                    whole(app, painted)
                    assert data is not usual or "…" not in painted
                except AssertionError as error:
                    raise AssertionError(f"{name} at {size}: {error}\n{painted}") from error
            sizes.reverse()
    if data is usual:
        assert seen == kinds(ConsoleScreen)
