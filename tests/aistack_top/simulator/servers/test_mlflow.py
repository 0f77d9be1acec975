"""The simulated MLflow: what a search says of a run, its history says too."""

from typing import Any

from aistack_top.simulator.scenario import scenarios
from aistack_top.simulator.servers.mlflow import Mlflow


def test_the_history_of_a_run_ends_with_what_its_search_says():
    node = scenarios()["training_job"].start(node="standard")
    node.advance(300.0)
    server = Mlflow()
    found: Any = server.runs(node, {"filter": "attributes.status = 'RUNNING'"})
    run = next(iter(found["runs"]))
    loss = next(told for told in run["data"]["metrics"] if told["key"] == "train_loss")
    assert server.history(node, run["info"]["run_id"], "train_loss") == {"metrics": [loss]}
    assert server.history(node, "no such run", "train_loss") == {"metrics": []}
