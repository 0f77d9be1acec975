"""No two sources have one name, and none whose name is its own gets another."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.assemble import given as names_by_address
from collectors.assemble import sources
from collectors.config import (
    Config,
    ConfigError,
    HostSource,
    LangfuseSource,
    PrometheusSource,
    VllmSource,
    parse,
)
from collectors.registry import kind as kind_named
from collectors.source_names import duplicates, name_of, repeated, source_name, with_unique_names

WORDS = st.text(string.ascii_lowercase, max_size=3)
RAY = kind_named("ray").config
URLS = st.builds(
    "http://{}:{}/{}".format,
    st.sampled_from(("127.0.0.1", "localhost", "10.0.0.5", "gw")),
    st.sampled_from((80, 8000, 8001)),
    st.lists(WORDS, max_size=3).map("/".join),
)
SOURCES = st.one_of(
    st.builds(VllmSource, url=URLS, name=st.sampled_from(("", "x", "host", "prices"))),
    st.builds(RAY, url=URLS, name=st.sampled_from(("", "x"))),
    st.builds(PrometheusSource, url=URLS, tenant=WORDS),
    st.just(HostSource()),
)


def names(*made):
    return [name_of(one) for one in with_unique_names(made)]


@settings(derandomize=True, deadline=None)
@given(st.lists(SOURCES, max_size=6))
def test_no_two_sources_have_one_name(made):
    found = names(*made)
    assert len(set(found)) == len(found)
    before = [name_of(one) for one in made]
    for old, new in zip(before, found, strict=True):
        # an engine's name and its rank are parted by a slash
        assert "/" not in new.removeprefix(old)
        if before.count(old) == 1 and old not in ("host", "prices"):
            assert new == old


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (("http://127.0.0.1:9/a", "http://127.0.0.1:9/b", "http://127.0.0.1:9/c"), ("a", "b", "c")),
        (("http://127.0.0.1:9/a/metrics", "http://127.0.0.1:9/b/"), ("a", "b")),
        (("http://127.0.0.1:9", "http://127.0.0.1:9/b"), ("", "b")),
        (("http://127.0.0.1:9/eu/east/v1", "http://127.0.0.1:9/eu/west/v1"), ("east", "west")),
        (("http://127.0.0.1:9/a/x", "http://127.0.0.1:9/a/y", "http://127.0.0.1:9/b/x"), ("a:x", "a:y", "b:x")),
        (("http://127.0.0.1:9/probe?target=a", "http://127.0.0.1:9/probe?target=b"), ("target=a", "target=b")),
        (("http://127.0.0.1:9", "http://[::1]:9"), ("127.0.0.1", "::1")),
    ],
)
def test_servers_behind_one_gateway_are_told_apart_by_the_shortest_part_of_the_path(urls, expected):
    assert names(*(VllmSource(url=url) for url in urls)) == [
        f"vllm-9@{word}" if word else "vllm-9" for word in expected
    ]


def test_one_name_given_twice_is_told_apart_by_the_address():
    assert names(VllmSource(url="http://a:1", name="x"), VllmSource(url="http://a:2", name="x")) == ["x@1", "x@2"]
    assert names(PrometheusSource(url="http://a"), PrometheusSource(url="http://b")) == ["prometheus@a", "prometheus@b"]
    assert names(LangfuseSource(), LangfuseSource(url="http://lf")) == ["langfuse@cloud.langfuse.com", "langfuse@lf"]
    assert names(*(PrometheusSource(url="http://a", tenant=name) for name in "tu")) == ["prometheus@t", "prometheus@u"]
    assert names(VllmSource(url="http://g", name="x"), RAY(url="http://g", name="x")) == ["x@vllm", "x@ray"]


def test_a_name_that_this_program_uses_itself_is_told_apart():
    assert names(VllmSource(url="http://a:1", name="host"), HostSource()) == ["host@1", "host"]
    assert names(VllmSource(url="http://a:1", name="links")) == ["links@1"]


def test_a_clash_that_nothing_resolves_is_refused_with_both_lines():
    twice = '[[source]]\nkind = "vllm"\nurl = "http://a:1"\n[[source]]\nkind = "vllm"\nurl = "http://a:1/metrics"\n'
    with pytest.raises(ConfigError) as caught:
        parse(twice, "c.toml")
    said = "this source and that of line 1 have the same address and name,  'a:1'; give each a name of its own"
    assert caught.value.problems == [f"c.toml:4: {said}, or delete one"]
    named = twice.replace('kind = "vllm"\nurl = "http://a:1/m', 'name = "b"\nkind = "vllm"\nurl = "http://a:1/m')
    assert [one.name for one in parse(named).source] == ["", "b"]


def test_a_configuration_is_read_with_unique_names():
    text = "".join(f'[[source]]\nkind = "vllm"\nurl = "http://gw/{path}"\n' for path in "ab")
    config = parse(text)
    assert [one.name for one in config.source] == ["gw:80@a", "gw:80@b"]
    assert names_by_address(config) == {}, "a scraped gw:80 is none of the two for certain"
    one = Config(source=(VllmSource(url="http://gw/a"),))
    assert names_by_address(one) == {("gw", 80): "gw:80"}


def test_addresses_of_the_command_line_are_told_apart_and_one_server_is_read_once():
    urls = ["http://127.0.0.1:8000/a", "http://127.0.0.1:8000/b", "http://localhost:8000/a/"]
    assert repeated(urls) == {"http://localhost:8000/a/": "http://127.0.0.1:8000/a"}
    assert [name_of(one) for one in sources(Config(), urls, {})] == ["vllm-8000@a", "vllm-8000@b"]
    assert sources(Config(), ["http://h:1", "http://h:1"], {}) == [VllmSource(url="http://h:1")]


def test_a_second_prometheus_server_does_not_take_the_place_of_a_configured_one():
    config = Config(source=(PrometheusSource(url="http://east"),))
    found = [one for one in sources(config, [], {}, "http://west") if isinstance(one, PrometheusSource)]
    assert [(one.name, one.url) for one in found] == [
        ("prometheus@east", "http://east"),
        ("prometheus@west", "http://west"),
    ]


def test_sources_of_one_kind_name_and_address_are_found():
    one = LangfuseSource(url="http://lf")
    assert duplicates([one, HostSource(), LangfuseSource(url="http://lf/")]) == [(2, 0)]
    assert duplicates([one, LangfuseSource(url="http://lf", name="second")]) == []
    assert source_name("vllm", "http://localhost:80/x") == "vllm-80"
