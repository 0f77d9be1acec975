"""The screens of the layers, as data."""

import pytest

from aistack_top.model.signals import LAYERS
from layouts import layers
from layouts.layers import Section, layer_screens
from layouts.load import PanelRow


def test_every_layer_has_a_screen_that_ends_with_its_sources():
    screens = layer_screens()
    assert tuple(screens) == LAYERS
    assert all(screen.section[-1].kind == "sources" for screen in screens.values())


def test_columns_have_headings_that_fit():
    for screen in layer_screens().values():
        for section in screen.section:
            assert all(len(column.label) <= 10 for column in section.columns)
            assert all(len(row.title) <= 13 for row in section.row)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (Section("table", "x", per="gpus"), "no such key of an entity: 'gpus'"),
        (Section("table", "x"), "'per'"),
        (Section("shares", "x", signal="spend.shares"), "no such signal: 'spend.shares'"),
        (Section("rows", "x", row=(PanelRow("serving.ttft", stat="p96"),)), "has no 'p96'"),
    ],
)
def test_what_cannot_be_drawn_is_said(section, said):
    assert any(said in problem for problem in layers._wrong(section))
