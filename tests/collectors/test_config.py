import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.assemble import sources
from collectors.config import (
    Config,
    ConfigError,
    HostSource,
    LangfuseSource,
    MlflowSource,
    NvmlSource,
    PrometheusSource,
    Secret,
    VllmSource,
    load,
    parse,
    schema,
)
from collectors.registry import kinds, source_name, source_of
from collectors.runtime.environment import salt

FIVE_MISTAKES = """
[consol]
node = "a"

[console]
noed = "a"
low_bandwidth = "yes"

[[source]]
kind = "vllm"
ur = "http://127.0.0.1:8000"

[[source]]
kind = "langfus"

[[source]]
kind = "langfuse"
secret_key = "sk-lf-1234"
"""


def test_every_mistake_is_said_at_once_with_line_and_nearest_key():
    with pytest.raises(ConfigError) as caught:
        parse(FIVE_MISTAKES, "config.toml")
    assert caught.value.problems == [
        "config.toml:2: unknown key 'consol'; did you mean 'console'?",
        "config.toml:6: unknown key 'noed'; did you mean 'node'?",
        "config.toml:7: low_bandwidth: Expected 'bool', got 'str'",
        "config.toml:11: unknown key 'ur'; did you mean 'url'?",
        "config.toml:9: url is missing",
        "config.toml:13: no such kind of source: 'langfus'; did you mean 'langfuse'?",
        'config.toml:18: secret_key: do not write a secret here; use { env = "NAME" } or { file = "PATH" }',
    ]
    assert "sk-lf-1234" not in str(caught.value)


def test_a_good_file_is_read_whole(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        '[console]\nnode = "gpu-7"\n[recording]\nring = false\n'
        '[[source]]\nkind = "vllm"\nurl = "http://h:1"\ngpus = [0, "GPU-1"]\n[[source]]\nkind = "nvml"\ninterval = 2\n'
    )
    config = load(file)
    assert config.console.node == "gpu-7"
    assert not config.recording.ring
    assert config.source == (VllmSource(url="http://h:1", gpus=(0, "GPU-1")), NvmlSource(interval=2.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source = 3", "two brackets"),
        ("[[source]]\nkind = 3", "no such kind"),
        ("console = 1", "expected a table"),
        ("= nonsense", "not valid TOML"),
        ("[[source]]\nkind = 'nvml'\ninterval = 0", "interval"),
        ("[[source]]\nkind = 'langfuse'\ntenant_from = 'tag'", "needs tenant_key; set tenant_key = 'team:'"),
        ("[[source]]\nkind = 'langfuse'\ntenant_key = 'team:'", "set tenant_from = 'metadata' or 'tag'"),
    ],
)
def test_nonsense_is_refused_in_words(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text(max_size=200))
def test_arbitrary_text_is_a_configuration_or_a_configuration_error(text):
    try:
        assert isinstance(parse(text), Config)
    except ConfigError as error:
        assert error.problems  # noqa: PT017  either outcome is fine, a third is not


def test_a_missing_file_is_said_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml")


def test_secrets_come_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "value")
    (tmp_path / "key").write_text(" held \n")
    assert Secret(env="A_KEY").read("key") == "value"
    assert Secret(file=str(tmp_path / "key")).read("key") == "held"
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        Secret(env="NOT_SET").read("key")
    with pytest.raises(ConfigError, match="cannot read"):
        Secret(file=str(tmp_path / "no")).read("key")
    with pytest.raises(ConfigError, match="say where it is"):
        Secret().read("key")


def test_the_command_line_switches_everything_else_off():
    environ = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_BASE_URL": "http://lf:3000"}
    config = Config(source=(VllmSource(url="http://a:1"),))
    assert sources(config, ["http://b:2"], environ) == [VllmSource(url="http://b:2")]
    assert sources(config, [], environ) == [
        NvmlSource(),
        HostSource(),
        VllmSource(url="http://a:1"),
        LangfuseSource(url="http://lf:3000"),
    ]
    assert sources(config, [], {}) == [NvmlSource(), HostSource(), VllmSource(url="http://a:1")]


def test_mlflow_is_taken_from_its_own_variables():
    environ = {
        "MLFLOW_TRACKING_URI": "http://ml:5000",
        "MLFLOW_TRACKING_USERNAME": "u",
        "MLFLOW_TRACKING_PASSWORD": "p",
    }
    asked = MlflowSource(url="http://ml:5000", username="u", password=Secret(env="MLFLOW_TRACKING_PASSWORD"))
    assert sources(Config(), [], environ)[2:] == [asked]
    assert sources(Config(source=(MlflowSource(url="http://b"),)), [], environ)[0:2] == [NvmlSource(), HostSource()]
    assert len(sources(Config(source=(MlflowSource(url="http://b"),)), [], environ)) == 3
    assert len(sources(Config(), [], {"MLFLOW_TRACKING_URI": "./mlruns"})) == 2, "a folder of runs is no server"


def test_a_prometheus_server_comes_on_top_of_what_else_is_read():
    kept = PrometheusSource(url="http://p:9090", token=Secret(env="T"))
    written = Config(source=(PrometheusSource(url="http://p:9090/", token=Secret(env="T")),))
    here = [NvmlSource(), HostSource()]
    environ = {"PROMETHEUS_URL": "http://env:9090"}
    named = PrometheusSource(url="http://p:9090")
    assert sources(Config(), [], environ) == [*here, PrometheusSource(url="http://env:9090")]
    assert sources(Config(), [], {"PROMETHEUS_URL": "env:9090"}) == here
    assert sources(Config(), [], environ, "http://p:9090") == [*here, named]
    assert sources(Config(), ["http://a:1"], environ, "http://p:9090") == [VllmSource(url="http://a:1"), named]
    # the keys stand in the configuration; the address on the command line picks them
    assert sources(written, [], environ, "http://p:9090/metrics") == [*here, kept]
    assert sources(written, [], environ) == [*here, kept]
    with pytest.raises(ConfigError, match="--prometheus p:9090"):
        sources(Config(), [], {}, "p:9090")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://h:1", "http://", "http://h:port", "http://[::1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="write it as http://HOST:PORT"):
        sources(Config(), [url], {})


def test_a_source_without_a_name_is_called_by_its_address_and_never_by_its_login():
    assert source_name("vllm", "http://127.0.0.1:8001") == "vllm-8001"
    assert source_name("vllm", "https://gpu7.example/") == "gpu7.example:443"
    source = source_of(VllmSource(url="http://user:secret@h:1/x"))
    assert (source.name, source.address, source.kind, source.layer) == ("h:1", "http://h:1/x", "vllm", "serving")


def test_every_kind_has_a_maker_and_a_schema():
    text = str(schema())
    for kind in kinds():
        assert kind.name in text


def test_the_salt_is_made_once_and_is_nobody_elses_to_read(tmp_path):
    first = salt(tmp_path)
    assert len(first) == 32
    assert salt(tmp_path) == first
    assert (tmp_path / "salt").stat().st_mode & 0o077 == 0
    assert len(salt(tmp_path / "nowhere")) == 32


def test_the_published_schema_is_that_of_the_code():
    published = json.loads((Path(__file__).parents[2] / "docs/schema/config.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema())), "make schemas"


def test_the_path_of_a_missing_file_is_said_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "nope.toml")
    assert caught.value.problems == [f"{tmp_path / 'nope.toml'}: cannot be read: No such file or directory"]


async def test_endpoints_are_read_once_however_they_are_written(tmp_path):
    urls = ["http://127.0.0.1:1/metrics", "HTTP://127.0.0.1:1/?x=1", "http://me:pw@h:2/"]
    asked = sources(Config(), urls, {})
    assert [one.url for one in asked] == ["http://127.0.0.1:1", "http://me:pw@h:2"]
