"""Pages of vLLM as installations give them, with the right answers."""

from tests.fakes.variants import START, Variant, histogram

RUN, WAIT, KV = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"
TOKENS, TTFT, PROMPT = "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds", "vllm:prompt_tokens_total"
M = 'engine="0",model_name="m"'
RUNNING, GENERATED = "serving.requests.running", "serving.generation_tokens.rate"


def ttft(labels: str, n: int) -> str:
    """Return a TTFT histogram: of n observations all between 0.25 and 0.5 s."""
    return histogram(TTFT, labels, {"0.25": 0, "0.5": n, "1.0": n, "+Inf": n}, 0.3 * n)


PAGES = (
    Variant(
        "values with exponents, signs and a negative zero, as Go and Java write them",
        "vllm",
        [
            f"{RUN}{{{M}}} 3e+00\n{WAIT}{{{M}}} -0\n{KV}{{{M}}} 4.2E-1\n{TOKENS}{{{M}}} 1.0e+06\n",
            f"{RUN}{{{M}}} 3e+00\n{WAIT}{{{M}}} -0\n{KV}{{{M}}} 4.2E-1\n{TOKENS}{{{M}}} 1.001e+06\n",
        ],
        {
            (RUNNING, ""): 3,
            ("serving.requests.waiting", ""): 0,
            ("serving.kv_cache.usage", ""): 0.42,
            (GENERATED, ""): 200,
        },
    ),
    Variant(
        "spaces within braces, a trailing comma, tabs, CR LF, labels in another order on the second page",
        "vllm",
        [
            f'{RUN}{{ engine = "0" , model_name="m" }}\t3\r\n{TOKENS}{{engine="0",model_name="m",}} 100\r\n',
            f'{RUN}{{engine="0",model_name="m",}} 4\r\n{TOKENS}{{model_name="m",engine="0"}} 600\r\n',
        ],
        {(RUNNING, ""): 4, (GENERATED, ""): 100},
        silent=("could not be read", "duplicate"),
    ),
    Variant(
        "a model name with quotes, braces, a backslash, a line feed and a hash",
        "vllm",
        [f'{RUN}{{engine="0",model_name="a\\"}} 9 # {{b\\\\c\\nd"}} 3\n'],
        {(RUNNING, ""): 3},
        silent=("could not be read",),
    ),
    Variant(
        "one server through a federation: no HELP, untyped, times in milliseconds, job and instance as labels",
        "vllm",
        [
            f'# TYPE {RUN} untyped\n{RUN}{{{M},instance="a:8000",job="vllm"}} 3 {int((START + at) * 1000)}\n'
            f'# TYPE {TOKENS} untyped\n{TOKENS}{{{M},instance="a:8000",job="vllm"}} {at * 20} {int(START + at)}000\n'
            for at in (0, 5)
        ],
        {(RUNNING, ""): 3, (GENERATED, ""): 20},
    ),
    Variant(
        "two servers on one federated page",
        "vllm",
        [
            "".join(
                f'{RUN}{{{M},instance="{host}:8000",job="vllm"}} {run}\n'
                f'{KV}{{{M},instance="{host}:8000",job="vllm"}} {kv}\n'
                f'{TOKENS}{{{M},instance="{host}:8000",job="vllm"}} {rate * at}\n'
                for host, run, kv, rate in (("a", 3, 0.2, 10), ("b", 40, 0.9, 100))
            )
            for at in (0, 5)
        ],
        {
            (RUNNING, "engine=s/a:8000"): 3,
            (RUNNING, "engine=s/b:8000"): 40,
            (RUNNING, ""): None,
            ("serving.kv_cache.usage", "engine=s/a:8000"): 0.2,
            ("serving.kv_cache.usage", "engine=s/b:8000"): 0.9,
            (GENERATED, "engine=s/a:8000"): 10,
            (GENERATED, "engine=s/b:8000"): 100,
        },
    ),
    Variant(
        "two servers with two data-parallel ranks each on one federated page",
        "vllm",
        [
            "".join(
                f'{RUN}{{engine="{rank}",model_name="m",instance="{host}:8000"}} {run}\n'
                for host, rank, run in (("a", 0, 1), ("a", 1, 2), ("b", 0, 3), ("b", 1, 4))
            )
        ],
        {
            (RUNNING, "engine=s/a:8000/0"): 1,
            (RUNNING, "engine=s/a:8000/1"): 2,
            (RUNNING, "engine=s/b:8000/0"): 3,
            (RUNNING, "engine=s/b:8000/1"): 4,
        },
    ),
    Variant(
        "two servers of different versions on one federated page: each has its own name for the KV cache",
        "vllm",
        [
            f'{RUN}{{{M},instance="a:1"}} 1\n{KV}{{{M},instance="a:1"}} 0.2\n'
            f'{RUN}{{{M},instance="b:1"}} 2\nvllm:gpu_cache_usage_perc{{{M},instance="b:1"}} 0.7\n'
        ],
        {("serving.kv_cache.usage", "engine=s/a:1"): 0.2, ("serving.kv_cache.usage", "engine=s/b:1"): 0.7},
    ),
    Variant(
        "two servers on one page, whose start times change places: nobody restarted",
        "vllm",
        [
            f'process_start_time_seconds{{instance="{one}:1"}} {starts[one]}\n'
            f'process_start_time_seconds{{instance="{two}:1"}} {starts[two]}\n'
            f'{TOKENS}{{{M},instance="a:1"}} {100 + 50 * at}\n{TOKENS}{{{M},instance="b:1"}} {500 + 50 * at}\n'
            for starts in ({"a": 900_000.0, "b": 950_000.0},)
            for at, (one, two) in enumerate((("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")))
        ],
        {(GENERATED, "engine=s/a:1"): 10, (GENERATED, "engine=s/b:1"): 10},
        no_event=("restart",),
        silent=("several servers or workers",),
    ),
    Variant(
        "a deprecated name beside the new one: told once",
        "vllm",
        [f"{RUN}{{{M}}} 1\n{KV}{{{M}}} 0.5\nvllm:gpu_cache_usage_perc{{{M}}} 0.5\n"],
        {("serving.kv_cache.usage", ""): 0.5},
    ),
    Variant(
        "a summary in place of the TTFT histogram, as Rust's metrics library writes it",
        "vllm",
        [
            f'{RUN}{{{M}}} 3\n# TYPE {TTFT} summary\n{TTFT}{{{M},quantile="0.5"}} 0.2\n'
            f'{TTFT}{{{M},quantile="0.99"}} 0.9\n{TTFT}_sum{{{M}}} 30\n{TTFT}_count{{{M}}} 100\n'
        ]
        * 2,
        {(RUNNING, ""): 3, ("serving.ttft", ""): None},
        says=("TTFT",),
    ),
    Variant(
        "two models of one engine with different bucket edges: no quantile, and said; the rest goes on",
        "vllm",
        [
            f'{RUN}{{engine="0",model_name="a"}} 1\n{RUN}{{engine="0",model_name="b"}} 2\n'
            + histogram(TTFT, 'engine="0",model_name="a"', {"0.25": 0, "0.5": n, "+Inf": n}, 0.3 * n)
            + histogram(TTFT, 'engine="0",model_name="b"', {"0.1": 0, "1.0": n, "+Inf": n}, 0.3 * n)
            for n in (0, 50)
        ],
        {(RUNNING, ""): 3, ("serving.ttft", ""): None},
        says=("different buckets",),
    ),
    Variant(
        "the same edges written in two ways (1 and 1.0) are the same",
        "vllm",
        [
            histogram(TTFT, 'engine="0",model_name="a"', {"0.25": 0, "0.5": n, "1": n, "+Inf": n}, 0.3 * n)
            + histogram(
                TTFT, 'engine="0",model_name="b"', {"0.25": 0, "5e-1": n, "1.0": n, "inf": n, "+Inf": n}, 0.3 * n
            ).replace(f'{TTFT}_bucket{{engine="0",model_name="b",le="+Inf"}} {n}\n', "")
            for n in (0, 50)
        ],
        {("serving.ttft.p50", ""): 0.375, ("serving.ttft.count", ""): 100, ("serving.ttft.mean", ""): 0.3},
    ),
    Variant(
        "an upgrade in place changes the edges, and nothing tells the restart: a gap, then the new ones alone",
        "vllm",
        [
            histogram(TTFT, M, {"0.25": 0, "0.5": 100, "+Inf": 100}, 30),
            histogram(TTFT, M, {"0.25": 0, "0.5": 160, "+Inf": 160}, 48),
            histogram(TTFT, M, {"0.1": 0, "2.0": 500, "+Inf": 500}, 500),
            histogram(TTFT, M, {"0.1": 0, "2.0": 540, "+Inf": 540}, 540),
        ],
        {("serving.ttft.count", ""): 40, ("serving.ttft.mean", ""): 1.0},
    ),
    Variant(
        "a histogram without _sum, its buckets in any order",
        "vllm",
        [
            "".join(
                f'{TTFT}_bucket{{{M},le="{edge}"}} {count}\n'
                for edge, count in (("+Inf", n), ("0.5", n), ("1.0", n), ("0.25", 0))
            )
            for n in (0, 50)
        ],
        {("serving.ttft.p50", ""): 0.375, ("serving.ttft.mean", ""): None},
    ),
    Variant(
        "OpenMetrics: _created series beside the counters, and a unit",
        "vllm",
        [
            f"# TYPE vllm:generation_tokens counter\n# UNIT {TTFT} seconds\n{TOKENS}{{{M}}} {n}.0\n"
            f"vllm:generation_tokens_created{{{M}}} 999999.5\n{TTFT}_created{{{M}}} 999999.5\n{ttft(M, n)}# EOF\n"
            for n in (0, 50)
        ],
        {(GENERATED, ""): 10, ("serving.ttft.count", ""): 50},
        content_type="application/openmetrics-text; version=1.0.0",
    ),
    Variant(
        "a restart so short that the new counter already stands higher: no rate across it",
        "vllm",
        [
            f"process_start_time_seconds 900000\n{TOKENS}{{{M}}} 100\n",
            f"process_start_time_seconds 900000\n{TOKENS}{{{M}}} 150\n",
            f"process_start_time_seconds 1000009\n{TOKENS}{{{M}}} 9000\n",
        ],
        {(GENERATED, ""): None},
        events=("restart",),
    ),
    Variant(
        "the page after that tells the new process's own rate",
        "vllm",
        [
            f"process_start_time_seconds 900000\n{TOKENS}{{{M}}} 100\n",
            f"process_start_time_seconds 1000004\n{TOKENS}{{{M}}} 9000\n",
            f"process_start_time_seconds 1000004\n{TOKENS}{{{M}}} 9500\n",
        ],
        {(GENERATED, ""): 100},
        events=("restart",),
    ),
    Variant(
        "a second rank appears: rank 0 is told under its new name only, and no rate jumps",
        "vllm",
        [
            f"{RUN}{{{M}}} 3\n{TOKENS}{{{M}}} 1000\n",
            f"{RUN}{{{M}}} 3\n{TOKENS}{{{M}}} 1500\n",
            *(
                f'{RUN}{{{M}}} 4\n{RUN}{{engine="1",model_name="m"}} 5\n{TOKENS}{{{M}}} {n}\n'
                f'{TOKENS}{{engine="1",model_name="m"}} {n - 2000}\n'
                for n in (2000, 2500)
            ),
        ],
        {
            (RUNNING, "engine=s/0"): 4,
            (RUNNING, "engine=s/1"): 5,
            (RUNNING, ""): None,
            (GENERATED, "engine=s/0"): 100,
            # it was known to stand at nothing ten seconds ago
            (GENERATED, "engine=s/1"): 50,
        },
    ),
    Variant(
        "one rank of two is replaced: its counters begin anew, the other's rate goes on",
        "vllm",
        [
            f'{TOKENS}{{{M}}} {n}\n{TOKENS}{{engine="1",model_name="m"}} {m}\n'
            for n, m in ((1000, 5000), (1500, 5500), (2000, 40), (2500, 290))
        ],
        {(GENERATED, "engine=s/0"): 100, (GENERATED, "engine=s/1"): 50},
        no_event=("restarted",),
    ),
    Variant(
        "KV usage NaN while the engine loads, another gauge beside it",
        "vllm",
        [f"{RUN}{{{M}}} 0\n{KV}{{{M}}} NaN\n"],
        {(RUNNING, ""): 0, ("serving.kv_cache.usage", ""): None},
    ),
    Variant(
        "HTTP statuses as whole numbers (500), not as classes (5xx)",
        "vllm",
        [
            f"{RUN}{{{M}}} 1\n"
            + "".join(
                f'http_requests_total{{handler="/v1/completions",method="{method}",status="{status}"}} {count}\n'
                for method, status, count in (
                    ("POST", "200", 80 * n),
                    ("POST", "400", 10 * n),
                    ("POST", "503", 10 * n),
                    ("GET", "404", 900 * n),
                )
            )
            for n in (1, 2)
        ],
        {("serving.http.errors", ""): 0.2, ("serving.http.server_errors", ""): 0.1, ("serving.http.failed", ""): 2},
    ),
    Variant(
        "sums of several worker processes fall by the last bit when a file is added: nothing restarted",
        "vllm",
        [
            f"{RUN}{{{M}}} 1\n{TOKENS}{{{M}}} {tokens!r}\n{histogram(TTFT, M, {'0.5': 40, '+Inf': 40}, total)}"
            for tokens, total in (
                (100.0, 0.30000000000000004),
                (150.0, 0.3),
                (200.0, 0.30000000000000004),
                (250.0, 0.3),
            )
        ],
        {(GENERATED, ""): 10},
        no_event=("restart", "anew"),
        silent=("several servers or workers",),
    ),
)

FURTHER = (
    Variant(
        "the one server behind a federated page gets another address: still one engine, and no rate across it",
        "vllm",
        [
            f'{RUN}{{{M},instance="10.0.0.{host}:8000"}} {run}\n'
            f'{TOKENS}{{{M},instance="10.0.0.{host}:8000"}} {tokens}\n'
            for host, run, tokens in ((1, 3, 9000), (1, 3, 9100), (2, 1, 50), (2, 1, 150))
        ],
        {(RUNNING, ""): 1, (RUNNING, "engine=s/10.0.0.2:8000"): None, (GENERATED, ""): 10},
    ),
    Variant(
        "one of two servers leaves a federated page: the other keeps its name",
        "vllm",
        [
            f'{RUN}{{{M},instance="a:1"}} 3\n{RUN}{{{M},instance="b:1"}} 4\n',
            f'{RUN}{{{M},instance="a:1"}} 5\n',
        ],
        {(RUNNING, "engine=s/a:1"): 5, (RUNNING, ""): None, (RUNNING, "engine=s/b:1"): None},
    ),
    Variant(
        "a worker of Dynamo: vLLM's names with its own labels, beside those of Dynamo",
        "vllm",
        [
            f'dynamo_component_requests_total{{dynamo_component="backend"}} 9\n'
            f'{RUN}{{dynamo_component="backend",dynamo_namespace="d",engine="0",model="m",model_name="m"}} 2\n'
            f'{TOKENS}{{dynamo_component="backend",engine="0",model_name="m"}} {100 * n}\n'
            for n in (0, 1)
        ],
        {(RUNNING, ""): 2, (GENERATED, ""): 20},
    ),
    Variant(
        "a federated page that also holds another server's start time, which moves: vLLM did not restart",
        "vllm",
        [
            f'process_start_time_seconds{{instance="prometheus:9090",job="prometheus"}} {start}\n'
            f'process_start_time_seconds{{instance="a:8000",job="vllm"}} 900000\n'
            f'{TOKENS}{{{M},instance="a:8000",job="vllm"}} {tokens}\n'
            for start, tokens in ((800_000, 100), (999_999, 150), (999_999, 200))
        ],
        {(GENERATED, ""): 10},
        no_event=("restart",),
    ),
    Variant(
        "one of two servers on a page restarts: the other's rate is not lost for longer than a page, no rate is wrong",
        "vllm",
        [
            f'process_start_time_seconds{{instance="a:1"}} 900000\n'
            f'process_start_time_seconds{{instance="b:1"}} {start}\n'
            f'{TOKENS}{{{M},instance="a:1"}} {a}\n{TOKENS}{{{M},instance="b:1"}} {b}\n'
            for start, a, b in ((900_000, 100, 800), (900_000, 150, 850), (1_000_008, 200, 20), (1_000_008, 250, 120))
        ],
        {(GENERATED, "engine=s/a:1"): 10, (GENERATED, "engine=s/b:1"): 20},
        events=("restart",),
    ),
    Variant(
        "the same series twice on a page: the last is taken, and said",
        "vllm",
        [f"{RUN}{{{M}}} 3\n{RUN}{{{M}}} 5\n"],
        {(RUNNING, ""): 5},
        says=("duplicate",),
    ),
    Variant(
        "finished reasons that are missing or None are told without a reason",
        "vllm",
        [
            f"{RUN}{{{M}}} 0\n"
            f'vllm:request_success_total{{{M},finished_reason="stop"}} {50 * n}\n'
            f'vllm:request_success_total{{{M},finished_reason="None"}} {10 * n}\n'
            for n in (0, 1)
        ],
        {
            ("serving.requests.finished", "reason=stop"): 10,
            ("serving.requests.finished", ""): 2,
            ("serving.requests.finished", "reason=None"): None,
        },
    ),
    Variant(
        "counters without _total are not those that are read: said to be missing, and no number made up",
        "vllm",
        [
            f"{RUN}{{{M}}} 1\n# TYPE vllm:generation_tokens counter\nvllm:generation_tokens{{{M}}} {n}\n"
            for n in (0, 50)
        ],
        {(RUNNING, ""): 1, (GENERATED, ""): None},
        says=("output tokens",),
    ),
)

VLLM = (*PAGES, *FURTHER)
