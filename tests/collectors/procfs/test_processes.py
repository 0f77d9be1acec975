import pytest

from collectors.procfs.processes import (
    HIDDEN,
    ProcTree,
    canonical,
    option,
    parse_cmdline,
    parse_fib_trie,
    parse_if_inet6,
    redacted,
)
from tests.collectors.procfs.proc_tree import ProcTree as Made


def test_addresses_are_written_one_way():
    assert canonical("::ffff:10.0.0.1") == "10.0.0.1"
    assert canonical("fe80::1") == "fe80::1"
    assert canonical("no address") == ""


def test_a_namespaces_own_addresses_are_the_local_leaves():
    body = b"Local:\n  |-- 10.0.0.0\n     /24 link UNICAST\n  |-- 10.0.0.7\n     /32 host LOCAL\n"
    assert parse_fib_trie(body) == {"10.0.0.7"}
    assert parse_if_inet6(b"00000000000000000000000000000001 01 80 10 80       lo\nzz 1 2 3 4 5\n") == {"::1"}


def test_a_title_and_an_empty_command_line_are_read():
    assert parse_cmdline(b"vllm\0serve\0m\0") == ("vllm", "serve", "m")
    assert parse_cmdline(b"VLLM::APIServer   \0\0\0") == ("VLLM::APIServer",)
    assert parse_cmdline(b"\0\0") == ()


def test_the_last_setting_of_an_option_counts():
    assert option(["--port", "1", "--port=2"], "--port", "-p") == "2"
    assert option(["--port"], "--port") is None
    assert option([], "--port") is None


@pytest.mark.parametrize(
    ("argv", "secret"),
    [
        (["vllm", "serve", "m", "--api-key", "s3cret"], "s3cret"),
        (["vllm", "serve", "m", "--api-key=s3cret"], "s3cret"),
        (["env", "HF_TOKEN=hf_abcdefghij", "x"], "hf_abcdefghij"),
        (["x", "--db", "postgres://me:pw12@h/d"], "pw12"),
        (["x", "-H", "Authorization: Bearer abc.def"], "abc.def"),
        (["x", '--config={"api_key": "s3cret"}'], "s3cret"),
        (["x", "sk-abcdefgh1234"], "sk-abcdefgh1234"),
    ],
)
def test_secrets_of_a_command_line_are_hidden(argv, secret):
    said = redacted(argv)
    assert secret not in said
    assert HIDDEN in said


def test_what_is_no_secret_stays():
    said = redacted(["vllm", "serve", "m", "--max-num-batched-tokens", "8192", "--tokenizer", "t"])
    assert said == "vllm serve m --max-num-batched-tokens 8192 --tokenizer t"


def test_a_parent_that_began_later_is_somebody_else(tmp_path):
    made = Made(tmp_path)
    made.process(40, 30, ["worker"], start=100)
    made.process(30, 1, ["new"], start=200)
    made.process(41, 31, ["worker"], start=100)
    made.process(31, 1, ["server"], start=90)
    tree = ProcTree(tmp_path)
    assert [one.pid for one in tree.chain(40)] == [40]
    assert [one.pid for one in tree.chain(41)] == [41, 31, 1]
    assert tree.chain(99) == []


def test_open_sockets_are_known_or_said_to_be_hidden(tmp_path):
    made = Made(tmp_path)
    made.process(40, 1, ["server"])
    made.namespace(40, "net:[1]", "127.0.0.1")
    made.listen(40, 700, 8000)
    assert ProcTree(tmp_path).sockets(40) == frozenset({700})
    made.close(40)
    assert ProcTree(tmp_path).sockets(40) is None
