"""Colours that every pair of eyes tells apart, and that can be read; and nothing told by colour alone.

| what | is |
|---|---|
| eyes | full loss of one kind of cones by Machado, Oliveira and Fernandes (2009), doi 10.1109/TVCG.2009.113 |
| distance | CIEDE2000, as in Sharma, Wu and Dalal (2005), whose test data checks it here |
| contrast | WCAG 2.2, relative luminance |
"""

import math
from itertools import combinations
from typing import get_args

import pytest
from textual.constants import DIM_FACTOR

from aistack_top.model.tick import Severity, Status
from tests.fakes.feed import FakeFeed, World, seconds
from tests.fakes.incident import troubled
from tests.tui.screen_text import settle, shown, text
from tui import theme
from tui.glyphs import SEVERITY_SIGNS, STATUS_SIGNS, Glyphs
from tui.model.health import STYLES

EYES = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
APART = 12.0
"""Of CIEDE2000; 1 is a difference that can just be seen."""

READABLE = 4.5
XTERM = {"red": "#cd0000", "yellow": "#cdcd00", "cyan": "#00cdcd", "default": "#e5e5e5", "background": "#000000"}
VGA = {
    "bright_red": "#ff5555",
    "bright_yellow": "#ffff55",
    "cyan": "#00aaaa",
    "default": "#aaaaaa",
    "background": "#000000",
}
"""What a terminal shows for its 16 colours is its own affair; these are xterm's and the Linux console's defaults."""

Triple = tuple[float, float, float]


def rgb(colour: str) -> Triple:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def linear(colour: str) -> Triple:
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in rgb(colour))
    return red, green, blue


def seen(light: Triple, eyes: str) -> Triple:
    red, green, blue = (
        min(max(sum(part * one for part, one in zip(row, light, strict=True)), 0.0), 1.0) for row in EYES[eyes]
    )
    return red, green, blue


def lab(light: Triple) -> Triple:
    """Linear sRGB as CIELAB under D65."""
    red, green, blue = light
    xyz = (
        (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047,
        0.2126729 * red + 0.7151522 * green + 0.0721750 * blue,
        (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883,
    )
    x, y, z = (one ** (1 / 3) if one > 216 / 24389 else (24389 / 27 * one + 16) / 116 for one in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: Triple, other: Triple) -> float:
    """CIEDE2000."""
    (light_1, a_1, b_1), (light_2, a_2, b_2) = one, other
    mean = (math.hypot(a_1, b_1) + math.hypot(a_2, b_2)) / 2
    stretch = 1.5 - 0.5 * math.sqrt(mean**7 / (mean**7 + 25**7))
    chroma_1, chroma_2 = math.hypot(a_1 * stretch, b_1), math.hypot(a_2 * stretch, b_2)
    hue_1, hue_2 = (math.degrees(math.atan2(b, a * stretch)) % 360 for a, b in ((a_1, b_1), (a_2, b_2)))
    grey = chroma_1 * chroma_2 == 0
    turn = 0.0 if grey else (hue_2 - hue_1 + 180) % 360 - 180
    hue = hue_1 + hue_2 if grey else (hue_1 + turn / 2) % 360
    light, chroma = (light_1 + light_2) / 2, (chroma_1 + chroma_2) / 2

    def wave(times: float, shift: float) -> float:
        return math.cos(math.radians(times * hue + shift))

    weight = 1 - 0.17 * wave(1, -30) + 0.24 * wave(2, 0) + 0.32 * wave(3, 6) - 0.2 * wave(4, -63)
    by_light = (light_2 - light_1) / (1 + 0.015 * (light - 50) ** 2 / math.sqrt(20 + (light - 50) ** 2))
    by_chroma = (chroma_2 - chroma_1) / (1 + 0.045 * chroma)
    by_hue = 2 * math.sqrt(chroma_1 * chroma_2) * math.sin(math.radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    bend = -2 * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    bend *= math.sin(math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2))))
    return math.sqrt(by_light**2 + by_chroma**2 + by_hue**2 + bend * by_chroma * by_hue)


def contrast(one: str, other: str) -> float:
    low, high = sorted(
        0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (linear(one), linear(other))
    )
    return (high + 0.05) / (low + 0.05)


def dimmed(colour: str, background: str) -> str:
    mixed = (b + (f - b) * DIM_FACTOR for f, b in zip(rgb(colour), rgb(background), strict=True))
    return "#" + "".join(f"{round(one * 255):02x}" for one in mixed)


def palette(name: str, terminal: dict[str, str] | None = None) -> dict[str, str]:
    """What a theme shows for each state, its text and its background."""
    one = next(one for one in theme.THEMES if one.name == name)

    def real(colour: str | None) -> str:
        assert colour is not None
        return terminal[colour.removeprefix("ansi_")] if terminal else colour

    front = real(one.foreground)
    back = terminal["background"] if terminal else real(one.background)
    return {
        "ok": real(one.success),
        "warning": real(one.warning),
        "bad": real(one.error),
        "unknown": dimmed(front, back),
        "text": front,
        "background": back,
    }


PALETTES = {
    "terminal": palette("terminal", XTERM),
    "console": palette("console", VGA),
    "night": palette("night"),
    "day": palette("day"),
}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_is_the_published_one(one, other, expected):
    assert distance(one, other) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", PALETTES)
def test_no_two_states_look_alike_to_any_eyes(name, eyes):
    looks = {state: lab(seen(linear(PALETTES[name][state]), eyes)) for state in ("ok", "warning", "bad", "unknown")}
    near = {
        (one, other): round(distance(looks[one], looks[other]), 1)
        for one, other in combinations(looks, 2)
        if distance(looks[one], looks[other]) < APART
    }
    assert near == {}


@pytest.mark.parametrize("name", ["night", "day"])
def test_all_that_is_written_can_be_read(name):
    found = PALETTES[name]
    back = found["background"]
    pale = {state: contrast(colour, back) for state, colour in found.items() if state != "background"}
    assert {state: round(size, 1) for state, size in pale.items() if size < READABLE} == {}


def test_every_status_has_a_sign_and_a_word_and_those_of_one_colour_differ():
    assert set(STATUS_SIGNS) == set(STYLES) == set(get_args(Status))
    assert set(SEVERITY_SIGNS) == set(get_args(Severity))
    for glyphs in (Glyphs(), Glyphs(ascii_only=True)):
        signs = {STYLES[status]: glyphs.text(sign) for status, sign in STATUS_SIGNS.items()}
        assert len(set(signs.values())) == len(set(STYLES.values()))
        assert len({glyphs.text(sign) for sign in SEVERITY_SIGNS.values()}) == len(SEVERITY_SIGNS)


def markless(app) -> list[str]:
    """The pieces of the screen that have the colour of a state, and neither a sign nor a word to tell it."""
    coloured = {"ansi_red", "red", "yellow", "cyan", "bright_red", "bright_yellow"}
    strips = app.screen._compositor.render_strips()
    pieces = [part for strip in strips for part in strip if part.style and part.style.color]
    return [part.text for part in pieces if part.style.color.name in coloured and not part.text.strip()]


async def test_what_is_coloured_on_the_screen_is_also_said():
    ticks = troubled(World(gpus=2, engines=2, langfuse_status="unauthorized", langfuse_reason="no such key"))
    async with shown(FakeFeed(ticks), (120, 40)) as (app, pilot):
        painted = text(app)
        assert "✗ langfuse unauthorized" in painted
        assert "● nvml ok" in painted
        assert "! TTFT" in painted
        await settle(app, pilot)
        assert markless(app) == []


@pytest.mark.parametrize(
    ("term", "name"), [("linux", "console"), ("screen", "terminal"), ("xterm-16color", "terminal")]
)
async def test_a_terminal_begins_with_colours_that_it_has(monkeypatch, term, name):
    monkeypatch.setenv("TERM", term)
    async with shown(FakeFeed(seconds(3, World()))) as (app, _):
        assert app.theme == name
    async with shown(FakeFeed(seconds(3, World())), colours="day") as (app, _):
        assert app.theme == "day"
