"""A few pictures with fixed data, to see that nothing moved unasked: each is there for one thing that it shows."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from aistack_top.model.feed import Bounds
from aistack_top.model.tick import Batch, Health, Tick
from layouts.load import load
from tests.fakes.feed import START, FakeFeed, World, seconds
from tests.fakes.incident import incident, traces_batch
from tests.tui.screen_text import press, settle
from tui.app import ConsoleApp
from tui.model.console import ConsoleOptions

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 50)


def calm() -> FakeFeed:
    """Every number of the first two layers, and calls."""
    return FakeFeed(seconds(30, World(gpus=8, engines=2)))


def troubled() -> FakeFeed:
    """Numbers of the first two layers only, so that a new signal of another changes no picture."""
    first, *more = seconds(6, World(gpus=4, engines=2))
    batches = (*first.batches, traces_batch(first.at, range(30)))
    return FakeFeed([replace(first, batches=batches, incidents=(incident(),)), *more])


def nobody() -> FakeFeed:
    """A node on which nothing was found, long enough ago to say so."""
    return FakeFeed([Tick(START + second, START + second) for second in (0, 10)])


def refused() -> FakeFeed:
    """One source that wants another key, one that has gone, one whose data stands still."""
    first, *more = seconds(
        6, World(gpus=2, engines=2, langfuse_status="unauthorized", langfuse_reason="the key is not accepted: HTTP 401")
    )
    told = (
        Health("vllm-9", "vllm", "serving", "down", "connection refused", age_s=312.0, interval_s=2.0),
        Health("dcgm", "dcgm", "compute", "stale", "its numbers stand still", age_s=41.0, interval_s=5.0),
    )
    return FakeFeed([replace(first, batches=(*first.batches, *(Batch(START, START, one) for one in told))), *more])


def recorded() -> FakeFeed:
    """Two hours that were recorded, of which half a minute is taken."""
    bounds = Bounds(START - 3600, START + 3600, live=False, seekable=True, speeds=True, title="night")
    return FakeFeed(seconds(30, World(gpus=2)), bounds=bounds)


@dataclass(frozen=True)
class Shot:
    """What is looked at, how large, and by which keys."""

    name: str
    feed: Callable[[], FakeFeed]
    size: tuple[int, int]
    keys: tuple[str, ...] = ()
    layout: str = "overview"
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)


SHOTS = (
    Shot("overview small", calm, SMALL),
    Shot("overview", calm, MEDIUM),
    Shot("overview large, incident", troubled, LARGE),
    Shot("overview, thin link", calm, MEDIUM, options={"low_bandwidth": True}),
    Shot("overview, Linux console", troubled, SMALL, env={"TERM": "linux"}),
    Shot("compact pane", calm, (40, 24), layout="compact"),
    Shot("wall", troubled, LARGE, layout="wall"),
    Shot("no source", nobody, SMALL),
    Shot("dead sources", refused, MEDIUM, ("S",)),
    Shot("too few", calm, SMALL, ("l", "M", "G")),
    Shot("compute", troubled, MEDIUM, ("1",)),
    Shot("serving", troubled, SMALL, ("2",)),
    Shot("tracing by night", troubled, MEDIUM, ("6",), options={"colours": "night"}),
    Shot("entity by day", troubled, SMALL, ("2", "enter"), options={"colours": "day"}),
    Shot("number in the past", calm, MEDIUM, ("1", "enter", "enter", "comma", "comma")),
    Shot("recording held", recorded, MEDIUM, ("space",)),
    Shot("verdict", troubled, SMALL, ("enter",)),
    Shot("incident", troubled, MEDIUM, ("i",)),
    Shot("incident without colours", troubled, MEDIUM, ("i",), env={"NO_COLOR": "1"}),
    Shot("calls filtered", troubled, MEDIUM, ("T", "slash", *"ttft>", *"500ms", "enter", "s", "s")),
    Shot("call", troubled, MEDIUM, ("T", "j", "j", "enter")),
    Shot("changes", troubled, SMALL, ("c",)),
)


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name.replace(", ", "-").replace(" ", "-"))
def test_it_looks_as_it_did(snap_compare, monkeypatch, shot):
    for name, value in shot.env.items():
        monkeypatch.setenv(name, value)
    app = ConsoleApp(shot.feed(), load(shot.layout), ConsoleOptions(**shot.options))

    async def before(pilot):
        await settle(app, pilot)
        await press(app, pilot, *shot.keys)
        await settle(app, pilot)

    assert snap_compare(app, terminal_size=shot.size, run_before=before)
