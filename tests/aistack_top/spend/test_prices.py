"""Price tables: what is shipped holds, nonsense is said in words, and prices travel as facts."""

import pytest

from aistack_top.spend.prices import (
    ANY_GPU,
    PriceError,
    Prices,
    TokenPrice,
    facts_of,
    from_list,
    gpu_table,
    managed_in,
    prices_in,
    read_gpu_table,
    read_token_rows,
    token_rows,
)
from aistack_top.store.facts import Facts

ROW = '[[row]]\nprovider = "p"\nmodel = "m"\ninput = 1.0\noutput = 2.0\ndate = 2026-01-01\nsource = "s"\n'


def test_the_shipped_tables_are_whole_and_dated():
    for one in gpu_table().list:
        assert one.gpu.keys() <= set(gpu_table().names.values())
        assert one.date.year >= 2026
    for row in token_rows():
        assert row.source
        assert row.serves
    assert {row.id: row.price for row in token_rows()}[
        "together/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo"
    ] == TokenPrice(3.5, 3.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("= nonsense", "t.toml: not valid TOML: "),
        ("rows = 1", "t.toml: unknown key 'rows'; known: row"),
        ("row = 1", "t.toml: write [[row]] with two brackets"),
        (ROW.replace("1.0", "-1.0"), "t.toml: row 1: Expected 'float' >= 0.0 - at '$.input'"),
        (ROW.replace("1.0", "nan"), "t.toml: row 1: Expected 'float' >= 0.0 - at '$.input'"),
        (ROW.replace("1.0", "1e9"), "t.toml: row 1: Expected 'float' <= 100000.0 - at '$.input'"),
        (ROW.replace("1.0", '"free"'), "t.toml: row 1: Expected 'float', got 'str' - at '$.input'"),
        (ROW.replace("2026-01-01", "2026"), "t.toml: row 1: Expected 'date', got 'int' - at '$.date'"),
        (ROW + "discount = 1\n", "t.toml: row 1: Object contains unknown field 'discount'"),
        (
            ROW + 'serves = ["x"]\n' + ROW.replace('"m"', '"n"') + 'serves = ["X"]\n',
            "t.toml: 'X' is claimed by p/m and by p/n",
        ),
    ],
)
def test_a_token_table_with_nonsense_is_said_in_words(text, said):
    with pytest.raises(PriceError) as refused:
        read_token_rows(text, "t.toml")
    assert str(refused.value).startswith(said)


def test_every_problem_of_a_token_table_is_said_at_once():
    with pytest.raises(PriceError) as refused:
        read_token_rows(ROW.replace("1.0", "-1.0") + ROW.replace("2.0", "inf"), "t.toml")
    assert len(refused.value.problems) == 2


def test_a_list_of_gpu_prices_with_nonsense_is_said_in_words():
    text = '[[list]]\nname = "l"\ntitle = "l"\ndate = 2026-01-01\nsource = "s"\n[list.gpu]\n"H100" = { free = 1.0 }\n'
    with pytest.raises(PriceError, match=r"g.toml: Invalid enum value 'free'"):
        read_gpu_table("[names]\n" + text, "g.toml")
    with pytest.raises(PriceError, match=r"no such list of prices: 'mine'; known: seed-2026-06"):
        from_list("mine")


def test_an_unknown_gpu_has_no_price_and_nothing_set_says_so():
    _, gpus = from_list("seed-2026-06")
    prices = Prices(gpus=gpus)
    assert prices.gpu_hour("NVIDIA L40S") == 0.96
    assert prices.gpu_hour("NVIDIA L40S", "spot") is None
    assert prices.gpu_hour("NVIDIA Tomorrow") is None
    assert prices.gpu_hour(None) is None
    assert Prices(gpus={ANY_GPU: {"spot": 2.0}}, basis="spot").gpu_hour(None) == 2.0
    assert Prices().sentence() == "$/h not set"


def test_what_is_paid_is_said_with_scope_basis_date_provider_and_zone():
    said = Prices(node_hour=12.5, basis="reserved", date="2026-11-01", provider="ACME", zone="Europe/Berlin").sentence()
    assert said == "$12.50/h for the node, reserved, as of 2026-11-01, ACME, days end in Europe/Berlin"
    assert Prices(gpus={ANY_GPU: {"on_demand": 2.0}}).sentence() == (
        "$2.00/h a GPU, on demand, date not given, days end in UTC"
    )


def test_prices_travel_as_facts_and_a_new_one_is_a_change():
    facts = Facts()
    first = Prices(node_hour=10.0, zone="Asia/Tokyo")
    assert facts.observe(facts_of(first, {"Org/Model": TokenPrice(1.0, 2.0)}), 0.0, 0.0, "spend", "prices") == []
    assert prices_in(facts) == first
    assert managed_in(facts, "org/model") == TokenPrice(1.0, 2.0)
    assert managed_in(facts, "other") is None
    (event,) = facts.observe(facts_of(Prices(node_hour=11.0), {}), 1.0, 1.0, "spend", "prices")
    assert event.text.startswith("spend price $10.00/h for the node")


def test_facts_that_hold_nonsense_are_no_prices():
    facts = Facts()
    for fact in facts_of(Prices(node_hour=10.0), {"m": TokenPrice(1.0, 2.0)}):
        nonsense = type(fact)(fact.entity, fact.key, '{"node_hour": -3, "input": "x"}')
        facts.observe((nonsense,), 0.0, 0.0, "spend", "prices")
    assert prices_in(facts) == Prices()
    assert managed_in(facts, "m") is None
