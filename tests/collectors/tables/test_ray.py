"""Ray 2.60 as a real node with tasks, actors and Serve said it; the figures were counted in the pages by hand."""

import pytest

from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact, Quantiles
from tests.fakes.pages import collected, of, page

DURING = "ray-2.60.0/during__metrics_agent.prom.gz"
DURING2 = "ray-2.60.0/during2__metrics_agent.prom.gz"


async def test_tasks_workers_and_gpus_of_a_real_node_under_load():
    first, second = await collected("ray", [page(DURING), page(DURING2)], step=10.0)
    assert of(first, "training.jobs.running") == 2
    assert of(first, "training.workers.alive") == 4, "each once, though its executor tells it as well"
    assert of(first, "training.tasks.running") == 3
    assert of(first, "training.tasks.pending", reason="PENDING_NODE_ASSIGNMENT") == 11
    assert of(first, "training.tasks.failed") == 10
    assert of(second, "training.tasks.failed") == 11
    assert of(first, "training.tasks.unplaced", reason="Infeasible") == 1
    assert (of(first, "training.gpus.used"), of(first, "training.gpus.free")) == (1, 1)
    assert (of(second, "training.gpus.used"), of(second, "training.gpus.free")) == (2, 0)
    assert of(first, "training.object_store.used") == 30_110_446
    assert of(first, "training.object_store.spilled") == 0
    assert of(first, "training.nodes.alive") == 1


async def test_few_placements_are_too_few_for_a_quantile():
    _, second = await collected("ray", [page(DURING), page(DURING2)], step=10.0)
    assert of(second, "training.placement_time") == Quantiles(None, None, None, None, 0.0, 10.0)


async def test_what_is_not_there_is_not_nothing():
    idle, _ = await collected("ray", [page("ray-2.60.0/idle__metrics_agent.prom.gz")] * 2)
    for signal in ("training.tasks.failed", "training.tasks.running", "training.workers.alive"):
        assert of(idle, signal) is None
    assert of(idle, "training.jobs.running") == 0


async def test_the_version_is_a_fact():
    first, _ = await collected("ray", [page(DURING)] * 2)
    assert Fact(Entity.of(source="s"), "version", "2.60.0") in first.facts


async def test_the_autoscaler_tells_nodes_only():
    first, _ = await collected("ray", [page("ray-2.60.0/during__metrics_target2.prom")] * 2)
    assert of(first, "training.nodes.alive") == 1
    assert of(first, "training.nodes.pending") == 0


# made up of the names and units in Ray's source: the recorded node had no GPU, no Train run and lost no worker
SOURCE = b"""\
ray_resources{Name="GPU",State="USED"} 2
ray_node_gpus_utilization{GpuIndex="0",GpuUuid="GPU-a",ip="10.0.0.1"} 87
ray_node_gpus_utilization{GpuIndex="1",GpuUuid="GPU-b",ip="10.0.0.1"} 12
ray_train_report_total_blocked_time_s{ray_train_run_name="sft",ray_train_worker_world_rank="0"} %d
ray_train_report_total_blocked_time_s{ray_train_run_name="sft",ray_train_worker_world_rank="1"} %d
ray_node_manager_unexpected_worker_failure_total{Type="SYSTEM_ERROR",Name=""} %d
ray_tasks{State="RUNNING",IsRetry="1",Name="train"} 2
"""


async def test_gpus_checkpoints_and_lost_workers_by_the_names_in_the_source():
    _, second = await collected("ray", [SOURCE % (10, 10, 0), SOURCE % (12, 14, 1)], step=10.0)
    assert of(second, "training.gpu.utilization", gpu="GPU-a") == pytest.approx(0.87)
    assert of(second, "training.gpu.utilization", gpu="GPU-b") == pytest.approx(0.12)
    assert of(second, "training.report.blocked", job="sft") == pytest.approx(0.3), "mean of 2 s and 4 s in 10 s"
    assert of(second, "training.workers.lost", reason="SYSTEM_ERROR") == pytest.approx(0.1)
    assert of(second, "training.tasks.retried") == 2


async def test_gpus_with_an_index_only_are_told_as_the_mean_of_the_node_and_that_is_said():
    # Ray to 2.49
    page = b'ray_actors{State="ALIVE"} 2\n' + b"".join(
        b'ray_node_gpus_utilization{GpuIndex="%d"} %d\n' % row for row in ((0, 91), (1, 4))
    )
    (batch,) = await collected("ray", [page])
    assert of(batch, "training.gpu.utilization") == pytest.approx(0.475)
    assert "2 series have no label GpuUuid, shown without it: GPU busy in training" in batch.health.reason


async def test_tasks_that_others_take_away_are_no_number_below_0_but_may_be_within_a_sum():
    page = b"".join(
        b'ray_tasks{Name="%s",State="%s",IsRetry="0"} %d\n' % row
        for row in ((b"f", b"RUNNING", -1), (b"f", b"PENDING_ARGS", -2), (b"g", b"PENDING_ARGS", 5))
    )
    (batch,) = await collected("ray", [page])
    assert of(batch, "training.tasks.running") is None
    assert of(batch, "training.tasks.pending", reason="PENDING_ARGS") == 3
    assert "tasks running" in batch.health.reason
