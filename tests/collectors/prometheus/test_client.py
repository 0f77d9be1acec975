"""What is said when a Prometheus server cannot be asked: recorded refusals, TLS on loopback, warnings, deadlines."""

import http.server
import json
import ssl
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from collectors.prometheus import client, refusals
from collectors.prometheus.client import Access, Prometheus
from collectors.runtime.base import SourceError
from tests.fakes.pages import page

TLS = Path(__file__).parent / "tls"
RECORDED = "prometheus-2.42.0-vllm/"
UP = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1,"1"]}]}}'


@contextmanager
def serving(body=UP, status=200, *, certificate=None, content_type="application/json", hold=None):
    """Run a server on loopback that always answers the same; yields its port and the requests it gets."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("authorization")))
            if hold is not None:
                hold.wait(10.0)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else body.encode())

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


async def said(url, **access):
    """Return status and sentence of a query that fails."""
    server = Prometheus(Access(url, access.pop("headers", {}), **access))
    try:
        with pytest.raises(SourceError) as caught:
            await server.instant("up")
    finally:
        server.close()
    return caught.value.status, caught.value.reason


REFUSALS = [
    (
        "unauthorized.txt",
        401,
        "unauthorized",
        "HTTP 401: it requires a token; set token, or username and password, for this source",
    ),
    ("timed_out.json", 503, "slow", "the server gave up on the query: it took too long"),
    (
        "too_many_samples.json",
        422,
        "slow",
        "the query is too large for the server's limit of samples (--query.max-samples)",
    ),
    (
        "unknown_path.txt",
        404,
        "misconfigured",
        "HTTP 404: no Prometheus API at this address; Mimir and others have it below a path: "
        'set url = ".../prometheus"',
    ),
    (
        "bad_query.json",
        400,
        "misconfigured",
        'HTTP 400: invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
    ),
]


@pytest.mark.parametrize(("name", "status", "health", "sentence"), REFUSALS)
async def test_a_recorded_refusal_is_one_sentence_and_is_not_tried_again(name, status, health, sentence):
    with serving(page(RECORDED + name), status) as (port, asked):
        assert await said(f"http://127.0.0.1:{port}") == (health, sentence)
    assert len(asked) == 1


TROUBLES = [
    ("server.pem", "other.pem", "TLS: {ca} does not match the server's certificate"),
    ("server.pem", "", "TLS: an unknown authority made the server's certificate; set ca = to that authority's file"),
    ("expired.pem", "ca.pem", "TLS: the server's certificate has expired"),
    ("elsewhere.pem", "ca.pem", "TLS: the server's certificate is for another host name"),
    ("server.pem", "none.pem", "there is no file {ca}, which ca = names"),
    ("server.pem", "README.md", "{ca} holds no certificate (PEM), but is set as ca ="),
]


@pytest.mark.parametrize(("certificate", "authority", "sentence"), TROUBLES)
async def test_what_is_wrong_with_tls_is_said(certificate, authority, sentence, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    ca = str(TLS / authority) if authority else ""
    with serving(certificate=certificate) as (port, asked):
        told = await said(f"https://127.0.0.1:{port}", ca=ca)
    assert told == ("misconfigured", sentence.format(ca=ca[:120]))
    assert asked == []


async def test_tls_where_none_is_spoken_is_said():
    with serving() as (port, _):
        told = await said(f"https://127.0.0.1:{port}")
    assert told == ("misconfigured", "TLS: the server does not speak it on this port; write http://")


async def test_an_own_authority_and_a_token_let_one_in(monkeypatch, tmp_path):
    # a .netrc for the host must not take the place of the token
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(certificate="server.pem") as (port, asked):
        server = Prometheus(Access(f"https://127.0.0.1:{port}", {"authorization": "Bearer t"}, str(TLS / "ca.pem")))
        assert [row.metric for row in await server.instant("up")] == [{"job": "a"}]
        server.close()
    ((path, key),) = asked
    assert path == "/api/v1/query?query=up&timeout=10s"
    assert key == "Bearer t"


async def test_nobody_there_is_said():
    with serving() as (port, _):
        pass
    assert await said(f"http://127.0.0.1:{port}") == ("down", "connection refused: nothing listens there")


async def test_an_answer_that_takes_too_long_is_slow():
    hold = threading.Event()
    with serving(hold=hold) as (port, asked):
        told = await said(f"http://127.0.0.1:{port}", timeout_s=0.05)
        hold.set()
    assert told == ("slow", "no answer within 0.05 s")
    assert len(asked) == 1


async def test_a_query_that_hangs_is_given_up_and_the_next_is_not_asked():
    release, asked = threading.Event(), []

    def connect(*_):
        asked.append(1)
        release.wait(10.0)

    server = Prometheus(Access("http://p", {}, timeout_s=-1.95), connect=connect)
    with pytest.raises(SourceError, match="no answer within"):
        await server.instant("up")
    with pytest.raises(SourceError, match="has no response yet") as caught:
        await server.instant("up")
    release.set()
    server.close()
    assert (caught.value.status, asked) == ("slow", [1])


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"[]",
        b'{"status":"success"}',
        b'{"data":{"result":[1]}}',
        b'{"data":{"result":"x"}}',
        b"\xff",
    ],
)
async def test_what_is_no_answer_of_a_prometheus_is_said(body):
    with serving(body) as (port, _):
        told = await said(f"http://127.0.0.1:{port}")
    assert told == ("misconfigured", "not a Prometheus response: is this its address?")


def test_an_answer_without_an_end_is_left():
    class Endless:
        closed = False

        def iter_content(self, chunk_size=1, decode_unicode=False):
            while True:
                yield b"x" * chunk_size

        def close(self):
            self.closed = True

    answer = Endless()
    with pytest.raises(ValueError, match="larger than") as caught:
        client.bounded(cast("Any", answer), 60.0, 1_000_000)
    assert answer.closed
    error = refusals.in_words(caught.value, Access("http://p", {}))
    assert error.reason == "the response is larger than 64 MB: is this a Prometheus server?"


async def test_what_the_server_warns_of_is_told_until_it_no_longer_does():
    body = page(RECORDED + "warnings.json")
    with serving(body) as (port, _):
        server = Prometheus(Access(f"http://127.0.0.1:{port}", {}))
        assert [row.metric["job"] for row in await server.instant("up")] == ["vllm"]
        (warning,) = server.warned
        server.close()
    assert warning.startswith('remote_read: error sending request: Post "http://127.0.0.1:1/read": dial tcp')


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"status":"success","warnings":["a\\"b","c\\u001b[2J"],"data":{"result":[]}}', ('a"b', "c")),
        (b'{"status":"success","isPartial":true,"data":{"result":[]}}', ("the result is not whole",)),
        (b'{"data":{"result":[' + b"1," * 100_000 + b']},"warnings":["late"]}', ("late",)),
        (b'{"warnings":[broken', ()),
        (json.dumps({"data": {"result": [{"metric": {"warnings": "x"}}]}}).encode(), ()),
    ],
)
def test_warnings_are_found_at_either_end_of_an_answer(body, told):
    assert refusals.warnings(body) == told


async def test_a_server_of_this_node_is_asked_without_the_environments_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving() as (port, asked):
        server = Prometheus(Access(f"http://127.0.0.1:{port}", {}))
        assert [series.metric for series in await server.instant("up")] == [{"job": "a"}]
        server.close()
    assert len(asked) == 1


async def test_a_proxy_that_cannot_be_used_is_said(monkeypatch):
    monkeypatch.setenv("http_proxy", "socks://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    server = Prometheus(Access("http://192.0.2.9:9090", {}))
    with pytest.raises(SourceError, match="http_proxy is a proxy of an unknown type"):
        await server.instant("up")
    server.close()
