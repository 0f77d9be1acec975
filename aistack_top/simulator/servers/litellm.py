"""LiteLLM 1.109: the gateway's metrics page; families and labels of a recorded 1.102, guardrails as 1.109 has them.

Labels of people and keys are ``None``, as on a proxy with one key. The engines' models have no price in LiteLLM's
table, so what it spends stands at 0.
"""

from collections.abc import Mapping

from aistack_top.simulator.node import SimulatedNode
from aistack_top.simulator.request import Outcome
from aistack_top.simulator.servers.text import Labels, PageWriter, labels
from aistack_top.simulator.services import Rail

STATUS: Mapping[Outcome, str] = {
    Outcome.OK: "200",
    Outcome.BLOCKED_INPUT: "400",
    Outcome.BLOCKED_OUTPUT: "400",
}
"""What the client gets; every other end is a 500."""

_NOBODY = {"api_key_alias": "None", "end_user": "None", "hashed_api_key": "None", "user": "default_user_id"}
_HOOKS = {"input": "pre_call", "output": "post_call"}


def metrics(node: SimulatedNode) -> bytes:
    """Return the page of a node's gateway now."""
    page, began = PageWriter(), node.epoch - node.lived_s
    start = "Start time of the process since unix epoch in seconds."
    page.samples("process_start_time_seconds", "gauge", start, {(): began})
    _requests(page, node, began)
    _tokens(page, node, began)
    _rails(page, {"input": node.gateway.input_rail, "output": node.gateway.output_rail}, began)
    return page.encode()


def _requests(page: PageWriter, node: SimulatedNode, began: float) -> None:
    total: dict[Labels, float] = {}
    failed: dict[Labels, float] = {}
    for (tenant, model), account in node.gateway.accounts.items():
        for outcome, count in account.outcomes.items():
            if not count or outcome is Outcome.PENDING:
                continue
            status = STATUS.get(outcome, "500")
            about = {**_NOBODY, "team": tenant, "team_alias": tenant, "requested_model": model}
            about |= {"api_provider": "hosted_vllm", "route": "/v1/chat/completions"}
            of = labels(**about, status_code=status)
            total[of] = total.get(of, 0.0) + count
            if status != "200":
                kind = "HTTPException" if status == "400" else "Hosted_vllm.InternalServerError"
                of = labels(**about, exception_status=status, exception_class=kind)
                failed[of] = failed.get(of, 0.0) + count
    says = "Total number of requests made to the proxy server - track number of client side requests"
    page.counter("litellm_proxy_total_requests_metric", says, total, began)
    says = "Total number of failed responses from proxy - the client did not get a success response from litellm proxy"
    page.counter("litellm_proxy_failed_requests_metric", says, failed, began)


def _tokens(page: PageWriter, node: SimulatedNode, began: float) -> None:
    spent: dict[Labels, float] = {}
    asked: dict[Labels, float] = {}
    answered: dict[Labels, float] = {}
    for (tenant, model), account in node.gateway.accounts.items():
        of = labels(
            **_NOBODY, api_provider="hosted_vllm", model=model, requested_model=model, team=tenant, team_alias=tenant
        )
        spent[of], asked[of], answered[of] = 0.0, account.prompt_tokens, account.output_tokens
    page.counter("litellm_spend_metric", "Total spend on LLM requests", spent, began)
    page.counter("litellm_input_tokens_metric", "Total number of input tokens from LLM requests", asked, began)
    page.counter("litellm_output_tokens_metric", "Total number of output tokens from LLM requests", answered, began)


def _rails(page: PageWriter, rails: Mapping[str, Rail], began: float) -> None:
    counts: dict[Labels, float] = {}
    times = {}
    for name, rail in rails.items():
        for status, histogram in (("success", rail.passed), ("intervened", rail.stopped)):
            of = {"guardrail_name": name, "hook_type": _HOOKS[name], "status": status}
            counts[labels(**of)] = sum(histogram.counts)
            times[labels(**of, error_type="none")] = histogram
    page.counter("litellm_guardrail_requests", "Total number of guardrail invocations", counts, began)
    page.histogram("litellm_guardrail_latency_seconds", "Latency of guardrail execution", times, began)
