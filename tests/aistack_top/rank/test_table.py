import gzip
import math

import polars as pl
import pytest

from aistack_top.rank.table import MetricsTableError, from_frame, moment_of, read_table

START = 1_700_000_000


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_times_are_in_seconds_whatever_their_unit(factor):
    table = from_frame(pl.DataFrame({"time": [START * factor, (START + 5) * factor], "a": [1, 2]}))
    assert list(table.times) == [START, START + 5]
    assert moment_of(str((START + 5) * factor), table.times) == START + 5


@pytest.mark.parametrize(
    "texts",
    [
        ["2023-11-14T22:13:20Z", "2023-11-14T22:13:25Z"],
        ["2023-11-14 22:13:20", "2023-11-14 22:13:25"],
        ["2023-11-14T23:13:20.000+01:00", "2023-11-14T23:13:25.000+01:00"],
    ],
)
def test_times_are_iso_text(tmp_path, texts):
    path = tmp_path / "m.csv"
    path.write_text(f"Time,a\n{texts[0]},1\n{texts[1]},2\n")
    assert list(read_table(path).times) == [START, START + 5]


def test_times_of_parquet_have_a_type(tmp_path):
    path = tmp_path / "m.parquet"
    pl.DataFrame({"time": [START, START + 5], "a": [1.5, None]}).with_columns(
        pl.from_epoch("time").dt.replace_time_zone("UTC")
    ).write_parquet(path)
    table = read_table(path)
    assert list(table.times) == [START, START + 5]
    assert math.isnan(table.columns["a"][1])


def test_rows_are_sorted_and_times_that_come_twice_are_one(tmp_path):
    path = tmp_path / "m.csv.gz"
    path.write_bytes(gzip.compress(b"time,a\n30,3\n10,1\n20,2\n20,4\n"))
    table = read_table(path)
    assert list(table.times) == [10, 20, 30]
    assert list(table.columns["a"]) == [1, 3, 3]


def test_holes_infinities_and_text_are_no_numbers():
    frame = pl.DataFrame(
        {"time": [1, 2, 3], "a": ["1", "", "inf"], "pod": ["x", "y", "z"], "up": [True, False, True], "e": [None] * 3}
    )
    table = from_frame(frame)
    assert [v == v for v in table.columns["a"]] == [True, False, False]
    assert list(table.columns["up"]) == [1, 0, 1]
    assert set(table.columns) == {"a", "up", "e"}
    assert table.left_out == ("pod",)


def test_a_second_time_column_is_none_of_the_metrics(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("time,a,time\n1,5,1\n2,6,2\n")
    assert set(read_table(path).columns) == {"a"}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("-10s", START + 90),
        ("+1m", START + 60),
        ("40", START + 40),
        ("2023-11-14T22:13:50Z", START + 30),
        ("22:13:50", START + 30),
    ],
)
def test_a_time_can_be_typed(said, found):
    assert moment_of(said, [START, START + 100]) == found


@pytest.mark.parametrize("said", ["2020-01-01T00:00:00Z", "1600000000", "-1h"])
def test_a_time_outside_the_data_is_refused(said):
    with pytest.raises(MetricsTableError, match=r"outside the data, which goes from 2023-11-14T22:13:20Z to"):
        moment_of(said, [START, START + 100])


@pytest.mark.parametrize("said", ["yesterday", "25:00", "", "1e400"])
def test_what_is_no_time_is_said(said):
    with pytest.raises(MetricsTableError, match="is not a time"):
        moment_of(said, [START, START + 100])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"a,b\n1,2\n", "no column named time; it has a, b"),
        (b"time,pod\n1,x\n2,y\n", "no column of numbers"),
        (b"time,a\nsoon,1\nlater,2\n", "no row of the table has a time"),
        (b"", "cannot read"),
        (b"PAR1 and nothing more", "cannot read"),
        (b"\x1f\x8b\x08\x00broken", "cannot read"),
        (b"time,a\n1,2,3,4\n", "cannot read"),
    ],
)
def test_what_is_no_table_is_said_in_one_sentence(tmp_path, body, said):
    path = tmp_path / "m.csv"
    path.write_bytes(body)
    with pytest.raises(MetricsTableError, match=said) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_the_nearest_column_is_named():
    table = from_frame(pl.DataFrame({"time": [1, 2], "front_latency": [1, 2], "cpu": [1, 2]}))
    assert table.named("cpu") == "cpu"
    with pytest.raises(MetricsTableError, match="'front_latency'"):
        table.named("front_latencies")
