"""Keys of one's own: what can be bound anew, and what is said about what cannot."""

import re
from pathlib import Path

import pytest

from aistack_top.model.signals import signals
from tests.tui.screen_text import press, shown
from tui.keymap import bindings, keymap
from tui.screens.help import unit_words


def test_every_binding_has_an_id_of_its_own_and_can_be_explained():
    found = bindings()
    assert {"pause", "help", "quit", "evidence", "filter", "incident.dismiss", "panel.maximise"} <= set(found)
    assert all(binding.description for binding in found.values())


@pytest.mark.parametrize(
    ("wished", "good", "said"),
    [
        ({"pause": "p"}, {"pause": "p"}, None),
        ({"filter": "/,ctrl+f"}, {"filter": "slash,ctrl+f"}, None),
        ({"time.back_ten": ","}, {"time.back_ten": "comma"}, None),
        ({"pauze": "p"}, {}, "no such action: 'pauze'; did you mean 'pause'?"),
        ({"pause": "f99"}, {}, "pause: no such key: 'f99'"),
        ({"pause": "ctl+p"}, {}, "pause: no such key: 'ctl+p'"),
        ({"pause": "p", "mark": "p"}, {"pause": "p"}, "mark: p is bound to pause already"),
    ],
)
def test_a_wish_is_taken_or_told_of(wished, good, said):
    found, problems = keymap(wished)
    assert found == good
    assert len(problems) == (said is not None)
    assert said is None or said in problems[0]


async def test_a_key_bound_anew_stands_in_the_help():
    async with shown(keymap=keymap({"changes": "v"})[0], size=(120, 60)) as (app, pilot):
        assert "Changes and events" in await press(app, pilot, "question_mark")
        await press(app, pilot, "escape")
        assert "aistack-top › changes" in await press(app, pilot, "v")


async def test_help_and_palette_show_keys_as_they_stand_on_the_keyboard_and_only_those_that_do_something():
    async with shown(size=(120, 80)) as (app, pilot):
        told = {one.title: one.help for one in app.get_system_commands(app.screen)}
        assert told["Longer time span"] == "key +"
        assert told["Help: keys and numbers"] == "key ?"
        painted = await press(app, pilot, "question_mark")
        assert re.search(r"^  \+ = +Longer time span", painted, re.MULTILINE)
        assert re.search(r"tab +Next panel", painted)
        for said in ("Focus Next", "Copy selected text", "super+c"):
            assert said not in painted
            assert said not in told


def test_units_are_those_of_the_screen_and_not_ucum():
    said = {unit_words(signal) for signal in signals().values()}
    assert not [one for one in said if any(sign in one for sign in "[]{}")]
    assert not said & {"1", "By", "Cel", "USD", "By/s"}
    named = {name: unit_words(signals()[name]) for name in ("gpu.temperature", "gpu.ecc.corrected", "spend.rate")}
    assert named == {"gpu.temperature": "°C", "gpu.ecc.corrected": "errors", "spend.rate": "$/h"}


def test_the_documentation_names_every_action():
    told = (Path(__file__).parents[2] / "docs/layouts.md").read_text(encoding="utf-8")
    assert [name for name in bindings() if f"`{name}`" not in told] == []
