"""Two pictures of the overview with fixed data, to see that nothing moved unasked."""

import pytest

from layouts.load import load
from tests.fakes.feed import FakeFeed, World, seconds
from tests.tui.painted import settle
from tui.app import ConsoleApp


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_overview_looks_as_it_did(snap_compare, size):
    app = ConsoleApp(FakeFeed(seconds(30, World(gpus=8, engines=2))), load("overview"))

    async def before(pilot):
        await settle(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)
