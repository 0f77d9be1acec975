"""Milvus 2.3: the metrics page of the vector store, in the families of a recorded 2.3.5 (times in milliseconds).

The model knows whole searches, segments, rows and compaction; parts of a search, writes and memory are missing.
"""

from collections.abc import Mapping

from aistack_top.simulator.histogram import Histogram
from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.servers.text import PageWriter, labels

COLLECTION = "470667085785071943"
NODE_ID = "1"
START_BEFORE_S = 86_400.0
"""The store was started a day before the simulation begins."""

_IN_COLLECTION = {"collection_id": COLLECTION, "node_id": NODE_ID}
_SEALED = labels(**_IN_COLLECTION, indexed_field_count="1", partition_id="470667085785071944", segment_state="Sealed")


def metrics(node: SimulatedNode) -> bytes:
    """Return the page of a node's vector store now."""
    store, now = node.gateway.store, node.now
    search = store.search
    asked, busy = search.queue(now), search.servers
    page = PageWriter(go=True)
    _gauge(page, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", _started(node))
    ms = Histogram(tuple(round(edge * 1000.0, 6) for edge in search.latency.edges))
    ms.counts, ms.total = search.latency.counts, search.latency.total * 1000.0
    page.histogram(
        "milvus_proxy_sq_latency",
        "latency of search or query successfully",
        {labels(node_id=NODE_ID, query_type="search"): ms},
        0.0,
    )
    page.samples(
        "milvus_proxy_req_count",
        "counter",
        "count of operation executed",
        {
            labels(function_name="Search", node_id=NODE_ID, status=status): float(count)
            for status, count in _searches(search.requests, search.errors).items()
        },
    )
    of = labels(node_id=NODE_ID)
    vectors = "counter of vectors successfully searched"
    page.samples("milvus_proxy_search_vectors_count", "counter", vectors, {of: search.requests - search.errors})
    inserted = "counter of vectors successfully inserted"
    page.samples("milvus_proxy_insert_vectors_count", "counter", inserted, {of: store.inserted})
    for name, says, value in (
        ("read_task_ready_len", "number of ready read tasks in readyQueue", max(0, asked - busy)),
        ("read_task_unsolved_len", "number of unsolved read tasks in unsolvedQueue", 0),
        ("read_task_concurrency", "number of concurrent executing read tasks in QueryNode", min(asked, busy)),
    ):
        page.samples(f"milvus_querynode_{name}", "gauge", says, {of: value})
    segments = "number of segments loaded, clustered by its collection, partition, state and # of indexed fields"
    page.samples("milvus_querynode_segment_num", "gauge", segments, {_SEALED: store.segments})
    rows = "number of entities which can be searched/queried, clustered by collection, partition and state"
    page.samples("milvus_querynode_entity_num", "gauge", rows, {_SEALED: store.rows})
    page.samples(
        "milvus_datacoord_compaction_task_num",
        "gauge",
        "Number of compaction tasks currently",
        {
            labels(compaction_type="MixCompaction", node_id=NODE_ID, status="executing"): float(store.compacting),
            labels(compaction_type="MixCompaction", node_id=NODE_ID, status="completed"): float(store.compactions),
        },
    )
    states = ("DiskQuotaExhausted", "MemoryQuotaExhausted", "TimeTickLongDelay")
    quota = {labels(quota_states=state): 0.0 for state in states}
    page.samples("milvus_rootcoord_quota_states", "gauge", "The quota states of cluster", quota)
    return page.encode()


def _started(node: SimulatedNode) -> float:
    return node.epoch - node.lived_s - START_BEFORE_S


def _searches(requests: int, errors: int) -> Mapping[str, int]:
    return {"total": requests, "success": requests - errors} | ({"fail": errors} if errors else {})


def _gauge(page: PageWriter, name: str, says: str, value: float) -> None:
    page.samples(name, "gauge", says, {(): value})
