import ipaddress

import httpx
import pytest

from collectors.runtime.base import SourceError
from collectors.runtime.client import RoutedTransport
from collectors.runtime.proxies import Proxies, ThisNode, exception, is_own

PROXY = "http://proxy.corp:3128"


def proxies(modules=(), local=lambda host: host == "127.0.0.1", direct=(), **environ):
    return Proxies(environ, direct, has_module=lambda name: name in modules, is_local=local)


def test_a_server_elsewhere_goes_through_the_proxy_of_its_scheme_and_this_node_never_does():
    set_to = proxies(http_proxy=PROXY, ALL_PROXY="https://other:1")
    assert set_to.proxy_for("http://server:8000/metrics") == PROXY
    assert set_to.proxy_for("https://server/metrics") == "https://other:1"
    assert set_to.proxy_for("http://127.0.0.1:8000/metrics") is None
    assert proxies(direct={"169.254.169.254"}, http_proxy=PROXY).proxy_for("http://169.254.169.254/latest") is None
    assert proxies().proxy_for("http://server") is None


def test_small_letters_come_first_and_an_empty_one_switches_off():
    assert proxies(http_proxy="a:1", HTTP_PROXY="b:1").proxy_for("http://server") == "http://a:1"
    assert proxies(http_proxy="", HTTP_PROXY="b:1").proxy_for("http://server") is None
    assert proxies(HTTP_PROXY="b:1", REQUEST_METHOD="GET").proxy_for("http://server") is None


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "http://anything", True),
        ("corp.example", "http://a.corp.example", True),
        (".corp.example", "http://corp.example", True),
        ("*.corp.example", "http://a.corp.example", True),
        ("corp.example", "http://notcorp.example", False),
        ("localhost,10.0.0.0/8", "http://10.1.2.3:8000", True),
        ("localhost 10.0.0.0/8", "http://11.1.2.3:8000", False),
        ("fd00::/8", "http://[fd12::1]:8000", True),
        ("[fd12::1]", "http://[fd12::1]:8000", True),
        ("[fd00::]/8,a", "http://[fd12::1]:8000", True),
        ("[fd12::1]:9", "http://[fd12::1]:8000", False),
        ("server:8000", "http://server:8000", True),
        ("server:8001", "http://server:8000", False),
        ("server:x,[,]:,:::,/", "http://other", False),
    ],
)
def test_exceptions_are_names_addresses_and_networks_of_both_families(no_proxy, url, direct):
    found = proxies(http_proxy=PROXY, NO_PROXY=no_proxy).proxy_for(url)
    assert (found is None) is direct


@pytest.mark.parametrize(
    ("value", "said", "mend"),
    [
        ("socks5://me:s3cret@p:1", "SOCKS proxy (socks5://p:1)", "pip install"),
        ("socks://p:1", "unknown type (socks://p:1)", "socks5://"),
        ("http://p:x", "is not a valid proxy", "http://HOST:PORT"),
        ("http://[::1", "is not a valid proxy", "http://HOST:PORT"),
        ("http://", "is not a valid proxy", "http://HOST:PORT"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_sentence_and_costs_only_the_servers_behind_it(value, said, mend):
    found = proxies(ALL_PROXY=value)
    (problem,) = found.problems
    assert said in problem.problem
    assert mend in problem.mend
    with pytest.raises(SourceError, match="ALL_PROXY") as caught:
        found.proxy_for("http://server")
    assert caught.value.status == "misconfigured"
    assert "s3cret" not in str(caught.value)
    assert found.proxy_for("http://127.0.0.1:8000") is None


def test_socks_is_used_where_its_packages_are_there():
    found = proxies(modules=("socksio", "socks"), ALL_PROXY="socks5://p:1")
    assert (found.problems, found.proxy_for("http://server")) == ([], "socks5://p:1")


def test_this_node_is_its_loopback_its_addresses_and_its_names(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.1.1 box.corp box # me\n192.0.2.7 far\nnonsense\n\n")
    node = ThisNode(hosts, "Node.Example")
    own = "localhost a.localhost 127.0.0.1 127.9.9.9 ::1 0.0.0.0 ::ffff:127.0.0.1 box box.corp node node.example"
    assert [host for host in own.split() if not node.has(host)] == []
    assert not node.has("far")
    assert not node.has("192.0.2.7")
    assert not node.has("2001:db8::7")
    assert ThisNode(tmp_path / "none", "n").has("n")


def test_an_address_of_documentation_is_nobodys_and_an_entry_keeps_its_port():
    assert not is_own(ipaddress.ip_address("198.51.100.9"))
    assert exception("10.0.0.5:80").holds("10.0.0.5", 80)
    assert not exception("10.0.0.5:80").holds("10.0.0.5", 81)


async def test_the_client_hands_on_what_is_wrong_and_other_addresses_are_asked(monkeypatch):
    def sent(request):
        return httpx.Response(200, text="here")

    transport = RoutedTransport(proxies(ALL_PROXY="socks://p:1"), httpx.Limits())
    await transport.direct.aclose()
    monkeypatch.setattr(transport, "direct", httpx.MockTransport(sent))
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://127.0.0.1:1/")).text == "here"
        with pytest.raises(SourceError, match="unknown type"):
            await client.get("http://server/")
