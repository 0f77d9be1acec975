"""How series of one entity combine, and counters that move, begin anew, or come from several processes."""

from typing import Any

import pytest

from aistack_top.model.tick import Quantiles
from collectors.openmetrics.engine import SEVERAL, Assembled, Exposition
from collectors.openmetrics.parser import LineMemo, parse
from collectors.openmetrics.table import load
from collectors.runtime.base import Source

HEAD = 'title = "things"\nidentity = ["x_"]\n'
ROWS = """
[entity]
source = { own = true }
[[metric]]
signal = "guardrail.requests"
type = "counter"
names = ["x_requests_total"]
combine = "sum"
window_s = 60.0
[[metric]]
signal = "guardrail.hits"
type = "counter"
names = ["x_hits_total"]
combine = "sum"
window_s = 60.0
zero_with = "guardrail.requests"
entity = { rail = { labels = ["rail"], coarse = true } }
[[metric]]
signal = "guardrail.latency"
type = "histogram"
names = ["x_seconds"]
combine = "sum"
"""
CARDS = """
device = "card"
[entity]
gpu = "uuid"
[[metric]]
signal = "gpu.energy"
type = "counter"
names = ["x_joules"]
combine = "one"
[[metric]]
signal = "gpu.pcie.replays"
type = "counter"
names = ["x_replays"]
combine = "one"
[[metric]]
signal = "gpu.nvlink.errors"
type = "counter"
names = ["x_crc", "x_replay"]
join = "any"
combine = "sum"
adds_over = ["link"]
[[metric]]
signal = "gpu.memory.total"
names = ["x_used", "x_free"]
join = "all"
combine = "one"
[[metric]]
signal = "gpu.memory.used"
names = ["x_used"]
combine = "one"
[[metric]]
signal = "gpu.temperature"
names = ["x_celsius"]
combine = "one"
"""
PARTS = """
[entity]
source = { own = true }
[[metric]]
signal = "data.vectors"
names = ["x_vectors"]
combine = "sum"
[[metric]]
signal = "serving.kv_cache.usage"
names = ["x_share"]
combine = "max"
[[metric]]
signal = "gpu.temperature.margin"
names = ["x_margin"]
combine = "min"
"""


class Reader:
    def __init__(self, rows: str, every_s: float = 5.0) -> None:
        self.table = load(HEAD + rows)
        self.exposition = Exposition(self.table, Source("s", "text", "compute", every_s))
        self.memo = LineMemo()

    def read(self, text: str, at: float, *, whole: bool = True) -> Assembled:
        body = "\n".join(line.strip() for line in text.strip().splitlines()) + ("\n" if whole else "\nx_cut")
        return self.exposition.read(parse(body.encode(), self.table.wanted(), self.memo), at, at)


def got(found: Assembled) -> dict[tuple[str, str], Any]:
    return {(signal, str(entity)): value for signal, entity, value in found.readings}


def card(uuid: str, pods: list[str], **values: float) -> str:
    return "\n".join(
        f'x_{name}{{card="{uuid[-1]}",uuid="{uuid}",pod="{pod}"}} {value}'
        for pod in pods
        for name, value in values.items()
    )


@pytest.mark.parametrize("label", ["pod", "hpc_job", "container", "vgpu", "dra_claim_name"])
def test_a_value_that_is_repeated_for_each_user_of_a_card_is_one_value(label):
    reader = Reader(CARDS)
    users = "\n".join(
        f'x_celsius{{uuid="A",{label}="{user}"}} 61\nx_used{{uuid="A",{label}="{user}"}} 30\n'
        f'x_free{{uuid="A",{label}="{user}"}} 50\nx_joules{{uuid="A",{label}="{user}"}} 9000'
        for user in ("a", "b", "c")
    )
    found = got(reader.read(users, 0.0))
    assert found == {
        ("gpu.temperature", "gpu=A"): 61.0,
        ("gpu.memory.used", "gpu=A"): 30.0,
        ("gpu.memory.total", "gpu=A"): 80.0,
        ("gpu.energy", "gpu=A"): 9000.0,
    }


def test_parts_are_joined_within_the_labels_of_one_line():
    reader = Reader(CARDS)
    # the free memory of another user's line is no part of this one's
    found = got(reader.read('x_used{uuid="A",pod="a"} 30\nx_free{uuid="A",pod="b"} 50', 0.0))
    assert ("gpu.memory.total", "gpu=A") not in found


def test_counters_of_links_add_and_their_repetitions_do_not():
    reader = Reader(CARDS)
    page = "\n".join(
        f'x_{name}{{uuid="A",link="{link}",pod="{pod}"}} %d'
        for name in ("crc", "replay")
        for link in "01"
        for pod in "ab"
    )
    # per pod: crc of link 0, of link 1, replay of link 0, of link 1
    reader.read(page % (0, 0, 0, 0, 0, 0, 0, 0), 0.0)
    found = got(reader.read(page % (10, 10, 20, 20, 1, 1, 2, 2), 10.0))
    assert found["gpu.nvlink.errors", "gpu=A"] == pytest.approx(3.3)


@pytest.mark.parametrize("after", ["job-b", "", "job-b,job-c"])
def test_a_counter_that_goes_on_under_other_labels_is_not_born_and_not_counted_twice(after):
    reader = Reader(CARDS)
    for turn in range(6):
        pods = ["job-a"] if turn < 3 else after.split(",")
        found = reader.read(card("GPU-0", pods, joules=9e6 + 1500 * turn, replays=900, crc=6000), turn * 5.0)
        told = got(found)
        assert told["gpu.energy", "gpu=GPU-0"] == 9e6 + 1500 * turn
        assert found.events == ()
        if turn:
            assert told["gpu.pcie.replays", "gpu=GPU-0"] == 0.0
            assert told["gpu.nvlink.errors", "gpu=GPU-0"] == 0.0


def test_a_card_that_was_away_comes_back_without_an_increase_of_all_its_past():
    reader = Reader(CARDS)
    both = card("GPU-0", ["a"], replays=900) + "\n" + card("GPU-1", ["a"], replays=50)
    reader.read(both, 0.0)
    reader.read(card("GPU-1", ["a"], replays=50), 5.0)
    found = got(reader.read(both, 10.0))
    assert found["gpu.pcie.replays", "gpu=GPU-0"] == 0.0


def test_one_cards_reset_is_its_own_and_the_others_rates_go_on():
    reader = Reader(CARDS)
    for turn in range(3):
        reader.read(
            card("GPU-0", ["a"], joules=9e6, replays=50 + turn) + "\n" + card("GPU-1", ["a"], replays=10 * turn),
            turn * 5.0,
        )
    found = reader.read(card("GPU-0", ["a"], joules=0, replays=0) + "\n" + card("GPU-1", ["a"], replays=30), 15.0)
    assert [(event.kind, str(event.entity)) for event in found.events] == [("reset", "gpu=GPU-0")]
    assert found.events[0].text.startswith("card 0: ")
    assert not found.restarted
    told = got(found)
    assert ("gpu.pcie.replays", "gpu=GPU-0") not in told
    assert told["gpu.pcie.replays", "gpu=GPU-1"] == pytest.approx(2.0)
    after = card("GPU-0", ["a"], joules=10, replays=5) + "\n" + card("GPU-1", ["a"], replays=40)
    assert got(reader.read(after, 20.0))["gpu.pcie.replays", "gpu=GPU-0"] == pytest.approx(1.0)


def test_the_only_card_that_is_reset_is_no_restart_of_its_exporter_either():
    reader = Reader(CARDS)
    reader.read(card("GPU-0", ["a"], joules=9e6), 0.0)
    found = reader.read(card("GPU-0", ["a"], joules=1), 5.0)
    assert [event.kind for event in found.events] == ["reset"]


def test_a_process_that_is_the_same_did_not_restart_when_one_counter_fell():
    reader = Reader(ROWS)
    page = 'process_start_time_seconds 50\nx_hits_total{rail="a"} %d\nx_hits_total{rail="b"} %d\nx_requests_total %d'
    reader.read(page % (100, 10, 500), 0.0)
    found = reader.read(page % (3, 16, 560), 10.0)
    assert [event.kind for event in found.events] == ["reset"]
    assert not found.restarted


def test_a_counters_first_event_is_one_of_all_the_time_in_which_it_was_none():
    reader, told = Reader(ROWS), []
    for turn in range(25):
        text = f"x_requests_total {10 * turn}" + ('\nx_hits_total{rail="in"} 1' if turn >= 9 else "")
        told.append(got(reader.read(text, turn * 5.0)).get(("guardrail.hits", "rail=in source=s")))
    assert told[:9] == [None] * 9
    # 45 s were seen before it, later the window of 60 s
    assert told[9] == pytest.approx(1 / 45)
    assert told[12] == pytest.approx(1 / 60)
    assert max(value for value in told if value is not None) == told[9]
    assert told[-1] == 0.0


def test_a_second_series_of_an_output_is_born_into_its_window():
    reader = Reader(ROWS)
    for turn in range(7):
        reader.read(f'x_requests_total{{user="a"}} {10 * turn}', turn * 10.0)
    found = got(reader.read('x_requests_total{user="a"} 70\nx_requests_total{user="b"} 6', 70.0))
    assert found["guardrail.requests", "source=s"] == pytest.approx((60 + 6) / 60)


def test_nothing_is_known_of_the_time_before_a_page_that_was_not_whole():
    reader = Reader(ROWS)
    reader.read("x_requests_total 0", 0.0)
    reader.read("x_requests_total 10", 30.0, whole=False)
    reader.read("x_requests_total 20", 35.0)
    found = got(reader.read('x_requests_total 30\nx_hits_total{rail="in"} 1', 40.0))
    assert found["guardrail.hits", "rail=in source=s"] == pytest.approx(1 / 5)


def test_a_histogram_that_lost_a_series_goes_on_with_the_others():
    reader = Reader(ROWS)

    def page(a: int | None, b: int) -> str:
        return "\n".join(
            f'x_seconds_bucket{{w="{worker}",le="1"}} 0\nx_seconds_bucket{{w="{worker}",le="2"}} {count}\n'
            f'x_seconds_bucket{{w="{worker}",le="+Inf"}} {count}\nx_seconds_count{{w="{worker}"}} {count}\n'
            f'x_seconds_sum{{w="{worker}"}} {1.5 * count}'
            for worker, count in (("a", a), ("b", b))
            if count is not None
        )

    reader.read(page(1000, 100), 0.0)
    found = reader.read(page(None, 130), 10.0)
    spread = got(found)["guardrail.latency", "source=s"]
    assert isinstance(spread, Quantiles)
    assert (spread.count, spread.mean) == (30.0, 1.5)
    assert found.events == ()
    assert got(reader.read(page(1010, 140), 20.0))["guardrail.latency", "source=s"].count == 40.0


def test_a_counter_that_is_gone_leaves_the_sum_without_a_restart():
    reader = Reader(ROWS)
    reader.read('x_requests_total{w="a"} 1000\nx_requests_total{w="b"} 10', 0.0)
    reader.read('x_requests_total{w="b"} 20', 10.0)
    found = reader.read('x_requests_total{w="b"} 30', 20.0)
    assert (got(found)["guardrail.requests", "source=s"], found.events) == (1.0, ())


@pytest.mark.parametrize("every_s", [1.0, 5.0, 60.0])
@pytest.mark.parametrize("starts", [True, False])
def test_workers_that_answer_in_turn_are_recognised_by_their_pages_whatever_the_pace(every_s, starts):
    reader, shown, said, events = Reader(ROWS, every_s), [], [], 0
    for turn, worker in enumerate("aababbabaabab"):
        base, began = (1000, 50) if worker == "a" else (10, 70)
        start = f"process_start_time_seconds {began}\n" if starts else ""
        page = f'{start}x_requests_total {base + 2 * turn}\nx_seconds_bucket{{le="+Inf"}} {base + 2 * turn}'
        found = reader.read(page, turn * every_s)
        events += len(found.events)
        shown.append(got(found).get(("guardrail.requests", "source=s")))
        said.append(SEVERAL in found.notes)
    assert events == 1, "the first change looks like a restart"
    assert said == [False] * 3 + [True] * 10
    assert shown[3:] == [None] * 10
    # what was shown before is one worker's own pace
    assert all(value == pytest.approx(2 / every_s) for value in shown[:3] if value is not None)


def test_rates_are_back_when_one_process_answers_for_long():
    reader = Reader(ROWS)
    for turn, base in enumerate([1000, 10, 1000, *[1000] * 12]):
        found = reader.read(f"x_requests_total {base + turn}", turn * 5.0)
    assert SEVERAL not in found.notes
    assert got(found)["guardrail.requests", "source=s"] == pytest.approx(1 / 5)


def test_a_restart_alone_is_none_of_several_processes():
    reader = Reader(ROWS)
    for turn, count in enumerate([1000, 1010, 0, 10, 20, 30]):
        found = reader.read(f"x_requests_total {count}", turn * 5.0)
        assert SEVERAL not in found.notes
    assert got(found)["guardrail.requests", "source=s"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "shown", "noted"),
    [
        ('x_vectors{s="a"} -182000\nx_vectors{s="b"} 12000', {}, "vectors"),
        ('x_vectors{s="a"} -2000\nx_vectors{s="b"} 12000', {("data.vectors", "source=s"): 10000.0}, ""),
        ("x_share 1.7", {}, "KV cache"),
        ("x_share 1.004", {("serving.kv_cache.usage", "source=s"): 1.0}, ""),
        ("x_share -0.002", {("serving.kv_cache.usage", "source=s"): 0.0}, ""),
        ("x_margin -7", {("gpu.temperature.margin", "source=s"): -7.0}, ""),
    ],
)
def test_what_cannot_be_is_left_out_of_the_combined_value_and_said_once(text, shown, noted):
    found = Reader(PARTS).read(text, 0.0)
    assert got(found) == shown
    assert [note for note in found.notes if "impossible" in note] == (
        [f"impossible values are not shown (below 0, or a share or flag above 1): {noted}"] if noted else []
    )


def test_series_without_the_label_that_names_them_are_counted_and_said():
    reader = Reader(CARDS)
    found = reader.read(
        'x_celsius{card="0"} 50\nx_celsius{card="1"} 60\nx_used{card="0"} 5\nx_celsius{uuid="A"} 40', 0.0
    )
    assert got(found) == {("gpu.temperature", "gpu=A"): 40.0}
    (note,) = found.notes
    assert note.startswith("3 series have no label uuid, not shown: ")
    assert "GPU temperature" in note


def test_series_without_a_label_that_only_tells_parts_apart_are_told_of_the_whole():
    reader = Reader(ROWS)
    text = 'x_requests_total %d\nx_hits_total{team="red"} %d\nx_hits_total{team="blue"} %d'
    reader.read(text % (0, 0, 0), 0.0)
    found = reader.read(text % (50, 2, 3), 10.0)
    assert got(found)["guardrail.hits", "source=s"] == pytest.approx(0.5)
    assert found.notes == ("2 series have no label rail, shown without it: hits",)
