"""Milvus 2.3.5 as a real server said it, idle, while an index was built, and in a search load."""

import pytest

from aistack_top.model.tick import Bound, Quantiles
from tests.fakes.pages import collected, of, page

SEARCHES = [f"milvus-2.3.5/search{number}__metrics.gz" for number in (1, 2, 3)]


async def test_a_search_load_in_numbers_taken_from_the_pages_by_hand():
    last = (await collected("milvus", [page(name) for name in SEARCHES]))[-1]
    # requests counted at arrival: 5389 -> 6251 in 10 s; query vectors 21,544 -> 28,432
    assert of(last, "data.search.rate") == pytest.approx(86.2)
    assert of(last, "data.search.vectors.rate") == pytest.approx(688.8)
    latency = of(last, "data.search.latency")
    assert isinstance(latency, Quantiles)
    assert latency.count == 861
    # milliseconds on the page; of 861, 334 took up to 4 ms and 689 up to 8; 773 up to 16 and 839 up to 32
    # cut off to whole milliseconds: up to 4 means below 5
    assert latency.p50 == pytest.approx(0.006087, rel=1e-3)
    assert latency.p95 == pytest.approx(0.027897, rel=1e-3)
    assert latency.p99 == pytest.approx(0.054424, rel=1e-3)
    assert latency.mean == pytest.approx(7.0 / 861 + 0.0005)
    assert of(last, "data.search.index_time").mean == pytest.approx(5.090 / 861 + 0.0005)
    assert of(last, "data.search.queue_time").p95 == Bound("below", 0.002)


async def test_what_failed_before_we_looked_is_no_failure_now():
    last = (await collected("milvus", [page(name) for name in SEARCHES]))[-1]
    assert of(last, "data.failures", reason="Search") == 0


async def test_segments_memory_and_lag():
    first, _, _ = await collected("milvus", [page(name) for name in SEARCHES])
    assert of(first, "data.segments") == 1
    assert of(first, "data.segments.growing") is None
    assert of(first, "data.vectors") == 20_000
    assert of(first, "data.memory.used") == pytest.approx(327.9e6, rel=1e-3)
    assert of(first, "data.search.waiting") == 0
    assert 0 < of(first, "data.freshness.lag") < 1
    assert of(first, "data.index_builds", reason="in-progress") == 0
    assert of(first, "data.quota.exhausted", reason="MemoryQuotaExhausted") == 0


async def test_an_idle_server_has_no_latency_and_no_rate_of_nothing():
    for batch in await collected("milvus", [page("milvus-2.3.5/idle__metrics.gz")] * 2):
        assert of(batch, "data.search.latency") is None
        assert of(batch, "data.search.rate") is None
        assert of(batch, "data.memory.used") > 100e6


# made up of the names in the source of 2.6: the recorded server compacted nothing, and refused nothing
SOURCE = b"""\
milvus_datacoord_compaction_task_num{node_id="-1",compaction_type="MixCompaction",status="executing"} -1
milvus_datacoord_compaction_task_num{node_id="3",compaction_type="MixCompaction",status="executing"} 3
milvus_datacoord_compaction_task_num{node_id="-1",compaction_type="MixCompaction",status="pending"} 5
milvus_proxy_req_count{function_name="Search",status="total",db_name="a",collection_name="c"} %d
milvus_proxy_req_count{function_name="HybridSearch",status="total",db_name="a",collection_name="c"} %d
milvus_proxy_req_count{function_name="Insert",status="rejected",db_name="a",collection_name="c"} %d
milvus_querynode_segment_num{segment_state="Growing",collection_id="1"} 2
milvus_querynode_segment_num{segment_state="Sealed",collection_id="1"} 7
milvus_rootcoord_quota_states{quota_states="MemoryQuotaExhausted",db_name="a"} 1
"""


async def test_newer_labels_compactions_and_an_exhausted_quota_by_the_names_in_the_source():
    _, second = await collected("milvus", [SOURCE % (10, 0, 0), SOURCE % (60, 10, 5)], step=10.0)
    assert of(second, "data.compactions", reason="MixCompaction") == 2
    assert of(second, "data.search.rate") == pytest.approx(6.0)
    assert of(second, "data.failures", reason="Insert") == pytest.approx(0.5)
    assert (of(second, "data.segments"), of(second, "data.segments.growing")) == (9, 2)
    assert of(second, "data.quota.exhausted", reason="MemoryQuotaExhausted") == 1


async def test_sizes_below_nothing_are_no_numbers_and_a_part_below_nothing_may_be_right():
    page = b"""\
milvus_querynode_entity_num{segment_state="Sealed"} -182000
milvus_querynode_entity_num{segment_state="Growing"} 12000
milvus_querynode_segment_num{segment_state="Sealed"} 5
milvus_querynode_segment_num{segment_state="Growing"} -2
milvus_querynode_consume_tt_lag_ms{node_id="3"} -250
"""
    (batch,) = await collected("milvus", [page])
    assert of(batch, "data.vectors") is None
    assert of(batch, "data.freshness.lag") is None
    assert of(batch, "data.segments") == 3
    assert of(batch, "data.segments.growing") is None
    assert (
        "are not shown (below 0, or a share or flag above 1): segments without index, vectors, read lag"
        in batch.health.reason
    )
