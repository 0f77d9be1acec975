"""The parts that know no screen: bars, bands, wording, the time cursor."""

from math import inf, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.geometry import Size

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.feed import Bounds
from aistack_top.model.signals import signal
from aistack_top.model.tick import Batch, Bound, Call, Health, Quantiles, ReadingsBuilder, Tick
from aistack_top.state import State
from layouts.load import PanelColumn, PanelRow, load
from tests.fakes.feed import START, World, seconds
from tui.glyphs import Glyphs
from tui.model.view import SPANS_S, TimeCursor, View, merge
from tui.sections.calls import CallRows
from tui.sections.context import RenderContext
from tui.sections.section_rows import _percent
from tui.widgets.cells import cell, first_that_fits, words
from tui.widgets.chart import bounds
from tui.widgets.grid import heights
from tui.widgets.panel_lines import Drawing, body
from tui.widgets.row_list import RowList
from tui.widgets.spark import bars, top_of
from tui.widgets.transport import transport
from tui.widgets.values import figures, in_column

HEALTH = Health("s", "vllm", "serving", "ok")
FAST = settings(max_examples=60, derandomize=True, deadline=None)


def state_of(*rows, at=START) -> State:
    state = State()
    builder = ReadingsBuilder()
    for row in rows:
        builder.add(*row)
    state.apply(Tick(at, at, (Batch(at, at, HEALTH, builder.build()),)))
    return state


def view_of(*rows) -> View:
    return TimeCursor().view(state_of(*rows))


def engine(name: str) -> Entity:
    return Entity.of(engine=name)


def test_the_worst_is_the_highest_or_the_lowest_by_what_hurts():
    kv = [("serving.kv_cache.usage", engine(name), value) for name, value in (("a", 0.2), ("b", 0.9))]
    hits = [("serving.prefix_cache.hit_ratio", engine(name), value) for name, value in (("a", 0.2), ("b", 0.9))]
    view = view_of(*kv, *hits)
    (worst,) = figures(PanelRow("serving.kv_cache.usage"), view)
    assert (worst.text, worst.notes) == ("90 %", ("b",))
    (worst,) = figures(PanelRow("serving.prefix_cache.hit_ratio"), view)
    assert (worst.text, worst.notes) == ("20 %", ("a",))


def test_the_newest_column_holds_the_last_number_for_a_few_seconds_and_is_a_gap_then():
    state = state_of(("serving.kv_cache.usage", engine("a"), 0.5), at=START + 9)
    for later, shown in ((10, 0.5), (13, 0.5), (16, nan)):
        state.apply(Tick(START + later, START + later, ()))
        values = TimeCursor(300.0).view(state).history("serving.kv_cache.usage", engine("a"), "value", 30, "max")
        assert values[-2:] == pytest.approx([0.5, shown], nan_ok=True)


def test_the_clock_of_an_idle_gpu_is_not_the_worst():
    gpus = [Entity.of(gpu=name) for name in ("a", "b", "c")]
    clocks = [("gpu.clock.sm", gpus[n], hertz) for n, hertz in enumerate((0.9e9, 1.98e9, 0.345e9))]
    busy = [("gpu.utilization", gpus[n], share) for n, share in enumerate((1.0, 0.9, 0.0))]
    (worst,) = figures(PanelRow("gpu.clock.sm"), view_of(*clocks, *busy))
    assert worst.text == "900 MHz"
    assert worst.about == (gpus[0], gpus[1])
    (alone,) = figures(PanelRow("gpu.clock.sm"), view_of(clocks[2], busy[2]))
    assert alone.text == "345 MHz"


def test_sums_and_means_say_of_how_many():
    view = view_of(*[("serving.requests.waiting", engine(name), value) for name, value in (("a", 3.0), ("b", 5.0))])
    (total,) = figures(PanelRow("serving.requests.waiting", over="sum"), view)
    assert (total.text, total.notes) == ("8", ("sum of 2",))
    (mean,) = figures(PanelRow("serving.requests.waiting", over="mean"), view)
    assert (mean.text, mean.notes) == ("4", ("mean of 2",))


def test_a_sum_without_a_member_says_so_and_leaves_its_last_number_out():
    state = state_of(*[("serving.requests.waiting", engine(name), 3.0) for name in ("a", "b")])
    later = START + 20
    builder = ReadingsBuilder()
    builder.add("serving.requests.waiting", engine("a"), 4.0)
    state.apply(Tick(later, later, (Batch(later, later, HEALTH, builder.build()),)))
    (total,) = figures(PanelRow("serving.requests.waiting", over="sum"), TimeCursor().view(state))
    assert (total.text, total.notes, total.tone) == ("4", ("1 of 2",), "value")


def test_each_gives_everybody_a_row():
    view = view_of(*[("serving.requests.waiting", engine(name), 3.0) for name in ("a", "b")])
    assert [figure.label for figure in figures(PanelRow("serving.requests.waiting", over="each"), view)] == ["a", "b"]


def test_an_older_quantile_does_not_stand_in_for_too_few():
    state = state_of(("serving.ttft", engine("a"), Quantiles(0.1, 0.2, 0.3, 0.1, 50.0, 60.0)))
    later = START + 2
    builder = ReadingsBuilder()
    builder.add("serving.ttft", engine("a"), Quantiles(None, None, None, 0.1, 3.0, 300.0))
    state.apply(Tick(later, later, (Batch(later, later, HEALTH, builder.build()),)))
    (figure,) = figures(PanelRow("serving.ttft"), TimeCursor().view(state))
    assert (figure.text, figure.notes) == ("too few", ("a", "n 3"))


def test_edges_flags_and_unknowns():
    below = Quantiles(Bound("below", 0.3), Bound("below", 0.3), Bound("above", 80.0), 0.1, 50.0, 60.0)
    view = view_of(("serving.ttft", engine("a"), below), ("serving.engine.frozen", engine("a"), 1.0))
    assert figures(PanelRow("serving.ttft"), view)[0].text.startswith("< ")
    assert figures(PanelRow("serving.ttft", stat="p99"), view)[0].text.startswith("> ")
    (frozen,) = figures(PanelRow("serving.engine.frozen"), view)
    assert (frozen.text, frozen.tone) == ("yes", "alarm")
    assert figures(PanelRow("spend.rate", empty="not set"), view)[0].text == "not set"
    assert figures(PanelRow("gpu.clock.sm"), view)[0].text == "–"


def test_what_is_left_out_is_left_out():
    gpu = Entity.of(gpu="GPU-1")
    view = view_of(
        ("gpu.throttle", gpu.with_(reason="idle"), 1.0), ("gpu.throttle", gpu.with_(reason="hw_thermal"), 0.2)
    )
    (figure,) = figures(PanelRow("gpu.throttle", without={"reason": ("idle",)}), view)
    assert (figure.text, figure.notes[1], figure.tone) == ("20 %", "hw_thermal", "alarm")


def test_numbers_of_the_service_are_not_mixed_with_those_of_models():
    view = view_of(("calls.rate", SERVICE, 2.0), ("calls.rate", Entity.of(model="m"), 9.0))
    assert figures(PanelRow("calls.rate", over="service"), view)[0].text == "2/s"


def test_bars_keep_gaps_and_zero_apart():
    assert bars([0.0, nan, 0.5, 1.0], "1", Glyphs()) == "▁ ▅█"
    assert bars([0.0, nan, 0.5, 1.0], "1", Glyphs(ascii_only=True)) == "_".replace("_", ".") + " =#"


@FAST
@given(st.lists(st.floats(min_value=0, max_value=1e15) | st.just(nan), max_size=40), st.sampled_from(["1", "s", "By"]))
def test_bars_are_one_sign_a_value_and_fit_their_scale(values, unit):
    drawn = bars(values, unit, Glyphs())
    assert len(drawn) == len(values)
    assert [sign == " " for sign in drawn] == [isnan(value) for value in values]
    highest = max((value for value in values if not isnan(value)), default=0.0)
    assert top_of(values, unit) >= highest * 0.999


@pytest.mark.parametrize("value", [inf, -inf, nan])
@pytest.mark.parametrize("unit", ["1", "s"])
def test_a_history_with_a_number_that_is_none_is_drawn_with_a_gap(value, unit):
    assert bars([0.0, value, 1.0], unit, Glyphs()) == bars([0.0, nan, 1.0], unit, Glyphs())
    assert bars([value], unit, Glyphs()) == " "
    assert bounds([value, 1.0, 3.0], signal("serving.ttft")) == bounds([1.0, 3.0], signal("serving.ttft"))


def test_histories_merge_without_filling_gaps():
    assert merge([[1.0, nan], [3.0, nan]], "sum")[0] == 4.0
    assert merge([[1.0, 2.0], [3.0, nan]], "mean") == [2.0, 2.0]
    assert merge([[1.0, 2.0], [3.0, nan]], "min") == [1.0, 2.0]
    assert isnan(merge([[1.0, nan], [3.0, nan]], "max")[1])


@FAST
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 120))
def test_bands_fill_the_room_exactly(wanted, room):
    found = heights(wanted, room)
    assert sum(found) == room
    assert len(found) == len(wanted)
    assert room < len(wanted) or min(found) >= 1


@FAST
@given(st.text(max_size=30), st.integers(0, 20))
def test_a_cell_is_as_wide_as_it_says(text, width):
    made = cell(text.replace("\x00", ""), "text", width)
    assert made.width == width
    assert cell_len(made.text) == width


def test_words_are_dropped_whole():
    assert words(["12 s old", "vllm-0", "n 240"], 15) == "12 s old vllm-0"
    assert words(["12 s old", "vllm-0"], 10) == "12 s old"
    assert first_that_fits(["a long wording", "short"], 6) == "short"
    assert first_that_fits(["a long wording"], 7) == "a long"


@pytest.mark.parametrize("room", [8, 13, 19, 54, 94, 174])
@pytest.mark.parametrize("span", SPANS_S)
def test_columns_cover_the_span_whatever_the_room(room, span):
    state = state_of(("calls.rate", SERVICE, 2.0))
    view = View(state.frame(), START, span)
    count = view.fit(room)
    assert 1 <= count <= room
    assert view.column_s(count) * count >= span
    assert view.column_of(START, count) == count - 1
    assert view.column_of(START - 2 * span - 60, count) is None


def test_the_axis_stays_while_the_cursor_is_on_it():
    cursor = TimeCursor(300.0)
    cursor.put(START - 10, START)
    cursor.put(START - 200, START + 50)
    state = state_of(("calls.rate", SERVICE, 2.0), at=START + 50)
    assert cursor.view(state).end == START
    cursor.put(START - 500, START + 60)
    assert cursor.view(state).end == START - 350
    cursor.zoom(1, START + 60)
    assert cursor.span_s == 600.0


def test_a_search_for_servers_that_found_none_fills_no_panel():
    state = State()
    for status in ("ok", "down"):
        record = Health("discovery", "discovery", "serving", status, "", 0.0)
        state.apply(Tick(START + 9, START + 9, (Batch(START + 9, START + 9, record),)))
        made = body(load("overview").panel_of("serving"), TimeCursor().view(state), 80, 9, Drawing(Glyphs()))
        assert ("no source" in made[0][0].text) is (status == "ok")


def test_a_panel_says_only_what_fits_whole():
    state = State()
    for tick in seconds(6, World(gpus=64, engines=50)):
        state.apply(tick)
    view = TimeCursor().view(state)
    for panel in load("overview").panel:
        for width in range(24, 130, 7):
            for drawing in (Drawing(Glyphs()), Drawing(Glyphs(), histories=True, tables=True)):
                made = body(panel, view, width, 12, drawing)
                assert len(made) <= 12
                assert all(sum(one.width for one in line) <= width for line in made)
                assert all(cell_len(one.text) == one.width for line in made for one in line)


def test_the_bar_drops_whole_words_when_it_is_narrow():
    state = state_of(("calls.rate", SERVICE, 2.0))
    bounds = Bounds(START - 60, START + 60, live=False, speeds=True, speed=4.0)
    for width, wanted in ((60, "-> 16:01:00 4x"), (44, "-> 16:01:00"), (24, "16:00:00 UTC 4x"), (20, "16:00:00 UTC")):
        line = transport(bounds, TimeCursor().view(state), False, width, Glyphs())
        said = "".join(one.text for one in line)
        assert cell_len(said) == width
        assert said.endswith(wanted)


def gpu(name: str, **more: str) -> Entity:
    return Entity.of(gpu=name, **more)


def test_a_whole_is_not_added_to_its_own_parts():
    told = [(gpu("a"), 30.0), (gpu("a", mig="1"), 10.0), (gpu("a", mig="2"), 20.0), (gpu("b", mig="1"), 5.0)]
    (total,) = figures(
        PanelRow("gpu.memory.used", over="sum"), view_of(*[("gpu.memory.used", who, n) for who, n in told])
    )
    assert (total.text, total.notes) == ("35 B", ("sum of 2",))


def test_a_proxys_own_checks_stand_beside_those_of_its_rails():
    told = [(Entity.of(source="p"), 0.0), (Entity.of(source="p", rail="pii"), 2.0)]
    (total,) = figures(
        PanelRow("guardrail.hits", over="sum"), view_of(*[("guardrail.hits", who, n) for who, n in told])
    )
    assert total.text == "2/s"


def test_a_gpu_that_two_sources_tell_of_is_one_in_a_mean():
    told = [(gpu("a", source="ray"), 0.5), (Entity.of(job="run"), 0.9)]
    view = view_of(*[("training.gpu.utilization", who, n) for who, n in told])
    (mean,) = figures(PanelRow("training.gpu.utilization", over="mean"), view)
    assert (mean.text, mean.notes) == ("50 %", ())


@pytest.mark.parametrize(
    ("signal", "told", "said"),
    [
        ("serving.requests.finished", [("a", 1.5), ("b", 3.8)], "5.30/s"),
        ("serving.kv_cache.usage", [("a", 0.2), ("b", 0.9)], "90 %"),
        ("serving.prefix_cache.hit_ratio", [("a", 0.2), ("b", 0.9)], "20 %"),
    ],
)
def test_a_cell_of_a_table_is_the_sum_of_what_adds_and_the_worst_of_what_does_not(signal, told, said):
    view = view_of(*[(signal, Entity.of(engine=who, reason="stop"), value) for who, value in told])
    column = PanelColumn(signal, "x")
    assert in_column(column, Entity.of(reason="stop"), view.frame)[0] == said


def test_a_cell_adds_up_one_way_of_dividing_a_sum_and_not_two():
    told = [
        (Entity.of(model="m", version="1"), 2.0),
        (Entity.of(model="m", version="2"), 3.0),
        (Entity.of(model="m", version="1", prompt="p"), 2.0),
    ]
    view = view_of(*[("calls.rate", who, value) for who, value in told])
    assert in_column(PanelColumn("calls.rate", "calls"), Entity.of(model="m"), view.frame)[0] == "5/s"


def test_a_share_keeps_the_decimal_that_makes_equal_parts_the_whole():
    assert [_percent(1 / 8), _percent(1 / 3), _percent(0.5), _percent(0.004), _percent(1.0)] == [
        "12.5 %",
        "33.3 %",
        "50 %",
        "0.4 %",
        "100 %",
    ]


def test_the_line_of_headings_is_none_of_the_calls_that_are_counted(monkeypatch):
    monkeypatch.setattr(RowList, "size", Size(80, 35))
    monkeypatch.setattr(RowList, "show", lambda *_: None)
    monkeypatch.setattr(RowList, "post_message", lambda *_: True)
    board, scene = RowList(Glyphs(), id="board"), RenderContext(view_of(), 80, Drawing(Glyphs()))
    board.put(CallRows([Call(str(n), "", "", "other", "", 0, 0, 0, 0) for n in range(351)], scene))
    assert board.position == "1 to 34 of 351"
    board.action_edge(last=True)
    assert board.position == "317 to 351 of 351"
