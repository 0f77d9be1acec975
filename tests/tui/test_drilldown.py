"""The layers' screens, calls, incidents: what they say, where they lead, and that nothing on them is cut."""

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual import events

from aistack_top.model.entity import Entity
from aistack_top.model.incident import Verdict
from aistack_top.model.signals import LAYERS
from aistack_top.model.tick import Fact
from layouts.load import load
from tests.fakes.feed import START, FakeFeed, World, gpu, seconds
from tests.fakes.incident import incident, trace, traces_batch, troubled
from tests.tui.screen_text import SIZES, lines, press, settle, shown, text, turns
from tui.glyphs import Glyphs
from tui.model.console import ConsoleOptions, make
from tui.model.targets import NumberTarget
from tui.palette import GoToCommands
from tui.screens.call import CallScreen
from tui.screens.calls import CallsScreen
from tui.screens.changes import ChangesScreen
from tui.screens.entity import EntityScreen
from tui.screens.incident import IncidentScreen
from tui.screens.incidents import IncidentsScreen
from tui.screens.layer import LayerScreen
from tui.screens.number import NumberScreen
from tui.sections.context import RenderContext, SortOrder
from tui.widgets.cells import CellView
from tui.widgets.panel_lines import Drawing
from tui.widgets.row_list import RowList

WORLD = World(gpus=3, engines=2)
NASTY = "[red]evil[/red]\x1b[31m\x1b]0;title\x07\u202eabc\ttail" + "x" * 300


WIDE = "推論エンジン " + "推論エンジン" * 40


def normal() -> FakeFeed:
    return FakeFeed(troubled(WORLD))


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        ("gpu.recovery_action", "XID error on gpu 1, since 15:59:00"),
        ("gpu.ecc.uncorrected", "uncorrected memory errors on gpu 1, since 15:59:00"),
        ("serving.engine.frozen", "gpu 1 is frozen, since 15:59:00"),
        ("serving.engine.dead", "gpu 1: engine dead, since 15:59:00"),
        ("host.log.lines", "the kernel of gpu 1 reports a GPU error, since 15:59:00"),
    ],
)
async def test_a_symptom_that_is_there_or_not_is_told_without_a_number(signal, said):
    symptom = replace(incident().symptom, signal=signal, entity=gpu(1), peak=0.0, usual=0.0, ratio=None, stat="value")
    first, *more = seconds(3, WORLD)
    ticks = [replace(first, incidents=(incident(symptom=symptom),)), *more]
    async with shown(FakeFeed(ticks), (120, 40)) as (app, _):
        assert f"! {said}" in text(app)


async def test_gpus_of_one_engine_stand_beside_each_other_and_the_worst_is_marked():
    async with shown(normal(), (120, 40)) as (app, pilot):
        painted = await press(app, pilot, "1")
        rows = painted.splitlines()
        assert "aistack-top › compute" in rows[0]
        first, second = (next(i for i, row in enumerate(rows) if row.startswith(f"  vllm-{n}:")) for n in (0, 1))
        assert rows[first + 1].startswith("gpu 0")
        assert rows[second + 1].startswith("gpu 1")
        assert re.search(r"gpu 1 .*▲ hw_thermal", painted)
        assert re.search(r"! critical +compute +gpu 0: XID 79", painted)
        assert re.search(r"4242 +65.2 GiB +gpu 0 +serve +vllm", await press(app, pilot, "G", "g"))


async def test_columns_that_a_narrow_table_has_no_room_for_stand_below():
    async with shown(normal(), (80, 24)) as (app, pilot):
        for layer, title, names in (
            ("1", "GPUs, more", ("throttle",)),
            ("2", "engines, more", ("preempt", "e2e p95", "arrivals")),
        ):
            await press(app, pilot, layer)
            board = app.screen.query_one(RowList)
            everything = ["".join(one.text for one in row.line) for row in board._rows]
            place = next(index for index, line in enumerate(everything) if line.startswith(title))
            assert all(name in everything[place + 1] for name in names)
            assert not any(name in everything[1] for name in names)


async def test_engines_show_spread_split_and_versions():
    async with shown(normal(), (120, 40)) as (app, pilot):
        painted = await press(app, pilot, "2")
        assert re.search(r"vllm-1 +▲? ?\d+ ms", painted)
        assert re.search(r"vllm-0 +100 ms +150 ms +1.40 s +░+▒+█+", painted)
        assert re.search(r"before the engine: \d+ ms \(guardrail 90 ms, retrieval 150 ms\), service-wide", painted)
        assert "KV blocks 11,200 -> 7,400" in painted


async def test_shares_of_spend_are_ranked_and_add_up_to_the_whole():
    async with shown(normal(), (120, 50)) as (app, pilot):
        painted = await press(app, pilot, "8")
        assert re.search(r"model llama +\$[\d.]+/h +50 %", painted)
        assert re.search(r"\btraining +\$[\d.]+/h +50 %", painted)
        tenants = re.findall(r"tenant t-\d +\$[\d.]+/h +([\d.]+) %", painted)
        rest = re.findall(r"not attributed +\$[\d.]+/h +([\d.]+) %", painted)
        assert (len(tenants), len(rest)) == (3, 1)
        assert sum(map(float, tenants + rest)) == pytest.approx(100, abs=0.3)


async def test_a_layer_without_numbers_says_what_would_fill_it():
    async with shown(FakeFeed(seconds(6, World()))) as (app, pilot):
        painted = await press(app, pilot, "3")
        assert painted.count("no source") == 1
        assert "no source: connect Ray or a run in MLflow" in painted


async def test_every_number_of_a_layer_is_on_its_screen_once():
    async with shown(normal(), (200, 50)) as (app, pilot):
        await press(app, pilot, "7")
        board = app.screen.query_one(RowList)
        everything = "\n".join("".join(one.text for one in row.line) for row in board._rows)
        for title in ("added p95", "checks", "last record", "chain valid"):
            assert everything.count(title) >= 1
        assert everything.count("audit record age") <= 1


async def test_rows_lead_to_an_entity_then_to_a_number_and_back_with_the_path_shown():
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "1")
        assert "compute › gpu 0" in await press(app, pilot, "enter")
        number = await press(app, pilot, "enter")
        assert re.search(r"compute › gpu 0 › GPU busy gpu 0", number)
        assert "compared with its peers" in number
        assert re.search("[\u2801-\u28ff]{5}", number)
        assert "GPU busy" not in (await press(app, pilot, "escape")).splitlines()[0]
        back = await press(app, pilot, "escape")
        assert back.splitlines()[0].startswith("aistack-top › compute ")
        assert "1 compute" in await press(app, pilot, "escape")


async def test_another_layer_begins_at_its_top_in_its_own_order_and_whole():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "1", "s", "slash", *"gpu", "enter", "G")
        turned = await press(app, pilot, "2")
        fresh = app.screen
        assert turned.splitlines()[2].startswith("engines ")
        assert "/gpu" not in turned
        assert "▼" not in turned.splitlines()[3]
        await press(app, pilot, "enter", "1")
        assert app.screen is fresh
        assert len(app.screen_stack) == 2


async def test_a_digit_leads_from_any_screen_to_a_layer_one_step_from_the_overview():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "1", "enter", "enter", "2")
        assert text(app).startswith("aistack-top › serving ")
        assert "1 compute" in await press(app, pilot, "escape")


async def test_sorting_turns_round_and_goes_back_to_the_natural_order():
    async with shown(FakeFeed(troubled(World(gpus=8, engines=2))), (80, 24)) as (app, pilot):

        def clocks(painted: str) -> list[int]:
            return [int(found) for found in re.findall(r"^gpu \d +(?:▼ )?(\d+) MHz", painted, re.MULTILINE)]

        natural = clocks(await press(app, pilot, "1"))
        largest = clocks(await press(app, pilot, "s"))
        assert largest == sorted(natural, reverse=True) != natural
        assert "▼SM clock" in text(app)
        assert clocks(await press(app, pilot, "r")) == sorted(natural)


async def test_a_filter_narrows_tables_while_it_is_typed_and_esc_drops_it():
    async with shown(FakeFeed(troubled(World(gpus=8, engines=2))), (120, 40)) as (app, pilot):
        await press(app, pilot, "1", "slash", *"temp>", *"70")
        narrowed = await press(app, pilot, "enter")
        shown_ = [int(found) for found in re.findall(r"^gpu \d .*?(\d+) °C", narrowed, re.MULTILINE)]
        assert shown_
        assert all(temperature >= 70 for temperature in shown_)
        assert "/temp>70" in narrowed
        assert "1 compute" not in await press(app, pilot, "escape")
        assert len(set(re.findall(r"^gpu (\d)", text(app), re.MULTILINE))) == 8


async def test_a_filter_is_used_while_it_is_typed_once_nobody_types_for_a_moment(monkeypatch):
    monkeypatch.setattr("tui.widgets.prompt.PAUSE_S", 0.02)
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"kind:retrieval")
        while "/kind:retrieval" not in text(app):
            await pilot.pause(0.02)
        assert "/kind" not in await press(app, pilot, "escape")


async def test_the_calls_are_filtered_once_and_not_at_every_letter(monkeypatch):
    monkeypatch.setattr("tui.widgets.prompt.PAUSE_S", 60.0)
    filtered = []

    def chosen(calls, scene):
        filtered.append(scene.wanted.text)
        return []

    monkeypatch.setattr("tui.sections.calls.chosen", chosen)
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"kind:retrieval")
        assert set(filtered) == {""}
        await press(app, pilot, "enter")
        assert set(filtered) == {"", "kind:retrieval"}


@pytest.mark.parametrize("ends", ["enter", "escape"])
async def test_keys_typed_right_after_a_question_is_answered_or_dropped_do_not_fall_into_it(ends):
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"ttft>2")
        for key in ("s", ends, "s", "s", "r"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await turns(pilot, 30)
        assert isinstance(app.screen, CallsScreen | LayerScreen)
        assert app.screen.wanted.text == ("ttft>2s" if ends == "enter" else "")
        assert app.screen.order == SortOrder("latency", smallest_first=True)


async def test_the_table_of_calls_filters_and_sorts_by_any_field():
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"kind:generation ttft>", *"600ms")
        painted = await press(app, pilot, "enter")
        times = re.findall(r"^ +\d\d:\d\d:\d\d +\S+ s +(\d+) ms", painted, re.MULTILINE)
        assert times
        assert all(int(one) > 600 for one in times)
        assert re.search(r"\d+ of 1\d\d calls", painted)
        await press(app, pilot, "escape", "s", "s")
        latencies = [float(one) for one in re.findall(r"^ +\d\d:\d\d:\d\d +([\d.]+) s ", text(app), re.MULTILINE)]
        assert latencies == sorted(latencies, reverse=True)
        assert len(latencies) > 20


async def test_an_unknown_field_of_a_filter_is_said_with_the_nearest():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "T", "slash", *"modle:llama", "enter")
        assert "no field 'modle'; did you mean 'model'?" in text(app)


async def test_a_call_is_a_waterfall_with_what_its_only_engine_did():
    world = World(gpus=2, engines=1)
    async with shown(FakeFeed(troubled(world)), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"name:chat trace:t3", "enter")
        painted = await press(app, pilot, "enter")
        assert "calls › call chat" in painted
        bars = {name: re.search(rf"{name}( +)■+", painted) for name in ("answer", "jailbreak", "search", "chat")}
        assert all(bars.values())
        assert "meanwhile on vllm-0" in painted
        assert "the only engine serving this model" in painted
        assert re.search(r"waiting +[▁▂▃▄▅▆▇█]{20}.* to \d+", painted)
        assert re.search(r"SM clock +[▁▂▃▄▅▆▇█]{20}.* MHz", painted)


async def test_a_call_whose_engine_is_not_known_says_service_wide():
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T", "slash", *"name:chat trace:t3", "enter")
        painted = await press(app, pilot, "enter")
        assert "meanwhile, service-wide" in painted
        assert "2 engines serve this model and the trace names none" in painted
        assert "SM clock" not in painted


async def test_a_circle_of_parents_is_shown_flat():
    spans = [
        replace(one, parent=other.id) for one, other in zip(trace(1, START - 5), trace(1, START - 5)[::-1], strict=True)
    ]
    ticks = troubled(WORLD)
    batch = replace(traces_batch(START, []), calls=tuple(spans))
    async with shown(FakeFeed([replace(ticks[0], batches=(batch,))])) as (app, pilot):
        await press(app, pilot, "T", "enter")
        assert text(app).count("■") > 4


async def test_the_verdict_line_says_what_since_when_where_and_how_sure_on_every_screen():
    said = r"! TTFT p95.* now \d+ ms.*since 15:59:00.*compute, thermal throttle, confirmed"
    async with shown(normal()) as (app, pilot):
        for keys in ((), ("2",), ("S",), ("T",), ("A",)):
            assert re.search(said, await press(app, pilot, *keys) if keys else text(app))


async def test_enter_opens_the_open_incident_at_once_when_nobody_touched_the_keys():
    async with shown(normal()) as (app, pilot):
        assert "› incident thermal throttle" in await press(app, pilot, "enter")


async def test_the_focus_is_not_taken_from_somebody_at_the_keys():
    ticks = troubled(WORLD)
    calm = [replace(one, incidents=()) for one in ticks]
    async with shown(FakeFeed(calm)) as (app, pilot):
        await press(app, pilot, "l")
        app.console_model.state.apply(replace(ticks[-1], incidents=ticks[0].incidents))
        await settle(app, pilot)
        assert "! TTFT p95" in text(app)
        assert "aistack-top › serving" in await press(app, pilot, "enter")


async def test_an_incident_shows_verdict_charts_evidence_and_the_calls_that_paid():
    async with shown(normal(), (120, 40), runbooks={"thermal_throttle": "https://wiki/thermal"}) as (app, pilot):
        await press(app, pilot, "i")
        board = app.screen.query_one(RowList)
        everything = "\n".join("".join(one.text for one in row.line) for row in board._rows)
        for words in (
            "incident: compute, thermal throttle, confirmed",
            "clocks fell to 1200 MHz 14 s before TTFT rose",
            "next: look at the air flow of gpu 1",
            "runbook: https://wiki/thermal",
            "TTFT p95 vllm-0  baseline 500 ms",
            "moved 14.0 s before it",
            "evidence for it",
            "gpu 0 is not throttled",
            "long prompts: prompt length did not change",
            "the fans of this node are not seen",
            "only calls of vllm-0 are slow",
            "median 400 ms before",
            "throttling by hw_thermal began",
        ):
            assert words in everything
        assert "order unknown" not in everything.split("evidence for it")[0]


async def test_a_slow_link_gets_the_numbers_of_an_incident_and_no_charts():
    async with shown(normal(), (120, 40), low_bandwidth=True) as (app, pilot):
        painted = await press(app, pilot, "i")
        assert re.search(r"SM clock gpu 1 +baseline \d+ MHz, now \d+ MHz", painted)
        assert not re.search("[\u2801-\u28ff]", painted)


async def test_charts_of_an_incident_line_up_with_the_axis():
    async with shown(normal(), (120, 40)) as (app, pilot):
        rows = (await press(app, pilot, "i")).splitlines()
        axis = next(row for row in rows if "5 min" in row)
        onset = axis.rindex("×")
        assert sum(len(row) > onset and row[onset] == "│" for row in rows) >= 6


async def test_incidents_are_walked_through_and_the_time_goes_along():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "i")
        before = await press(app, pilot, "left_curly_bracket")
        assert "ended" in before
        assert app.console_model.cursor.at == START - 190 or app.console_model.cursor.span_s >= 300
        await press(app, pilot, "left_curly_bracket")
        assert "no earlier incident" in text(app)
        assert "open, since" in await press(app, pilot, "right_curly_bracket")


async def test_an_incident_is_not_shown_before_it_was_detected():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "i")
        app.console_model.go_to(START - 55)
        app.paint()
        await settle(app, pilot)
        assert "not yet detected at the time shown" in text(app)
        assert "! TTFT" not in text(app)


async def test_the_list_of_incidents_has_open_ones_first_and_leads_to_them():
    async with shown(normal(), (120, 40)) as (app, pilot):
        painted = await press(app, pilot, "A")
        rows = [row for row in painted.splitlines() if re.match(r" +15:5\d:\d\d", row)]
        assert re.search(r"15:59:00 +\d+ s +open", rows[0])
        assert re.search(r"15:55:50 +50 s +ended", rows[1])
        assert "incidents › incident thermal throttle" in await press(app, pilot, "enter")


async def test_dismissing_needs_a_reason_and_takes_the_verdict_away():
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "i", "x", "enter")
        assert "! TTFT" in text(app)
        await press(app, pilot, "x", *"load test", "enter")
        painted = await press(app, pilot, "escape")
        assert "! TTFT" not in painted
        marks = app.console_model.state.marks
        assert [(mark.kind, mark.text, mark.about) for mark in marks] == [("dismissed", "load test", "i-1")]
        assert re.search(r"15:59:00 .*dismissed", await press(app, pilot, "A"))
        await press(app, pilot, "x", *"also none", "enter")
        assert len([mark for mark in marks_of(app) if mark.kind == "dismissed"]) == 2


async def test_a_note_is_a_mark_on_the_axis_and_in_the_incident():
    async with shown(normal(), (120, 40)) as (app, pilot):
        app.console_model.author = "lena"
        await press(app, pilot, "comma", "comma", "m", *"fans at 20 %", "enter", "n")
        painted = await press(app, pilot, "i")
        assert "◆" in next(row for row in painted.splitlines() if "5 min" in row)
        await press(app, pilot, "G")
        assert re.search(r"15:59:45 +45.0 s after +note lena +fans at 20 %", text(app))


async def test_a_note_is_kept_with_the_recording_where_there_is_one():
    class Recorded(FakeFeed):
        def keep(self, mark) -> bool:
            self.kept = mark
            return True

    feed = Recorded(troubled(WORLD))
    async with shown(feed) as (app, pilot):
        await press(app, pilot, "m", *"see me", "enter")
        assert feed.kept.text == "see me"
        assert "▸ noted" in text(app)


async def test_a_typed_time_is_gone_to_and_a_wrong_one_is_explained():
    async with shown(FakeFeed(seconds(10, WORLD))) as (app, pilot):
        assert "PAUSED 15:58:09 UTC" in await press(app, pilot, "t", *"-2m", "enter")
        assert "PAUSED 15:57:30 UTC" in await press(app, pilot, "3", "t", *"15:57:30", "enter")
        await press(app, pilot, "t", *"99:99", "enter")
        assert "not a time of day" in text(app)
        assert "LIVE" in await press(app, pilot, "n")


async def test_an_incident_without_a_name_for_anything_still_reads():
    bare = incident(
        verdict=Verdict("", ""), candidates=(), ruled_out=(), blind_spots=(), events=(), calls=None, layer=""
    )
    bare = replace(bare, confidence="unknown", symptom=replace(bare.symptom, signal="no.such.signal", ratio=None))
    async with shown(FakeFeed(troubled(WORLD, 6, 0, bare))) as (app, pilot):
        painted = await press(app, pilot, "i")
        assert "cause unknown" in painted
        assert "Traceback" not in painted


def marks_of(app):
    return app.console_model.state.marks


def hostile() -> FakeFeed:
    world = World(gpus=2, engines=2, engine_names=(NASTY, WIDE), langfuse_reason=NASTY)
    nasty = incident(
        id=NASTY,
        symptom=replace(incident().symptom, entity=Entity.of(engine=NASTY)),
        verdict=Verdict(NASTY, NASTY, (NASTY,), (NASTY,), (NASTY,), NASTY),
    )
    wide = incident(
        START - 200, id=WIDE, verdict=Verdict(WIDE, WIDE, (WIDE,), (WIDE,), (WIDE,), WIDE), blind_spots=(WIDE,)
    )
    ticks = troubled(world, 6, 0, nasty, wide)
    calls = [replace(call, name=NASTY, model=NASTY, tenant=NASTY, version=WIDE) for call in trace(1, START - 6)]
    calls += [replace(call, name=WIDE, model=WIDE, prompt=WIDE) for call in trace(2, START - 7)]
    bad = replace(traces_batch(START, []), calls=tuple(calls), facts=(Fact(gpu(0), "serial", WIDE),))
    return FakeFeed([replace(ticks[0], batches=(*ticks[0].batches, bad)), *ticks[1:]])


WORLDS = {
    "empty": lambda: FakeFeed([]),
    "normal": normal,
    "huge": lambda: FakeFeed(troubled(World(gpus=64, engines=50, history_s=20), 1, 2500)),
    "hostile": hostile,
}
TOUR = (
    *(str(number) for number in range(1, len(LAYERS) + 1)),
    *("1", "G", "g", "enter", "enter", "2", "s", "G"),
    *("T", "s", "enter", "A", "enter", "G"),
    *("S", "c", "question_mark", "1"),
)
"""Every screen, and the end of each; ``1`` at the end leads back to where the next round begins."""


@pytest.mark.parametrize(
    ("world", "size"), [("normal", 0), ("normal", 2), ("empty", 0), ("hostile", 1), ("huge", 0)], ids=str
)
async def test_every_screen_opens_and_nothing_is_cut_or_laid_over_another(world, size):
    async with shown(WORLDS[world](), SIZES[size]) as (app, pilot):
        for key in TOUR:
            await press(app, pilot, key)
            check(app, world, SIZES[size], key)
        assert not app._exception


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("world", WORLDS)
async def test_every_row_of_every_screen_fits_seen_or_not(world, size):
    console = make(FakeFeed([]), load("overview"), ConsoleOptions(), Glyphs(), lambda: None, lambda _: None)
    for tick in WORLDS[world]()._ticks:
        console.state.apply(tick)
    view, drawing = console.view(), Drawing(console.glyphs, histories=True, tables=True)
    calls = console.state.calls.between(0.0, START * 2)
    screens = [
        *(LayerScreen(console, layer) for layer in LAYERS),
        *(EntityScreen(console, one) for one in (gpu(0), Entity.of(engine="vllm-0"), Entity.of(engine=NASTY))),
        NumberScreen(console, NumberTarget("serving.ttft", Entity.of(engine="vllm-0"), "p95")),
        CallsScreen(console),
        *(CallScreen(console, call.id) for call in calls[:3]),
        IncidentsScreen(console),
        *(IncidentScreen(console, one.id) for one in view.frame.incidents),
        ChangesScreen(console),
    ]
    for screen in screens:
        rows = screen.rows(RenderContext(view, size[0], drawing, screen.about_layer()))
        for row in [rows[place] for place in range(min(len(rows), 1500))]:
            said = "".join(one.text for one in row.line)
            assert sum(one.width for one in row.line) <= size[0], (screen, said)
            assert all(cell_len(one.text) == one.width for one in row.line), (screen, said)
            assert not re.search("[\x1b\u202e\x07\n]", said)


def check(app, world: str, size: tuple[int, int], key: str) -> None:
    painted = lines(app)
    assert len(painted) == size[1]
    for view in app.screen.query(CellView):
        for line in view.lines if view.display else ():
            used = sum(one.width for one in line)
            assert used <= view.size.width, (key, used, "".join(one.text for one in line))
            assert all(cell_len(one.text) == one.width for one in line)
    assert not re.search("[\x1b\u202e\x07]", "\n".join(painted))
    if world == "normal":
        # only names from outside may be cut, and then with a sign
        assert not [row for row in painted if "…" in row and "Llama" not in row], key


async def test_the_text_of_a_call_is_fetched_when_asked_for_and_shown_harmless():
    asked = []

    async def text_of(call) -> tuple[str, str]:
        asked.append(call.id)
        return '[{"role": "user", "content": "hello\\n\\u001b[31mred"}]', "\x1b[2Janswer"

    async with shown(normal(), (120, 40), text_of=text_of) as (app, pilot):
        await press(app, pilot, "T", "slash", *"name:chat trace:t3", "enter", "enter")
        assert asked == []
        await press(app, pilot, "o", "G")
        await settle(app, pilot)
        painted = text(app)
        assert asked == ["t3-chat"]
        assert "user: hello" in painted
        assert "never recorded" in painted
        assert "answer" in painted
        assert "\x1b" not in painted
        assert not hasattr(app.console_model.state.calls.get("t3-chat"), "text")


async def test_a_text_that_cannot_be_had_is_one_sentence_and_can_be_asked_for_again():
    async def text_of(call) -> tuple[str, str]:
        raise LookupError("no Langfuse server is configured")

    async with shown(normal(), text_of=text_of) as (app, pilot):
        await press(app, pilot, "T", "enter", "o")
        for _ in range(2):
            await settle(app, pilot)
            assert "no text: no Langfuse server is configured" in text(app)
            await press(app, pilot, "j")
            assert "no text" not in text(app)
            await press(app, pilot, "o")


async def test_the_palette_finds_times_and_names():
    async with shown(normal()) as (app, _):
        provider = GoToCommands(app.screen)
        times = [hit async for hit in provider.search("-2m")]
        assert [str(hit.match_display) for hit in times] == ["Go to -2m"]
        times[0].command()
        assert app.console_model.cursor.at == START + 5 - 120
        names = [hit async for hit in provider.search("vllm-1")]
        assert [str(hit.match_display) for hit in names] == ["engine vllm-1"]


async def test_the_palette_sorts_by_any_column():
    async with shown(normal(), (120, 40)) as (app, pilot):
        await press(app, pilot, "T")
        (hit,) = [hit async for hit in GoToCommands(app.screen).search("sort by latency")]
        hit.command()
        latencies = [float(one) for one in re.findall(r"^ +\d\d:\d\d:\d\d +([\d.]+) s ", text(app), re.MULTILINE)]
        assert latencies == sorted(latencies, reverse=True)
        assert "▼latency" in text(app)


async def test_an_event_of_the_list_of_changes_leads_to_its_moment():
    async with shown(normal()) as (app, pilot):
        await press(app, pilot, "c", "slash", *"kind:changed", "enter")
        painted = await press(app, pilot, "enter")
        assert "PAUSED 15:59:20" in painted


async def test_one_key_leads_from_the_first_paint_to_cause_evidence_and_next_step_on_the_smallest_terminal():
    async with shown(normal(), (80, 24)) as (app, pilot):
        painted = await press(app, pilot, "enter")
        for words in (
            "incident: compute, thermal throttle, confirmed",
            "clocks fell to 1200 MHz 14 s before",
            "next: look at the air flow of gpu 1",
            "baseline 500 ms, now",
            "throttle reason gpu 1 hw_thermal",
        ):
            assert words in painted
