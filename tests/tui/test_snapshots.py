"""A few pictures with fixed data, to see that nothing moved unasked."""

from dataclasses import replace

import pytest

from layouts.load import load
from tests.fakes.feed import FakeFeed, World, seconds
from tests.fakes.trouble import incident, traces_batch
from tests.tui.painted import press, settle
from tui.app import ConsoleApp


def troubled() -> FakeFeed:
    """Numbers of the first two layers only, so that a new signal of another changes no picture."""
    first, *more = seconds(6, World(gpus=4, engines=2))
    batches = (*first.batches, traces_batch(first.at, range(30)))
    return FakeFeed([replace(first, batches=batches, incidents=(incident(),)), *more])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_overview_looks_as_it_did(snap_compare, size):
    app = ConsoleApp(FakeFeed(seconds(30, World(gpus=8, engines=2))), load("overview"))

    async def before(pilot):
        await settle(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        (("1",), (120, 40)),
        (("2",), (80, 24)),
        (("enter",), (80, 24)),
        (("i",), (120, 40)),
        (("T", "j", "j", "enter"), (120, 40)),
    ],
    ids=["compute", "serving", "verdict", "incident", "call"],
)
def test_a_screen_looks_as_it_did(snap_compare, keys, size):
    app = ConsoleApp(troubled(), load("overview"))

    async def before(pilot):
        await settle(app, pilot)
        await press(app, pilot, *keys)
        await settle(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
