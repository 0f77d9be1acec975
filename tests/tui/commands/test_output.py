import errno
import io
import json
import sys

import click
import pytest
from click.testing import CliRunner

from tui import cli
from tui.commands import output

TEXT = "org/Qwen-漢字 …\n"


def stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def written(made):
    made.flush()
    return made.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", b"org/Qwen-?? ?\n"), ("latin-1", b"org/Qwen-?? ?\n"), ("utf-8", TEXT.encode())],
)
def test_what_an_encoding_cannot_show_is_replaced(monkeypatch, encoding, expected):
    made = stream(encoding)
    monkeypatch.setattr(sys, "stdout", made)
    output.prepare()
    output.write(TEXT)
    assert written(made) == expected


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_loses_nothing_in_any_encoding(monkeypatch, encoding):
    made = stream(encoding)
    monkeypatch.setattr(sys, "stdout", made)
    output.prepare()
    output.write_json({"model": TEXT})
    assert json.loads(written(made).decode(encoding)) == {"model": TEXT}


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def test_a_full_disk_is_one_sentence_and_exit_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(SystemExit) as caught:
        output.write(TEXT)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "aistack-top: cannot write the output: No space left on device\n"


def test_a_closed_stdout_is_one_sentence_and_a_reader_that_left_is_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        output.write(TEXT)
    assert caught.value.code == 2
    assert "stdout is closed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError()))
    output.write(TEXT)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_output_that_a_library_writes_is_watched_as_well(monkeypatch, capsys, code):
    monkeypatch.setattr(click.Group, "main", lambda *_, **__: raised(OSError(code, "no room")))
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == "aistack-top: cannot write the output: no room\n"


def test_an_error_of_a_file_is_none_of_the_output(monkeypatch):
    monkeypatch.setattr(click.Group, "main", lambda *_, **__: raised(OSError(errno.EIO, "bad", "/a/file")))
    with pytest.raises(OSError, match="/a/file"):
        cli.main(["--help"])


def raised(error):
    raise error


@pytest.mark.parametrize("name", ["snapshot", "record", "doctor"])
def test_servers_are_named_before_a_command_or_behind_it(monkeypatch, name):
    told = []

    def run(options, *_):
        told.append(options)
        return 0

    monkeypatch.setattr(f"tui.commands.{name}.run", run)
    for words in (["--endpoint", "http://a:1", "--prometheus", "http://p:9", name], [name]):
        more = (
            ["--endpoint", "http://b:1"] if len(words) > 1 else ["--endpoint", "http://a:1", "--endpoint", "http://b:1"]
        )
        more += [] if len(words) > 1 else ["--prometheus", "http://p:9"]
        assert CliRunner().invoke(cli.main, [*words, *more]).exit_code == 0
    assert [(one.endpoints, one.prometheus) for one in told] == [(("http://a:1", "http://b:1"), "http://p:9")] * 2


@pytest.mark.parametrize("command", [[], ["demo"]])
def test_a_layout_that_there_is_none_of_is_refused_without_a_terminal(monkeypatch, tmp_path, command):
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "none" / "config.toml"))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "config.toml").write_text("")
    done = CliRunner().invoke(cli.main, ["--layout", "nosuch", *command])
    assert done.exit_code == 2
    assert "no such layout: 'nosuch'" in done.stderr


def test_an_empty_recording_is_said_and_no_success(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("AISTACK_TOP_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setattr("tui.commands.record._record", nothing)
    done = CliRunner().invoke(
        cli.main, ["record", "--endpoint", "http://127.0.0.1:9", "-o", str(tmp_path / "s.aistack")]
    )
    assert done.exit_code == 3
    assert "nothing was recorded" in done.stderr


async def nothing(feed, *_):
    await feed.aclose()
    return 0
