import json
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest

from aistack_top.measure.clock import VirtualClock
from aistack_top.model.entity import Entity
from aistack_top.model.tick import Fact, Health, Link
from aistack_top.store.facts import Facts
from collectors.config import LangfuseSource, configured
from collectors.discovery.candidates import ScanResult, ServerCandidate, UnreachableServer
from collectors.discovery.collector import DiscoveryCollector, FeedMembership, Matcher
from collectors.doctor import checks as doctor
from collectors.doctor.checks import Check
from collectors.doctor.permissions import ProbeRoots, capabilities, hides_processes
from collectors.gpu_owners.proof import HIDDEN_PIDS
from collectors.procfs.processes import Process
from collectors.registry import source_of
from collectors.runtime.base import Source
from collectors.runtime.environment import NO_STATE
from collectors.vllm import collector as vllm

PUBLISHED = json.loads(Path("docs/schema/doctor.json").read_text(encoding="utf-8"))
PAGE = Path("fixtures/captures/vllm-0.33.0-metrics.prom").read_bytes()
FIVE = """
[console]
nod = "x"

[[source]]
kind = "vlm"

[[source]]
kind = "vllm"
url = 8000

[[source]]
kind = "langfuse"
secret_key = "sk-lf-written-here"

[[source]]
kind = "langfuse"
name = "second"
public_key = { env = "NOT_SET_ANYWHERE" }
secret_key = { file = "/nonexistent/key" }

[[source]]
kind = "vllm"
url = "http://127.0.0.1:1"
"""


def health(source, status="ok", reason="", kind="vllm"):
    return Health(source, kind, "serving", status, reason)


def test_every_mistake_is_told_at_once_with_its_mend_and_what_is_right_is_used(tmp_path, monkeypatch):
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    file = tmp_path / "config.toml"
    file.write_text(FIVE)
    config, checks = doctor.configuration(file, named=True)
    assert [(check.outcome, check.said.rpartition(":")[2].strip()) for check in checks[:4]] == [
        ("failed", "unknown key 'nod'"),
        ("failed", "'vlm'"),
        ("failed", "Expected 'str', got 'int'"),
        ("failed", "do not write a secret here"),
    ]
    assert f"{file}:3:" in checks[0].said
    assert ["second: public_key" in checks[4].said, "second: secret_key" in checks[5].said] == [True, True]
    assert all(check.mend for check in checks)
    assert "sk-lf-written-here" not in str(checks)
    assert [source.name for source in config.source] == ["second", ""]
    assert doctor.exit_code(checks, [health("host")], frozenset()) == 2


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("[spend]\ngpu_hour = -2", "write a number, more than 0"),
        ("[[source]]\nkind = 'vllm'\nurl = 'http://h:1'\ngpus = 0", "write a list in brackets, such as [0]"),
        ("[[source]]\nkind = 'vllm'\nurl = 8000", "write text in quotes"),
        ("[console]\nlow_bandwidth = 'yes'", "write true or false"),
        ("[spend]\nmanaged = 3", "write a table in braces"),
        ("[[source]]\nkind = 'vllm'", "see 'aistack-top sources' for the keys of each kind"),
    ],
)
def test_a_value_of_the_wrong_kind_is_mended_in_the_words_of_the_file(tmp_path, text, mend):
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert [check.mend for check in doctor.configuration(file, named=True)[1]] == [mend]


def test_a_file_that_nobody_named_may_be_absent_and_one_that_was_may_not(tmp_path):
    absent = tmp_path / "none.toml"
    assert doctor.configuration(absent, named=False)[1][0].outcome == "ok"
    (check,) = doctor.configuration(absent, named=True)[1]
    assert (check.outcome, bool(check.mend)) == ("failed", True)


def test_a_good_file_is_ok(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[[source]]\nkind = "vllm"\nurl = "http://127.0.0.1:1"\n')
    config, (check,) = doctor.configuration(file, named=True)
    assert (check.outcome, len(config.source)) == ("ok", 1)


@pytest.mark.parametrize(
    ("environ", "outcome"),
    [
        ({}, "missing"),
        ({"LANGFUSE_PUBLIC_KEY": "a"}, "failed"),
        ({"LANGFUSE_PUBLIC_KEY": "a", "LANGFUSE_SECRET_KEY": "s3cret"}, "ok"),
    ],
)
def test_half_of_a_pair_of_keys_is_a_mistake_and_none_is_not(environ, outcome):
    checks = doctor.environment(environ)
    assert checks[0].outcome == outcome
    assert "s3cret" not in str(checks)


def test_no_gpu_is_missing_on_a_machine_without_one_and_failed_on_one_with_it_or_where_it_was_asked_for(tmp_path):
    down = [health("nvml", "down", "no driver\x1b[2J", kind="nvml")]
    (bare,) = doctor.sources(down, frozenset(), tmp_path)
    assert (bare.outcome, "\x1b" in bare.said) == ("missing", False)
    assert doctor.sources(down, frozenset({"nvml"}), tmp_path)[0].outcome == "failed"
    (tmp_path / "bus/pci/devices/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "bus/pci/devices/0000:01:00.0/vendor").write_text("0x10de\n")
    assert doctor.sources(down, frozenset(), tmp_path)[0].outcome == "failed"


def test_a_cloud_that_nobody_named_may_keep_its_metadata_closed():
    shut = [health("cloud", "unauthorized", "HTTP 403", kind="cloud")]
    assert doctor.sources(shut, frozenset())[0].outcome == "missing"
    assert doctor.sources(shut, frozenset({"cloud"}))[0].outcome == "failed"
    assert not doctor.cloud(shut, "aws")
    (off,) = doctor.cloud([], "gcp")
    (none,) = doctor.cloud([], "")
    assert ("discovery is off" in off.said, 'provider = "gcp"' in off.mend) == (True, True)
    assert (none.outcome, "no termination notices" in none.said) == ("missing", True)


def test_what_never_answered_in_time_is_not_ok():
    never = Health("a", "vllm", "serving", "slow", "no complete response within 5 s", None)
    assert [check.outcome for check in doctor.sources([never, health("b", "slow")], frozenset())] == ["failed", "ok"]


def test_every_trouble_of_a_source_has_a_mend():
    for status in ("down", "stale", "unauthorized", "misconfigured"):
        (check,) = doctor.sources([health("a", status, "why")], frozenset())
        assert (check.outcome, check.said, bool(check.mend)) == ("failed", f"{status}: why", True)


async def test_what_was_discovered_is_told_and_so_is_what_cannot_be_read():
    seen = ScanResult(
        tuple(
            ServerCandidate(f"http://127.0.0.1:{port}", kind, process)
            for port, kind, process in (
                (1, "vllm", Process(7, 1, 1, 0, (), None)),
                (2, "vllm", Process(8, 1, 1, 0, (), None)),
                (3, "", None),
            )
        ),
        (UnreachableServer("vllm", 9, "a loopback: start it with --host 0.0.0.0"),),
        12,
    )
    answers = {1: httpx.Response(200, content=PAGE)}
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: answers.get(request.url.port, httpx.Response(404)))
    )

    class Reads:
        source = source_of(configured("vllm", url="http://127.0.0.1:1"))

    async def run(look):
        return look()

    kinds = [Matcher("vllm", "/metrics", vllm.fingerprint, lambda url: cast("Any", Reads()))]
    roll = FeedMembership(lambda one: None, lambda one: None)
    collector = DiscoveryCollector(VirtualClock(0.0), client, lambda: seen, kinds, roll, run=run)
    await collector.collect()
    told = [(check.name, check.outcome, check.mend) for check in doctor.discovered(collector)]
    assert told[0] == ("vllm-1", "ok", "")
    assert told[1][:2] == ("http://127.0.0.1:2", "missing")
    assert told[2] == ("vllm, process 9", "missing", "start it with --host 0.0.0.0")
    assert len(told) == 3


def test_discovery_that_is_off_or_found_nothing_says_what_to_do():
    assert "discovery = true" in doctor.discovered(None)[0].mend
    roll = FeedMembership(lambda one: None, lambda one: None)
    collector = DiscoveryCollector(VirtualClock(0.0), httpx.AsyncClient(), ScanResult, [], roll)
    (check,) = doctor.discovered(collector)
    assert (check.outcome, "[[source]]" in check.mend) == ("missing", True)


def test_the_key_that_joins_calls_to_engines_is_named_with_the_engines():
    (lacking,) = doctor.calls_to_engines([LangfuseSource()], ["vllm-8000"])
    assert lacking.outcome == "missing"
    assert 'engine_key = "vllm_instance"' in lacking.mend
    assert '"vllm-8000"' in lacking.mend
    assert doctor.calls_to_engines([LangfuseSource(engine_key="k")], [])[0].outcome == "ok"
    assert doctor.calls_to_engines([], []) == []


def linked(*links):
    facts = Facts()
    facts.observe([Fact(Entity.of(gpu=f"GPU-{n}"), "index", str(n)) for n in (0, 1)], 0.0, 0.0, "compute", "nvml")
    facts.join(Link(Entity.of(engine=engine), Entity.of(gpu=f"GPU-{n}"), *proof) for engine, n, *proof in links)
    return facts


def test_each_engine_is_told_its_gpus_with_the_proof_or_what_would_prove_them():
    facts = linked(("a", 1, "pid", "pid 9, a child of pid 7"), ("a", 0, "configuration"))
    why = {"b": HIDDEN_PIDS, "c": "far is not an address of this node, nor of a container with a process on its GPUs"}
    sources = {"b": Source("b", "vllm", "serving", 2.0, address="http://10.0.0.2:8000")}
    checks = doctor.engines_to_gpus(facts, why, sources)
    assert [(check.name, check.outcome) for check in checks] == [
        ("a to GPUs", "ok"),
        ("a to GPUs", "ok"),
        ("b to GPUs", "missing"),
        ("c to GPUs", "missing"),
    ]
    assert checks[0].said == "gpu 0, by configuration"
    assert checks[1].said == "gpu 1, by pid: pid 9, a child of pid 7"
    assert checks[2].said.startswith("engine-GPU link unknown: the processes on the GPUs are not visible from here")
    assert 'kind = "vllm", url = "http://10.0.0.2:8000", name = "b", gpus = [0]' in checks[2].mend
    assert checks[2].mend.endswith("(in a container: --pid=host)")
    assert checks[3].mend.startswith("nothing, if it runs on another node; else add")
    assert doctor.exit_code(checks, [health("b")], frozenset()) == 0


def test_permissions_are_tried_where_they_matter(tmp_path):
    lacking = {one.name: one.lacks(ProbeRoots(tmp_path, tmp_path, None)) for one in capabilities()}
    assert lacking["GPUs"] == "there is no /dev/nvidiactl"
    assert lacking["recording"] == NO_STATE
    (tmp_path / "nvidiactl").touch()
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026539999]")
    lacking = {one.name: one.lacks(ProbeRoots(tmp_path, tmp_path, tmp_path)) for one in capabilities()}
    assert (lacking["GPUs"], lacking["recording"]) == ("", "")
    assert "process namespace" in lacking["discovery"]
    told = {check.name: check for check in doctor.permissions(ProbeRoots(tmp_path, tmp_path, None))}
    assert "--pid=host" in told["discovery"].mend
    assert "XDG_STATE_HOME" in told["recording"].mend


def test_a_proc_that_hides_others_is_noticed_unless_we_are_root(tmp_path, monkeypatch):
    (tmp_path / "self").mkdir()
    mounts = tmp_path / "self/mounts"
    mounts.write_text("proc /proc proc rw,nosuid,hidepid=invisible 0 0\n")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert hides_processes(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert not hides_processes(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    mounts.write_text("proc /proc proc rw,nosuid 0 0\nproc /proc proc rw,hidepid=2 0 0\n")
    assert hides_processes(tmp_path)
    mounts.write_text("proc /proc proc rw,hidepid=2 0 0\nproc /proc proc rw,hidepid=off 0 0\n")
    assert not hides_processes(tmp_path)


@pytest.mark.parametrize(
    ("checks", "records", "asked", "code"),
    [
        ([Check("sources", "a", "ok", "")], [health("a")], {"a"}, 0),
        ([Check("sources", "nvml", "missing", "")], [health("nvml", "down")], set(), 0),
        ([Check("sources", "b", "failed", "")], [health("a"), health("b", "down")], {"a", "b"}, 1),
        ([Check("sources", "a", "failed", "")], [health("a", "down"), health("host")], {"a"}, 3),
        ([Check("configuration", "file", "failed", "")], [health("a", "down")], {"a"}, 2),
    ],
)
def test_exit_codes(checks, records, asked, code):
    assert doctor.exit_code(checks, records, frozenset(asked)) == code


def test_the_document_is_of_the_published_form():
    checks = [*doctor.environment({}), *doctor.permissions(ProbeRoots()), Check("sources", "a", "failed", "x", "y")]
    said = doctor.document(checks, 1, 1_000_000.0, "n")
    jsonschema.validate(said, PUBLISHED)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**said, "exit_code": 4}, PUBLISHED)


def test_the_text_has_the_mend_below_and_the_capabilities_on_request():
    checks = [Check("sources", "a\x1b[2J", "failed", "down", "start it"), Check("links", "b", "ok", "fine")]
    short = doctor.text(checks, permissions=False)
    assert "\x1b" not in short
    assert "fix: start it" in short
    assert "sends:" not in short
    assert doctor.text(checks, permissions=True).count("sends:") == len(capabilities())
