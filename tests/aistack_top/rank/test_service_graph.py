"""A culprit that shows in no column of its own is told from those who call it."""

import random

import pytest

from aistack_top.rank.rank import rank
from aistack_top.rank.service_graph import graph_in, inferred, read_graph
from aistack_top.rank.table import MetricsTable, MetricsTableError

GRAPH = {"front": {"cart", "search"}, "cart": {"redis"}, "search": {"index"}, "pay": {"redis", "bank"}}


def mesh(slow=("front", "cart", "pay"), rows=200, onset=150):
    rng = random.Random(4)
    columns = {}
    for name in ("front", "cart", "search", "pay", "redis", "index", "bank"):
        for what in ("latency", "cpu"):
            by = 6.0 if what == "latency" and name in slow else 0.0
            columns[f"{name}_{what}"] = [10 + rng.gauss(0, 0.5) + (by if t >= onset else 0) for t in range(rows)]
    return MetricsTable([1.7e9 + 60 * t for t in range(rows)], columns)


def test_a_silent_service_of_which_all_callers_are_slow_is_first():
    what = mesh()
    best = rank(what, what.times[150], graph=GRAPH).columns[0]
    assert (best.name, best.inferred) == ("redis_latency", True)
    assert not any(column.inferred for column in rank(what, what.times[150]).columns)


def test_a_service_with_a_caller_that_is_well_is_not_blamed():
    what = mesh(slow=("front", "cart"))
    assert not any(column.inferred for column in rank(what, what.times[150], graph=GRAPH).columns)


def test_a_caller_whose_own_resource_moves_explains_itself():
    scores = {"cart_latency": 4.0, "cart_cpu": 4.0, "redis_latency": 0.5}
    assert inferred(scores, {"cart": {"redis"}}) == {}
    assert inferred(scores | {"cart_cpu": 0.3}, {"cart": {"redis"}}) == {"redis_latency": pytest.approx(4.08)}


def test_columns_that_name_both_ends_are_a_graph():
    assert graph_in(["cart->redis_latency_p95", "front_to_cart_errors", "cart_cpu"]) == {
        "cart": {"redis"},
        "front": {"cart"},
    }


@pytest.mark.parametrize(
    "text", ['{"cart": ["redis", "cart"], "x": 3}', "caller,callee\ncart,redis\n", "\ufeffcart,redis\n"]
)
def test_a_graph_is_json_or_csv(tmp_path, text):
    (tmp_path / "g").write_text(text)
    assert read_graph(tmp_path / "g") == {"cart": {"redis"}}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"lonely\n", b"{}"])
def test_what_is_no_graph_is_said_in_one_sentence(tmp_path, body):
    (tmp_path / "g").write_bytes(body)
    with pytest.raises(MetricsTableError, match=r"service graph|names no caller"):
        read_graph(tmp_path / "g")
    with pytest.raises(MetricsTableError, match=r"No such file"):
        read_graph(tmp_path / "none")
