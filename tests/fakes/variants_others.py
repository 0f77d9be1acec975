"""Pages of exporters, proxies, guardrails and stores as installations give them, with the right answers."""

from tests.fakes.variants import START, Variant, gpu

DCGM = (
    Variant(
        "a GPU that shares the machine's memory: none of its own, which is no size of 0",
        "dcgm",
        [
            f"DCGM_FI_DEV_GPU_TEMP{{{gpu(0)}}} 45\n"
            f"DCGM_FI_DEV_FB_USED{{{gpu(0)}}} 0\nDCGM_FI_DEV_FB_FREE{{{gpu(0)}}} 0\n"
            f"DCGM_FI_DEV_FB_USED{{{gpu(1)}}} 0\nDCGM_FI_DEV_FB_FREE{{{gpu(1)}}} 81000\n"
        ],
        {
            ("gpu.temperature", "gpu=GPU-n1-0"): 45,
            ("gpu.memory.total", "gpu=GPU-n1-0"): None,
            ("gpu.memory.used", "gpu=GPU-n1-0"): None,
            ("gpu.memory.used", "gpu=GPU-n1-1"): 0,
            ("gpu.memory.total", "gpu=GPU-n1-1"): 81000 * 2**20,
        },
    ),
    Variant(
        "no Hostname, pod labels, values with exponents",
        "dcgm",
        [
            f"DCGM_FI_DEV_GPU_TEMP{{{gpu(0, Hostname='', pod='p', namespace='ml', container='c')}}} 6.1e+01\n"
            f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{gpu(0, Hostname='', pod='p')}}} 1.23456789e+12\n"
        ],
        {("gpu.temperature", "gpu=GPU-n1-0"): 61, ("gpu.energy", "gpu=GPU-n1-0"): 1234567890},
    ),
    Variant(
        "the UUID relabelled away: no GPU is guessed, and it is said",
        "dcgm",
        ['DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n1"} 61\nDCGM_FI_DEV_GPU_TEMP{gpu="1",Hostname="n1"} 70\n'],
        {},
        says=("UUID",),
        only="gpu.",
    ),
    Variant(
        "two nodes on one federated page, both with a gpu 0, of exporters with different names",
        "dcgm",
        [
            f"DCGM_FI_DEV_POWER_USAGE{{{gpu(0, 'n1', instance='n1:9400')}}} 300\n"
            f"DCGM_FI_DEV_GPU_TEMP{{{gpu(0, 'n1', instance='n1:9400')}}} 50\n"
            f"DCGM_FI_DEV_BOARD_POWER_WATTS{{{gpu(0, 'n2', instance='n2:9400')}}} 400\n"
            f"DCGM_FI_DEV_GPU_TEMP_CELSIUS{{{gpu(0, 'n2', instance='n2:9400')}}} 60\n"
        ],
        {
            ("gpu.power.draw", "gpu=GPU-n1-0"): 300,
            ("gpu.power.draw", "gpu=GPU-n2-0"): 400,
            ("gpu.temperature", "gpu=GPU-n1-0"): 50,
            ("gpu.temperature", "gpu=GPU-n2-0"): 60,
        },
    ),
    Variant(
        "a box of two kinds of GPU: one has no enforced limit, only the one that was set",
        "dcgm",
        [
            f"DCGM_FI_DEV_ENFORCED_POWER_LIMIT{{{gpu(0)}}} 700\nDCGM_FI_DEV_POWER_MGMT_LIMIT{{{gpu(0)}}} 650\n"
            f"DCGM_FI_DEV_POWER_MGMT_LIMIT{{{gpu(1)}}} 300\n"
        ],
        {("gpu.power.limit", "gpu=GPU-n1-0"): 700, ("gpu.power.limit", "gpu=GPU-n1-1"): 300},
    ),
    Variant(
        "an operator's CSV lists old and new names of the same fields: counted once",
        "dcgm",
        [
            f"DCGM_FI_DEV_RETIRED_SBE{{{gpu(0)}}} 2\nDCGM_FI_DEV_RETIRED_DBE{{{gpu(0)}}} 1\n"
            f"DCGM_FI_DEV_PAGE_RETIRED_SBE_TOTAL{{{gpu(0)}}} 2\nDCGM_FI_DEV_PAGE_RETIRED_DBE_TOTAL{{{gpu(0)}}} 1\n"
            f"DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL{{{gpu(0)}}} {n}\n"
            f"DCGM_FI_DEV_NVLINK_REPLAY_ERROR_TOTAL{{{gpu(0)}}} {n}\n"
            for n in (0, 50)
        ],
        {("gpu.pages.retired", "gpu=GPU-n1-0"): 3, ("gpu.nvlink.errors", "gpu=GPU-n1-0"): 10},
    ),
    Variant(
        "the 1.x namespace, with uuid and decimals",
        "dcgm",
        [
            'dcgm_gpu_temp{gpu="0",uuid="GPU-x"} 45\ndcgm_power_usage{gpu="0",uuid="GPU-x"} 123.456\n'
            'dcgm_fb_used{gpu="0",uuid="GPU-x"} 1024\ndcgm_fb_free{gpu="0",uuid="GPU-x"} 3072\n'
        ],
        {
            ("gpu.temperature", "gpu=GPU-x"): 45,
            ("gpu.power.draw", "gpu=GPU-x"): 123.456,
            ("gpu.memory.total", "gpu=GPU-x"): 4096 * 2**20,
            ("gpu.memory.usage", "gpu=GPU-x"): 0.25,
        },
    ),
    Variant(
        "one GPU falls off the bus: its lines end, the other's go on, nothing jumps",
        "dcgm",
        [
            *(
                "".join(
                    f"DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{gpu(n)}}} 7\nDCGM_FI_DEV_GPU_TEMP{{{gpu(n)}}} 50\n"
                    for n in (0, 1)
                ),
            )
            * 2,
            f"DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{{gpu(0)}}} 7\nDCGM_FI_DEV_GPU_TEMP{{{gpu(0)}}} 51\n",
        ],
        {("gpu.pcie.replays", "gpu=GPU-n1-0"): 0, ("gpu.temperature", "gpu=GPU-n1-0"): 51},
        step=10.0,
    ),
    Variant(
        "a field that one GPU does not support stands as the driver's blank, beside one that has it",
        "dcgm",
        [
            f"DCGM_FI_DEV_MEMORY_TEMP{{{gpu(0)}}} 9223372036854775794\nDCGM_FI_DEV_MEMORY_TEMP{{{gpu(1)}}} 71\n"
            f"DCGM_FI_DEV_FAN_SPEED{{{gpu(0)}}} 2147483634\n"
        ],
        {("gpu.memory.temperature", "gpu=GPU-n1-1"): 71, ("gpu.memory.temperature", "gpu=GPU-n1-0"): None},
        only="gpu.memory.temperature",
    ),
)

SPEND = "litellm_spend_metric_total"

GOVERNANCE = (
    Variant(
        "LiteLLM writes a label that it does not know as None: that is no model",
        "litellm",
        [
            f'{SPEND}{{model="gpt-4o",team="a"}} {0.01 * n}\n{SPEND}{{model="None",team="a"}} {0.02 * n}\n'
            f'{SPEND}{{model="",team="b"}} {0.01 * n}\n'
            for n in (0, 1)
        ],
        {
            ("spend.proxy.rate", "model=gpt-4o"): 1.2,
            ("spend.proxy.rate", "model=None"): None,
            ("spend.proxy.rate", ""): 3.6,
        },
        step=30.0,
        says=("model",),
    ),
    Variant(
        "dollars in floating point that wiggle in the last bit: no restart, no spend",
        "litellm",
        [f'{SPEND}{{model="m"}} {text}\n' for text in ("0.30000000000000004", "0.3", "0.30000000000000004", "0.3")],
        {("spend.proxy.rate", "model=m"): 0},
        step=30.0,
        no_event=("restart", "anew"),
        silent=("several servers or workers",),
    ),
    Variant(
        "tiny prices with exponents",
        "litellm",
        [f'{SPEND}{{model="m"}} {text}\n' for text in ("1.05e-05", "9.0e-05", "1.7e-04")],
        {("spend.proxy.rate", "model=m"): (1.7e-4 - 1.05e-5) / 60 * 3600},
        step=30.0,
    ),
    Variant(
        "NeMo through an OpenTelemetry exporter with scope labels and target_info",
        "nemo",
        [
            'target_info{service_name="rails"} 1\n'
            f'guardrails_requests_total{{otel_scope_name="nemo",otel_scope_version="0.24"}} {10 * n}\n'
            f'guardrails_requests_blocked_total{{otel_scope_name="nemo",rail_type="input"}} {2 * n}\n'
            for n in (1, 2)
        ],
        {("guardrail.requests", ""): 2, ("guardrail.hits", "rail=input"): 0.4},
    ),
    Variant(
        "a pushgateway's page: a group is pushed by job, push times beside it",
        "nemo",
        [
            f'push_time_seconds{{instance="",job="rails"}} {START + 5 * n}\n'
            f'guardrails_requests_total{{instance="",job="rails"}} {10 * n}\n'
            for n in (1, 2)
        ],
        {("guardrail.requests", ""): 2},
        silent=("several servers",),
    ),
)

DATA = (
    Variant(
        "a Milvus pod is replaced behind a federated page: one server, nothing said of several",
        "milvus",
        [f'milvus_querynode_entity_num{{instance="10.0.0.{n}:9091",node_id="{n}"}} {10 * n}\n' for n in (1, 2)],
        {("data.vectors", ""): 20},
        silent=("several servers",),
    ),
    Variant(
        "a Milvus cluster: nodes and collections are parts, replicas of labels add",
        "milvus",
        [
            f'milvus_querynode_entity_num{{node_id="5",collection_id="1",segment_state="Sealed"}} 1000\n'
            f'milvus_querynode_entity_num{{node_id="7",collection_id="1",segment_state="Sealed"}} 2.5e+03\n'
            f'milvus_proxy_search_vectors_count{{node_id="5",database="default"}} {100 * n}\n'
            f'milvus_proxy_search_vectors_count{{node_id="6",database="default"}} {300 * n}\n'
            for n in (1, 2)
        ],
        {("data.vectors", ""): 3500, ("data.search.vectors.rate", ""): 80},
    ),
    Variant(
        "several roles of Milvus on one federated page: told as one, and said",
        "milvus",
        [
            'process_resident_memory_bytes{instance="q1:9091"} 4e9\n'
            'process_resident_memory_bytes{instance="q2:9091"} 5e9\n'
            'milvus_querynode_entity_num{instance="q1:9091"} 10\nmilvus_querynode_entity_num{instance="q2:9091"} 20\n'
        ],
        {("data.vectors", ""): 30},
        says=("several servers on this page", "q1:9091"),
    ),
    Variant(
        "a quota state that is no flag",
        "milvus",
        [
            'milvus_rootcoord_quota_states{quota_states="DenyToWrite",db="a"} 1\n'
            'milvus_rootcoord_quota_states{quota_states="DenyToRead"} 3\n'
        ],
        {("data.quota.exhausted", "reason=DenyToWrite"): 1, ("data.quota.exhausted", "reason=DenyToRead"): None},
        says=("impossible values",),
    ),
    Variant(
        "Ray: two nodes' GPUs by UUID, and a node that idles with 0 GPUs",
        "ray",
        [
            'ray_node_gpus_utilization{ip="10.0.0.1",GpuIndex="0",GpuUuid="GPU-a"} 40\n'
            'ray_node_gpus_utilization{ip="10.0.0.2",GpuIndex="0",GpuUuid="GPU-b"} 80\n'
            'ray_resources{Name="GPU",State="USED",NodeAddress="10.0.0.1"} 1\n'
            'ray_resources{Name="GPU",State="USED",NodeAddress="10.0.0.2"} 0.5\n'
            'ray_resources{Name="GPU",State="AVAILABLE",NodeAddress="10.0.0.1"} 0.0\n'
        ],
        {
            ("training.gpu.utilization", "gpu=GPU-a"): 0.4,
            ("training.gpu.utilization", "gpu=GPU-b"): 0.8,
            ("training.gpus.used", ""): 1.5,
            ("training.gpus.free", ""): 0,
        },
    ),
    Variant(
        "Ray: a raylet's counter of lost workers that nobody had so far is counted from nothing",
        "ray",
        [
            'ray_node_mem_total{Version="2.60.0"} 1e10\nray_tasks{State="RUNNING",IsRetry="0"} 2\n',
            'ray_node_mem_total{Version="2.60.0"} 1e10\nray_tasks{State="RUNNING",IsRetry="0"} 2\n'
            'ray_node_manager_unexpected_worker_failure_total{Type="OOM"} 3\n',
        ],
        {("training.tasks.running", ""): 2, ("training.workers.lost", "reason=OOM"): 0.2},
        step=15.0,
    ),
)

OTHERS = (*DCGM, *GOVERNANCE, *DATA)
