"""What is painted on the overview."""

import re

import pytest
from rich.cells import cell_len
from textual.geometry import Region

from aistack_top.model.signals import LAYERS
from aistack_top.model.tick import Batch, Health, ReadingsBuilder, Tick
from layouts.load import load
from tests.fakes.feed import START, FakeFeed, World, gpu, seconds
from tests.fakes.incident import troubled
from tests.tui.screen_text import SIZES, lines, press, settle, shown, text
from tui.widgets.panel import LayerPanel


@pytest.mark.parametrize("size", SIZES)
async def test_every_layer_and_its_worst_number_is_seen_without_scrolling(size):
    async with shown(FakeFeed(seconds(30, World(gpus=8, engines=2))), size) as (app, _):
        painted = text(app)
        for number, layer in enumerate(LAYERS, 1):
            assert f"{number} {layer}" in painted
        for label in ("SM clock", "throttle", "TTFT p95", "waiting", "KV cache", "latency p95", "errors"):
            assert label in painted
        assert "LIVE 16:00:29 UTC" in painted
        assert "node-1" in painted
        assert re.search(r"throttle +! 40 % +gpu 1", painted)


@pytest.mark.parametrize(
    ("size", "world"),
    [
        ((80, 24), World(gpus=64, engines=50)),
        ((200, 50), World(gpus=64, engines=50)),
        ((80, 24), World(gpus=0, engines=0, calls=False)),
    ],
)
async def test_nothing_overflows_however_much_or_little_there_is(size, world):
    async with shown(FakeFeed(seconds(6, world)), size) as (app, pilot):
        assert "8 spend" in text(app)
        for _ in range(2):
            painted = lines(app)
            assert len(painted) == size[1]
            assert all(cell_len(line) <= size[0] for line in painted)
            await press(app, pilot, "2")
        assert "aistack-top › serving" in text(app)


async def test_a_wide_terminal_adds_histories_and_a_wider_one_tables():
    world = World(gpus=8, engines=2)
    async with shown(FakeFeed(seconds(6, world)), (80, 24)) as (app, _):
        assert "▅" not in text(app)
    async with shown(FakeFeed(seconds(6, world)), (120, 40)) as (app, _):
        assert re.search("[▁▂▃▄▅▆▇█]{8}", text(app))
        assert not re.search(r"busy +mem +temp", text(app))
    async with shown(FakeFeed(seconds(6, world)), (200, 50)) as (app, _):
        assert re.search(r"gpu +busy +mem +temp +power +clock +throttle", text(app))
        assert re.search(r"engine +running +waiting +KV +TTFT p95 +ITL p95 +tok/s", text(app))
        assert re.search(r"gpu 1 .*hw_thermal", text(app))
        assert all(re.search(rf"\ngpu {index} ", text(app)) for index in range(8))


async def test_a_table_that_is_too_long_says_how_many_are_left_out():
    async with shown(FakeFeed(seconds(6, World(gpus=64, engines=50))), (200, 50)) as (app, _):
        painted = text(app)
        rows = len(re.findall(r"^gpu \d+ ", painted, re.MULTILINE))
        engines = len(re.findall(r" vllm-\d+ +\d+ +\d+ +\d+ %", painted))
        assert rows > 10
        assert [int(left) for left in re.findall(r"and (\d+) more", painted)] in (
            [64 - rows, 50 - engines],
            [50 - engines, 64 - rows],
        )


async def test_a_gap_stays_a_gap_in_the_history():
    async with shown(FakeFeed(seconds(6, World(gpus=1, engines=0, calls=False))), (200, 50)) as (app, _):
        line = next(line for line in lines(app) if line.startswith("temperature"))
        assert re.search("[▅▆▇█] +[▅▆▇█]", line)


async def test_a_layer_without_a_source_says_what_would_fill_it():
    async with shown() as (app, _):
        painted = text(app)
        assert "no source: Ray, MLflow" in painted
        assert "no source: Milvus" in painted
        assert "no source: MLflow" in painted


async def test_without_prices_spend_is_not_set_and_never_zero():
    async with shown(FakeFeed(seconds(6, World(calls=False)))) as (app, _):
        assert "$/h not set" in text(app)
        assert "$0" not in text(app)


async def test_too_few_requests_and_edges_of_histograms_are_said():
    async with shown() as (app, _):
        assert re.search(r"end to end +too few", text(app))
        assert "< 0.3 s" in text(app) or "< 300 ms" in text(app)


async def test_an_old_number_shows_its_age_and_a_dead_source_stands_first():
    down = Health("nvml", "nvml", "compute", "down", "the driver does not answer", 9.0)
    late = [Tick(START + 3 + n, START + 3 + n, (Batch(START + 3 + n, START + 3 + n, down),)) for n in range(10)]
    async with shown(FakeFeed([*seconds(3, World(engines=0, calls=False)), *late])) as (app, _):
        assert lines(app)[1].startswith("✗ nvml down")
        assert "✗ down" in text(app)
        assert re.search(r"temperature +\d+ °C +10 s old", text(app))


async def test_before_the_first_tick_nothing_is_called_missing():
    async with shown(FakeFeed([])) as (app, _):
        assert "waiting for the first data" in text(app)
        assert "no source" not in text(app)
        assert "1970" not in text(app)
        assert "no data yet" in text(app)


async def test_names_from_outside_are_shown_harmless():
    nasty = "[red]evil[/red]\x1b[31m\x1b]0;title\x07\u202eabc\ttail" + "x" * 300
    world = World(engines=1, engine_names=(nasty,), langfuse_status="down", langfuse_reason="\x1b[2J[bold]gone")
    async with shown(FakeFeed(seconds(12, world)), (120, 40)) as (app, pilot):
        for key in ("2", "escape", "S", "escape", "c", "escape", "question_mark"):
            painted = await press(app, pilot, key)
            assert "\x1b" not in painted
            assert "\u202e" not in painted
            assert all(cell_len(line) <= 120 for line in lines(app))
        await press(app, pilot, "escape")
        assert "[red]evil[/red]" in text(app)


async def test_a_wide_name_is_cut_by_cells_and_not_by_characters():
    world = World(engines=1, engine_names=("推論エンジン" * 10,))
    async with shown(FakeFeed(seconds(6, world)), (80, 24)) as (app, _):
        assert all(cell_len(line) <= 80 for line in lines(app))


async def test_only_changed_cells_are_repainted(monkeypatch):
    still = seconds(6, World(gpus=2, engines=0, calls=False))
    async with shown(FakeFeed(still)) as (app, _):
        panel = app.screen.query_one("#layer-compute", LayerPanel)
        before = panel.lines
        builder = ReadingsBuilder()
        builder.add("gpu.temperature", gpu(0), 99.0)
        last = still[-1]
        app.console_model.state.apply(
            Tick(last.at, last.at, (Batch(last.at, last.at, last.batches[0].health, builder.build()),))
        )
        regions: list[Region] = []
        monkeypatch.setattr(panel, "refresh", lambda *dirty, **_: regions.extend(dirty))
        app.paint()
        changed = [
            (y, x)
            for y, (old, new) in enumerate(zip(before, panel.lines, strict=True))
            for x, (a, b) in enumerate(zip(old, new, strict=True))
            if a != b
        ]
        assert panel.lines[3][1].text.strip() == "99 °C"
        assert {y for y, _ in changed} == {3}
        # one region a line: a second one would write the line from its beginning once more
        assert [region.y for region in regions] == [3]
        assert regions[0].x == panel.lines[3][0].width


async def test_ascii_only_paints_nothing_else():
    async with shown(size=(120, 40), ascii_only=True) as (app, pilot):
        assert text(app).isascii()
        for key in ("1", "escape", "S", "escape", "c", "escape", "question_mark"):
            assert (await press(app, pilot, key)).isascii()


async def test_the_linux_console_gets_ascii_and_no_colour_does_not_crash(monkeypatch):
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.setenv("NO_COLOR", "1")
    async with shown(size=(120, 40)) as (app, pilot):
        assert text(app).isascii()
        app.theme = "night"
        await settle(app, pilot)
        assert "1 compute" in text(app)
        assert "LIVE" in await press(app, pilot, "space", "space")


@pytest.mark.parametrize("theme", ["terminal", "night", "textual-light"])
async def test_without_colours_there_are_none_at_all_and_signs_stay(monkeypatch, theme):
    monkeypatch.setenv("NO_COLOR", "1")
    async with shown(FakeFeed(troubled(World())), size=(120, 40)) as (app, pilot):
        app.theme = theme
        await settle(app, pilot)
        styles = [part.style for strip in app.screen._compositor.render_strips() for part in strip if part.style]
        colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour is not None]
        assert {colour.name for colour in colours} <= {"default"}
        assert any(style.reverse or style.bold for style in styles)
        assert "! TTFT" in text(app)


@pytest.mark.parametrize("name", ["compact", "incident", "wall"])
@pytest.mark.parametrize("size", [(40, 24), (120, 40)])
async def test_every_bundled_layout_shows_every_layer(name, size):
    async with shown(FakeFeed(seconds(6, World(gpus=2, engines=2))), size, load(name)) as (app, _):
        if name == "compact" or size[0] >= 120:
            assert all(f"{number} {layer}" in text(app) for number, layer in enumerate(LAYERS, 1))
        assert all(cell_len(line) <= size[0] for line in lines(app))


async def test_resizing_takes_the_step_of_the_layout():
    async with shown(FakeFeed(seconds(6, World(gpus=2)))) as (app, pilot):
        await pilot.resize_terminal(200, 50)
        await settle(app, pilot)
        assert re.search(r"busy +mem +temp", text(app))
        await pilot.resize_terminal(80, 24)
        await settle(app, pilot)
        assert not re.search(r"busy +mem +temp", text(app))
        assert len(lines(app)) == 24


async def test_low_bandwidth_draws_no_histories_and_repaints_seldom():
    async with shown(size=(120, 40), low_bandwidth=True) as (app, _):
        assert not re.search("[▁▂▃▄▅▆▇█]", text(app))
        assert app.repaint_s == 12.0
