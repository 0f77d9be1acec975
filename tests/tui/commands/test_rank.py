import json

import pytest
from click.testing import CliRunner

from tui.cli import main

ROWS = [
    f"{1_700_000_000 + 5 * n},{10 + n % 3},{(100 if n >= 40 else 1) + n % 2},{(9 if n >= 42 else 3) + n % 2}"
    for n in range(80)
]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(["time,steady,cart_mem,front_latency", *ROWS]) + "\n")
    return path


def rank(data, *words):
    return CliRunner().invoke(main, ["rank", "--data", str(data), *words])


@pytest.mark.parametrize("at", ["1700000200", "1700000200000", "2023-11-14T22:16:40Z", "-200s", "none"])
def test_the_last_line_is_the_list(data, at):
    result = rank(data, "--incident-time", at)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1]) == ["cart_mem", "front_latency", "steady"]


def test_the_sli_is_explained_and_does_not_explain(data):
    result = rank(data, "--incident-time", "none", "--sli", "front_latency")
    assert json.loads(result.stdout.splitlines()[-1]) == ["cart_mem", "steady", "front_latency"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--incident-time", "1600000000"], "outside the data"),
        (["--incident-time", "soon"], "is not a time"),
        (["--incident-time", "none", "--sli", "front_latencies"], "the nearest is 'front_latency'"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_2(data, words, said):
    result = rank(data, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there(tmp_path):
    result = rank(tmp_path / "none.csv", "--incident-time", "none")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_columns_of_text_are_told(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("time,a,pod\n" + "".join(f"{n},{n % 2 + 50 * (n > 5)},x\n" for n in range(10)))
    result = rank(path, "--incident-time", "6")
    assert "skipped, not numeric: pod" in result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == ["a"]


def test_a_service_graph_names_who_shows_in_no_column_of_its_own(tmp_path):
    def late(n, size):
        return 10 + n % 3 + (size if n >= 40 else 0)

    rows = [f"{1_700_000_000 + 60 * n},{late(n, 30)},{late(n + 40 * (n < 40), 0)},{late(n, 25)}" for n in range(80)]
    path, graph = tmp_path / "m.csv", tmp_path / "graph.json"
    path.write_text("\n".join(["time,cart_latency,redis_latency,pay_latency", *rows]))
    graph.write_text('{"cart": ["redis"], "pay": ["redis"]}')
    result = rank(path, "--incident-time", "-39m", "--graph", str(graph))
    assert json.loads(result.stdout.splitlines()[-1])[0] == "redis_latency"
    assert "inferred from its callers" in result.stdout
    graph.write_text("nonsense")
    refused = rank(path, "--incident-time", "-39m", "--graph", str(graph))
    assert refused.exit_code == 2
    assert "names no caller" in refused.stderr


def test_columns_that_stand_there_twice_are_told(tmp_path):
    path = tmp_path / "m.csv"
    rows = [f"{1_700_000_000 + 60 * n},{n % 3},{n % 3},{(9 if n >= 40 else 1) + n % 2}" for n in range(60)]
    path.write_text("\n".join(['time,"a{b=""1""}","a{b=""1""}",c', *rows]))
    result = rank(path, "--incident-time", "none")
    assert json.loads(result.stdout.splitlines()[-1]) == ["c", 'a{b="1"}']
    assert "skipped, duplicates of another column" in result.stderr
