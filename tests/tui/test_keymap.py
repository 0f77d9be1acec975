"""Keys of one's own: what can be bound anew, and what is said about what cannot."""

from pathlib import Path

import pytest

from tests.tui.screen_text import press, shown
from tui.keymap import bindings, keymap


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
        assert "What changed and happened" in await press(app, pilot, "question_mark")
        await press(app, pilot, "escape")
        assert "aistack-top › changes" in await press(app, pilot, "v")


def test_the_documentation_names_every_action():
    told = (Path(__file__).parents[2] / "docs/layouts.md").read_text(encoding="utf-8")
    assert [name for name in bindings() if f"`{name}`" not in told] == []
