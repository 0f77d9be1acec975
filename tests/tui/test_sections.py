"""Charts, tables, shares and splits, apart from any screen."""

import math
import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from aistack_top.model.entity import SERVICE, Entity
from aistack_top.model.signals import signals
from aistack_top.model.tick import Batch, Call, Fact, Health, Link, ReadingsBuilder, Tick
from aistack_top.state import State
from layouts.layers import Section, layer_screen
from layouts.load import PanelColumn
from tests.fakes.feed import START, World, gpu, seconds
from tests.fakes.incident import incident, trace
from tui.glyphs import Glyphs
from tui.model.view import TimeCursor
from tui.sections import calls, layer, table, versions, waterfall
from tui.sections import latency_breakdown as split
from tui.sections.context import RenderContext, SortOrder
from tui.sections.section_rows import share_rows
from tui.widgets.chart import bounds, chart
from tui.widgets.panel_lines import Drawing

CLOCK = signals()["gpu.clock.sm"]
GPUS = Section(
    "table",
    "GPUs",
    per="gpu",
    columns=(PanelColumn("gpu.clock.sm", "SM clock"), PanelColumn("gpu.power.draw", "power")),
)


def scene(*ticks: Tick, width: int = 120, **changes) -> RenderContext:
    state = State()
    for one in ticks:
        state.apply(one)
    made = RenderContext(TimeCursor().view(state), width, Drawing(Glyphs(), histories=True, tables=True), "compute")
    return replace(made, **changes)


def told(readings: list[tuple[str, Entity, float]], at: float = START) -> Tick:
    builder = ReadingsBuilder()
    for name, entity, value in readings:
        builder.add(name, entity, value)
    return Tick(at, at, (Batch(at, at, Health("x", "x", "compute", "ok"), builder.build()),))


def text(rows) -> str:
    return "\n".join("".join(one.text for one in row.line) for row in rows)


def clocks(*megahertz: float) -> Tick:
    return told([("gpu.clock.sm", gpu(index), value * 1e6) for index, value in enumerate(megahertz)])


def test_the_member_that_stands_out_is_marked_and_only_that():
    painted = text(table.rows(GPUS, scene(clocks(1980, 1200, 1975, 1990))))
    assert painted.count("▼") == 1
    assert "▼ 1200 MHz" in painted
    assert re.search(r"median +1978 MHz", painted)


def test_an_idle_member_is_no_slow_one():
    busy = [("gpu.utilization", gpu(index), share) for index, share in enumerate((1.0, 1.0, 0.9, 0.0))]
    painted = text(table.rows(GPUS, scene(clocks(1980, 1200, 1975, 345), told(busy))))
    assert painted.count("▼") == 1
    assert "▼ 1200 MHz" in painted


def test_reasons_name_the_gpus_they_hold_and_the_harmless_stand_last():
    section = next(one for one in layer_screen("compute").section if one.per == "reason")
    values = {"hw_power_brake": (0.0, 0.0), "sw_thermal": (1.0, 0.0), "gpu_idle": (0.0, 1.0)}
    told_ = [("gpu.throttle", gpu(n).with_(reason=why), of[n]) for why, of in values.items() for n in (0, 1)]
    _, _, *rows = text(table.rows(section, scene(told(told_), width=80))).splitlines()
    assert [row.split()[0] for row in rows] == ["sw_thermal", "hw_power_brake", "gpu_idle"]
    assert [" ".join(row.split()[1:]) for row in rows] == ["100 % gpu 00000000", "0 % –", "100 % gpu 00000001"]


def test_equal_members_are_not_marked_and_have_no_median():
    painted = text(table.rows(GPUS, scene(clocks(1980, 1980, 1980))))
    assert "▼" not in painted
    assert "median" not in painted


def test_a_member_without_a_number_is_unknown_and_sorted_last():
    ticks = (clocks(1500, 1200), told([("gpu.power.draw", gpu(2), 300.0)]))
    rows = text(table.rows(GPUS, scene(*ticks, order=SortOrder("SM clock", smallest_first=True)))).splitlines()[2:5]
    assert [re.findall(r"\d+ MHz|–", row)[0] for row in rows] == ["1200 MHz", "1500 MHz", "–"]


def test_columns_that_do_not_fit_are_left_out_whole():
    rows = table.rows(GPUS, scene(clocks(1500), told([("gpu.power.draw", gpu(0), 300.0)]), width=30))
    assert "SM clock" in text(rows)
    assert "power" not in text(rows)
    assert all(sum(one.width for one in row.line) <= 30 for row in rows)


def test_what_is_told_by_rail_and_again_by_tenant_is_not_counted_twice():
    by_rail = [("guardrail.hits", Entity.of(rail=rail), 2.0) for rail in ("pii", "toxicity")]
    by_both = [("guardrail.hits", Entity.of(rail="pii", tenant=f"t-{number}"), 1.0) for number in range(2)]
    section = Section("shares", "hits", signal="guardrail.hits", keys=("rail", "tenant"))
    painted = text(share_rows(section, scene(told([*by_rail, *by_both]))))
    assert re.search(r"rail pii +2/s +50 %", painted)
    assert painted.count("tenant t-") == 2


def test_equal_shares_stand_in_the_order_of_their_numbers_and_none_is_no_share():
    prices = [("spend.rate", gpu(index), 0.0 if index == 3 else 5.0) for index in (10, 2, 0, 3)]
    facts = tuple(Fact(gpu(index), "index", str(index)) for index in (10, 2, 0, 3))
    one = told(prices)
    named = replace(one, batches=(replace(one.batches[0], facts=facts),))
    painted = text(share_rows(Section("shares", "by GPU", signal="spend.rate", keys=("gpu",)), scene(named)))
    assert re.findall(r"gpu \d+", painted) == ["gpu 0", "gpu 2", "gpu 10"]


def test_eighths_are_not_rounded_to_whole_percents():
    prices = [("spend.rate", gpu(index), 5.01) for index in range(8)]
    painted = text(share_rows(Section("shares", "by GPU", signal="spend.rate", keys=("gpu",)), scene(told(prices))))
    assert painted.count("12.5 %") == 8


def test_before_the_engine_is_the_mean_of_whole_traces():
    calls = [call for number in range(8) for call in trace(number, START - number)]
    found = split.before_engine(sorted(calls, key=lambda call: call.end), START - 60)
    assert found is not None
    assert found.traces == 8
    assert found.total_s == pytest.approx(0.3)
    assert dict(found.parts) == pytest.approx({"guardrail": 0.09, "retrieval": 0.15})


def test_a_call_that_is_root_and_model_in_one_waits_for_what_ended_before_its_first_token():
    calls = []
    for number in range(8):
        start = START - 20 - number
        common: dict[str, Any] = {"trace": f"t{number}", "seen": START, "updated": START}
        calls += [
            Call(
                f"{number}",
                kind="generation",
                name="chat",
                start=start,
                end=start + 9,
                ttft=5.0,
                root=True,
                parent="",
                **common,
            ),
            Call(
                f"{number}i", kind="guardrail", name="input", start=start, end=start + 4, parent=f"{number}", **common
            ),
            Call(
                f"{number}o",
                kind="guardrail",
                name="output",
                start=start + 8,
                end=start + 9,
                parent=f"{number}",
                **common,
            ),
        ]
    found = split.before_engine(sorted(calls, key=lambda call: call.end), START - 60)
    assert found is not None
    assert (found.total_s, dict(found.parts)) == (4.0, {"guardrail": 4.0})


def test_before_the_engine_of_few_traces_is_not_said():
    assert split.before_engine(trace(1, START), START - 60) is None


def test_without_a_root_a_trace_begins_with_its_first_guardrail():
    calls = [call for number in range(8) for call in trace(number, START - number) if not call.root]
    found = split.before_engine(calls, START - 60)
    assert found is not None
    assert found.total_s == pytest.approx(0.29)


def test_the_engine_of_a_call_needs_a_proof():
    view = scene(*seconds(2, World(gpus=1, engines=1))).view
    _, guardrail, _, chat = trace(1, START)
    assert waterfall.engine_of(chat, [chat], view.frame).entity == Entity.of(engine="vllm-0")
    assert waterfall.engine_of(guardrail, [guardrail, chat], view.frame).entity == Entity.of(engine="vllm-0")
    assert waterfall.engine_of(guardrail, [guardrail], view.frame).entity is None
    other = replace(chat, model="gpt-5")
    assert waterfall.engine_of(other, [other], view.frame).proof == "no engine here is known to serve this model"
    named = replace(other, engine="vllm-9")
    assert waterfall.engine_of(named, [named], view.frame).entity == Entity.of(engine="vllm-9")


def test_a_chart_draws_what_is_there_and_gaps_stay_gaps():
    view = scene(clocks(1000), width=60).view
    values = [1000e6] * 40 + [math.nan] * 20 + [500e6] * 200
    lines = chart(values, CLOCK, view, 60, 3, Glyphs(), (incident().onset,))
    assert len(lines) == 3
    assert all(sum(one.width for one in line) == 60 for line in lines)
    top = "".join(one.text for one in lines[0])
    assert top.startswith("1000 MHz") or " 1000 MHz" in top
    middle = "".join(one.text for one in lines[1])
    assert re.search("[\u2801-\u28ff] *$", middle.rstrip())


def test_a_chart_in_ascii_has_nothing_else():
    view = scene(clocks(1000), width=60).view
    lines = chart([1000e6, 500e6] * 60, CLOCK, view, 60, 4, Glyphs(ascii_only=True))
    assert all(one.text.isascii() for line in lines for one in line)


@pytest.mark.parametrize(
    ("values", "unit", "low", "high"),
    [
        ([0.2, 0.9], "serving.kv_cache.usage", 0.0, 1.0),
        ([0.0, 4.0], "serving.requests.waiting", 0.0, 4.0),
        ([math.nan], "serving.requests.waiting", 0.0, 1.0),
        ([0.0, 0.0], "serving.requests.waiting", 0.0, 1.0),
    ],
)
def test_scales_begin_at_zero(values, unit, low, high):
    assert bounds(values, signals()[unit]) == (low, high)


def test_a_scale_does_not_flatten_a_small_fall():
    low, high = bounds([1800e6, 1980e6], CLOCK)
    assert 1700e6 < low < 1800e6
    assert high > 1980e6


def test_the_service_itself_is_no_member_of_a_table():
    assert table.rows(GPUS, scene(told([("gpu.clock.sm", SERVICE, 1e9)]))) == []


def test_a_slower_version_stands_out_and_few_calls_say_so():
    calls = [call for number in range(60) for call in trace(number, START - number) if call.kind == "generation"]
    slower = [replace(call, start=call.start - 9) if call.version == "2.0.0" else call for call in calls]
    (group,) = versions.versions(slower)
    assert [(one.version, one.calls) for one in sorted(group, key=lambda one: one.version)] == [
        ("1.9.0", 40),
        ("2.0.0", 20),
    ]
    assert versions._slowest(group).version == "2.0.0"
    (few,) = versions.versions(slower[:5])
    assert all(one.latency is None for one in few)
    assert versions._slowest(few) is None


def test_gpus_are_compared_with_those_of_their_own_engine():
    slow = [("gpu.clock.sm", gpu(index), value * 1e6) for index, value in enumerate((1200, 1210, 1980, 1500))]
    links = tuple(Link(Entity.of(engine=f"vllm-{index // 2}"), gpu(index), "pid") for index in range(4))
    one = told(slow)
    batch = replace(one.batches[0], links=links)
    painted = text(table.rows(msgspec.structs.replace(GPUS, by_engine=True), scene(replace(one, batches=(batch,)))))
    assert "▼ 1500 MHz" in painted
    assert painted.count("▼") == 1
    assert painted.index("vllm-0:") < painted.index("1200 MHz") < painted.index("vllm-1:") < painted.index("1980 MHz")


def test_a_gpu_without_an_engine_does_not_stand_under_that_of_another():
    one = told([("gpu.clock.sm", gpu(index), 1980e6) for index in range(2)])
    batch = replace(one.batches[0], links=(Link(Entity.of(engine="vllm-0"), gpu(0), "pid"),))
    by_engine = msgspec.structs.replace(GPUS, by_engine=True)
    lines = text(table.rows(by_engine, scene(replace(one, batches=(batch,))))).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["vllm-0:", "gpu", "no", "gpu"]
    assert lines[4].strip() == "no engine:"
    assert "no engine known" not in text(table.rows(by_engine, scene(one)))


def test_the_column_that_calls_are_ordered_by_is_seen_on_a_narrow_screen():
    for width in (80, 120, 200):
        for column in calls.COLUMNS:
            found = calls.fitting(width, column.title)
            assert column.title in [one.title for one in found]
            assert sum(one.width for one in found) <= width


def test_a_call_without_a_model_says_what_it_is():
    says = next(column.says for column in calls.COLUMNS if column.title == "model")
    rail = next(call for call in trace(1, START) if call.kind == "guardrail")
    assert says(replace(rail, name="input")) == "guardrail input"
    assert says(replace(rail, name="")) == "guardrail"


def test_a_source_that_fails_stands_above_what_is_missing_for_it():
    health = Health("nvml", "nvml", "compute", "down", "no NVIDIA driver", None)
    one = told([("host.cpu.utilization", Entity.of(node="n"), 0.5)])
    rows = layer.rows(
        layer_screen("compute"), scene(replace(one, batches=(*one.batches, Batch(START, START, health)))), ""
    )
    assert text(rows).splitlines()[0].strip() == "✗ nvml down: no NVIDIA driver"
