"""Pausing, the time cursor, time travel, and the bar that moves the feed."""

import asyncio
import re
from dataclasses import replace

from textual.events import Key, MouseScrollUp
from textual.geometry import Offset

from aistack_top.model.feed import Bounds
from tests.fakes.feed import START, FakeFeed, World, reset_tick, seconds, tick
from tests.fakes.incident import incident
from tests.tui.screen_text import press, settle, shown, text

WORLD = World(gpus=2)


def session(**changes) -> FakeFeed:
    """A feed that can be played and sought in: two hours, of which ten seconds are taken."""
    bounds = {"start": START - 3600, "end": START + 3600, "live": False, "seekable": True, "speeds": True}
    feed = Bounds(**{**bounds, "title": "incident", **changes})
    return FakeFeed(seconds(10, WORLD), bounds=feed, on_seek=lambda at: reset_tick(at, WORLD))


async def test_space_pauses_the_display_while_collection_goes_on():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        paused = await press(app, pilot, "space")
        assert "PAUSED 16:00:09 UTC" in paused
        app.console_model.state.apply(tick(START + 30, WORLD))
        await settle(app, pilot)
        painted = text(app)
        assert "PAUSED 16:00:09 UTC 21 s behind" in painted
        assert painted.splitlines()[3:12] == paused.splitlines()[3:12]
        assert "LIVE 16:00:30 UTC" in await press(app, pilot, "space")


async def test_a_time_typed_at_once_goes_to_the_question_and_not_to_the_screen():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        for key in ("t", "1", "5", ":", "5", "9", "enter", "1"):
            app.post_message(Key({":": "colon"}.get(key, key), key if len(key) == 1 else None))
        for _ in range(8):
            await settle(app, pilot)
        assert "aistack-top › compute" in text(app)
        assert re.search(r"PAUSED 15:59:00 UTC", text(app))


async def test_the_cursor_steps_and_all_panels_show_its_moment():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        now = text(app)
        assert "PAUSED 16:00:08 UTC" in await press(app, pilot, "left_square_bracket")
        then = await press(app, pilot, "comma")
        assert "PAUSED 15:59:58 UTC" in then
        assert "│" in then
        clocks = [re.findall(r"SM clock +(\d+) MHz", painted) for painted in (now, then)]
        assert clocks[0]
        assert clocks[0] != clocks[1]
        assert "PAUSED 15:59:59 UTC" in await press(app, pilot, "right_square_bracket")
        assert "LIVE 16:00:09 UTC" in await press(app, pilot, "full_stop")


async def test_n_end_and_escape_go_back_to_now():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        for key in ("n", "end", "escape"):
            await press(app, pilot, "comma")
            assert "LIVE" in await press(app, pilot, key)


async def test_a_live_cursor_stops_at_the_oldest_that_is_held():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, _):
        app.console_model.move(-100_000)
        assert app.console_model.cursor.at == START - WORLD.history_s


async def test_the_wheel_carries_through_time():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        await pilot._post_mouse_events([MouseScrollUp], offset=Offset(40, 10))
        await pilot.pause()
        column = app.console_model.view().column_s(54)
        assert app.console_model.cursor.at == START + 9 - column


async def test_a_click_on_the_axis_puts_the_cursor_there():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        await pilot.click("#axis", offset=(40, 0))
        await pilot.pause()
        at = app.console_model.cursor.at
        assert at is not None
        assert START - 300 < at < START


async def test_events_are_marks_on_the_axis():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, _):
        axis = next(line for line in text(app).splitlines() if "5 min" in line)
        assert re.search("─▲─+!─", axis)


async def test_plus_and_minus_change_the_span_of_all_histories():
    async with shown(FakeFeed(seconds(10, WORLD)), (120, 40)) as (app, pilot):
        short = text(app)
        assert "10 min" in await press(app, pilot, "plus")
        assert "5 min" in await press(app, pilot, "minus")
        assert "2 min" in await press(app, pilot, "minus")
        assert text(app) != short


async def test_a_session_shows_its_bounds_and_stands_still_when_paused():
    feed = session()
    async with shown(feed, (120, 40)) as (app, pilot):
        assert "REPLAY 15:00:00 <- 16:00:09 UTC -> 17:00:00 1x" in text(app)
        assert re.search("PAUSED .* 1x", await press(app, pilot, "space"))
        assert feed.speeds == [0.0]
        assert "REPLAY" in await press(app, pilot, "space")
        assert feed.speeds == [0.0, 1.0]
        assert "2x" in await press(app, pilot, "greater_than_sign")
        assert "0.5x" in await press(app, pilot, "less_than_sign", "less_than_sign")


async def test_a_cursor_that_leaves_what_is_held_takes_the_feed_along():
    feed = session()
    async with shown(feed) as (app, pilot):
        app.console_model.go_to(START - 1800)
        await settle(app, pilot)
        assert feed.seeks == [START - 1800]
        assert feed.speeds == [0.0]
        assert "15:30:00" in text(app)
        assert app.console_model.state.now == START - 1800
        await press(app, pilot, "full_stop")
        assert feed.seeks[-1] == START - 1790
        app.console_model.go_to(START + 99_999)
        assert feed.seeks[-1] == START + 3600


async def test_the_next_incident_of_a_session_is_where_it_was_told(monkeypatch):
    feed = session()
    monkeypatch.setattr(feed, "incident_times", lambda: asyncio.sleep(0, [START - 1800, START + 600]), raising=False)
    async with shown(feed) as (app, pilot):
        painted = await press(app, pilot, "right_curly_bracket")
        assert feed.seeks == [START + 600]
        assert "PAUSED" in painted
        assert "16:10:00, when this incident was detected" in " ".join(painted.split())
        assert "no later incident" in await press(app, pilot, "right_curly_bracket")


async def test_the_keys_come_back_to_the_verdict_with_it():
    ticks = seconds(10, WORLD)
    ticks[5] = replace(ticks[5], incidents=(incident(START + 2, revised=START + 5),))
    async with shown(FakeFeed(ticks)) as (app, pilot):
        assert app.focused.id == "verdict"
        painted = await press(app, pilot, "comma")
        assert not app.screen.query_one("#verdict").display
        assert "▸ 1 compute" in painted
        await press(app, pilot, "n")
        assert app.focused.id == "verdict"
        assert "i incident" in text(app).splitlines()[-1]
        painted = await press(app, pilot, "left_curly_bracket")
        assert "16:00:05, when this incident was detected; it began at 16:00:02" in " ".join(painted.split())
        assert "› incident" in await press(app, pilot, "enter")


async def test_a_live_feed_that_was_taken_back_is_brought_to_its_end():
    feed = session(live=True, speeds=False)
    async with shown(feed) as (app, pilot):
        app.console_model.go_to(START - 1800)
        await settle(app, pilot)
        await press(app, pilot, "n")
        assert feed.seeks == [START - 1800, START + 3600]


async def test_a_feed_that_has_one_speed_says_so_and_goes_on():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        assert "LIVE" in await press(app, pilot, "greater_than_sign")
        assert "playback speed cannot be changed on a live feed" in text(app)


async def test_the_past_does_not_claim_an_age_nobody_knows():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        assert re.search(r"nvml ok +0 s", text(app))
        then = await press(app, pilot, "comma", "full_stop", "left_square_bracket")
        assert "nvml ok" in then
        assert not re.search(r"nvml ok +\d+ s", then)


async def test_before_anything_was_seen_the_sources_are_not_called_missing():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, _):
        app.console_model.go_to(START - 60)
        app.paint()
        assert "the state of the sources at this time is unknown" in text(app)
        assert "nothing was found" not in text(app)
