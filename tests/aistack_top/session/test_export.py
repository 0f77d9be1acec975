import csv
import json

import pytest

from aistack_top.session.errors import SessionError
from aistack_top.session.export import COLUMNS, export
from aistack_top.session.reader import Session
from tests.aistack_top.session.ticks import record, tick


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("sessions") / "s.aistack"
    record(path, (tick(second) for second in range(90)))
    return Session.open(path)


def rows_of(path):
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{**row, "value": float(row["value"])} for row in csv.DictReader(file)]
    if path.suffix == ".ndjson":
        return [json.loads(line) for line in path.read_text().splitlines()]
    import polars as pl

    frame = pl.read_parquet(path)
    assert frame.schema["time"] == pl.Datetime("ms", "UTC")
    return frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).to_dicts()


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.ndjson"])
async def test_every_reading_is_exported(session, tmp_path, name):
    count = export(session, tmp_path / name)
    rows = rows_of(tmp_path / name)

    assert count == len(rows) == session.counts["readings"] == 90 * 3 + 45 * 7
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "time": "2025-11-23T23:19:59.950Z",
        "layer": "serving",
        "signal": "serving.requests.running",
        "entity": '{"engine":"vllm-a"}',
        "stat": "value",
        "value": 0.0,
        "unit": "{request}",
        "bound": "",
    }
    spread = [row for row in rows if row["signal"] == "serving.ttft" and row["time"] == rows[0]["time"]]
    assert {row["stat"]: row["bound"] for row in spread} == {
        "p50": "",
        "p95": "",
        "p99": "above",
        "mean": "",
        "count": "",
        "window_s": "",
    }
    assert [row["value"] for row in spread if row["stat"] == "p95"] == [pytest.approx(0.3)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_the_three_formats_say_the_same(session, tmp_path):
    tables = []
    for name in ("out.parquet", "out.csv", "out.ndjson"):
        export(session, tmp_path / name)
        rows = rows_of(tmp_path / name)
        tables.append([tuple(f"{v:.5g}" if isinstance(v, float) else v for v in row.values()) for row in rows])
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("name", ["out.xlsx", "out", "folder.csv", "no/such/place/out.csv"])
async def test_a_bad_target_is_said_and_leaves_nothing(session, tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SessionError, match="cannot export"):
        export(session, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.ndjson"])
async def test_an_empty_session_exports_an_empty_table(tmp_path, name):
    record(tmp_path / "s.aistack", [])
    assert export(Session.open(tmp_path / "s.aistack"), tmp_path / name) == 0
    assert rows_of(tmp_path / name) == []
