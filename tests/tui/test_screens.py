"""Keys, panels opened alone, and the screens behind the overview."""

import asyncio
import re
from dataclasses import replace

import pytest
from textual.app import App
from textual.binding import Binding
from textual.command import CommandPalette

from aistack_top.feeds.announced import AnnouncedFeed
from aistack_top.model.feed import Bounds
from aistack_top.model.signals import LAYERS, signals
from layouts.load import load
from tests.fakes.feed import START, FakeFeed, World, seconds
from tests.fakes.incident import troubled
from tests.tui.screen_text import lines, press, settle, shown, text, turns
from tui.app import ConsoleApp
from tui.keymap import places
from tui.screens.help import worry
from tui.widgets.panel import LayerPanel


@pytest.mark.parametrize("number", [1, 2, 6])
async def test_a_digit_opens_its_layer_with_all_its_numbers(number):
    async with shown(FakeFeed(seconds(30, World(gpus=4, engines=2)))) as (app, pilot):
        painted = await press(app, pilot, str(number))
        assert f"aistack-top › {LAYERS[number - 1]}" in painted
        assert not any(f"{other} {layer}" in painted for other, layer in enumerate(LAYERS, 1))
        assert " 16:00 " in painted.splitlines()[-2]
        back = await press(app, pilot, "escape")
        assert all(f"{other} {layer}" in back for other, layer in enumerate(LAYERS, 1))


async def test_a_panel_shown_alone_scrolls_to_its_last_number():
    async with shown(FakeFeed(seconds(6, World(gpus=8)))) as (app, pilot):
        opened = await press(app, pilot, "M")
        assert re.search(r"1 to 19 of \d\d", opened)
        end = await press(app, pilot, "G")
        assert end != opened
        assert "gpu 7" in end
        assert await press(app, pilot, "g") == opened


async def test_time_travel_works_on_a_layer_screen():
    async with shown() as (app, pilot):
        await press(app, pilot, "1")
        assert "PAUSED 16:00:01 UTC" in await press(app, pilot, "comma")


async def test_focus_moves_between_rows_and_panels():
    async with shown() as (app, pilot):

        def focused() -> str:
            assert isinstance(app.focused, LayerPanel)
            return app.focused.spec.layer

        assert focused() == "compute"
        await press(app, pilot, "l")
        assert focused() == "serving"
        await press(app, pilot, "left")
        assert focused() == "compute"
        await press(app, pilot, "G", "j")
        assert focused() == "training"
        await press(app, pilot, "j")
        assert focused() == "tracing"
        await press(app, pilot, "k")
        assert focused() == "training"
        await settle(app, pilot)
        assert "▸ 3 training" in text(app)
        await pilot.click("#layer-spend")
        assert focused() == "spend"
        await press(app, pilot, "M")
        assert "aistack-top › spend" in text(app)
        assert "aistack-top › spend" not in await press(app, pilot, "M")
        assert "aistack-top › spend" in await press(app, pilot, "enter")
        assert "aistack-top › spend" not in await press(app, pilot, "escape")


async def test_the_list_of_sources_says_everything_in_full_words():
    reason = "the key is not accepted: HTTP 401; set LANGFUSE_SECRET_KEY to a key of this very project and start again"
    world = World(gpus=1, engines=2, langfuse_status="unauthorized", langfuse_reason=reason)
    async with shown(FakeFeed(seconds(12, world)), (100, 30)) as (app, pilot):
        painted = await press(app, pilot, "S")
        rows = painted.splitlines()
        assert rows[2].startswith("langfuse")
        assert re.search(r"langfuse +tracing +langfuse +✗ unauthorized +46 s +5.0 s +120 ms", painted)
        assert " ".join(reason.split()) in " ".join(painted.split())
        assert "+800 ms ± 500 ms" in painted
        assert re.search(r"nvml +compute +nvml +● ok +0 s +1.0 s +4.0 ms", painted)
        assert re.search(r"vllm-0 +gpu 0 \(by pid: pid 4242 listens on 8000\)", painted)
        assert re.search(r"vllm-1 +unknown", painted)
        assert "1 compute" in await press(app, pilot, "escape")


async def test_the_list_of_changes_has_the_newest_first():
    async with shown(notices=("the last hours are not kept: the disk is full",)) as (app, pilot):
        painted = await press(app, pilot, "c")
        assert painted.index("XID 79") < painted.index("engine restarted")
        assert re.search(r"15:59:30 +! critical +compute +gpu 0: XID 79", painted)
        assert "the disk is full" in painted


async def test_changes_nobody_knew_of_yet_are_not_shown_in_the_past():
    async with shown() as (app, pilot):
        app.console_model.go_to(START - 120)
        assert "no changes or events" in await press(app, pilot, "c")


async def test_help_explains_every_key_and_every_number():
    async with shown(FakeFeed(seconds(6, World())), (160, 50)) as (app, pilot):
        painted = await press(app, pilot, "question_mark")
        for words in (
            "Pause or resume the display",
            "Ten seconds back",
            "Back to now",
            "List of sources",
            "Open compute",
            "Quit",
        ):
            assert words in painted
        everything = painted
        for _ in range(25):
            everything += await press(app, pilot, "pagedown")
        assert "Where it comes from: serving.ttft, reported by vllm-0" in everything
        assert "Gateway, guardrail and retrieval time is not in it." in everything
        assert "When to worry: When it leaves its baseline." in everything
        assert "guardrail.hits, reported by no source" in everything


async def test_help_explains_the_numbers_of_the_screen_it_was_asked_on():
    async with shown(FakeFeed(seconds(6, World())), (160, 200)) as (app, pilot):
        painted = await press(app, pilot, "2", "question_mark")
        assert "2 serving: numbers on this screen" in painted
        assert "serving.queue_time" in painted
        assert "1 compute: what" not in painted


def test_every_number_has_its_words_in_the_help():
    for one in signals().values():
        assert one.help
        assert worry(one).endswith(".")


async def test_the_palette_has_every_action():
    async with shown() as (app, _):
        screen = app.screen
        commands = {command.title for command in app.get_system_commands(screen)}
        described = {
            binding.binding.description
            for binding in screen.active_bindings.values()
            if binding.binding.id and not binding.binding.system  # those without are Textual's
        }
        assert described <= commands
        assert {"List of sources", "Pause or resume the display", "Quit", "Theme"} <= commands


async def test_a_command_of_the_palette_does_what_its_key_does():
    async with shown() as (app, pilot):
        for key in ("colon", "ctrl+p"):
            await press(app, pilot, key)
            assert isinstance(app.screen, CommandPalette)
            app.pop_screen()
            await turns(pilot)
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        await commands["Pause or resume the display"]()
        await commands["List of sources"]()
        await settle(app, pilot)
        assert "aistack-top › sources" in text(app)
        assert "PAUSED" in text(app)


async def test_every_binding_can_be_bound_anew():
    found = [binding for where in places() for binding in vars(where).get("BINDINGS", ())]
    ids = [binding.id for binding in found if isinstance(binding, Binding)]
    assert len(ids) == len(found)
    assert all(ids)
    assert len(ids) == len(set(ids))
    async with shown(keymap={"pause": "p"}) as (app, pilot):
        assert "LIVE" in await press(app, pilot, "space")
        assert "PAUSED" in await press(app, pilot, "p")


async def test_the_cost_of_the_console_is_shown_on_request():
    async with shown() as (app, pilot):
        assert "MB" not in lines(app)[-1]
        await press(app, pilot, "C")
        assert re.search(r"cpu [\d.]+ % .*MB", await press(app, pilot, "space"))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quitting_closes_the_feed(key):
    feed = FakeFeed(seconds(6, World()))
    async with shown(feed) as (app, pilot):
        await pilot.press(key)
        await pilot.pause()
        assert not app.is_running
    assert feed.closed


async def test_a_feed_that_fails_is_one_sentence_and_the_screen_stays():
    feed = FakeFeed(seconds(6, World()), fault=RuntimeError("the disk\x1b[31m is gone"))
    async with shown(feed) as (app, pilot):
        painted = text(app)
        assert painted.count("the disk is gone") == 1
        assert "Traceback" not in painted
        assert "1 compute" in painted
        assert "PAUSED" in await press(app, pilot, "space")


async def test_notices_of_the_configuration_and_of_the_feed_are_shown_while_they_hold():
    off, paused = "recording is off: the folder cannot be written", "recording paused: the disk is full"
    first, second = seconds(2, World())
    bounds = Bounds(START, START + 60, live=True, seekable=True)
    feed = FakeFeed([replace(first, notices=(paused,))], bounds=bounds, on_seek=lambda _: second)
    async with shown(feed, notices=(off,)) as (app, pilot):
        assert f"! {off}  (+1 in the list of changes: c)" in text(app)
        assert paused in await press(app, pilot, "c")
        await press(app, pilot, "escape")
        feed.seek(START)
        await settle(app, pilot)
        assert f"! {off}\n" in text(app)


async def test_a_feed_that_takes_a_while_to_begin_says_so_before_any_time_is_known():
    begins = asyncio.Event()
    feed = AnnouncedFeed(FakeFeed(seconds(3, World()), pause=begins.wait, pause_first=True), "computing the past")
    async with shown(feed) as (app, pilot):
        assert "! computing the past" in text(app)
        assert "no data yet" in text(app)
        begins.set()
        await settle(app, pilot)
        assert "computing" not in text(app)
        assert app.console_model.pump.oldest == START - World().history_s


async def test_stale_frames_are_dropped_and_not_queued():
    feed = FakeFeed(seconds(200, World(gpus=1, engines=0, calls=False)))
    looked = []

    class Counting(ConsoleApp):
        def paint(self):
            looked.append(1)
            super().paint()

    app = Counting(feed, load("overview"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(app, pilot)
        assert feed.given == 200
        assert len(looked) < 50
        assert "16:03:19" in text(app)


@pytest.mark.parametrize("key", ["question_mark", "c", "S", "T", "i", "A"])
async def test_a_screen_is_painted_over_the_one_before_when_it_is_whole_and_not_empty(key, monkeypatch):
    frames = []
    painting = App._display

    def noted(self, screen, renderable):
        if renderable is not None:
            frames.append((type(screen).__name__, "\n".join(one.text for one in screen._compositor.render_strips())))
        painting(self, screen, renderable)

    async with shown(FakeFeed(troubled(World()))) as (app, pilot):
        monkeypatch.setattr(App, "_display", noted)
        await press(app, pilot, key)
        await settle(app, pilot)
        opened = type(app.screen).__name__
        painted = [said for name, said in frames if name == opened]
        assert opened != "OverviewScreen"
        assert painted
        assert all("aistack-top ›" in said and said.count("\n") == 23 for said in painted)
        assert all(len([line for line in said.splitlines()[1:-2] if line.strip()]) > 3 for said in painted)
