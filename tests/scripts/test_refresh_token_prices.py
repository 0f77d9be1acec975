"""The script that refreshes the table of token prices: dry by default, and a person decides which rows there are."""

import json
import shutil

import pytest
import refresh_token_prices

from aistack_top.spend.prices import read_token_rows, token_rows

FLAGSHIP = "together/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"


@pytest.fixture(scope="module")
def script():
    return refresh_token_prices


@pytest.fixture
def table(script, tmp_path):
    return shutil.copy(script.TABLE, tmp_path / "token_prices.toml")


def litellm(tmp_path, prices):
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps(prices))
    return path


def entry(input_, output):
    return {"input_cost_per_token": input_, "output_cost_per_token": output}


def test_a_changed_price_gets_a_new_date_and_nothing_else_moves(script, table, tmp_path, capsys):
    told = {"together_ai/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo": entry(2.0e-06, 2.5e-06)}
    arguments = ["--litellm", str(litellm(tmp_path, told)), "--table", str(table)]
    before = table.read_text()
    assert script.main(arguments) == 1
    assert table.read_text() == before
    assert "+input = 2.0" in capsys.readouterr().out
    assert script.main([*arguments, "--write"]) == 0
    rows = {row.id: row for row in read_token_rows(table.read_text(), "t")}
    changed = rows.pop(FLAGSHIP)
    assert (changed.input, changed.output, changed.source) == (2.0, 2.5, "litellm litellm.json")
    assert rows == {row.id: row for row in token_rows() if row.id != FLAGSHIP}
    assert script.main(arguments) == 0


@pytest.mark.parametrize("price", [-1e-6, "free", None, 1.0])
def test_a_source_that_says_no_price_changes_nothing(script, table, tmp_path, price, capsys):
    told = {"together_ai/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo": entry(price, price)}
    assert script.main(["--litellm", str(litellm(tmp_path, told)), "--table", str(table)]) == 0
    assert f"{FLAGSHIP}: the source says no price" in capsys.readouterr().err


def test_a_file_that_is_no_table_is_said(script, table, tmp_path, capsys):
    assert script.main(["--litellm", str(litellm(tmp_path, [1])), "--table", str(table)]) == 2
    assert "litellm.json is not litellm's table of prices" in capsys.readouterr().err
