import json
import math
import random
from pathlib import Path

import pytest

from aistack_top.rank.onset import find_change
from aistack_top.rank.rank import rank
from aistack_top.rank.table import MetricsTable, MetricsTableError

COUNT, ONSET = 600, 300


def noisy(seed, level=10.0, spread=0.5):
    rng = random.Random(seed)
    return [level + rng.gauss(0, spread) for _ in range(COUNT)]


def shifted(seed, by, start=ONSET, **kind):
    return [value + (by if t >= start else 0.0) for t, value in enumerate(noisy(seed, **kind))]


def table(**columns):
    times = [1_700_000_000.0 + t for t in range(COUNT)]
    others = {f"other{n}": noisy(100 + n) for n in range(30)}
    return MetricsTable(times, others | columns)


def names(what, given=ONSET, **options):
    at = None if given is None else what.times[0] + given
    return [column.name for column in rank(what, at, **options).columns]


def test_the_largest_shift_is_first_whatever_its_unit():
    what = table(bytes=shifted(1, 4e9, level=2e9, spread=2e7), ratio=shifted(2, 0.05, level=0.5, spread=0.01))
    assert names(what)[:2] == ["bytes", "ratio"]


def test_all_columns_are_in_the_list_once():
    what = table(constant=[3.0] * COUNT, empty=[math.nan] * COUNT, moved=shifted(1, 20))
    found = names(what)
    assert sorted(found) == sorted(what.columns)
    assert found[0] == "moved"
    assert {"constant", "empty"} <= set(found[-12:])


@pytest.mark.parametrize("late", [0, 30, 60, 100])
def test_a_late_time_is_looked_back_from(late):
    what = table(cause=shifted(1, 20), effect=shifted(2, 6, start=ONSET + 5))
    ranking = rank(what, what.times[ONSET + late])
    assert ranking.columns[0].name == "cause"
    assert abs(ranking.onset - what.times[ONSET]) <= 5


def test_the_time_is_found_when_it_is_unknown():
    what = table(cause=shifted(1, 20), effect=shifted(2, 6, start=ONSET + 5))
    ranking = rank(what, None)
    assert abs(ranking.onset - what.times[ONSET]) <= 5
    assert ranking.given is None
    assert ranking.columns[0].name == "cause"


def test_the_first_of_two_equal_changes_is_the_onset():
    over = {f"m{n}": [v + (8 if 200 <= t < 400 else 0) for t, v in enumerate(noisy(n))] for n in range(4)}
    ranking = rank(table(**over), None)
    assert abs(ranking.onset - ranking_time(200)) <= 6


def ranking_time(t):
    return 1_700_000_000.0 + t


def test_nothing_that_moves_has_no_time():
    what = MetricsTable([float(t) for t in range(50)], {"flat": [1.0] * 50})
    assert find_change(what.times, what.columns) is None
    with pytest.raises(MetricsTableError, match="no change was found"):
        rank(what, None)


def test_the_sli_finds_the_time_and_stands_last():
    early = {f"job{n}": shifted(n, 9, start=120) for n in range(3)}
    what = table(sli=shifted(8, 30), cause=shifted(9, 25), **early)
    ranking = rank(what, None, "sli")
    assert abs(ranking.onset - what.times[ONSET]) <= 5
    assert ranking.columns[0].name == "cause"
    assert ranking.columns[-1].name == "sli"


def test_a_counter_is_judged_by_its_rate():
    rng, total, counter = random.Random(5), 0.0, []
    for t in range(COUNT):
        total += rng.uniform(8, 12) * (6 if t >= ONSET else 1)
        counter.append(total)
    steady, idle = 0.0, []
    for _ in range(COUNT):
        steady += rng.uniform(8, 12)
        idle.append(steady)
    found = names(table(requests_total=counter, idle_total=idle))
    assert found[0] == "requests_total"
    assert found.index("idle_total") > 5


def test_a_counter_that_began_anew_is_no_shift():
    rng, total, counter = random.Random(5), 0.0, []
    for t in range(COUNT):
        total = 0.0 if t == ONSET + 20 else total + rng.uniform(8, 12)
        counter.append(total)
    assert names(table(reset_total=counter, moved=shifted(1, 5)))[0] == "moved"


def test_one_glitch_does_not_beat_a_shift_that_stays():
    glitch = noisy(3)
    glitch[ONSET + 50] = 1e6
    assert names(table(glitch=glitch, moved=shifted(1, 10)))[0] == "moved"


def test_a_first_error_does_not_beat_a_large_rise():
    errors = [0.0 if t < ONSET else 0.02 for t in range(COUNT)]
    assert names(table(errors=errors, memory=shifted(1, 500, level=100)))[0] == "memory"


def test_memory_that_wobbles_by_pages_is_no_incident():
    pages = [2e8 + (4096 * 20 if t >= ONSET else 0) for t in range(COUNT)]
    assert names(table(pages=pages, moved=shifted(1, 3)))[0] == "moved"


def test_holes_are_no_shift():
    holes = [math.nan if ONSET - 40 < t < ONSET + 40 else v for t, v in enumerate(noisy(7))]
    assert names(table(holes=holes, moved=shifted(1, 5)))[0] == "moved"


def test_few_rows_are_enough():
    what = MetricsTable([0.0, 60.0, 120.0, 180.0, 240.0], {"a": [1, 1.1, 0.9, 1.0, 1.1], "b": [5, 5.1, 4.9, 50, 52]})
    assert [column.name for column in rank(what, 180.0).columns] == ["b", "a"]


def test_an_old_baseline_is_a_baseline():
    times = [float(t) for t in range(300)] + [90_000.0 + t for t in range(100)]
    rng = random.Random(1)
    moved = [10 + rng.gauss(0, 1) + (40 if t >= 90_050 else 0) for t in times]
    still = [10 + rng.gauss(0, 1) for _ in times]
    assert rank(MetricsTable(times, {"still": still, "moved": moved}), 90_050.0).columns[0].name == "moved"


@pytest.mark.parametrize("given", [0.0, 599.9])
def test_too_little_before_or_after_is_said(given):
    with pytest.raises(MetricsTableError, match="two rows before"):
        names(table(), given=given)


CAPTURE = Path(__file__).parents[3] / "fixtures/captures/prometheus-2.42.0-milvus-step"
STEP = 1795454475
"""``heavy_from`` of its PHASES.txt."""


def milvus():
    """A real vector store under a step of load, as a Prometheus server told it."""
    found = {}
    for path in sorted(CAPTURE.glob("*.json")):
        (series,) = json.loads(path.read_text())["data"]["result"]
        found[path.stem] = {float(at): float(value) for at, value in series["values"]}
    times = sorted({at for values in found.values() for at in values})
    return MetricsTable(times, {name: [values.get(at, math.nan) for at in times] for name, values in found.items()})


@pytest.mark.parametrize("given", [STEP, STEP + 30, STEP + 60, None])
def test_a_real_step_of_load_is_named_whatever_time_is_given(given):
    ranking = rank(milvus(), given)
    assert ranking.columns[0].name == "vectors_rate"
    assert abs(ranking.onset - STEP) <= 10
