"""What a refusal says is repeated, short and without keys, and the key that would mend it is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.config import ConfigError, PrometheusSource, Secret, parse
from collectors.doctor.checks import unreadable_secrets
from collectors.prometheus.client import Prometheus
from collectors.prometheus.refusals import MAX_SAID, Access, refusal
from collectors.prometheus.targets import access, replica_labels
from tests.collectors.prometheus.test_client import serving

KEY = {"authorization": "Bearer s3cr3t-token"}
TENANT = {"x-scope-orgid": "team-a"}
SET_TENANT = 'set tenant = "..." of this source (kind prometheus)'
SET_KEY = "it requires a token; set token, or username and password, for this source"
WRONG_KEY = "the token or password is rejected or has expired"
BELOW = 'no Prometheus API at this address; Mimir and others have it below a path: set url = ".../prometheus"'

REFUSALS = [
    (401, b"no org id\n", {}, "unauthorized", f"HTTP 401: no org id; {SET_TENANT}"),
    (401, b"no org id\n", KEY, "unauthorized", f"HTTP 401: no org id; {SET_TENANT}"),
    (
        403,
        b'{"status":"error","error":"tenant not allowed"}',
        TENANT,
        "unauthorized",
        "HTTP 403: tenant not allowed; check tenant = of this source",
    ),
    (
        400,
        b"missing accountID in the path\n",
        {},
        "unauthorized",
        f"HTTP 400: missing accountID in the path; {SET_TENANT}",
    ),
    (401, b"Unauthorized\n", {}, "unauthorized", f"HTTP 401: {SET_KEY}"),
    (401, b"", TENANT, "unauthorized", f"HTTP 401: {SET_KEY}"),
    (401, b"Unauthorized\n", KEY, "unauthorized", f"HTTP 401: {WRONG_KEY}"),
    (
        401,
        b'{"status":"error","error":"authentication error: invalid scope requested"}',
        KEY,
        "unauthorized",
        f"HTTP 401: authentication error: invalid scope requested; {WRONG_KEY}",
    ),
    (403, b"<html><body>log in</body></html>", {}, "unauthorized", f"HTTP 403: {SET_KEY}"),
    (403, b"s3cr3t-token is no good\x1b[2J", KEY, "unauthorized", f"HTTP 403: *** is no good; {WRONG_KEY}"),
    (404, b"404 page not found\n", {}, "misconfigured", f"HTTP 404: {BELOW}"),
    (404, b'{"message":"no such route"}', {}, "misconfigured", f"HTTP 404: no such route; {BELOW}"),
    (429, b"", {}, "slow", "rate limited (429)"),
    (502, b"upstream connect error", {}, "down", "HTTP 502: upstream connect error"),
    (418, b"", {}, "misconfigured", "HTTP 418"),
]


@pytest.mark.parametrize(("status", "body", "headers", "health", "sentence"), REFUSALS)
def test_what_a_refusal_says_is_said(status, body, headers, health, sentence):
    error = refusal(status, body, Access("http://p", headers))
    assert (error.status, error.reason) == (health, sentence)


@settings(derandomize=True, deadline=None)
@given(st.sampled_from((400, 401, 403, 404, 422, 429, 500, 503)), st.binary(max_size=400) | st.text().map(str.encode))
def test_any_refusal_is_one_short_sentence_without_keys(status, body):
    reason = refusal(status, body + b" s3cr3t-token", Access("http://p", KEY)).reason
    assert "s3cr3t" not in reason
    assert reason.isprintable()
    assert len(reason) < MAX_SAID + 200


def source(**keys):
    return PrometheusSource(url="http://p:9090/", **keys)


async def test_tenant_and_headers_are_sent(monkeypatch):
    monkeypatch.setenv("PROXY_KEY", "k")
    given_headers = {"X-Proxy-Key": Secret(env="PROXY_KEY"), "X-Team": "infra"}
    made = access(source(tenant="team-a", headers=given_headers, token=Secret(env="PROXY_KEY")))
    assert made.url == "http://p:9090"
    with serving() as (port, asked):
        server = Prometheus(Access(f"http://127.0.0.1:{port}", made.headers))
        await server.instant("up")
        server.close()
    assert asked[0][1] == "Bearer k"
    assert made.headers == {
        "authorization": "Bearer k",
        "x-scope-orgid": "team-a",
        "x-proxy-key": "k",
        "x-team": "infra",
    }


def test_they_are_read_from_a_configuration():
    text = (
        '[[source]]\nkind = "prometheus"\nurl = "http://p"\ntenant = "a"\nreplica_labels = ["ha"]\n'
        'headers = { X-Team = "infra", X-Key = { env = "NOT_SET" } }\n'
    )
    (one,) = parse(text).source
    assert one == PrometheusSource(
        url="http://p",
        tenant="a",
        replica_labels=("ha",),
        headers={"X-Team": "infra", "X-Key": Secret(env="NOT_SET")},
    )
    assert unreadable_secrets(one) == ["prometheus: headers: the environment variable NOT_SET is not set"]
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        access(one)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"headers": {"Authorization": "Bearer x"}}, "headers: Authorization: do not write a secret here; use"),
        ({"headers": {"X-Api-Key": "x"}}, "do not write a secret here"),
        ({"headers": {"Cookie": "x"}}, "do not write a secret here"),
        ({"headers": {"X Team": "x"}}, "headers: X Team: not the name of a header"),
        ({"headers": {"X-Team": "a\r\nX-Other: b"}}, "headers: x-team: the value has characters"),
        ({"tenant": "a\nb"}, "x-scope-orgid: the value has characters that a header cannot hold"),
        ({"headers": {"X-Team": "caf\u00e9"}}, "the value has characters that a header cannot hold"),
    ],
)
def test_headers_that_cannot_be_are_refused_in_words(keys, said):
    with pytest.raises(ConfigError, match=said):
        access(source(**keys))


def test_replica_labels_that_cannot_be_are_refused_in_words():
    assert replica_labels(source()) == ("replica", "prometheus_replica", "__replica__")
    with pytest.raises(ConfigError, match="cannot be the name of a label"):
        replica_labels(source(replica_labels=('a"} or vector(1)',)))
