"""The layout loader: what it takes, and what it says about what it does not."""

import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aistack_top.model.signals import LAYERS, signals
from layouts.load import LayoutError, bundled, load, names, parse, schema

GOOD = """
title = "mine"

[[panel]]
layer = "compute"
empty = ["no GPU"]

[[panel.row]]
signal = "gpu.clock.sm"
label = "clock"

[panel.table]
per = "gpu"

[[panel.table.columns]]
signal = "gpu.temperature"
label = "temp"

[[size]]
columns = 80
rows = 24
grid = [{ panels = ["compute"], height = 10 }]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(LayoutError) as caught:
        parse(text, "mine.toml")
    return caught.value.problems


@pytest.mark.parametrize("name", ["overview", "compact", "incident", "wall"])
def test_bundled_layouts_have_every_layer_and_known_signals(name):
    layout = load(name)
    assert sorted(panel.layer for panel in layout.panel) == sorted(LAYERS)
    assert all(row.signal in signals() for panel in layout.panel for row in panel.row)
    for size in layout.size:
        shown = [layer for band in size.grid for layer in band.panels]
        assert shown == list(LAYERS) or (name == "incident" and sorted(shown) == sorted(LAYERS))
    assert name in bundled()


def test_a_layout_of_ones_own_is_loaded_by_path(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, encoding="utf-8")
    layout = load(str(file))
    assert layout.panel[0].row[0].part == "value"
    assert layout.panel[0].row[0].title == "clock"


def test_sizes_change_in_steps():
    layout = load("overview")
    sizes = {(80, 24): 80, (119, 60): 80, (120, 39): 80, (120, 40): 120, (300, 49): 120, (200, 50): 200, (20, 5): 80}
    for (columns, rows), wanted in sizes.items():
        assert layout.size_for(columns, rows).columns == wanted


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('label = "clock"', 'lable = "clock"', "mine.toml:10: unknown key 'lable'; did you mean 'label'?"),
        ("gpu.clock.sm", "gpu.clock.sn", "mine.toml:9: no such signal: 'gpu.clock.sn'; did you mean 'gpu.clock.sm'?"),
        ("gpu.temperature", "gpu.temprature", "mine.toml:16: no such signal: 'gpu.temprature'"),
        ('layer = "compute"', 'layer = "compte"', "mine.toml:5: no such layer: 'compte'; did you mean 'compute'?"),
        ('panels = ["compute"]', 'panels = ["serving"]', "mine.toml:22: no panel for 'serving'"),
        ('panels = ["compute"]', 'panels = ["compute", "compute"]', "mine.toml:22: compute is listed twice"),
        ('per = "gpu"', 'per = "gpus"', "mine.toml:13: no such key of an entity: 'gpus'; did you mean 'gpu'?"),
        ("columns = 80", "columns = 0", "mine.toml:20: Expected `int` >= 1".replace("`", "'")),
        ("rows = 24", 'rows = "24"', "mine.toml:21: Expected 'int', got 'str'"),
        ('label = "clock"', 'over = "wurst"', "mine.toml:10: Invalid enum value 'wurst'; did you mean 'worst'?"),
        ('label = "clock"', 'stat = "p95"', "mine.toml:10: gpu.clock.sm has no 'p95'"),
        ('label = "clock"', 'label = "a very long label"', "mine.toml:10: 'a very long label' is longer than 13"),
        ('empty = ["no GPU"]', "empty = []", "mine.toml:4: empty is missing a text"),
        ('signal = "gpu.clock.sm"', 'signal = "gpu.utilization"', "gpu.utilization has no worst"),
        (
            'signal = "gpu.clock.sm"\nlabel = "clock"',
            'signal = "serving.ttft"\nover = "sum"',
            "mine.toml:10: a sum of p95s means nothing",
        ),
        (
            'signal = "gpu.clock.sm"\nlabel = "clock"',
            'signal = "gpu.memory.usage"\nlabel = "mem"\nover = "sum"',
            "mine.toml:11: gpu.memory.usage is a ratio",
        ),
        ('label = "clock"', 'over = "sum"', "mine.toml:10: gpu.clock.sm does not add up over several"),
        ('label = "clock"', "without = { raeson = [] }", "did you mean 'reason'?"),
        ("[[size]]", "[[size", "mine.toml: not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_the_nearest_name(old, new, wanted):
    assert old in GOOD
    assert any(wanted in problem for problem in problems(GOOD.replace(old, new, 1)))


def test_all_problems_are_said_at_once():
    text = GOOD.replace("gpu.clock.sm", "gpu.clock.sn").replace('per = "gpu"', 'per = "gpus"')
    assert len(problems(text)) == 2
    text = GOOD.replace("label", "lable").replace("height", "hight")
    assert len(problems(text)) == 3


def test_a_layout_takes_from_its_base_what_it_does_not_say(tmp_path):
    mine = 'title = "mine"\nbase = "overview"\n' + GOOD.split("\n\n", 1)[1].split("[[size]]")[0]
    (tmp_path / "mine.toml").write_text(mine, encoding="utf-8")
    layout, base = load("mine", tmp_path), load("overview")
    assert layout.size == base.size
    assert layout.panel_of("compute").table.columns[0].signal == "gpu.temperature"
    assert layout.panel_of("spend") == base.panel_of("spend")
    assert problems('title = "x"\nbase = "overvew"') == [
        "mine.toml:2: no such layout: 'overvew'; did you mean 'overview'?"
    ]


def test_ones_own_layout_goes_before_a_bundled_one_of_its_name(tmp_path):
    (tmp_path / "wall.toml").write_text(GOOD, encoding="utf-8")
    assert load("wall", tmp_path).title == "mine"
    assert load("wall").title == "wall"
    assert "wall" in names(tmp_path)
    assert names(tmp_path / "nowhere") == bundled()


def test_a_layout_that_is_not_there_names_the_nearest():
    with pytest.raises(LayoutError, match=r"no such layout: 'overvew'; did you mean 'overview'\?"):
        load("overvew")
    with pytest.raises(LayoutError, match="cannot be read"):
        load("/nowhere/mine.toml")


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.integers(0, len(GOOD)), st.text(max_size=6))
def test_a_damaged_layout_is_a_clear_error_or_a_layout(place, noise):
    try:
        layout = parse(GOOD[:place] + noise + GOOD[place + len(noise) :])
    except LayoutError as error:
        said = error.problems
    else:
        said = [layout.title] * len(layout.size)
    assert said


def test_layouts_know_no_terminal():
    code = "import sys, layouts.load; layouts.load.load('overview'); print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_published_schema_is_that_of_the_code_and_takes_the_bundled_layouts():
    published = json.loads((Path(__file__).parents[2] / "docs/schema/layout.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema())), "make schemas"
    for name in bundled():
        jsonschema.validate(tomllib.loads(files("layouts").joinpath(f"{name}.toml").read_text()), published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"title": "mine", "pannel": []}, published)


@pytest.mark.parametrize("name", [name for name in bundled() if name != "overview"])
def test_a_layout_upon_a_base_repeats_none_of_its_panels(name):
    own = parse(files("layouts").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    if own.base:
        written = tomllib.loads(files("layouts").joinpath(f"{name}.toml").read_text(encoding="utf-8")).get("panel", [])
        base = load(own.base)
        assert not [one["layer"] for one in written if own.panel_of(one["layer"]) == base.panel_of(one["layer"])]
    assert sorted(panel.layer for panel in own.panel) == sorted(LAYERS)
