"""Rows to calls: what is unknown stays unknown, what is hostile is made harmless, nothing raises."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from collectors.langfuse.rows import (
    ObservationRow,
    Times,
    cost_of,
    read_page,
    read_rows,
    read_traces,
    times_of,
    to_call,
)
from collectors.langfuse.settings import LangfuseSettings
from collectors.runtime.base import SourceError
from tests.collectors.langfuse.langfuse_helpers import CAPTURES, V4, settings

NOW = 1.8e9
TIMES = Times(1000.0, 1001.5, None, 1001.5)


def row(**told: Any) -> ObservationRow:
    base = {"id": "a", "startTime": "2026-11-23T16:57:00.000Z", "endTime": "2026-11-23T16:57:01.500Z"}
    found = next(read_rows([msgspec.Raw(json.dumps({**base, **told}).encode())], metadata=True))
    assert found is not None
    return found


def call(told: dict[str, Any], how: LangfuseSettings | None = None):
    return to_call(row(**told), TIMES, 1002.0, how or settings())


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"totalCost": 0.5, "modelId": "m"}, 0.5),
        ({"totalCost": None}, None),
        ({}, None),
        ({"totalCost": 0, "costDetails": {}}, None),
        ({"totalCost": 0, "modelId": "m", "inputPrice": "6e-7"}, 0.0),
        ({"totalCost": 0, "costDetails": {"total": 0}}, 0.0),
        ({"totalCost": 0.2}, 0.2),
        ({"totalCost": -1}, None),
        ({"calculatedTotalCost": 0.3, "inputPrice": 7.5e-7}, 0.3),
        ({"costDetails": {"total": 0.4}}, 0.4),
        ({"totalCost": 10**400}, None),
        ({"totalCost": "0.25"}, 0.25),
        ({"totalCost": "much"}, None),
        ({"totalCost": "1e39"}, None),
        ({"costDetails": {"input": 0.25, "output": "0.5"}}, 0.75),
        ({"costDetails": {"input": 0.25, "output": None}}, None),
    ],
)
def test_a_cost_that_nobody_knows_is_not_zero(told, cost):
    assert cost_of(row(**told)) == cost


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"usageDetails": {"input": 691, "input_cached_tokens": 690}, "inputUsage": 1381}, (1381, None, 690)),
        ({"usageDetails": {}, "inputUsage": 0, "outputUsage": 0}, (None, None, None)),
        ({"usageDetails": {"input": 7, "output": 0}}, (7, 0, None)),
        ({"inputUsage": 3, "outputUsage": 4}, (3, 4, None)),
        ({"usageDetails": {"input": 1, "cache_creation_input_tokens": 8, "cache_read_input_tokens": 9}}, (18, None, 9)),
        ({"usageDetails": {"input": -5}}, (None, None, None)),
        ({"usageDetails": {"input": 10**400}}, (None, None, None)),
    ],
)
def test_tokens_are_counted_or_unknown(told, tokens):
    found = call(told)
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == tokens


@pytest.mark.parametrize(
    ("type_", "name", "kind"),
    [
        ("GENERATION", "x", "generation"),
        ("EMBEDDING", "x", "embedding"),
        ("RETRIEVER", "x", "retrieval"),
        ("TOOL", "guardrail-tool", "tool"),
        ("GUARDRAIL", "x", "guardrail"),
        ("SPAN", "guardrail.input", "guardrail"),
        ("SPAN", "Guardrails", "guardrail"),
        ("SPAN", "other", "other"),
        ("NEW_THING", "x", "other"),
    ],
)
def test_kinds(type_, name, kind):
    assert call({"type": type_, "name": name}).kind == kind


def test_the_older_name_of_the_model_is_read_too():
    assert call({"providedModelName": "m"}).model == "m"
    assert call({"providedModelName": "m", "model": "n"}).model == "n"


def test_a_negative_time_to_first_token_is_dropped():
    assert call({"timeToFirstToken": -0.2}).ttft is None
    assert call({"timeToFirstToken": 0}).ttft == 0


def test_tenants_are_pseudonyms_that_need_the_salt():
    mine = call({"userId": "ada@example.com", "sessionId": "ada-1"})
    assert mine.tenant == call({"userId": "ada@example.com"}).tenant
    assert len(mine.tenant) == 10
    assert mine.tenant.startswith("u-")
    assert "ada" not in repr(mine)
    assert call({"userId": "ada@example.com"}, settings(salt=b"other")).tenant != mine.tenant
    assert call({"userId": "ada@example.com"}, settings(pseudonyms=False)).tenant == "ada@example.com"
    assert call({"userId": ""}).tenant == ""
    with pytest.raises(ValueError, match="salt"):
        settings(salt=b"")
    assert call({"userId": "ada"}, settings(salt=b"x" * 100)).tenant.startswith("u-")


def test_a_tenant_may_be_a_metadata_value_or_a_tag():
    how = settings(tenant_from="metadata", tenant_key="team", pseudonyms=False)
    assert call({"metadata": {"team": "search", "nested": {"a": 1}}}, how).tenant == "search"
    assert call({"metadata": "a string"}, how).tenant == ""
    tag = settings(tenant_from="tag", tenant_key="team:", pseudonyms=False)
    assert call({"tags": ["x", "team:search"]}, tag).tenant == "search"
    with pytest.raises(ValueError, match="tenant_key"):
        settings(tenant_from="tag")


def test_hostile_names_are_made_harmless():
    bad = "\x1b[31mred\x1b]0;title\x07\u202e\x00[bold]" + "x" * 500
    names = ("id", "traceId", "parentObservationId", "name", "model", "version", "promptName", "level", "traceName")
    found = call({**dict.fromkeys(names, bad), "environment": bad, "promptVersion": bad, "metadata": {"e": bad}},
                 settings(engine_key="e"))  # fmt: skip
    texts = [getattr(found, slot) for slot in found.__slots__ if isinstance(getattr(found, slot), str)]
    assert sum(text.startswith("red[bold]") for text in texts) >= 12
    assert all(text.isprintable() and len(text) <= 200 for text in texts)


@pytest.mark.parametrize(
    ("start", "end", "verdict"),
    [
        ("2026-11-23T16:57:00Z", None, "running"),
        ("2026-11-23T16:57:00Z", "2026-11-23T16:51:59Z", "bad"),
        ("0001-01-01T00:00:00+14:00", "2026-11-23T16:56:59Z", "bad"),
        ("2026-11-23T16:57:00Z", "9999-12-31T23:59:59-14:00", "bad"),
    ],
)
def test_times_that_cannot_be(start, end, verdict):
    assert times_of(row(startTime=start, endTime=end), NOW) == verdict


@pytest.mark.parametrize("end", ["2026-11-23T16:56:59.997Z", "2026-11-23T16:52:30Z"])
def test_a_call_that_ends_before_it_begins_counts_and_its_latency_is_unknown(end):
    told = row(startTime="2026-11-23T16:57:00Z", endTime=end, totalCost=0.5, modelId="m", inputUsage=3)
    times = times_of(told, NOW)
    assert isinstance(times, Times)
    found = to_call(told, times, NOW, settings())
    assert (found.latency, found.cost, found.input_tokens) == (None, 0.5, 3)


def test_a_time_without_a_zone_is_utc():
    found = times_of(row(startTime="1970-02-01T00:00:00", endTime="2026-11-23T00:00:00"), NOW)
    assert found == "bad"
    found = times_of(row(startTime="2026-11-23T00:00:00", endTime="2026-11-23T00:00:01"), NOW)
    assert isinstance(found, Times)
    assert found.start == 1795392000.0


@pytest.mark.parametrize("name", ["obs-v2-generations-1000", "obs-v2-one-trace", "obs-v2-group-io"])
def test_prompts_and_answers_are_never_decoded(name):
    body = (V4 / f"{name}.json").read_bytes()
    found = list(read_rows(read_page(body).data))
    assert found
    for one in found:
        assert one is not None
        assert not {"input", "output", "metadata", "status_message"} & set(one.__struct_fields__)


def test_no_prompt_of_a_v1_row_reaches_the_call():
    body = (CAPTURES / "langfuse-4.16.0-legacy-mode" / "observations-v1-page1.json").read_bytes()
    assert b'"input":"synthetic"' in body
    for one in read_rows(read_page(body).data):
        assert one is not None
        assert "synthetic" not in repr(one)
        assert "synthetic" not in repr(to_call(one, TIMES, 0.0, settings()))


KEYS = sorted({field.encode_name for field in msgspec.structs.fields(ObservationRow)} | {"metadata", "input"})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(told=st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8))
@examples(max_examples=150, derandomize=True, deadline=None)
def test_arbitrary_values_in_known_fields_never_raise(told):
    base = {"id": "a", "startTime": "2026-11-23T16:57:00Z", "endTime": "2026-11-23T16:57:01Z"}
    for one in read_rows([msgspec.Raw(json.dumps({**base, **told}).encode())], metadata=True):
        if one is not None and isinstance(times_of(one, NOW), Times):
            how = settings(engine_key="k", tenant_from="metadata", tenant_key="t")
            found = to_call(one, TIMES, 0.0, how)
            assert found.cost is None or found.cost >= 0
            assert found.input_tokens is None or found.input_tokens >= 0


@given(body=st.binary(max_size=80) | ANYTHING.map(lambda value: json.dumps(value).encode()))
@examples(max_examples=150, derandomize=True, deadline=None)
def test_arbitrary_bytes_are_no_row_or_a_refusal(body):
    try:
        page = read_page(b'{"data":[' + body + b"]}")
    except SourceError:
        return
    assert all(one is None or one.id is not None for one in read_rows(page.data))
    assert all(trace.id is not None for trace in read_traces(page))
