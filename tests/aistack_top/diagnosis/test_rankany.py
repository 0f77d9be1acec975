"""Tables of every shape: any step, any length, any gap, any type; ranked, or refused in one sentence."""

import math
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aistack_top.rank.rank import rank
from aistack_top.rank.table import MetricsTable, MetricsTableError, from_frame, moment_of, read_table
from tui.commands import rank as command

START = 1_700_000_000.0


def system(rows, step, onset, seed=0, calm=30):
    """A table in which a cause, and after it the SLI, come and go from an onset on; one other column jumps."""
    rng = random.Random(seed)
    wave = [(0.3 if rng.random() < 0.25 else rng.uniform(0.7, 1.6)) if t >= onset else 0.0 for t in range(rows)]
    columns = {f"calm{n}": [10 + rng.gauss(0, 0.5) for _ in range(rows)] for n in range(calm)}
    columns["cause"] = [20 + 8 * w + rng.gauss(0, 0.8) for w in wave]
    columns["sli"] = [1 + w + rng.gauss(0, 0.05) for w in wave]
    columns["batch"] = [50 + (60 if t >= onset - 4 else 0) + rng.gauss(0, 1.0) for t in range(rows)]
    return MetricsTable([START + t * step for t in range(rows)], columns)


@given(
    step=st.floats(1.0, 300.0),
    rows=st.integers(4, 120),
    share=st.floats(0.0, 1.0),
    gaps=st.lists(st.tuples(st.integers(0, 119), st.floats(0.0, 3600.0)), max_size=4),
    holes=st.integers(0, 40),
    late=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_step_length_and_gap_is_ranked_or_refused(step, rows, share, gaps, holes, late):
    rng = random.Random(rows)
    what = system(rows, step, int(rows * share), calm=3)
    times = list(what.times)
    for place, length in gaps:
        times = [t + length if n >= place else t for n, t in enumerate(times)]
    columns = {name: list(values) for name, values in what.columns.items()}
    for _ in range(holes):
        columns[rng.choice(list(columns))][rng.randrange(rows)] = math.nan
    for sli in (None, "sli"):
        try:
            ranking = rank(MetricsTable(times, columns), None if late else times[int(rows * share) - 1], sli)
        except MetricsTableError:
            continue
        assert {column.name for column in ranking.columns} == set(columns)
        assert all(math.isfinite(column.score) for column in ranking.columns)


@pytest.mark.parametrize("step", [1, 10, 21, 30, 60, 90, 120, 300])
def test_the_cause_is_first_at_every_step(step):
    what = system(240, step, 180)
    for at in (None, what.times[180], what.times[183]):
        ranking = rank(what, at, "sli")
        assert ranking.columns[0].name == "cause"
        assert abs(ranking.onset - what.times[180]) <= 3 * step


@pytest.mark.parametrize("rows", [240, 900])
@pytest.mark.parametrize("last", [2, 3, 6])
def test_an_incident_in_the_last_rows_is_found(rows, last):
    rng = random.Random(rows + last)
    names = [f"c{n}" for n in range(30)]
    columns = {
        name: [10 + rng.gauss(0, 0.5) + (9 if name < "c12" and t >= rows - last else 0) for t in range(rows)]
        for name in names
    }
    ranking = rank(MetricsTable([START + 60.0 * t for t in range(rows)], columns), None)
    assert ranking.onset == START + 60.0 * (rows - last)
    assert ranking.columns[0].name < "c12"


def test_what_moves_with_the_sli_goes_before_a_larger_jump_that_does_not():
    what = system(240, 30, 180, seed=1)
    assert rank(what, what.times[180]).columns[0].name != "cause"
    assert rank(what, what.times[180], "sli").columns[0].name == "cause"


def test_placeholders_for_infinity_are_no_numbers():
    values = [1.0, 2.0, 1.7e308, -1e300, 1e-320]
    table = from_frame(pl.DataFrame({"time": [1, 2, 3, 4, 5], "a": values}))
    assert [v for v in table.columns["a"] if v == v] == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_are_those_of_the_file_quotes_and_repetitions_too(tmp_path, end):
    head = 'time,"guilty{a=""1"",b=""2""}",calm,calm,"other,x",other'
    rows = [f"{t},{t % 3},{t % 5},{t % 5},{t % 7},{t % 4}" for t in range(1_700_000_000, 1_700_000_020)]
    path = tmp_path / "t.csv"
    path.write_bytes((end.join([head, *rows]) + end).encode("utf-8-sig"))
    table = read_table(path)
    assert list(table.columns) == ['guilty{a="1",b="2"}', "calm", "other,x", "other"]
    assert table.repeated == ("calm (2)",)
    path.write_text("\n".join(["time,calm,calm", *(f"{t},{t % 5},{t % 6}" for t in range(20))]))
    assert list(read_table(path).columns) == ["calm", "calm (2)"]


cells = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0.0, 1.0, 1.5, -1.0, 1e308, 1e-300, 1_700_000_000, 1_700_000_000_000]),
)
texts = st.one_of(st.none(), st.text(max_size=6), st.sampled_from(["1", "nan", " 2.5", "inf", "2026-11-23T14:02:10Z"]))
moments = st.one_of(st.none(), st.datetimes())


@st.composite
def frames(draw):
    """Small data frames of all that polars holds, one column of them mostly called time."""
    rows = draw(st.integers(0, 12))
    kinds = (cells, texts, moments, st.booleans(), st.integers(0, 9))

    def column(name):
        of = draw(st.sampled_from(kinds))
        return pl.Series(name, [draw(of) for _ in range(rows)], strict=False)

    names = draw(st.lists(st.text(min_size=1, max_size=5), max_size=4, unique=True))
    named = draw(st.sampled_from(["time", "Time", "ts", "x"]))
    every = draw(st.sampled_from([1.0, 60.0, 1e9]))
    axis = [1.7e9 + every * n for n in range(rows)]
    first = column(named) if draw(st.booleans()) else pl.Series(named, axis, dtype=pl.Float64)
    return pl.DataFrame([first, *(column(name) for name in names if name != named)])


@given(frame=frames(), at=st.sampled_from(["none", "-5m", "+10m", "3", "14:02", "1700000120"]), data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_that_polars_holds_never_raises_anything_else(frame, at, data):
    try:
        table = from_frame(frame)
        given_time = None if at == "none" else moment_of(at, table.times)
        sli = data.draw(st.sampled_from([None, *table.columns]))
        ranking = rank(table, given_time, sli)
        lines = command._lines(ranking)
    except MetricsTableError:
        return
    assert len(ranking.columns) == len(table.columns)
    assert lines[0].startswith("began at ")


def test_times_of_dates_in_parquet_are_read_with_any_gap(tmp_path):
    days = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=7 * n) for n in range(60)]
    frame = pl.DataFrame({"time": days, "a": [float(n >= 40) * 5 + n % 3 for n in range(60)]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert rank(read_table(tmp_path / "t.parquet"), None).columns[0].name == "a"
